"""Whether the frame of a fix is known to TF: robot_localization takes a fix whose frame it does
not know for one at (0, 0), and is sure of it."""

from rclpy.node import Node
from rclpy.time import Time


class FrameCheck:
    """Asks TF, where tf2_ros is there; elsewhere every frame counts as known. Warns once for each
    frame that is not."""

    def __init__(self, node: Node, base_frame: str) -> None:
        self._node, self._base_frame = node, base_frame
        self._warned = set[str]()
        try:
            import tf2_ros
        except ImportError:
            self._buffer = None
            node.get_logger().warning('tf2_ros is not there: frames of fixes are not checked')
            return
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def knows(self, frame: str) -> bool:
        """Whether there is a transform from the base frame to `frame`."""
        if self._buffer is None or self._buffer.can_transform(self._base_frame, frame, Time()):
            return True
        if frame not in self._warned:
            self._warned.add(frame)
            self._node.get_logger().warning(
                f'no transform from {self._base_frame} to {frame}: fixes are held back until it '
                "is published; give the launch file camera_x ... camera_yaw, or the robot's "
                'description this frame'
            )
        return False
