"""Imagery from a raster file in any projection."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader, MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.maps.map_file import GDAL_ERRORS, one_line
from justzoom_ros.maps.plane import (
    WGS84,
    choose_resampling,
    plane_resolution_m,
    plane_transform,
)
from justzoom_ros.maps.raster_file import open_raster
from justzoom_ros.maps.raster_mask import (
    FULL_ALPHA,
    SAMPLE_PX,
    Collar,
    Sample,
    alpha_band,
    alpha_max,
    find_collar,
    mask_by_bands,
    needs_mask,
)
from justzoom_ros.maps.source import MapSource, SourceOptions
from justzoom_ros.region import Region

log = logging.getLogger(__name__)

STRETCH_PERCENT = (2.0, 98.0)
LOSSY = ('jpeg', 'webp', 'ycbcr jpeg', 'jpeg2000')
"""Compressions that blur the colour of a collar."""

DECODED_PX = 2**32
"""So many pixels of a file without overviews are decoded for a sample."""
MIN_SAMPLE_PX = 128
"""Least side of a sample of a large file."""


class RasterSource(MapSource):
    """A GeoTIFF, COG, VRT or whatever else GDAL reads: one file with a CRS and a geotransform.

    Bands are grey, grey + alpha, RGB or RGB + alpha, unless the options name others. Nodata,
    alpha, masks and NaN count as no imagery; so does, where it is asked for, a border of one
    colour. Files that are placed by ground control points alone are warped by them.
    """

    @staticmethod
    def recognizes(path: Path) -> bool:
        """Whatever is no folder: GDAL reads hundreds of formats, and says what is wrong."""
        return not path.is_dir()

    def __init__(self, path: Path | str, options: SourceOptions) -> None:
        if options.tiles is not None:
            raise ConfigError(f'{path} is a raster file, for which the order of tiles is none')
        self.path = Path(path)
        self.stretch: tuple[tuple[float, float], ...] | None = None
        self._options = options
        self._collar: Collar | None = None
        self._file = open_raster(path)
        self._memory = MemoryFile(ext='.vrt')
        try:
            self._bands = choose_bands(self._file, options.bands)
            if needs_mask(self._file):
                with self._errors_naming():
                    self._file = mask_by_bands(self._file, self._memory)
        except Exception:
            self._file.close()
            raise
        self.crs: str = self._file.crs.to_string()
        self._crs = _wrapped_crs(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._memory.close()

    def prepare(self, region: Region, side_px: int) -> None:
        """Get ready to read a map of `side_px` pixels along the region's side."""
        self._plane = region.crs.to_wkt()
        self._transform = plane_transform(region, side_px)
        self._set_warp(region, side_px)
        sample = self._sample(region)
        self._find_collar(sample)
        if self._options.stretch is not None:
            low, high = map(float, self._options.stretch)
            self.stretch = ((low, high),) * len(self._bands)
        elif self._file.dtypes[self._bands[0] - 1] != 'uint8':
            covered = sample.covered
            if self._collar is not None:
                covered = covered & ~self._collar.flags
            self.stretch = tuple(_percentile_pair(band[covered]) for band in sample.colour)

    def _set_warp(self, region: Region, side_px: int) -> None:
        """What GDAL is told of the map."""
        with self._errors_naming():
            self._alpha_max = alpha_max(self._file)
        ratio = region.side_m / side_px / self.resolution_m(region)
        self._warp: dict[str, Any] = {
            'crs': self._plane,
            'width': side_px,
            'height': side_px,
            'transform': self._transform,
            'resampling': choose_resampling(ratio),
            'add_alpha': alpha_band(self._file) is None,
            'warp_mem_limit': 128,
            'UNIFIED_SRC_NODATA': 'YES',
            **_nodata(self._file),
        }
        if alpha_band(self._file):
            self._warp |= {'SRC_ALPHA_MAX': self._alpha_max, 'DST_ALPHA_MAX': self._alpha_max}
        if self._crs != self._file.crs:
            self._warp['src_crs'] = self._crs

    def _find_collar(self, sample: Sample) -> None:
        """Leave a collar out where that is asked for, else tell of it."""
        compression = self._file.compression
        lossy = compression is not None and compression.value.lower() in LOSSY
        collar = find_collar(sample, lossy)
        if collar is None:
            return
        if self._options.collar:
            self._collar = collar
            return
        log.warning(
            f'{self.path}: {collar.share:.0%} of its imagery is {collar.look} and reaches the '
            'border: no data? Build with --collar to leave it out'
        )

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """RGB uint8 (h, w, 3) and mask bool (h, w) of a window of the prepared map."""
        whole = '; is the file whole?'
        with self._errors_naming(whole), WarpedVRT(self._file, **self._warp) as vrt:
            alpha = vrt.colorinterp.index(ColorInterp.alpha) + 1
            values = vrt.read([*self._bands, alpha], window=window)
        colour, alpha = _white_is_high(self._file, values[:-1]), values[-1]
        # An alpha band that GDAL adds is full in its own way.
        added = FULL_ALPHA.get(alpha.dtype.name, 255.0)
        full = self._alpha_max if alpha_band(self._file) else added
        mask = (alpha > full / 2) & np.isfinite(colour).all(axis=0)
        if self._collar is not None:
            place = window_transform(window, self._transform)
            mask &= ~self._collar.within(place, self._plane, mask.shape)
        return _to_rgb(colour, mask, self.stretch), mask

    @contextmanager
    def _errors_naming(self, hint: str = '') -> Iterator[None]:
        try:
            # In rasterio's environment GDAL logs what it would print to the terminal itself.
            with rasterio.Env():
                yield
        except GDAL_ERRORS as error:
            raise MapError(f'{self.path} cannot be read: {one_line(error)}{hint}') from None

    def resolution_m(self, region: Region) -> float:
        """Metres per source pixel at the region's centre (geometric mean of both axes)."""
        pixel_area = abs(self._file.transform.determinant)
        return plane_resolution_m(region, self._crs) * math.sqrt(pixel_area)

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
        x, y = transform(region.crs.to_wkt(), self._crs, east_m, north_m)
        return _apply(~self._file.transform, np.array(x), np.array(y))

    def _sample(self, region: Region) -> Sample:
        """The part that the region covers, at SAMPLE_PX along a side or fewer."""
        along = np.linspace(-0.5, 0.5, 33) * region.side_m
        east, north = (g.ravel() for g in np.meshgrid(along, along))
        columns, rows = self._to_pixels(region, east, north)
        left, right = np.clip([columns.min(), columns.max()], 0, self._file.width)
        top, bottom = np.clip([rows.min(), rows.max()], 0, self._file.height)
        window = Window(left, top, max(right - left, 1), max(bottom - top, 1))
        shape = self._sample_shape(window)
        with self._errors_naming():
            colour = self._file.read(
                self._bands, window=window, out_shape=(len(self._bands), *shape)
            )
            if all(flags == [MaskFlags.all_valid] for flags in self._file.mask_flag_enums):
                covered = np.ones(shape, bool)  # GDAL would fill in blocks to say so
            else:
                covered = self._file.dataset_mask(window=window, out_shape=shape) > 0
            if (band := alpha_band(self._file)) is not None:
                alpha = self._file.read(band, window=window, out_shape=shape)
                covered &= alpha > self._alpha_max / 2
        scale = rasterio.Affine.scale(window.width / shape[1], window.height / shape[0])
        transform = window_transform(window, self._file.transform) @ scale
        covered &= np.isfinite(colour).all(axis=0)
        colour = _white_is_high(self._file, colour)
        return Sample(colour, covered, transform, self._crs)

    def _sample_shape(self, window: Window) -> tuple[int, int]:
        """Rows and columns of a sample of a window: fewer where without overviews too many pixels
        would be decoded for it, unless a collar is to be cut out along it."""
        sides = math.ceil(window.height), math.ceil(window.width)
        sample_px, blocks = SAMPLE_PX, self._file.block_shapes[0]
        while (
            sample_px > MIN_SAMPLE_PX
            and _decoded_px(sides, blocks, sample_px) > DECODED_PX
            and not (self._options.collar or self._file.overviews(1))
        ):
            sample_px //= 2
        rows, columns = (max(1, min(sample_px, side)) for side in sides)
        return rows, columns


