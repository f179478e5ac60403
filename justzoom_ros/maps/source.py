"""Where a map's imagery comes from: what building a map asks of a source, and which there are.

A source answers in terms of a region's plane: how fine it is at the centre, where its outline
runs, how its values become 8 bit, and what a rectangle of the plane looks like. Another source is
one new file with a class of that form, and one line in MAP_SOURCES.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar

from justzoom_ros.errors import MapError
from justzoom_ros.maps.servers.address import is_remote
from justzoom_ros.maps.servers.options import ServerOptions
from justzoom_ros.maps.servers.presets import find_preset
from justzoom_ros.registry import Registry

if TYPE_CHECKING:  # the command line reads the names of the sources without loading these
    import numpy as np
    from rasterio.windows import Window

    from justzoom_ros.region import Region


GDAL_NAME = re.compile(r'/vsi[a-z0-9_]+/|[A-Za-z][A-Za-z0-9_]+:')
"""How names begin that only GDAL understands: /vsizip/..., NETCDF:file:variable."""


@dataclass(frozen=True)
class SourceOptions:
    """How the values of a source become colours."""

    bands: tuple[int, ...] | None = None
    """Numbers, from 1, of the band that is grey or of the three that are red, green and blue;
    None: those that the file calls so, else the first."""

    stretch: tuple[float, float] | None = None
    """Values (low, high) that become 0 and 255; None: 8-bit values stay as they are, others are
    stretched from the 2nd to the 98th percentile of each band in the region."""

    tiles: str | None = None
    """Order of a folder of tiles: 'xyz', 'tms' or 'zyx'; None: as its metadata says, else xyz."""

    collar: bool = False
    """Whether a border of one colour or nearly black, connected to the edge of a raster file, is
    no imagery."""

    server: ServerOptions = ServerOptions()
    """How a server is asked, where the source is one."""


Self = TypeVar('Self', bound='MapSource')


class MapSource(Protocol):
    """Imagery with a place on earth; a context manager, open until its block ends."""

    path: Path | str
    """Its file or folder; of a server the address, without what is secret."""

    crs: str
    """Its coordinate reference system, in a form that pyproj reads."""

    stretch: tuple[tuple[float, float], ...] | None
    """After `prepare`: the (low, high) of each band that become 0 and 255; None for 8 bit."""

    @staticmethod
    def recognizes(path: Path) -> bool:
        """Whether a path looks like one of this kind; nothing is read to find out."""

    def __init__(self, path: Path | str, options: SourceOptions) -> None:
        """Open it. Raises MapError where it cannot be used, ConfigError for options that do not
        apply."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what it holds: nothing, unless a source says otherwise."""

    def resolution_m(self, region: 'Region') -> float:
        """Metres per pixel of the source at the region's centre."""

    def outline(self) -> 'tuple[np.ndarray, np.ndarray]':
        """Latitudes and longitudes (N,), (N,) in degrees of points round all of its imagery."""

    def overlaps(self, region: 'Region') -> bool:
        """Whether some of its imagery may lie within the region."""

    def prepare(self, region: 'Region', side_px: int) -> None:
        """Get ready to `read` a map of `side_px` pixels along the region's side."""

    def read(self, window: 'Window') -> 'tuple[np.ndarray, np.ndarray]':
        """RGB uint8 (h, w, 3) and mask bool (h, w), true where there is imagery, of a window of
        the prepared map, in pixels from its north-west corner. Raises MapError for damaged
        files."""


MAP_SOURCES: Registry[type[MapSource]] = Registry(
    'map source',
    {
        'raster file': 'justzoom_ros.maps.raster_source:RasterSource',
        'folder of tiles': 'justzoom_ros.maps.tile_source:TileSource',
        'address of a server': 'justzoom_ros.maps.servers.source:ServerSource',
    },
    MapError,
)
"""The kinds of imagery, by what users call them. The last that recognizes a path opens it: raster
files come first, since GDAL is asked about whatever nothing else knows."""


def is_gdal_name(name: str) -> bool:
    """Whether something is no path of this machine, but a name for GDAL."""
    return bool(GDAL_NAME.match(name)) and not Path(name).exists()


def open_source(path: str | Path, options: SourceOptions | None = None) -> MapSource:
    """The imagery at a path, a context manager. Raises MapError where no source recognizes it or
    it cannot be used, ConfigError for options that do not apply to it."""
    options = options or SourceOptions()
    if preset := find_preset(str(path)):
        path = preset.address
        options = replace(options, server=options.server.for_preset(preset.max_zoom))
    if is_remote(str(path)):  # Path would take one of its slashes
        return MAP_SOURCES.get('address of a server')(str(path), options)
    if is_gdal_name(str(path)):
        return MAP_SOURCES.get('raster file')(str(path), options)
    path = Path(path)
    for name in reversed(MAP_SOURCES.list()):
        source = MAP_SOURCES.get(name)
        if source.recognizes(path):
            return source(path, options)
    raise MapError(f'{path} is none of the imagery that is known: {", ".join(MAP_SOURCES.list())}')
