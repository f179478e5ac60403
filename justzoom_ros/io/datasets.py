"""Camera images with known positions, read from the three forms in which people have them.

1. The published format: a CSV `image_id,latitude,longitude,sequence` whose images are
   `streetview/images/<image_id>_undistorted.jpg` beside it or up to two folders above.
2. A folder of geotagged images: position and time from EXIF.
3. A CSV of files with positions: columns file, lat, lon, and a time or the images' EXIF time.

Nothing is left out silently: whatever cannot be used is a DatasetError naming the file and row.
"""

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from justzoom_ros.errors import DatasetError, ImageError
from justzoom_ros.io.images import read_picture
from justzoom_ros.io.stamps import NS_PER_S
from justzoom_ros.region import Region

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.webp')
FILE_COLUMNS = ('file', 'path', 'image', 'filename')
LATITUDE_COLUMNS = ('latitude', 'lat')
LONGITUDE_COLUMNS = ('longitude', 'lon', 'lng')
PANORAMAS = 'panoramas.csv'
PUBLISHED_FILE = 'streetview/images/{}_undistorted.jpg'
PANORAMA_FILE = 'streetview/panoramas/{}.jpg'
STAMP_COLUMNS = ('stamp', 'stamp_s', 'timestamp', 'time', 'datetime', 'exif_time')

ROUNDING_M = 0.2
"""Positions are published to 1e-6 degrees, so a point may lie this far outside its cell."""

Row = tuple[str, dict[str, str]]
"""Where a row is and what it says, {column: text}."""

Tags = dict[int, Any]
"""EXIF tags, {number: value}."""

_GPS_IFD, _EXIF_IFD = 0x8825, 0x8769
_LATITUDE_TAGS, _LONGITUDE_TAGS = (1, 2), (3, 4)
_TIME_TAG, _OFFSET_TAG, _SUBSECOND_TAG = 36867, 36881, 37521


@dataclass(frozen=True)
class GeoImage:
    """One camera image and where it was taken."""

    id: str
    """What it is called; unique within a dataset."""

    path: Path
    """The picture's file."""

    latitude: float
    """Degrees (WGS84)."""

    longitude: float
    """Degrees (WGS84), -180..180."""

    stamp_ns: int | None
    """When it was taken, nanoseconds since 1970 (UTC); None where no time is known."""

    row: str
    """Where it comes from, for error messages."""

    columns: dict[str, str] = field(default_factory=dict, repr=False)
    """All that a CSV says of it, {column: text}. Those that are known: `altitude`, height above
    ground in metres; `fov_deg`, horizontal field of view; `heading_deg`, where the top of the
    picture points, clockwise from north."""

    def load(self) -> np.ndarray:
        """The pixels, uint8 (H, W, 3) RGB, turned upright as EXIF says. Raises DatasetError."""
        try:
            return read_picture(self.path)
        except ImageError as error:
            raise DatasetError(f'{self.row}: {error}') from error


def read_images(
    path: str | Path, select: Mapping[str, str] | None = None, region: Region | None = None
) -> list[GeoImage]:
    """The images of a dataset as a list of GeoImage, in the order of the CSV or of the names.

    `path` is a CSV or a folder; which of the three formats it has is seen from its columns.
    `select`, {column: value}, keeps the rows of a CSV that have all these values. With a
    `region` the `sequence` column of the published format is checked against it. Raises
    DatasetError for whatever is missing, corrupt, twice there, not a number or out of range.
    """
    path = Path(path)
    if path.is_dir():
        if select:
            raise DatasetError(f'{path} is a folder without columns to select from; give a CSV')
        images = _read_folder(path)
    elif path.is_file():
        images = _read_csv(path, select or {}, region)
    else:
        raise DatasetError(f'{path} does not exist; give a CSV or a folder of images')
    _check_unique(images)
    return images


def parse_select(arguments: Iterable[str] | None) -> dict[str, str]:
    """['role=query', ...] as given on the command line -> {'role': 'query', ...}."""
    pairs: dict[str, str] = {}
    for argument in arguments or ():
        column, equals, value = argument.partition('=')
        if not (column and equals) or column in pairs:
            raise DatasetError(f'{argument!r} does not select; give COLUMN=VALUE, each once')
        pairs[column] = value
    return pairs


def _check_unique(images: Iterable[GeoImage]) -> None:
    first: dict[str, str] = {}
    for image in images:
        if image.id in first:
            raise DatasetError(
                f'{image.row}: the id {image.id!r} is there already, in {first[image.id]}; '
                'ids must be unique'
            )
        first[image.id] = image.row


