"""The tables of a dataset: a row per picture in the published layout, and a row per photo that was
left out."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from justzoom_ros.curation.config import BuildConfig
from justzoom_ros.curation.pictures import Taken
from justzoom_ros.curation.selection import Dropped, Entry, Key
from justzoom_ros.io.stamps import NS_PER_S
from justzoom_ros.region import Region

COLUMNS = (
    'image_id', 'latitude', 'longitude', 'sequence', 'split', 'stamp', 'heading_deg', 'pitch_deg',
    'roll_deg', 'camera_height_m', 'fov_deg', 'width_px', 'height_px', 'fx_px', 'fy_px', 'cx_px',
    'cy_px', 'position_std_m', 'heading_std_deg', 'heading_source', 'lens_source', 'track',
    'source',
)  # fmt: skip
"""Those of `justzoom city`, but for what only its maker knows, and what real photos need."""

DROPPED_COLUMNS = ('photo', 'track', 'latitude', 'longitude', 'reason', 'more')


def row_of(entry: Entry, taken: Taken, region: Region, config: BuildConfig) -> dict[str, Any]:
    """{column: value} of a picture."""
    photo, lens = entry.photo, taken.lens
    latitude, longitude = (round(float(v), 7) for v in (photo.latitude, photo.longitude))  # type: ignore[arg-type]
    position_std_m = photo.position_std_m or config.position_std_m
    return {
        'image_id': taken.image_id,
        'latitude': latitude,
        'longitude': longitude,
        'sequence': str([int(a) for a in region.encode(latitude, longitude)]),
        'split': entry.split,
        'stamp': iso_stamp(photo.stamp_ns),
        'heading_deg': _rounded(entry.heading_deg, 3),
        'pitch_deg': _rounded(photo.pitch_deg, 3),
        'roll_deg': _rounded(photo.roll_deg, 3),
        'camera_height_m': _rounded(config.camera_height_m, 3),
        'fov_deg': _rounded(lens.fov_deg, 3),
        'width_px': lens.size_px[0],
        'height_px': lens.size_px[1],
        'fx_px': _rounded(lens.fx_px, 3),
        'fy_px': _rounded(lens.fy_px, 3),
        'cx_px': _rounded(lens.cx_px, 3),
        'cy_px': _rounded(lens.cy_px, 3),
        'position_std_m': _rounded(position_std_m, 3),
        'heading_std_deg': _rounded(entry.heading_std_deg, 3),
        'heading_source': entry.heading_source,
        'lens_source': lens.origin,
        'track': track_name(entry),
        'source': photo.name,
    }


def track_name(entry: Entry) -> str:
    """What the dataset calls the piece of a track that a photo is part of: the number of its
    source, its track there, the piece."""
    return f'{entry.source}/{entry.photo.track}/{entry.segment}'


def dropped_row(one: Dropped) -> dict[str, Any]:
    """{column: value} of a photo that was left out."""
    photo = one.entry.photo
    return {
        'photo': photo.name,
        'track': track_name(one.entry),
        'latitude': _rounded(photo.latitude, 7),
        'longitude': _rounded(photo.longitude, 7),
        'reason': one.reason,
        'more': one.says,
    }


def iso_stamp(stamp_ns: int | None) -> str:
    """A time in ISO 8601, UTC, to the nanosecond; '' for None."""
    if stamp_ns is None:
        return ''
    seconds, rest = divmod(stamp_ns, NS_PER_S)
    whole = datetime.fromtimestamp(seconds, timezone.utc).strftime('%Y-%m-%dT%H:%M:%S')
    return f'{whole}.{rest:09d}Z'


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV."""
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def write_tables(
    folder: Path,
    kept: Sequence[Entry],
    dropped: Sequence[Dropped],
    taken: Mapping[Key, Taken],
    region: Region,
    config: BuildConfig,
) -> None:
    """Write metadata.csv and dropped.csv into a folder."""
    rows = [row_of(entry, taken[entry.key], region, config) for entry in kept]
    write_rows(folder / 'metadata.csv', COLUMNS, rows)
    write_rows(folder / 'dropped.csv', DROPPED_COLUMNS, map(dropped_row, dropped))


def _rounded(value: float | None, digits: int) -> float | str:
    """A number as a table has it, '' for what is not known."""
    return '' if value is None or not math.isfinite(value) else round(float(value), digits)
