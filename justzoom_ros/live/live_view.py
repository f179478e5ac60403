"""What a running localizer sends to the live page, made in a thread of its own."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from justzoom_ros.inference.fix import Fix
from justzoom_ros.io.stamps import NS_PER_S
from justzoom_ros.live.fix_view import Evidence, fix_view, with_belief
from justzoom_ros.live.latest_worker import LatestWorker
from justzoom_ros.live.view_server import LOOPBACK, Pace, ViewServer
from justzoom_ros.maps.map_offset import MapOffset
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.report.content import Page
from justzoom_ros.report.page import page_html, require_leaflet
from justzoom_ros.report.pictures import map_view

PERIOD_S = 0.2
"""Between two frames of the page at least."""

LIVE_PX = 1536
"""Side of the imagery of a live page at most."""


@dataclass(frozen=True)
class ShownFrame:
    """One frame that was localized."""

    stamp_ns: int
    """When it was taken."""

    fix: Fix
    """Where, with its posterior."""

    image_rgb: np.ndarray
    """What was seen, uint8 (H, W, 3)."""

    evidence: Evidence
    """What it says by itself."""

    latency_s: float
    """From its arrival to its fix."""


def live_page(
    satellite_map: SatelliteMap, about: tuple[str, ...] = (), offset: MapOffset | None = None
) -> str:
    """The text of a page to which frames will come, over a map that is off by `offset`."""
    offset = offset or MapOffset()
    imagery = map_view(satellite_map, LIVE_PX, (offset.east_m, offset.north_m))
    about = (*about, f'map moved by {offset}') if offset.known else about
    return page_html(Page('Live', 'Waiting for the first frame.', about, map=imagery, live=True))


class LiveView:
    """The page of a localizer at work, on a map that is off by `offset()`. `offer` only hands
    over; what is shown is made in a thread of its own, and what comes faster than `PERIOD_S` is
    passed over. Raises ConfigError where the address cannot be had, RuntimeUnavailableError
    without Leaflet."""

    def __init__(
        self,
        satellite_map: SatelliteMap,
        about: tuple[str, ...] = (),
        host: str = LOOPBACK,
        port: int = 0,
        offset: Callable[[], MapOffset] = MapOffset,
    ) -> None:
        require_leaflet()
        self._map, self._pace, self._start_ns = satellite_map, Pace(PERIOD_S), 0
        self._count = 0
        self.server = ViewServer(lambda: live_page(satellite_map, about, offset()), host, port)
        self._worker = LatestWorker(self._show, 'view frames')

    @property
    def is_watched(self) -> bool:
        """True while a browser looks."""
        return self.server.browsers > 0

    def offer(self, frame: ShownFrame) -> None:
        """Show a frame as soon as there is time for it."""
        self._count += 1
        self._worker.offer(frame)

    def close(self) -> None:
        """Let all browsers go."""
        self._worker.stop()
        self.server.close()

    def _show(self, frame: ShownFrame) -> None:
        time.sleep(self._pace.wait_s())
        # Backwards: a bag that loops, a new start.
        if not self._start_ns or frame.stamp_ns < self._start_ns:
            self._start_ns = frame.stamp_ns
        image = frame.image_rgb if self.is_watched else None
        view = fix_view(str(self._count), frame.fix, image, frame.evidence)
        view = replace(
            view,
            time_s=(frame.stamp_ns - self._start_ns) / NS_PER_S,
            severity='' if view.status == 'fix' else 'no_fix',
            latency_ms=1000 * frame.latency_s,
        )
        if self.is_watched:
            view = with_belief(view, frame.fix, self._map.region)
        self.server.publish(view)
