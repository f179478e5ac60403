"""What a robot saw and felt, in the order of time: the one iterator over a sequence.

    with Bag(path) as bag:
        for event in events_of_bag(bag, SequenceTopics.find(bag)):
            match event:
                case OdometryEvent():
                    tracker.add_odometry(event.pose)
                case ClockJumpEvent():
                    tracker.reset()
                case FrameEvent():
                    fix = tracker.locate(event.load(), event.stamp_ns)

Replay, calibration and what is published to a running node all read sequences with it, so that
they agree on the order, on which frames a node would leave out and on what a jump of the clock is.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from justzoom_ros.errors import ImageError
from justzoom_ros.io.bags import IMAGE_TYPES, ODOMETRY_TYPES, Bag, BagMessage, Track
from justzoom_ros.io.camera_message import (
    Quaternion,
    orientation_from_imu,
    quaternion_of,
    range_from_message,
)
from justzoom_ros.io.datasets import GeoImage, sort_by_time
from justzoom_ros.io.dead_reckoning import DriftConfig, dead_reckon
from justzoom_ros.io.image_message import UsedDepth, image_from_message
from justzoom_ros.io.motion_message import heading_from_message, pose_from_message
from justzoom_ros.io.stamps import StampGate, to_nanoseconds
from justzoom_ros.pose import Pose
from justzoom_ros.region import Region

Progress = Callable[[Iterable[Any]], Iterable[Any]]
"""Wraps what is gone through, as tqdm does."""

log = logging.getLogger(__name__)

IMU_TYPES = ('sensor_msgs/msg/Imu',)
CAMERA_INFO_TYPES = ('sensor_msgs/msg/CameraInfo',)
HEIGHT_TYPES = ('sensor_msgs/msg/Range', 'std_msgs/msg/Float64')
ATTITUDE_TYPES = ('geometry_msgs/msg/QuaternionStamped', 'sensor_msgs/msg/Imu')
"""Of a gimbal, the camera's own orientation, x along the view and z up; of the body."""

UNUSABLE = {
    'unset': 'image has no header.stamp',
    'late': 'image is not later than the one before it',
}
"""Why a node leaves a frame out, by the verdict of its `StampGate`."""


# --- events ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FrameEvent:
    """A camera image."""

    stamp_ns: int
    """When it was taken; the time of its recording where it has no stamp."""

    load: Callable[[], np.ndarray]
    """Gives its pixels, uint8 (H, W, 3) RGB. Raises ImageError where a node would give no fix
    for it: it cannot be decoded, has no stamp, or is not later than the frame before it."""

    truth: tuple[float, float] | None = None
    """Latitude and longitude where it was taken, in degrees; None where not known."""

    message: BagMessage | None = None
    """The message that it is from, where it is from a bag."""

    image: GeoImage | None = None
    """The image that it is, where it is from a dataset."""


@dataclass(frozen=True)
class CameraInfoEvent:
    """What is known of the lens from now on."""

    stamp_ns: int
    """When it was said."""

    info: Any
    """A `sensor_msgs/CameraInfo`."""


@dataclass(frozen=True)
class HeightEvent:
    """A measured height of the camera above ground."""

    stamp_ns: int
    """When it was measured."""

    height_m: float
    """Metres, greater than 0."""


@dataclass(frozen=True)
class AttitudeEvent:
    """A measured orientation, of the camera itself or of the body that carries it."""

    stamp_ns: int
    """When it was measured."""

    orientation: Quaternion
    """From the camera (x along the view, z up) or the body into a frame whose z is up."""

    of_camera: bool
    """True for a gimbal's, False for the body's."""


@dataclass(frozen=True)
class OdometryEvent:
    """A sample of the odometry."""

    pose: Pose
    """Where the odometry has come to."""

    @property
    def stamp_ns(self) -> int:
        """When it was measured."""
        return self.pose.stamp_ns


@dataclass(frozen=True)
class HeadingEvent:
    """A measured heading."""

    stamp_ns: int
    """When it was measured."""

    yaw_rad: float
    """Counter-clockwise from east."""

    std_rad: float
    """Its standard deviation."""


@dataclass(frozen=True)
class ClockJumpEvent:
    """Time has jumped back, as it does where a bag loops: what was seen before counts no more."""

    stamp_ns: int
    """The time of the frame that follows."""


@dataclass(frozen=True)
class OtherEvent:
    """A message of a topic that nobody here understands, for those who pass everything on."""

    stamp_ns: int
    """Its stamp, or the time of its recording."""

    message: BagMessage
    """The message as it was recorded."""


Event = (
    FrameEvent
    | OdometryEvent
    | HeadingEvent
    | HeightEvent
    | AttitudeEvent
    | CameraInfoEvent
    | ClockJumpEvent
    | OtherEvent
)


