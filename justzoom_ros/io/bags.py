"""Bags: camera images with their true positions, written to and read from rosbag2.

Reading takes mcap and sqlite3 bags, a bag's folder or one of its files, through `rosbags`, so that
no ROS installation is needed. Everything that is wrong with a bag is a BagError naming it.
"""

import io
import logging
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from justzoom_ros.errors import BagError, DatasetError, JustZoomError
from justzoom_ros.files import writing
from justzoom_ros.io.bag_reader import StorageReader, open_reader
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.io.stamps import from_nanoseconds, to_nanoseconds
from justzoom_ros.io.static_transform import StaticTransform, write_static_transform
from justzoom_ros.pose import Pose

log = logging.getLogger(__name__)

IMAGE_TYPES = ('sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/Image')
ODOMETRY_TYPES = ('nav_msgs/msg/Odometry',)
TRUTH_TYPES = ('sensor_msgs/msg/NavSatFix',)
ODOM_TOPIC = '/odom'
NO_FIX = -1
"""sensor_msgs/NavSatStatus.STATUS_NO_FIX. UNKNOWN, -2, is what a message says by itself since
Jazzy: its position may well be valid."""

MAX_GAP_S = 5.0
"""A truth that is farther than this in time from an image says nothing about it."""

JPEG_QUALITY = 95


# --- reading -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class BagMessage:
    """One message of a bag."""

    topic: str
    """Name of its topic."""

    type: str
    """Its type, such as 'sensor_msgs/msg/Image'."""

    stamp_ns: int
    """Stamp of its header in nanoseconds, the time of the recording where it has none."""

    raw: bytes
    """Its bytes as recorded (CDR)."""

    message: Any
    """The message itself, deserialised."""


class Bag:
    """An open bag; use as a context manager: `with Bag(path) as bag`.

    Raises BagError for a path that is missing, empty, truncated or no rosbag2.
    """

    topics: dict[str, str]
    """{name: type} of its topics."""

    counts: dict[str, int]
    """{name: number of messages} of its topics."""

    _reader: StorageReader
    _stack: ExitStack

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __enter__(self) -> 'Bag':
        self._stack = ExitStack()
        with _errors_naming(self.path), _closing_on_error(self._stack):
            reader = self._reader = open_reader(self.path, self._stack)
            self.topics = {name: str(info.msgtype) for name, info in reader.topics.items()}
            self.counts = {name: info.msgcount for name, info in reader.topics.items()}
        if not sum(self.counts.values()):
            self._stack.close()
            raise BagError(f'bag {self.path} holds no messages')
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def topic(
        self, types: Collection[str], wanted: str | None = None, may_be_empty: bool = False
    ) -> str:
        """The name of the topic `wanted`, or of the only one that has one of `types`.

        Raises BagError, listing the topics there are, where there is none or a choice of them,
        and, unless it `may_be_empty`, where it has no messages.
        """
        if wanted is not None:
            if wanted not in self.topics:
                raise BagError(f'bag {self.path} has no topic {wanted}; {self._topics_text()}')
            if self.topics[wanted] not in types:
                raise BagError(
                    f'topic {wanted} of bag {self.path} is a {self.topics[wanted]}, not a '
                    f'{" or ".join(types)}; {self._topics_text()}'
                )
            candidates = [wanted]
        else:
            candidates = self.candidates(types)
        if len(candidates) != 1:
            found = 'no topic' if not candidates else 'more than one topic'
            raise BagError(
                f'bag {self.path} has {found} of type {" or ".join(types)}; {self._topics_text()}'
            )
        if not (may_be_empty or self.counts[candidates[0]]):
            raise BagError(f'topic {candidates[0]} of bag {self.path} has no messages')
        return candidates[0]

    def candidates(self, types: Collection[str]) -> list[str]:
        """The names of the topics of some types: those that have messages, where any has."""
        names = [name for name, kind in self.topics.items() if kind in types]
        return [name for name in names if self.counts[name]] or names

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """Yield a BagMessage for each message on `topics`, in the order of the recording. Topics
        of types that are not known are left out, with a warning. Raises BagError."""
        wanted = [c for c in self._reader.connections if c.topic in topics]
        for connection in [c for c in wanted if not self._reader.knows(c)]:
            log.warning(
                f'topic {connection.topic} of bag {self.path} is left out: its type '
                f'{connection.msgtype} is not known'
            )
            wanted.remove(connection)
        if not wanted:
            return
        left = sum(c.msgcount for c in wanted)
        with _errors_naming(self.path):
            for connection, recorded_ns, raw in self._reader.messages(wanted):
                message = self._reader.deserialize(raw, connection.msgtype)
                stamp_ns = _stamp_ns(message) or recorded_ns
                left -= 1
                yield BagMessage(connection.topic, connection.msgtype, stamp_ns, raw, message)
        if left > 0:
            log.warning(f'bag {self.path} is truncated: {left} messages are missing')

    def _topics_text(self) -> str:
        listed = (f'{name} ({kind}, {self.counts[name]})' for name, kind in self.topics.items())
        return 'it has ' + ', '.join(listed)


