"""An evaluation as a page: every image with its guess, and the figures of all searches."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.evaluation import metrics, sequence_metrics
from justzoom_ros.evaluation.evaluate import Result, Results
from justzoom_ros.evaluation.evaluate_figures import reliability_curve
from justzoom_ros.evaluation.evaluate_results import percent
from justzoom_ros.evaluation.report import metres, offset_words, worst_first
from justzoom_ros.evaluation.report_budget import within_budget
from justzoom_ros.inference.fix import Fix
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.live.fix_view import fix_view, with_belief
from justzoom_ros.localizer import Localizer
from justzoom_ros.radii import NEAR_M
from justzoom_ros.report.content import Chart, FrameView, Page, Series, Table, Tile
from justzoom_ros.report.page import write_page
from justzoom_ros.report.pictures import map_view

COLOURS = ('a', 'b', 'c', 'd')
RADII = (5, 10, 25, 50, 100)
"""Radii of the table, metres."""


class ViewRecorder:
    """Records what a page shows of each fix of one search, as the `watch` of `evaluate`."""

    def __init__(self, localizer: Localizer, search: str) -> None:
        self.search, self.views = search, dict[str, FrameView]()
        self._localizer = localizer
        localizer.keep_evidence(True)

    def __call__(self, search: str, image: GeoImage, fix: Fix) -> None:
        evidence = self._localizer.take_evidence()
        if search != self.search:
            return
        view = fix_view(Path(image.id).name, fix, image.load(), evidence)
        self.views[image.row] = with_belief(view, fix, self._localizer.region)


def write_evaluation_report(
    path: str | Path,
    localizer: Localizer,
    results: Results,
    summary: dict[str, Any],
    recorder: ViewRecorder,
) -> None:
    """Write the page of an evaluation. `summary` as `evaluate_results.write_results` gives it.
    Raises OutputError, RuntimeUnavailableError without Leaflet."""
    shown, offset = recorder.search, localizer.map_offset
    frames = [_frame(result, recorder.views.get(result.image.row)) for result in results[shown]]
    page = Page(
        title='Evaluation',
        verdict=_verdict(shown, summary['searches'][shown]),
        about=(f'map {summary["map"]}', summary['protocol'], *offset_words(offset)),
        tiles=_tiles(summary['searches'][shown]),
        map=map_view(localizer.map, offset_m=(offset.east_m, offset.north_m)),
        frames=frames,
        frame_word='image',
        worst=worst_first(frames),
        charts=[error_chart(results), reliability_chart(results)],
        tables=_tables(summary['searches']),
    )
    write_page(path, within_budget(page))


def _frame(result: Result, view: FrameView | None) -> FrameView:
    """A result on the map at its fix; where there is none at its guess."""
    fix, sure = result.fix, result.fix.status == 'fix'
    place, truth = (result.fix_m if sure else result.guess_m), result.truth_m
    return replace(
        view or fix_view(Path(result.image.id).name, fix, None, None),
        position=(float(place[0]), float(place[1])),
        latlon=(fix.latitude, fix.longitude)
        if sure
        else (result.guess_latitude, result.guess_longitude),
        truth=(float(truth[0]), float(truth[1])),
        error_m=float(np.hypot(*(place - truth))),
        severity=_severity(result),
    )


def _severity(result: Result) -> str:
    if result.fix.status != 'fix':
        return 'no_fix'
    about = result.truth_m, result.fix_m, result.fix.covariance_m2
    if metrics.in_ellipses(*about)[0]:
        return ''
    return 'outside' if metrics.in_ellipses(*about, sequence_metrics.SURE)[0] else 'wrong'


# --- figures -----------------------------------------------------------------------------------


def _verdict(search: str, figures: dict[str, Any]) -> str:
    return (
        f'{search}: the best guess is within {metres(figures["median_m"])} of the truth for half '
        f'of {figures["images"]} images, and {percent(figures["share_fix"])} gave a fix.'
    )


def _tiles(figures: dict[str, Any]) -> list[Tile]:
    fixes = figures['fix_only']
    return [
        Tile('Images with a fix', percent(figures['share_fix']), f'of {figures["images"]}'),
        Tile('Median error of the guess', metres(figures['median_m'])),
        Tile('Guesses within 25 m', percent(figures['recall_25m'])),
        Tile('Median error of the fixes', metres(fixes['median_m'])),
        Tile('Truth in the 90 % ellipse', percent(fixes['coverage_90_ellipse']), 'of the fixes'),
        Tile('Calibration error', _number(figures['ece_50m']), 'ECE at 50 m, ideal 0'),
    ]


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'


def error_chart(results: Results) -> Chart:
    """Share of the guesses within a distance, of every search."""
    every = np.array([r.guess_error_m for items in results.values() for r in items])
    end = max(50.0, float(np.quantile(every, 0.98)))
    series = []
    for (name, items), colour in zip(results.items(), COLOURS, strict=False):
        errors = np.sort([r.guess_error_m for r in items])
        errors = errors[errors <= end]
        shares = np.arange(1, len(errors) + 1) / len(items)
        last = shares[-1] if len(shares) else 0.0
        x, y = [0.0, *errors.tolist(), end], [0.0, *shares.tolist(), float(last)]
        series.append(Series(name, x, y, 'step', colour))
    return Chart('Share of the guesses within', 'metres', 'share', series, y_range=(0.0, 1.0))


def reliability_chart(results: Results) -> Chart:
    """How sure of the place near the guess, and how often right, of every search."""
    series = [Series('as sure as right', [0.0, 1.0], [0.0, 1.0], colour='band')]
    for (name, items), colour in zip(results.items(), COLOURS, strict=False):
        series += reliability_series(name, reliability_curve(items)[1], colour)
    x_label = f'mass within {NEAR_M:g} m of the guess'
    return Chart('Reliability', x_label, 'share that is right', series, y_range=(0.0, 1.0))


def reliability_series(
    name: str, curve: tuple[np.ndarray, np.ndarray, np.ndarray], colour: str
) -> list[Series]:
    """A line and its points, of what `metrics.reliability` gives."""
    sure, right = curve[0].tolist(), curve[1].tolist()
    return [Series(name, sure, right, 'line', colour), Series('', sure, right, 'points', colour)]


def _tables(searches: dict[str, dict[str, Any]]) -> list[Table]:
    columns = ('Share within', *(f'{r} m' for r in RADII), 'median', '90 %', 'in 90 %', 'fixes')
    rows = []
    for name, figures in searches.items():
        fix = figures['fix_position']
        share = figures['share_fix']
        rows.append(_row(f'{name}, guess', figures, figures['coverage_90'], share))
        rows.append(_row(f'{name}, fix', fix, fix['coverage_90_ellipse'], share))
    made = [Table('All images', columns, rows, 'A guess is the place of greatest density.')]
    reasons = [
        (why, name, str(count))
        for name, figures in searches.items()
        for why, count in figures['no_fix'].items()
    ]
    if reasons:
        made.append(Table('Why there was no fix', ('Reason', 'Search', 'Images'), reasons))
    return made


def _row(
    name: str, figures: dict[str, Any], held: float | None, share: float | None
) -> Sequence[Any]:
    shares = [figures[f'recall_{radius}m'] for radius in RADII]
    return (name, *shares, metres(figures['median_m']), metres(figures['p90_m']), held, share)
