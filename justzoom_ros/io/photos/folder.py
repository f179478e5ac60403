"""A folder of geotagged photos: all that is known of them is in their EXIF."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from justzoom_ros.errors import DatasetError
from justzoom_ros.io.datasets import picture_files
from justzoom_ros.io.exif import exif_position, exif_stamp_ns
from justzoom_ros.io.images import read_picture
from justzoom_ros.io.photos.exif_camera import (
    Header,
    describe,
    exif_accuracy_m,
    exif_heading,
    exif_lens,
    is_panorama,
    looks_like_panorama,
    read_header,
)
from justzoom_ros.io.photos.source import Fault, FaultKind, Photo, PhotoOptions


class PhotoFolder:
    """A `PhotoSource` of the pictures in a folder and those in it; each of these is a track."""

    def __init__(self, path: Path, options: PhotoOptions) -> None:
        self.path = path

    @staticmethod
    def recognizes(path: Path) -> bool:
        """Any folder."""
        return path.is_dir()

    def read(self) -> list[Photo]:
        """See `PhotoSource`. Raises DatasetError for a folder without pictures."""
        files, unread = picture_files(self.path)
        says = 'HEIC and raw pictures are not read; save it as JPEG'
        return [self._photo(file) for file in files] + [
            with_fault(photo, FaultKind.UNREADABLE, f'{photo.name}: {says}')
            for photo in map(self._named, unread)
        ]

    def pictures(
        self, photos: Sequence[Photo]
    ) -> Iterator[tuple[Photo, Callable[[], np.ndarray]]]:
        """See `PhotoSource`."""
        return files_of(photos)

    def _named(self, file: Path) -> Photo:
        inside = file.relative_to(self.path)
        return Photo(inside.as_posix(), inside.parent.as_posix(), file=file)

    def _photo(self, file: Path) -> Photo:
        photo = self._named(file)
        try:
            header = read_header(photo.name, file)
        except DatasetError as error:
            return with_fault(photo, FaultKind.UNREADABLE, describe(error, photo.name))
        return with_lens(_with_place(photo, header), header)


def files_of(photos: Sequence[Photo]) -> Iterator[tuple[Photo, Callable[[], np.ndarray]]]:
    """Photos that have files, with what reads them."""
    for photo in photos:
        assert photo.file is not None
        yield photo, partial(read_picture, photo.file)


def with_fault(photo: Photo, kind: FaultKind, says: str) -> Photo:
    """A photo with one more thing that is wrong."""
    return replace(photo, faults=(*photo.faults, Fault(kind, says)))


def with_position(photo: Photo, latitude: float, longitude: float, where: str) -> Photo:
    """A photo at a place in degrees, or with the fault that there is no such place."""
    if abs(latitude) <= 90 and abs(longitude) <= 180:  # False for NaN
        return replace(photo, latitude=latitude, longitude=longitude)
    says = f'{where}: position {latitude}, {longitude} is not within -90..90, -180..180 degrees'
    return with_fault(photo, FaultKind.NO_POSITION, says)


def with_lens(photo: Photo, header: Header) -> Photo:
    """A photo with its size and, unless it has one, the lens of its EXIF; what shows all round
    has none."""
    photo = replace(photo, size_px=header.size_px)
    if any(fault.kind is FaultKind.PANORAMA for fault in photo.faults):
        return photo
    if is_panorama(header):
        return with_fault(photo, FaultKind.PANORAMA, f'{photo.name}: {PANORAMA_SAYS}')
    if photo.lens is not None:
        return photo
    try:
        return replace(photo, lens=exif_lens(photo.name, header))
    except DatasetError as error:
        says = str(error)
    if looks_like_panorama(header):
        says += ', and it is 2 : 1 as panoramas are'
    return with_fault(photo, FaultKind.NO_LENS, says)


PANORAMA_SAYS = 'it is a panorama, where a plain camera is expected'


def _with_place(photo: Photo, header: Header) -> Photo:
    """The photo with position, time and heading of its EXIF, and what is wrong with them."""
    file = photo.file
    assert file is not None
    stamp_ns = exif_stamp_ns(photo.name, header.photo)
    photo = replace(photo, stamp_ns=stamp_ns, position_std_m=exif_accuracy_m(header.gps))
    try:
        latitude, longitude = exif_position(file, header.gps)
        photo = with_position(photo, latitude, longitude, photo.name)
    except DatasetError as error:
        photo = with_fault(photo, FaultKind.NO_POSITION, describe(error, photo.name))
    try:
        heading_deg, source = exif_heading(photo.name, header.gps) or (None, '')
        return replace(photo, heading_deg=heading_deg, heading_source=source)
    except DatasetError as error:
        return with_fault(photo, FaultKind.HEADING, str(error))
