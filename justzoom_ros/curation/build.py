"""A dataset in the published layout, of anyone's photos and a map.

DIR/metadata.csv                                a row per picture; splits train, val, test
DIR/streetview/images/<image_id>_undistorted.jpg
DIR/map/                                        the map
DIR/dropped.csv                                 a row per photo that was left out, and why
DIR/report.html, report.json, tracks.png, frames.png
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from justzoom_ros.curation.config import BuildConfig
from justzoom_ros.curation.headings import set_headings
from justzoom_ros.curation.pictures import write_pictures
from justzoom_ros.curation.places import check_motion, place_on_map, split_by_place, thin_out
from justzoom_ros.curation.report import Report, make_report, write_report
from justzoom_ros.curation.selection import Entry, Selection, settle
from justzoom_ros.curation.table import write_tables
from justzoom_ros.errors import DatasetError
from justzoom_ros.files import writing
from justzoom_ros.io.photos.source import (
    Fault,
    FaultKind,
    PhotoOptions,
    PhotoSource,
    open_photos,
)
from justzoom_ros.maps.satellite_map import SatelliteMap

Progress = Callable[[str, int, int], None]
"""Told what is done, how many of it, of how many."""


@dataclass(frozen=True)
class SourcePath:
    """Where some photos are."""

    path: Path
    """A folder, a bag or a table."""

    options: PhotoOptions = PhotoOptions()
    """Which part of it is taken."""

    kind: str | None = None
    """Which of PHOTO_SOURCES it is; None: as it looks."""


def build_dataset(
    sources: Sequence[SourcePath],
    map_folder: str | Path,
    out: str | Path,
    config: BuildConfig | None = None,
    overwrite: bool = False,
    pictures: bool = True,
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Make the dataset `out` of the photos of some sources and a copy of a map; without `pictures`
    the report has none, and needs no matplotlib. Nothing is written unless all of it is.

    Raises DatasetError for what is wrong with photos or `out`, BagError, MapError, OutputError,
    RuntimeUnavailableError without matplotlib.
    """
    config = config or BuildConfig()
    if Path(out).exists() and not overwrite:
        raise DatasetError(f'{out} is there already; give --overwrite or another folder')
    satellite_map = SatelliteMap.open(map_folder)
    opened = [open_photos(s.path, s.options, s.kind) for s in sources]
    selection = read_sources(opened, progress)
    read = [sum(e.source == n for e in selection.kept) for n in range(len(opened))]
    settle(selection, _faults(selection, config), config.drop)
    _require_some(selection)
    place_on_map(selection, satellite_map)
    check_motion(selection, config)
    mounts = set_headings(selection, config)
    _require_some(selection)
    thin_out(selection, config)
    split_by_place(selection, config)
    with writing(out) as folder:
        total = len(selection.kept)
        taken = write_pictures(
            selection,
            opened,
            folder / 'streetview' / 'images',
            config,
            lambda done: progress('pictures', done, total),
        )
        _require_some(selection)
        write_tables(
            folder, selection.kept, selection.dropped, taken, satellite_map.region, config
        )
        copy_map(satellite_map.path, folder / 'map')
        report = make_report([s.path for s in sources], read, selection, taken, mounts, config)
        write_report(folder, report, selection, taken, satellite_map, pictures)
    return report


def read_sources(sources: Sequence[PhotoSource], progress: Progress) -> Selection:
    """All photos of some sources. Raises DatasetError where there is none."""
    entries: list[Entry] = []
    for number, source in enumerate(sources):
        entries += [Entry(photo, number, at) for at, photo in enumerate(source.read())]
        progress('sources', number + 1, len(sources))
    if not entries:
        raise DatasetError('there are no photos: ' + ', '.join(str(s.path) for s in sources))
    return Selection(entries)


def _faults(selection: Selection, config: BuildConfig) -> dict[int, Fault]:
    """What is wrong with photos and matters, by number: the first fault of each."""
    forgiven = set()
    if config.fov_deg is not None:
        forgiven.add(FaultKind.NO_LENS)
    if config.heading in ('track', 'none'):
        forgiven |= {FaultKind.HEADING, FaultKind.NO_HEADING}
    found = {}
    for number, entry in enumerate(selection.kept):
        faults = [fault for fault in entry.photo.faults if fault.kind not in forgiven]
        if faults:
            found[number] = faults[0]
    return found


def _require_some(selection: Selection) -> None:
    """Raises DatasetError, with what became of the photos, where none is left."""
    if not selection.kept:
        told = ', '.join(f'{count} {reason}' for reason, count in selection.counts().items())
        raise DatasetError(f'no photo is left: {told}')


def copy_map(path: Path, out: Path) -> None:
    """Copy a map, but not what is computed from it."""
    shutil.copytree(path, out, ignore=shutil.ignore_patterns('embeddings', '.*', '*.safetensors'))