# --- from bags ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class SequenceTopics:
    """The topics of a bag that a sequence is made of."""

    frames: str | None = None
    """Camera images, of one of IMAGE_TYPES."""

    odometry: str | None = None
    """Of one of ODOMETRY_TYPES."""

    headings: str | None = None
    """Of one of IMU_TYPES, with orientations that are absolute (REP-145)."""

    camera_info: str | None = None
    """Of one of CAMERA_INFO_TYPES."""

    heights: str | None = None
    """Heights above ground in metres, of one of HEIGHT_TYPES."""

    attitudes: str | None = None
    """Orientations of the camera or the body, of one of ATTITUDE_TYPES."""

    others: tuple[str, ...] = ()
    """Topics whose messages come as they are."""

    @classmethod
    def find(
        cls,
        bag: Bag,
        frames: str | None = None,
        odometry: str | None = None,
        headings: str | None = None,
    ) -> 'SequenceTopics':
        """The topics named, or the bag's only ones of frames and, where it has any, of odometry.
        Headings are used where they are named: an orientation need not be absolute. Raises
        BagError where a topic is not there, of another type, or one of several."""
        return cls(
            frames=bag.topic(IMAGE_TYPES, frames),
            odometry=_odometry_topic(bag, odometry),
            headings=bag.topic(IMU_TYPES, headings) if headings else None,
        )

    @property
    def names(self) -> list[str]:
        """All of them, each once."""
        camera = self.camera_info, self.heights, self.attitudes
        named = (self.frames, self.odometry, self.headings, *camera, *self.others)
        return list(dict.fromkeys(name for name in named if name))


def _odometry_topic(bag: Bag, wanted: str | None) -> str | None:
    """The topic of the odometry; None where there is none or, with a warning, an empty one."""
    if wanted is None and not bag.candidates(ODOMETRY_TYPES):
        return None
    topic = bag.topic(ODOMETRY_TYPES, wanted, may_be_empty=True)
    if bag.counts[topic]:
        return topic
    log.warning(f'topic {topic} of bag {bag.path} has no messages: there is no odometry')
    return None


def events_of_bag(
    bag: Bag,
    topics: SequenceTopics,
    track: Track | None = None,
    progress: Progress = iter,
    depth: UsedDepth | None = None,
) -> Iterator[Event]:
    """Yield the events of an open bag in the order of its recording, which is how a node gets to
    hear of them. With the Track of true positions, frames know theirs. `depth`, default a new
    one, says how pictures of 16 bits are scaled. Raises BagError."""
    gate, depth = StampGate(), depth or UsedDepth()
    for item in progress(bag.messages(topics.names)):
        if item.topic == topics.frames:
            yield from _frame_events(item, gate, depth, track)
        elif item.topic == topics.odometry:
            yield OdometryEvent(pose_from_message(item.message))
        elif item.topic == topics.headings:
            yield from _heading_events(item)
        elif item.topic == topics.camera_info:
            yield CameraInfoEvent(item.stamp_ns, item.message)
        elif item.topic == topics.heights:
            yield from _height_events(item)
        elif item.topic == topics.attitudes:
            yield from _attitude_events(item)
        else:
            yield OtherEvent(item.stamp_ns, item)


def _frame_events(
    item: BagMessage, gate: StampGate, depth: UsedDepth, track: Track | None
) -> Iterator[Event]:
    verdict = gate.judge(to_nanoseconds(item.message.header.stamp))
    if verdict == 'jump':
        yield ClockJumpEvent(item.stamp_ns)
    truth = track.at(item.stamp_ns) if track else None
    yield FrameEvent(item.stamp_ns, partial(_decode, item, verdict, depth), truth, item)


def _decode(item: BagMessage, verdict: str, depth: UsedDepth) -> np.ndarray:
    if verdict in UNUSABLE:
        raise ImageError(UNUSABLE[verdict])
    return image_from_message(item.message, depth=depth)


def _heading_events(item: BagMessage) -> Iterator[HeadingEvent]:
    measured = heading_from_message(item.message)
    if measured is not None:
        yield HeadingEvent(item.stamp_ns, *measured)


def _height_events(item: BagMessage) -> Iterator[HeightEvent]:
    """None of a height that is no number or not above ground."""
    is_range = item.type == HEIGHT_TYPES[0]
    height_m = range_from_message(item.message) if is_range else float(item.message.data)
    if height_m is not None and np.isfinite(height_m) and height_m > 0:
        yield HeightEvent(item.stamp_ns, height_m)


def _attitude_events(item: BagMessage) -> Iterator[AttitudeEvent]:
    """None of an IMU without an orientation."""
    of_camera = item.type == ATTITUDE_TYPES[0]
    if of_camera:
        orientation: Quaternion | None = quaternion_of(item.message.quaternion)
    else:
        orientation = orientation_from_imu(item.message)
    if orientation is not None:
        yield AttitudeEvent(item.stamp_ns, orientation, of_camera)


# --- from datasets -----------------------------------------------------------------------------


def events_of_images(
    images: Sequence[GeoImage],
    region: Region,
    drift: DriftConfig | None = None,
    progress: Progress = iter,
) -> Iterator[Event]:
    """Yield the events of GeoImages in the order of their times: each frame with its truth, and
    before it odometry made from the true positions with the errors of a `DriftConfig`. `progress`
    wraps the images. Raises DatasetError for an image without a time or with another one's, or,
    when it is loaded, one that is corrupt."""
    images = sort_by_time(images)
    places_m = [region.to_enu(image.latitude, image.longitude) for image in images]
    poses = dead_reckon(np.array([image.stamp_ns for image in images]), places_m, drift)
    for image, pose in zip(progress(images), poses, strict=True):
        yield OdometryEvent(pose)
        truth = image.latitude, image.longitude
        yield FrameEvent(pose.stamp_ns, image.load, truth, image=image)
