"""Where a map's imagery comes from: a raster file in any projection.

A source answers four questions, all in terms of a region's plane: how fine it is at the centre,
where its outline runs, how its values become 8 bit, and what a rectangle of the plane looks like.
"""

import math
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform
from rasterio.windows import Window

from justzoom_ros.errors import MapError
from justzoom_ros.maps.map_file import GDAL_ERRORS, one_line

WGS84 = 'OGC:CRS84'
AVERAGE_FROM = 2.0
"""Source pixels per map pixel from which on the area average is taken; below, cubic."""
STRETCH_PERCENT = (2.0, 98.0)
ALPHA_MAX = {'uint16': 65_535, 'int16': 32_767}
"""Full opacity in GDAL's alpha bands; 255 in those of other types."""


class RasterSource:
    """A GeoTIFF, COG, VRT or whatever else GDAL reads: one file with a CRS and a geotransform.

    Bands are grey, grey + alpha, RGB or RGB + alpha; `bands` (three numbers from 1) picks others.
    `stretch` is a pair (low, high) that becomes 0 and 255; by default 8-bit values stay as they
    are and others are stretched from the 2nd to the 98th percentile of each band in the region.
    Nodata, alpha, masks and NaN count as no imagery.
    """

    def __init__(self, path, bands=None, stretch=None):
        self.path = Path(path)
        self._file = _open_raster(self.path)
        try:
            self._bands = _colour_bands(self._file, bands)
            _check_georeferenced(self._file)
        except Exception:
            self._file.close()
            raise
        self.stretch = stretch
        self.crs = self._file.crs.to_string()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def prepare(self, region, side_px):
        """Get ready to read a map of `side_px` pixels along the region's side."""
        size_m = region.side_m / side_px
        self._warp = {
            'crs': region.crs.to_wkt(),
            'width': side_px,
            'height': side_px,
            'transform': plane_transform(region, side_px),
            'resampling': resampling(size_m / self.resolution_m(region)),
            'add_alpha': ColorInterp.alpha not in self._file.colorinterp,
            'warp_mem_limit': 128,
            'UNIFIED_SRC_NODATA': 'YES',
            **_nodata(self._file),
        }
        if self.stretch is not None:
            self.stretch = (tuple(map(float, self.stretch)),) * len(self._bands)
        elif self._file.dtypes[self._bands[0] - 1] != 'uint8':
            self.stretch = self._percentiles(region)

    def read(self, window):
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

    def resolution_m(self, region):
        """Metres per source pixel at the region's centre (geometric mean of both axes)."""
        pixel_area = abs(self._file.transform.determinant)
        return plane_resolution_m(region, self._file.crs) * math.sqrt(pixel_area)

    def outline(self):
        """Latitudes and longitudes (two arrays) of points along the source's border."""
        along = np.linspace(0.0, 1.0, 33)
        ones, zeros = np.ones_like(along), np.zeros_like(along)
        across = np.concatenate([along, along, zeros, ones]) * self._file.width
        down = np.concatenate([zeros, ones, along, along]) * self._file.height
        x, y = _applied(self._file.transform, across, down)
        lon, lat = transform(self._file.crs, WGS84, x, y)
        return np.array(lat), np.array(lon)

    def overlaps(self, region):
        """True where the box round the source, in the region's plane, meets the region."""
        half = region.side_m / 2
        spans = [values[np.isfinite(values)] for values in region.to_enu(*self.outline())]
        return all(v.size and v.min() < half and v.max() > -half for v in spans)

    def _to_pixels(self, region, east_m, north_m):
        x, y = transform(region.crs.to_wkt(), self._file.crs, east_m, north_m)
        return _applied(~self._file.transform, np.array(x), np.array(y))

    def _percentiles(self, region):
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


def plane_transform(region, side_px):
    """Affine from map pixels (column, row) to metres east and north of the region's centre."""
    size_m, half = region.side_m / side_px, region.side_m / 2
    return rasterio.Affine(size_m, 0.0, -half, 0.0, -size_m, half)


def resampling(source_pixels_per_pixel):
    """Area average where a map pixel holds several source pixels, else cubic."""
    if source_pixels_per_pixel >= AVERAGE_FROM:
        return Resampling.average
    return Resampling.cubic


def _applied(affine, x, y):
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def plane_resolution_m(region, crs):
    """Metres per unit of a CRS at the region's centre, the geometric mean of both directions.

    Raises MapError where the CRS has no place for the region.
    """
    step = region.side_m / 1000
    try:
        x, y = transform(region.crs.to_wkt(), crs, [0.0, step, 0.0], [0.0, 0.0, step])
    except GDAL_ERRORS:
        x = y = [math.nan] * 3
    area = abs((x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0]))
    if not (math.isfinite(area) and area > 0):
        raise MapError(
            f'the region round {region.latitude:.6f}, {region.longitude:.6f} has no place in the '
            f'projection of the imagery, {crs}'
        )
    return step / math.sqrt(area)


def _open_raster(path):
    if not path.exists():
        raise MapError(f'{path} does not exist')
    try:
        return rasterio.open(path)
    except GDAL_ERRORS as error:
        raise MapError(
            f'{path} is no raster that GDAL can read, or is damaged: {one_line(error)}'
        ) from None


def _check_georeferenced(file):
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


def _colour_bands(file, bands):
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


def _nodata(file):
    """WarpedVRT options where NaN is the only sign of missing data."""
    floating = np.issubdtype(np.dtype(file.dtypes[0]), np.floating)
    return {'src_nodata': np.nan} if floating and file.nodata is None else {}


def _percentile_pair(values):
    if values.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, STRETCH_PERCENT))
    return low, high if high > low else low + 1.0


def _to_rgb(colour, mask, stretch):
    """Bands (1 or 3, h, w) of any type to uint8 (h, w, 3)."""
    if stretch is not None:
        low, high = np.array(stretch, np.float32).T[..., None, None]
        colour = (np.where(mask, colour, low) - low) * (255.0 / (high - low))
        colour = np.rint(np.clip(colour, 0.0, 255.0)).astype(np.uint8)
    return np.repeat(colour, 3 // len(colour), axis=0).transpose(1, 2, 0)
