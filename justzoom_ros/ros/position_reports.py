"""Where the robot is, told to autopilots several times a second: `fix`, `pose` and `odom` of a
node in, what a `PositionPredictor` makes of them out."""

from collections.abc import Sequence
from typing import Any, Protocol

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import NavSatFix

from justzoom_ros.live.position_predictor import NoPosition, Position, PositionPredictor

QUEUE = 100
HEARTBEAT_S = 1.0
LOG_PERIOD_S = 10.0


class PositionSender(Protocol):
    """What tells one autopilot."""

    def send(self, report: Position | NoPosition, now_ns: int) -> bool:
        """Send a report now (nanoseconds since 1970); returns whether there was one to send."""

    def send_heartbeat(self) -> None:
        """Say once a second that it is there."""

    def close(self) -> None:
        """No more."""


class PositionReports:
    """Hears `fix`, `pose` and `odom` on a node, and hands what is new to every sender `rate_hz`
    times a second, until `close`."""

    def __init__(
        self,
        node: Node,
        senders: Sequence[PositionSender],
        rate_hz: float,
        predictor: PositionPredictor,
    ) -> None:
        self._node, self._senders, self._predictor = node, senders, predictor
        best_effort = QoSProfile(depth=QUEUE, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._subscriptions: list[Any] = [
            node.create_subscription(NavSatFix, 'fix', predictor.add_fix, 10),
            node.create_subscription(PoseWithCovarianceStamped, 'pose', predictor.add_pose, 10),
            node.create_subscription(Odometry, 'odom', predictor.add_odometry, best_effort),
        ]
        self._timers = [
            node.create_timer(1 / rate_hz, self._report),
            node.create_timer(HEARTBEAT_S, self._beat),
        ]

    def close(self) -> None:
        """Tell nobody any more."""
        for timer in self._timers:
            self._node.destroy_timer(timer)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        for sender in self._senders:
            sender.close()

    def _report(self) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        report = self._predictor.report(now_ns)
        if report is None:
            return
        for sender in self._senders:
            sender.send(report, now_ns)
        if isinstance(report, NoPosition):
            logger = self._node.get_logger()
            logger.warning('no position', throttle_duration_sec=LOG_PERIOD_S)

    def _beat(self) -> None:
        for sender in self._senders:
            sender.send_heartbeat()
