"""Overhead imagery of a region, in memory: crops for every cell of the zoom tree.

`SatelliteMap.open` reads a folder made by `SatelliteMap.build` and makes a pyramid whose steps are
the prime factors of the grid, so that every cell is a whole number of pixels of a layer: crops
have no phase error. They are area averages, so they have no aliasing. Crops of the map's own
`crop_px` are made once, at opening, and only copied later.
"""

from collections.abc import Sequence
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.maps.map_file import MapInfo, read_map
from justzoom_ros.region import Region

STRIP_PX = 512
"""Rows of a coarser layer that are averaged at a time, so that temporaries stay small."""


class _Layer(NamedTuple):
    """One step of the pyramid."""

    factor: int
    """Pixels at full resolution along a side of one of its pixels."""

    image: np.ndarray
    """uint8 (side, side, 3) RGB."""

    weights: np.ndarray | None
    """Share of each pixel that is covered, uint8 (side, side); None where all is."""


class SatelliteMap:
    """The imagery of a `Region`: `crop` and `coverage` of every cell.

    `pixels` uint8 (side_px, side_px, 3) is the whole map at full resolution in RGB, row 0 north,
    column 0 west; `mask` bool (side_px, side_px) says where there is imagery. Pixels without are
    `fill_rgb`, the mean colour of the others. `resolution_m` is the side of a pixel in metres,
    `crop_px` the default side of a crop, `checksum` a hex string that names imagery and region.
    """

    def __init__(
        self, path: str | Path, info: MapInfo, pixels: np.ndarray, mask: np.ndarray
    ) -> None:
        self.path = Path(path)
        self.info = info
        self.mask = mask
        self.region = info.region
        self.checksum = info.checksum
        self.resolution_m = info.resolution_m
        self.attribution = info.attribution
        self.fill_rgb = info.fill_rgb
        self.crop_px = info.crop_px
        weights = None if mask.all() else mask.astype(np.uint8) * 255
        layers = _pyramid(pixels, weights, info)
        self._layers = [layer._replace(weights=None) for layer in layers]
        self._crops = _default_crops(layers, info)
        self._cell_coverage = _block_means(mask, info.cell_px)

    @classmethod
    def open(cls, path: str | Path) -> 'SatelliteMap':
        """Read a map folder and preload its pyramid.

        Raises MapError where the folder or a file of it is missing, damaged, or was changed
        after it was built.
        """
        return cls(path, *read_map(path))

    @classmethod
    def build(
        cls, source: str | Path, region: Region, out: str | Path, **options: Any
    ) -> 'SatelliteMap':
        """Make a map folder `out` from imagery and open it; `maps.build.build` has the options."""
        from justzoom_ros.maps.build import build

        return cls(out, *build(source, region, out, **options))

    @property
    def pixels(self) -> np.ndarray:
        """uint8 (side_px, side_px, 3): the whole map at full resolution."""
        return self._layers[0].image

    @property
    def memory_bytes(self) -> int:
        """Bytes that the pyramid and the mask take."""
        images = [self.mask, *(layer.image for layer in self._layers), *self._crops.values()]
        return sum(image.nbytes for image in images)

    def crop(self, actions: Sequence[int], px: int | None = None) -> np.ndarray:
        """The cell that `actions` (0 to depth of them) lead to: uint8 (px, px, 3) RGB, north up.

        The area average of the cell's pixels, or their bicubic interpolation where `px` (default
        `crop_px`) asks for more than full resolution. Raises ConfigError for an impossible cell.
        """
        px = self.crop_px if px is None else _check_px(px)
        level, row, column = self._place(actions)
        cell_px = self.info.side_px // self.region.grid**level
        if px > cell_px:
            return self._enlarge(row * cell_px, column * cell_px, cell_px, px)
        if px == self.crop_px and level in self._crops:
            return _square(self._crops[level], row, column, px).copy()
        factor, image, _ = _layer_for(self._layers, cell_px, px)
        view = _square(image, row, column, cell_px // factor)
        if len(view) == px:
            return view.copy()
        return cv2.resize(view, (px, px), interpolation=cv2.INTER_AREA)

    def picture(self, px: int) -> np.ndarray:
        """The whole region, uint8 (px, px, 3) RGB."""
        return self.crop((), px)

    def coverage(self, actions: Sequence[int]) -> float:
        """Share of a cell that has imagery, 0..1. Raises ConfigError for an impossible cell."""
        level, row, column = self._place(actions)
        side = self.region.grid ** (self.region.depth - level)
        cells = self._cell_coverage[row * side : (row + 1) * side, column * side :][:, :side]
        return float(cells.mean())

    def level_coverage(self, level: int) -> np.ndarray:
        """Coverage of all cells of a level (0 to depth): float64 (branching ** level,),
        in the order of the cell index."""
        if not 0 <= level <= self.region.depth:
            raise ConfigError(f'level is {level!r}; it must be 0..{self.region.depth}')
        side = self.region.grid ** (self.region.depth - level)
        cells = _block_means(self._cell_coverage, side)
        return cells[self.region.rows_columns(level, np.arange(self.region.cell_count(level)))]

    def _place(self, actions: Sequence[int]) -> tuple[int, int, int]:
        """Level, row from the north and column from the west of a cell."""
        index = self.region.cell_index(actions)
        row, column = self.region.rows_columns(len(actions), index)
        return len(actions), int(row), int(column)

    def _enlarge(self, top: int, left: int, side: int, px: int) -> np.ndarray:
        """Bicubic interpolation of a square of full resolution, neighbours included."""
        # A border of at least the two pixels that bicubic looks at, and of a whole number of
        # output pixels, so that it can be cut off again.
        step = side // gcd(side, px)
        border = step * -(-2 // step)
        part = _with_border(self.pixels, top, left, side, border)
        cut = border * px // side
        size = px + 2 * cut
        enlarged = cv2.resize(part, (size, size), interpolation=cv2.INTER_CUBIC)
        return enlarged[cut : cut + px, cut : cut + px].copy()


def _with_border(image: np.ndarray, top: int, left: int, side: int, border: int) -> np.ndarray:
    """The square of `side` pixels at `top`, `left` with `border` more on each side, the image's
    own pixels where there are any, else its last ones repeated."""
    wanted = [(at - border, at + side + border) for at in (top, left)]
    rows, columns = (slice(max(0, low), high) for low, high in wanted)
    (above, below), (before, after) = (
        (max(0, -low), max(0, high - length))
        for (low, high), length in zip(wanted, image.shape, strict=False)
    )
    part = image[rows, columns]
    return cv2.copyMakeBorder(part, above, below, before, after, cv2.BORDER_REPLICATE)


def _pyramid(pixels: np.ndarray, weights: np.ndarray | None, info: MapInfo) -> list[_Layer]:
    """Full resolution first, then reduced by each prime factor of the grid, again and again until
    the region has as many pixels as a terminal cell had."""
    layers = [_Layer(1, pixels, weights)]
    for prime in _primes(info.region.grid) * info.region.depth:
        factor, image, weights = layers[-1]
        side = len(image) // prime
        small = np.empty((side, side, 3), np.uint8)
        small_weights = None if weights is None else np.empty((side, side), np.uint8)
        for top in range(0, side, STRIP_PX):
            rows = slice(top, min(top + STRIP_PX, side))
            part = slice(rows.start * prime, rows.stop * prime)
            small[rows], shares = _average(
                image[part],
                None if weights is None else weights[part],
                (side, rows.stop - rows.start),
                info.fill_rgb,
            )
            if small_weights is not None:
                small_weights[rows] = shares
        layers.append(_Layer(factor * prime, small, small_weights))
    return layers


def _default_crops(layers: list[_Layer], info: MapInfo) -> dict[int, np.ndarray]:
    """{level: image} whose squares of `crop_px` pixels are the crops of a level's cells, for those
    levels where no layer of the pyramid holds them already."""
    crops: dict[int, np.ndarray] = {}
    px = info.crop_px
    for level in range(info.region.depth + 1):
        cells = info.region.grid**level
        cell_px = info.side_px // cells
        factor, image, weights = _layer_for(layers, cell_px, px)
        side = cell_px // factor
        if side <= px:
            continue
        crops[level] = np.empty((cells * px, cells * px, 3), np.uint8)
        for row, column in np.ndindex(cells, cells):
            view = None if weights is None else _square(weights, row, column, side)
            _square(crops[level], row, column, px)[:] = _average(
                _square(image, row, column, side), view, (px, px), info.fill_rgb
            )[0]
    return crops


def _layer_for(layers: list[_Layer], cell_px: int, px: int) -> _Layer:
    """The coarsest layer from which a cell of `cell_px` full-resolution pixels can be reduced to
    `px`: its pixels must divide the cell, and either be a whole number of times finer, when the
    average is exact, or at least twice as fine, when what is lost is below a grey level."""
    for layer in reversed(layers):
        side, rest = divmod(cell_px, layer.factor)
        if rest == 0 and side >= px and (side % px == 0 or side >= 2 * px):
            return layer
    return layers[0]


def _square(image: np.ndarray, row: int, column: int, side: int) -> np.ndarray:
    """View of the square in a row and column of squares."""
    return image[row * side : (row + 1) * side, column * side : (column + 1) * side]


def _average(
    image: np.ndarray,
    weights: np.ndarray | None,
    size: tuple[int, int],
    fill_rgb: tuple[int, int, int],
) -> tuple[np.ndarray, np.ndarray | int]:
    """Area average of an image to a size (width, height), over its covered part only so that the
    fill colour does not bleed; and the weights of the result."""
    if weights is None or weights.min() == 255:
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA), 255
    weight = weights.astype(np.float32)[..., None]
    total = cv2.resize(image * weight, size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    mean = np.rint(total / np.maximum(share, 1e-6)[..., None])
    small = np.where(share[..., None] > 0, mean, np.array(fill_rgb, np.float32))
    # Rounded up: a pixel that is covered at all must not count as uncovered.
    return small.astype(np.uint8), np.ceil(share).astype(np.uint8)


def _block_means(values: np.ndarray, side: int) -> np.ndarray:
    """Means of square blocks, float64: (H, W) to (H / side, W / side)."""
    rows = values.shape[0] // side
    sums = np.stack([
        np.add.reduceat(values[r * side : (r + 1) * side].sum(axis=0, dtype=np.float64),
                        np.arange(0, values.shape[1], side))
        for r in range(rows)
    ])  # fmt: skip
    return sums / side**2


def _primes(number: int) -> list[int]:
    """Prime factors, ascending."""
    factors = []
    for candidate in range(2, number + 1):
        while number % candidate == 0:
            factors.append(candidate)
            number //= candidate
    return factors


def _check_px(px: int) -> int:
    if not (isinstance(px, (int, np.integer)) and 1 <= px <= 16_384):
        raise ConfigError(f'px is {px!r}; it must be a whole number in 1..16384')
    return int(px)
