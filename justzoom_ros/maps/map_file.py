"""A map on disk: a folder with `map.yaml`, what it is, and `map.tif`, its imagery.

`map.tif` is a GeoTIFF in the region's plane, north up, RGB with an internal mask; cell borders
fall on pixel borders. `map.yaml` is the authority on the region, and its checksum binds the two.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from rasterio._err import CPLE_BaseError
from rasterio.windows import Window

from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.region import Region

GDAL_ERRORS = (rasterio.errors.RasterioError, CPLE_BaseError)
"""What rasterio raises: some calls let GDAL's own errors through, which share no public base."""
FORMAT = 1
YAML_NAME = 'map.yaml'
TIF_NAME = 'map.tif'
ADAPTED_NAME = 'registration.safetensors'
"""A registration network that was adapted to a map lies in the map's folder under this name."""
LAYERS_NAME = 'layers'
"""Further pictures of a map's place lie in this folder of it, each a map folder."""

MAX_SIDE_PX = 65_536
"""A side of this many pixels takes 17 GB of memory."""

HEADER = """\
# A map for justzoom_ros; map.tif beside it holds the imagery. Made by `justzoom map build`.
# Do not edit: the checksum covers both files.
"""


@dataclass(frozen=True)
class MapInfo:
    """What `map.yaml` says of a map."""

    region: Region
    """The square of the earth that it shows, with its zoom tree."""

    side_px: int
    """Pixels along a side at full resolution."""

    crop_px: int
    """Pixels along a side of a crop unless another number is asked for."""

    coverage: float
    """Share of the region that has imagery, above 0 to 1."""

    fill_rgb: tuple[int, int, int]
    """Colour of the pixels without imagery, each 0..255: the mean of the others."""

    source: str
    """Name of the file or folder of the imagery that the map was built from."""

    source_crs: str
    """Coordinate reference system of that imagery, in a form that pyproj reads."""

    stretch: tuple[tuple[float, float], ...] | None
    """The (low, high) of each source band that became 0 and 255; None where it was 8 bit."""

    attribution: str
    """Licence or credit to show with the map."""

    compression: str
    """How map.tif is compressed: 'deflate' or 'jpeg'."""

    checksum: str
    """Hex sha256 over region, fill colour and the bytes of map.tif."""

    @property
    def resolution_m(self) -> float:
        """Side of a pixel at full resolution in metres."""
        return self.region.side_m / self.side_px

    @property
    def cell_px(self) -> int:
        """Pixels along a side of a terminal cell."""
        return self.side_px // self.region.grid**self.region.depth


def write_info(folder: str | Path, info: MapInfo) -> None:
    """Write `map.yaml` into a folder."""
    values = asdict(info)
    values['fill_rgb'] = list(info.fill_rgb)
    values['stretch'] = None if info.stretch is None else [list(pair) for pair in info.stretch]
    text = yaml.safe_dump(
        {'format': FORMAT, **values, 'resolution_m': info.resolution_m},
        sort_keys=False,
        allow_unicode=True,
    )
    (Path(folder) / YAML_NAME).write_text(HEADER + text, encoding='utf-8')


