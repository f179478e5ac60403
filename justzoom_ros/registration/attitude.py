"""How a camera is tilted against straight down, and how to learn it from an IMU or a gimbal.

Frames. World: ENU. Camera: the optical frame of REP-103, x right and y down the image, z along the
view. Body: REP-103, x forward, y left, z up. A rotation `a_from_b` turns coordinates in b into
coordinates in a.

The *level heading frame* of a camera is what is left when its tilt is taken away: x right, y
behind (down the image), z straight down. `yaw_rad` is the direction of its "ahead", to which the
top of a level image points, counter-clockwise from east.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import acos, asin, atan2, cos, isfinite, pi, sin

import numpy as np

from justzoom_ros.errors import ConfigError

DOWNWARD_MOUNT = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
"""`body_from_camera` of a camera that looks straight down with the top of its image forward."""

FORWARD_MOUNT = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""`body_from_camera` of a camera that looks forward, upright."""


@dataclass(frozen=True)
class Attitude:
    """Tilt of a camera against straight down, as in `NadirPose`. The camera is first rolled about
    the up axis of its image, then pitched about the right axis of the level heading frame.

    Raises ConfigError where the camera looks at or above the horizon.
    """

    pitch_rad: float = 0.0
    """Tilt ahead, in radians: positive looks ahead, towards what the top of the image shows. An
    upright forward camera that looks 30 degrees below the horizon has a pitch of 60 degrees."""

    roll_rad: float = 0.0
    """Tilt to the side, in radians: positive looks to the right."""

    std_rad: float = 0.0
    """Standard deviation of the tilt about either axis. It moves what is seen, and so the fix."""

    def __post_init__(self) -> None:
        if not 0 <= self.std_rad < pi / 2:
            raise ConfigError('the standard deviation of a tilt must lie in 0..90 degrees')
        if not (isfinite(self.pitch_rad) and isfinite(self.roll_rad)):
            raise ConfigError('pitch and roll of a camera must be finite numbers')
        if not (abs(self.pitch_rad) < pi / 2 and abs(self.roll_rad) < pi / 2):
            raise ConfigError(
                f'a camera pitched by {np.degrees(self.pitch_rad):.0f} and rolled by '
                f'{np.degrees(self.roll_rad):.0f} degrees from straight down looks above the '
                'horizon: registration needs a view of the ground'
            )

    @property
    def off_nadir_rad(self) -> float:
        """Angle of the optical axis from straight down."""
        return acos(cos(self.pitch_rad) * cos(self.roll_rad))

    def level_from_camera(self) -> np.ndarray:
        """Rotation (3, 3) of camera coordinates into the level heading frame."""
        cp, sp = cos(self.pitch_rad), sin(self.pitch_rad)
        cr, sr = cos(self.roll_rad), sin(self.roll_rad)
        pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        roll = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
        return pitch @ roll

    @classmethod
    def from_camera_rotation(cls, world_from_camera: np.ndarray) -> tuple['Attitude', float]:
        """The attitude of a camera, and its yaw in radians (counter-clockwise from east).

        `world_from_camera` (3, 3): rotation from the optical frame into ENU. The yaw of an IMU
        without a compass is arbitrary; pitch and roll hold all the same. Raises ConfigError for
        a matrix that is no rotation and for a view above the horizon.
        """
        matrix = _checked_rotation(world_from_camera)
        if not matrix[2, 2] < -1e-9:
            below = np.degrees(asin(np.clip(-matrix[2, 2], -1, 1)))
            raise ConfigError(
                f'the camera looks {-below:.0f} degrees above the horizon: registration needs a '
                'view of the ground; check the attitude and the mount'
            )
        pitch = asin(np.clip(-matrix[2, 1], -1, 1))
        roll = atan2(matrix[2, 0], -matrix[2, 2])
        yaw = atan2(-matrix[1, 1], -matrix[0, 1])
        return cls(pitch, roll), yaw

    @classmethod
    def from_imu(
        cls,
        orientation_xyzw: Sequence[float] | np.ndarray,
        body_from_camera: np.ndarray = DOWNWARD_MOUNT,
    ) -> tuple['Attitude', float]:
        """The attitude and yaw of a camera that is fixed to a body with an orientation.

        `orientation_xyzw`: quaternion of a `sensor_msgs/Imu`, odometry or gimbal, from the body
        into ENU. `body_from_camera` (3, 3): how the camera is mounted. Raises ConfigError.
        """
        body = rotation_from_quaternion(orientation_xyzw)
        return cls.from_camera_rotation(body @ _checked_rotation(body_from_camera))


TILT_STD_RAD = 0.05
"""Standard deviation of a tilt that nobody measures, 3 degrees: a multirotor in light wind."""

UNKNOWN_TILT = Attitude(std_rad=TILT_STD_RAD)
"""Level as far as one knows."""


def rotation_from_quaternion(xyzw: Sequence[float] | np.ndarray) -> np.ndarray:
    """Rotation (3, 3) of a quaternion x, y, z, w of any length. Raises ConfigError for zero or a
    number that is not finite."""
    values = np.asarray(xyzw, float)
    norm = float(np.linalg.norm(values))
    if values.shape != (4,) or not (np.isfinite(norm) and norm > 1e-9):
        raise ConfigError(f'{list(np.ravel(values))} is no orientation (a quaternion x, y, z, w)')
    x, y, z, w = values / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _checked_rotation(matrix: np.ndarray) -> np.ndarray:
    matrix = np.asarray(matrix, float)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise ConfigError('a rotation must be a matrix of 3 x 3 finite numbers')
    if np.abs(matrix @ matrix.T - np.eye(3)).max() > 1e-3 or np.linalg.det(matrix) < 0:
        raise ConfigError('a matrix of an attitude or a mount is no rotation')
    return matrix