def _decoded_px(sides: tuple[int, int], blocks: tuple[int, int], sample_px: int) -> int:
    """Pixels of the blocks that a sample touches."""
    return math.prod(
        min(side, sample_px * block) for side, block in zip(sides, blocks, strict=True)
    )


def _apply(affine: rasterio.Affine, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def choose_bands(file: DatasetReader, bands: Sequence[int] | None) -> list[int]:
    """Band numbers to read: one (grey) or three (red, green, blue), `bands` where they are given.

    Raises MapError where the file has no such bands.
    """
    if bands is not None:
        if len(bands) not in (1, 3) or not all(1 <= band <= file.count for band in bands):
            raise MapError(
                f'{file.name} has {file.count} bands and {tuple(bands)} were asked for; name one '
                f'or three of 1..{file.count}'
            )
        return list(bands)
    meaning = file.colorinterp
    if ColorInterp.palette in meaning and not _is_negative(file):
        raise MapError(
            f'{file.name} is paletted; expand it first: gdal_translate -expand rgb IN OUT'
        )
    rgb = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(colour in meaning for colour in rgb):
        return [meaning.index(colour) + 1 for colour in rgb]
    opaque = [band for band in range(1, file.count + 1) if meaning[band - 1] != ColorInterp.alpha]
    return opaque[:3] if len(opaque) >= 3 else opaque[:1]


def _is_negative(file: DatasetReader) -> bool:
    """Whether 0 is white, as in many scans (MINISWHITE); GDAL gives such values as they are."""
    return file.tags(ns='IMAGE_STRUCTURE').get('MINISWHITE') == 'YES'


def _white_is_high(file: DatasetReader, colour: np.ndarray) -> np.ndarray:
    """Bands in which 0 is black."""
    if not _is_negative(file) or not np.issubdtype(colour.dtype, np.unsignedinteger):
        return colour
    return np.iinfo(colour.dtype).max - colour


def _wrapped_crs(file: DatasetReader) -> CRS:
    """The coordinate reference system of a file; where its longitudes go beyond 180 degrees east
    or west, one that counts them about their middle."""
    left, _, right, _ = file.bounds
    if not file.crs.is_geographic or (left >= -180 and right <= 180):
        return file.crs
    return CRS.from_string(f'{file.crs.to_proj4()} +lon_wrap={(left + right) / 2}')


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
