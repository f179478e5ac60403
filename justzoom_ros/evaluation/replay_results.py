"""What replayed fixes are worth: compared with the truth, as figures, tables and pictures.

`write_results` makes fixes.csv, track.geojson, map.png, errors.png, belief.png, report.html and
summary.json.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.evaluation import metrics, sequence_metrics
from justzoom_ros.evaluation.replay import STATUSES, ReplayedFix
from justzoom_ros.evaluation.report import ReportWords, write_replay_report
from justzoom_ros.evaluation.scored_fix import ScoredFix, score_fix
from justzoom_ros.files import output_folder, write_json, writing
from justzoom_ros.inference.posterior import radius_m
from justzoom_ros.io.bags import MAX_GAP_S, Track
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.plots.figures import Mark, ellipse
from justzoom_ros.plots.fixes import draw_track
from justzoom_ros.plots.motion import BeliefFrame, draw_beliefs, draw_errors_over_distance
from justzoom_ros.region import Region
from justzoom_ros.report.page import write_report

CSV_COLUMNS = (
    *('stamp_ns', 'status', 'reason', 'latitude', 'longitude', 'confidence'),
    *('variance_east_m2', 'covariance_east_north_m2', 'variance_north_m2'),
    *('truth_latitude', 'truth_longitude', 'error_m', 'truth_in_90_ellipse'),
)


MAX_REASONS = 3
"""Reasons that are told on the console; summary.json has all."""


def summarize(
    scored: Sequence[ScoredFix], region: Region, track: Track | None = None
) -> dict[str, Any]:
    """Counts and figures as a dictionary for JSON; the protocol is the full grid.

    `all` is over all images that have a position and a truth inside the region, `fix_only` over
    those of them with a fix.
    """
    counts = Counter(item.fix.status for item in scored)
    known = [item for item in scored if item.error_m is not None]
    inside = [item for item in known if item.truth is not None and region.contains(*item.truth)]
    return {
        'images': len(scored),
        **{status: counts[status] for status in STATUSES},
        'truth_unknown': len(scored) - sum(item.truth is not None for item in scored),
        'truth_outside_region': len(known) - len(inside),
        'reasons': _reasons(scored),
        'truth_remark': _truth_remark(scored, region, track),
        'truth_messages_dropped': track.dropped if track else 0,
        'share_fix': counts['fix'] / len(scored) if scored else None,
        'protocol': 'full grid',
        'all': _figures(inside, region),
        'fix_only': _figures([item for item in inside if item.fix.status == 'fix'], region),
        'sequence': sequence_figures(inside),
    }


def _reasons(scored: Sequence[ScoredFix]) -> dict[str, int]:
    """{why there is no fix: of how many images}, the most frequent first."""
    return dict(Counter(item.fix.reason for item in scored if item.fix.reason).most_common())


def _truth_remark(scored: Sequence[ScoredFix], region: Region, track: Track | None) -> str | None:
    """What is wrong where an image has no truth on the map; None where all have, or there is no
    truth at all."""
    truths = [item.truth for item in scored if item.truth is not None]
    outside = [truth for truth in truths if not region.contains(*truth)]
    if track is None or not scored or (truths and not outside):
        return None
    if not truths:
        nearest = np.abs(track.stamps_ns[:, None] - [[item.fix.stamp_ns for item in scored]])
        return f'images and true positions are {nearest.min() / 1e9:.1f} s apart'
    hint = ''
    if all(truth == (0.0, 0.0) for truth in outside):
        hint = ' (they are at 0, 0: a receiver that never had a fix?)'
    elif any(abs(lon) <= 90 and region.contains(lon, lat) for lat, lon in outside):
        hint = ' (latitude and longitude are swapped)'
    share = f'{len(outside)} of' if len(outside) < len(truths) else 'all'
    return f'{share} {len(truths)} true positions lie outside the map{hint}'


def sequence_figures(scored: Sequence[ScoredFix]) -> dict[str, Any] | None:
    """`sequence_metrics.summarize` of the ScoredFix of one sequence that have a truth and a
    position; None where they are fewer than two."""
    if len(scored) < 2:
        return None
    near = [item.fix.mass_near for item in scored]
    return sequence_metrics.summarize(
        [item.truth_m for item in scored],
        [item.position_m for item in scored],
        [item.fix.covariance_m2 for item in scored],
        [item.fix.status == 'fix' for item in scored],
        None if None in near else near,
    )


def _figures(scored: Sequence[ScoredFix], region: Region) -> dict[str, Any]:
    truths = np.array([item.truth_m for item in scored]).reshape(-1, 2)
    positions = np.array([item.position_m for item in scored]).reshape(-1, 2)
    covariances = [item.fix.covariance_m2 for item in scored]
    hits = [_cell(region, item.truth_m) == _cell(region, item.position_m) for item in scored]
    return metrics.without_nan(metrics.fix_summary(truths, positions, covariances, hits))


def _cell(region: Region, position_m: np.ndarray | None) -> tuple[int, ...] | None:
    """The actions to a position's terminal cell; None outside the region."""
    if position_m is None:
        return None
    inside = np.abs(position_m).max() <= region.side_m / 2
    return tuple(region.encode_enu(*position_m).tolist()) if inside else None


# --- results -----------------------------------------------------------------------------------