@contextmanager
def _closing_on_error(stack: ExitStack) -> Iterator[None]:
    try:
        yield
    except BaseException:
        stack.close()
        raise


@contextmanager
def _errors_naming(path: Path) -> Iterator[None]:
    """Turn whatever the reader raises on a damaged bag into a BagError that names it."""
    try:
        yield
    except JustZoomError:
        raise
    # A damaged file reaches the parsers of four formats, which raise nearly everything there is.
    except Exception as error:
        says = ' '.join(str(error).split()).rstrip('.') or type(error).__name__
        raise BagError(f'bag {path} is damaged or truncated: {says:.300}') from error


def _stamp_ns(message: Any) -> int:
    """The stamp of a message's header in nanoseconds, 0 where it has none."""
    header = getattr(message, 'header', None)
    return to_nanoseconds(header.stamp) if header else 0


# --- truth -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Track:
    """True positions over time."""

    stamps_ns: np.ndarray
    """Their times in nanoseconds, ascending, int64 (N,)."""

    latitudes: np.ndarray
    """Degrees (WGS84), (N,)."""

    longitudes: np.ndarray
    """Degrees (WGS84), (N,)."""

    dropped: int = 0
    """Number of messages that had no position (no fix, or not a number)."""

    def at(self, stamp_ns: int, max_gap_s: float = MAX_GAP_S) -> tuple[float, float] | None:
        """(latitude, longitude) at a time, linear between the neighbours; None where the nearest
        of them is more than `max_gap_s` seconds away. Beyond the ends the end itself."""
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        pair = np.clip([after - 1, after], 0, len(self.stamps_ns) - 1)
        # Differences of int64 first: a float holds a stamp of today only to 0.2 microseconds.
        since_s = (np.int64(stamp_ns) - self.stamps_ns[pair]) / 1e9
        if np.abs(since_s).min() > max_gap_s:
            return None
        span_s = since_s[0] - since_s[1]
        share = since_s[0] / span_s if span_s > 0 else 0.0
        lat, lon = self.latitudes[pair], self.longitudes[pair]
        turn = (lon[1] - lon[0] + 180.0) % 360.0 - 180.0
        longitude = (lon[0] + share * turn + 180.0) % 360.0 - 180.0
        return float(lat[0] + share * (lat[1] - lat[0])), float(longitude)


class NoPositionError(BagError):
    """No message of a topic has a position."""


def read_track(bag: Bag, topic: str) -> Track:
    """The Track of a NavSatFix topic. Raises BagError where no message has a position."""
    samples: dict[int, tuple[float, float]] = {}
    dropped, no_degrees = 0, 0
    for item in bag.messages([topic]):
        fix = item.message
        valid = abs(fix.latitude) <= 90 and abs(fix.longitude) <= 180  # False for NaN
        no_degrees += not valid and math.isfinite(fix.latitude) and math.isfinite(fix.longitude)
        if valid and fix.status.status != NO_FIX:
            samples[item.stamp_ns] = fix.latitude, fix.longitude
        else:
            dropped += 1
    if not samples:
        hint = ': their latitudes and longitudes are no degrees' if no_degrees else ''
        raise NoPositionError(
            f'topic {topic} of bag {bag.path} has no message with a position{hint}'
        )
    stamps_ns = np.array(sorted(samples), np.int64)
    latitudes, longitudes = np.array([samples[stamp] for stamp in sorted(samples)]).T
    return Track(stamps_ns, latitudes, longitudes, dropped)


