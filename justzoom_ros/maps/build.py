"""From imagery to a map folder.

The source is warped window by window into the region's plane, so memory stays small whatever the
size, and everything happens in a hidden folder beside the result, which is read back and checked
before it gets its name: a build that fails or is interrupted leaves nothing behind.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.io import DatasetWriter
from rasterio.windows import Window
from tqdm import tqdm

from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.files import remove_leftovers, writing
from justzoom_ros.maps.map_file import (
    ADAPTED_NAME,
    GDAL_ERRORS,
    LAYERS_NAME,
    MAX_SIDE_PX,
    TIF_NAME,
    YAML_NAME,
    MapInfo,
    checksum,
    one_line,
    read_map,
    write_info,
)
from justzoom_ros.maps.map_offset import OFFSET_NAME
from justzoom_ros.maps.plane import plane_transform
from justzoom_ros.maps.servers.address import hide, is_remote
from justzoom_ros.maps.servers.options import ServerOptions
from justzoom_ros.maps.servers.presets import find_preset
from justzoom_ros.maps.source import MapSource, SourceOptions, open_source
from justzoom_ros.region import Region

WINDOW_PX = 1024
BLOCK_PX = 256
MAP_BYTES_PER_PX = 16 / 3
"""Three colours and the mask, and a third as much again for the reduced layers."""

DEFAULT_CROP_PX = 96
MAP_ENTRIES = {
    YAML_NAME,
    TIF_NAME,
    f'{TIF_NAME}.aux.xml',
    'embeddings',
    ADAPTED_NAME,
    LAYERS_NAME,
    OFFSET_NAME,
}
"""What may be deleted with a map: its files, statistics left by a GIS, a cache made from it, a
network adapted to it, its layers, the offset that was measured of it."""
COMPRESSIONS = {
    # Lossless, and every program that reads GeoTIFF knows it.
    'deflate': {'compress': 'deflate', 'predictor': 2, 'zlevel': 6},
    'jpeg': {'compress': 'jpeg', 'photometric': 'ycbcr', 'jpeg_quality': 90},
}


def build(
    source: str | Path,
    region: Region,
    out: str | Path,
    crop_px: int = DEFAULT_CROP_PX,
    resolution_m: float | None = None,
    compression: str = 'deflate',
    attribution: str = '',
    bands: Sequence[int] | None = None,
    stretch: Sequence[float] | None = None,
    tiles: str | None = None,
    collar: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    server: ServerOptions | None = None,
) -> tuple[MapInfo, np.ndarray, np.ndarray]:
    """Make the map folder `out` of `region` from imagery; returns what `map_file.read_map` reads
    from it.

    `source` is a path that one of MAP_SOURCES recognizes. A crop of a cell of level depth - 1, the
    finest that a policy looks at, has `crop_px` pixels at full resolution unless the source is
    coarser; `resolution_m` (metres per pixel) asks for another. `compression` is 'deflate'
    (lossless) or 'jpeg', `attribution` a text to show with the map, `bands`, `stretch`,
    `tiles`, `collar` and `server` as in `SourceOptions`. An existing map is only replaced with
    `overwrite`.

    Raises ConfigError for wrong options, MapError for a source or folder that cannot be used and
    OutputError where the disk is full or cannot be written to.
    """
    region = _with_plain_numbers(region)
    _check_options(crop_px, resolution_m, compression)
    options = replace(
        _source_options(bands, stretch, tiles, collar), server=server or ServerOptions()
    )
    attribution = credit(str(source), attribution)
    out = Path(out)
    _check_target(out, overwrite)
    remove_leftovers(out.parent)
    with open_source(source, options) as imagery:
        _check_overlap(imagery, region)
        side_px = choose_side_px(region, imagery.resolution_m(region), crop_px, resolution_m)
        check_memory(side_px)
        imagery.prepare(region, side_px)
        with writing(out) as folder:
            folder.mkdir()
            covered, mean_rgb = _write_tif(
                folder / TIF_NAME, imagery, region, side_px, compression, progress
            )
            red, green, blue = (int(c) for c in np.rint(mean_rgb))
            fill_rgb = red, green, blue
            info = MapInfo(
                region=region,
                side_px=side_px,
                crop_px=int(crop_px),
                coverage=covered / side_px**2,
                fill_rgb=fill_rgb,
                source=imagery.path.name if isinstance(imagery.path, Path) else imagery.path,
                source_crs=imagery.crs,
                stretch=imagery.stretch,
                attribution=attribution,
                compression=compression,
                checksum=checksum(region, fill_rgb, folder / TIF_NAME),
            )
            write_info(folder, info)
            built = _read_back(folder, info, covered, mean_rgb)
    return built


def choose_side_px(
    region: Region,
    source_resolution_m: float,
    crop_px: int,
    resolution_m: float | None = None,
) -> int:
    """Pixels along the region's side at full resolution: a whole number per terminal cell.

    Raises ConfigError where that would be a map too large to hold in memory.
    """
    if resolution_m is None:
        wanted = math.ceil(crop_px / region.grid)
        # The scale of a projection must not make a pixel more of 10.001.
        finest = math.ceil(0.99 * region.terminal_side_m / source_resolution_m)
        cell_px = max(1, min(wanted, finest))
    else:
        cell_px = max(1, round(region.terminal_side_m / resolution_m))
    side_px = cell_px * region.grid**region.depth
    if side_px > MAX_SIDE_PX:
        raise ConfigError(
            f'the map would have {side_px} pixels along a side ({cell_px} per terminal cell of '
            f'{region.terminal_side_m:g} m) and at most {MAX_SIDE_PX} can be held in memory; '
            'choose a smaller depth, grid, crop_px or a coarser resolution'
        )
    return side_px


def check_memory(side_px: int) -> None:
    """Raise ConfigError where a map of so many pixels along a side does not fit into the memory
    that is free: a map is held whole, and read back when it is built."""
    needed, free = MAP_BYTES_PER_PX * side_px**2, _free_memory_bytes()
    if free is not None and needed > free:
        raise ConfigError(
            f'the map would have {side_px} pixels along a side and take {needed / 1e9:.1f} GB of '
            f'memory, of which {free / 1e9:.1f} GB are free; choose a smaller --side, --depth or '
            'a coarser --resolution'
        )


def _free_memory_bytes() -> int | None:
    """Memory that programs may still take; None where the system does not say."""
    try:
        text = Path('/proc/meminfo').read_text()
        return 1024 * int(text.split('MemAvailable:')[1].split()[0])
    except (OSError, IndexError, ValueError):
        return None


def enclosing_region(
    source: MapSource, grid: int = 4, depth: int = 4, plane: str = 'wgs84'
) -> Region:
    """The smallest square region that holds a source, side rounded up to a whole metre."""
    lat, lon = (values[np.isfinite(values)] for values in source.outline())
    # Longitudes as offsets of the first point, so that the antimeridian does not split them.
    lon = lon[0] + (lon - lon[0] + 180.0) % 360.0 - 180.0
    region = Region(*_middle(lat, lon), 1.0, grid, depth, plane)
    for _ in range(3):
        east, north = region.to_enu(*source.outline())
        middle = [float(np.nanmin(v) + np.nanmax(v)) / 2 for v in (east, north)]
        side_m = math.ceil(max(np.ptp(east), np.ptp(north)))
        region = Region(*region.to_latlon(*middle), float(side_m), grid, depth, plane)
    return region


def _middle(lat: np.ndarray, lon: np.ndarray) -> tuple[float, float]:
    middle = (lon.min() + lon.max()) / 2
    return float((lat.min() + lat.max()) / 2), float((middle + 180.0) % 360.0 - 180.0)


def _with_plain_numbers(region: Region) -> Region:
    """The region without numpy's numbers, which YAML and JSON do not know."""
    return Region(
        float(region.latitude),
        float(region.longitude),
        float(region.side_m),
        int(region.grid),
        int(region.depth),
        region.plane,
    )


