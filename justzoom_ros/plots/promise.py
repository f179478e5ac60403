"""A picture of what covariances are worth: how often they hold the truth, how wide they are."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from justzoom_ros.plots.figures import SERIES_COLOURS, new_figure, save


def draw_coverage(
    levels: np.ndarray,
    curves: Mapping[str, np.ndarray],
    radii_m: Mapping[str, np.ndarray],
    path: str | Path,
) -> None:
    """Draw a PNG: of each name the share of truths (L,) in the ellipses of `levels` (L,), 0..1,
    and how the radii of its 90 % ellipses (N,), metres, are spread. Raises OutputError."""
    figure = new_figure(9, 4)
    figure.set_layout_engine('constrained')
    left, right = figure.subplots(1, 2)
    left.plot([0, 100], [0, 100], color='0.7', lw=1, zorder=0)
    widest = max(float(np.quantile(each, 0.99)) for each in radii_m.values())
    bins = np.linspace(0, widest, 40)
    for name, colour in zip(curves, SERIES_COLOURS, strict=False):
        left.plot(100 * levels, 100 * curves[name], '.-', color=colour, label=name)
        label = f'{name}: median {np.median(radii_m[name]):.2f} m'
        right.hist(radii_m[name], bins, density=True, alpha=0.6, color=colour, label=label)
    left.set(xlabel='ellipse that should hold so many percent', ylabel='truths inside (%)')
    left.set(xlim=(0, 100), ylim=(0, 101), title='Reliability')
    right.set(xlabel='90 % radius (m)', ylabel='density', title='Sharpness')
    right.margins(y=0.25)  # room for the legend above the bars
    for axes in (left, right):
        axes.spines[['top', 'right']].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
    save(figure, path)
