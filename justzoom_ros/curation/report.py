"""What became of the photos: counts, a page, the tracks on the map, a sheet of frames."""

import html
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.curation.config import BuildConfig
from justzoom_ros.curation.headings import Mount
from justzoom_ros.curation.pictures import Taken
from justzoom_ros.curation.places import SPLITS, count_splits
from justzoom_ros.curation.selection import Entry, Key, Selection
from justzoom_ros.files import write_json
from justzoom_ros.io.images import read_picture
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.plots.photo_set import SHEET_COLUMNS, draw_splits, write_sheet

SHEET_FRAMES, CAPTION_LETTERS = 4 * SHEET_COLUMNS, 28


@dataclass(frozen=True)
class Report:
    """The counts of a dataset. Photos read are those kept and those dropped."""

    read: dict[str, int]
    """{source: photos in it}."""

    kept: dict[str, int]
    """{split: photos}."""

    dropped: dict[str, int]
    """{reason: photos left out for it}."""

    tracks: int
    """Pieces of tracks that the kept photos are part of."""

    lenses: dict[str, int]
    """{who told the lens: photos}."""

    headings: dict[str, int]
    """{what the heading is from: photos}."""

    mounts_deg: dict[str, float]
    """{track: degrees clockwise from the direction of travel that its camera looks}, measured by
    its own headings."""

    uncorrected_magnetic: int
    """Photos whose heading is from magnetic north and taken as it is."""

    assumed_position_std: int
    """Photos whose position states no deviation."""

    config: dict[str, Any]
    """How the dataset was built."""


def make_report(
    paths: Sequence[Path],
    read: Sequence[int],
    selection: Selection,
    taken: Mapping[Key, Taken],
    mounts: Mapping[tuple[int, str], Mount],
    config: BuildConfig,
) -> Report:
    """The `Report` of what was done with `read` photos from each of some `paths`."""
    kept = selection.kept
    magnetic = sum(e.heading_source == 'magnetic' for e in kept)
    return Report(
        read={
            f'{n}: {path}': count for n, (path, count) in enumerate(zip(paths, read, strict=True))
        },
        kept=count_splits([entry.split for entry in kept]),
        dropped=selection.counts(),
        tracks=len({(*entry.track, entry.segment) for entry in kept}),
        lenses=dict(Counter(taken[entry.key].lens.origin for entry in kept)),
        headings=dict(Counter(entry.heading_source or 'none' for entry in kept)),
        mounts_deg={
            f'{source}/{track}': round((mount.deg + 180.0) % 360.0 - 180.0, 1)
            for (source, track), mount in mounts.items()
            if mount.measured
        },
        uncorrected_magnetic=0 if config.declination_deg else magnetic,
        assumed_position_std=sum(entry.photo.position_std_m is None for entry in kept),
        config=asdict(config),
    )


def write_report(
    folder: Path,
    report: Report,
    selection: Selection,
    taken: Mapping[Key, Taken],
    satellite_map: SatelliteMap,
    pictures: bool = True,
) -> None:
    """Write report.json, report.html and, with `pictures`, tracks.png and frames.png."""
    write_json(folder / 'report.json', asdict(report))
    if pictures:
        _draw_tracks(folder / 'tracks.png', report, selection, satellite_map)
        _draw_frames(folder, selection.kept, taken)
    page = report_page(report, selection, pictures)
    (folder / 'report.html').write_text(page, encoding='utf-8')


# --- pictures ------------------------------------------------------------------------------------


def _draw_tracks(
    path: Path, report: Report, selection: Selection, satellite_map: SatelliteMap
) -> None:
    by_split = {s: [e for e in selection.kept if e.split == s] for s in SPLITS}
    places = {s: np.array([(e.east_m, e.north_m) for e in entries], float).reshape(-1, 2)
              for s, entries in by_split.items()}  # fmt: skip
    yaws = {
        s: np.array([_yaw_rad(entry) for entry in entries], float)
        for s, entries in by_split.items()
    }
    half = satellite_map.region.side_m / 2
    lost = np.array(
        [(one.entry.east_m, one.entry.north_m) for one in selection.dropped], float
    ).reshape(-1, 2)
    lost = lost[(np.abs(lost) <= half).all(axis=1)]  # False for NaN: those without a place
    kept, dropped = sum(report.kept.values()), sum(report.dropped.values())
    title = f'{kept} photos kept of {kept + dropped}; pieces of tracks: {report.tracks}'
    draw_splits(satellite_map, places, yaws, lost, path, title)


