"""Imagery from a folder of tiles, whose layout `tile_layout.py` finds out."""

import math
import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
from PIL import Image
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform, transform_bounds
from rasterio.windows import Window
from rasterio.windows import bounds as window_bounds

from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.maps.map_file import one_line
from justzoom_ros.maps.plane import (
    AVERAGE_FROM,
    WGS84,
    choose_resampling,
    plane_resolution_m,
    plane_transform,
)
from justzoom_ros.maps.source import MapSource, SourceOptions
from justzoom_ros.maps.tile_borders import check_borders
from justzoom_ros.maps.tile_layout import LAYOUT_NAME, read_layout
from justzoom_ros.region import Region

PLACEHOLDERS = {
    'zoom': r'(?P<zoom>-?\d{1,2})',
    'x': r'(?P<x>-?\d+)',
    'y': r'(?P<y>-?\d+)',
    'image': '(?:png|jpg|jpeg|webp)',
}
Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""

MARGIN_PX = 4
"""Tile pixels read beyond a window, the reach of both kinds of resampling."""


class TileSource(MapSource):
    """A folder of PNG, JPEG or WebP tiles.

    Tiles are taken from the coarsest zoom that is twice as fine as the map, or else the finest;
    where that has none, from the next coarser zoom that has, then from finer ones. Transparent
    pixels count as no imagery.
    """

    @staticmethod
    def recognizes(path: Path) -> bool:
        """A folder, or the layout.yaml in it."""
        return path.is_dir() or (path.name == LAYOUT_NAME and path.parent.is_dir())

    def __init__(self, path: Path | str, options: SourceOptions) -> None:
        path = Path(path)
        self.path = path.parent if path.name == LAYOUT_NAME else path
        if options.bands or options.stretch or options.collar:
            raise ConfigError(
                f'{self.path} is a folder of tiles, for which bands and stretch do not apply, '
                'nor collars (transparent pixels are left out)'
            )
        self.stretch = None
        self._layout = read_layout(self.path, options.tiles)
        self._tiles = _find_tiles(self.path, self._layout.pattern)
        self._tile_px = self._layout.tile_px or self._size_of_a_tile()
        self.crs = self._layout.crs
        check_borders(self.path, self._layout, self._tiles, _read_rgba)

    def prepare(self, region: Region, side_px: int) -> None:
        """Get ready to read a map of `side_px` pixels along the region's side."""
        self._plane = region.crs.to_wkt()
        self._transform = plane_transform(region, side_px)
        zooms = self._zooms_within(region)
        size_m = region.side_m / side_px
        ratio = {z: 1.01 * size_m / self._zoom_resolution_m(region, z) for z in zooms}
        base = min((z for z in zooms if ratio[z] >= AVERAGE_FROM), default=max(zooms))
        order = sorted(zooms, key=lambda z: (z > base, abs(z - base)))
        # Finer tiles are halved as they are read, as often as leaves them twice as fine.
        halvings = {z: max(0, math.floor(math.log2(ratio[z] / AVERAGE_FROM))) for z in zooms}
        self._plan = [
            (z, halvings[z], choose_resampling(ratio[z] / 2 ** halvings[z])) for z in order
        ]

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """RGB uint8 (h, w, 3) and mask bool (h, w) of a window of the prepared map."""
        rgb = np.zeros((window.height, window.width, 3), np.uint8)
        mask = np.zeros((window.height, window.width), bool)
        for zoom, halvings, method in self._plan:
            if mask.all():
                break
            colour, alpha = self._warp(window, zoom, self._tile_px >> halvings, method)
            new = ~mask & (alpha >= 128)
            rgb[new] = colour[new]
            mask |= new
        return rgb, mask

    def resolution_m(self, region: Region) -> float:
        """Metres per pixel, at the region's centre, of the finest zoom that has tiles in it."""
        zooms = self._zooms_within(region)
        return self._zoom_resolution_m(region, max(zooms or self._tiles))

    def outline(self) -> tuple[np.ndarray, np.ndarray]:
        """Latitudes and longitudes (two arrays) of the corners of the finest zoom's tiles."""
        zoom = max(self._tiles)
        x, y = np.array(list(self._tiles[zoom])).T
        x = np.concatenate([x, x + 1, x, x + 1])
        y = np.concatenate([y, y, y + 1, y + 1])
        lon, lat = transform(self.crs, WGS84, *self._corner(zoom, x, y))
        return np.array(lat), np.array(lon)

    def overlaps(self, region: Region) -> bool:
        """True where a tile lies within the region."""
        return bool(self._zooms_within(region))

    def _side(self, zoom: int) -> float:
        """Side of a tile in units of the projection."""
        return self._layout.tile_side / 2.0**zoom

    def _corner(self, zoom: int, x: Any, y: Any) -> tuple[Any, Any]:
        """Position of the corner of a tile, or of arrays of them, in their projection."""
        down = -1 if self._layout.southward else 1
        side = self._side(zoom)
        return self._layout.origin_x + x * side, self._layout.origin_y + down * y * side

    def _zoom_resolution_m(self, region: Region, zoom: int) -> float:
        return plane_resolution_m(region, self.crs) * self._side(zoom) / self._tile_px

    def _zooms_within(self, region: Region) -> list[int]:
        """Zooms that have tiles in a region, ascending."""
        half = region.side_m / 2
        box = transform_bounds(region.crs.to_wkt(), self.crs, -half, -half, half, half)
        return [z for z in sorted(self._tiles) if self._tiles_within(z, box)]

    def _tiles_within(self, zoom: int, box: Box) -> list[tuple[int, int]]:
        """Tiles (x, y) of a zoom that touch a box (left, bottom, right, top)."""
        columns, rows = self._index_ranges(zoom, box)
        if len(columns) * len(rows) < len(self._tiles[zoom]):
            wanted = ((x, y) for x in columns for y in rows)
            return [tile for tile in wanted if tile in self._tiles[zoom]]
        return [(x, y) for x, y in self._tiles[zoom] if x in columns and y in rows]

    def _index_ranges(self, zoom: int, box: Box) -> tuple[range, range]:
        """Ranges of the x and y of the tiles that touch a box."""
        left, bottom, right, top = box
        layout, side = self._layout, self._side(zoom)
        down = -1 if layout.southward else 1
        y = sorted(down * (edge - layout.origin_y) / side for edge in (bottom, top))
        x = (left - layout.origin_x) / side, (right - layout.origin_x) / side
        columns, rows = (range(math.floor(low), math.floor(high) + 1) for low, high in (x, y))
        return columns, rows

    def _warp(
        self, window: Window, zoom: int, tile_px: int, method: Resampling
    ) -> tuple[np.ndarray, np.ndarray]:
        """Colour (h, w, 3) and alpha (h, w) of a window, from the tiles of one zoom."""
        result = np.zeros((4, window.height, window.width), np.uint8)
        size = self._side(zoom) / tile_px
        box = window_bounds(window, self._transform)
        left, bottom, right, top = transform_bounds(self._plane, self.crs, *box)
        margin = MARGIN_PX * size
        box = (left - margin, bottom - margin, right + margin, top + margin)
        tiles = self._tiles_within(zoom, box)
        if tiles:
            mosaic, corner = self._mosaic(zoom, tiles, tile_px)
            reproject(
                mosaic,
                result,
                src_transform=rasterio.Affine(size, 0, corner[0], 0, -size, corner[1]),
                src_crs=self.crs,
                dst_transform=rasterio.windows.transform(window, self._transform),
                dst_crs=self._plane,
                src_alpha=4,
                dst_alpha=4,
                resampling=method,
            )
        return result[:3].transpose(1, 2, 0), result[3]

    def _mosaic(
        self, zoom: int, tiles: list[tuple[int, int]], tile_px: int
    ) -> tuple[np.ndarray, tuple[float, float]]:
        """RGBA (4, h, w) of tiles side by side, and the position of its north-west corner."""
        xs, ys = {x for x, _ in tiles}, {y for _, y in tiles}
        width, height = max(xs) - min(xs) + 1, max(ys) - min(ys) + 1
        mosaic = np.zeros((4, height * tile_px, width * tile_px), np.uint8)
        for x, y in tiles:
            row = y - min(ys) if self._layout.southward else max(ys) - y
            column = x - min(xs)
            mosaic[
                :, row * tile_px : (row + 1) * tile_px, column * tile_px : (column + 1) * tile_px
            ] = self._tile(zoom, x, y, tile_px)
        return mosaic, self._corner(
            zoom, min(xs), min(ys) if self._layout.southward else max(ys) + 1
        )

    def _tile(self, zoom: int, x: int, y: int, tile_px: int) -> np.ndarray:
        """RGBA (4, tile_px, tile_px) of one tile."""
        path = self.path / self._tiles[zoom][x, y]
        image = _read_rgba(path)
        if image.shape[:2] != (self._tile_px, self._tile_px):
            raise MapError(
                f'{path} is {image.shape[1]} x {image.shape[0]} pixels and the other tiles are '
                f'{self._tile_px} x {self._tile_px}; remove or replace it'
            )
        if tile_px < self._tile_px:
            image = _reduce_rgba(image, tile_px)
        return image.transpose(2, 0, 1)

    def _size_of_a_tile(self) -> int:
        first = next(iter(self._tiles[max(self._tiles)].values()))
        return _read_rgba(self.path / first).shape[0]


