"""Bags written: camera images with their true positions and what other sensors said."""

import io
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from justzoom_ros.errors import BagError
from justzoom_ros.files import writing
from justzoom_ros.io.bags import IMAGE_TYPES, ODOMETRY_TYPES, TRUTH_TYPES
from justzoom_ros.io.datasets import GeoImage, sort_by_time, stamp_of
from justzoom_ros.io.stamps import from_nanoseconds
from justzoom_ros.io.static_transform import StaticTransform, write_static_transform
from justzoom_ros.pose import Pose

ODOM_TOPIC = '/odom'
JPEG_QUALITY = 95


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
                write_static_transform(writer, store, camera, stamp_of(in_order[0]))

            def write(connection: Any, stamp_ns: int, message: object) -> None:
                raw = store.serialize_cdr(message, connection.msgtype)
                writer.write(connection, stamp_ns, raw)

            left = deque(sorted(others, key=lambda sample: sample.stamp_ns))
            for image in progress(in_order):
                stamp_ns = stamp_of(image)
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
    return types[IMAGE_TYPES[0]](_header(types, stamp_of(image), frame_id), 'jpeg', data)


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
        header=_header(types, stamp_of(image), 'gps'),
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