def read_info(folder: str | Path) -> MapInfo:
    """The `MapInfo` of a map folder. Raises MapError where it is missing, unreadable or wrong."""
    folder = Path(folder)
    path = folder / YAML_NAME
    if not folder.is_dir():
        raise MapError(f'{folder} is not a folder; give the folder made by `justzoom map build`')
    if path.is_fifo():
        raise MapError(f'{path} is a pipe and no file; {_AGAIN}')
    try:
        values = yaml.safe_load(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise MapError(f'{folder} is not a map: it holds no {YAML_NAME}') from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MapError(f'{path} cannot be read: {one_line(error)}; build the map again') from None
    if not isinstance(values, dict):
        raise MapError(f'{path} is empty or holds no keys and values; build the map again')
    if values.get('format') != FORMAT:
        raise MapError(
            f'{path} has format {values.get("format")!r} and this version reads {FORMAT}; '
            'build the map again'
        )
    return _info_from(path, values)


def checksum(region: Region, fill_rgb: tuple[int, int, int], tif_path: Path) -> str:
    """Hex sha256 of everything that a crop depends on. Raises MapError for an unreadable file."""
    digest = hashlib.sha256()
    key = {'format': FORMAT, 'region': asdict(region), 'fill_rgb': list(map(int, fill_rgb))}
    digest.update(json.dumps(key, sort_keys=True).encode())
    try:
        with open(tif_path, 'rb') as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise MapError(f'{tif_path} cannot be read: {one_line(error)}') from None
    return digest.hexdigest()


def read_map(path: str | Path) -> tuple[MapInfo, np.ndarray, np.ndarray]:
    """(MapInfo, pixels uint8 (side_px, side_px, 3) RGB, mask bool (side_px, side_px)) of a map
    folder. Pixels without imagery have the map's mean colour.

    Raises MapError where the folder or a file of it is missing, damaged, or was changed after it
    was built.
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
    return info, pixels, mask


def read_imagery(path: Path, side_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 (side_px, side_px, 3) and mask bool (side_px, side_px) of a `map.tif`.

    Raises MapError where the file is not what `maps.build` writes.
    """
    pixels = np.empty((side_px, side_px, 3), np.uint8)
    mask = np.empty((side_px, side_px), bool)
    try:
        with rasterio.open(path, num_threads='all_cpus') as file:
            if (file.width, file.height, file.count) != (side_px, side_px, 3):
                raise MapError(
                    f'{path} is {file.width} x {file.height} pixels with {file.count} bands and '
                    f'{YAML_NAME} says {side_px} x {side_px} with 3; build the map again'
                )
            for top in range(0, side_px, 1024):
                rows = slice(top, min(top + 1024, side_px))
                window = Window(0, top, side_px, rows.stop - top)
                pixels[rows] = file.read(window=window).transpose(1, 2, 0)
                mask[rows] = file.dataset_mask(window=window) > 0
    except GDAL_ERRORS as error:
        raise MapError(f'{path} cannot be read: {one_line(error)}; build the map again') from None
    return pixels, mask


# --- validation of map.yaml --------------------------------------------------------------------

_AGAIN = 'build the map again'


def _info_from(path: Path, values: dict[str, Any]) -> MapInfo:
    try:
        region = Region(**_value(path, values, 'region', dict))
    except (ConfigError, TypeError) as error:
        raise MapError(f'{path}: region is wrong: {one_line(error)}; {_AGAIN}') from None
    types = {'side_px': int, 'crop_px': int, 'coverage': float, 'fill_rgb': list}
    kept = {f.name: _value(path, values, f.name, types.get(f.name, str)) for f in fields(MapInfo)
            if f.name not in ('region', 'stretch')}  # fmt: skip
    cells = region.grid**region.depth
    _require(path, 'side_px', 0 < kept['side_px'] <= MAX_SIDE_PX, kept)
    _require(path, 'side_px', kept['side_px'] % cells == 0, kept)
    _require(path, 'crop_px', 1 <= kept['crop_px'] <= 4096, kept)
    _require(path, 'coverage', 0.0 < kept['coverage'] <= 1.0, kept)
    colour = kept['fill_rgb'] = tuple(kept['fill_rgb'])
    whole = all(type(c) is int and 0 <= c <= 255 for c in colour)
    _require(path, 'fill_rgb', len(colour) == 3 and whole, kept)
    return MapInfo(region=region, stretch=_stretch_from(path, values.get('stretch')), **kept)


def _value(path: Path, values: dict[str, Any], name: str, kind: type) -> Any:
    value = values.get(name)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise MapError(f'{path}: {name} is {value!r}; it must be a {kind.__name__}; {_AGAIN}')
    return value


def _stretch_from(path: Path, value: Any) -> tuple[tuple[float, float], ...] | None:
    if value is None:
        return None
    try:
        pairs = tuple((float(low), float(high)) for low, high in value)
    except (TypeError, ValueError):
        raise MapError(
            f'{path}: stretch is {value!r}; it must be pairs of numbers; {_AGAIN}'
        ) from None
    if not all(math.isfinite(low) and low < high < math.inf for low, high in pairs):
        raise MapError(f'{path}: stretch is {value!r}; each pair must be low, high; {_AGAIN}')
    return pairs


def _require(path: Path, name: str, good: bool, values: dict[str, Any]) -> None:
    if not good:
        raise MapError(f'{path}: {name} is {values[name]!r}, which is impossible; {_AGAIN}')


def one_line(error: Exception) -> str:
    """What an error says, or GDAL where rasterio only points there, without line breaks."""
    cause = error.__cause__ or error.__context__
    if 'previous exception' in str(error) and cause is not None:
        return ' '.join(str(cause).split())
    return ' '.join(str(error).split())
