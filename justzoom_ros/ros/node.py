"""The executable `localize`: the lifecycle node of lifecycle.py, spun until it is interrupted."""

import signal
import sys
from collections.abc import Sequence
from types import ModuleType

from justzoom_ros.live.heap import share_heap


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; `args` are ROS arguments. Returns the exit status: 0 when interrupted, 2 where
    ROS is not there or a parameter is wrong."""
    share_heap()  # before there are threads
    try:
        import rclpy
    except ImportError as error:
        print(f'justzoom: error: {error}; source your ROS 2 setup', file=sys.stderr)
        return 2
    try:
        return _run(rclpy, args)
    except KeyboardInterrupt:
        return 0
    finally:
        # Launch repeats the signal of a terminal; the second must not break the orderly end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        rclpy.try_shutdown()


def _run(rclpy: ModuleType, args: Sequence[str] | None) -> int:
    from rclpy.exceptions import ParameterException
    from rclpy.executors import ExternalShutdownException

    from justzoom_ros.ros.lifecycle import LocalizeNode

    try:
        rclpy.init(args=args)
        node = LocalizeNode()
    # RuntimeError is what rclpy makes of arguments and files that it cannot read.
    except (ParameterException, RuntimeError) as error:
        print(f'justzoom: error: {error}', file=sys.stderr)
        return 2
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
    return 0


if __name__ == '__main__':
    sys.exit(main())
