"""From the node's topics to an autopilot: `fix`, `pose` and `odom` in, MAVLink out."""

from collections.abc import Sequence

from rclpy.node import Node

from justzoom_ros.live.mavlink import MavlinkSender
from justzoom_ros.live.position_predictor import PositionPredictor
from justzoom_ros.ros.position_reports import PositionReports
from justzoom_ros.ros.spin import run_node


class MavlinkBridge(Node):
    """The node `mavlink_bridge`: reports at `rate_hz` what a `PositionPredictor` has to say."""

    def __init__(
        self, sender: MavlinkSender, predictor: PositionPredictor, rate_hz: float
    ) -> None:
        super().__init__('mavlink_bridge')
        self._reports = PositionReports(self, [sender], rate_hz, predictor)


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
