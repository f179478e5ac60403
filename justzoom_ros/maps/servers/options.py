"""How a server is asked for imagery."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from justzoom_ros.errors import ConfigError

LARGEST_ZOOM = 24


@dataclass(frozen=True)
class ServerOptions:
    """How a server is asked: few connections, with patience, and never twice for the same tile."""

    cache: Path | None = None
    """Folder in which tiles are kept; None: $JUSTZOOM_MAP_CACHE, else `default_cache()`."""

    refresh: bool = False
    """Whether tiles that are kept already are asked for again."""

    header_file: Path | None = None
    """Text file with a line `Name: value` for each header to send, as for a key; it is read when
    it is needed, and nothing of it is kept or shown."""

    connections: int = 2
    """Connections at a time, 1 to 8."""

    retries: int = 5
    """How often a tile is asked for again where the server is busy or does not answer, 0..20."""

    retry_delay_s: float = 1.0
    """Seconds before it is first asked again; the pause doubles each time."""

    timeout_s: float = 60.0
    """Seconds that an answer may take."""

    max_tiles: int = 10_000
    """A build that would ask for more tiles is refused."""

    max_mb: float = 1_000.0
    """A build that would fetch more megabytes is refused, or ended where the estimate was low."""

    max_zoom: int | None = None
    """Finest zoom of a tile server, 0..24; None: the finest, of 19 and less, that has a tile in
    the middle of the region."""

    tile_px: int = 256
    """Pixels along a side of the tiles of a tile server."""

    asset: str | None = None
    """Name of the asset of a STAC item; None: its `visual`, or its only picture."""

    progress: bool = False
    """Whether a bar shows tiles and bytes."""

    say: Callable[[str], None] | None = None
    """What gets the estimate, and what is waited for, one line each."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a value out of its range."""
        _check('connections', self.connections, 1, 8)
        _check('retries', self.retries, 0, 20)
        _check('retry_delay_s', self.retry_delay_s, 0.0, 600.0)
        _check('timeout_s', self.timeout_s, 0.1, 3600.0)
        _check('max_tiles', self.max_tiles, 1, 10**7)
        _check('max_mb', self.max_mb, 1e-3, 1e6)
        _check('tile_px', self.tile_px, 16, 4096)
        if self.max_zoom is not None:
            _check('max_zoom', self.max_zoom, 0, LARGEST_ZOOM)

    def for_preset(self, max_zoom: int | None) -> 'ServerOptions':
        """The same with the finest zoom of a preset, unless another one is given."""
        return self if self.max_zoom is not None else replace(self, max_zoom=max_zoom)

    @property
    def cache_folder(self) -> Path:
        """Where tiles are kept."""
        return self.cache or default_cache()

    def tell(self, text: str) -> None:
        """Give a line to whoever wants to know."""
        if self.say is not None:
            self.say(text)


def default_cache() -> Path:
    """$JUSTZOOM_MAP_CACHE, else `justzoom_ros/maps` in the user's folder of caches."""
    if named := os.environ.get('JUSTZOOM_MAP_CACHE'):
        return Path(named)
    home = os.environ.get('XDG_CACHE_HOME')
    return (Path(home) if home else Path.home() / '.cache') / 'justzoom_ros' / 'maps'


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f'{name} is {value!r}; it must be {low:g} to {high:g}')
