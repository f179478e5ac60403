"""Whether tiles lie in the order that their layout says: neighbours look alike at their border.

A folder of tiles in another order than taken becomes a map that is scrambled, at a place on
another continent, and nothing else would tell.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from justzoom_ros.errors import MapError
from justzoom_ros.maps.tile_layout import TileLayout

EDGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'south': lambda tile: tile[-1],
    'north': lambda tile: tile[0],
    'east': lambda tile: tile[:, -1],
    'west': lambda tile: tile[:, 0],
}
OPPOSITE = {'south': 'north', 'north': 'south', 'east': 'west'}
ORDERS = {
    'xyz': ('east', 'south'),
    'tms': ('east', 'north'),
    'zyx': ('south', 'east'),
}
"""Where a tile lies whose first number, or whose second, is greater by one."""

MAX_PAIRS = 24
"""Pairs of neighbours, of each direction, that are looked at."""

MIN_PAIRS = 4
SURE = 0.5
"""Another order is the right one where its borders differ by less than this share of what those
of the order taken do, in at least MIN_PAIRS pairs..."""

VISIBLE = 4.0
"""... whose borders differ by more than this (of 255)."""

Tiles = Mapping[int, Mapping[tuple[int, int], str]]
"""{zoom: {(x, y): path in the folder}}."""


def check_borders(
    folder: Path, layout: TileLayout, tiles: Tiles, read: Callable[[Path], np.ndarray]
) -> None:
    """Compare neighbouring tiles of the finest zoom. `read` gives the RGBA (h, w, 4) of a file.
    Raises MapError where they clearly belong in another order than that of the layout."""
    taken = _order_of(layout)
    pairs = list(_pairs(tiles[max(tiles)], swapped=taken == 'zyx'))
    differences = [_differences(folder, pair, read) for pair in pairs]
    usable = [d for d in differences if d is not None]
    if len(usable) < MIN_PAIRS:
        return
    mean = {order: float(np.mean([d[order] for d in usable])) for order in ORDERS}
    best = min(mean, key=lambda order: mean[order])
    if best != taken and mean[taken] > VISIBLE and mean[best] < SURE * mean[taken]:
        raise MapError(
            f'the tiles of {folder} do not fit together in {taken} order (neighbours differ by '
            f'{mean[taken]:.0f} of 255 at their borders) and do in {best} order '
            f'({mean[best]:.0f}); {_advice(layout, best)}'
        )


def _order_of(layout: TileLayout) -> str:
    if layout.pattern.index('{y}') < layout.pattern.index('{x}') and layout.southward:
        return 'zyx'
    return 'xyz' if layout.southward else 'tms'


def _advice(layout: TileLayout, best: str) -> str:
    if layout.crs == 'EPSG:3857':
        return f'build with --tiles {best}'
    return 'correct its layout.yaml'


def _pairs(files: Mapping[tuple[int, int], str], swapped: bool) -> Iterator[tuple[str, str, int]]:
    """(file, file, which of the two numbers in the path is greater by one: 0 or 1) of neighbours,
    spread over the whole folder."""
    numbered = {(y, x) if swapped else (x, y): name for (x, y), name in files.items()}
    for which, step in enumerate(((1, 0), (0, 1))):
        found = [
            (numbered[one], numbered[one[0] + step[0], one[1] + step[1]], which)
            for one in sorted(numbered)
            if (one[0] + step[0], one[1] + step[1]) in numbered
        ]
        yield from found[:: max(1, -(-len(found) // MAX_PAIRS))]


def _differences(
    folder: Path, pair: tuple[str, str, int], read: Callable[[Path], np.ndarray]
) -> dict[str, float] | None:
    """{order: mean difference (0..255) of the border that the pair would share}; None where
    a border is transparent, one of the two is damaged, or they are not of one size."""
    try:
        one, other, which = read(folder / pair[0]), read(folder / pair[1]), pair[2]
    except MapError:  # damaged, which matters only where the map needs it
        return None
    if one.shape != other.shape or one.shape[0] != one.shape[1]:
        return None
    result = {}
    for order, sides in ORDERS.items():
        side = sides[which]
        a, b = EDGES[side](one), EDGES[OPPOSITE[side]](other)
        seen = (a[:, 3] >= 128) & (b[:, 3] >= 128)
        if seen.mean() < 0.5:
            return None
        gap = a[seen, :3].astype(np.float32) - b[seen, :3].astype(np.float32)
        result[order] = float(np.abs(gap).mean())
    return result
