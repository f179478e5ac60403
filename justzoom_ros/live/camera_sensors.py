"""What is heard of the camera while it flies: height, orientation, lens. No ROS in here.

The executor's thread hands over what it hears; the worker asks for the state of the camera at the
time of a frame. Nothing that is heard raises an error before then.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from justzoom_ros.errors import ConfigError, ViewError
from justzoom_ros.io.camera_message import (
    Quaternion,
    orientation_from_imu,
    pinhole_from_message,
    quaternion_of,
    range_from_message,
)
from justzoom_ros.io.motion_message import heading_from_message
from justzoom_ros.io.stamps import to_nanoseconds
from justzoom_ros.live.camera_config import CameraConfig
from justzoom_ros.live.samples import Moment, Samples
from justzoom_ros.registration.attitude import (
    FORWARD_MOUNT,
    TILT_STD_RAD,
    Attitude,
    rotation_from_quaternion,
)
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.camera_state import CameraState
from justzoom_ros.registration.forward_lift import Tilt

HEIGHT_TOPICS = {'range': 'height', 'float64': 'height', 'altitude': 'altitude', 'odom': 'odom'}
"""{source of heights: topic}"""

Heading = tuple[float, float]
"""Yaw from east and its standard deviation, radians."""


class CameraSensors:
    """Keeps what is heard of a camera; `state_at` makes a `CameraState` of it."""

    def __init__(
        self,
        config: CameraConfig | None = None,
        resolve_topic: Callable[[str], str] = lambda topic: topic,
    ) -> None:
        """`resolve_topic` gives the full name of a topic, for messages to people."""
        self.config = config = config or CameraConfig()
        self._resolve_topic = resolve_topic
        self.heights = Samples[float](config.slop_s, config.max_age_s)
        self.orientations = Samples[Quaternion](config.slop_s, config.max_age_s)
        self.headings = Samples[Heading](config.slop_s, config.max_age_s)
        self._info: Any = None

    # --- the executor's thread -----------------------------------------------------------------

    def add_range(self, message: Any) -> None:
        """A `sensor_msgs/Range` to the ground."""
        height_m = range_from_message(message)
        if height_m is not None:
            self.heights.add(_moment(message), height_m)

    def add_height(self, message: Any) -> None:
        """A `std_msgs/Float64`: metres above ground. It has no stamp: its arrival counts."""
        self.heights.add(Moment(None, time.monotonic()), message.data)

    def add_altitude(self, message: Any) -> None:
        """A `std_msgs/Float64`: metres, less those of the ground."""
        height_m = message.data - self.config.ground_altitude_m
        self.heights.add(Moment(None, time.monotonic()), height_m)

    def add_odometry(self, message: Any) -> None:
        """A `nav_msgs/Odometry`, whose z counts, less that of the ground."""
        z_m = message.pose.pose.position.z
        self.heights.add(_moment(message), z_m - self.config.ground_altitude_m)

    def add_imu(self, message: Any) -> None:
        """A `sensor_msgs/Imu` of the body."""
        if self.config.attitude_source == 'imu' and (found := orientation_from_imu(message)):
            self.orientations.add(_moment(message), found)
        if self.config.imu_yaw and (heading := heading_from_message(message)):
            self.headings.add(_moment(message), heading)

    def add_gimbal(self, message: Any) -> None:
        """A `geometry_msgs/QuaternionStamped`: the camera's own, x along the view, z up."""
        self.orientations.add(_moment(message), quaternion_of(message.quaternion))

    def set_info(self, info: Any) -> None:
        """Take a `sensor_msgs/CameraInfo`."""
        self._info = info

    # --- the worker's thread -------------------------------------------------------------------

    def state_at(self, moment: Moment) -> CameraState:
        """The `CameraState` of a frame; without a camera where nothing is set that says how much
        ground it shows, as with a policy, which was trained for one. Raises ViewError where what
        is set is not heard, or the camera looks above the horizon; the text before the colon names
        the kind."""
        if self.config.ahead:
            tilt, yaw_rad = self._tilt_at(moment)
            heading = self._heading_at(moment, yaw_rad)
            lens = replace(self._lens(), ahead=True)
            return CameraState(
                lens, None, *heading, self.config.mount_yaw_rad, tilt, self._measured_mount
            )
        attitude, yaw_rad = self._attitude_at(moment)
        heading = self._heading_at(moment, yaw_rad)
        camera = self._camera_at(moment)
        return CameraState(
            camera,
            attitude,
            *heading,
            self.config.mount_yaw_rad,
            body_from_camera=self._measured_mount,
        )

    def _camera_at(self, moment: Moment) -> Camera | None:
        if not self.config.scale_known:
            return None
        config, lens = self.config, self._lens()
        if config.height_source != 'none':
            height_m = self._heard(self.heights, moment, 'height', self._height_topic)
            if not height_m > 0:
                raise ViewError(f'no height: {self._height_topic} says {height_m:.1f} m')
            height_m *= self._upright(moment)
            return _known('height', lambda: config.at_height(lens, height_m))
        if config.footprint_m:
            return lens.with_footprint(*config.footprint_m)
        return config.at_height(lens, cast(float, config.height_m))

    def _upright(self, moment: Moment) -> float:
        """Height above ground for each metre that a sensor along the body's axis measures: the
        cosine of the body's tilt, where that is known; 1 where heights are measured otherwise."""
        config = self.config
        if config.height_source != 'range' or config.attitude_source != 'imu':
            return 1.0
        orientation, _ = self._orientation_at(moment)
        rotation = _known('attitude', lambda: rotation_from_quaternion(orientation))
        if not rotation[2, 2] > 0:
            raise ViewError('no height: the range sensor looks above the horizon')
        return float(rotation[2, 2])

    @property
    def _height_topic(self) -> str:
        return self._resolve_topic(HEIGHT_TOPICS[self.config.height_source])

    def _lens(self) -> Camera:
        if self._info is not None:
            pinhole = pinhole_from_message(self._info, rectified=not self.config.undistorted)
            return _known('lens', lambda: Camera.from_intrinsics(pinhole.matrix, pinhole.size_px))
        if self.config.lens_source == 'camera_info' and self.config.fov_rad is None:
            topic = self._resolve_topic('camera_info')
            raise ViewError(f'no lens: none heard on {topic} yet')
        return self.config.lens()

    def _attitude_at(self, moment: Moment) -> tuple[Attitude, float | None]:
        """The tilt, and the yaw where there is one."""
        if self.config.attitude_source == 'none':
            return replace(self.config.mount, std_rad=TILT_STD_RAD), None
        orientation, mount = self._orientation_at(moment)
        kind = 'view of the ground'
        return _known(kind, lambda: Attitude.from_imu(orientation, mount))

    def _tilt_at(self, moment: Moment) -> tuple[Tilt | None, float | None]:
        """The tilt of a camera that looks ahead, and the yaw where there is one."""
        if self.config.attitude_source == 'none':
            return self.config.tilt, None
        orientation, mount = self._orientation_at(moment)
        turn = rotation_from_quaternion(orientation) @ mount
        return _known('view ahead', lambda: Tilt.from_camera_rotation(turn))

    def _orientation_at(self, moment: Moment) -> tuple[Quaternion, np.ndarray]:
        """What is heard of the body's orientation, or the camera's own, and how the camera is
        mounted on what that is of."""
        source = self.config.attitude_source
        topic = self._resolve_topic(source)
        orientation = self._heard(self.orientations, moment, 'attitude', topic)
        return orientation, self._mount

    @property
    def _mount(self) -> np.ndarray:
        """Rotation (3, 3) of the camera into the frame of the orientations that are heard."""
        gimbal = self.config.attitude_source == 'gimbal'
        return FORWARD_MOUNT if gimbal else self.config.body_from_camera

    @property
    def _measured_mount(self) -> np.ndarray | None:
        """The same, None where no orientation is heard."""
        return None if self.config.attitude_source == 'none' else self._mount

    def _heading_at(
        self, moment: Moment, yaw_rad: float | None
    ) -> tuple[float | None, float | None]:
        """Yaw of the image and its deviation, None where there is none to be trusted."""
        config, heard = self.config, self.headings.at(moment)
        # A gimbal turns as it likes: the yaw of the body is not that of the camera.
        if heard is None or config.attitude_source == 'gimbal':
            return config.yaw_rad, None if config.yaw_rad is None else config.yaw_std_rad
        return heard[0] + config.mount_yaw_rad if yaw_rad is None else yaw_rad, heard[1]

    def _heard(self, samples: Samples[Any], moment: Moment, what: str, topic: str) -> Any:
        """The sample of a moment. Raises ViewError that says what was heard."""
        found = samples.at(moment)
        if found is not None:
            return found
        age_s = samples.least_age_s(moment)
        if age_s is None:
            raise ViewError(f'no {what}: none heard on {topic} yet')
        side = 'older' if age_s > 0 else 'newer'
        raise ViewError(
            f'no {what}: the nearest on {topic} is {abs(age_s):.1f} s {side} than the image'
        )


def _known(what: str, make: Callable[[], Any]) -> Any:
    """What `make` makes; a ConfigError becomes a ViewError of a kind."""
    try:
        return make()
    except ConfigError as error:
        raise ViewError(f'no {what}: {error}') from error


def _moment(message: Any) -> Moment:
    """When a message with a header was measured; a stamp of zero is none."""
    return Moment(to_nanoseconds(message.header.stamp) or None, time.monotonic())
