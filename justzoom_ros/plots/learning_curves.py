"""How methods learn: losses and recall over the time that they took."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from justzoom_ros.plots.figures import new_figure, save

CURVES_DPI = 120
"""Curves have no map behind them, which is what the finer DPI of other pictures is for."""


class LearningHistory(Protocol):
    """How one method learned."""

    @property
    def rows(self) -> Sequence[Sequence[float]]:
        """(step, CPU minutes, training loss in nats, NLL in nats, R@50m) of each evaluation."""

    @property
    def chance_nats(self) -> float:
        """NLL of a guess that knows nothing."""


def draw_curves(histories: Mapping[str, LearningHistory], path: str | Path) -> None:
    """NLL and R@50m over CPU minutes as a PNG, a line for each name. Raises OutputError."""
    figure = new_figure(10, 4, CURVES_DPI)
    figure.set_layout_engine('constrained')
    left, right = figure.subplots(1, 2)
    for number, (name, history) in enumerate(histories.items()):
        rows, colour = np.array(history.rows), f'C{number}'
        left.plot(rows[:, 1], rows[:, 3], color=colour, label=f'{name} kept back'.strip())
        left.plot(rows[:, 1], rows[:, 2], ':', color=colour, label=f'{name} training'.strip())
        right.plot(rows[:, 1], 100 * rows[:, 4], color=colour, label=name or None)
    left.axhline(next(iter(histories.values())).chance_nats, color='grey', lw=1, label='chance')
    left.set(xlabel='CPU minutes', ylabel='NLL of the true cell (nats)')
    right.set(xlabel='CPU minutes', ylabel='R@50m on views kept back (%)', ylim=(0, 100))
    left.legend(frameon=False, fontsize=8)
    if len(histories) > 1:
        right.legend(frameon=False)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    save(figure, path)
