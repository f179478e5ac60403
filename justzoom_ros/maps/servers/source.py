"""Imagery of a server as a source of maps: what a region needs is fetched, kept, and then read as
a raster file of this machine."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
from rasterio.io import DatasetReader
from rasterio.warp import transform
from rasterio.windows import Window

from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.maps.plane import WGS84
from justzoom_ros.maps.raster_file import check_raster
from justzoom_ros.maps.raster_source import RasterSource, choose_bands
from justzoom_ros.maps.servers.address import is_remote, read_address, scrubbed_logs
from justzoom_ros.maps.servers.documents import read_document
from justzoom_ros.maps.servers.fetch import Fetcher, keeping
from justzoom_ros.maps.servers.grid import Grid, Unit, find_grid
from justzoom_ros.maps.servers.services import (
    Kind,
    Service,
    describe,
    kind_of,
    layer_names,
    split_wmts,
)
from justzoom_ros.maps.servers.stac import find_asset, same_host
from justzoom_ros.maps.servers.store import Store, join_units
from justzoom_ros.maps.source import MapSource, SourceOptions
from justzoom_ros.region import Region

MAX_LISTED = 12
WMTS_UNIT_PX = 256
PROBED_LEVELS = 8
"""Zooms that are tried for one that has imagery."""


class ServerSource(MapSource):
    """Tiles, a WMS or WMTS, a raster by its address, or an item of a STAC catalogue.

    `path` is the address without what is secret. Tiles are fetched from the coarsest zoom that is
    as fine as the map.
    """

    @staticmethod
    def recognizes(path: Path) -> bool:
        """What begins like an address, `https:` or another scheme."""
        return is_remote(str(path))

    def __init__(self, path: Path | str, options: SourceOptions) -> None:
        if options.tiles is not None:
            raise ConfigError(
                'the address of a server says the order of its tiles: {y} counts rows from the '
                'north, {-y} from the south; leave --tiles out'
            )
        self._options, self._server = options, options.server
        self._address = read_address(str(path), self._server.header_file)
        self.path: Path | str = self._address.shown
        self.stretch: tuple[tuple[float, float], ...] | None = None
        self._kind = kind_of(self._address.text)
        self._store = Store(self._server.cache_folder / self._cache_name())
        self._services: dict[int, Service] = {}
        self._lock = Lock()
        self._fetched: set[tuple[int, Unit]] = set()
        self._probed: tuple[Region, int] | None = None
        with ExitStack() as stack:
            self._fetcher = stack.enter_context(
                Fetcher(
                    self._address,
                    self._store,
                    self._server,
                    self._service,
                    gdal_retries=self._kind in (Kind.RASTER, Kind.STAC),
                )
            )
            stack.enter_context(scrubbed_logs(self._scrub, self._server.tell))
            self._grid = self._find_grid()
            self._stack = stack.pop_all()
        self.crs: str = self._grid.crs

    def close(self) -> None:
        """End what was begun for the server's sake."""
        self._stack.close()

    def outline(self) -> tuple[np.ndarray, np.ndarray]:
        """Latitudes and longitudes (two arrays) of points along the border of the imagery.

        Raises ConfigError for servers of the whole earth.
        """
        if self._kind in (Kind.TILES, Kind.WMS):
            raise ConfigError(
                f'{self.path} may cover the whole earth; say which part of it the map shows, '
                'with --around LAT LON --side M'
            )
        along, zeros, ones = np.linspace(0.0, 1.0, 33), np.zeros(33), np.ones(33)
        level = self._grid.levels[0]
        across = np.concatenate([along, along, zeros, ones]) * level.width
        down = np.concatenate([zeros, ones, along, along]) * level.height
        affine = level.transform
        x = affine.a * across + affine.b * down + affine.c
        y = affine.d * across + affine.e * down + affine.f
        lon, lat = transform(self.crs, WGS84, x, y)
        return np.array(lat), np.array(lon)

    def overlaps(self, region: Region) -> bool:
        """Whether the region lies in the square that the server may have imagery of."""
        return self._grid.count(0, region) > 0

    def resolution_m(self, region: Region) -> float:
        """Metres per pixel, at the region's centre, of the finest level that has imagery there.
        Tile servers are asked for it. Raises MapError where there is none."""
        return self._grid.level_m(self._finest(region), region)

    def prepare(self, region: Region, side_px: int) -> None:
        """Fetch what a map of `side_px` pixels along the region's side needs.

        Raises ConfigError where that is more than allowed, MapError where the server does not
        give it.
        """
        pixel_m = region.side_m / side_px
        level = self._grid.choose_level(region, pixel_m, self._finest(region))
        count = self._grid.count(level, region)
        if count > self._server.max_tiles and not self._all_kept(level, region):
            raise ConfigError(
                f'the map needs {count} tiles of {self.path} and {self._server.max_tiles} are '
                'allowed; choose a smaller --side or a coarser --resolution, or allow more with '
                '--max-tiles'
            )
        units = self._grid.units(level, region)
        self._fetch(level, units, self._grid.middle(level, region))
        self._open_joined(region, side_px, level, units)

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """RGB uint8 (h, w, 3) and mask bool (h, w) of a window of the prepared map."""
        with self._kept_whole():
            return self._raster.read(window)

    # --- opening -------------------------------------------------------------------------------

    def _cache_name(self) -> str:
        """A name for all that changes what a unit holds."""
        parts = [self._address.key, *map(str, self._options.bands or ())]
        if self._kind == Kind.TILES:
            parts.append(f'{self._server.tile_px}px')
        if self._kind == Kind.STAC and self._server.asset:
            parts.append(''.join(c if c.isalnum() else '_' for c in self._server.asset))
        return '-'.join(parts)

    def _service(self, connection: int) -> Service:
        """What GDAL opens on a connection. An item of a catalogue, and the capabilities of a
        service, are asked for once."""
        number = 0 if self._kind in (Kind.STAC, Kind.WMTS) else connection
        with self._lock:
            if number not in self._services:
                self._services[number] = self._describe(number)
            return self._services[number]

    def _describe(self, connection: int) -> Service:
        if self._kind == Kind.WMTS:
            url, choice = split_wmts(self._address.url)
            path = self._fetcher.folder / 'capabilities.xml'
            path.write_bytes(read_document(self._address, url, self._server))
            return Service(Kind.WMTS, f'WMTS:{path}{choice}', WMTS_UNIT_PX)
        if self._kind != Kind.STAC:
            return describe(self._address, self._server, connection)
        found = find_asset(self._address, self._server)
        self._fetcher.address = found
        self._fetcher.sends_headers = same_host(self._address.url, found.url)
        return Service(Kind.RASTER, found.url, None)

    def _find_grid(self) -> Grid:
        """The grid that is kept, else what the server says."""
        kept = None if self._server.refresh else self._store.read_grid()
        if kept is not None:
            return kept
        service = self._service(0)

        with self._fetcher.environment():
            grid = self._fetcher.patiently(
                lambda: find_grid(service, self._check, self._choose_bands)
            )
        if self._kind not in (Kind.TILES, Kind.WMS):  # whose grid nobody needs to ask for
            with keeping(self._store):
                self._store.write_grid(grid)
        return grid

    def _check(self, file: DatasetReader) -> None:
        """Raises MapError for what is no imagery, and for a service of several layers."""
        if not file.count and file.subdatasets:
            names = layer_names(file.subdatasets)
            how = '&layers=NAME' if self._kind == Kind.WMS else ',layer=NAME'
            raise MapError(
                f'{self.path} has several layers or projections; choose one by {how} at the end '
                f'of the address: {", ".join(names[:MAX_LISTED])}'
            )
        if self._kind in (Kind.TILES, Kind.WMS):
            return  # their grid is ours, and reaches far beyond where their projection holds
        with self._naming(file):
            check_raster(file)

    def _choose_bands(self, file: DatasetReader) -> list[int]:
        with self._naming(file):
            return choose_bands(file, self._options.bands)

    def _scrub(self, text: str) -> str:
        """A text without what is secret, which a STAC item may add to."""
        return self._fetcher.address.scrub(text)

    @contextmanager
    def _naming(self, file: DatasetReader) -> Iterator[None]:
        """Errors name the address as it may be shown, instead of all that GDAL opened."""
        try:
            yield
        except MapError as error:
            text = str(error).replace(file.name, str(self.path))
            raise MapError(self._scrub(text)) from None

    # --- fetching ------------------------------------------------------------------------------

    def _finest(self, region: Region) -> int:
        """The finest level that has imagery in the middle of the region."""
        if self._kind not in (Kind.TILES, Kind.WMTS) or self._server.max_zoom is not None:
            return 0
        if self._probed is None or self._probed[0] != region:
            self._probed = region, self._probe(region)
        return self._probed[1]

    def _probe(self, region: Region) -> int:
        levels = range(min(PROBED_LEVELS, len(self._grid.levels)))
        for level in levels:
            unit = self._grid.middle(level, region)
            self._fetch_missing(level, [unit])
            if not self._store.is_empty(self._grid.levels[level], unit):
                return level
        raise MapError(
            f'{self.path} has no tile in the middle of the region, '
            f'{region.latitude:.6f}, {region.longitude:.6f}, at any of the {len(levels)} finest '
            'zooms; check the address and the place, or say the finest zoom with --max-zoom '
            '(answers are kept: --refresh asks again)'
        )

    def _fetch(self, level: int, units: list[Unit], middle: Unit) -> None:
        """Fetch the units that are missing, after an estimate from the one in the middle."""
        missing = self._missing(level, units)
        if not missing:
            self._server.tell(f'{len(units)} tiles of {self.path}: all of them are kept already')
            return
        if not self._fetcher.asked:
            first = middle if middle in missing else missing[len(missing) // 2]
            self._fetch_missing(level, [first])
            missing = self._missing(level, units)
        size_mb = len(missing) * self._fetcher.mean_bytes / 1e6
        self._server.tell(
            f'{len(units)} tiles of {self.path}: {len(missing)} more to fetch, about '
            f'{size_mb:.1f} MB'
        )
        if size_mb > self._server.max_mb:
            raise ConfigError(
                f'{len(missing)} tiles of {self.path} are about {size_mb:.0f} MB and '
                f'{self._server.max_mb:g} MB are allowed; choose a smaller --side or a coarser '
                '--resolution, or allow more with --max-mb'
            )
        self._fetch_missing(level, missing)

    def _missing(self, level: int, units: list[Unit]) -> list[Unit]:
        """The units that have to be asked for."""
        if self._server.refresh:
            return [unit for unit in units if (level, unit) not in self._fetched]
        return [unit for unit in units if not self._store.has(self._grid.levels[level], unit)]

    def _all_kept(self, level: int, region: Region) -> bool:
        count = self._store.count(self._grid.levels[level])
        return count >= self._grid.count(level, region) and not self._missing(
            level, self._grid.units(level, region)
        )

    def _fetch_missing(self, level: int, units: list[Unit]) -> None:
        missing = self._missing(level, units)
        if missing:
            self._fetcher.fetch(self._grid, level, missing)
            self._fetched.update((level, unit) for unit in missing)

    def _open_joined(self, region: Region, side_px: int, level: int, units: list[Unit]) -> None:
        """Open all units as one raster."""
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix='justzoom-map-'))
        path = Path(folder) / 'tiles.vrt'
        if not join_units(path, self._store, self._grid, level, units):
            raise MapError(
                f'{self.path} has no imagery within the region: each of its {len(units)} tiles '
                f'is empty at {self._grid.level_m(level, region):.3g} m per pixel'
            )
        options = SourceOptions(stretch=self._options.stretch, collar=self._options.collar)
        with self._kept_whole():
            self._raster = self._stack.enter_context(RasterSource(path, options))
            self._raster.prepare(region, side_px)
        self.stretch = self._raster.stretch

    @contextmanager
    def _kept_whole(self) -> Iterator[None]:
        """What cannot be read of the tiles that are kept was damaged on this machine."""
        try:
            yield
        except MapError as error:
            raise MapError(
                f'what is kept of {self.path} in {self._store.folder} is damaged ({error}); build '
                'with --refresh'
            ) from None
