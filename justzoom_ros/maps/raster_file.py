"""Opening a raster file that has, or can be given, a place on earth."""

import math
import re
from pathlib import Path

from rasterio import open as open_dataset
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform

from justzoom_ros.errors import MapError
from justzoom_ros.maps.map_file import GDAL_ERRORS, one_line
from justzoom_ros.maps.plane import WGS84
from justzoom_ros.maps.source import is_gdal_name

MAX_LISTED = 5
MIN_GCPS = 3
MIN_PIXEL_M = 1e-3
MAX_LATITUDE, MAX_LONGITUDE = 91.0, 721.0
"""Degrees beyond which numbers are none: rasters of the whole earth may overlap its edges."""

_RENAME = (
    'give it the right one, for instance with `gdal_edit.py -a_srs EPSG:32633 FILE` if it is in '
    'UTM zone 33 north'
)


def open_raster(path: Path | str) -> DatasetReader:
    """Open a file, or what GDAL knows by a name. Raises MapError where GDAL cannot, or where it
    has no place on earth, and says what to do."""
    if not is_gdal_name(str(path)) and not Path(path).exists():
        raise MapError(f'{path} does not exist')
    try:
        file = open_dataset(str(path))
    except (*GDAL_ERRORS, UnicodeDecodeError) as error:  # the latter of damaged names of a CRS
        raise MapError(
            f'{path} is no raster that GDAL can read, or is damaged: {one_line(error)}'
        ) from None
    try:
        _check_values(file)
        if file.crs is None and file.gcps[0]:
            file = _warp_by_gcps(file)
        _check_georeferenced(file)
    except Exception:
        file.close()
        raise
    return file


def check_raster(file: DatasetReader) -> None:
    """Raises MapError where a file has no picture in it or no place on earth."""
    _check_values(file)
    _check_georeferenced(file)


def _check_values(file: DatasetReader) -> None:
    if not file.count and file.subdatasets:
        listed = ', '.join(file.subdatasets[:MAX_LISTED])
        more = len(file.subdatasets) - MAX_LISTED
        raise MapError(
            f'{file.name} is a container of several rasters; give one of them: {listed}'
            + (f' and {more} more (gdalinfo lists them)' if more > 0 else '')
        )
    if not file.count:
        raise MapError(f'{file.name} has no bands')
    if any(kind.startswith('complex') for kind in file.dtypes):
        raise MapError(
            f'{file.name} holds complex numbers, as of radar, and no picture; make one of their '
            'amplitude first'
        )


def _warp_by_gcps(file: DatasetReader) -> WarpedVRT:
    """The file as its ground control points place it, in their projection."""
    points, crs = file.gcps
    if crs is None or len(points) < MIN_GCPS:
        raise MapError(
            f'{file.name} has {len(points)} ground control points in {crs or "no projection"}; it '
            f'takes {MIN_GCPS} in a projection that is named: gdal_translate -gcp ... -a_srs ...'
        )
    alpha = ColorInterp.alpha not in file.colorinterp
    try:
        return WarpedVRT(file, src_crs=file.gcps[1], crs=file.gcps[1], add_alpha=alpha)
    except GDAL_ERRORS as error:
        raise MapError(
            f'{file.name} cannot be placed by its ground control points: {one_line(error)}'
        ) from None


def _check_georeferenced(file: DatasetReader) -> None:
    if file.crs is None and file.rpcs is not None:
        raise MapError(
            f'{file.name} is placed by rational polynomials (RPC) alone, which need the height '
            'of the ground; orthorectify it first: gdalwarp -rpc -to RPC_DEM=DEM.tif -t_srs '
            'EPSG:4326 IN OUT'
        )
    if file.crs is None:
        raise MapError(
            f'{file.name} has no coordinate reference system, or none whose name is known; '
            + _RENAME
        )
    if file.transform.is_identity:
        raise MapError(
            f'{file.name} has no geotransform, so its pixels have no place on earth; georeference '
            'it, for instance with the Georeferencer of QGIS'
        )
    _check_transform(file)
    _check_crs(file)


def _check_transform(file: DatasetReader) -> None:
    area = file.transform.determinant
    if not (all(map(math.isfinite, file.transform)) and area):
        raise MapError(
            f'{file.name} has a geotransform in which pixels have no area; georeference it anew, '
            'for instance with gdal_translate -a_ullr'
        )
    if file.crs.is_projected and abs(area) < MIN_PIXEL_M**2:
        raise MapError(
            f'{file.name} has pixels of {math.sqrt(abs(area)):.2g} m: its numbers seem to be '
            f'degrees and not those of {_name_of(file.crs)}; if so, `gdal_edit.py -a_srs '
            'EPSG:4326 FILE`'
        )


def _check_crs(file: DatasetReader) -> None:
    """Raises MapError where a file's place has no latitude and longitude."""
    name = _name_of(file.crs)
    if not (file.crs.is_geographic or file.crs.is_projected):
        raise MapError(
            f'{file.name} has the coordinate reference system {name}, which is neither latitude '
            f'and longitude nor a projection of the earth; {_RENAME}'
        )
    try:
        transform(file.crs, WGS84, [file.transform.c], [file.transform.f])
    except GDAL_ERRORS:
        raise MapError(
            f'{file.name} has the coordinate reference system {name}, which cannot be turned into '
            f'latitude and longitude; {_RENAME}'
        ) from None
    if file.crs.is_geographic:
        _check_degrees(file, name)


def _check_degrees(file: DatasetReader, name: str) -> None:
    ends = [(0, 0), (file.width, 0), (0, file.height), (file.width, file.height)]
    longitudes, latitudes = zip(*(file.transform @ end for end in ends), strict=True)
    if max(map(abs, latitudes)) > MAX_LATITUDE or max(map(abs, longitudes)) > MAX_LONGITUDE:
        raise MapError(
            f'{file.name} has a corner at latitude {latitudes[0]:g}, longitude '
            f'{longitudes[0]:g}: its numbers are not the degrees of {name}; {_RENAME}'
        )


def _name_of(crs: CRS) -> str:
    """What people call a coordinate reference system."""
    quoted = re.match(r'\w+\["([^"]+)"', crs.to_wkt())
    return f"'{quoted[1]}'" if quoted else crs.to_string()