# --- CSV ---------------------------------------------------------------------------------------


def _read_csv(path: Path, select: Mapping[str, str], region: Region | None) -> list[GeoImage]:
    rows = _select_rows(path, _read_rows(path), select)
    columns = rows[0][1].keys()
    if 'image_id' in columns:
        return [_published_image(path, row, values, region) for row, values in rows]
    names = _columns_of_files(path, columns)
    return [_listed_image(path, row, values, names) for row, values in rows]


def _read_rows(path: Path) -> list[Row]:
    """[(where, {column: value})]; `where` is the file's name and row, the header being row 1."""
    try:
        with path.open(newline='', encoding='utf-8-sig') as file:
            reader = csv.reader(file, strict=True)
            header = [column.strip() for column in next(reader, [])]
            lines = [(reader.line_num, line) for line in reader if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f'{path} is not a readable CSV: {error}') from error
    if not lines or len(set(header)) != len(header):
        wrong = 'has no rows' if not lines else f'has a column twice: {", ".join(header)}'
        raise DatasetError(f'{path} {wrong}; it needs a header and a row per image')
    rows = []
    for number, line in lines:
        if len(line) != len(header):
            raise DatasetError(
                f'{path.name} row {number} has {len(line)} values for {len(header)} columns'
            )
        values = (value.strip() for value in line)
        rows.append((f'{path.name} row {number}', dict(zip(header, values, strict=True))))
    return rows


def _select_rows(path: Path, rows: list[Row], select: Mapping[str, str]) -> list[Row]:
    for column, wanted in select.items():
        if column not in rows[0][1]:
            raise DatasetError(
                f'{path} has no column {column!r} to select by; it has {", ".join(rows[0][1])}'
            )
        kept = [(row, values) for row, values in rows if values[column] == wanted]
        if not kept:
            there = sorted({values[column] for _, values in rows})[:8]
            raise DatasetError(f'{path} has no row with {column}={wanted}, but {", ".join(there)}')
        rows = kept
    return rows


def _published_image(
    path: Path, row: str, values: dict[str, str], region: Region | None
) -> GeoImage:
    missing = [c for c in ('image_id', 'latitude', 'longitude') if not values.get(c)]
    if missing:
        raise DatasetError(f'{row} has no {missing[0]}')
    lat, lon = _position(row, values['latitude'], values['longitude'])
    if region is not None and values.get('sequence'):
        _check_sequence(row, values['sequence'], lat, lon, region)
    name = PANORAMA_FILE if path.name == PANORAMAS else PUBLISHED_FILE
    file = _find_file(row, name.format(values['image_id']), path.resolve().parents[:3])
    _, photo = _exif(row, file)
    stamp_ns = _exif_stamp_ns(row, photo)
    return GeoImage(values['image_id'], file, lat, lon, stamp_ns, row, values)


def _check_sequence(row: str, text: str, lat: float, lon: float, region: Region) -> None:
    """Raise DatasetError unless the cell of `text`, such as '[7, 6, 6, 5]', holds the point."""
    if not re.fullmatch(r'\[\s*\d{1,2}(\s*,\s*\d{1,2})*\s*\]', text):
        raise DatasetError(f'{row}: sequence {text!r} is no list of actions like [7, 6, 6, 5]')
    actions = tuple(int(digits) for digits in re.findall(r'\d+', text))
    if len(actions) != region.depth or max(actions) >= region.branching:
        raise DatasetError(
            f'{row}: sequence {text} does not fit a {region.grid} x {region.grid} tree of depth '
            f'{region.depth}; is it another region?'
        )
    cell = region.cell(actions)
    east, north = region.to_enu(lat, lon)
    off_m = max(abs(east - cell.east_m), abs(north - cell.north_m)) - cell.side_m / 2
    if not off_m <= ROUNDING_M:
        raise DatasetError(
            f'{row}: {lat}, {lon} is {off_m:.1f} m outside the cell of its sequence {text}; is it '
            'another region?'
        )


