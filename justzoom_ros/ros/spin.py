"""A small node from its start to its end."""

import signal
import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from justzoom_ros.errors import JustZoomError, first_line


def run_node(make: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Spin what `make` gives until it is interrupted; `args` are ROS arguments. Returns the exit
    status: 0 when interrupted, 2 (and one line on stderr) where an argument is wrong."""
    try:
        rclpy.init(args=None if args is None else list(args))
        node = make()
        try:
            rclpy.spin(node)
        finally:
            node.destroy_node()
    # RuntimeError is what rclpy makes of arguments and files that it cannot read.
    except (JustZoomError, ParameterException, RuntimeError) as error:
        print(f'justzoom: error: {first_line(error)}', file=sys.stderr)
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        # Launch repeats the signal of a terminal; the second must not break the orderly end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        rclpy.try_shutdown()
    return 0
