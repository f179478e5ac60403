"""Replay: the fixes of every image of a sequence, by a `Localizer` or a `Tracker` in process.

Both functions take the events of `io/sequences.py` and yield `ReplayedFix`es, as does
`justzoom_ros.ros.live_replay`, which asks a running node; `replay_results.py` compares them with
the truth.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from justzoom_ros.errors import BagError, ImageError
from justzoom_ros.evaluation.image_camera import CameraKnowledge
from justzoom_ros.evaluation.odometry_watch import OdometryWatch
from justzoom_ros.evaluation.sequence_camera import SequenceCamera, listen
from justzoom_ros.inference.fix import Fix
from justzoom_ros.io.bags import Track
from justzoom_ros.io.datasets import GeoImage, sort_by_time
from justzoom_ros.io.sequences import (
    ClockJumpEvent,
    Event,
    FrameEvent,
    HeadingEvent,
    OdometryEvent,
)
from justzoom_ros.live.fix_view import fix_view
from justzoom_ros.localizer import Localizer
from justzoom_ros.plots.motion import belief_picture
from justzoom_ros.radii import NEAR_M
from justzoom_ros.report.content import FrameView
from justzoom_ros.tracker import Tracker

log = logging.getLogger(__name__)

STATUSES = ('fix', 'no_fix', 'error', 'missed')
"""What came of an image: a fix, none since unsure, an image that cannot be used, and (live
with a rate only) one that the node passed over for a newer one."""


@dataclass(frozen=True)
class ReplayedFix:
    """What came of one image."""

    stamp_ns: int
    """When the image was taken."""

    status: str
    """One of STATUSES."""

    reason: str = ''
    """Why there is no fix, where it is known."""

    latitude: float | None = None
    """Degrees; None for 'error' and 'missed'."""

    longitude: float | None = None
    """Degrees; None for 'error' and 'missed'."""

    covariance_m2: np.ndarray | None = None
    """Covariance (2, 2), ENU; None for 'error' and 'missed'."""

    confidence: float | None = None
    """Mass (0..1) of the first hypothesis; None where it is not known, as from a NavSatFix."""

    mass_near: float | None = None
    """Mass (0..1) within NEAR_M of the truth, where both are known."""

    picture: np.ndarray | None = None
    """The belief as `belief_picture` draws it, where it is known."""

    view: FrameView | None = None
    """What a page shows of it, without the truth and the belief; None where it is not known."""


def localize_frames(
    events: Iterable[Event], localizer: Localizer, camera: SequenceCamera | None = None
) -> Iterator[ReplayedFix]:
    """Yield the ReplayedFix of each frame by itself, whatever else there is left out but what is
    said of its `camera`."""
    camera = camera or SequenceCamera(CameraKnowledge(localizer.camera))
    localizer.keep_evidence(True)
    for event in listen(events, camera):
        if isinstance(event, FrameEvent):
            frame = KeptFrame(event)
            yield _replay_frame(frame, partial(_locate, localizer, camera, frame.event), localizer)
    localizer.keep_evidence(False)


def _locate(localizer: Localizer, camera: SequenceCamera, frame: FrameEvent) -> Fix:
    pixels, known = camera.load(frame), camera.state_of(frame)
    heading = known.yaw_rad, known.yaw_std_rad
    fix = localizer.locate(pixels, known.camera, *heading, known.attitude, tilt=known.tilt)
    fine = fix.require_posterior()
    if fine.region == localizer.region:
        return fix
    return replace(fix, posterior=fine.coarsen(localizer.region))


def track_frames(
    events: Iterable[Event], tracker: Tracker, camera: SequenceCamera | None = None
) -> Iterator[ReplayedFix]:
    """Yield the ReplayedFix of each frame in the light of those before it and of the odometry and
    headings among the events, by a `Tracker`, which is reset first. `camera`: what is known of
    it. Of frames with a truth it tells the mass near that. As long as the odometry cannot be
    used, each frame is localized by itself, and a warning says so once."""
    camera = camera or SequenceCamera(CameraKnowledge(tracker.localizer.camera))
    tracker.reset()
    tracker.localizer.keep_evidence(True)
    watch = OdometryWatch(tracker)
    for event in listen(events, camera):
        match event:
            case OdometryEvent():
                watch.add(event.pose)
            case HeadingEvent():
                tracker.add_heading(event.yaw_rad, event.std_rad)
            case ClockJumpEvent():
                log.warning('time jumps back (a bag that loops?): everything begins anew')
                tracker.reset()
            case FrameEvent():
                frame = KeptFrame(event)
                locate = partial(_track, tracker, camera, frame.event)
                if watch.is_alone(event.stamp_ns):
                    locate = partial(_locate, tracker.localizer, camera, frame.event)
                yield _replay_frame(frame, locate, tracker.localizer, event.truth)
    tracker.localizer.keep_evidence(False)
    watch.report()


def _track(tracker: Tracker, camera: SequenceCamera, frame: FrameEvent) -> Fix:
    pixels, known = camera.load(frame), camera.state_of(frame)
    return tracker.locate(pixels, frame.stamp_ns, state=known)


class KeptFrame:
    """A frame that is localized and drawn: `event` is it, and `pixels` what was loaded of it, None
    before."""

    def __init__(self, event: FrameEvent) -> None:
        self._load = event.load
        self.pixels: np.ndarray | None = None
        self.event = replace(event, load=self._keep)

    def _keep(self) -> np.ndarray:
        self.pixels = loaded = self._load()
        return loaded


def _replay_frame(
    frame: KeptFrame,
    locate: Callable[[], Fix],
    localizer: Localizer,
    truth: tuple[float, float] | None = None,
) -> ReplayedFix:
    stamp_ns = frame.event.stamp_ns
    name = Path(frame.event.image.id).name if frame.event.image else ''
    try:
        fix = locate()
    except ImageError as error:
        return ReplayedFix(stamp_ns, 'error', str(error), view=FrameView(name, 'error'))
    view = fix_view(name, fix, frame.pixels, localizer.take_evidence())
    return replace(replayed_fix(fix, stamp_ns, truth), view=view)


def keep_finished(fixes: Iterable[ReplayedFix]) -> Iterator[ReplayedFix]:
    """Yield ReplayedFixes up to where the bag is damaged, and warn of that; raises BagError where
    it is before the first."""
    found = 0
    try:
        for fix in fixes:
            found += 1
            yield fix
    except BagError as error:
        if not found:
            raise
        log.warning(f'{error}; the {found} images before that are kept')


def replayed_fix(fix: Fix, stamp_ns: int, truth: tuple[float, float] | None = None) -> ReplayedFix:
    """The ReplayedFix of a `Fix` with its posterior; `truth` in degrees, where it is known."""
    position = fix.latitude, fix.longitude, np.asarray(fix.covariance_m2)
    posterior, near = fix.require_posterior(), None
    if truth is not None:
        # The posterior lies on the map, which may be off.
        east_m, north_m = np.subtract(posterior.region.to_enu(*truth), fix.map_offset_m).tolist()
        near = posterior.mass_within(east_m, north_m, NEAR_M) * (1 - fix.off_map)
    picture = belief_picture(posterior.to_grid())
    return ReplayedFix(stamp_ns, fix.status, fix.reason, *position, fix.confidence, near, picture)


def track_of(images: Sequence[GeoImage]) -> Track:
    """The Track of the positions of GeoImages with times. Raises DatasetError."""
    images = sort_by_time(images)
    columns = [(image.stamp_ns, image.latitude, image.longitude) for image in images]
    stamps_ns, latitudes, longitudes = zip(*columns, strict=True)
    return Track(np.array(stamps_ns, np.int64), np.array(latitudes), np.array(longitudes))
