"""The executable `fix_relay`: fixes and poses of the node, thinned for robot_localization.

Takes `fix` and `pose`, publishes `fix_throttled` and `pose_throttled`, unchanged: never NO_FIX,
never before the heading is known, never of a camera that TF does not know. With `increments` every
`fix_increment` becomes a `fix_throttled`, and poses are thinned as before.
"""

import sys
from collections.abc import Sequence

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from sensor_msgs.msg import NavSatFix

from justzoom_ros.live.fix_thinner import FixThinner, Pair, ThinnerConfig
from justzoom_ros.ros.frame_check import FrameCheck
from justzoom_ros.ros.spin import run_node

DEPTH = 10


class FixRelay(Node):
    """Parameters: `period_s`, `max_heading_std_rad` and `increments` as in `ThinnerConfig`, and
    `base_frame`, from which the fix's frame must be known. Raises ConfigError for values out of
    range."""

    def __init__(self) -> None:
        super().__init__('fix_relay')
        default = ThinnerConfig()
        config = ThinnerConfig(
            self.declare_parameter('period_s', default.period_s).value,
            self.declare_parameter('max_heading_std_rad', default.max_heading_std_rad).value,
            self.declare_parameter('increments', default.increments).value,
        )
        self._increments = config.increments
        self._thinner = FixThinner(config)
        self._frames = FrameCheck(self, self.declare_parameter('base_frame', 'base_link').value)
        self._fixes = self.create_publisher(NavSatFix, 'fix_throttled', DEPTH)
        self._poses = self.create_publisher(PoseWithCovarianceStamped, 'pose_throttled', DEPTH)
        self.create_subscription(NavSatFix, 'fix', self._on_fix, DEPTH)
        self.create_subscription(PoseWithCovarianceStamped, 'pose', self._on_pose, DEPTH)
        if config.increments:
            self.create_subscription(NavSatFix, 'fix_increment', self._on_increment, DEPTH)

    def _on_fix(self, message: NavSatFix) -> None:
        if self._frames.knows(message.header.frame_id):
            self._pass_on(self._thinner.add_fix(message))

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        self._pass_on(self._thinner.add_pose(message))

    def _on_increment(self, message: NavSatFix) -> None:
        if self._frames.knows(message.header.frame_id):
            self._fixes.publish(message)

    def _pass_on(self, pair: Pair | None) -> None:
        if pair:
            if not self._increments:
                self._fixes.publish(pair[0])
            self._poses.publish(pair[1])


def main(args: Sequence[str] | None = None) -> int:
    """Run the relay; `args` are ROS arguments. Returns the exit status, 2 for wrong ones."""
    return run_node(FixRelay, args)


if __name__ == '__main__':
    sys.exit(main())