def _columns_of_files(path: Path, columns: Iterable[str]) -> tuple[str, str, str, str | None]:
    """Which columns hold file, latitude, longitude and (or None) stamp."""

    def pick(candidates: Sequence[str]) -> str | None:
        return next((c for c in columns if c.lower() in candidates), None)

    file, lat, lon = (pick(c) for c in (FILE_COLUMNS, LATITUDE_COLUMNS, LONGITUDE_COLUMNS))
    if file is None or lat is None or lon is None:
        raise DatasetError(
            f'{path} needs the columns file, lat and lon (or image_id, latitude, longitude in '
            f'the published format); it has {", ".join(columns)}'
        )
    return file, lat, lon, pick(STAMP_COLUMNS)


def _listed_image(
    path: Path,
    row: str,
    values: Mapping[str, str],
    names: tuple[str, str, str, str | None],
) -> GeoImage:
    file_column, lat_column, lon_column, stamp_column = names
    if not values[file_column]:
        raise DatasetError(f'{row} names no file')
    folder = path.resolve().parent
    file = _find_file(row, values[file_column], (folder, folder / 'images'))
    lat, lon = _position(row, values[lat_column], values[lon_column])
    _, photo = _exif(row, file)
    text = values[stamp_column] if stamp_column else ''
    stamp_ns = parse_stamp(text, row) if text else _exif_stamp_ns(row, photo)
    return GeoImage(values[file_column], file, lat, lon, stamp_ns, row, dict(values))


def _find_file(row: str, name: str, folders: Sequence[Path]) -> Path:
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise DatasetError(f'{row}: {name} is not in {" or ".join(str(f) for f in folders)}')


def _position(row: str, lat_text: str, lon_text: str) -> tuple[float, float]:
    try:
        lat, lon = float(lat_text), float(lon_text)
    except ValueError:
        raise DatasetError(f'{row}: position {lat_text!r}, {lon_text!r} is no number') from None
    _check_position(row, lat, lon)
    return lat, lon


def _check_position(row: str, lat: float, lon: float) -> None:
    if not (abs(lat) <= 90 and abs(lon) <= 180):
        raise DatasetError(
            f'{row}: position {lat}, {lon} is not within -90..90 and -180..180 degrees'
        )


# --- time --------------------------------------------------------------------------------------


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


# --- EXIF --------------------------------------------------------------------------------------


def _read_folder(folder: Path) -> list[GeoImage]:
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise DatasetError(f'{folder} holds no image ({", ".join(IMAGE_SUFFIXES)}); give a CSV?')
    return [_tagged_image(file) for file in files]


def _tagged_image(file: Path) -> GeoImage:
    gps, photo = _exif(file.name, file)
    lat = _exif_degrees(file, gps, 'latitude', _LATITUDE_TAGS, 'NS')
    lon = _exif_degrees(file, gps, 'longitude', _LONGITUDE_TAGS, 'EW')
    _check_position(file.name, lat, lon)
    stamp_ns = _exif_stamp_ns(file.name, photo)
    return GeoImage(file.name, file, lat, lon, stamp_ns, file.name)


def _exif(row: str, file: Path) -> tuple[Tags, Tags]:
    """The GPS and photo tags of an image as two dictionaries; this also checks its header."""
    try:
        with Image.open(file) as image:
            exif = image.getexif()
            return dict(exif.get_ifd(_GPS_IFD)), dict(exif.get_ifd(_EXIF_IFD))
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise DatasetError(f'{row}: {file} is not a readable image: {error}') from error


def _exif_stamp_ns(row: str, photo: Tags) -> int | None:
    text = _exif_text(photo.get(_TIME_TAG))
    if not any(digit in text for digit in '123456789'):
        return None  # absent, or blanks or zeros, which is how cameras without a clock say so
    subsecond = _beginning(r'\d{0,9}', _exif_text(photo.get(_SUBSECOND_TAG)))
    offset = _beginning(r'[+-]\d\d:\d\d', _exif_text(photo.get(_OFFSET_TAG)))
    return parse_stamp(f'{text}{"." if subsecond else ""}{subsecond}{offset}', row)


def _beginning(pattern: str, text: str) -> str:
    """What a text begins with of a pattern, '' where it does not."""
    found = re.match(pattern, text)
    return found[0] if found else ''


def _exif_text(value: Any) -> str:
    text = value.decode('ascii', 'replace') if isinstance(value, bytes) else str(value or '')
    return text.replace('\0', ' ').strip()


def _exif_degrees(file: Path, gps: Tags, name: str, tags: tuple[int, int], letters: str) -> float:
    """Signed degrees from a hemisphere letter and three rationals (degrees, minutes, seconds)."""
    letter, parts = _exif_text(gps.get(tags[0])).upper(), gps.get(tags[1])
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
