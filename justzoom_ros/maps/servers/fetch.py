"""Fetching units of imagery: few connections, patience, and an end where it becomes too much."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.io import DatasetReader
from tqdm import tqdm

from justzoom_ros.errors import ConfigError, MapError, OutputError
from justzoom_ros.maps.map_file import GDAL_ERRORS, one_line
from justzoom_ros.maps.servers.address import Address
from justzoom_ros.maps.servers.failures import understand, words_of
from justzoom_ros.maps.servers.grid import Grid, Unit, open_level, read_unit
from justzoom_ros.maps.servers.options import ServerOptions
from justzoom_ros.maps.servers.services import USER_AGENT, Service
from justzoom_ros.maps.servers.store import Store

MEASURE_EVERY_S = 0.5


class Fetcher:
    """Asks one server for units and keeps them. A context manager.

    `describe(connection)` gives what GDAL opens on a connection, numbered from 0. With
    `gdal_retries` GDAL itself asks a busy server again: of rasters it remembers a failure.
    """

    def __init__(
        self,
        address: Address,
        store: Store,
        options: ServerOptions,
        describe: Callable[[int], Service],
        gdal_retries: bool = False,
    ) -> None:
        self.address, self._store, self._options = address, store, options
        self._describe, self._gdal_retries = describe, gdal_retries
        self._stop = threading.Event()
        self._meter = _Meter()
        self._stored_bytes = 0
        self.sends_headers = True
        """Whether the file of headers is for this server."""
        self.asked = 0
        """Units that the server was asked for."""

    def __enter__(self) -> 'Fetcher':
        self._meter.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._meter.__exit__(*exception)

    @property
    def folder(self) -> Path:
        """A folder of this machine, which is there as long as this is."""
        return self._meter.folder

    @property
    def bytes(self) -> int:
        """Bytes that came: as the server sent them, or, of rasters read in parts, as they are
        kept."""
        return self._meter.bytes() or self._stored_bytes

    @property
    def mean_bytes(self) -> float:
        """Mean size of the units that were asked for, 0 before any was."""
        self._meter.look()
        return self.bytes / max(self.asked, 1)

    def environment(self) -> AbstractContextManager[Any]:
        """What GDAL needs to know of how to ask; for one thread."""
        options = self._options
        values = {
            'GDAL_HTTP_USERAGENT': USER_AGENT,
            'GDAL_HTTP_TIMEOUT': max(1, round(options.timeout_s)),
            'GDAL_HTTP_CONNECTTIMEOUT': max(1, round(min(20, options.timeout_s))),
            'GDAL_HTTP_MAX_RETRY': options.retries if self._gdal_retries else 0,
            'GDAL_HTTP_RETRY_DELAY': options.retry_delay_s,
            'GDAL_MAX_CONNECTIONS': 1,
            'GDAL_DISABLE_READDIR_ON_OPEN': 'EMPTY_DIR',
            'GDAL_DEFAULT_WMS_CACHE_PATH': str(self._meter.folder),
            'GDAL_ENABLE_WMS_CACHE': 'YES',
        }
        if options.header_file is not None and self.sends_headers:
            values['GDAL_HTTP_HEADER_FILE'] = str(options.header_file)
        return rasterio.Env(**values)

    def fetch(self, grid: Grid, level: int, units: list[Unit]) -> None:
        """Fetch units of a level that are not kept yet; those that are finished stay, whatever
        happens.

        Raises MapError where the server does not give one, ConfigError where they become more
        bytes than allowed, OutputError where they cannot be kept.
        """
        hidden = not self._options.progress or len(units) == 1
        bar = tqdm(total=len(units), desc='tiles', unit='tile', disable=hidden)
        shares = [units[k :: self._options.connections] for k in range(self._options.connections)]
        with bar, ThreadPoolExecutor(len(shares)) as pool:
            jobs = [
                pool.submit(self._work, number, grid, level, share, bar)
                for number, share in enumerate(shares)
                if share
            ]
            self._wait(jobs)

    def _wait(self, jobs: list[Future[None]]) -> None:
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:  # an interruption too: the others must not go on
            self._stop.set()
            raise

    def _work(self, number: int, grid: Grid, level: int, units: list[Unit], bar: tqdm) -> None:
        """Fetch the share of one connection."""
        service = self._describe(number)
        with self.environment():
            file = self.patiently(lambda: open_level(service, level, len(grid.levels)))
            if file is None:
                return
            with file:
                for unit in units:
                    if self._stop.is_set():
                        return
                    self._fetch_unit(file, service, grid, level, unit)
                    bar.update()
                    bar.set_postfix_str(f'{self.bytes / 1e6:.1f} MB', refresh=False)

    def _fetch_unit(
        self, file: DatasetReader, service: Service, grid: Grid, level: int, unit: Unit
    ) -> None:
        window = grid.window(level, unit)
        values = self.patiently(
            lambda: read_unit(file, grid, service, window), may_be_empty=service.is_tiled
        )
        self._keep(grid, level, unit, values)
        self.asked += 1
        if self.bytes > 1e6 * self._options.max_mb:
            raise ConfigError(
                f'{self.address.shown} sent more than {self._options.max_mb:g} MB; allow more '
                'with --max-mb (what has come is kept), or choose a smaller --side'
            )

    def _keep(self, grid: Grid, level: int, unit: Unit, values: np.ndarray | None) -> None:
        with keeping(self._store):
            self._stored_bytes += self._store.keep(grid.levels[level], unit, values)

    def patiently(self, read: Callable[[], Any], may_be_empty: bool = False) -> Any:
        """What `read` gives, asked for again where the server is busy. None where the server has
        nothing there and `may_be_empty`. Raises MapError."""
        options = self._options
        attempts = 1 if self._gdal_retries else options.retries + 1
        for attempt in range(attempts):
            try:
                return read()
            except GDAL_ERRORS as error:
                failure = understand(self.address.scrub(words_of(error)), options.timeout_s)
            if may_be_empty and failure.is_empty:
                return None
            if not failure.is_temporary or attempt + 1 == attempts:
                break
            pause_s = options.retry_delay_s * 2**attempt
            options.tell(f'{self.address.shown} {failure.reason}; asking again in {pause_s:g} s')
            if self._stop.wait(pause_s):
                break
        raise MapError(f'{self.address.shown} {failure.reason}')


@contextmanager
def keeping(store: Store) -> Iterator[None]:
    """Raise OutputError where a store cannot be written to within the block."""
    try:
        yield
    except (OSError, *GDAL_ERRORS) as error:
        raise OutputError(
            f'{store.folder} cannot be written: {one_line(error)}; choose another folder with '
            '--cache'
        ) from None


class _Meter:
    """Counts what comes over the network: GDAL keeps each answer in a folder, which is temporary.

    It also spares a server to be asked twice for a tile that two units share.
    """

    def __init__(self) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._measured_at, self._bytes = 0.0, 0

    def __enter__(self) -> '_Meter':
        self._temporary = tempfile.TemporaryDirectory(prefix='justzoom-tiles-')
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def folder(self) -> Path:
        assert self._temporary is not None, 'a meter counts within its block'
        return Path(self._temporary.name)

    def bytes(self) -> int:
        """Bytes of all answers; measured now and then, since that looks at each of them."""
        if time.monotonic() - self._measured_at > MEASURE_EVERY_S:
            self.look()
        return self._bytes

    def look(self) -> None:
        """Measure now."""
        self._bytes = sum(p.stat().st_size for p in self.folder.rglob('*') if p.is_file())
        self._measured_at = time.monotonic()
