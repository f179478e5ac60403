"""Photos of drives in folders as KITTI's raw data has them.

    DATE/calib_cam_to_cam.txt, calib_imu_to_velo.txt, calib_velo_to_cam.txt
    DATE/DRIVE/image_02/data/0000000000.png, image_02/timestamps.txt
    DATE/DRIVE/oxts/data/0000000000.txt

Fields of a file of oxts by the data set's dataformat.txt (Geiger and others, 2013): latitude,
longitude, altitude; roll, pitch, yaw in radians (yaw 0 is east, counter-clockwise); 17 of speed,
acceleration and turning; accuracies of position (m) and speed; and states.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from justzoom_ros.errors import ConfigError, DatasetError
from justzoom_ros.io.datasets import IMAGE_SUFFIXES
from justzoom_ros.io.exif import parse_stamp
from justzoom_ros.io.photos.exif_camera import describe, read_header
from justzoom_ros.io.photos.folder import files_of, with_fault
from justzoom_ros.io.photos.lens import BROWN, PINHOLE, Lens
from justzoom_ros.io.photos.mount import LOOKS_FORWARD, euler, view_of
from justzoom_ros.io.photos.source import FaultKind, Photo, PhotoOptions
from justzoom_ros.region import Region

CAMERAS = ('image_02', 'image_03', 'image_00', 'image_01')
"""The colour cameras first."""

OXTS_FIELDS = 30
LATITUDE, LONGITUDE, ROLL, PITCH, YAW, ACCURACY = 0, 1, 3, 4, 5, 23

HEADING_STD_DEG = 0.5
"""Assumed of the inertial navigation system."""

Calibration = dict[str, np.ndarray]
"""{name: numbers} of a calibration file."""


class KittiPhotos:
    """A `PhotoSource` of one drive, or of all drives in a folder; each is a track."""

    def __init__(self, path: Path, options: PhotoOptions) -> None:
        self.path, self.camera = path, options.camera

    @staticmethod
    def recognizes(path: Path) -> bool:
        """A folder with oxts/data, or with folders that have it."""
        return path.is_dir() and bool(_drives(path))

    def read(self) -> list[Photo]:
        """See `PhotoSource`. Raises DatasetError where a drive has no pictures or no camera of
        the name that was asked for, or where its calibration cannot be read."""
        drives = _drives(self.path)
        if not drives:
            raise DatasetError(f'{self.path} holds no drive with oxts/data')
        return [photo for drive in drives for photo in self._read_drive(drive)]

    def pictures(
        self, photos: Sequence[Photo]
    ) -> Iterator[tuple[Photo, Callable[[], np.ndarray]]]:
        """See `PhotoSource`."""
        return files_of(photos)

    def _read_drive(self, drive: Path) -> list[Photo]:
        camera = _camera(drive, self.camera)
        folder = drive / camera / 'data'
        files = sorted(f for f in folder.glob('*') if f.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise DatasetError(f'{folder} holds no picture')
        stamps = _stamps(drive / camera / 'timestamps.txt', len(files))
        lenses, mount = _calibration(drive, 'calib_cam_to_cam.txt'), _mount(drive)
        return [
            self._photo(drive, camera, file, stamp_ns, lenses, mount)
            for file, stamp_ns in zip(files, stamps, strict=True)
        ]

    def _photo(
        self,
        drive: Path,
        camera: str,
        file: Path,
        stamp_ns: int | None,
        lenses: Calibration,
        mount: tuple[np.ndarray, np.ndarray],
    ) -> Photo:
        name = f'{drive.name}/{camera}/data/{file.name}'
        photo = Photo(name, drive.name, stamp_ns=stamp_ns, file=file)
        try:
            size_px = read_header(name, file).size_px
        except DatasetError as error:
            return with_fault(photo, FaultKind.UNREADABLE, describe(error, name))
        photo = replace(photo, size_px=size_px)
        try:
            lens = _lens(lenses, camera.removeprefix('image_'), size_px)
            photo = replace(photo, lens=lens)
        except (ConfigError, DatasetError) as error:
            photo = with_fault(photo, FaultKind.NO_LENS, f'{name}: {error}')
        try:
            return _placed(photo, _oxts(drive / 'oxts' / 'data' / f'{file.stem}.txt'), mount)
        except DatasetError as error:
            return with_fault(photo, FaultKind.NO_POSITION, f'{name}: {error}')


def _drives(path: Path) -> list[Path]:
    """The folder itself or those in it, one or two levels down, that have oxts/data."""
    found = [path] if (path / 'oxts' / 'data').is_dir() else []
    for pattern in ('*/oxts/data', '*/*/oxts/data'):
        found += [] if found else sorted(data.parents[1] for data in path.glob(pattern))
    return found


def _camera(drive: Path, wanted: str | None) -> str:
    """The name of the camera's folder."""
    there = [name for name in CAMERAS if (drive / name / 'data').is_dir()]
    name = wanted or (there[0] if there else None)
    if name is None or not (drive / name / 'data').is_dir():
        has = ', '.join(there) or 'no camera'
        raise DatasetError(f'{drive} has no {wanted or CAMERAS[0]}/data; it has {has}')
    return name