def _yaw_rad(entry: Entry) -> float:
    return math.nan if entry.heading_deg is None else math.radians(90.0 - entry.heading_deg)


def _draw_frames(folder: Path, kept: Sequence[Entry], taken: Mapping[Key, Taken]) -> None:
    """A sheet of frames evenly drawn from all."""
    chosen = [kept[i] for i in np.unique(np.linspace(0, len(kept) - 1, SHEET_FRAMES).astype(int))]
    ids = [taken[entry.key].image_id for entry in chosen]
    images = [read_picture(folder / f'streetview/images/{i}_undistorted.jpg') for i in ids]
    captions = [
        f'{_shorten(e.photo.name)}\n{e.split}'
        + ('' if e.heading_deg is None else f', {e.heading_deg:.0f} deg ({e.heading_source})')
        for e in chosen
    ]
    write_sheet(images, captions, folder / 'frames.png')


def _shorten(name: str) -> str:
    """The end of a name, which tells photos apart."""
    return name if len(name) <= CAPTION_LETTERS else f'...{name[-CAPTION_LETTERS:]}'


# --- the page ------------------------------------------------------------------------------------

STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
       color: #1b1f24 }
table { border-collapse: collapse; margin: 0 2rem 1.5rem 0; display: inline-table;
        vertical-align: top }
td, th { padding: .15rem .8rem .15rem 0; text-align: left; border-bottom: 1px solid #d8dde3 }
td.n { text-align: right } img { max-width: 100% } h2 { font-size: 1.1rem; margin-top: 2rem }
"""

MORE = 200
"""So many of the photos that were left out stand in the page; all stand in dropped.csv."""


def report_page(report: Report, selection: Selection, pictures: bool) -> str:
    """The report as a page in HTML; its pictures lie beside it."""
    kept, dropped = sum(report.kept.values()), sum(report.dropped.values())
    parts = [
        f'<h1>{kept} photos kept of {kept + dropped}</h1>',
        _table('split', report.kept),
        _table('left out', report.dropped or {'none': 0}),
        _table('source', report.read),
        _table('lens from', report.lenses),
        _table('heading from', report.headings),
        _table('looks, degrees right of ahead', report.mounts_deg) if report.mounts_deg else '',
        *(f'<p>{html.escape(note)}</p>' for note in notes(report)),
    ]
    if pictures:
        parts += [f'<h2>{title}</h2><img src="{name}" alt="{title}">' for title, name in (
            ('Where the photos were taken', 'tracks.png'), ('Frames', 'frames.png'))]  # fmt: skip
    if selection.dropped:
        parts.append(_left_out(selection))
    style = f'<meta charset="utf-8"><title>Dataset</title><style>{STYLE}</style>'
    return (
        f'<!doctype html><html lang="en"><head>{style}</head><body>{"".join(parts)}</body></html>'
    )


def notes(report: Report) -> list[str]:
    """What a reader should know beside the counts."""
    found = []
    if report.uncorrected_magnetic:
        found.append(
            f'{report.uncorrected_magnetic} headings are from magnetic north and taken as they '
            'are: give --declination DEG'
        )
    if report.assumed_position_std:
        found.append(
            f'{report.assumed_position_std} positions state no deviation: '
            f'{report.config["position_std_m"]:g} m is assumed'
        )
    return found


def _table(title: str, counts: Mapping[str, float]) -> str:
    rows = ''.join(
        f'<tr><td>{html.escape(str(name))}</td><td class="n">{value:g}</td></tr>'
        for name, value in counts.items()
    )
    return f'<table><tr><th>{html.escape(title)}</th><th></th></tr>{rows}</table>'


def _left_out(selection: Selection) -> str:
    rows = ''.join(
        '<tr>'
        + ''.join(
            f'<td>{html.escape(text)}</td>'
            for text in (one.entry.photo.name, one.reason, one.says)
        )
        + '</tr>'
        for one in selection.dropped[:MORE]
    )
    rest = len(selection.dropped) - MORE
    more = f'<p>and {rest} more: see dropped.csv</p>' if rest > 0 else ''
    return f'<h2>Left out</h2><table>{rows}</table>{more}'
