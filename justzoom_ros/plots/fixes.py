"""Pictures of what a localizer did: tracks on the map, errors, frames with their posteriors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.plots.figures import (
    INK,
    SERIES_COLOURS,
    SHEET_INCHES,
    STATUS_COLOURS,
    STATUS_NAMES,
    TRUTH_COLOUR,
    Mark,
    draw_attribution,
    draw_background,
    draw_heat,
    draw_outline,
    draw_scale,
    ellipse,
    new_figure,
    save,
)
from justzoom_ros.radii import RECALL_RADII_M

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAP_PX = 1600
"""Side of the map behind a picture."""

MAP_INCHES, HEADER_INCHES = 8.0, 0.35


@dataclass(frozen=True)
class Panel:
    """One image with what was made of it."""

    title: str
    """What is written above it."""

    image: np.ndarray
    """RGB uint8 (H, W, 3)."""

    masses: np.ndarray
    """Mass of each terminal cell (n, n), row 0 in the north."""

    mark: Mark
    """Its fix."""


def draw_track(
    map: SatelliteMap,
    marks: Sequence[Mark],
    path: str | Path,
    title: str = '',
    truths_m: np.ndarray | None = None,
) -> None:
    """The map with the true track, every fix, its error and its 90 % ellipse, as a PNG.

    `truths_m` (N, 2) is the whole true track in time order; without it the truths of the marks
    are joined. Raises OutputError, or RuntimeUnavailableError without matplotlib.
    """
    figure = new_figure(MAP_INCHES, MAP_INCHES + HEADER_INCHES)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98 * MAP_INCHES / (MAP_INCHES + HEADER_INCHES)))
    draw_background(axes, map, MAP_PX)
    known = [mark.truth_m for mark in marks if mark.truth_m is not None]
    _draw_truth(axes, np.array(known if truths_m is None else truths_m, float).reshape(-1, 2))
    for status in ('no_fix', 'fix'):
        _draw_marks(axes, [mark for mark in marks if mark.status == status], status)
    draw_scale(axes, map.region.side_m)
    draw_attribution(axes, map.attribution)
    _draw_legend(axes)
    figure.text(0.012, 0.988, title, va='top', fontsize=11, color=INK, weight='bold')
    save(figure, path)


def draw_errors(
    errors_m: Mapping[str, Sequence[float] | np.ndarray], path: str | Path, title: str = ''
) -> None:
    """Distribution of errors: a histogram beside the share of images within a distance.

    `errors_m`: {name: errors (N,) in metres}, up to four series.
    """
    figure = new_figure(9, 3.6)
    histogram, curve = figure.subplots(1, 2)
    values = np.concatenate([np.asarray(e, float) for e in errors_m.values()])
    edges = np.linspace(0, max(100.0, np.quantile(values, 0.98) if values.size else 0), 26)
    for (name, errors), colour in zip(errors_m.items(), SERIES_COLOURS, strict=False):
        ordered = np.sort(np.asarray(errors, float))
        style: dict[str, Any] = {'color': colour, 'label': name, 'lw': 1.8}
        histogram.hist(np.minimum(ordered, edges[-1]), edges, histtype='step', **style)
        within = np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
        curve.step([0, *ordered, 1e9], [0, *within, 1], where='post', **style)
    histogram.set(xlabel=f'error (m; the last bar holds all beyond {edges[-2]:.0f})')
    histogram.set(ylabel='images', xlim=(0, edges[-1]))
    curve.set(xlabel='distance (m)', ylabel='share of images within it')
    curve.set(xlim=(0, edges[-1]), ylim=(0, 1))
    for radius_m in RECALL_RADII_M:
        curve.axvline(radius_m, color='0.8', lw=0.8, zorder=0)
    for axes in (histogram, curve):
        axes.spines[['top', 'right']].set_visible(False)
    curve.legend(frameon=False, loc='lower right')
    figure.suptitle(title, x=0.01, ha='left', fontsize=11, color=INK, weight='bold')
    figure.tight_layout()
    save(figure, path)


def draw_frames(
    map: SatelliteMap, panels: Sequence[Panel], path: str | Path, columns: int = 2
) -> None:
    """A sheet of Panels: each camera image beside the map with its posterior, truth and fix."""
    rows = -(-len(panels) // columns)
    height = SHEET_INCHES + 0.3  # the title's
    total = rows * height + 0.35  # the legend's
    figure = new_figure(columns * (2.35 * SHEET_INCHES), total)
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        left, width = column / columns, 1 / columns
        bottom, side = 1 - (row + 1) * height / total, SHEET_INCHES / total
        image = figure.add_axes((left + 0.01 * width, bottom, 0.55 * width, side))
        image.imshow(panel.image, interpolation='antialiased')
        image.set_anchor('E')
        image.axis('off')
        place = (left + 0.57 * width, bottom, SHEET_INCHES / 7.05 * width, side)
        _draw_posterior(figure.add_axes(place), map, panel)
        above = bottom + side + 0.05 / total
        colour = INK if panel.mark.status == 'fix' else '#b35c00'
        figure.text(left + 0.012 * width, above, panel.title, fontsize=9, color=colour)
    legend_axes = figure.add_axes((0, 0, 1, 0.3 / total))
    legend_axes.axis('off')
    _draw_legend(legend_axes, loc='center', ncols=6, heat=True)
    save(figure, path)


def _draw_truth(axes: 'Axes', truths_m: np.ndarray) -> None:
    if not len(truths_m):
        return
    east, north = truths_m.T
    style: dict[str, Any] = {'solid_joinstyle': 'round'}
    axes.plot(east, north, color='black', lw=2.2, alpha=0.4, zorder=2, **style)
    axes.plot(east, north, color=TRUTH_COLOUR, lw=0.9, alpha=0.8, zorder=3, **style)
    axes.plot(east[0], north[0], '>', color=TRUTH_COLOUR, ms=8, mec='black', mew=0.8, zorder=7)


def _draw_marks(axes: 'Axes', marks: Sequence[Mark], status: str) -> None:
    """Fixes of one status: 90 % ellipses, errors as lines to the truths, positions as dots."""
    colour, sure = STATUS_COLOURS[status], status == 'fix'
    for mark in marks:
        outline = ellipse(mark.mean_m, mark.covariance_m2).T
        alpha = 0.85 if sure else 0.25
        axes.plot(*outline, color=colour, lw=0.9 if sure else 0.6, alpha=alpha, zorder=4)
        if sure:
            axes.fill(*outline, color=colour, alpha=0.04, lw=0, zorder=3)
        if mark.truth_m is not None:
            ends = np.array([mark.truth_m, mark.mean_m]).T
            style = '-' if sure else ':'
            axes.plot(*ends, style, color=colour, lw=1.0, alpha=0.9 if sure else 0.6, zorder=5)
            axes.plot(*mark.truth_m, '.', color=TRUTH_COLOUR, ms=3.5, zorder=6)
    means = np.array([mark.mean_m for mark in marks], float).reshape(-1, 2).T
    size = 5.5 if sure else 4.5
    axes.plot(*means, 'o', color=colour, ms=size, mec='black', mew=0.6, zorder=8)


def _draw_posterior(axes: 'Axes', map: SatelliteMap, panel: Panel) -> None:
    """The map with the mass of each terminal cell as heat, the truth as a cross."""
    draw_background(axes, map, 480)
    masses, half = np.asarray(panel.masses, float), map.region.side_m / 2
    # The square root shows the faint rivals of a strong cell, which are what matters here.
    draw_heat(axes, np.sqrt(masses / max(masses.max(), 1e-12)), map.region.side_m)
    mark = panel.mark
    draw_outline(axes, mark)
    axes.plot(*mark.mean_m, 'o', color=STATUS_COLOURS[mark.status], ms=5, mec='black', mew=0.7)
    axes.set(xlim=(-half, half), ylim=(-half, half))


def _draw_legend(axes: 'Axes', heat: bool = False, **layout: Any) -> None:
    from matplotlib.lines import Line2D

    dot: dict[str, Any] = {'marker': 'o', 'ls': '', 'mec': 'black', 'mew': 0.6, 'ms': 6}
    ring: dict[str, Any] = {'marker': 'o', 'ls': '', 'mfc': 'none', 'ms': 10}
    truth: dict[str, Any] = {'marker': '+', 'ls': '', 'ms': 9, 'mew': 2} if heat else {'lw': 2}
    handles = [
        Line2D([], [], color=TRUTH_COLOUR, label='truth', **truth),
        *(
            Line2D([], [], color=STATUS_COLOURS[status], label=name, **dot)
            for status, name in STATUS_NAMES.items()
        ),
        Line2D([], [], label='90 % ellipse', mec=STATUS_COLOURS['fix'], **ring),
    ]
    if heat:
        patch: dict[str, Any] = {'marker': 's', 'ls': '', 'ms': 9, 'mec': 'none'}
        handles += [
            Line2D([], [], color='#f0f921', label='cell of most mass', **patch),
            Line2D([], [], color='#7e03a8', label='little mass', **patch),
        ]
    look = {'loc': 'upper right', 'facecolor': '#30363d', 'labelcolor': 'white', **layout}
    legend = axes.legend(handles=handles, fontsize=9, framealpha=0.85, edgecolor='none', **look)
    legend.set_zorder(11)
