"""What stands in for a robot in measurements of the node: sends images with odometry, hears fixes
and diagnostics."""

import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage

from justzoom_ros.ros.live_replay import LiveNode

PATIENCE_S = 5.0
"""So long a fix is waited for."""
START_NS = 1_000_000_000_000
STEP_NS = 20_000_000
STEP_M = 0.1
"""From one frame to the next."""


class LoadGenerator(LiveNode):
    """Use as a context manager, see LiveNode. `diagnoses`: the values of each diagnostics message
    of the node."""

    def __init__(self, image_topic: str, odometry_topic: str) -> None:
        images = {image_topic: 'sensor_msgs/msg/CompressedImage'}
        super().__init__({**images, odometry_topic: 'nav_msgs/msg/Odometry'}, image_topic)
        self.diagnoses: list[dict[str, str]] = []
        self._odometry_topic, self._sent = odometry_topic, 0
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnosis, 10)

    def send_frame(self, jpeg: bytes) -> int:
        """Publish one image, after where the robot is by then; returns the stamp (ns)."""
        self._sent += 1
        odometry = Odometry()
        odometry.header.frame_id, odometry.child_frame_id = 'odom', 'base_link'
        odometry.pose.pose.position.x = STEP_M * self._sent
        odometry.pose.pose.orientation.w = 1.0
        self._send(self._odometry_topic, odometry)
        image = CompressedImage(format='jpeg', data=jpeg)
        image.header.frame_id = 'camera'
        return self._send(self.image_topic, image)

    def _send(self, topic: str, message: Any) -> int:
        stamp_ns = START_NS + STEP_NS * self._sent
        message.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
        self._publishers[topic].publish(message)
        return stamp_ns

    def ask_frame(self, jpeg: bytes) -> None:
        """As `send_frame`, and wait for the fix, though not for ever."""
        stamp_ns, end_s = self.send_frame(jpeg), time.monotonic() + PATIENCE_S
        while stamp_ns not in self.arrivals and time.monotonic() < end_s:
            self._spin_once()

    def _on_diagnosis(self, message: DiagnosticArray) -> None:
        self.diagnoses += [{v.key: v.value for v in s.values} for s in message.status]
