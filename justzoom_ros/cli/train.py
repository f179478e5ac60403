"""`justzoom train`: teach a policy from a map alone."""

import argparse
import math
from dataclasses import fields, replace

from justzoom_ros.errors import ConfigError

EXAMPLE = """example:
  justzoom train --map maps/town --view nadir --footprint 70 120 --fov 72 -o runs/town
  justzoom train --map maps/town --view nadir --footprint 70 120 -o runs/town --resume
  torchrun --nproc-per-node 4 -m justzoom_ros.cli.main train --map maps/town -o runs/town

--set changes any other field of TrainConfig (train.), NadirViewConfig (view.), Appearance
(appearance.), ConvConfig (conv.) or DecoderConfig (decoder.):
  --set appearance.shade=0.4 --set conv.channels=32,64,128,192 --set train.weight_decay=0.01
"""


def add_parser(subparsers):
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        'train',
        help='teach a policy from a map alone',
        description='Teach a policy to zoom. For a downward camera the training views are drawn '
        'from the map itself: no photograph is needed.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--map', required=True, metavar='DIR', help='map folder, see `justzoom map build`')
    add('-o', '--out', required=True, metavar='DIR', help='where checkpoint, logs and weights go')
    add('--view', default='nadir', choices=['nadir'], help='camera: nadir looks straight down')
    add('--footprint', nargs=2, type=float, default=(80.0, 160.0), metavar=('MIN', 'MAX'),
        help='ground width in the image, metres (default 80 160)')  # fmt: skip
    add('--fov', type=float, default=69.0, metavar='DEG', help='horizontal field of view, degrees')
    add('--tilt', type=float, default=4.6, metavar='DEG', help='standard deviation of the tilt')
    add('--aspect', type=float, default=4 / 3, help='image width / height (default 1.333)')
    add('--ground-px', type=int, default=96, help='height of a camera view (default 96)')
    add('--crop-px', type=int, default=64, help='side of a map crop (default 64)')
    add('--steps', type=int, default=10_000, help='optimiser steps (default 10000)')
    add('--batch', type=int, default=128, help='views per step (default 128)')
    add('--learning-rate', type=float, default=1.5e-3, help='at its peak (default 0.0015)')
    add('--seed', type=int, default=0, help='of weights and views (default 0)')
    add('--workers', type=int, default=1, help='processes that draw views (default 1)')
    add('--set', action='append', default=[], metavar='PART.FIELD=VALUE', help='see below')
    add('--start-from', metavar='FILE', help='trained weights to go on from, with a new schedule')
    add('--resume', action='store_true', help='go on from the checkpoint in the output folder')
    parser.set_defaults(run=run)


def run(args):
    """Build the configurations, train, say where the weights are."""
    from justzoom_ros.files import output_folder
    from justzoom_ros.model import PolicyConfig
    from justzoom_ros.satellite import SatelliteMap
    from justzoom_ros.train import Trainer
    from justzoom_ros.views import NadirViews

    output_folder(args.out)
    satellite_map = SatelliteMap.open(args.map)
    parts = configurations(args)
    policy = PolicyConfig(
        satellite_map.region.grid,
        satellite_map.region.depth,
        args.view,
        args.ground_px,
        args.aspect,
        args.crop_px,
        parts['encoder'],
        parts['decoder'],
    )
    size_px = round(args.ground_px * args.aspect), args.ground_px
    views = NadirViews(satellite_map, size_px, parts['view'], parts['appearance'])
    trainer = Trainer(satellite_map, policy, parts['train'], views, args.out)
    if args.start_from:
        trainer.start_from(args.start_from)
    if args.resume:
        trainer.resume()
    weights = trainer.run()
    if trainer.leads:
        print(weights)


def configurations(args):
    """The configurations that the arguments describe, by name of the part."""
    from justzoom_ros.model import ConvConfig, DecoderConfig, EncoderConfig
    from justzoom_ros.train import TrainConfig
    from justzoom_ros.views import Appearance, NadirViewConfig

    parts = {
        'train': TrainConfig(
            steps=args.steps,
            batch=args.batch,
            learning_rate=args.learning_rate,
            seed=args.seed,
            workers=args.workers,
        ),
        'view': NadirViewConfig(
            footprint_m=tuple(args.footprint),
            fov_rad=math.radians(args.fov),
            tilt_rad=math.radians(args.tilt),
        ),
        'appearance': Appearance(),
        'conv': ConvConfig(channels=(32, 64, 128, 192)),
        'decoder': DecoderConfig(layers=3, heads=4),
    }
    for assignment in args.set:
        _assign(parts, assignment)
    return {**parts, 'encoder': EncoderConfig('conv', parts['conv'])}


def _assign(parts, assignment):
    """Apply one `part.field=value`. Raises ConfigError where there is no such field."""
    name, _, text = assignment.partition('=')
    part, _, field = name.partition('.')
    known = [f'{p}.{f.name}' for p, config in parts.items() for f in fields(config)]
    if name not in known:
        raise ConfigError(f'--set {assignment}: no such setting; there are {", ".join(known)}')
    default = getattr(parts[part], field)
    try:
        parts[part] = replace(parts[part], **{field: _parsed(text, default)})
    except ValueError as error:
        raise ConfigError(f'--set {assignment}: {text!r} is not like {default!r}') from error


def _parsed(text, default):
    """`text` as the type of `default`; tuples are comma-separated."""
    if isinstance(default, tuple):
        return tuple(type(default[0])(item) for item in text.split(','))
    return type(default)(text)
