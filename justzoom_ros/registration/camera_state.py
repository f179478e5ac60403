"""What is known of a camera at the time of one picture: lens, height, tilt, heading."""

from dataclasses import dataclass

from justzoom_ros.registration.attitude import Attitude
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.forward_lift import Tilt

HEIGHT_SHARE = 0.1
"""Deviation of a height that comes without one, as a share of it."""


@dataclass(frozen=True)
class CameraState:
    """A camera at the time of one picture. What is not known is None."""

    camera: Camera | None = None
    """Its lens, and its height or range of heights above ground."""

    attitude: Attitude | None = None
    """Its tilt; level where nothing is known."""

    yaw_rad: float | None = None
    """Where the top of a level image points, counter-clockwise from east: a prior, from a compass
    or the like."""

    yaw_std_rad: float | None = None
    """Standard deviation of `yaw_rad`."""

    mount_yaw_rad: float = 0.0
    """From where the robot's front points to where the top of a level image points,
    counter-clockwise: the yaw of the image less that of the robot."""

    tilt: Tilt | None = None
    """Tilt of a camera that looks ahead; level where nothing is known."""
