"""Pictures of a dataset: where its photos were taken and which split they are in, and a sheet of
them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.plots.figures import (
    INK,
    draw_attribution,
    draw_background,
    draw_scale,
    new_figure,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPLIT_COLOURS = {'train': '#35d0ff', 'val': '#ffd21f', 'test': '#ff7bd5'}
DROPPED_COLOUR = '#ff5a36'
MAP_PX, MAP_INCHES, HEADER_INCHES = 1600, 8.0, 0.35
TILE_INCHES, CAPTION_INCHES, SHEET_COLUMNS = 2.0, 0.36, 6
ARROW_SHARE = 0.012
"""Length of an arrow to where a camera looks, of the side of the map."""

LEAST_VIEW_M, VIEW_MARGIN = 200.0, 1.2
"""Side of the part of the map that is shown: at least so much, and so many times the photos'
extent."""

MAX_ARROWS = 1500
"""With more photos only each so many-th gets an arrow, or nothing could be seen."""


def draw_splits(
    satellite_map: SatelliteMap,
    places_m: Mapping[str, np.ndarray],
    yaws_rad: Mapping[str, np.ndarray],
    dropped_m: np.ndarray,
    path: str | Path,
    title: str = '',
) -> None:
    """The map with each photo as a dot in the colour of its split and an arrow where it looks.

    `places_m` {split: (N, 2)} and `dropped_m` (M, 2) are metres east and north of the middle;
    `yaws_rad` {split: (N,)}, counter-clockwise from east, NaN where not known. Raises OutputError,
    or RuntimeUnavailableError without matplotlib.
    """
    figure = new_figure(MAP_INCHES, MAP_INCHES + HEADER_INCHES)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98 * MAP_INCHES / (MAP_INCHES + HEADER_INCHES)))
    draw_background(axes, satellite_map, MAP_PX)
    middle_m, side_m = _look_at(
        np.concatenate([*places_m.values(), dropped_m]), satellite_map.region.side_m
    )
    if len(dropped_m):
        axes.plot(*dropped_m.T, 'x', color=DROPPED_COLOUR, ms=3, mew=0.7, alpha=0.7, zorder=3)
    for split, colour in SPLIT_COLOURS.items():
        _draw_photos(axes, places_m[split], yaws_rad[split], colour, ARROW_SHARE * side_m)
    for set_limits, middle in ((axes.set_xlim, middle_m[0]), (axes.set_ylim, middle_m[1])):
        set_limits(middle - side_m / 2, middle + side_m / 2)
    draw_scale(axes, side_m, middle_m)
    draw_attribution(axes, satellite_map.attribution)
    _draw_legend(axes, {split: len(places_m[split]) for split in SPLIT_COLOURS}, len(dropped_m))
    figure.text(0.012, 0.988, title, va='top', fontsize=11, color=INK, weight='bold')
    save(figure, path)


def _look_at(places_m: np.ndarray, whole_m: float) -> tuple[tuple[float, float], float]:
    """Middle and side of the square of the map that holds all places (N, 2), metres."""
    low, high = places_m.min(axis=0), places_m.max(axis=0)
    side_m = min(whole_m, max(LEAST_VIEW_M, VIEW_MARGIN * float((high - low).max())))
    reach_m = (whole_m - side_m) / 2
    east_m, north_m = np.clip((low + high) / 2, -reach_m, reach_m)
    return (float(east_m), float(north_m)), side_m


def _draw_photos(
    axes: 'Axes', places_m: np.ndarray, yaw_rad: np.ndarray, colour: str, length_m: float
) -> None:
    if not len(places_m):
        return
    axes.plot(*places_m.T, 'o', color=colour, ms=3, mec='black', mew=0.3, zorder=5)
    every = -(-len(places_m) // MAX_ARROWS)
    known = np.flatnonzero(np.isfinite(yaw_rad))[::every]
    tips = length_m * np.stack([np.cos(yaw_rad[known]), np.sin(yaw_rad[known])])
    style: dict[str, Any] = {'angles': 'xy', 'scale_units': 'xy', 'scale': 1, 'width': 0.0015}
    axes.quiver(*places_m[known].T, *tips, color=colour, zorder=4, **style)


def _draw_legend(axes: 'Axes', counts: Mapping[str, int], dropped: int) -> None:
    from matplotlib.lines import Line2D

    dot: dict[str, Any] = {'marker': 'o', 'ls': '', 'mec': 'black', 'mew': 0.4, 'ms': 6}
    handles = [
        Line2D([], [], color=SPLIT_COLOURS[split], label=f'{split}, {count}', **dot)
        for split, count in counts.items()
    ]
    cross: dict[str, Any] = {'marker': 'x', 'ls': '', 'ms': 6}
    handles.append(Line2D([], [], color=DROPPED_COLOUR, label=f'left out, {dropped}', **cross))
    look: dict[str, Any] = {'loc': 'upper right', 'facecolor': '#30363d', 'labelcolor': 'white'}
    axes.legend(handles=handles, fontsize=9, framealpha=0.85, edgecolor='none', **look)


def write_sheet(pictures: Sequence[np.ndarray], captions: Sequence[str], path: str | Path) -> None:
    """A sheet of photos, uint8 (H, W, 3) RGB, each with a caption. Raises OutputError, or
    RuntimeUnavailableError without matplotlib."""
    rows = max(1, -(-len(pictures) // SHEET_COLUMNS))
    tallest = max(picture.shape[0] / picture.shape[1] for picture in pictures)
    row_inches = TILE_INCHES * tallest + CAPTION_INCHES
    figure = new_figure(TILE_INCHES * SHEET_COLUMNS, row_inches * rows)
    grid = figure.subplots(rows, SHEET_COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis('off')
    for axes, picture, caption in zip(grid.flat, pictures, captions, strict=False):
        axes.imshow(picture, interpolation='antialiased')
        axes.set_title(caption, fontsize=6.5, color=INK, pad=3)
    above = CAPTION_INCHES / (row_inches * rows)
    gap = CAPTION_INCHES / (TILE_INCHES * tallest)
    figure.subplots_adjust(0.005, 0.0, 0.995, 1.0 - above, 0.03, gap)
    save(figure, path)