# --- checks ------------------------------------------------------------------------------------


def _check_options(crop_px: int, resolution_m: float | None, compression: str) -> None:
    if not (isinstance(crop_px, (int, np.integer)) and 8 <= crop_px <= 4096):
        raise ConfigError(f'crop_px is {crop_px!r}; it must be a whole number in 8..4096')
    if resolution_m is not None and not 1e-3 <= resolution_m <= 1e5:
        raise ConfigError(f'resolution_m is {resolution_m!r}; it must be in 0.001..100000')
    if compression not in COMPRESSIONS:
        known = ', '.join(COMPRESSIONS)
        raise ConfigError(f'compression is {compression!r}; it must be one of {known}')


def _source_options(
    bands: Sequence[int] | None,
    stretch: Sequence[float] | None,
    tiles: str | None,
    collar: bool,
) -> SourceOptions:
    chosen = None if bands is None else tuple(bands)
    if stretch is None:
        return SourceOptions(chosen, None, tiles, collar)
    if not (len(stretch) == 2 and -math.inf < stretch[0] < stretch[1] < math.inf):
        raise ConfigError(f'stretch is {tuple(stretch)}; it must be two numbers, low < high')
    return SourceOptions(chosen, (stretch[0], stretch[1]), tiles, collar)


def credit(source: str, attribution: str = '') -> str:
    """The attribution of imagery: as it is given, else that of a preset. Raises ConfigError where
    imagery of a server comes without a word on whose it is."""
    if not attribution.strip() and (preset := find_preset(source)):
        return preset.attribution
    if is_remote(source) and not attribution.strip():
        raise ConfigError(
            f'{hide(source)} is a server: say whose imagery it is and under which licence, as '
            "its terms of use ask for it, with --attribution 'TEXT'"
        )
    return attribution


