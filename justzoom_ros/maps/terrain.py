"""The height of the ground of a map, from a raster of heights, with its error.

`justzoom map terrain` samples any raster that GDAL reads onto a grid over the map's region and
keeps it in the map's folder. Heights of such rasters are mostly above the sea; fixes want them
above the ellipsoid, which is higher or lower by tens of metres: the undulation of the geoid.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import from_bounds
from rasterio.warp import reproject

from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.files import writing
from justzoom_ros.maps.map_file import GDAL_ERRORS, one_line
from justzoom_ros.maps.raster_file import open_raster
from justzoom_ros.region import Region

TERRAIN_NAME = 'terrain.tif'
"""The heights of a map's ground lie in the map's folder under this name."""

MAX_CELLS = 2048
"""Along a side of the grid at most."""

STD_TAG, MAP_TAG = 'JUSTZOOM_STD_M', 'JUSTZOOM_MAP'


@dataclass(frozen=True)
class Terrain:
    """Heights on a grid over a region."""

    region: Region
    """The square that it covers."""

    heights_m: np.ndarray
    """float32 (n, n), metres above the WGS84 ellipsoid, row 0 in the north; NaN where there is
    none."""

    std_m: float
    """Standard deviation of the heights, metres."""

    def altitude(
        self, east_m: float, north_m: float, covariance_m2: np.ndarray
    ) -> tuple[float, float] | None:
        """Height of the ground at a position and its standard deviation, metres, which grows with
        the slope there and the position's covariance (2, 2); None where there is no height."""
        cell_m = self.region.side_m / len(self.heights_m)
        height_m = self._height(east_m, north_m)
        if not math.isfinite(height_m):
            return None
        rise_m = [
            self._height(east_m + dx, north_m + dy) - self._height(east_m - dx, north_m - dy)
            for dx, dy in ((cell_m, 0.0), (0.0, cell_m))
        ]
        slope = np.nan_to_num(np.array(rise_m) / (2 * cell_m))
        return height_m, math.sqrt(self.std_m**2 + slope @ covariance_m2 @ slope)

    def _height(self, east_m: float, north_m: float) -> float:
        """Bilinear between the cells' centres; NaN beyond the grid and beside cells without."""
        n, half = len(self.heights_m), self.region.side_m / 2
        if max(abs(east_m), abs(north_m)) > half:
            return math.nan
        cell_m = self.region.side_m / n
        row, column = ((np.array([half - north_m, east_m + half]) / cell_m) - 0.5).clip(0, n - 1)
        top, left = (min(int(each), max(n - 2, 0)) for each in (row, column))
        part = self.heights_m[top : top + 2, left : left + 2].astype(float)
        south, east = row - top, column - left
        weights = np.outer([1 - south, south][: len(part)], [1 - east, east][: part.shape[1]])
        return float((part * weights)[weights > 0].sum())


def build_terrain(
    source: str | Path, region: Region, std_m: float, geoid_m: float = 0.0
) -> Terrain:
    """The `Terrain` of a region from the first band of a raster of heights in metres. `geoid_m`:
    what is added to them, the height of the geoid above the ellipsoid there, where they are above
    the sea. Raises MapError for a raster that cannot be read or does not touch the region,
    ConfigError for numbers out of range."""
    if not (math.isfinite(std_m) and std_m > 0 and math.isfinite(geoid_m)):
        raise ConfigError(f'the deviation of heights is {std_m:g}; it must be greater than 0')
    with open_raster(source) as file:
        cells = _cells(file, region)
        heights = np.full((cells, cells), np.nan, np.float32)
        half = region.side_m / 2
        try:
            reproject(
                rasterio.band(file, 1),
                heights,
                dst_transform=from_bounds(-half, -half, half, half, cells, cells),
                dst_crs=region.crs,
                dst_nodata=np.nan,
                resampling=Resampling.bilinear,
            )
        except GDAL_ERRORS as error:
            raise MapError(f'{source} cannot be sampled: {one_line(error)}') from None
    if not np.isfinite(heights).any():
        raise MapError(f'{source} has no heights where the map is')
    return Terrain(region, heights + np.float32(geoid_m), std_m)


def _cells(file: rasterio.io.DatasetReader, region: Region) -> int:
    """Cells along a side: about as fine as the raster."""
    step_m = abs(file.res[0]) * (111_000.0 if file.crs.is_geographic else 1.0)
    return int(np.clip(round(region.side_m / max(step_m, 1e-3)), 2, MAX_CELLS))


def write_terrain(folder: str | Path, checksum: str, terrain: Terrain) -> None:
    """Keep heights in a map's folder; the `checksum` says of which map. Raises OutputError."""
    n, half = len(terrain.heights_m), terrain.region.side_m / 2
    profile = {
        'driver': 'GTiff',
        'width': n,
        'height': n,
        'count': 1,
        'dtype': 'float32',
        'crs': terrain.region.crs,
        'transform': from_bounds(-half, -half, half, half, n, n),
        'nodata': np.nan,
        'compress': 'deflate',
    }
    with (
        writing(Path(folder) / TERRAIN_NAME) as path,
        rasterio.open(path, 'w', **profile) as file,
    ):
        file.write(terrain.heights_m, 1)
        file.update_tags(**{STD_TAG: repr(terrain.std_m), MAP_TAG: checksum})


def read_terrain(folder: str | Path, region: Region, checksum: str) -> Terrain | None:
    """The heights in a map's folder, None where there are none. Raises MapError for a file that
    is damaged or of another map."""
    path = Path(folder) / TERRAIN_NAME
    if not path.is_file():
        return None
    try:
        with rasterio.open(path) as file:
            heights, tags = file.read(1), file.tags()
        std_m = float(tags[STD_TAG])
    except (*GDAL_ERRORS, KeyError, ValueError) as error:
        raise MapError(f'{path} cannot be used ({one_line(error)}); {_AGAIN}') from None
    if tags.get(MAP_TAG) != checksum or heights.shape[0] != heights.shape[1]:
        raise MapError(f'{path} is of another map; {_AGAIN}')
    return Terrain(region, heights, std_m)


_AGAIN = 'remove it, or make it again with `justzoom map terrain`'
