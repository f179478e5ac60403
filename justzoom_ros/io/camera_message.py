"""Messages about a camera to what registration takes: height, orientation, lens. No rclpy.

Works on anything that has the fields of `sensor_msgs/Range`, `sensor_msgs/Imu`,
`geometry_msgs/QuaternionStamped` or `sensor_msgs/CameraInfo`: messages of rclpy, of rosbags, or
stand-ins.
"""

import math
from dataclasses import dataclass
from typing import Any

from justzoom_ros.io.motion_message import NO_ORIENTATION

Quaternion = tuple[float, float, float, float]
"""x, y, z, w"""


@dataclass(frozen=True)
class Pinhole:
    """The matrix of a `sensor_msgs/CameraInfo`, for images of one size."""

    matrix: tuple[float, ...]
    """fx, 0, cx, 0, fy, cy, 0, 0, 1 in pixels."""

    size_px: tuple[int, int]
    """Width and height of the images that it is for."""


def range_from_message(message: Any) -> float | None:
    """Metres of a `sensor_msgs/Range`, None where it measured nothing: beyond its limits, or not
    finite."""
    value = float(message.range)
    within = message.min_range <= value <= message.max_range
    return value if within and math.isfinite(value) else None


def orientation_from_imu(message: Any) -> Quaternion | None:
    """The orientation of a `sensor_msgs/Imu`, None where it has none."""
    if message.orientation_covariance[0] == NO_ORIENTATION:
        return None
    return quaternion_of(message.orientation)


def quaternion_of(message: Any) -> Quaternion:
    """x, y, z, w of a `geometry_msgs/Quaternion`."""
    return message.x, message.y, message.z, message.w


def pinhole_from_message(info: Any, rectified: bool) -> Pinhole:
    """The `Pinhole` of a `sensor_msgs/CameraInfo`: by P for rectified images (by K where there is
    no P), by K for others. A region of interest moves the optical axis."""
    fx, _, cx, _, fy, cy = info.k[:6]
    if rectified and info.p[0] > 0:
        fx, cx, fy, cy = info.p[0], info.p[2], info.p[5], info.p[6]
    size_px = int(info.width), int(info.height)
    if info.roi.width and info.roi.height:
        cx, cy = cx - info.roi.x_offset, cy - info.roi.y_offset
        size_px = int(info.roi.width), int(info.roi.height)
    return Pinhole((fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0), size_px)
