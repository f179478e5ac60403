"""What is known of a camera at the time of one picture: lens, height, tilt, heading."""

from dataclasses import dataclass, replace
from math import cos, sin

import numpy as np

from justzoom_ros.registration.attitude import DOWNWARD_MOUNT, FORWARD_MOUNT, Attitude
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

    body_from_camera: np.ndarray | None = None
    """Rotation (3, 3) of the optical frame into the robot's, where the tilt was measured: other
    cameras of a rig are tilted otherwise where the robot leans. None where they are tilted
    alike."""

    def turned(self, heading_rad: float) -> tuple['CameraState', float]:
        """The state of another camera of the rig, mounted as this one but turned about the
        robot's up axis, and its yaw against this one: both in radians, counter-clockwise.

        Raises ConfigError where it looks above the horizon, or, ahead, is tilted too far.
        """
        if self.body_from_camera is None or heading_rad == 0:
            return self, heading_rad
        c, s = cos(heading_rad), sin(heading_rad)
        turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        between = self.body_from_camera.T @ turn @ self.body_from_camera
        if self.tilt is not None:
            tilt, yaw_rad = Tilt.from_camera_rotation(
                FORWARD_MOUNT @ self.tilt.level_from_camera @ between
            )
            return replace(self, tilt=tilt), yaw_rad
        own = self.attitude or Attitude()
        attitude, yaw_rad = Attitude.from_camera_rotation(
            DOWNWARD_MOUNT @ own.level_from_camera() @ between
        )
        return replace(self, attitude=replace(attitude, std_rad=own.std_rad)), yaw_rad
