"""Messages about movement to what the filter takes, without rclpy.

Works on anything that has the fields of `nav_msgs/Odometry`, `sensor_msgs/Imu` or
`sensor_msgs/NavSatFix`: messages of rclpy, of rosbags, or stand-ins.
"""

import math
from typing import Any

import numpy as np

from justzoom_ros.errors import MotionError
from justzoom_ros.io.stamps import to_nanoseconds
from justzoom_ros.pose import Pose

MOVING_M_S, MOVING_RAD_S = 0.1, 0.05
"""A twist faster than this says that the robot moves."""

UNKNOWN_VARIANCE = 1e4
"""Larger ones are how drivers say that they do not measure something."""

NO_ORIENTATION = -1.0
"""First element of an orientation covariance where there is no orientation (sensor_msgs/Imu)."""

NO_FIX = -1
"""sensor_msgs/NavSatStatus.STATUS_NO_FIX"""


def pose_from_message(message: Any) -> Pose:
    """The `Pose` of a `nav_msgs/Odometry`; its variances are those of the twist, where given."""
    position, twist = message.pose.pose.position, message.twist.twist
    covariance = message.twist.covariance
    moving = (
        math.hypot(twist.linear.x, twist.linear.y) > MOVING_M_S
        or abs(twist.angular.z) > MOVING_RAD_S
    )
    return Pose(
        to_nanoseconds(message.header.stamp),
        position.x,
        position.y,
        yaw_from_quaternion(message.pose.pose.orientation),
        _variance(covariance[0]),
        _variance(covariance[35]),
        moving,
    )


def heading_from_message(message: Any) -> tuple[float, float] | None:
    """(yaw, its standard deviation), radians counter-clockwise from east (REP-103, REP-145), of a
    `sensor_msgs/Imu`, None where it has no orientation."""
    if message.orientation_covariance[0] == NO_ORIENTATION:
        return None
    variance = message.orientation_covariance[8]
    if not (math.isfinite(variance) and variance > 0):
        return None
    yaw_rad = yaw_from_quaternion(message.orientation)
    return (yaw_rad, math.sqrt(variance)) if math.isfinite(yaw_rad) else None


def prior_from_message(message: Any) -> tuple[float, float, np.ndarray]:
    """(latitude, longitude, covariance (2, 2) m2 ENU) of a `sensor_msgs/NavSatFix` to start from.
    Raises MotionError where it says nothing."""
    covariance = np.array(message.position_covariance, float).reshape(3, 3)[:2, :2]
    if message.status.status == NO_FIX:  # the default of the message is another, UNKNOWN
        raise MotionError('initial_fix has STATUS_NO_FIX; publish a position')
    if not (abs(message.latitude) <= 90 and abs(message.longitude) <= 180):
        raise MotionError('initial_fix has no position on the earth')
    if message.position_covariance_type == 0 or not np.isfinite(covariance).all():
        raise MotionError('initial_fix has no covariance; set position_covariance and its type')
    if np.linalg.eigvalsh(covariance)[0] <= 0:
        raise MotionError('the covariance of initial_fix is not positive')
    return message.latitude, message.longitude, covariance


def yaw_from_quaternion(q: Any) -> float:
    """Yaw (radians) of a quaternion of any length; NaN for one of length zero or infinity."""
    length = math.hypot(q.x, q.y, q.z, q.w)  # squares of huge numbers would overflow
    if not 1e-3 < length < math.inf:
        return math.nan
    x, y, z, w = (value / length for value in (q.x, q.y, q.z, q.w))
    return math.atan2(2 * (w * z + x * y), 1 - 2 * (y**2 + z**2))


def _variance(value: float) -> float:
    return float(value) if 0 < value < UNKNOWN_VARIANCE else 0.0
