"""Imagery from a raster file in any projection."""

import math
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform
from rasterio.windows import Window

from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.maps.map_file import GDAL_ERRORS, one_line
from justzoom_ros.maps.plane import (
    WGS84,
    choose_resampling,
    plane_resolution_m,
    plane_transform,
)
from justzoom_ros.maps.source import MapSource, SourceOptions
from justzoom_ros.region import Region

STRETCH_PERCENT = (2.0, 98.0)
ALPHA_MAX = {'uint16': 65_535, 'int16': 32_767}
"""Full opacity in GDAL's alpha bands; 255 in those of other types."""


class RasterSource(MapSource):
    """A GeoTIFF, COG, VRT or whatever else GDAL reads: one file with a CRS and a geotransform.

    Bands are grey, grey + alpha, RGB or RGB + alpha, unless the options name others. Nodata,
    alpha, masks and NaN count as no imagery.
    """

    @staticmethod
    def recognizes(path: Path) -> bool:
        """Whatever is no folder: GDAL reads hundreds of formats, and says what is wrong."""
        return not path.is_dir()

    def __init__(self, path: Path, options: SourceOptions) -> None:
        if options.tiles is not None:
            raise ConfigError(f'{path} is a raster file, for which the order of tiles is none')
        self.path = path
        self.stretch: tuple[tuple[float, float], ...] | None = None
        self._wanted_stretch = options.stretch
        self._file = _open_raster(path)
        try:
            self._bands = _colour_bands(self._file, options.bands)
            _check_georeferenced(self._file)
        except Exception:
            self._file.close()
            raise
        self.crs: str = self._file.crs.to_string()

    def __enter__(self) -> 'RasterSource':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def prepare(self, region: Region, side_px: int) -> None:
        """Get ready to read a map of `side_px` pixels along the region's side."""
        size_m = region.side_m / side_px
        self._warp: dict[str, Any] = {
            'crs': region.crs.to_wkt(),
            'width': side_px,
            'height': side_px,
            'transform': plane_transform(region, side_px),
            'resampling': choose_resampling(size_m / self.resolution_m(region)),
            'add_alpha': ColorInterp.alpha not in self._file.colorinterp,
            'warp_mem_limit': 128,
            'UNIFIED_SRC_NODATA': 'YES',
            **_nodata(self._file),
        }
        if self._wanted_stretch is not None:
            low, high = map(float, self._wanted_stretch)
            self.stretch = ((low, high),) * len(self._bands)
        elif self._file.dtypes[self._bands[0] - 1] != 'uint8':
            self.stretch = self._percentiles(region)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """RGB uint8 (h, w, 3) and mask bool (h, w) of a window of the prepared map."""
        try:
            with WarpedVRT(self._file, **self._warp) as vrt:
                alpha = vrt.colorinterp.index(ColorInterp.alpha) + 1
                values = vrt.read([*self._bands, alpha], window=window)
        except GDAL_ERRORS as error:
            raise MapError(
                f'{self.path} cannot be read: {one_line(error)}; is the file whole?'
            ) from None
        colour, alpha = values[:-1], values[-1]
        mask = (alpha > ALPHA_MAX.get(alpha.dtype.name, 255) / 2) & np.isfinite(colour).all(axis=0)
        return _to_rgb(colour, mask, self.stretch), mask

    def resolution_m(self, region: Region) -> float:
        """Metres per source pixel at the region's centre (geometric mean of both axes)."""
        pixel_area = abs(self._file.transform.determinant)
        return plane_resolution_m(region, self._file.crs) * math.sqrt(pixel_area)

    def outline(self) -> tuple[np.ndarray, np.ndarray]:
        """Latitudes and longitudes (two arrays) of points along the source's border."""
        along = np.linspace(0.0, 1.0, 33)
        ones, zeros = np.ones_like(along), np.zeros_like(along)
        across = np.concatenate([along, along, zeros, ones]) * self._file.width
        down = np.concatenate([zeros, ones, along, along]) * self._file.height
        x, y = _apply(self._file.transform, across, down)
        lon, lat = transform(self._file.crs, WGS84, x, y)
        return np.array(lat), np.array(lon)

    def overlaps(self, region: Region) -> bool:
        """True where the box round the source, in the region's plane, meets the region."""
        half = region.side_m / 2
        spans = [values[np.isfinite(values)] for values in region.to_enu(*self.outline())]
        return all(v.size and v.min() < half and v.max() > -half for v in spans)

    def _to_pixels(
        self, region: Region, east_m: np.ndarray, north_m: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows in the file of points of the region's plane."""
        x, y = transform(region.crs.to_wkt(), self._file.crs, east_m, north_m)
        return _apply(~self._file.transform, np.array(x), np.array(y))

    def _percentiles(self, region: Region) -> tuple[tuple[float, float], ...]:
        """(low, high) of each band from a sparse sample of the part that the region covers."""
        along = np.linspace(-0.5, 0.5, 33) * region.side_m
        east, north = (g.ravel() for g in np.meshgrid(along, along))
        columns, rows = self._to_pixels(region, east, north)
        left, right = np.clip([columns.min(), columns.max()], 0, self._file.width)
        top, bottom = np.clip([rows.min(), rows.max()], 0, self._file.height)
        window = Window(left, top, max(right - left, 1), max(bottom - top, 1))
        shape = [max(1, min(1024, math.ceil(side))) for side in (window.height, window.width)]
        try:
            sample = self._file.read(
                self._bands, window=window, out_shape=(len(self._bands), *shape)
            )
            covered = self._file.dataset_mask(window=window, out_shape=tuple(shape)) > 0
        except GDAL_ERRORS as error:
            raise MapError(f'{self.path} cannot be read: {one_line(error)}') from None
        return tuple(_percentile_pair(band[covered & np.isfinite(band)]) for band in sample)


def _apply(affine: rasterio.Affine, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def _open_raster(path: Path) -> DatasetReader:
    if not path.exists():
        raise MapError(f'{path} does not exist')
    try:
        return rasterio.open(path)
    except GDAL_ERRORS as error:
        raise MapError(
            f'{path} is no raster that GDAL can read, or is damaged: {one_line(error)}'
        ) from None


def _check_georeferenced(file: DatasetReader) -> None:
    if file.crs is None:
        raise MapError(
            f'{file.name} has no coordinate reference system; add it, for instance with '
            '`gdal_edit.py -a_srs EPSG:32633 FILE` if it is in UTM zone 33 north'
        )
    if file.transform.is_identity:
        raise MapError(
            f'{file.name} has no geotransform, so its pixels have no place on earth; georeference '
            'it, for instance with the Georeferencer of QGIS'
        )
    try:
        transform(file.crs, WGS84, [file.transform.c], [file.transform.f])
    except GDAL_ERRORS as error:
        raise MapError(
            f'{file.name} has a coordinate reference system that cannot be turned into latitude '
            f'and longitude: {one_line(error)}'
        ) from None


def _colour_bands(file: DatasetReader, bands: Sequence[int] | None) -> list[int]:
    """Band numbers to read: one (grey) or three (red, green, blue)."""
    if bands is not None:
        if len(bands) not in (1, 3) or not all(1 <= band <= file.count for band in bands):
            raise MapError(
                f'{file.name} has {file.count} bands and {tuple(bands)} were asked for; name one '
                f'or three of 1..{file.count}'
            )
        return list(bands)
    meaning = file.colorinterp
    if ColorInterp.palette in meaning:
        raise MapError(
            f'{file.name} is paletted; expand it first: gdal_translate -expand rgb IN OUT'
        )
    rgb = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(colour in meaning for colour in rgb):
        return [meaning.index(colour) + 1 for colour in rgb]
    opaque = [band for band in range(1, file.count + 1) if meaning[band - 1] != ColorInterp.alpha]
    return opaque[:3] if len(opaque) >= 3 else opaque[:1]


def _nodata(file: DatasetReader) -> dict[str, float]:
    """WarpedVRT options where NaN is the only sign of missing data."""
    floating = np.issubdtype(np.dtype(file.dtypes[0]), np.floating)
    return {'src_nodata': np.nan} if floating and file.nodata is None else {}


def _percentile_pair(values: np.ndarray) -> tuple[float, float]:
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, STRETCH_PERCENT))
    return low, high if high > low else low + 1.0


def _to_rgb(
    colour: np.ndarray, mask: np.ndarray, stretch: tuple[tuple[float, float], ...] | None
) -> np.ndarray:
    """Bands (1 or 3, h, w) of any type to uint8 (h, w, 3)."""
    if stretch is not None:
        low, high = np.array(stretch, np.float32).T[..., None, None]
        colour = (np.where(mask, colour, low) - low) * (255.0 / (high - low))
        colour = np.rint(np.clip(colour, 0.0, 255.0)).astype(np.uint8)
    return np.repeat(colour, 3 // len(colour), axis=0).transpose(1, 2, 0)
