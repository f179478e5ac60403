"""What EXIF tells of a picture: where and when it was taken. Times in other forms too."""

import logging
import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image, UnidentifiedImageError

from justzoom_ros.errors import DatasetError
from justzoom_ros.io.images import open_picture
from justzoom_ros.io.stamps import NS_PER_S

log = logging.getLogger(__name__)

T = TypeVar('T')
Tags = dict[int, Any]
"""EXIF tags, {number: value}."""

_UNREADABLE = (
    *(OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError),
)
"""What Pillow raises on files that are no whole picture, or a very large one."""

_GPS_IFD, _EXIF_IFD = 0x8825, 0x8769
_LATITUDE_TAGS, _LONGITUDE_TAGS = (1, 2), (3, 4)
_TIME_TAG, _OFFSET_TAG, _SUBSECOND_TAG = 36867, 36881, 37521


def parse_stamp(text: str, row: str = '') -> int:
    """Seconds since 1970, ISO 8601 or EXIF's '2013:06:04 13:37:35' -> nanoseconds since 1970.

    A time without an offset is taken as UTC. Raises DatasetError where it is none of these, or
    beyond what a ROS stamp holds (1970 to 2038).
    """
    try:
        stamp_ns = int(Decimal(text).scaleb(9).to_integral_value())
    except (InvalidOperation, ValueError, OverflowError):
        stamp_ns = _calendar_ns(text, row)
    if not 0 <= stamp_ns < 2**31 * NS_PER_S:
        raise DatasetError(f'{row}: time {text} is not within 1970 to 2038; is it in seconds?')
    return stamp_ns


def _calendar_ns(text: str, row: str) -> int:
    iso = re.sub(r'^(\d{4}):(\d\d):(\d\d)', r'\1-\2-\3', text.strip()).replace('Z', '+00:00')
    # Microseconds are all that datetime keeps, so the fraction of a second goes beside it.
    fraction = re.search(r'(?<=:\d\d)\.(\d{1,9})', iso)
    try:
        moment = datetime.fromisoformat(iso.replace(fraction[0], '') if fraction else iso)
    except ValueError:
        raise DatasetError(
            f'{row}: {text!r} is no time; give seconds since 1970, ISO 8601 or EXIF form'
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    whole_s = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(seconds=1)
    return whole_s * NS_PER_S + (int(fraction[1].ljust(9, '0')) if fraction else 0)


def read_exif(row: str, file: Path) -> tuple[Tags, Tags]:
    """The GPS and photo tags of an image as two dictionaries; this also checks its header."""
    return read_tags(row, file, _ifds)


def read_tags(row: str, file: Path, make: Callable[[Image.Image], T]) -> T:
    """What `make` reads of an open image. Raises DatasetError where it is no readable image."""
    try:
        with open_picture(file) as image:
            return make(image)
    except _UNREADABLE as error:
        raise DatasetError(f'{row}: {file} is not a readable image: {error}') from error


def _ifds(image: Image.Image) -> tuple[Tags, Tags]:
    exif = image.getexif()
    return dict(exif.get_ifd(_GPS_IFD)), dict(exif.get_ifd(_EXIF_IFD))


def exif_stamp_ns(row: str, photo: Tags) -> int | None:
    """When an image was taken, nanoseconds since 1970; None, perhaps with a warning, where its
    tags do not tell."""
    text = exif_text(photo.get(_TIME_TAG))
    if not any(digit in text for digit in '123456789'):
        return None  # absent, or blanks or zeros, which is how cameras without a clock say so
    subsecond = _beginning(r'\d{0,9}', exif_text(photo.get(_SUBSECOND_TAG)))
    offset = _exif_offset(exif_text(photo.get(_OFFSET_TAG)))
    try:
        return parse_stamp(f'{text}{"." if subsecond else ""}{subsecond}{offset}', row)
    except DatasetError as error:  # a time is useful, but not needed
        log.warning(f'{error}; the image has no time')
        return None


def _exif_offset(text: str) -> str:
    """The offset from UTC as +HH:MM; cameras leave out the colon, or the minutes too."""
    found = re.match(r'([+-])(\d\d):?(\d\d)?', text)
    return f'{found[1]}{found[2]}:{found[3] or "00"}' if found else ''


def _beginning(pattern: str, text: str) -> str:
    """What a text begins with of a pattern, '' where it does not."""
    found = re.match(pattern, text)
    return found[0] if found else ''


def exif_text(value: Any) -> str:
    """A tag as text without the zeros and blanks round it."""
    text = value.decode('ascii', 'replace') if isinstance(value, bytes) else str(value or '')
    return text.replace('\0', ' ').strip()


def exif_number(value: Any) -> float:
    """A tag as a number, NaN where it is none: 0/0 is how cameras say that they do not know."""
    try:
        return float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return math.nan


def exif_position(file: Path, gps: Tags) -> tuple[float, float]:
    """Latitude and longitude in degrees. Raises DatasetError where there are none."""
    lat = _degrees(file, gps, 'latitude', _LATITUDE_TAGS, 'NS')
    return lat, _degrees(file, gps, 'longitude', _LONGITUDE_TAGS, 'EW')


def _degrees(file: Path, gps: Tags, name: str, tags: tuple[int, int], letters: str) -> float:
    """Signed degrees from a hemisphere letter and three rationals (degrees, minutes, seconds)."""
    letter, parts = exif_text(gps.get(tags[0])).upper(), gps.get(tags[1])
    if parts is None:
        raise DatasetError(f'{file} has no GPS {name} in its EXIF; give a CSV with positions')
    if letter not in tuple(letters):
        raise DatasetError(
            f'{file}: its EXIF says {letter!r}, neither {letters[0]} nor {letters[1]}, for the '
            f'hemisphere of its {name}'
        )
    try:
        degrees = sum(float(p) / 60**i for i, p in enumerate(parts))
    except (TypeError, ValueError, ZeroDivisionError):
        degrees = math.nan
    if not math.isfinite(degrees):
        raise DatasetError(f'{file}: its EXIF {name} {parts} is not a number')
    return -degrees if letter == letters[1] else degrees
