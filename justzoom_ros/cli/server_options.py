"""How `justzoom map build` asks a server for imagery."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from justzoom_ros.maps.servers.options import ServerOptions


def add_server_options(parser: Any) -> None:
    """Add the options of servers, in a group of their own."""
    group = parser.add_argument_group(
        'servers', 'tiles, WMS, WMTS, rasters by address and STAC items: see docs/map.md'
    )
    add = group.add_argument
    add('--header-file', type=Path, metavar='FILE', help='lines `Name: value` to send with each '
        'request, as for a key; nothing of it is kept or shown')  # fmt: skip
    add('--max-zoom', type=int, metavar='Z', help='finest zoom of a tile server (default: the '
        'finest, of 19 and less, that has a tile in the middle)')  # fmt: skip
    add('--tile-px', type=int, default=256, metavar='PX', help='side of the tiles of a tile '
        'server (default 256)')  # fmt: skip
    add('--asset', metavar='NAME', help='asset of a STAC item (default: visual, or its only '
        'picture)')  # fmt: skip
    add('--max-tiles', type=int, default=10_000, metavar='N', help='refuse a map that needs more '
        'tiles (default 10000)')  # fmt: skip
    add('--max-mb', type=float, default=1000.0, metavar='MB', help='refuse, or stop at, more '
        'megabytes (default 1000)')  # fmt: skip
    add('--connections', type=int, default=2, metavar='N', help='connections at a time, 1..8 '
        '(default 2)')  # fmt: skip
    add('--retries', type=int, default=5, metavar='N', help='times that a busy server is asked '
        'again, after 1, 2, 4, ... s (default 5)')  # fmt: skip
    add('--timeout', type=float, default=60.0, metavar='S', help='seconds that an answer may take '
        '(default 60)')  # fmt: skip
    add('--cache', type=Path, metavar='DIR', help='where tiles are kept (default: '
        '$JUSTZOOM_MAP_CACHE or ~/.cache/justzoom_ros/maps)')  # fmt: skip
    add('--refresh', action='store_true', help='ask again for tiles that are kept already')


def server_options(args: argparse.Namespace) -> 'ServerOptions':
    """The `ServerOptions` of a command line. Raises ConfigError for a value out of its range."""
    from justzoom_ros.maps.servers.options import ServerOptions

    return ServerOptions(
        cache=args.cache,
        refresh=args.refresh,
        header_file=args.header_file,
        connections=args.connections,
        retries=args.retries,
        timeout_s=args.timeout,
        max_tiles=args.max_tiles,
        max_mb=args.max_mb,
        max_zoom=args.max_zoom,
        tile_px=args.tile_px,
        asset=args.asset,
        progress=True,
        say=_say,
    )


def _say(text: str) -> None:
    """A line on stderr that leaves a progress bar whole."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)
