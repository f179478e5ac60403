"""Photos of a bag: images with true positions, headings from odometry or an IMU, the lens from
CameraInfo, and how the camera sits on the robot from /tf_static."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.io.bag_reader import METADATA, STORAGE_SUFFIXES
from justzoom_ros.io.bags import IMAGE_TYPES, ODOMETRY_TYPES, TRUTH_TYPES, Bag, BagMessage, Track
from justzoom_ros.io.bags import read_track as read_truth
from justzoom_ros.io.camera_message import pinhole_from_message
from justzoom_ros.io.image_message import UsedDepth, image_from_message
from justzoom_ros.io.motion_message import heading_from_message, pose_from_message
from justzoom_ros.io.photos.lens import Lens
from justzoom_ros.io.photos.mount import LOOKS_FORWARD, View, mount_of, view_of
from justzoom_ros.io.photos.source import Fault, FaultKind, Photo, PhotoOptions
from justzoom_ros.io.photos.yaw_alignment import align_yaw
from justzoom_ros.io.sequences import CAMERA_INFO_TYPES, IMU_TYPES
from justzoom_ros.io.stamps import StampGate, to_nanoseconds
from justzoom_ros.io.static_transform import TOPIC as TF_STATIC
from justzoom_ros.pose import Pose
from justzoom_ros.region import Region

MAX_TRUTH_GAP_S = 1.0
"""An image so long before or after any true position has none."""

MAX_ODOMETRY_GAP_NS = 500_000_000
"""A sample of odometry or an IMU that is farther in time from an image says nothing about it."""

USUAL_STD_M = 5.0
"""Standard deviation of true positions without a covariance, where headings are made of them."""


@dataclass(frozen=True)
class _Topics:
    """Topics of a bag by what they are for."""

    frames: str
    truth: str
    odometry: str | None
    imu: str | None
    camera_info: str | None

    @property
    def names(self) -> list[str]:
        """All of them but the truth, which is read by itself, and the static transforms."""
        named = self.frames, self.odometry, self.imu, self.camera_info, TF_STATIC
        return [name for name in named if name]


@dataclass
class _Heard:
    """What a bag says, in the order of its recording."""

    frames: list[tuple[int, str, str]] = field(default_factory=list)
    """Stamp in nanoseconds, verdict on it, frame_id."""

    poses: list[Pose] = field(default_factory=list)
    body: str = 'base_link'
    headings: list[tuple[int, float, float]] = field(default_factory=list)
    infos: list[tuple[int, Any]] = field(default_factory=list)
    transforms: list[Any] = field(default_factory=list)


class BagPhotos:
    """A `PhotoSource` of the images on one topic of a bag."""

    def __init__(self, path: Path, options: PhotoOptions) -> None:
        self.path, self.options = path, options

    @staticmethod
    def recognizes(path: Path) -> bool:
        """A storage file, or a folder with one or with a bag's metadata."""
        if path.is_file():
            return path.suffix in STORAGE_SUFFIXES
        inside = path.iterdir() if path.is_dir() else ()
        return any(f.name == METADATA or f.suffix in STORAGE_SUFFIXES for f in inside)

    def read(self) -> list[Photo]:
        """See `PhotoSource`. Raises BagError."""
        with Bag(self.path) as bag:
            topics = self._topics(bag)
            truth, std_m = read_truth(bag, topics.truth), _position_std_m(bag, topics.truth)
            heard = _listen(bag, topics)
        view = _mounted(heard)
        photos = [
            self._photo(index, frame, topics, truth, std_m)
            for index, frame in enumerate(heard.frames)
        ]
        photos = [_with_lens(photo, heard.infos, topics) for photo in photos]
        return _with_headings(photos, heard, view, std_m or USUAL_STD_M)

    def pictures(
        self, photos: Sequence[Photo]
    ) -> Iterator[tuple[Photo, Callable[[], np.ndarray]]]:
        """See `PhotoSource`."""
        wanted, depth = {photo.index: photo for photo in photos}, UsedDepth()
        with Bag(self.path) as bag:
            topic = self._topics(bag).frames
            for index, item in enumerate(bag.messages([topic])):
                if index in wanted:
                    yield wanted[index], partial(image_from_message, item.message, depth=depth)

    def _topics(self, bag: Bag) -> _Topics:
        options = self.options
        return _Topics(
            bag.topic(IMAGE_TYPES, options.camera),
            bag.topic(TRUTH_TYPES, options.truth),
            _optional(bag, ODOMETRY_TYPES, options.odometry),
            bag.topic(IMU_TYPES, options.imu) if options.imu else None,
            _optional(bag, CAMERA_INFO_TYPES, options.camera_info),
        )

    def _photo(
        self,
        index: int,
        frame: tuple[int, str, str],
        topics: _Topics,
        truth: Track,
        std_m: float | None,
    ) -> Photo:
        stamp_ns, verdict, _ = frame
        name = f'{self.path.name} {topics.frames} message {index + 1}'
        photo = Photo(name, self.path.name, stamp_ns=stamp_ns, index=index, position_std_m=std_m)
        if verdict in ('unset', 'late'):
            says = f'{name}: it has no stamp' if verdict == 'unset' else f'{name}: it is not later'
            return _faulty(photo, FaultKind.NO_STAMP, says)
        place = truth.at(stamp_ns, MAX_TRUTH_GAP_S)
        if place is None:
            says = f'{name}: {topics.truth} has no position within {MAX_TRUTH_GAP_S:g} s of it'
            return _faulty(photo, FaultKind.NO_POSITION, says)
        return replace(photo, latitude=place[0], longitude=place[1])


