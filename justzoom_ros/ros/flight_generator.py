"""What stands in for a drone in long measurements of the node: publishes pictures, odometry and
heights, hears fixes."""

import math
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Range

from justzoom_ros.pose import Pose
from justzoom_ros.ros.live_replay import LiveNode


class FlightGenerator(LiveNode):
    """Use as a context manager, see LiveNode. The node under test takes compressed pictures on
    `image_topic`, odometry on /odom and ranges on /height."""

    def __init__(self, image_topic: str) -> None:
        types = {
            image_topic: 'sensor_msgs/msg/CompressedImage',
            '/odom': 'nav_msgs/msg/Odometry',
            '/height': 'sensor_msgs/msg/Range',
        }
        super().__init__(types, image_topic)

    def send_frame(self, stamp_ns: int, jpeg: bytes) -> None:
        """Publish one picture."""
        image = CompressedImage(format='jpeg', data=jpeg)
        image.header.frame_id = 'camera'
        self._send(self.image_topic, image, stamp_ns)

    def send_odometry(self, pose: Pose) -> None:
        """Publish where the drone is in the frame of its odometry."""
        odometry = Odometry()
        odometry.header.frame_id, odometry.child_frame_id = 'odom', 'base_link'
        position, turn = odometry.pose.pose.position, odometry.pose.pose.orientation
        position.x, position.y = pose.x_m, pose.y_m
        turn.z, turn.w = math.sin(pose.yaw_rad / 2), math.cos(pose.yaw_rad / 2)
        self._send('/odom', odometry, pose.stamp_ns)

    def send_height(self, stamp_ns: int, height_m: float) -> None:
        """Publish what a rangefinder that looks down says."""
        message = Range(min_range=0.1, max_range=1000.0, range=height_m)
        message.header.frame_id = 'rangefinder'
        self._send('/height', message, stamp_ns)

    def _send(self, topic: str, message: Any, stamp_ns: int) -> None:
        message.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
        self._publishers[topic].publish(message)
