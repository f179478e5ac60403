"""`justzoom localize`: where was this picture taken?"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from justzoom_ros.cli.camera_options import (
    add_camera_options,
    add_image_range,
    camera_of,
    depth_of,
    heading_of,
)
from justzoom_ros.runtimes.registry import RUNTIMES

if TYPE_CHECKING:
    from justzoom_ros.inference.fix import Fix
    from justzoom_ros.localizer import Localizer
    from justzoom_ros.registration.camera_state import CameraState

EXAMPLE = """examples:
  justzoom localize frame.jpg --map maps/farm --height 120 --fov 70
  justzoom localize *.jpg --map maps/farm --footprint 90 150 --json
  justzoom localize frame.jpg --map maps/demo --weights maps/demo/weights.safetensors

Without --weights the picture is registered on the map: nothing needs to be trained. With the
weights of a policy and a camera, the policy says where on the map to register.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        'localize',
        help='where was this picture taken?',
        description='Print where each picture was taken: position, heading, 90 % radius.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('images', nargs='+', metavar='IMAGE', help='picture files')
    add('--map', required=True, metavar='DIR', help='map folder')
    add('--weights', metavar='FILE', help='weights of a policy, if there is one')
    add('--registration', metavar='FILE', help='weights of a registration network (default: those '
        'adapted to the map, else the shipped ones)')  # fmt: skip
    add('--runtime', default='auto', help='where the policy runs: '
        f'{", ".join(RUNTIMES.list())} (default auto)')  # fmt: skip
    add('--search', default='exact', help='of the policy: exact, best_first, beam or greedy')
    add('--draw', metavar='PNG', help='draw how the (one) picture is registered')
    add('--json', action='store_true', help='print one JSON object')
    add_camera_options(parser)
    add_image_range(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Localize every picture in turn; one that cannot be read does not lose the others."""
    from justzoom_ros.errors import ConfigError, ImageError
    from justzoom_ros.io.images import read_picture
    from justzoom_ros.localizer import Localizer
    from justzoom_ros.registration.camera_state import CameraState

    camera, (yaw_rad, yaw_std_rad) = camera_of(args), heading_of(args)
    if not (args.weights or camera):
        raise ConfigError(
            'how much ground do the pictures show? Give --footprint MIN MAX, or --height and --fov'
        )
    if args.draw and len(args.images) > 1:
        raise ConfigError('--draw takes one picture')
    localizer = Localizer.open(
        args.map, args.weights, args.runtime, args.search, camera=camera,
        registration=args.registration,
    )  # fmt: skip
    answers, failed = [], 0
    for path in args.images:
        try:
            fix = localizer.locate(read_picture(path, depth_of(args)), None, yaw_rad, yaw_std_rad)
        except ImageError as error:
            failed += 1
            answers.append({'image': path, 'status': 'error', 'reason': str(error)})
            print(f'justzoom: error: {error}', file=sys.stderr)
            continue
        answers.append({'image': path, **_plain(fix), **_layer_of(localizer)})
        if args.draw:
            state = CameraState(camera, None, yaw_rad, yaw_std_rad)
            _draw(args, localizer, fix, state)
        if not args.json:
            print(_line(path, fix) + ''.join(f', on {v}' for v in _layer_of(localizer).values()))
    if args.json:
        about = {'method': localizer.method, 'runtime': localizer.runtime}
        print(json.dumps({'images': answers, **about}))
    return 2 if failed else 0


def _layer_of(localizer: 'Localizer') -> dict[str, str]:
    """Which layer of the map the latest picture fitted best, where there are several."""
    registrar = localizer.registrar
    return {'layer': registrar.layer} if registrar and len(registrar.layers) > 1 else {}


def _draw(
    args: argparse.Namespace, localizer: 'Localizer', fix: 'Fix', state: 'CameraState'
) -> None:
    """The picture, the map, and the likelihood ratios over all of it."""
    from justzoom_ros.io.images import read_picture
    from justzoom_ros.plots.figures import Mark
    from justzoom_ros.plots.registration import draw_registration

    (path,) = args.images
    image = read_picture(path, depth_of(args))
    likelihood = localizer.require_registrar().likelihood(localizer.view(image, state))
    mark = Mark(np.array([fix.east_m, fix.north_m]), fix.covariance_m2, fix.status)
    ratios = likelihood.log_ratio.cpu().numpy()
    title = _line(Path(path).name, fix)
    draw_registration(image, localizer.map, ratios, likelihood.yaws_rad, mark, args.draw, title)


def _plain(fix: 'Fix') -> dict[str, Any]:
    """A fix as plain JSON types."""
    return {
        'status': fix.status,
        'reason': fix.reason,
        'latitude': fix.latitude,
        'longitude': fix.longitude,
        'heading_deg': None if fix.yaw_rad is None else _heading_deg(fix.yaw_rad),
        'covariance_m2': fix.covariance_m2.tolist(),
        'radius_90_m': fix.radius_90_m,
        'confidence': fix.confidence,
        'hypotheses': [
            {'latitude': h.latitude, 'longitude': h.longitude, 'mass': h.mass}
            for h in fix.hypotheses
        ],
    }


def _line(path: str, fix: 'Fix') -> str:
    best = fix.hypotheses[0] if fix.status == 'no_fix' and fix.hypotheses else fix
    place = f'{best.latitude:.7f} {best.longitude:.7f}'
    if fix.status == 'no_fix':
        return f'{path}: no fix: {fix.reason}; best guess {place}'
    heading = '' if fix.yaw_rad is None else f', heading {_heading_deg(fix.yaw_rad):.0f} degrees'
    return (
        f'{path}: {place}, 90 % within {_metres(fix.radius_90_m)}{heading}, '
        f'{fix.confidence:.0%} sure'
    )


def _metres(value: float) -> str:
    return f'{value:.1f} m' if value < 10 else f'{value:.0f} m'


def _heading_deg(yaw_rad: float) -> float:
    """Degrees clockwise from north of a yaw from east."""
    return (90.0 - math.degrees(yaw_rad)) % 360.0
