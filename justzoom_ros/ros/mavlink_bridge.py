"""From the node's topics to an autopilot: `fix`, `pose` and `odom` in, MAVLink out."""

from collections.abc import Sequence

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import NavSatFix

from justzoom_ros.live.mavlink import MavlinkSender
from justzoom_ros.live.position_predictor import NoPosition, PositionPredictor
from justzoom_ros.ros.spin import run_node

QUEUE = 100
HEARTBEAT_S = 1.0
LOG_PERIOD_S = 10.0


class MavlinkBridge(Node):
    """The node `mavlink_bridge`: reports at `rate_hz` what a `PositionPredictor` has to say."""

    def __init__(
        self, sender: MavlinkSender, predictor: PositionPredictor, rate_hz: float
    ) -> None:
        super().__init__('mavlink_bridge')
        self._sender, self._predictor = sender, predictor
        best_effort = QoSProfile(depth=QUEUE, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(NavSatFix, 'fix', predictor.add_fix, 10)
        self.create_subscription(PoseWithCovarianceStamped, 'pose', predictor.add_pose, 10)
        self.create_subscription(Odometry, 'odom', predictor.add_odometry, best_effort)
        self.create_timer(1 / rate_hz, self._report)
        self.create_timer(HEARTBEAT_S, sender.send_heartbeat)

    def _report(self) -> None:
        now_ns = self.get_clock().now().nanoseconds
        report = self._predictor.report(now_ns)
        if report is None:
            return
        self._sender.send(report, now_ns)
        if isinstance(report, NoPosition):
            self.get_logger().warning('no position', throttle_duration_sec=LOG_PERIOD_S)


def run_bridge(
    sender: MavlinkSender,
    predictor: PositionPredictor,
    rate_hz: float,
    args: Sequence[str] | None = None,
) -> int:
    """Run until interrupted; `args` are ROS arguments. Returns the exit status."""
    try:
        return run_node(lambda: MavlinkBridge(sender, predictor, rate_hz), args)
    finally:
        sender.close()