def _find_tiles(folder: Path, pattern: str) -> dict[int, dict[tuple[int, int], str]]:
    """{zoom: {(x, y): path in the folder}} of all tiles. Raises MapError where there are none."""
    expression = re.escape(pattern)
    for name, digits in PLACEHOLDERS.items():
        expression = expression.replace(re.escape('{' + name + '}'), digits, 1)
    match = re.compile(expression, re.IGNORECASE).fullmatch
    tiles: dict[int, dict[tuple[int, int], str]] = {}
    for root, _, names in os.walk(folder):
        below = Path(root).relative_to(folder).as_posix()
        for name in names:
            path = name if below == '.' else f'{below}/{name}'
            if found := match(path):
                zoom, x, y = (int(found[name]) for name in ('zoom', 'x', 'y'))
                tiles.setdefault(zoom, {})[x, y] = path
    if not tiles:
        raise MapError(
            f'{folder} holds no tiles named {pattern}; give a raster file, a folder of XYZ tiles '
            'or one with a layout.yaml (join several GeoTIFFs with gdalbuildvrt first)'
        )
    return tiles


def _read_rgba(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert('RGBA'))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MapError(
            f'tile {path} cannot be read: {one_line(error)}; remove or replace it'
        ) from None


def _reduce_rgba(image: np.ndarray, side: int) -> np.ndarray:
    """Area average, colours weighted by alpha."""
    alpha = image[..., 3:].astype(np.float32)
    total = cv2.resize(image[..., :3] * alpha, (side, side), interpolation=cv2.INTER_AREA)
    share = cv2.resize(alpha, (side, side), interpolation=cv2.INTER_AREA)[..., None]
    colour = total / np.maximum(share, 1e-6)
    return np.rint(np.concatenate([colour, share], axis=-1)).astype(np.uint8)
