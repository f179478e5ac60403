"""A map as a picture: imagery, the grid of the zoom tree, scale, north and attribution."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.plots.figures import draw_scale, new_figure, save
from justzoom_ros.region import Region

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE_PX = 1200
HATCH_PX = 12
"""Period of the diagonal stripes over uncovered parts."""
LINE_COLOURS = ('#ffffff', '#ffd21f', '#35d0ff', '#ff7bd5')


def draw_map(
    satellite_map: SatelliteMap, path: str | Path, levels: Collection[int] = (1, 2)
) -> None:
    """Write a PNG of a `SatelliteMap` with the cell borders of the given levels.

    Cells of level 1 are numbered as actions; parts without imagery are hatched. Raises
    ConfigError for a level the region has not, or with more lines than a picture can show, and
    OutputError where the file cannot be written. RuntimeUnavailableError without matplotlib.
    """
    region = satellite_map.region
    _check_levels(region, levels)
    figure = new_figure(10, 10.6)
    figure.set_layout_engine('constrained')
    axes = figure.subplots()
    half = region.side_m / 2
    axes.imshow(
        _hatch_uncovered(satellite_map), extent=(-half, half, -half, half), interpolation='nearest'
    )
    for level in sorted(levels, reverse=True):
        _draw_grid(axes, region, level)
    if 1 in levels:
        _number_cells(axes, region)
    draw_scale(axes, region.side_m)
    _draw_north(axes)
    axes.set_xlabel('metres east of the centre')
    axes.set_ylabel('metres north of the centre')
    axes.set_title(_title(satellite_map), fontsize=10)
    if satellite_map.attribution:
        figure.supxlabel(satellite_map.attribution, fontsize=8, color='#555555')
    save(figure, path)


def _check_levels(region: Region, levels: Collection[int]) -> None:
    for level in levels:
        if not 0 <= level <= region.depth:
            raise ConfigError(f'level {level} is not one of 0..{region.depth} of this map')
        if region.grid**level > PICTURE_PX / 4:
            raise ConfigError(
                f'level {level} has {region.grid**level} cells along a side, more than a picture '
                'can show; choose a coarser one'
            )


def _hatch_uncovered(satellite_map: SatelliteMap) -> np.ndarray:
    """The picture, with diagonal stripes where there is no imagery."""
    image = satellite_map.picture(PICTURE_PX).copy()
    at = ((np.arange(PICTURE_PX) + 0.5) * satellite_map.mask.shape[0] / PICTURE_PX).astype(int)
    covered = satellite_map.mask[at[:, None], at]
    row, column = np.indices(covered.shape)
    stripe = (row + column) % HATCH_PX < HATCH_PX // 4
    image[~covered & stripe] = 255 - (255 - image[~covered & stripe]) // 2
    return image


def _draw_grid(axes: 'Axes', region: Region, level: int) -> None:
    lines = np.linspace(-0.5, 0.5, region.grid**level + 1) * region.side_m
    colour, width = LINE_COLOURS[level % len(LINE_COLOURS)], 2.2 / max(1, level)
    half = region.side_m / 2
    axes.hlines(lines, -half, half, color=colour, linewidth=width)
    axes.vlines(lines, -half, half, color=colour, linewidth=width)


def _number_cells(axes: 'Axes', region: Region) -> None:
    for action, (east, north) in enumerate(region.centers(1)):
        axes.text(
            east, north, str(action), color='white', fontsize=15, ha='center', va='center',
            bbox={'boxstyle': 'round', 'facecolor': 'black', 'alpha': 0.55, 'linewidth': 0},
        )  # fmt: skip


def _draw_north(axes: 'Axes') -> None:
    axes.annotate(
        'N', xy=(0.965, 0.985), xytext=(0.965, 0.915), xycoords='axes fraction', color='white',
        ha='center', va='center', fontsize=14,
        arrowprops={'arrowstyle': '-|>', 'color': 'white', 'linewidth': 2},
        bbox={'boxstyle': 'round', 'facecolor': 'black', 'alpha': 0.55, 'linewidth': 0},
    )  # fmt: skip


def _title(satellite_map: SatelliteMap) -> str:
    region = satellite_map.region
    return (
        f'{region.latitude:.6f}, {region.longitude:.6f}: {region.side_m:g} m, '
        f'{region.grid} x {region.grid} cells, {region.depth} steps to '
        f'{region.terminal_side_m:.4g} m; {satellite_map.resolution_m:.3g} m per pixel; '
        f'{satellite_map.info.coverage:.1%} covered'
    )