def find_track(bag: Bag, wanted: str | None = None) -> Track | None:
    """The Track of the topic `wanted`, or of the bag's only one of NavSatFix; None, with
    a warning, where that has no position: a robot whose GPS never had a fix. None, without one,
    where the bag has no such topic. Raises BagError for a wrong name and for a choice."""
    if wanted is None and not bag.candidates(TRUTH_TYPES):
        return None
    topic = bag.topic(TRUTH_TYPES, wanted, may_be_empty=True)
    try:
        return read_track(bag, topic)
    except NoPositionError as error:
        log.warning(f'{error}: there are no true positions to compare with')
        return None


# --- writing -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SensorSample:
    """One more message of a bag, made when it is written."""

    topic: str
    """Where it goes."""

    kind: str
    """Its type, such as sensor_msgs/msg/Range."""

    stamp_ns: int
    """Its time."""

    make: Callable[[Typestore], Any]
    """The message of a rosbags typestore."""


def write_bag(
    images: Iterable[GeoImage],
    out: str | Path,
    topic: str,
    truth_topic: str,
    frame_id: str = 'camera',
    progress: Callable[[list[GeoImage]], Iterable[GeoImage]] = iter,
    poses: Sequence[Pose] = (),
    samples: Sequence[SensorSample] = (),
    camera: StaticTransform | None = None,
) -> None:
    """Write GeoImages as a rosbag2 (mcap): CompressedImage on `topic`, NavSatFix on `truth_topic`,
    the `Pose`s of a robot, where there are any, as Odometry on ODOM_TOPIC, whatever other sensors
    said, and where the camera is, if given, on /tf_static.

    Stamps are the images' times; a file that is an upright JPEG goes in as it is. `progress`
    wraps the list of images, as tqdm does. Raises DatasetError for an image without a time or
    with another one's, OutputError where `out` cannot be written, BagError where it exists.
    """
    in_order = sort_by_time(images)
    if Path(out).exists():
        raise BagError(f'{out} exists already; remove it or choose another place for the bag')
    with writing(out) as temporary:
        store = get_typestore(Stores.ROS2_KILTED)
        with Writer(temporary, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            truths = writer.add_connection(truth_topic, TRUTH_TYPES[0], typestore=store)
            frames = writer.add_connection(topic, IMAGE_TYPES[0], typestore=store)
            others = [_odometry_sample(pose) for pose in poses] + list(samples)
            connections = {
                topic: writer.add_connection(topic, kind, typestore=store)
                for topic, kind in dict.fromkeys((one.topic, one.kind) for one in others)
            }

            if camera and in_order:
                write_static_transform(writer, store, camera, _stamp_of(in_order[0]))

            def write(connection: Any, stamp_ns: int, message: object) -> None:
                raw = store.serialize_cdr(message, connection.msgtype)
                writer.write(connection, stamp_ns, raw)

            left = deque(sorted(others, key=lambda sample: sample.stamp_ns))
            for image in progress(in_order):
                stamp_ns = _stamp_of(image)
                while left and left[0].stamp_ns <= stamp_ns:
                    one = left.popleft()
                    write(connections[one.topic], one.stamp_ns, one.make(store))
                write(truths, stamp_ns, truth_message(store, image))
                write(frames, stamp_ns, image_message(store, image, frame_id))
        _name_storage(temporary, Path(out).name)


def _odometry_sample(pose: Pose) -> SensorSample:
    kind = ODOMETRY_TYPES[0]
    return SensorSample(
        ODOM_TOPIC, kind, pose.stamp_ns, lambda store: odometry_message(store, pose)
    )


def sort_by_time(images: Iterable[GeoImage]) -> list[GeoImage]:
    """GeoImages in the order of their times. Raises DatasetError where one has no time, or that
    of another."""
    in_order = sorted(images, key=_stamp_of)
    for earlier, later in zip(in_order, in_order[1:], strict=False):
        if earlier.stamp_ns == later.stamp_ns:
            raise DatasetError(
                f'{later.row}: {later.path} has the time of {earlier.path}; images of a bag '
                'need different ones, add a column `stamp` in seconds'
            )
    return in_order


def _stamp_of(image: GeoImage) -> int:
    """The time of a GeoImage in nanoseconds. Raises DatasetError where it has none."""
    if image.stamp_ns is None:
        raise DatasetError(
            f'{image.row}: {image.path} has no time, in EXIF or in a column, to stamp it with'
        )
    return image.stamp_ns


def _name_storage(folder: Path, name: str) -> None:
    """The writer names the storage after the folder, which has a temporary name: put it right."""
    for old in folder.glob('*.mcap'):
        metadata = folder / 'metadata.yaml'
        metadata.write_text(metadata.read_text().replace(old.name, f'{name}.mcap'))
        old.rename(folder / f'{name}.mcap')


def image_message(store: Typestore, image: GeoImage, frame_id: str) -> Any:
    """A GeoImage as a CompressedImage message of a rosbags typestore."""
    types = store.types
    data = np.frombuffer(_jpeg(image), np.uint8)
    return types[IMAGE_TYPES[0]](_header(types, _stamp_of(image), frame_id), 'jpeg', data)


def _jpeg(image: GeoImage) -> bytes:
    """The file's own bytes when it is a JPEG whose top is up, else its pixels as a JPEG."""
    pixels = image.load()  # raises for a corrupt file
    with Image.open(image.path) as picture:
        if picture.format == 'JPEG' and picture.getexif().get(0x0112, 1) == 1:
            return image.path.read_bytes()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'JPEG', quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def truth_message(store: Typestore, image: GeoImage) -> Any:
    """The position of a GeoImage as a NavSatFix message of a rosbags typestore.

    Neither its altitude nor its accuracy is known, and the message says so.
    """
    types = store.types
    status = types['sensor_msgs/msg/NavSatStatus'](status=0, service=1)
    return types[TRUTH_TYPES[0]](
        header=_header(types, _stamp_of(image), 'gps'),
        status=status,
        latitude=image.latitude,
        longitude=image.longitude,
        altitude=float('nan'),
        position_covariance=np.zeros(9),
        position_covariance_type=0,
    )


def odometry_message(store: Typestore, pose: Pose) -> Any:
    """A `Pose` as an Odometry message of a rosbags typestore, in the frames odom and base_link.
    The twist is not known, which zero covariances say."""
    types, geometry = store.types, 'geometry_msgs/msg/'
    half = pose.yaw_rad / 2
    turn = types[f'{geometry}Quaternion'](0.0, 0.0, float(np.sin(half)), float(np.cos(half)))
    place = types[f'{geometry}Pose'](types[f'{geometry}Point'](pose.x_m, pose.y_m, 0.0), turn)
    still = types[f'{geometry}Vector3'](0.0, 0.0, 0.0)
    return types[ODOMETRY_TYPES[0]](
        header=_header(types, pose.stamp_ns, 'odom'),
        child_frame_id='base_link',
        pose=types[f'{geometry}PoseWithCovariance'](place, np.zeros(36)),
        twist=types[f'{geometry}TwistWithCovariance'](
            types[f'{geometry}Twist'](still, still), np.zeros(36)
        ),
    )


def range_sample(topic: str, stamp_ns: int, range_m: float) -> SensorSample:
    """What a downward laser rangefinder says, as a Range."""
    kind = 'sensor_msgs/msg/Range'

    def make(store: Typestore) -> Any:
        header, laser = _header(store.types, stamp_ns, 'rangefinder'), 1
        # The field of view in radians, the least and the greatest range, the range, its variance.
        return store.types[kind](header, laser, 0.01, 0.2, 500.0, range_m, 0.0)

    return SensorSample(topic, kind, stamp_ns, make)


def orientation_sample(
    topic: str, stamp_ns: int, quaternion: tuple[float, float, float, float]
) -> SensorSample:
    """How a gimbal holds the camera, (x, y, z, w) in ENU, as a QuaternionStamped."""
    kind = 'geometry_msgs/msg/QuaternionStamped'

    def make(store: Typestore) -> Any:
        turn = store.types['geometry_msgs/msg/Quaternion'](*map(float, quaternion))
        return store.types[kind](_header(store.types, stamp_ns, 'map'), turn)

    return SensorSample(topic, kind, stamp_ns, make)


def _header(types: Mapping[str, Any], stamp_ns: int, frame_id: str) -> Any:
    seconds, nanoseconds = from_nanoseconds(stamp_ns)
    stamp = types['builtin_interfaces/msg/Time'](sec=seconds, nanosec=nanoseconds)
    return types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame_id)
