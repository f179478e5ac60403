"""Overhead imagery of a region, in memory: crops for every cell of the zoom tree.

`SatelliteMap.open` reads a folder made by `SatelliteMap.build` and makes a pyramid whose steps are
the prime factors of the grid. Every cell is then a whole number of pixels of some layer, and a
crop is the exact area average of its cell: no phase error, no aliasing.
"""

from pathlib import Path

import cv2
import numpy as np

from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.map_file import TIF_NAME, YAML_NAME, checksum, read_imagery, read_info

STRIP_PX = 512
"""Rows of a coarser layer that are averaged at a time, so that temporaries stay small."""


class SatelliteMap:
    """The imagery of a `Region`: `crop` and `coverage` of every cell.

    `pixels` uint8 (side_px, side_px, 3) is the whole map at full resolution in RGB, row 0 north,
    column 0 west; `mask` bool (side_px, side_px) says where there is imagery. Pixels without are
    `fill_rgb`, the mean colour of the others. `resolution_m` is the side of a pixel in metres,
    `crop_px` the default side of a crop, `checksum` a hex string that names imagery and region.
    """

    def __init__(self, path, info, pixels, mask):
        self.path = Path(path)
        self.info = info
        self.mask = mask
        self.region = info.region
        self.checksum = info.checksum
        self.resolution_m = info.resolution_m
        self.attribution = info.attribution
        self.fill_rgb = info.fill_rgb
        self.crop_px = info.crop_px
        self._layers = _pyramid(pixels, mask, info)
        self._cell_coverage = _block_means(mask, info.cell_px)

    @classmethod
    def open(cls, path):
        """Read a map folder and preload its pyramid.

        Raises MapError where the folder or a file of it is missing, damaged, or was changed
        after it was built.
        """
        path = Path(path)
        info = read_info(path)
        tif = path / TIF_NAME
        if not tif.is_file():
            raise MapError(f'{path} is not a whole map: {TIF_NAME} is missing; build it again')
        if checksum(info.region, info.fill_rgb, tif) != info.checksum:
            raise MapError(
                f'{path}: {TIF_NAME} and {YAML_NAME} do not fit together (checksum): one of them '
                'is truncated or was changed; build the map again'
            )
        pixels, mask = read_imagery(tif, info.side_px)
        pixels[~mask] = info.fill_rgb
        return cls(path, info, pixels, mask)

    @classmethod
    def build(cls, source, region, out, **options):
        """Make a map folder `out` from imagery and open it; `map_build.build` has the options."""
        from justzoom_ros.map_build import build

        return build(source, region, out, **options)

    @property
    def pixels(self):
        """uint8 (side_px, side_px, 3): the whole map at full resolution."""
        return self._layers[0][1]

    @property
    def memory_bytes(self):
        """Bytes that the pyramid and the mask take."""
        return sum(image.nbytes for _, image in self._layers) + self.mask.nbytes

    def crop(self, actions, px=None):
        """The cell that `actions` (0 to depth of them) lead to: uint8 (px, px, 3) RGB, north up.

        The area average of the cell's pixels, or their bicubic interpolation where `px` (default
        `crop_px`) asks for more than full resolution. Raises ConfigError for an impossible cell.
        """
        px = self.crop_px if px is None else _checked_px(px)
        level, row, column = self._place(actions)
        cell_px = self.info.side_px // self.region.grid**level
        if px > cell_px:
            return self._enlarged(row * cell_px, column * cell_px, cell_px, px)
        factor, image = next(
            (factor, image)
            for factor, image in reversed(self._layers)
            if cell_px % factor == 0 and cell_px // factor >= px
        )
        side = cell_px // factor
        view = image[row * side : (row + 1) * side, column * side : (column + 1) * side]
        if side == px:
            return view.copy()
        return cv2.resize(view, (px, px), interpolation=cv2.INTER_AREA)

    def picture(self, px):
        """The whole region, uint8 (px, px, 3) RGB."""
        return self.crop((), px)

    def coverage(self, actions):
        """Share of a cell that has imagery, 0..1. Raises ConfigError for an impossible cell."""
        level, row, column = self._place(actions)
        side = self.region.grid ** (self.region.depth - level)
        cells = self._cell_coverage[row * side : (row + 1) * side, column * side :][:, :side]
        return float(cells.mean())

    def level_coverage(self, level):
        """Coverage of all cells of a level (0 to depth): float64 (branching ** level,) in path
        order."""
        if not 0 <= level <= self.region.depth:
            raise ConfigError(f'level is {level!r}; it must be 0..{self.region.depth}')
        side = self.region.grid ** (self.region.depth - level)
        cells = _block_means(self._cell_coverage, side)
        return cells[self.region.rows_columns(level, np.arange(self.region.branching**level))]

    def _place(self, actions):
        """Level, row from the north and column from the west of a cell."""
        actions = tuple(actions)
        index = self.region.index(actions)
        row, column = self.region.rows_columns(len(actions), index)
        return len(actions), int(row), int(column)

    def _enlarged(self, top, left, side, px):
        """Bicubic interpolation of a square of full resolution, neighbours included."""
        rows, columns = (slice(max(0, at - 2), at + side + 2) for at in (top, left))
        step = side / px
        # Output pixel centres to pixel centres of the part: (i + 0.5) * step - 0.5 + offset.
        shift = 0.5 * step - 0.5
        to_part = np.array(
            [[step, 0, shift + left - columns.start], [0, step, shift + top - rows.start]]
        )
        return cv2.warpAffine(
            self.pixels[rows, columns],
            to_part,
            (px, px),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )


