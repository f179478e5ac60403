"""A region's plane as imagery needs it: pixels of a map, and how fine a projection is there."""

import math

import rasterio
from rasterio.enums import Resampling
from rasterio.warp import transform

from justzoom_ros.errors import MapError
from justzoom_ros.maps.map_file import GDAL_ERRORS
from justzoom_ros.region import Region

WGS84 = 'OGC:CRS84'
AVERAGE_FROM = 2.0
"""Source pixels per map pixel from which on the area average is taken; below, cubic."""


def plane_transform(region: Region, side_px: int) -> rasterio.Affine:
    """Affine from map pixels (column, row) to metres east and north of the region's centre."""
    size_m, half = region.side_m / side_px, region.side_m / 2
    return rasterio.Affine(size_m, 0.0, -half, 0.0, -size_m, half)


def plane_resolution_m(region: Region, crs: str) -> float:
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


def choose_resampling(source_pixels_per_pixel: float) -> Resampling:
    """Area average where a map pixel holds several source pixels, else cubic."""
    if source_pixels_per_pixel >= AVERAGE_FROM:
        return Resampling.average
    return Resampling.cubic