def _faulty(photo: Photo, kind: FaultKind, says: str) -> Photo:
    return replace(photo, faults=(*photo.faults, Fault(kind, says)))


def _optional(bag: Bag, types: Sequence[str], wanted: str | None) -> str | None:
    """A topic by name, or the only one of some types; None where there is none."""
    if wanted is None and not bag.candidates(types):
        return None
    return bag.topic(types, wanted, may_be_empty=True)


# --- reading -----------------------------------------------------------------------------------


def _listen(bag: Bag, topics: _Topics) -> _Heard:
    heard, gate = _Heard(), StampGate()
    for item in bag.messages(topics.names):
        if item.topic == topics.frames:
            header = item.message.header
            verdict = gate.judge(to_nanoseconds(header.stamp))
            heard.frames.append((item.stamp_ns, verdict, header.frame_id))
        else:
            _hear(heard, item, topics)
    return heard


def _hear(heard: _Heard, item: BagMessage, topics: _Topics) -> None:
    if item.topic == topics.odometry:
        heard.poses.append(pose_from_message(item.message))
        heard.body = item.message.child_frame_id or heard.body
    elif item.topic == topics.imu:
        measured = heading_from_message(item.message)
        if measured is not None:
            heard.headings.append((item.stamp_ns, *measured))
    elif item.topic == topics.camera_info:
        heard.infos.append((item.stamp_ns, item.message))
    else:
        heard.transforms.extend(item.message.transforms)


def _position_std_m(bag: Bag, topic: str) -> float | None:
    """Median standard deviation along an axis that the true positions state, None without."""
    stated = [
        math.sqrt((m.position_covariance[0] + m.position_covariance[4]) / 2)
        for m in (item.message for item in bag.messages([topic]))
        if m.position_covariance_type and m.position_covariance[0] > 0
    ]
    return float(np.median(stated)) if stated else None


def _mounted(heard: _Heard) -> View | None:
    """Where the camera looks in the frame of the body: ahead where nothing says otherwise; None
    where it looks down."""
    frame_id = heard.frames[0][2] if heard.frames else ''
    rotation = mount_of(heard.transforms, frame_id, heard.body)
    return view_of(LOOKS_FORWARD if rotation is None else rotation)


# --- lens and heading ----------------------------------------------------------------------------


