"""`justzoom map check`: how far two maps of one place are apart."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from justzoom_ros.evaluation.map_check import MapCheck
    from justzoom_ros.maps.satellite_map import SatelliteMap

EXAMPLE = """examples:
  justzoom map check maps/farm maps/farm_2024 -o shift.png
  justzoom map check maps/farm                               # its layers, each against the base

A shift of a metre or two between providers is common. Which of them is right is another question:
`justzoom map align` answers it, with recordings whose true positions are known.
"""


def add_check(jobs: Any) -> None:
    """Add the job to `justzoom map`."""
    parser = jobs.add_parser(
        'check',
        help='measure the shift between two maps',
        description='Register parts of one map on another, or on the layers of its own, and say '
        'how far they are apart.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('map', metavar='DIR', help='map folder')
    add('other', metavar='OTHER', nargs='?', help='another map folder (default: the layers of the '
        'first)')  # fmt: skip
    add('-o', '--out', metavar='PNG', help='picture to write, of the first that is checked')
    add('--reach', type=float, default=30.0, metavar='M', help='greatest shift along an axis, '
        'metres (default 30)')  # fmt: skip
    add('--registration', metavar='FILE', help='weights of a registration network')
    add('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run `justzoom map check`."""
    from justzoom_ros.evaluation.map_check import check_maps
    from justzoom_ros.maps.satellite_map import SatelliteMap

    first = SatelliteMap.open(args.map)
    checks = {
        name: check_maps(first, other, args.reach, args.registration, _bar)
        for name, other in _others(args, first).items()
    }
    if args.out:
        name, found = next(iter(checks.items()))
        _draw(first, name, found, args.out)
    if args.json:
        print(json.dumps({'map': args.map, 'others': {n: _facts(c) for n, c in checks.items()}}))
        return
    for name, found in checks.items():
        print(f'{args.map} and {name}: {found}')


def _others(args: argparse.Namespace, first: 'SatelliteMap') -> 'dict[str, SatelliteMap]':
    from justzoom_ros.errors import ConfigError
    from justzoom_ros.maps.layers import BASE, open_layers
    from justzoom_ros.maps.satellite_map import SatelliteMap

    if args.other:
        return {args.other: SatelliteMap.open(args.other)}
    others = {name: one for name, one in open_layers(first).items() if name != BASE}
    if not others:
        raise ConfigError(f'{args.map} has no layers besides its base; name another map')
    return others


def _bar(items: Any, what: str, total: int) -> Any:
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, unit='part')


def _facts(found: 'MapCheck') -> dict[str, Any]:
    facts = asdict(found)
    return {**facts, 'distance_m': found.distance_m, 'error_m': found.error_m}


def _draw(first: 'SatelliteMap', name: str, found: 'MapCheck', out: str) -> None:
    import numpy as np

    from justzoom_ros.plots.shift_picture import draw_shifts

    places = np.array([(part.east_m, part.north_m) for part in found.parts])
    shifts = np.array([part.shift_m for part in found.parts])
    title = f'{Path(name).name}: {found.distance_m:.2f} m from {first.path.name}'
    draw_shifts(first, places, shifts, found.shift_m, out, title)