def _check_target(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / YAML_NAME).is_file():
        raise MapError(f'{out} exists and is not a map; choose another place for the map')
    if not overwrite:
        raise MapError(f'{out} is a map already; choose another place or ask for --overwrite')
    if foreign := {path.name for path in out.iterdir()} - MAP_ENTRIES:
        raise MapError(
            f'{out} also holds {", ".join(sorted(foreign))}, which would be deleted with the old '
            'map; move that away first'
        )


def _check_overlap(imagery: MapSource, region: Region) -> None:
    if imagery.overlaps(region):
        return
    lat, lon = (np.nanmean(values) for values in imagery.outline())
    raise MapError(
        f'{imagery.path} does not overlap the region, a square of {region.side_m:g} m round '
        f'{region.latitude:.6f}, {region.longitude:.6f}; the imagery is round {lat:.6f}, {lon:.6f}'
    )


# --- writing -----------------------------------------------------------------------------------


def _write_tif(
    path: Path,
    imagery: MapSource,
    region: Region,
    side_px: int,
    compression: str,
    progress: bool,
) -> tuple[int, np.ndarray]:
    """Write `map.tif`; returns the number of covered pixels and their mean colour.

    Raises OSError where GDAL cannot write.
    """
    profile = {
        'driver': 'GTiff',
        'width': side_px,
        'height': side_px,
        'count': 3,
        'dtype': 'uint8',
        'crs': region.crs.to_wkt(),
        'transform': plane_transform(region, side_px),
        'tiled': True,
        'blockxsize': BLOCK_PX,
        'blockysize': BLOCK_PX,
        'interleave': 'pixel',
        'bigtiff': 'if_safer',
        'num_threads': 'all_cpus',
        **COMPRESSIONS[compression],
    }
    windows = tqdm(_windows(side_px), desc='map', unit='window', disable=not progress)
    try:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            with rasterio.open(path, 'w', **profile) as file:
                covered, sums = _write_windows(file, imagery, windows)
            with rasterio.open(path, 'r+') as file:
                file.build_overviews(_overview_factors(side_px), Resampling.average)
    # TypeError is what rasterio says where the file that it opens again cannot be read.
    except (*GDAL_ERRORS, TypeError) as error:
        raise OSError(f'is the disk full? {one_line(error)}') from None
    return covered, sums / covered


def _write_windows(
    file: DatasetWriter, imagery: MapSource, windows: Iterable[Window]
) -> tuple[int, np.ndarray]:
    """Write pixels and mask; returns how many pixels are covered and the sums of their colours."""
    covered, sums = 0, np.zeros(3)
    for window in windows:
        rgb, mask = imagery.read(window)
        if count := int(np.count_nonzero(mask)):
            mean_rgb = _mean_rgb(rgb, mask)
            # A neutral colour under the mask: jpeg would smear a hard edge into the imagery.
            rgb[~mask] = np.rint(mean_rgb)
            covered, sums = covered + count, sums + count * mean_rgb
        file.write(rgb.transpose(2, 0, 1), window=window)
        file.write_mask(mask, window=window)
    if not covered:
        raise MapError(f'{imagery.path} has no imagery within the region: all of it is masked')
    return covered, sums


def _mean_rgb(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean colour of the covered pixels, float64 (3,)."""
    return np.array(cv2.mean(rgb, mask.view(np.uint8))[:3])


def _read_back(
    folder: Path, info: MapInfo, covered: int, mean_rgb: np.ndarray
) -> tuple[MapInfo, np.ndarray, np.ndarray]:
    """Read the finished map. Raises OSError where it is not what was written: GDAL does not
    always report that a disk is full, and reads blocks that are not there as black."""
    try:
        built = read_map(folder)
    except MapError as error:
        raise OSError(f'is the disk full? Reading it back: {error}') from None
    _, pixels, mask = built
    change = np.abs(_mean_rgb(pixels, mask) - mean_rgb).max()
    allowed = 1e-3 if info.compression == 'deflate' else 3.0
    if np.count_nonzero(mask) != covered or change > allowed:
        raise OSError('is the disk full? Parts of it were lost in writing')
    return built


def _windows(side_px: int) -> list[Window]:
    steps = range(0, side_px, WINDOW_PX)
    return [
        Window(left, top, min(WINDOW_PX, side_px - left), min(WINDOW_PX, side_px - top))
        for top in steps
        for left in steps
    ]


def _overview_factors(side_px: int) -> list[int]:
    return [2**k for k in range(1, 12) if side_px / 2**k >= BLOCK_PX / 2]
