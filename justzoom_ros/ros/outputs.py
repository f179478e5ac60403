"""What the configured node publishes for each frame."""

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, NavSatFix, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from justzoom_ros.inference.fix import Fix, FixStatus, on_map
from justzoom_ros.live.fix_view import Evidence
from justzoom_ros.live.live_view import LiveView, ShownFrame
from justzoom_ros.localizer import Localizer
from justzoom_ros.plots.registration_picture import registration_picture
from justzoom_ros.plots.zoom_picture import zoom_picture
from justzoom_ros.registration.camera_state import HEIGHT_SHARE
from justzoom_ros.ros import markers, messages
from justzoom_ros.ros.declare import value_of

TYPES = {
    'fix': NavSatFix,
    'fix_increment': NavSatFix,
    'pose': PoseWithCovarianceStamped,
    'hypotheses': PointCloud2,
    'belief': OccupancyGrid,
    'likelihood': OccupancyGrid,
    'zoom_image': Image,
    'markers': MarkerArray,
    'map_image': OccupancyGrid,
}
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""Of the map's picture, which is published once and kept for who comes later."""


class Outputs:
    """A publisher for each of TYPES, from construction until `close`."""

    def __init__(self, node: LifecycleNode) -> None:
        self._node, self._belief_due_s = node, 0.0
        self._map_is_told = False
        self._view: LiveView | None = None
        self._evidence: Evidence = None
        self.publishers = {
            topic: node.create_lifecycle_publisher(
                kind, topic, LATCHED if topic == 'map_image' else 10
            )
            for topic, kind in TYPES.items()
        }

    def close(self) -> None:
        """Take the publishers back, and the page."""
        self.close_view()
        for publisher in self.publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self.publishers.clear()

    def make(
        self,
        fix: Fix,
        header: Header,
        image: np.ndarray,
        localizer: Localizer,
        height_m: float | None = None,
        increment: Fix | None = None,
        group: str = 'single',
    ) -> dict[str, Any]:
        """{topic: message} of a fix. `image` is what was seen, uint8 (H, W, 3) RGB, from
        `height_m` above ground where that is known; `increment`: what is new in the fix; `group`:
        'tracking' or 'single'. A pose cannot say that it is none, so there is one only for a fix;
        pictures only for who subscribes."""
        altitude_m, altitude_std_m = self._altitude(fix, localizer, height_m)
        map_frame, calibrated = self._value('map_frame'), localizer.calibration.knows(group)
        made = {
            'fix': messages.fix_message(fix, header, altitude_m, altitude_std_m, calibrated),
            'hypotheses': messages.hypotheses_message(fix, header, map_frame),
        }
        if increment is not None:
            made['fix_increment'] = messages.fix_message(
                increment, header, altitude_m, altitude_std_m, calibrated
            )
        if fix.status is FixStatus.FIX:
            made['pose'] = messages.pose_message(fix, header, map_frame, altitude_std_m)
        if self._is_heard('zoom_image'):
            picture = _picture(image, fix, localizer)
            made['zoom_image'] = messages.picture_message(picture, header)
        if fix.posterior and self._is_heard('belief') and self._belief_is_due():
            made['belief'] = messages.belief_message(_on_tree(fix, localizer), header, map_frame)
        evidence = self._evidence = localizer.take_evidence()
        if evidence is not None and self._is_heard('likelihood'):
            made['likelihood'] = messages.likelihood_message(evidence, header, map_frame, fix)
        if self._is_heard('markers'):
            made['markers'] = markers.markers_message(fix, header, map_frame)
        if not self._map_is_told:
            made['map_image'] = markers.map_image_message(
                localizer.map, header, map_frame, fix.map_offset_m
            )
        return made

    def _altitude(
        self, fix: Fix, localizer: Localizer, height_m: float | None
    ) -> tuple[float, float]:
        """Altitude of the camera and its deviation: that of the ground, where the map has heights
        and there is a fix, else the parameters."""
        if localizer.terrain is not None and fix.status is FixStatus.FIX:
            ground = localizer.terrain.altitude(fix.east_m, fix.north_m, fix.covariance_m2)
            if ground is not None:
                above_m = height_m or 0.0
                return ground[0] + above_m, math.hypot(ground[1], HEIGHT_SHARE * above_m)
        return self._value('altitude_m'), self._value('altitude_std_m')

    # --- the page ------------------------------------------------------------------------------

    def open_view(self, localizer: Localizer) -> str:
        """Serve the live page where the parameter `view_port` asks for it; returns its address,
        '' where it does not. Raises ConfigError, RuntimeUnavailableError."""
        port = self._value('view_port')
        if not port:
            return ''
        about = f'map {localizer.map.path.name}', localizer.method, localizer.runtime
        self._view = LiveView(
            localizer.map, about, self._value('view_host'), port, lambda: localizer.map_offset
        )
        return self._view.server.address

    def close_view(self) -> None:
        """Let all browsers go."""
        if self._view:
            self._view.close()
        self._view = None

    def show(self, stamp_ns: int, fix: Fix, image: np.ndarray, latency_s: float) -> None:
        """Hand a frame that was published to the page, if there is one; never waits for it."""
        if self._view:
            evidence = self._evidence
            self._view.offer(ShownFrame(stamp_ns, fix, image, evidence, latency_s))
        self._evidence = None

    # --- messages ------------------------------------------------------------------------------

    def begin_frame(self, localizer: Localizer) -> None:
        """To be called before a frame is localized: what it says is kept only for who listens."""
        watched = self._view is not None and self._view.is_watched
        localizer.keep_evidence(watched or self._is_heard('likelihood'))

    def publish(self, made: dict[str, Any]) -> None:
        """Publish what `make` gave."""
        for topic, message in made.items():
            self.publishers[topic].publish(message)
        self._map_is_told |= 'map_image' in made

    def _value(self, name: str) -> Any:
        return value_of(self._node, name)

    def _is_heard(self, topic: str) -> bool:
        return self.publishers[topic].get_subscription_count() > 0

    def _belief_is_due(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._belief_due_s:
            return False
        self._belief_due_s = now_s + self._value('belief_period_s')
        return True


def _on_tree(fix: Fix, localizer: Localizer) -> Fix:
    """The fix with its posterior over the terminal cells of the map: registration's own cells are
    many more than anyone wants to be sent."""
    fine = fix.require_posterior()
    if fine.region == localizer.region:
        return fix
    return replace(fix, posterior=fine.coarsen(localizer.region))


def _picture(image: np.ndarray, fix: Fix, localizer: Localizer) -> np.ndarray:
    """The zoom, where there is a policy and an answer over its tree; else the place on the map."""
    fix = on_map(fix, localizer.region)
    on_tree = fix.posterior and fix.posterior.region == localizer.region
    if not (localizer.zoom and on_tree):
        return registration_picture(image, fix, localizer.map)
    return zoom_picture(image, fix, localizer.map)
