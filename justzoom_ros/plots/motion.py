"""Pictures of a belief in motion: how it converges over the map, and its error as it goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.plots.figures import (
    INK,
    SHEET_INCHES,
    STATUS_COLOURS,
    STATUS_NAMES,
    Mark,
    draw_background,
    draw_heat,
    draw_outline,
    new_figure,
    save,
)
from justzoom_ros.radii import CONVERGENCE_RADII_M

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SNAPSHOTS = 6
BELIEF_PX = 128


@dataclass(frozen=True)
class BeliefFrame:
    """The belief at one frame."""

    travelled_m: float
    """Distance travelled since the first frame."""

    picture: np.ndarray
    """Its masses as `belief_picture` makes of them, uint8 (n, n)."""

    mark: Mark
    """Its fix."""


def belief_picture(masses: np.ndarray) -> np.ndarray:
    """Masses of cells (n, n) as a small picture uint8 (at most BELIEF_PX a side): the square root
    of the share of the greatest, which shows faint rivals."""
    block = max(1, len(masses) // BELIEF_PX)
    small = masses.reshape(len(masses) // block, block, -1, block).max((1, 3))
    return np.round(255 * np.sqrt(small / max(small.max(), 1e-300))).astype(np.uint8)


def draw_beliefs(map: SatelliteMap, frames: Sequence[BeliefFrame], path: str | Path) -> None:
    """A strip of the belief over the map while it converges. Raises OutputError."""
    chosen = choose_frames([frame.travelled_m for frame in frames])
    title_inches = 0.35
    total = SHEET_INCHES + title_inches
    figure = new_figure(len(chosen) * SHEET_INCHES, total)
    for place, number in enumerate(chosen):
        frame = frames[number]
        left, width = place / len(chosen), 1 / len(chosen)
        shape = (left + 0.01 * width, 0.01, 0.98 * width, 0.98 * SHEET_INCHES / total)
        _draw_belief(figure.add_axes(shape), map, frame)
        text = f'{frame.travelled_m:.0f} m: {frame.mark.status.replace("_", " ")}'
        figure.text(left + 0.02 * width, 0.995, text, va='top', fontsize=11, color=INK)
    save(figure, path)


def choose_frames(travelled_m: Sequence[float], count: int = SNAPSHOTS) -> list[int]:
    """Numbers of the frames nearest to distances that grow by the same factor, from the first
    frame to the last, which shows most of where most happens."""
    travelled = np.asarray(travelled_m, float)
    end = max(travelled[-1], 1.0)
    wanted = [0.0, *np.geomspace(end / 3 ** (count - 2), end, count - 1)]
    return sorted({int(np.abs(travelled - distance).argmin()) for distance in wanted})


def _draw_belief(axes: 'Axes', map: SatelliteMap, frame: BeliefFrame) -> None:
    draw_background(axes, map, 480)
    draw_heat(axes, frame.picture / 255, map.region.side_m)
    draw_outline(axes, frame.mark)
    half = map.region.side_m / 2
    axes.set(xlim=(-half, half), ylim=(-half, half))


def draw_errors_over_distance(
    travelled_m: Sequence[float] | np.ndarray,
    errors_m: Sequence[float] | np.ndarray,
    radii_90_m: Sequence[float] | np.ndarray,
    sure: Sequence[bool] | np.ndarray,
    path: str | Path,
    title: str = '',
) -> None:
    """Error and 90 % radius (N,) over the distance travelled (N,), on a logarithmic scale; where
    there was a fix (N, bool) is marked. Raises OutputError."""
    figure = new_figure(9, 3.4)
    axes = figure.subplots()
    travelled, errors = np.asarray(travelled_m), np.maximum(errors_m, 0.5)
    sure = np.asarray(sure, bool)
    axes.fill_between(
        travelled, 0.5, np.asarray(radii_90_m), color='0.88', lw=0, label='90 % radius', step='mid'
    )
    axes.plot(travelled, errors, color=INK, lw=1.0, zorder=2)
    for flags, status in ((sure, 'fix'), (~sure, 'no_fix')):
        colour, name = STATUS_COLOURS[status], STATUS_NAMES[status]
        axes.plot(travelled[flags], errors[flags], 'o', ms=3.5, color=colour, label=name, zorder=3)
    for radius_m in CONVERGENCE_RADII_M:
        axes.axhline(radius_m, color='0.6', lw=0.7, ls=':', zorder=1)
        axes.annotate(
            f'{radius_m} m', (1, radius_m), xycoords=('axes fraction', 'data'), fontsize=8
        )
    axes.set(xlabel='distance travelled (m)', ylabel='error (m)', yscale='log')
    axes.set(xlim=(0, max(travelled[-1], 1)), ylim=(0.5, None))
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(frameon=False, loc='upper right', ncols=3, fontsize=9)
    figure.suptitle(title, x=0.01, ha='left', fontsize=11, color=INK, weight='bold')
    figure.tight_layout()
    save(figure, path)
