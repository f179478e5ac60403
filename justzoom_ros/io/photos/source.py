"""Where a dataset's photos come from: what building asks of a source, and which there are.

A source lists its photos with all that is said of them, and then gives their pixels. What is wrong
with a photo is part of what is said: who builds decides whether that ends the build or leaves the
photo out. Another source is one new file with a class of that form, and one line in PHOTO_SOURCES.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from justzoom_ros.errors import DatasetError
from justzoom_ros.registry import Registry

if TYPE_CHECKING:  # the command line reads the names of the sources without loading these
    import numpy as np

    from justzoom_ros.io.photos.lens import Lens


class FaultKind(str, Enum):
    """Why a photo cannot be used as it is; the value is what `--drop` calls it."""

    UNREADABLE = 'unreadable'
    NO_FILE = 'no-file'
    NO_POSITION = 'no-position'
    NO_LENS = 'no-lens'
    PANORAMA = 'panorama'
    NO_HEADING = 'no-heading'
    HEADING = 'heading'
    NO_STAMP = 'no-stamp'

    __str__ = str.__str__


class Fault(NamedTuple):
    """One thing that is wrong with a photo."""

    kind: FaultKind
    """Which kind of fault."""

    says: str
    """A sentence that names the file."""


@dataclass(frozen=True)
class Photo:
    """A photo as its source tells of it; None for what it does not tell."""

    name: str
    """What its owner calls it: the file within the source, or topic and number."""

    track: str = ''
    """The drive, walk or sequence that it is part of; within one, times give the order."""

    latitude: float | None = None
    """Degrees (WGS84)."""

    longitude: float | None = None
    """Degrees (WGS84)."""

    position_std_m: float | None = None
    """Standard deviation of the position along either axis in metres."""

    stamp_ns: int | None = None
    """When it was taken, nanoseconds since 1970."""

    heading_deg: float | None = None
    """Where the optical axis points, degrees clockwise from north, 0..360."""

    heading_std_deg: float | None = None
    """Its standard deviation in degrees."""

    heading_source: str = ''
    """Who says so: 'compass', 'magnetic', 'computed', 'odometry', 'ins', 'imu'."""

    pitch_deg: float | None = None
    """How far the optical axis points above the horizon."""

    roll_deg: float | None = None
    """Turn about the optical axis, clockwise as the camera sees it."""

    lens: 'Lens | None' = None
    """The lens, for the photo's own size turned upright."""

    size_px: tuple[int, int] | None = None
    """Width and height turned upright."""

    faults: tuple[Fault, ...] = ()
    """What is wrong with it."""

    file: Path | None = field(default=None, repr=False)
    """The picture's file, where it has one of its own."""

    index: int = 0
    """Its number among the messages of a topic, where it is from a bag."""


@dataclass(frozen=True)
class PhotoOptions:
    """Which part of a source is taken, where there is a choice."""

    camera: str | None = None
    """A bag's topic of images, or a folder of a KITTI drive such as image_02."""

    truth: str | None = None
    """A bag's NavSatFix topic of true positions."""

    odometry: str | None = None
    """A bag's Odometry topic."""

    imu: str | None = None
    """A bag's Imu topic with absolute orientations (REP-145)."""

    camera_info: str | None = None
    """A bag's CameraInfo topic."""


class PhotoSource(Protocol):
    """Photos with positions."""

    path: Path
    """Its file or folder."""

    @staticmethod
    def recognizes(path: Path) -> bool:
        """Whether a path looks like one of this kind."""

    def __init__(self, path: Path, options: PhotoOptions) -> None: ...

    def read(self) -> list[Photo]:
        """All photos, none left out. Raises DatasetError or BagError where the source itself
        cannot be read."""

    def pictures(
        self, photos: Sequence[Photo]
    ) -> 'Iterator[tuple[Photo, Callable[[], np.ndarray]]]':
        """Yield some of the photos, in the order of the source, each with what gives its pixels,
        uint8 (H, W, 3) RGB upright, or raises ImageError."""


PHOTO_SOURCES: Registry[type[PhotoSource]] = Registry(
    'photo source',
    {
        'photos': 'justzoom_ros.io.photos.folder:PhotoFolder',
        'csv': 'justzoom_ros.io.photos.tables:PhotoTable',
        'geojson': 'justzoom_ros.io.photos.tables:PhotoGeoJson',
        'mapillary': 'justzoom_ros.io.photos.tables:MapillaryPhotos',
        'bag': 'justzoom_ros.io.photos.bag:BagPhotos',
        'kitti': 'justzoom_ros.io.photos.kitti:KittiPhotos',
    },
    DatasetError,
)
"""The kinds of sources, by what `--kind` calls them: a folder of geotagged photos, a table, a list
of features, Mapillary's JSON, a rosbag2, drives as KITTI's raw data has them. The last that
recognizes a path opens it: what nothing else knows is a folder of geotagged photos."""


def open_photos(
    path: str | Path, options: PhotoOptions | None = None, kind: str | None = None
) -> PhotoSource:
    """The source at a path, of a `kind` of PHOTO_SOURCES, or of the last that recognizes it.
    Raises DatasetError where none does."""
    path, options = Path(path), options or PhotoOptions()
    if not path.exists():
        raise DatasetError(
            f'{path} does not exist; give a folder, a bag, a CSV or a JSON of photos'
        )
    if kind is not None:
        return PHOTO_SOURCES.get(kind)(path, options)
    for name in reversed(PHOTO_SOURCES.list()):
        source = PHOTO_SOURCES.get(name)
        if source.recognizes(path):
            return source(path, options)
    raise DatasetError(f'{path} is none of the sources: {", ".join(PHOTO_SOURCES.list())}')
