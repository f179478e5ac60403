"""A running node on the live page: what it publishes, heard over DDS."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from nav_msgs.msg import OccupancyGrid
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, NavSatFix, NavSatStatus

from justzoom_ros.errors import ImageError
from justzoom_ros.inference.posterior import radius_m
from justzoom_ros.io.image_message import image_from_message
from justzoom_ros.io.stamps import NS_PER_S, to_nanoseconds
from justzoom_ros.live.view_server import ViewServer
from justzoom_ros.plots.motion import belief_picture
from justzoom_ros.region import Region
from justzoom_ros.report.content import FrameView, Heat
from justzoom_ros.report.pictures import belief_heat
from justzoom_ros.ros.client import POLL_S, Client
from justzoom_ros.ros.heard_frames import HeardFrames

PATIENCE_S = 0.15
"""What belongs to a fix comes before and after it, on topics of their own: wait so long for it."""

KEPT = 30
"""Stamps of which something is remembered."""

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class ViewClient(Client):
    """Hears a node and publishes its frames on a `ViewServer`. Use as a context manager.

    `fix_topic` names its fixes; belief, likelihood, hypotheses and pose are expected beside them;
    `image_topic`, raw or compressed, what it sees. Subscribing makes the node publish its belief
    and likelihood.
    """

    def __init__(
        self,
        server: ViewServer,
        region: Region,
        fix_topic: str = 'fix',
        image_topic: str = 'image',
    ) -> None:
        super().__init__('justzoom_view')
        self._server, self._region = server, region
        self._due: deque[tuple[float, NavSatFix]] = deque(maxlen=KEPT)
        self._beliefs: deque[tuple[int, Heat]] = deque(maxlen=KEPT)
        self._count = self._start_ns = 0
        name = self._node.resolve_topic_name(fix_topic)
        prefix = name.rpartition('/')[0]
        self._heard = HeardFrames(self._node, name, RELIABLE, KEPT)
        subscribe: Callable[..., Any] = self._node.create_subscription
        subscribe(NavSatFix, name, self._on_fix, RELIABLE)
        subscribe(OccupancyGrid, f'{prefix}/belief', self._on_belief, RELIABLE)
        subscribe(Image, image_topic, self._on_image, BEST_EFFORT)
        compressed = f'{image_topic.removesuffix("/compressed")}/compressed'
        subscribe(CompressedImage, compressed, self._on_image, BEST_EFFORT)

    def spin(self, forever: Callable[[], bool] = lambda: True) -> None:
        """Go on as long as `forever()`."""
        while forever():
            self._spin_once(POLL_S)
            while self._due and self._due[0][0] <= time.monotonic():
                self._server.publish(self._view(self._due.popleft()[1]))

    def _view(self, message: NavSatFix) -> FrameView:
        stamp_ns = to_nanoseconds(message.header.stamp)
        self._count += 1
        if not self._start_ns or stamp_ns < self._start_ns:
            self._start_ns = stamp_ns
        sure = message.status.status != NavSatStatus.STATUS_NO_FIX
        covariance = np.array(message.position_covariance).reshape(3, 3)[:2, :2]
        east_m, north_m = self._region.to_enu(message.latitude, message.longitude)
        return replace(
            self._heard.view(stamp_ns, 'fix' if sure else 'no_fix'),
            name=str(self._count),
            severity='' if sure else 'no_fix',
            time_s=(stamp_ns - self._start_ns) / NS_PER_S,
            position=(east_m, north_m),
            covariance=(covariance[0, 0], covariance[0, 1], covariance[1, 1]),
            radius_m=radius_m(covariance),
            latlon=(message.latitude, message.longitude),
            belief=next((heat for of, heat in self._beliefs if of == stamp_ns), None),
        )

    def _on_fix(self, message: NavSatFix) -> None:
        self._due.append((time.monotonic() + PATIENCE_S, message))

    def _on_belief(self, message: OccupancyGrid) -> None:
        grid = np.array(message.data, np.float32).reshape(message.info.height, -1)[::-1] / 100
        corner, half_m = message.info.origin.position, self._region.side_m / 2
        offset_m = corner.x + half_m, corner.y + half_m
        heat = belief_heat(belief_picture(grid**2), self._region.side_m, offset_m)
        self._beliefs.append((to_nanoseconds(message.header.stamp), heat))

    def _on_image(self, message: Any) -> None:
        if not self._server.browsers:
            return
        try:
            pixels = image_from_message(message)
        except ImageError:
            return  # the node says so in its diagnostics
        self._heard.add_image(to_nanoseconds(message.header.stamp), pixels)
