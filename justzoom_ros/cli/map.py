"""`justzoom map`: build a map from imagery, say what one holds, draw it, encode it."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from justzoom_ros.cli.layer_options import add_layer_options, layers_of
from justzoom_ros.cli.map_align import add_align
from justzoom_ros.cli.map_check import add_check
from justzoom_ros.cli.map_embed import add_embed
from justzoom_ros.cli.map_presets import add_presets
from justzoom_ros.cli.map_terrain import add_terrain
from justzoom_ros.cli.server_options import add_server_options, server_options
from justzoom_ros.maps.source import MAP_SOURCES

if TYPE_CHECKING:
    from justzoom_ros.maps.satellite_map import SatelliteMap
    from justzoom_ros.maps.servers.options import ServerOptions
    from justzoom_ros.region import Region

BUILD_EXAMPLE = """examples:
  justzoom map build ortho.tif -o maps/farm
  justzoom map build naip.tif --center 37.8717 -122.2593 --side 1280 --depth 3 -o maps/berkeley
  justzoom map build tiles/ --center 0.3509 32.5940 --side 140 --depth 2 -o maps/kampala
  justzoom map build 'https://tiles.example.org/{z}/{x}/{y}.jpg?key=${MY_KEY}' \
      --around 41.03 -83.2 --side 1000 --attribution 'Example survey, CC BY 4.0' -o maps/town
  justzoom map build preset:swissimage --around 46.9480 7.4474 --side 1000 -o maps/bern
  justzoom map build --also winter.tif --as winter -o maps/farm
