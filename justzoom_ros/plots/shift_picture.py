"""How far two maps are apart, as a picture: an arrow on each part of the map."""

from pathlib import Path

import numpy as np

from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.plots.figures import draw_scale, new_figure, save

PICTURE_PX = 1000
ARROW_SHARE = 0.08
"""Length of the longest arrow, as a share of the map's side."""

ARROW_COLOUR, MEDIAN_COLOUR = '#ffd21f', '#ff3b8d'


def draw_shifts(
    satellite_map: SatelliteMap,
    places_m: np.ndarray,
    shifts_m: np.ndarray,
    median_m: tuple[float, float],
    path: str | Path,
    title: str,
) -> None:
    """Write a PNG of a map with an arrow at each of `places_m` (N, 2) that shows `shifts_m`
    (N, 2), enlarged, and one for the median; all in metres east and north.

    Raises OutputError where the file cannot be written, RuntimeUnavailableError without
    matplotlib.
    """
    figure = new_figure(8, 8.6)
    figure.set_layout_engine('constrained')
    axes = figure.subplots()
    half = satellite_map.region.side_m / 2
    axes.imshow(satellite_map.picture(PICTURE_PX), extent=(-half, half, -half, half), alpha=0.7)
    longest = max(float(np.hypot(*shifts_m.T).max()), 1e-3)
    factor = ARROW_SHARE * satellite_map.region.side_m / longest
    _arrows(axes, places_m, shifts_m * factor, ARROW_COLOUR)
    _arrows(axes, np.zeros((1, 2)), np.array([median_m]) * factor, MEDIAN_COLOUR, 0.008)
    draw_scale(axes, satellite_map.region.side_m)
    axes.set_xlabel('metres east of the centre')
    axes.set_ylabel('metres north of the centre')
    axes.set_title(f'{title}\narrows {factor:.0f} times as long as the shifts; pink: their median')
    save(figure, path)


def _arrows(axes, at_m, arrows_m, colour, width=0.004):
    axes.quiver(
        *at_m.T, *arrows_m.T, angles='xy', scale_units='xy', scale=1, color=colour, width=width,
        edgecolor='black', linewidth=0.5,
    )  # fmt: skip