def _stamps(path: Path, count: int) -> list[int | None]:
    """Times of the pictures, None for each where there is no file of them."""
    if not path.is_file():
        return [None] * count
    lines = path.read_text(encoding='utf-8', errors='replace').split('\n')
    lines = [line.strip() for line in lines if line.strip()]
    if len(lines) != count:
        raise DatasetError(f'{path} has {len(lines)} times for {count} pictures')
    return [parse_stamp(line, f'{path} line {number}') for number, line in enumerate(lines, 1)]


# --- pose --------------------------------------------------------------------------------------


def _oxts(path: Path) -> np.ndarray:
    """The 30 numbers of a file. Raises DatasetError."""
    try:
        values = np.array(path.read_text().split(), float)
    except FileNotFoundError:
        raise DatasetError(f'it has no oxts/data/{path.name}') from None
    except (OSError, ValueError) as error:
        raise DatasetError(f'oxts/data/{path.name} is no row of numbers: {error}') from None
    if len(values) != OXTS_FIELDS or not np.isfinite(values[:6]).all():
        raise DatasetError(f'oxts/data/{path.name} has not {OXTS_FIELDS} numbers')
    return values


def _placed(photo: Photo, oxts: np.ndarray, mount: tuple[np.ndarray, np.ndarray]) -> Photo:
    """The photo where the camera was, which is not where the unit was."""
    body_from_camera, offset_m = mount
    world_from_body = euler(oxts[ROLL], oxts[PITCH], oxts[YAW])
    east_m, north_m, _ = world_from_body @ offset_m
    unit = Region(float(oxts[LATITUDE]), float(oxts[LONGITUDE]), 1000.0, 4, 1)
    latitude, longitude = unit.to_latlon(float(east_m), float(north_m))
    view = view_of(world_from_body @ body_from_camera)
    if view is None:
        raise DatasetError('the camera looks down or up')
    return replace(
        photo,
        latitude=latitude,
        longitude=longitude,
        position_std_m=float(oxts[ACCURACY]) if oxts[ACCURACY] > 0 else None,
        heading_deg=(90.0 - math.degrees(view.yaw_rad)) % 360.0,
        heading_std_deg=HEADING_STD_DEG,
        heading_source='ins',
        pitch_deg=math.degrees(view.pitch_rad),
        roll_deg=math.degrees(view.roll_rad),
    )


def _mount(drive: Path) -> tuple[np.ndarray, np.ndarray]:
    """`body_from_camera` (3, 3) and where the camera is in the unit's frame, metres (3,); straight
    ahead and at the unit where no calibration tells."""
    steps = [_calibration(drive, f'calib_{s}.txt') for s in ('imu_to_velo', 'velo_to_cam')]
    if not all('R' in step and 'T' in step for step in steps):
        return LOOKS_FORWARD, np.zeros(3)
    rotation, shift = np.eye(3), np.zeros(3)
    for step in steps:
        turn = step['R'].reshape(3, 3)
        rotation, shift = turn @ rotation, turn @ shift + step['T']
    return rotation.T, -rotation.T @ shift


# --- lens --------------------------------------------------------------------------------------


def _calibration(drive: Path, name: str) -> Calibration:
    """The numbers of a calibration file in the drive's folder or the one above; none without."""
    path = next((f / name for f in (drive, drive.parent) if (f / name).is_file()), None)
    if path is None:
        return {}
    found = {}
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
        key, colon, text = line.partition(':')
        try:
            found[key.strip()] = np.array(text.split(), float)
        except ValueError:
            continue  # dates and the like
    return found


def _lens(calibration: Calibration, number: str, size_px: tuple[int, int]) -> Lens:
    """The rectified matrix for pictures of the rectified size, else the camera's own with its
    distortion."""
    if not calibration:
        raise DatasetError('there is no calib_cam_to_cam.txt')
    p, k, d = (calibration.get(f'{name}_{number}', np.zeros(0)) for name in ('P_rect', 'K', 'D'))
    if len(p) == 12 and _is_size(calibration.get(f'S_rect_{number}'), size_px):
        return Lens(p[0], p[5], p[2], p[6], size_px, 'KITTI', PINHOLE)
    if len(k) == 9 and _is_size(calibration.get(f'S_{number}'), size_px):
        return Lens(k[0], k[4], k[2], k[5], size_px, 'KITTI', BROWN, tuple(map(float, d)))
    raise DatasetError(
        f'calib_cam_to_cam.txt is for no picture of {size_px[0]} x {size_px[1]} pixels of camera '
        f'{number}'
    )


def _is_size(told: np.ndarray | None, size_px: tuple[int, int]) -> bool:
    return told is not None and tuple(np.rint(told).astype(int)) == size_px