"""


def add_parser(subparsers: Any) -> None:
    """Add `map` and its jobs."""
    parser = subparsers.add_parser(
        'map',
        help='build, describe, draw or encode a map',
        description='Overhead maps to localize in.',
    )
    jobs = parser.add_subparsers(metavar='JOB', required=True)
    _add_build(jobs)
    _add_info(jobs)
    _add_show(jobs)
    add_embed(jobs)
    add_align(jobs)
    add_terrain(jobs)
    add_check(jobs)
    add_presets(jobs)


def _add_build(jobs: Any) -> None:
    parser = jobs.add_parser(
        'build',
        help='make a map from imagery',
        description='Make a map folder from a GeoTIFF, COG, VRT or other raster in any projection,'
        ' from a folder of XYZ tiles {z}/{x}/{y}.png, from a tiledwebmaps folder, or from a '
        'server: tiles, WMS, WMTS, a COG by its address, a STAC item.',
        epilog=BUILD_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('source', metavar='SOURCE', nargs='?', help=f'imagery: {" or ".join(MAP_SOURCES.list())}')
    add('-o', '--out', metavar='DIR', required=True, help='folder to make')
    add('--center', '--around', nargs=2, type=float, metavar=('LAT', 'LON'), help='middle of the '
        'square, degrees; without it and --side: what encloses the imagery')  # fmt: skip
    add('--side', type=float, metavar='M', help='side of the square, metres')
    add('--grid', type=int, default=4, metavar='N', help='cells along a side in one zoom step, '
        '2..8 (default 4)')  # fmt: skip
    add('--depth', type=int, default=4, metavar='N', help='zoom steps, 1..8 (default 4)')
    add('--plane', choices=('wgs84', 'sphere'), default='wgs84', help='local plane: wgs84 (true '
        'to scale, default) or sphere (that of the published dataset)')  # fmt: skip
    add('--crop-px', type=int, default=96, metavar='PX', help='side of the finest crop that '
        'a policy looks at, in pixels (default 96; published 384)')  # fmt: skip
    add('--resolution', type=float, metavar='M', help='metres per pixel instead; rounded so that '
        'a terminal cell is a whole number of pixels')  # fmt: skip
    add('--compression', choices=('deflate', 'jpeg'), default='deflate', help='deflate is '
        'lossless (default), jpeg about five times smaller')  # fmt: skip
    add('--attribution', default='', metavar='TEXT', help='licence or credit to keep and show')
    add('--bands', nargs=3, type=int, metavar=('R', 'G', 'B'), help='bands to take, from 1')
    add('--stretch', nargs=2, type=float, metavar=('LOW', 'HIGH'), help='values that become black '
        'and white (default: 8-bit values stay, else 2 to 98 percent of each band)')  # fmt: skip
    add('--tiles', choices=('xyz', 'tms', 'zyx'), help='order of a folder of tiles: {z}/{x}/{y} '
        'with rows that run south (xyz) or north (tms), or {z}/{y}/{x} (default: as '
        'its tilemapresource.xml, layout.yaml or TileJSON says, else xyz)')  # fmt: skip
    add('--collar', action='store_true', help='leave out a border of one colour or nearly '
        'black, as round a rotated scan, that nothing says to be no imagery')  # fmt: skip
    add('--overwrite', action='store_true', help='replace an existing map')
    add_layer_options(parser)
    add_server_options(parser)
    _add_json(parser)
    parser.set_defaults(run=build)


def _add_info(jobs: Any) -> None:
    parser = jobs.add_parser(
        'info',
        help='say what a map holds',
        description='Check a map and say what it holds.',
        epilog='example: justzoom map info maps/farm --json',
    )
    parser.add_argument('map', metavar='DIR', help='map folder')
    _add_json(parser)
    parser.set_defaults(run=info)


def _add_show(jobs: Any) -> None:
    parser = jobs.add_parser(
        'show',
        help='draw a map with its grid',
        description='Draw a map as a PNG: cell borders, numbers of the first step, scale, north; '
        'parts without imagery are hatched.',
        epilog='example: justzoom map show maps/farm -o farm.png --levels 1 2',
    )
    parser.add_argument('map', metavar='DIR', help='map folder')
    parser.add_argument('-o', '--out', metavar='PNG', required=True, help='picture to write')
    parser.add_argument('--levels', nargs='*', type=int, default=None, metavar='N',
                        help='levels whose cells are drawn (default: 1 and 2)')  # fmt: skip
    _add_json(parser)
    parser.set_defaults(run=show)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--json', action='store_true', help='print one JSON object')


def build(args: argparse.Namespace) -> None:
    """Run `justzoom map build`."""
    from justzoom_ros.maps.build import credit
    from justzoom_ros.maps.layers import add_layer
    from justzoom_ros.maps.satellite_map import SatelliteMap

    layers = layers_of(args)
    sources = [source for source in (args.source, *layers.values()) if source]
    credits = {source: credit(source, args.attribution) for source in sources}
    options = _build_options(args)
    if args.source is not None:
        region = _region(args, options['server'])
        SatelliteMap.build(
            args.source,
            region,
            args.out,
            crop_px=args.crop_px,
            attribution=credits[args.source],
            **options,
        )
    for name, source in layers.items():
        add_layer(args.out, name, source, attribution=credits[source], **options)
    _print_map(SatelliteMap.open(args.out), args.json)


def _build_options(args: argparse.Namespace) -> dict[str, Any]:
    """What is alike for all layers of a map."""
    return {
        'resolution_m': args.resolution,
        'compression': args.compression,
        'bands': args.bands,
        'stretch': args.stretch,
        'tiles': args.tiles,
        'collar': args.collar,
        'overwrite': args.overwrite,
        'progress': True,
        'server': server_options(args),
    }


def info(args: argparse.Namespace) -> None:
    """Run `justzoom map info`."""
    from justzoom_ros.maps.satellite_map import SatelliteMap

    _print_map(SatelliteMap.open(args.map), args.json)


def show(args: argparse.Namespace) -> None:
    """Run `justzoom map show`."""
    from justzoom_ros.maps.satellite_map import SatelliteMap
    from justzoom_ros.plots.map_picture import draw_map

    satellite_map = SatelliteMap.open(args.map)
    levels = range(1, min(2, satellite_map.region.depth) + 1)
    draw_map(satellite_map, args.out, levels if args.levels is None else args.levels)
    print(json.dumps({'picture': args.out}) if args.json else f'wrote {args.out}')


def _region(args: argparse.Namespace, server: 'ServerOptions') -> 'Region':
    """The region asked for, or the square that encloses the source."""
    from justzoom_ros.errors import ConfigError
    from justzoom_ros.maps.build import enclosing_region
    from justzoom_ros.maps.source import SourceOptions, open_source
    from justzoom_ros.region import Region

    if (args.center is None) != (args.side is None):
        raise ConfigError('--center and --side go together; give both, or none for all of it')
    if args.center is not None:
        latitude, longitude = args.center
        return Region(latitude, longitude, args.side, args.grid, args.depth, args.plane)
    with open_source(args.source, SourceOptions(tiles=args.tiles, server=server)) as imagery:
        try:
            region = enclosing_region(imagery, args.grid, args.depth, args.plane)
        except ConfigError as error:
            raise ConfigError(
                f'the square that encloses {imagery.path} can be no map ({error}); choose a '
                'part of it with --center LAT LON --side M'
            ) from None
    print(
        f'taking the square that encloses {imagery.path}: --center {region.latitude:.7f} '
        f'{region.longitude:.7f} --side {region.side_m:g}',
        file=sys.stderr,
    )
    return region


def _print_map(satellite_map: 'SatelliteMap', as_json: bool) -> None:
    facts = _facts(satellite_map)
    if as_json:
        print(json.dumps(facts))
        return
    region, info = satellite_map.region, satellite_map.info
    stretch = 'none (8 bit)' if info.stretch is None else ' '.join(
        f'{low:g}..{high:g}' for low, high in info.stretch)  # fmt: skip
    rows = {
        'map': facts['path'],
        'centre': f'{region.latitude:.7f}, {region.longitude:.7f} ({region.plane} plane)',
        'side': f'{region.side_m:g} m, {info.side_px} px, {info.resolution_m:.4g} m per pixel',
        'zoom tree': f'{region.grid} x {region.grid} cells, {region.depth} steps, '
        f'terminal cells of {region.terminal_side_m:.4g} m',
        'crop': f'{info.crop_px} px',
        'coverage': f'{info.coverage:.1%}, the rest is filled with RGB {info.fill_rgb}',
        'source': f'{info.source} ({_short_crs(info.source_crs)}), stretch {stretch}',
        'compression': info.compression,
        'memory': f'{facts["memory_bytes"] / 1e6:.1f} MB when open',
        'attribution': info.attribution or 'none given',
        'layers': ', '.join(facts['layers']) or 'none further',
        'checksum': info.checksum,
    }
    for name, value in rows.items():
        print(f'{name + ":":13}{value}')


def _short_crs(text: str) -> str:
    """A projection in a few words: its code, else its name, or what kind it is."""
    if len(text) < 40:
        return text
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        crs = CRS.from_user_input(text)
    except CRSError:
        return f'{text[:40]} ...'
    kind = crs.coordinate_operation.method_name if crs.coordinate_operation else 'degrees'
    return kind if crs.name in ('unknown', 'unnamed') else crs.name


def _facts(satellite_map: 'SatelliteMap') -> dict[str, Any]:
    from dataclasses import asdict

    from justzoom_ros.maps.layers import layer_folders

    return {
        'path': str(satellite_map.path),
        **asdict(satellite_map.info),
        'resolution_m': satellite_map.resolution_m,
        'terminal_side_m': satellite_map.region.terminal_side_m,
        'memory_bytes': satellite_map.memory_bytes,
        'layers': list(layer_folders(satellite_map.path)),
    }
