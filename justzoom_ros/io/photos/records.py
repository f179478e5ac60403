"""A photo from what a table or a JSON says of it, whatever the columns are called.

Names that are understood are those of the published layout; of Mapillary's API (version 4 and, as
its data sets have them, 3); of the description files of mapillary_tools; and the usual ones of
hand-made tables. What was computed from the pictures is preferred to what a receiver or a compass
said.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

from justzoom_ros.errors import ConfigError, DatasetError
from justzoom_ros.io.datasets import PUBLISHED_FILE
from justzoom_ros.io.exif import parse_stamp
from justzoom_ros.io.photos.exif_camera import Header, describe, read_header
from justzoom_ros.io.photos.folder import (
    PANORAMA_SAYS,
    with_fault,
    with_lens,
    with_position,
)
from justzoom_ros.io.photos.lens import BROWN, FISHEYE, Lens
from justzoom_ros.io.photos.source import FaultKind, Photo
from justzoom_ros.io.stamps import NS_PER_S

FILES = ('file', 'path', 'image', 'filename', 'MAPFilename')
IDS = ('image_id', 'id', 'key', 'image_key')
LATITUDES = ('latitude', 'lat', 'MAPLatitude')
LONGITUDES = ('longitude', 'lon', 'lng', 'MAPLongitude')
COMPUTED_HEADINGS = ('computed_compass_angle', 'cca')
HEADINGS = ('heading_deg', 'heading', 'compass_angle', 'ca')
STAMPS = ('stamp', 'stamp_s', 'captured_at', 'timestamp', 'time', 'datetime', 'exif_time')
TRACKS = ('track', 'sequence_id', 'sequence_key', 'skey', 'MAPSequenceUUID')
ACCURACIES = ('position_std_m', 'MAPGPSAccuracyMeters')
SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp')
FOLDERS = ('', 'images')
"""Where the files may lie, seen from the table."""

PANORAMIC_CAMERAS = ('spherical', 'equirectangular')
"""Values of Mapillary's `camera_type` beside perspective and fisheye."""

COMPUTED_POSITION_STD_M, COMPUTED_HEADING_STD_DEG = 5.0, 5.0
"""Assumed of what structure from motion computed: it averages the receiver's errors along a
sequence, but keeps what they have in common."""

NOT_FOUND = -1.0
"""Mapillary's heading of version 3 where there is none."""

MILLISECONDS_ABOVE = 1e11
"""A larger number of seconds would be after the year 5000, so it is milliseconds."""

Record = Mapping[str, Any]
"""What is said of a photo, {name: value}; values may be text."""


@dataclass(frozen=True)
class Place:
    """Where a record says that a photo was taken."""

    latitude: float
    """Degrees."""

    longitude: float
    """Degrees."""

    computed: bool = False
    """Whether it was computed from the pictures."""


def photo_of(record: Record, where: str, folder: Path) -> Photo:
    """The `Photo` of a record. `where` names the row for messages; files are looked for in
    `folder`. What cannot be used is a fault of it."""
    photo = _located(record, where, folder)
    if photo.file is None:
        return photo
    try:
        header = read_header(where, photo.file)
    except DatasetError as error:
        return with_fault(photo, FaultKind.UNREADABLE, describe(error, where))
    for add in (_with_place, _with_stamp, _with_heading, _with_camera):
        photo = add(photo, record, where, header)
    return with_lens(photo, header)


def value_of(record: Record, names: Sequence[str]) -> Any:
    """The first value that is there and not empty, None without."""
    return next((record[n] for n in names if record.get(n) not in (None, '')), None)


# --- files -------------------------------------------------------------------------------------


def _located(record: Record, where: str, folder: Path) -> Photo:
    named, key = value_of(record, FILES), value_of(record, IDS)
    name = str(named if named is not None else key if key is not None else where)
    photo = Photo(name, _track(record))
    file = _find(folder, named, key)
    if file is None:
        return with_fault(photo, FaultKind.NO_FILE, f'{where}: {name} is not in {folder}')
    return replace(photo, file=file)


