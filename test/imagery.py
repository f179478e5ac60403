"""Synthetic imagery with known positions, for the tests of maps."""

from functools import cache

import numpy as np
import rasterio
from pyproj import CRS, Geod, Transformer
from rasterio.transform import Affine

GEOD = Geod(ellps='WGS84')
CENTER = (41.03, -83.2)
UTM = 'EPSG:32617'


def projected(crs, latitude, longitude):
    """Position in a CRS (x, y), by pyproj."""
    return Transformer.from_crs(4326, CRS.from_user_input(crs), always_xy=True).transform(
        longitude, latitude
    )


def enu_by_geodesic(latitude, longitude, center=CENTER):
    """Metres east and north of the centre, by the geodesic."""
    azimuth, _, distance = GEOD.inv(center[1], center[0], longitude, latitude)
    return distance * np.sin(np.radians(azimuth)), distance * np.cos(np.radians(azimuth))


def latlon_at(east_m, north_m, center=CENTER):
    """Latitude and longitude of a point east and north of the centre, by the geodesic."""
    azimuth = np.degrees(np.arctan2(east_m, north_m))
    lon, lat, _ = GEOD.fwd(center[1], center[0], azimuth, np.hypot(east_m, north_m))
    return lat, lon


def grid_round(center, crs=UTM, size_px=800, pixel=0.5, angle_deg=0.0):
    """Affine of a square image of `size_px` pixels round a position, perhaps rotated."""
    x, y = projected(crs, *center)
    middle = Affine.translation(-size_px / 2, -size_px / 2)
    return (
        Affine.translation(x, y)
        @ Affine.rotation(angle_deg)
        @ Affine.scale(pixel, -pixel)
        @ middle
    )


def write_raster(path, bands, transform, crs=UTM, mask=None, driver='GTiff', **options):
    """Write (bands, h, w) to a file; `mask` becomes an internal mask."""
    count, height, width = bands.shape
    profile = {'width': width, 'height': height, 'count': count, 'dtype': bands.dtype.name}
    georeference = {'crs': crs, 'transform': transform}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, 'w', driver=driver, **profile, **georeference, **options) as file,
    ):
        file.write(bands)
        if mask is not None:
            file.write_mask(mask)
    return path


def texture(size_px=800, bands=3, seed=0):
    """uint8 (bands, h, w): smooth blobs and some sharp edges, like a town from above."""
    return made_texture(size_px, bands, seed).copy()


@cache
def made_texture(size_px, bands, seed):
    generator = np.random.default_rng(seed)
    image = np.zeros((bands, size_px, size_px))
    for cell in (4, 16, 64):
        coarse = generator.uniform(0, 85, (bands, size_px // cell + 1, size_px // cell + 1))
        image += np.kron(coarse, np.ones((cell, cell)))[:, :size_px, :size_px]
    return image.astype(np.uint8)


def spot(transform, crs, latitude, longitude, size_px=800, radius_px=6.0):
    """uint8 (3, h, w): a bright soft spot on black whose centre is a position."""
    x, y = projected(crs, latitude, longitude)
    column, row = rasterio.transform.AffineTransformer(transform).rowcol(x, y, op=float)[::-1]
    y, x = np.indices((size_px, size_px)) + 0.5
    bright = 255 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * radius_px**2))
    return np.repeat(np.rint(bright).astype(np.uint8)[None], 3, axis=0)


def centroid(image):
    """Column and row (pixel corners at whole numbers) of the brightness of uint8 (h, w, 3)."""
    weight = image[..., 0].astype(float)
    y, x = np.indices(weight.shape) + 0.5
    return (x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum()
