"""What a node says of each frame besides its fix, heard for a page."""

from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2

from justzoom_ros.io.motion_message import yaw_from_quaternion
from justzoom_ros.io.stamps import to_nanoseconds
from justzoom_ros.live.diagnostics import REASON, STAMP, kind_of
from justzoom_ros.live.fix_view import MAX_HYPOTHESES
from justzoom_ros.report.content import FrameView, Heat
from justzoom_ros.report.pictures import heat, thumbnail, uri
from justzoom_ros.ros.client import publishers_of
from justzoom_ros.ros.messages import HYPOTHESIS

NOT_TOLD = 'the node has not said why'


class HeardFrames:
    """Listens on a node's topics `likelihood`, `hypotheses` and `pose`, beside the full name of
    its `fix_topic`, and on what it says on /diagnostics, as long as the node of ours lives; images
    are added by whoever sends or hears them. With `kept` only what belongs to so many stamps is
    kept, the latest that came."""

    def __init__(
        self, node: Node, fix_topic: str, qos: QoSProfile, kept: int | None = None
    ) -> None:
        self._node, self._fix_topic, self._kept = node, fix_topic, kept
        self._latency_ms: float | None = None
        self._reasons: dict[int, str] = {}
        self._images: dict[int, str] = {}
        self._evidence: dict[int, Heat] = {}
        self._hypotheses: dict[int, list[tuple[float, float, float]]] = {}
        self._yaws: dict[int, float] = {}
        prefix = fix_topic.rpartition('/')[0]
        for topic, kind, take in (
            ('likelihood', OccupancyGrid, self._on_likelihood),
            ('hypotheses', PointCloud2, self._on_hypotheses),
            ('pose', PoseWithCovarianceStamped, self._on_pose),
        ):
            node.create_subscription(kind, f'{prefix}/{topic}', take, qos)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, qos)

    def add_image(self, stamp_ns: int, image_rgb: np.ndarray) -> None:
        """An image, uint8 (H, W, 3) RGB, that was sent."""
        self._keep(self._images, stamp_ns, uri(thumbnail(image_rgb), 'webp'))

    def view(self, stamp_ns: int, status: str) -> FrameView:
        """All that was heard of the image with a stamp."""
        hypotheses = self._hypotheses.get(stamp_ns, [])
        return FrameView(
            '',
            status,
            reason=self._reason(stamp_ns) if status == 'no_fix' else '',
            latency_ms=self._latency_ms,
            confidence=hypotheses[0][2] if hypotheses else None,
            yaw_rad=self._yaws.get(stamp_ns),
            hypotheses=hypotheses[:MAX_HYPOTHESES],
            image=self._images.get(stamp_ns, ''),
            evidence=self._evidence.get(stamp_ns),
        )

    def _reason(self, stamp_ns: int) -> str:
        """Why there was no fix. The node says at once when the kind of reason changes, so the last
        one told before a frame is its own, but for the figures."""
        told = max((stamp for stamp in self._reasons if stamp <= stamp_ns), default=None)
        if told is None:
            return NOT_TOLD
        reason = self._reasons[told]
        return (reason if told == stamp_ns else kind_of(reason)) or NOT_TOLD

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        names = publishers_of(self._node, self._fix_topic)
        for status in message.status:
            node, _, about = status.name.partition(': ')
            values = {item.key: item.value for item in status.values}
            if about != 'localization' or (names and node not in names):
                continue
            if values.get('latency (s)'):
                self._latency_ms = 1000 * float(values['latency (s)'])
            if stamp_ns := int(values.get(STAMP, 0)):
                self._keep(self._reasons, stamp_ns, values.get(REASON, ''))

    def _on_likelihood(self, message: OccupancyGrid) -> None:
        info = message.info
        percent = np.array(message.data, np.float32).reshape(info.height, -1)[::-1]
        strengths = np.round(2.55 * percent).astype(np.uint8)
        west_m, south_m = info.origin.position.x, info.origin.position.y
        north_m = south_m + info.height * info.resolution
        found = heat(strengths, west_m, north_m, info.resolution)
        self._keep(self._evidence, to_nanoseconds(message.header.stamp), found)

    def _on_hypotheses(self, message: PointCloud2) -> None:
        points = np.frombuffer(message.data, HYPOTHESIS)
        listed = [(float(p['x']), float(p['y']), float(p['mass'])) for p in points]
        self._keep(self._hypotheses, to_nanoseconds(message.header.stamp), listed)

    def _on_pose(self, message: Any) -> None:
        yaw_rad = yaw_from_quaternion(message.pose.pose.orientation)
        self._keep(self._yaws, to_nanoseconds(message.header.stamp), yaw_rad)

    def _keep(self, found: dict[int, Any], stamp_ns: int, value: Any) -> None:
        found[stamp_ns] = value
        if self._kept is not None and len(found) > self._kept:
            del found[next(iter(found))]