def write_results(
    out: str | Path,
    map: SatelliteMap,
    fixes: Iterable[ReplayedFix],
    track: Track | None = None,
    max_gap_s: float = MAX_GAP_S,
    words: ReportWords | None = None,
) -> dict[str, Any]:
    """Write fixes.csv, track.geojson, map.png, summary.json, report.html and, where two frames
    have a truth, errors.png and belief.png into the folder `out`, each whole or not at all;
    returns the summary. `words`: what the report is called. Raises OutputError."""
    folder = output_folder(out)
    scored = [score_fix(fix, map.region, track, max_gap_s) for fix in fixes]
    summary = summarize(scored, map.region, track)
    write_fixes(folder / 'fixes.csv', scored)
    write_json(folder / 'track.geojson', geojson(scored, map.region, track))
    title = describe(summary)
    marks = [mark for item in scored if (mark := _mark(item)) is not None]
    truths_m = None
    if track is not None:
        truths_m = np.stack(map.region.to_enu(track.latitudes, track.longitudes), axis=1)
    draw_track(map, marks, folder / 'map.png', title, truths_m)
    _draw_sequence(folder, map, [item for item in scored if item.error_m is not None], title)
    write_report(folder / 'report.html', write_replay_report, map, scored, summary, track, words)
    write_json(folder / 'summary.json', summary)
    return summary


def _mark(item: ScoredFix) -> Mark | None:
    """What is drawn of one image on the map; None where there is no position."""
    covariance_m2 = item.fix.covariance_m2
    if item.position_m is None or covariance_m2 is None:
        return None
    return Mark(item.position_m, covariance_m2, item.fix.status, item.truth_m)


def _draw_sequence(out: Path, map: SatelliteMap, scored: list[ScoredFix], title: str) -> None:
    """errors.png and, where beliefs are known, belief.png, of images with truth and position."""
    if len(scored) < 2:
        return
    marks = [mark for item in scored if (mark := _mark(item)) is not None]
    travelled = sequence_metrics.travelled_m([item.truth_m for item in scored])
    draw_errors_over_distance(
        travelled,
        [item.error_m for item in scored if item.error_m is not None],
        [radius_m(mark.covariance_m2) for mark in marks],
        [item.fix.status == 'fix' for item in scored],
        out / 'errors.png',
        title,
    )
    frames = [
        BeliefFrame(travelled_m, item.fix.picture, mark)
        for travelled_m, item, mark in zip(travelled, scored, marks, strict=True)
        if item.fix.picture is not None
    ]
    if frames:
        draw_beliefs(map, frames, out / 'belief.png')


def describe(summary: dict[str, Any]) -> str:
    """The summary in one line."""
    parts = [f'{summary["images"]} images: {summary["fix"]} fix, {summary["no_fix"]} no fix']
    parts += [f'{summary[s]} {s}' for s in ('error', 'missed') if summary[s]]
    figures = summary['fix_only']
    if figures['median_m'] is not None:
        parts.append(f'median error of fixes {figures["median_m"]:.1f} m')
        parts.append(f'{100 * summary["all"]["coverage_90_ellipse"]:.0f} % in 90 % ellipses')
    return ', '.join(parts)


def remarks(summary: dict[str, Any]) -> list[str]:
    """What else a reader of the summary should know: why images cannot be used, what is wrong
    with the truth."""
    said = []
    if summary['no_fix'] or summary['error']:
        listed = [f'{count} x {reason}' for reason, count in summary['reasons'].items()]
        more = [f'{len(listed) - MAX_REASONS} other reasons'] if len(listed) > MAX_REASONS else []
        said += ['; '.join(listed[:MAX_REASONS] + more)] if listed else []
    if summary['truth_remark']:
        said.append(summary['truth_remark'])
    return said


def describe_sequence(summary: dict[str, Any]) -> str:
    """The figures of the sequence as lines of text."""
    return sequence_metrics.describe(summary['sequence'] or {})


def write_fixes(path: Path, scored: Iterable[ScoredFix]) -> None:
    with writing(path) as temporary, temporary.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)
        for item in scored:
            fix = item.fix
            covariance = (None,) * 3
            if fix.covariance_m2 is not None:
                covariance = fix.covariance_m2[[0, 0, 1], [0, 1, 1]].tolist()
            writer.writerow([
                *(fix.stamp_ns, fix.status, fix.reason),
                *(fix.latitude, fix.longitude, fix.confidence),
                *covariance,
                *(item.truth or (None, None)),
                *(item.error_m, item.in_ellipse),
            ])  # fmt: skip


def geojson(
    scored: Iterable[ScoredFix], region: Region, track: Track | None = None
) -> dict[str, Any]:
    """Truth as a line, fixes as points, their 90 % ellipses as polygons: a FeatureCollection
    (RFC 7946: longitude first, outer rings counter-clockwise)."""
    features = []
    if track is not None:
        line = np.stack([track.longitudes, track.latitudes], axis=1).tolist()
        kind, line = ('LineString', line) if len(line) > 1 else ('Point', line[0])
        features.append(_feature(kind, line, kind='truth'))
    for item in scored:
        fix = item.fix
        if item.position_m is None or fix.covariance_m2 is None:
            continue
        about = {'stamp_ns': fix.stamp_ns, 'status': fix.status, 'error_m': item.error_m}
        ring = ellipse(item.position_m, fix.covariance_m2)
        lat, lon = region.to_latlon(*ring.T)
        features.append(
            _feature(
                'Point',
                [fix.longitude, fix.latitude],
                kind='fix',
                **about,
                confidence=fix.confidence,
                reason=fix.reason,
            )
        )
        polygon = [np.stack([lon, lat], axis=1).tolist()]
        features.append(_feature('Polygon', polygon, kind='ellipse_90', **about))
    return {'type': 'FeatureCollection', 'features': features}


def _feature(shape: str, coordinates: list, **properties: Any) -> dict[str, Any]:
    geometry = {'type': shape, 'coordinates': coordinates}
    return {'type': 'Feature', 'geometry': geometry, 'properties': properties}
