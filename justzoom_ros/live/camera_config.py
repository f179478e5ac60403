"""What the parameters say of the camera, and whether it is enough to register with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.registration.attitude import DOWNWARD_MOUNT, FORWARD_MOUNT, Attitude
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.camera_state import HEIGHT_SHARE
from justzoom_ros.registration.forward_lift import Tilt


def footprint_of(values: Sequence[float]) -> tuple[float, float] | None:
    """Least and greatest ground width of a list of two, None where it is empty or of zeros. Raises
    ConfigError."""
    if not any(values):
        return None
    if len(values) != 2 or not 0 < values[0] <= values[1] < math.inf:
        raise ConfigError(
            f'footprint_m is {list(values)}; it must be two widths in metres, the lesser first'
        )
    return values[0], values[1]


@dataclass(frozen=True)
class CameraConfig:
    """What is known of the camera before a flight. None where a value is not given."""

    fov_rad: float | None = None
    """Horizontal field of view, radians."""

    footprint_m: tuple[float, float] | None = None
    """Least and greatest ground width in view, metres."""

    height_m: float | None = None
    """Height above ground, metres; with a source of heights, the one to expect."""

    height_std_m: float | None = None
    """Standard deviation of heights, `HEIGHT_SHARE` of them unless given."""

    lens_source: str = 'fov'
    """One of `LENS_SOURCES`. Where no camera info has come, `fov_rad` counts if it is given."""

    undistorted: bool = False
    """True where images are undistorted by the camera info, False where they come rectified."""

    height_source: str = 'none'
    """One of `HEIGHT_SOURCES`."""

    ground_altitude_m: float = 0.0
    """What `altitude` or z of the odometry is on the ground, metres."""

    attitude_source: str = 'none'
    """One of `ATTITUDE_SOURCES`."""

    mount: Attitude = Attitude()
    """Tilt of the camera on a level body."""

    tilt: Tilt | None = None
    """Tilt of a camera that looks ahead, on a level body; None for one that looks down."""

    mount_yaw_rad: float = 0.0
    """From the body's front to where the top of the image points, counter-clockwise."""

    imu_yaw: bool = False
    """True where the yaw on `imu` is absolute and may be trusted."""

    yaw_rad: float | None = None
    """Where the top of the image points, if it always points there: yaw from east."""

    yaw_std_rad: float = math.radians(10.0)
    """Standard deviation of `yaw_rad`."""

    slop_s: float = 0.1
    """As in `Samples`."""

    max_age_s: float = 1.0
    """As in `Samples`."""

    @property
    def ahead(self) -> bool:
        """Whether the camera looks ahead."""
        return self.tilt is not None

    @property
    def scale_known(self) -> bool:
        """Whether it is known, or will be heard, how much ground a picture shows."""
        return bool(self.footprint_m or self.height_m or self.height_source != 'none')

    @property
    def lens_known(self) -> bool:
        """Whether the angle of a pixel is known, or will be heard."""
        return self.fov_rad is not None or self.undistorted or self.lens_source == 'camera_info'

    @property
    def body_from_camera(self) -> np.ndarray:
        """Rotation (3, 3) of the optical frame into the body's."""
        cos, sin = math.cos(self.mount_yaw_rad), math.sin(self.mount_yaw_rad)
        turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        if self.tilt is not None:
            return turn @ FORWARD_MOUNT @ self.tilt.level_from_camera
        return turn @ DOWNWARD_MOUNT @ self.mount.level_from_camera()

    def check(self) -> None:
        """Raises ConfigError where it is not enough to register with."""
        if self.ahead:
            if not self.lens_known:
                raise ConfigError(
                    'a camera that looks ahead needs a lens: set camera_fov_deg, or lens_source '
                    'to camera_info'
                )
            return
        if not self.scale_known:
            raise ConfigError(
                'how much ground the pictures show is not known: set height_m or footprint_m, or '
                'a height_source (or the weights of a policy)'
            )
        if self.footprint_m and self.height_m:
            raise ConfigError('footprint_m and height_m are both set; set only one of them')
        tilted = self.mount.off_nadir_rad > 0 or self.attitude_source != 'none'
        if not self.lens_known and (tilted or not self.footprint_m):
            what = 'a tilted camera' if self.footprint_m else 'a height'
            raise ConfigError(
                f'{what} needs a lens: set camera_fov_deg, or lens_source to camera_info'
            )

    def expected_camera(self) -> Camera | None:
        """The `Camera` to make ready for, None where nothing is known of the scale."""
        lens = self.lens()
        if self.ahead:
            return lens
        if self.footprint_m:
            return lens.with_footprint(*self.footprint_m)
        if self.height_m:
            return self.at_height(lens, self.height_m)
        return lens.with_unknown_height() if self.scale_known else None

    def lens(self) -> Camera:
        """A `Camera` with the field of view, if it is given."""
        if self.fov_rad is None:
            return Camera(ahead=self.ahead)
        return Camera.from_fov(self.fov_rad, ahead=self.ahead)

    def at_height(self, lens: Camera, height_m: float) -> Camera:
        """A camera at a height, with its deviation. Raises ConfigError for one below ground."""
        std_m = HEIGHT_SHARE * height_m if self.height_std_m is None else self.height_std_m
        return lens.with_height(height_m, std_m)
