"""A chart of `justzoom compare`'s tables: recall by condition and number of views."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.errors import DatasetError
from justzoom_ros.plots.figures import INK, SERIES_COLOURS, new_figure, save

NORMAL_90 = 1.645
"""Standard deviations on either side that hold 90 % of a normal distribution."""


def read_rows(
    path: str | Path, split: str, method: str | None = None
) -> dict[int, dict[str, Any]]:
    """{views: row} of one method's exact searches on a split, from a table's JSON file; without a
    `method` the file's only one. Raises DatasetError."""
    try:
        rows = json.loads(Path(path).read_text())['rows']
        rows = [row for row in rows if row['split'] == split and row['search'] == 'exact']
        methods = sorted({row['method'] for row in rows})
        chosen = {r['views']: r for r in rows if method in (None, r['method'])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f'{path}: no table of `justzoom compare -o` ({error})') from error
    if not chosen or (method is None and len(methods) > 1):
        raise DatasetError(
            f'{path} has, on the split {split}, the methods {", ".join(methods) or "(none)"}; '
            'choose one with --method'
        )
    return chosen


def interval(share: float, count: int) -> tuple[float, float]:
    """The 90 % interval (low, high) of a share counted `count` times (Wilson 1927)."""
    z2 = NORMAL_90**2 / count
    middle = (share + z2 / 2) / (1 + z2)
    half = np.sqrt(z2 * share * (1 - share) + z2**2 / 4) / (1 + z2)
    return middle - half, middle + half


def draw_recalls(
    tables: Mapping[str, Mapping[int, Mapping[str, Any]]], path: str | Path, title: str = ''
) -> None:
    """R@50m as a PNG: a group of bars for each condition of `tables` {name: {views: row}}, a bar
    for each number of views, with 90 % intervals. Raises OutputError."""
    figure = new_figure(1.6 + 1.25 * len(tables), 3.6)
    figure.set_layout_engine('constrained')
    axes = figure.subplots()
    numbers = sorted({views for rows in tables.values() for views in rows})
    width = 0.8 / len(numbers)
    for bar, (views, colour) in enumerate(zip(numbers, SERIES_COLOURS, strict=False)):
        there = [(at, rows[views]) for at, rows in enumerate(tables.values()) if views in rows]
        places = np.array([at for at, _ in there]) + width * (bar - (len(numbers) - 1) / 2)
        shares = np.array([row['recall_50m'] for _, row in there])
        ends = np.array([interval(r['recall_50m'], r['places']) for _, r in there]).T
        label = f'{views} view' + 's' * (views > 1)
        axes.bar(places, 100 * shares, 0.92 * width, color=colour, label=label)
        axes.errorbar(
            places, 100 * shares, 100 * np.abs(ends - shares), fmt='none', ecolor=INK, lw=0.9
        )
    axes.set_xticks(range(len(tables)), list(tables))
    axes.set(ylabel='R@50m (%), with 90 % intervals', ylim=(0, 100), title=title)
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis='y', alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, ncols=len(numbers), fontsize=9, loc='upper right')
    save(figure, path)