def _find(folder: Path, named: Any, key: Any) -> Path | None:
    """The file of a name, which may be a path on another machine, or of an id."""
    names = []
    if named is not None:
        names = [str(named), re.split(r'[/\\]', str(named))[-1]]
    elif key is not None:
        names = [PUBLISHED_FILE.format(key), *(f'{key}{suffix}' for suffix in SUFFIXES)]
    places = [folder / inside / name for name in names for inside in FOLDERS]
    return next((place for place in places if _is_file(place)), None)


def _is_file(path: Path) -> bool:
    """Whether it is; names that no file can have are none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _track(record: Record) -> str:
    """The sequence; `sequence` itself is a list of actions in the published layout."""
    track = value_of(record, TRACKS)
    if track is None:
        track = record.get('sequence') or ''
        track = track.get('id', '') if isinstance(track, Mapping) else track
    return '' if str(track).startswith('[') else str(track)


# --- where and when ------------------------------------------------------------------------------


def _with_place(photo: Photo, record: Record, where: str, header: Header) -> Photo:
    try:
        place = _place(record, where)
        std_m = _number(record, ACCURACIES, where)
    except DatasetError as error:
        return with_fault(photo, FaultKind.NO_POSITION, str(error))
    if std_m is None and place.computed:
        std_m = COMPUTED_POSITION_STD_M
    photo = replace(photo, position_std_m=std_m)
    return with_position(photo, place.latitude, place.longitude, where)


def _place(record: Record, where: str) -> Place:
    for name in ('computed_geometry', 'geometry'):
        point = _point(record, name, where)
        if point is not None:
            return Place(point[1], point[0], name.startswith('computed'))
    lat, lon = _number(record, LATITUDES, where), _number(record, LONGITUDES, where)
    if lat is None or lon is None:
        says = record.get('error')
        reason = f' ({says["message"]})' if isinstance(says, Mapping) and 'message' in says else ''
        raise DatasetError(f'{where} has no position{reason}')
    return Place(lat, lon)


def _point(record: Record, name: str, where: str) -> tuple[float, float] | None:
    """(longitude, latitude) of a point in GeoJSON, as such or as text, or in WKT, None where
    there is none. Tables that were flattened have the columns `name.coordinates` and so on."""
    value = record.get(name) or record.get(f'{name}.coordinates')
    if value in (None, ''):
        return None
    numbers: Any = value
    if isinstance(value, Mapping):
        numbers = value.get('coordinates')
    elif isinstance(value, str):
        numbers = re.findall(r'-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?', value)
    try:
        longitude, latitude = (float(number) for number in list(numbers)[:2])
    except (TypeError, ValueError):
        raise DatasetError(f'{where}: {name} {value!r} is no point') from None
    return longitude, latitude


def _with_stamp(photo: Photo, record: Record, where: str, header: Header) -> Photo:
    try:
        return replace(photo, stamp_ns=_stamp_ns(record, where))
    except DatasetError as error:
        return with_fault(photo, FaultKind.NO_STAMP, str(error))


def _stamp_ns(record: Record, where: str) -> int | None:
    if text := record.get('MAPCaptureTime'):
        return _capture_time_ns(str(text), where)
    value = value_of(record, STAMPS)
    if value is None:
        return None
    try:
        milliseconds = float(value) > MILLISECONDS_ABOVE
    except (TypeError, ValueError, OverflowError):
        milliseconds = False
    text = str(value)
    return parse_stamp(str(Decimal(text).scaleb(-3)) if milliseconds else text, where)


def _capture_time_ns(text: str, where: str) -> int:
    """Of mapillary_tools: year_month_day_hour_minute_second_fraction, UTC."""
    parts = re.fullmatch(r'(\d{4})_(\d\d)_(\d\d)_(\d\d)_(\d\d)_(\d\d)(?:_(\d+))?', text)
    if parts is None:
        raise DatasetError(f'{where}: MAPCaptureTime {text!r} is no time')
    try:
        moment = datetime(*map(int, parts.groups()[:6]), tzinfo=timezone.utc)  # type: ignore
    except ValueError as error:
        raise DatasetError(f'{where}: MAPCaptureTime {text!r} is no time: {error}') from None
    fraction = (parts[7] or '0')[:9].ljust(9, '0')
    return int(moment.timestamp()) * NS_PER_S + int(fraction)


# --- heading and lens ----------------------------------------------------------------------------


def _with_heading(photo: Photo, record: Record, where: str, header: Header) -> Photo:
    try:
        heading_deg, source = _heading(record, where)
        std_deg = _number(record, ('heading_std_deg',), where)
        tilts = [_number(record, (name,), where) for name in ('pitch_deg', 'roll_deg')]
    except DatasetError as error:
        return with_fault(photo, FaultKind.HEADING, str(error))
    if std_deg is None and source == 'computed':
        std_deg = COMPUTED_HEADING_STD_DEG
    return replace(
        photo,
        heading_deg=heading_deg,
        heading_source=source,
        heading_std_deg=std_deg,
        pitch_deg=tilts[0],
        roll_deg=tilts[1],
    )


def _heading(record: Record, where: str) -> tuple[float | None, str]:
    computed = _number(record, COMPUTED_HEADINGS, where)
    if computed is not None:
        return computed % 360.0, 'computed'
    compass = record.get('MAPCompassHeading')
    if isinstance(compass, Mapping):
        true = _number(compass, ('TrueHeading',), where)
        if true is not None:
            return true % 360.0, 'compass'
        magnetic = _number(compass, ('MagneticHeading',), where)
        return (None, '') if magnetic is None else (magnetic % 360.0, 'magnetic')
    told = _number(record, HEADINGS, where)
    if told is None or told == NOT_FOUND:
        return None, ''
    if not -180 <= told <= 360:
        raise DatasetError(f'{where}: heading {told:g} is not in 0..360')
    return told % 360.0, 'compass'


def _with_camera(photo: Photo, record: Record, where: str, header: Header) -> Photo:
    kind = str(record.get('camera_type') or '').lower()
    panoramic = str(value_of(record, ('is_pano', 'pano')) or '').lower() in ('true', '1')
    if panoramic or kind in PANORAMIC_CAMERAS:
        return with_fault(photo, FaultKind.PANORAMA, f'{where}: {PANORAMA_SAYS}')
    try:
        return replace(photo, lens=_lens(record, where, header.size_px, kind))
    except (ConfigError, DatasetError) as error:
        says = str(error) if str(error).startswith(where) else f'{where}: {error}'
        return with_fault(photo, FaultKind.NO_LENS, says)


def _lens(record: Record, where: str, size_px: tuple[int, int], kind: str) -> Lens | None:
    matrix = [_number(record, (name,), where) for name in ('fx_px', 'fy_px', 'cx_px', 'cy_px')]
    width = _number(record, ('width_px',), where)
    height = _number(record, ('height_px',), where)
    if None not in matrix and width and height:
        fx, fy, cx, cy = (float(value or 0.0) for value in matrix)
        return Lens(fx, fy, cx, cy, (int(width), int(height)), 'table').scaled(size_px)
    fov_deg = _number(record, ('fov_deg', 'fov'), where)
    if fov_deg is not None:
        return Lens.from_fov(fov_deg, size_px, 'fov_deg')
    return _mapillary_lens(record, where, size_px, kind)


def _mapillary_lens(
    record: Record, where: str, size_px: tuple[int, int], kind: str
) -> Lens | None:
    """The lens that Mapillary computed: [focal, k1, k2], the focal length as a share of the longer
    side, the distortions as those of the first two coefficients of OpenCV's two models."""
    told = record.get('camera_parameters')
    if told in (None, '', []):
        return None
    try:
        values = json.loads(told) if isinstance(told, str) else list(told)
        focal, k1, k2 = (float(value) for value in values)
    except (TypeError, ValueError):
        raise DatasetError(
            f'{where}: camera_parameters {told!r} are not [focal, k1, k2] of a plain camera'
        ) from None
    lens = Lens.from_focal(focal * max(size_px), size_px, 'Mapillary')
    model = FISHEYE if kind == 'fisheye' else BROWN
    return replace(lens, model=model, distortion=(k1, k2, 0.0, 0.0))


def _number(record: Record, names: Sequence[str], where: str) -> float | None:
    """The first of some names as a number, None without. Raises DatasetError for other text."""
    name = next((n for n in names if record.get(n) not in (None, '')), None)
    if name is None:
        return None
    try:
        value = float(record[name])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DatasetError(f'{where}: {name} {record[name]!r} is no number')
    return value
