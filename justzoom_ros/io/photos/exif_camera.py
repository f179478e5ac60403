"""What a picture file tells of the camera: size, lens, heading, whether it is a panorama.

Tags are those of EXIF 2.32; panoramas say so in XMP, in the name space of GPano.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from justzoom_ros.errors import DatasetError, first_line
from justzoom_ros.io.exif import Tags, exif_number, exif_text, read_tags
from justzoom_ros.io.photos.lens import Lens

FOCAL_LENGTH_TAG, FOCAL_35_TAG, PIXEL_X_TAG = 0x920A, 0xA405, 0xA002
PLANE_RESOLUTION_TAG, PLANE_UNIT_TAG = 0xA20E, 0xA210
MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Inches and centimetres by the standard; millimetres and micrometres as some cameras write."""

DIRECTION_REF_TAG, DIRECTION_TAG, ACCURACY_TAG = 16, 17, 31

FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)
"""What 'equivalent to 35 mm film' means is the angle of the diagonal (CIPA DCG-001)."""

PANORAMA_MIN_PX = 2000
"""A picture of 2 : 1 at least so wide, of whose lens nothing is said, is taken for a panorama."""


@dataclass(frozen=True)
class Header:
    """The head of a picture file."""

    stored_px: tuple[int, int]
    """Width and height as stored."""

    orientation: int = 1
    """EXIF's number for how the picture lies, 1..8."""

    gps: Tags = field(default_factory=dict)
    """GPS tags."""

    photo: Tags = field(default_factory=dict)
    """Photo tags."""

    xmp: bytes = field(default=b'', repr=False)
    """The XMP packet, if there is one."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height turned upright."""
        width, height = self.stored_px
        return (height, width) if self.orientation >= 5 else (width, height)


def read_header(name: str, file: Path) -> Header:
    """The `Header` of a picture file. Raises DatasetError where it is none."""
    return read_tags(name, file, _header)


def _header(image: Image.Image) -> Header:
    exif = image.getexif()
    xmp = image.info.get('xmp') or image.info.get('XML:com.adobe.xmp') or b''
    orientation = exif.get(0x0112)
    return Header(
        image.size,
        orientation if isinstance(orientation, int) else 1,
        dict(exif.get_ifd(0x8825)),
        dict(exif.get_ifd(0x8769)),
        xmp.encode() if isinstance(xmp, str) else bytes(xmp),
    )


# --- lens --------------------------------------------------------------------------------------


def exif_lens(name: str, header: Header) -> Lens:
    """The lens by the focal length equivalent to 35 mm film, or by the focal length and the
    sensor's pixels. Raises DatasetError, naming the photo, where neither is told."""
    if focal_35_mm := _positive(header.photo.get(FOCAL_35_TAG)):
        focal_px = focal_35_mm / FILM_DIAGONAL_MM * math.hypot(*header.size_px)
        return Lens.from_focal(focal_px, header.size_px, 'EXIF')
    focal = header.photo.get(FOCAL_LENGTH_TAG)
    pitch_mm = _pixel_pitch_mm(header)
    focal_mm = _positive(focal)
    if focal_mm and pitch_mm:
        return Lens.from_focal(focal_mm / pitch_mm, header.size_px, 'EXIF')
    raise DatasetError(f'{name}: {_why_no_lens(focal, focal_mm)}')


def _pixel_pitch_mm(header: Header) -> float | None:
    """Side on the sensor of one pixel of the picture as stored, which may be a smaller copy."""
    per_unit = _positive(header.photo.get(PLANE_RESOLUTION_TAG))
    unit_mm = MM_PER_UNIT.get(header.photo.get(PLANE_UNIT_TAG, 2))
    if not (per_unit and unit_mm):
        return None
    taken_px = _positive(header.photo.get(PIXEL_X_TAG)) or header.stored_px[0]
    return unit_mm / per_unit * taken_px / header.stored_px[0]


def _why_no_lens(focal: Any, focal_mm: float | None) -> str:
    if focal is None:
        return 'its EXIF has no focal length'
    if focal_mm is None:
        return f'its EXIF focal length is {exif_number(focal):g}'
    return f'its EXIF has a focal length of {focal_mm:g} mm, but not the size of the sensor'


def _positive(value: Any) -> float | None:
    """A tag as a number; None for zero, which is how cameras say that they do not know."""
    number = exif_number(value)
    return number if math.isfinite(number) and number > 0 else None


# --- direction -----------------------------------------------------------------------------------


def exif_heading(name: str, gps: Tags) -> tuple[float, str] | None:
    """Degrees clockwise from north, 0..360, and 'compass' or, from magnetic north, 'magnetic'.
    None where there is none. Raises DatasetError for what is no direction."""
    value = gps.get(DIRECTION_TAG)
    if value is None:
        return None
    heading_deg = exif_number(value)
    if math.isnan(heading_deg):  # 0/0 is how cameras without a compass say so
        return None
    if not 0 <= heading_deg <= 360:
        raise DatasetError(f'{name}: its EXIF GPSImgDirection {heading_deg:g} is not in 0..360')
    magnetic = exif_text(gps.get(DIRECTION_REF_TAG)).upper() == 'M'
    return heading_deg % 360.0, 'magnetic' if magnetic else 'compass'


def exif_accuracy_m(gps: Tags) -> float | None:
    """GPSHPositioningError, taken for a standard deviation in metres."""
    return _positive(gps.get(ACCURACY_TAG))


# --- panoramas -----------------------------------------------------------------------------------


def is_panorama(header: Header) -> bool:
    """Whether its XMP says that a picture shows all round."""
    return b'GPano:' in header.xmp and b'equirectangular' in header.xmp


def looks_like_panorama(header: Header) -> bool:
    """Whether a picture has the shape of one, which matters where no lens is told."""
    width, height = header.size_px
    return width == 2 * height and width >= PANORAMA_MIN_PX


def describe(error: DatasetError, name: str) -> str:
    """What an error says, beginning with the photo's name."""
    text = first_line(error)
    return text if name in text else f'{name}: {text}'