def _pyramid(pixels, mask, info):
    """[(factor, image)]: full resolution first, then reduced by each prime factor of the grid,
    again and again until a pixel is a terminal cell's share of a region-wide crop."""
    region = info.region
    layers = [(1, pixels)]
    weights = None if mask.all() else mask.astype(np.uint8) * 255
    for prime in _primes(region.grid) * region.depth:
        factor, image = layers[-1]
        if weights is None:
            small = _reduced(image, prime)
        else:
            small, weights = _reduced_weighted(image, weights, prime, info.fill_rgb)
        layers.append((factor * prime, small))
    return layers


def _reduced(image, factor):
    side = image.shape[0] // factor
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def _reduced_weighted(image, weights, factor, fill_rgb):
    """Area average over covered pixels only, so that the fill colour does not bleed; and the
    weights (0..255, share of a pixel that is covered) of the result."""
    side = image.shape[0] // factor
    small = np.empty((side, side, 3), np.uint8)
    small_weights = np.empty((side, side), np.uint8)
    for top in range(0, side, STRIP_PX):
        rows = slice(top, min(top + STRIP_PX, side))
        part = slice(rows.start * factor, rows.stop * factor)
        size = (side, rows.stop - rows.start)
        weight = weights[part].astype(np.float32)[..., None]
        total = cv2.resize(image[part] * weight, size, interpolation=cv2.INTER_AREA)
        share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
        mean = total / np.maximum(share, 1e-6)[..., None]
        small_weights[rows] = np.ceil(share)
        small[rows] = np.where(share[..., None] > 0, np.rint(mean), fill_rgb)
    return small, small_weights


def _block_means(values, side):
    """Means of square blocks, float64: (H, W) to (H / side, W / side)."""
    rows = values.shape[0] // side
    sums = np.stack([
        np.add.reduceat(values[r * side : (r + 1) * side].sum(axis=0, dtype=np.float64),
                        np.arange(0, values.shape[1], side))
        for r in range(rows)
    ])  # fmt: skip
    return sums / side**2


def _primes(number):
    """Prime factors, ascending."""
    factors = []
    for candidate in range(2, number + 1):
        while number % candidate == 0:
            factors.append(candidate)
            number //= candidate
    return factors


def _checked_px(px):
    if not (isinstance(px, (int, np.integer)) and 1 <= px <= 16_384):
        raise ConfigError(f'px is {px!r}; it must be a whole number in 1..16384')
    return int(px)
