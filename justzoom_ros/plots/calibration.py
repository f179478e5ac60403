"""How sure a localizer is beside how often it is right: the reliability diagram."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from justzoom_ros.plots.figures import INK, SERIES_COLOURS, new_figure, save


def draw_reliability(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], path: str | Path
) -> None:
    """{label: (mean confidence, share that is right, images) of each bin} as a PNG, as
    `metrics.reliability` gives them. Raises OutputError."""
    figure = new_figure(5.2, 4.6)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color='0.7', lw=1, zorder=0)
    for (label, curve), colour in zip(curves.items(), SERIES_COLOURS, strict=False):
        mean, share, count = curve
        axes.plot(mean, share, '-', color=colour, lw=1.2)
        axes.scatter(mean, share, 12 + 120 * count / count.sum(), color=colour, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel='mass within 50 m of the best guess')
    axes.set(ylabel='share whose truth is there')
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(frameon=False, loc='upper left', fontsize=9, labelcolor=INK)
    figure.tight_layout()
    save(figure, path)
