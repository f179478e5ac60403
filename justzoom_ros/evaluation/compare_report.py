"""A comparison and a calibration as pages: charts and tables, without a map."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.evaluation.compare import DOWNWARD_COLUMNS, IMAGES, STREET_COLUMNS, Table
from justzoom_ros.evaluation.evaluate_report import COLOURS, reliability_series
from justzoom_ros.evaluation.evaluate_results import percent
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.radii import NEAR_M, RECALL_RADII_M
from justzoom_ros.report import content
from justzoom_ros.report.content import Chart, Page, Series
from justzoom_ros.report.page import write_page

Curve = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Mean confidence, share that is right, images of each bin: what `metrics.reliability` gives."""


def write_compare_report(path: str | Path, made: Table) -> None:
    """Write the page of a table of `compare.compare`. Raises OutputError,
    RuntimeUnavailableError without Leaflet."""
    splits = dict.fromkeys(row['split'] for row in made['rows'])
    rows = {split: [row for row in made['rows'] if row['split'] == split] for split in splits}
    page = Page(
        title='Comparison',
        verdict=' '.join(_best(split, of_split) for split, of_split in rows.items()),
        about=(str(made['dataset']), made['protocol']),
        charts=[_recall_chart(split, of_split) for split, of_split in rows.items()],
        tables=[_table(split, of_split) for split, of_split in rows.items()],
    )
    write_page(path, page)


def _best(split: str, rows: Sequence[dict[str, Any]]) -> str:
    """Which row finds most within NEAR_M, in a sentence."""
    key = f'recall_{NEAR_M:.0f}m'
    best = max(rows, key=lambda row: row[key] or 0.0)
    where = '' if split == IMAGES else f'On {split}, '
    found = f'{best["places"]} within {NEAR_M:g} m, the most.'
    return f'{where}{name_of(best)} finds {percent(best[key])} of {found}'


def name_of(row: Mapping[str, Any]) -> str:
    """Method, search and views of a row of the table."""
    parts = [row['method'], row['search'], f'{row["views"]} views' if row['views'] > 1 else '']
    return ', '.join(part for part in parts if part)


def _recall_chart(split: str, rows: Sequence[dict[str, Any]]) -> Chart:
    series = []
    for number, row in enumerate(rows):
        shares = [row[f'recall_{radius}m'] for radius in RECALL_RADII_M]
        colour = COLOURS[number % len(COLOURS)]
        series.append(Series(name_of(row), list(RECALL_RADII_M), shares, 'line', colour))
        series.append(Series('', list(RECALL_RADII_M), shares, 'points', colour))
    title = 'Share within' if split == IMAGES else f'Share within, {split}'
    return Chart(title, 'metres', 'share', series, y_range=(0.0, 1.0))


def _table(split: str, rows: Sequence[dict[str, Any]]) -> content.Table:
    columns = DOWNWARD_COLUMNS if split == IMAGES else STREET_COLUMNS
    lines = []
    for row in rows:
        figures = row | {'megabytes': row['map_megabytes'] + row['weights_megabytes']}
        cells = [_cell(column.show, figures[column.key]) for column in columns]
        lines.append((name_of(row), *cells))
    chance = f'Chance within {NEAR_M:g} m: {percent(rows[0]["chance_recall_50m"])}.'
    titles = ('Method', *(column.title for column in columns))
    return content.Table(f'{split}, {rows[0]["places"]} places', titles, lines, chance)


def _cell(show: Any, value: float | None) -> Any:
    """A share as a number, which is drawn as a bar; another figure as text."""
    if value is None:
        return None
    return float(value) if show is percent else show(value)


def write_calibration_report(
    path: str | Path, curves: Mapping[str, Curve], found: Calibration, about: Sequence[str] = ()
) -> None:
    """Write the page of a calibration: reliability `{name: curve}` before and after, and what was
    fitted. Raises OutputError, RuntimeUnavailableError without Leaflet."""
    series = [Series('as sure as right', [0.0, 1.0], [0.0, 1.0], colour='band')]
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        series += reliability_series(name, curve, colour)
    x_label = f'mass within {NEAR_M:g} m of the best guess'
    chart = Chart('Reliability', x_label, 'share that is right', series, y_range=(0.0, 1.0))
    rows = [
        (name.replace('_', ' '), f'{value:.4g}' if isinstance(value, float) else str(value))
        for name, value in found.to_dict().items()
        if value is not None
    ]
    page = Page(
        title='Calibration',
        verdict=f'Temperature {found.temperature:.2f}, likelihood exponent '
        f'{found.likelihood_exponent:g}.',
        about=about,
        charts=[chart],
        tables=[content.Table('What the weights hold now', ('Figure', 'Value'), rows)],
    )
    write_page(path, page)
