"""`justzoom localize`: where was this picture taken?"""

import argparse
import json
from typing import TYPE_CHECKING, Any

from justzoom_ros.runtimes.registry import RUNTIMES

if TYPE_CHECKING:
    from justzoom_ros.inference.fix import Fix

EXAMPLE = """example:
  justzoom localize frame.jpg --map maps/demo --weights maps/demo/weights.safetensors
  justzoom localize *.jpg --map maps/town --weights runs/town/weights.safetensors --json
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        'localize',
        help='where was this picture taken?',
        description='Print where each picture was taken: position, 90 %% radius and hypotheses.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='picture files')
    parser.add_argument('--map', required=True, metavar='DIR', help='map folder')
    parser.add_argument('--weights', required=True, metavar='FILE', help='weights of the policy')
    parser.add_argument(
        '--runtime',
        default='auto',
        help=f'where the policy runs: {", ".join(RUNTIMES.list())} (default auto)',
    )
    parser.add_argument('--search', default='exact', help='exact, best_first, beam or greedy')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Localize every picture in turn."""
    from justzoom_ros.io.images import read_picture
    from justzoom_ros.localizer import Localizer

    localizer = Localizer.open(args.map, args.weights, args.runtime, args.search)
    answers = []
    for path in args.images:
        fix = localizer.locate(read_picture(path))
        answers.append({'image': path, **_plain(fix)})
        if not args.json:
            print(_line(path, fix))
    if args.json:
        print(json.dumps({'images': answers, 'runtime': localizer.runtime}))


def _plain(fix: 'Fix') -> dict[str, Any]:
    """A fix as plain JSON types."""
    return {
        'status': fix.status,
        'reason': fix.reason,
        'latitude': fix.latitude,
        'longitude': fix.longitude,
        'covariance_m2': fix.covariance_m2.tolist(),
        'radius_90_m': fix.radius_90_m,
        'confidence': fix.confidence,
        'hypotheses': [
            {'latitude': h.latitude, 'longitude': h.longitude, 'mass': h.mass}
            for h in fix.hypotheses
        ],
    }


def _line(path: str, fix: 'Fix') -> str:
    place = f'{fix.latitude:.7f} {fix.longitude:.7f}  90 % within {fix.radius_90_m:.0f} m'
    sure = f'{fix.confidence:.0%} sure' if fix.status == 'fix' else f'no fix: {fix.reason}'
    return f'{path}: {place}, {sure}'