def _with_lens(photo: Photo, infos: list[tuple[int, Any]], topics: _Topics) -> Photo:
    if not infos:
        says = f'{photo.name}: the bag has no CameraInfo'
        return _faulty(photo, FaultKind.NO_LENS, says)
    stamps = [stamp for stamp, _ in infos]
    _, info = infos[max(0, bisect_right(stamps, photo.stamp_ns or 0) - 1)]
    rectified = 'rect' in topics.frames
    try:
        pinhole = pinhole_from_message(info, rectified)
        k = pinhole.matrix
        lens = Lens(k[0], k[4], k[2], k[5], pinhole.size_px, 'CameraInfo')
    except ConfigError as error:
        return _faulty(photo, FaultKind.NO_LENS, f'{photo.name}: {error}')
    if not rectified:
        lens = replace(lens, model=info.distortion_model, distortion=tuple(map(float, info.d)))
    return replace(photo, lens=lens)


def _with_headings(
    photos: list[Photo], heard: _Heard, view: View | None, std_m: float
) -> list[Photo]:
    """Photos with headings of the IMU, where there is one, else of the odometry."""
    if view is None:
        says = 'the camera looks down or up, by /tf_static: it is no forward camera'
        return [_faulty(p, FaultKind.HEADING, f'{p.name}: {says}') for p in photos]
    photos = [
        replace(p, pitch_deg=math.degrees(view.pitch_rad), roll_deg=math.degrees(view.roll_rad))
        for p in photos
    ]
    if heard.headings:
        return [_with_imu_heading(photo, heard, view) for photo in photos]
    return _with_odometry_headings(photos, heard.poses, view, std_m)


def _with_imu_heading(photo: Photo, heard: _Heard, view: View) -> Photo:
    near = _nearest([stamp for stamp, _, _ in heard.headings], photo.stamp_ns or 0)
    if near is None:
        return photo
    _, yaw_rad, std_rad = heard.headings[near]
    return _headed(photo, yaw_rad + view.yaw_rad, std_rad, 'imu')


def _with_odometry_headings(
    photos: list[Photo], poses: list[Pose], view: View, std_m: float
) -> list[Photo]:
    stamps = [pose.stamp_ns for pose in poses]
    pairs = [
        (number, near)
        for number, photo in enumerate(photos)
        if photo.latitude is not None
        and (near := _nearest(stamps, photo.stamp_ns or 0)) is not None
    ]
    if not pairs:
        return photos
    numbers = [number for number, _ in pairs]
    felt = [poses[near] for _, near in pairs]
    truth_m = _metres([photos[number] for number in numbers])
    odometry_m = np.array([(pose.x_m, pose.y_m) for pose in felt])
    stamps_ns = np.array([photos[number].stamp_ns for number in numbers])
    angles, stds = align_yaw(stamps_ns, odometry_m, truth_m, std_m)
    headed = list(photos)
    for number, pose, angle, std in zip(numbers, felt, angles, stds, strict=True):
        if math.isfinite(angle):
            yaw_rad = pose.yaw_rad + angle + view.yaw_rad
            headed[number] = _headed(photos[number], yaw_rad, std, 'odometry')
    return headed


def _headed(photo: Photo, yaw_rad: float, std_rad: float, source: str) -> Photo:
    if not math.isfinite(yaw_rad):
        return photo
    return replace(
        photo,
        heading_deg=(90.0 - math.degrees(yaw_rad)) % 360.0,
        heading_std_deg=math.degrees(std_rad),
        heading_source=source,
    )


def _nearest(stamps_ns: list[int], stamp_ns: int) -> int | None:
    """The number of the stamp that is nearest, None where it is too far away in time."""
    after = bisect_right(stamps_ns, stamp_ns)
    around = [i for i in (after - 1, after) if 0 <= i < len(stamps_ns)]
    near = min(around, key=lambda i: abs(stamps_ns[i] - stamp_ns), default=None)
    if near is None or abs(stamps_ns[near] - stamp_ns) > MAX_ODOMETRY_GAP_NS:
        return None
    return near


def _metres(photos: list[Photo]) -> np.ndarray:
    """Positions (N, 2) in metres east and north of the first photo."""
    first = photos[0]
    region = Region(first.latitude or 0.0, first.longitude or 0.0, 1000.0, 4, 1)
    places = [(photo.latitude or 0.0, photo.longitude or 0.0) for photo in photos]
    return np.stack(region.to_enu(*np.array(places).T), axis=1)
