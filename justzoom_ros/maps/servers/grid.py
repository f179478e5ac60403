"""The grid of a server's imagery: its levels, each half as fine or so, and the units, squares of
pixels, that are asked for and kept one by one."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.warp import transform
from rasterio.windows import Window

from justzoom_ros.errors import MapError
from justzoom_ros.maps.plane import plane_resolution_m
from justzoom_ros.maps.servers.services import Kind, Service
from justzoom_ros.region import Region

RASTER_UNIT_PX = 512
MOST_ZOOMS = 40
Unit = tuple[int, int]
"""Row from the north and column from the west of a unit in its level."""

MARGIN_PX = 4
"""Pixels beyond the region, the reach of both kinds of resampling."""


@dataclass(frozen=True)
class Level:
    """One resolution of the imagery."""

    width: int
    """Pixels from west to east."""

    height: int
    """Pixels from north to south."""

    affine: tuple[float, ...]
    """The six numbers that take pixels to the projection, in the order of rasterio's Affine."""

    @property
    def transform(self) -> rasterio.Affine:
        """From pixels (column, row) to the projection."""
        return rasterio.Affine(*self.affine)


@dataclass(frozen=True)
class Grid:
    """The levels of the imagery, finest first, and what its values are."""

    crs: str
    """Projection, as WKT or as an authority's code."""

    levels: tuple[Level, ...]
    """All resolutions."""

    dtype: str
    """Type of the values."""

    bands: tuple[int, ...]
    """Numbers, from 1, of the one grey band or of red, green and blue."""

    unit_px: int
    """Pixels along a side of a unit."""

    def level_m(self, level: int, region: Region) -> float:
        """Metres per pixel of a level at the region's centre."""
        area = abs(self.levels[level].transform.determinant)
        return plane_resolution_m(region, self.crs) * math.sqrt(area)

    def choose_level(self, region: Region, pixel_m: float, finest: int) -> int:
        """The coarsest level, not finer than `finest`, whose pixels are at most `pixel_m`."""
        fine = [k for k in range(finest, len(self.levels))
                if self.level_m(k, region) <= 1.01 * pixel_m]  # fmt: skip
        return max(fine, default=finest)

    def pixels(self, level: int, region: Region) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows (n,), (n,) in a level of points all over the region."""
        along = np.linspace(-0.5, 0.5, 33) * region.side_m
        east, north = (g.ravel() for g in np.meshgrid(along, along))
        x, y = transform(region.crs.to_wkt(), self.crs, east, north)
        inverse = ~self.levels[level].transform
        x, y = np.array(x), np.array(y)
        return (
            inverse.a * x + inverse.b * y + inverse.c,
            inverse.d * x + inverse.e * y + inverse.f,
        )

    def spans(self, level: int, region: Region) -> tuple[range, range]:
        """Rows and columns of the units that a map of the region needs; of no length where it
        does not overlap them."""
        columns, rows = self.pixels(level, region)
        if not (np.isfinite(columns).all() and np.isfinite(rows).all()):
            return range(0), range(0)
        form = self.levels[level]
        return self._span(rows, form.height), self._span(columns, form.width)

    def count(self, level: int, region: Region) -> int:
        """How many units a map of the region needs."""
        rows, columns = self.spans(level, region)
        return len(rows) * len(columns)

    def units(self, level: int, region: Region) -> list[Unit]:
        """(row, column) of all of them, from the north-west."""
        rows, columns = self.spans(level, region)
        return [(row, column) for row in rows for column in columns]

    def _span(self, values: np.ndarray, length: int) -> range:
        low = max(0, math.floor(values.min()) - MARGIN_PX)
        high = min(length, math.ceil(values.max()) + MARGIN_PX)
        if low >= high:
            return range(0)
        return range(low // self.unit_px, (high - 1) // self.unit_px + 1)

    def middle(self, level: int, region: Region) -> Unit:
        """(row, column) of the unit that holds the region's centre."""
        columns, rows = self.pixels(level, region)
        centre = len(columns) // 2
        return int(rows[centre] // self.unit_px), int(columns[centre] // self.unit_px)

    def window(self, level: int, unit: Unit) -> Window:
        """Where a unit lies in its level, in pixels."""
        form, px = self.levels[level], self.unit_px
        top, left = unit[0] * px, unit[1] * px
        return Window(left, top, min(px, form.width - left), min(px, form.height - top))


def open_level(service: Service, level: int, count: int) -> DatasetReader:
    """A level, of so many, of a server's imagery. Raises GDAL's errors."""
    if service.kind == Kind.WMTS:
        # As overviews of one another GDAL places its zooms by up to half a pixel wrongly.
        return rasterio.open(f'{service.name},zoom_level={count - 1 - level}')
    if level == 0:
        return rasterio.open(service.name)
    return rasterio.open(service.name, OVERVIEW_LEVEL=level - 1)


def find_grid(
    service: Service,
    check: Callable[[DatasetReader], None],
    choose_bands: Callable[[DatasetReader], list[int]],
) -> Grid:
    """The `Grid` of a server. `check` refuses what is no imagery, `choose_bands` gives the bands
    that are colours. Raises GDAL's errors, and MapError."""
    with rasterio.open(service.name) as file:
        check(file)
        bands = [1, 2, 3] if service.alpha_band else choose_bands(file)
        levels = _zooms(service) if service.kind == Kind.WMTS else _overviews(file, service)
        unit_px = service.unit_px or RASTER_UNIT_PX
        crs, dtype = file.crs.to_string(), file.dtypes[bands[0] - 1]
    return Grid(crs, levels, dtype, tuple(bands), unit_px)


def _overviews(file: DatasetReader, service: Service) -> tuple[Level, ...]:
    whole = math.ceil if service.kind == Kind.RASTER else round
    return tuple(_level(file, factor, whole) for factor in (1, *file.overviews(1)))


def _zooms(service: Service) -> tuple[Level, ...]:
    """The levels of a WMTS, whose description is on this machine: opening it asks nobody."""
    levels = []
    for zoom in range(MOST_ZOOMS):
        try:
            with rasterio.open(f'{service.name},zoom_level={zoom}') as file:
                levels.append(Level(file.width, file.height, tuple(file.transform)[:6]))
        except rasterio.errors.RasterioIOError:  # one zoom after the last
            break
    if not levels:
        raise MapError('the capabilities of the WMTS name no zoom that GDAL can read')
    return tuple(reversed(levels))


def _level(file: DatasetReader, factor: int, whole: Callable[[float], int]) -> Level:
    """The level that is `factor` times as coarse. It covers all of the file; `whole` is how its
    driver rounds the number of pixels."""
    width, height = (max(1, whole(side / factor)) for side in (file.width, file.height))
    scale = rasterio.Affine.scale(file.width / width, file.height / height)
    return Level(width, height, tuple(file.transform @ scale)[:6])


def read_unit(
    file: DatasetReader, grid: Grid, service: Service, window: Window
) -> np.ndarray | None:
    """Colours and alpha (bands + 1, h, w) of a unit, in the grid's type; None where it is empty.
    Raises GDAL's errors."""
    colour = file.read(list(grid.bands), window=window)
    if service.alpha_band is not None:
        covered = file.read(service.alpha_band, window=window) >= 128
    elif ColorInterp.alpha in file.colorinterp:
        alpha = file.read(file.colorinterp.index(ColorInterp.alpha) + 1, window=window)
        covered = alpha > 0
    else:
        covered = file.dataset_mask(window=window) > 0
    if not covered.any():
        return None
    return np.concatenate([colour, (255 * covered[None]).astype(colour.dtype)])
