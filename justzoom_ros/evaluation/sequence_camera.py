"""What is known of the camera of a sequence: options first, then what a bag says as it plays.

The lens comes from a `sensor_msgs/CameraInfo`, the height above ground from a range finder or a
topic of heights, as the node takes them; frames of a dataset have columns instead.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from justzoom_ros.errors import ConfigError, ImageError
from justzoom_ros.evaluation.image_camera import CameraKnowledge
from justzoom_ros.io.bags import Bag
from justzoom_ros.io.camera_message import pinhole_from_message
from justzoom_ros.io.sequences import (
    AttitudeEvent,
    CameraInfoEvent,
    Event,
    FrameEvent,
    HeightEvent,
    SequenceTopics,
    events_of_bag,
)
from justzoom_ros.io.undistortion import Undistorter
from justzoom_ros.registration.attitude import DOWNWARD_MOUNT, FORWARD_MOUNT, Attitude
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.camera_state import HEIGHT_SHARE, CameraState
from justzoom_ros.registration.image_columns import has_scale


class SequenceCamera:
    """The camera of one sequence as its events come. `knowledge`: what is known without them;
    `topics`: those that tell of lens and height, frames before their first message have none;
    `undistort`: images by the camera info, as the node's parameter of this name."""

    def __init__(
        self,
        knowledge: CameraKnowledge | None = None,
        topics: SequenceTopics | None = None,
        undistort: bool = False,
    ) -> None:
        self.knowledge, self.topics = knowledge or CameraKnowledge(), topics or SequenceTopics()
        self._undistorter = Undistorter() if undistort else None
        self._lens: Camera | None = None
        self._height_m: float | None = None
        self._attitude: Attitude | ConfigError | None = None

    def add(self, event: Event) -> None:
        """Take what an event says of the camera. Raises ConfigError for a camera info that is no
        calibration."""
        if isinstance(event, HeightEvent):
            self._height_m = event.height_m
        elif isinstance(event, AttitudeEvent):
            mount = FORWARD_MOUNT if event.of_camera else DOWNWARD_MOUNT
            try:
                self._attitude, _ = Attitude.from_imu(event.orientation, mount)
            except ConfigError as error:
                self._attitude = error
        elif isinstance(event, CameraInfoEvent):
            self._lens = lens_of(event.info, rectified=self._undistorter is None)
            if self._undistorter:
                self._undistorter.set_info(event.info)

    def load(self, frame: FrameEvent) -> np.ndarray:
        """The pixels of a frame, uint8 (H, W, 3) RGB, undistorted where that is asked for. Raises
        ImageError."""
        pixels = frame.load()
        return self._undistorter.undistort(pixels) if self._undistorter else pixels

    def state_of(self, frame: FrameEvent) -> CameraState:
        """All that is known at a frame. Raises ImageError where a height or a lens is still to
        come, or the camera looks above the horizon."""
        if frame.image is not None:
            return self.knowledge.state_of(frame.image)
        for what, topic, heard in (
            ('lens', self.topics.camera_info, self._lens),
            ('height', self.topics.heights, self._height_m),
            ('attitude', self.topics.attitudes, self._attitude),
        ):
            if topic and heard is None:
                raise ImageError(f'no {what}: none heard on {topic} yet')
        if isinstance(self._attitude, ConfigError):
            raise ImageError(f'no view of the ground: {self._attitude}')
        heading = self.knowledge.yaw_rad, self.knowledge.yaw_std_rad
        return CameraState(self._camera(), self._attitude, *heading)

    def _camera(self) -> Camera | None:
        camera = self.knowledge.camera
        if self._lens is not None:
            known = camera or Camera()
            camera = replace(known, fov_rad=None, intrinsics=self._lens.intrinsics)
        if self._height_m is None:
            return camera
        std_m = self.knowledge.height_std_m
        std_m = self._height_m * HEIGHT_SHARE if std_m is None else std_m
        return (camera or Camera()).with_height(self._height_m, std_m)


def lens_of(info: Any, rectified: bool) -> Camera:
    """The lens that a `sensor_msgs/CameraInfo` tells: by P for `rectified` images, where there is
    one, by K for others. Raises ConfigError where it holds no calibration."""
    pinhole = pinhole_from_message(info, rectified)
    try:
        return Camera.from_intrinsics(pinhole.matrix, pinhole.size_px)
    except ConfigError as error:
        raise ConfigError(f'the camera info of the bag: {error}; give --fov instead') from error


def camera_of_bag(
    bag: Bag, topics: SequenceTopics, knowledge: CameraKnowledge, undistort: bool = False
) -> Camera:
    """A `Camera` for all frames of a bag, which decides how finely the map is looked at. Raises
    ConfigError where neither options nor topics say how much ground is in view, BagError."""
    lens, heights_m = knowledge.camera or Camera(), []
    about = SequenceTopics(camera_info=topics.camera_info, heights=topics.heights)
    for event in events_of_bag(bag, about) if about.names else ():
        if isinstance(event, HeightEvent):
            heights_m.append(event.height_m)
        elif isinstance(event, CameraInfoEvent) and lens.intrinsics is None:
            found = lens_of(event.info, rectified=not undistort)
            lens = replace(lens, fov_rad=None, intrinsics=found.intrinsics)
    if heights_m:
        lens = lens.with_height_range(min(heights_m), max(heights_m))
    if not has_scale(lens):
        if lens.ahead:
            raise ConfigError(
                f'what is the lens of bag {bag.path}? Give --fov, or a camera info topic in the '
                'bag (--camera-info TOPIC)'
            )
        raise ConfigError(f'how much ground does bag {bag.path} show? {_missing(lens)}')
    return lens


def _missing(camera: Camera) -> str:
    """What to give where the scale does not follow."""
    if camera.lens_known:
        return 'give the height above ground: --height-topic TOPIC, --height M or --footprint'
    if camera.height_m is not None or camera.height_range_m is not None:
        return 'give the lens: a camera info topic in the bag, --fov or --footprint'
    return 'give --footprint, or the height (--height or --height-topic) and --fov'


def listen(events: Iterable[Event], camera: SequenceCamera) -> Iterable[Event]:
    """Yield events that are not about the camera, which has heard the others."""
    for event in events:
        if isinstance(event, HeightEvent | AttitudeEvent | CameraInfoEvent):
            camera.add(event)
        else:
            yield event
