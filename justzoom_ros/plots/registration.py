"""One picture registered: what the camera saw, how likely each place and each heading is."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.plots.figures import (
    INK,
    STATUS_COLOURS,
    Mark,
    draw_background,
    ellipse,
    new_figure,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = (-10.0, 10.0)
"""Log likelihood ratios of places beyond these are not told apart: so much is certainty."""

HEADINGS_BELOW = 10.0
"""Headings that are further below the best are not drawn."""


def draw_registration(
    image_rgb: np.ndarray,
    map: SatelliteMap,
    log_ratio: np.ndarray,
    yaws_rad: np.ndarray,
    mark: Mark,
    path: str | Path,
    title: str = '',
) -> None:
    """Draw a picture beside the map with the log likelihood ratios of places, and those of
    headings at the best place, as a PNG.

    `image_rgb` uint8 (H, W, 3); `log_ratio` (K, n, m) over the whole map, row 0 in the north, -inf
    where not looked at; `yaws_rad` (K,) counter-clockwise from east; `mark`: the fix. Raises
    OutputError, RuntimeUnavailableError without matplotlib.
    """
    figure = new_figure(13, 4.6)
    widths = {'width_ratios': (1.25, 1.1, 1.1, 0.85)}
    grid = figure.add_gridspec(1, 4, **widths, wspace=0.08, left=0.01, right=0.98, bottom=0.06)
    picture, imagery, places = (figure.add_subplot(grid[0, column]) for column in range(3))
    picture.imshow(image_rgb)
    picture.set_title('the camera', fontsize=10, color=INK)
    picture.axis('off')
    draw_background(imagery, map, 700)
    _draw_mark(imagery, mark)
    imagery.set_title('the map, and the place found', fontsize=10, color=INK)
    plane = log_ratio.max(0)
    half = map.region.side_m / 2
    heat = places.imshow(
        np.clip(plane, *SHOWN),
        extent=(-half, half, -half, half),
        cmap='magma',
    )
    places.plot(*mark.mean_m, 'o', mfc='none', mec='white', ms=16, mew=1.2)
    places.set_title('log likelihood ratio of each place, -10 to 10', fontsize=10, color=INK)
    places.axis('off')
    figure.colorbar(heat, ax=places, fraction=0.04, pad=0.02).ax.tick_params(labelsize=8)
    row, column = np.unravel_index(int(plane.argmax()), plane.shape)
    polar = figure.add_subplot(grid[0, 3], projection='polar')
    _draw_headings(polar, log_ratio[:, row, column], yaws_rad)
    figure.suptitle(title, fontsize=11, color=INK)
    save(figure, path)


def _draw_mark(axes: 'Axes', mark: Mark) -> None:
    colour = STATUS_COLOURS[mark.status]
    axes.plot(*ellipse(mark.mean_m, mark.covariance_m2).T, color=colour, lw=1.6)
    axes.plot(*mark.mean_m, '+', color=colour, ms=14, mew=2)
    if mark.truth_m is not None:
        axes.plot(*mark.truth_m, 'o', mfc='none', mec='white', ms=12, mew=1.5)


def _draw_headings(axes: Any, values: np.ndarray, yaws_rad: np.ndarray) -> None:
    height = np.maximum(values - values.max() + HEADINGS_BELOW, 0)
    axes.set_theta_zero_location('N')
    axes.set_theta_direction(-1)
    axes.bar(np.pi / 2 - yaws_rad, height, width=2 * np.pi / len(yaws_rad), color='#0072b2')
    axes.set_xticks(np.arange(4) * np.pi / 2, ('N', 'E', 'S', 'W'), fontsize=9)
    axes.set_yticks([])
    axes.set_title('each heading, at the best place', fontsize=10, color=INK, pad=14)
