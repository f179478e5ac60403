"""A replay as a page: what was found, frame by frame, beside the truth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.evaluation import metrics, sequence_metrics
from justzoom_ros.evaluation.evaluate_results import percent
from justzoom_ros.evaluation.report_budget import within_budget
from justzoom_ros.evaluation.scored_fix import ScoredFix
from justzoom_ros.inference.posterior import radius_m
from justzoom_ros.io.bags import Track
from justzoom_ros.io.stamps import NS_PER_S
from justzoom_ros.maps.map_offset import MapOffset
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.region import Region
from justzoom_ros.report.content import SEVERITIES, Chart, FrameView, Page, Series, Table, Tile
from justzoom_ros.report.page import write_page
from justzoom_ros.report.pictures import belief_heat, map_view

LEAST_ERROR_M = 0.3
"""Errors are drawn on a logarithmic scale from here on."""

TRACK_POINTS = 3000
"""So many points of the true track are drawn at most."""


@dataclass(frozen=True)
class ReportWords:
    """What a page is called, and what its reader should know besides the figures."""

    title: str = 'Replay'
    """Its headline."""

    about: tuple[str, ...] = ()
    """Map, weights and other circumstances, a few words each."""

    map_offset: MapOffset | None = None
    """How far the map is off, by which every fix was moved; None where it is not."""

    @property
    def offset_m(self) -> tuple[float, float]:
        """East and north of it, metres."""
        return (0.0, 0.0) if self.map_offset is None else tuple(self.map_offset.mean_m.tolist())


def write_replay_report(
    path: str | Path,
    satellite_map: SatelliteMap,
    scored: Sequence[ScoredFix],
    summary: dict[str, Any],
    track: Track | None = None,
    words: ReportWords | None = None,
) -> None:
    """Write the page of a replay. Raises OutputError, RuntimeUnavailableError without Leaflet."""
    words = words or ReportWords()
    frames = frame_views(scored, satellite_map.region, words.offset_m)
    worst = worst_first(frames)
    page = Page(
        title=words.title,
        verdict=verdict(summary),
        about=(*words.about, *offset_words(words.map_offset)),
        tiles=tiles(summary),
        map=map_view(satellite_map, offset_m=words.offset_m),
        track=_track(track, satellite_map.region),
        frames=frames,
        worst=worst,
        charts=charts(frames),
        tables=tables(summary),
    )
    write_page(path, within_budget(page))


def offset_words(offset: MapOffset | None) -> tuple[str, ...]:
    """What the head of a page says of a map that is off; nothing where it is not."""
    return (f'map moved by {offset}',) if offset and offset.known else ()


# --- frames ------------------------------------------------------------------------------------


def frame_views(
    scored: Sequence[ScoredFix], region: Region, offset_m: tuple[float, float] = (0.0, 0.0)
) -> list[FrameView]:
    """The `FrameView`s of scored fixes with truth, belief and what failed, on a map that is off by
    `offset_m`."""
    if not scored:
        return []
    start_ns = scored[0].fix.stamp_ns
    travelled = _travelled_m(scored)
    return [
        replace(
            _frame_view(item, region, f'{number + 1}', offset_m),
            time_s=(item.fix.stamp_ns - start_ns) / NS_PER_S,
            travelled_m=travelled[number],
        )
        for number, item in enumerate(scored)
    ]


def _frame_view(
    item: ScoredFix, region: Region, number: str, offset_m: tuple[float, float]
) -> FrameView:
    fix = item.fix
    view, picture = fix.view or FrameView(number, fix.status), fix.picture
    view = replace(
        view,
        name=view.name or number,
        status=fix.status,
        reason=fix.reason,
        severity=severity(item),
        truth=_pair(item.truth_m),
        error_m=item.error_m,
        belief=None if picture is None else belief_heat(picture, region.side_m, offset_m),
    )
    if item.position_m is None or fix.covariance_m2 is None:
        return view
    covariance = np.asarray(fix.covariance_m2)
    return replace(
        view,
        position=_pair(item.position_m),
        covariance=(covariance[0, 0], covariance[0, 1], covariance[1, 1]),
        radius_m=radius_m(covariance),
        confidence=fix.confidence if view.confidence is None else view.confidence,
        latlon=(float(fix.latitude or 0.0), float(fix.longitude or 0.0)),
    )


def _pair(point_m: np.ndarray | None) -> tuple[float, float] | None:
    return None if point_m is None else (float(point_m[0]), float(point_m[1]))


def severity(item: ScoredFix) -> str:
    """What failed of a frame: one of SEVERITIES."""
    fix = item.fix
    if fix.status in ('error', 'missed'):
        return 'error' if fix.status == 'error' else ''
    if fix.status == 'no_fix':
        return 'no_fix'
    truth_m, position_m, covariance_m2 = item.truth_m, item.position_m, fix.covariance_m2
    if item.in_ellipse is not False or truth_m is None or position_m is None:
        return ''
    sure = sequence_metrics.SURE
    assert covariance_m2 is not None  # there is a position
    held = metrics.in_ellipses(truth_m, position_m, covariance_m2, sure)
    return 'outside' if held[0] else 'wrong'


def worst_first(frames: Sequence[FrameView]) -> list[int]:
    """Numbers of the frames that failed: by SEVERITIES, then by error."""
    failed = [number for number, frame in enumerate(frames) if frame.severity]
    return sorted(
        failed, key=lambda k: (SEVERITIES.index(frames[k].severity), -(frames[k].error_m or 0.0))
    )


def _travelled_m(scored: Sequence[ScoredFix]) -> list[float | None]:
    """Distance along the truths since the first; None where the truth is not known."""
    known = [number for number, item in enumerate(scored) if item.truth_m is not None]
    found: list[float | None] = [None] * len(scored)
    if known:
        along = sequence_metrics.travelled_m([scored[number].truth_m for number in known])
        for number, distance in zip(known, along.tolist(), strict=True):
            found[number] = distance
    return found


def _track(track: Track | None, region: Region) -> np.ndarray | None:
    if track is None:
        return None
    places = np.stack(region.to_enu(track.latitudes, track.longitudes), axis=1)
    return places[:: max(1, -(-len(places) // TRACK_POINTS))]


# --- figures -----------------------------------------------------------------------------------


def verdict(summary: dict[str, Any]) -> str:
    """The result in a sentence."""
    fixes, images = summary['fix'], summary['images']
    said = f'{fixes} of {images} {"image" if images == 1 else "images"} gave a fix'
    median_m = summary['fix_only']['median_m']
    if median_m is None:
        return f'{said}; no true positions to compare with.' if fixes else f'{said}.'
    wrong = (summary['sequence'] or {}).get('false_sure') or 0
    ending = f'{wrong} sure and wrong' if wrong else 'none of them sure and wrong'
    return f'{said}, half of them within {metres(median_m)} of the truth, {ending}.'


def tiles(summary: dict[str, Any]) -> list[Tile]:
    """The figures at the top."""
    figures, sequence = summary['fix_only'], summary['sequence'] or {}
    made = [Tile('Images with a fix', percent(summary['share_fix']), _counts(summary))]
    if figures['median_m'] is None:
        return made
    wrong, inside = sequence.get('false_sure'), summary['all']['coverage_90_ellipse']
    made += [
        Tile('Median error of the fixes', metres(figures['median_m'])),
        Tile('90 % of the fixes within', metres(figures['p90_m'])),
        Tile('Truth in the 90 % ellipse', percent(inside), 'ideal: 90 % or a little more'),
    ]
    if wrong is not None:
        mood = 'bad' if wrong else 'good'
        made.append(Tile('Sure and wrong', str(wrong), 'truth outside the 99 % ellipse', mood))
    if sequence.get('convergence_25m_m') is not None:
        reached = metres(sequence['convergence_25m_m'])
        made.append(Tile('Within 25 m after', reached, 'and to the end'))
    return made


def _counts(summary: dict[str, Any]) -> str:
    parts = [f'{summary["fix"]} of {summary["images"]}']
    parts += [f'{summary[kind]} {kind}' for kind in ('error', 'missed') if summary[kind]]
    return ', '.join(parts)


def charts(frames: Sequence[FrameView]) -> list[Chart]:
    """Error and radius over the distance travelled; without a truth the radius over time."""
    known = [frame for frame in frames if frame.error_m is not None]
    if len(known) < 2:
        return _radius_chart([frame for frame in frames if frame.radius_m is not None])
    along = [frame.travelled_m or 0.0 for frame in known]
    errors = [max(frame.error_m or 0.0, LEAST_ERROR_M) for frame in known]
    radii = [frame.radius_m for frame in known]
    series = [Series('90 % radius', along, radii, 'band', 'band'), Series('', along, errors)]
    for status, name in (('fix', 'error of a fix'), ('no_fix', 'no fix (unsure)')):
        chosen = [k for k, frame in enumerate(known) if frame.status == status]
        x, y = [along[k] for k in chosen], [errors[k] for k in chosen]
        series.append(Series(name, x, y, 'points', status))
    x_of = [frame.travelled_m for frame in frames]
    title = 'Error and 90 % radius'
    return [Chart(title, 'distance travelled (m)', 'metres', series, log_y=True, frame_x=x_of)]


def _radius_chart(frames: Sequence[FrameView]) -> list[Chart]:
    if len(frames) < 2:
        return []
    times = [frame.time_s or 0.0 for frame in frames]
    series = [Series('', times, [frame.radius_m for frame in frames])]
    return [Chart('90 % radius', 'seconds', 'metres', series, log_y=True, frame_x=times)]


SEQUENCE_ROWS = (
    ('Length', 'length_m', 'm'),
    ('Errors stay within 50 m after', 'convergence_50m_m', 'm'),
    ('Errors stay within 25 m after', 'convergence_25m_m', 'm'),
    ('Availability', 'availability', 'share'),
    ('Median error after convergence', 'after_median_m', 'm'),
    ('Sure and wrong', 'false_sure', ''),
    ('ANEES (ideal 1, below: careful)', 'anees', ''),
    ('Truth in the 50 % ellipse', 'coverage_50', 'share'),
    ('Truth in the 90 % ellipse', 'coverage_90', 'share'),
    ('Truth in the 95 % ellipse', 'coverage_95', 'share'),
)
"""(words, key, unit) of the figures of a sequence."""


def tables(summary: dict[str, Any]) -> list[Table]:
    """Errors of fixes and of all images, the sequence, and why there was no fix."""
    made = []
    if summary['all']['median_m'] is not None:
        rows = [_error_row('fixes', summary['fix_only']), _error_row('all', summary['all'])]
        columns = ('Share of images within', *(f'{r} m' for r in RADII), 'median', '90 %')
        made.append(Table('Errors', columns, rows, f'Protocol: {summary["protocol"]}.'))
    if summary['sequence']:
        rows = [
            (name, _figure(summary['sequence'].get(key), unit))
            for name, key, unit in SEQUENCE_ROWS
        ]
        made.append(Table('As a sequence', ('', ''), rows))
    if summary['reasons']:
        rows = [(why, str(count)) for why, count in summary['reasons'].items()]
        made.append(Table('Why there was no fix', ('Reason', 'Images'), rows))
    return made


RADII = (5, 10, 25, 50, 100)
"""Radii of the table of errors, metres."""


def _error_row(name: str, figures: dict[str, Any]) -> tuple[Any, ...]:
    shares = [figures[f'recall_{radius}m'] for radius in RADII]
    return (name, *shares, metres(figures['median_m']), metres(figures['p90_m']))


def _figure(value: float | None, unit: str) -> Any:
    if value is None:
        return None
    if unit == 'share':
        return float(value)
    return metres(value) if unit == 'm' else f'{value:.3g}'


def metres(value: float | None) -> str:
    """A distance for people."""
    if value is None:
        return '-'
    return f'{value:.1f} m' if value < 10 else f'{value:.0f} m'
