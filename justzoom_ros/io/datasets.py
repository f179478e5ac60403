"""Camera images with known positions, read from the three forms in which people have them.

1. The published format: a CSV `image_id,latitude,longitude,sequence` whose images are
   `streetview/images/<image_id>_undistorted.jpg` beside it or up to two folders above.
2. A folder of geotagged images: position and time from EXIF.
3. A CSV of files with positions: columns file, lat, lon, and a time or the images' EXIF time.

Nothing is left out silently: whatever cannot be used is a DatasetError naming the file and row.
"""

import csv
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from justzoom_ros.errors import DatasetError, ImageError
from justzoom_ros.io.exif import exif_position, exif_stamp_ns, parse_stamp, read_exif
from justzoom_ros.io.images import read_picture
from justzoom_ros.region import Region

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.webp')
UNREAD_SUFFIXES = (
    *('.heic', '.heif', '.avif', '.dng', '.arw', '.cr2', '.cr3', '.nef', '.orf', '.raf', '.rw2'),
)
"""Pictures of cameras and phones that Pillow does not read."""

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
    picture, or the optical axis of a forward camera, points, clockwise from north."""

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
    rows = _select_rows(path, read_rows(path), select)
    columns = rows[0][1].keys()
    if 'image_id' in columns:
        return [_published_image(path, row, values, region) for row, values in rows]
    names = _columns_of_files(path, columns)
    return [_listed_image(path, row, values, names) for row, values in rows]


def read_rows(path: Path) -> list[Row]:
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
    _, photo = read_exif(row, file)
    text = values.get('stamp', '')
    stamp_ns = parse_stamp(text, row) if text else exif_stamp_ns(row, photo)
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
    _, photo = read_exif(row, file)
    text = values[stamp_column] if stamp_column else ''
    stamp_ns = parse_stamp(text, row) if text else exif_stamp_ns(row, photo)
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


# --- folders -----------------------------------------------------------------------------------


def _read_folder(folder: Path) -> list[GeoImage]:
    files, unread = picture_files(folder)
    if unread:
        log.warning(
            f'{folder}: left out, since HEIC and raw pictures are not read (save them as JPEG): '
            + ', '.join(_name(file, folder) for file in unread)
        )
    return [_tagged_image(file, _name(file, folder)) for file in files]


def picture_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures of a folder and of those in it, as cameras number them (DCIM/100MEDIA), by
    name: those that can be read, and those of UNREAD_SUFFIXES. Raises DatasetError where none
    can be read."""
    there = sorted(file for file in folder.rglob('*') if not _is_hidden(file, folder))
    files = [file for file in there if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    if not files:
        raise DatasetError(f'{folder} holds no image ({", ".join(IMAGE_SUFFIXES)}); give a CSV?')
    return files, [file for file in there if file.suffix.lower() in UNREAD_SUFFIXES]


def _is_hidden(file: Path, folder: Path) -> bool:
    """Whether it is, or lies in, what starts with a dot: thumbnails, the trash."""
    return any(part.startswith('.') for part in file.relative_to(folder).parts)


def _name(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()


def _tagged_image(file: Path, name: str) -> GeoImage:
    gps, photo = read_exif(name, file)
    lat, lon = exif_position(file, gps)
    _check_position(name, lat, lon)
    return GeoImage(name, file, lat, lon, exif_stamp_ns(name, photo), name)


def sort_by_time(images: Iterable[GeoImage]) -> list[GeoImage]:
    """GeoImages in the order of their times. Raises DatasetError where one has no time, or that
    of another."""
    in_order = sorted(images, key=stamp_of)
    for earlier, later in zip(in_order, in_order[1:], strict=False):
        if earlier.stamp_ns == later.stamp_ns:
            raise DatasetError(
                f'{later.row}: {later.path} has the time of {earlier.path}; images of a bag '
                'need different ones, add a column `stamp` in seconds'
            )
    return in_order


def stamp_of(image: GeoImage) -> int:
    """The time of a GeoImage in nanoseconds. Raises DatasetError where it has none."""
    if image.stamp_ns is None:
        raise DatasetError(
            f'{image.row}: {image.path} has no time, in EXIF or in a column, to stamp it with'
        )
    return image.stamp_ns
