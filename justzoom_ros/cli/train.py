"""`justzoom train`: teach a policy from a map alone, or from pictures of streets."""

import argparse
import math
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

from justzoom_ros.errors import ConfigError

EXAMPLE = """examples:
  justzoom train --dataset runs/city --look-ahead -o runs/street
  justzoom train --dataset runs/town1 runs/town2 runs/town3 --validate-on runs/town4 -o runs/towns
  justzoom train --dataset runs/city --method retrieval -o runs/retrieval
  justzoom train --dataset runs/city --encoder dinov2-base/ --train-blocks 2 -o runs/dino
  justzoom train --map maps/town --view nadir --footprint 70 120 --fov 72 -o runs/town
  justzoom train --map maps/town --view nadir --footprint 70 120 -o runs/town --resume
  torchrun --nproc-per-node 4 -m justzoom_ros.cli.main train --dataset runs/city -o runs/street

--set changes any other field of TrainConfig (train.), ConvConfig (conv.), DecoderConfig
(decoder.), for streets StreetConfig (street.) and Augmentation (augmentation.), for a downward
camera NadirViewConfig (view.) and Appearance (appearance.), for retrieval RetrievalConfig
(retrieval.):
  --set appearance.shade=0.4 --set conv.channels=32,64,128,192 --set train.weight_decay=0.01
"""


def add_parser(subparsers):
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        'train',
        help='teach a policy',
        description='Teach a policy to zoom: from pictures of streets with known positions '
        '(--dataset), or, for a downward camera, from the map alone (--map), the training views '
        'being drawn from it.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--dataset', nargs='+', metavar='DIR', help='folder in the published layout, as `justzoom '
        'city` writes it; its map is DIR/map unless --map is given; of several, each step learns '
        'from one')  # fmt: skip
    add('--map', nargs='+', metavar='DIR', help='map folder, see `justzoom map build`; several '
        'likewise')  # fmt: skip
    add('--validate-on', nargs='+', metavar='DIR', help='datasets (or maps, where there are no '
        'datasets) to validate and calibrate on, instead of views kept back of those trained '
        'on')  # fmt: skip
    add('-o', '--out', required=True, metavar='DIR', help='where checkpoint, logs and weights go')
    add('--view', choices=['nadir', 'street'], help='camera: nadir looks straight down, street '
        'ahead (default street with --dataset, else nadir)')  # fmt: skip
    add('--method', default='zoom', choices=['zoom', 'retrieval'], help='zoom (default), or the '
        'contrastive baseline')  # fmt: skip
    add('--look-ahead', action='store_true', help="look at the child cells' own images")
    add('--encoder', metavar='DIR', help='pretrained DINOv2, a local folder or hub name, instead '
        'of a small convolutional network')  # fmt: skip
    add('--train-blocks', type=int, default=2, metavar='N', help='last blocks of the pretrained '
        'encoder that are trained, the others stay (default 2)')  # fmt: skip
    add('--footprint', nargs=2, type=float, default=(80.0, 160.0), metavar=('MIN', 'MAX'),
        help='nadir: ground width in the image, metres (default 80 160)')  # fmt: skip
    add('--fov', type=float, default=69.0, metavar='DEG', help='nadir: horizontal field of view, '
        'degrees')  # fmt: skip
    add('--tilt', type=float, default=4.6, metavar='DEG', help='nadir: standard deviation of the '
        'tilt')  # fmt: skip
    add('--aspect', type=float, default=4 / 3, help='nadir: image width / height (default 1.333)')
    add('--ground-px', type=int, help='height of a camera view (default 96 nadir, 48 street)')
    add('--crop-px', type=int, help='side of a map crop (default 64 nadir, 48 street)')
    add('--steps', type=int, default=10_000, help='optimiser steps (default 10000)')
    add('--batch', type=int, help='views per step (default 128 nadir, 256 street)')
    add('--optimizer', choices=['adamw', 'muon'], help='of the weights of hidden layers (default '
        'adamw nadir, muon street); muon needs torch 2.9')  # fmt: skip
    add('--learning-rate', type=float, help='at its peak (default 0.0015, with muon 0.003)')
    add('--seed', type=int, default=0, help='of weights and views (default 0)')
    add('--workers', type=int, default=1, help='processes that draw views beside (default 1)')
    add('--set', action='append', default=[], metavar='PART.FIELD=VALUE', help='see below')
    add('--start-from', metavar='FILE', help='trained weights to go on from, with a new schedule')
    add('--resume', action='store_true', help='go on from the checkpoint in the output folder')
    parser.set_defaults(run=run)


def run(args):
    """Build the configurations, train, say where the weights are."""
    from justzoom_ros.files import output_folder
    from justzoom_ros.plots.figures import require_matplotlib

    if not (args.map or args.dataset):
        raise ConfigError('give --dataset DIR (pictures of streets) or --map DIR (a map alone)')
    view = args.view or ('street' if args.dataset else 'nadir')
    if (view == 'street') != bool(args.dataset):
        raise ConfigError(f'--view {view} goes with --{"dataset" if view == "street" else "map"}')
    output_folder(args.out)
    require_matplotlib()
    trainer = _trainer(args, view)
    if args.start_from:
        trainer.policy.take(args.start_from)
    if args.resume:
        trainer.resume()
    weights = trainer.run()
    if trainer.leads:
        print(weights)


def _folders(datasets, maps):
    """[(dataset or None, map)], the folders of each area."""
    if not datasets:
        return [(None, map) for map in maps or ()]
    maps = maps or [Path(dataset) / 'map' for dataset in datasets]
    if len(maps) != len(datasets):
        raise ConfigError(f'{len(datasets)} datasets need as many maps, not {len(maps)}')
    return list(zip(datasets, maps, strict=True))


def _trainer(args, view):
    from justzoom_ros.maps.satellite_map import SatelliteMap
    from justzoom_ros.training import Trainer

    learned = _folders(args.dataset, args.map)
    judging = (
        _folders(args.validate_on, None) if args.dataset else _folders(None, args.validate_on)
    )
    maps = {folder: SatelliteMap.open(folder) for _, folder in (*learned, *judging)}
    parts = configurations(args, view)
    policy = policy_config(args, view, maps[learned[0][1]].region, parts)
    make = Trainer
    if args.method == 'retrieval':
        from justzoom_ros.evaluation.retrieval import RetrievalTrainer

        make = partial(RetrievalTrainer, parts['retrieval'])
    areas = [AREAS[view](dataset, maps[map], policy, parts) for dataset, map in learned]
    judges = [AREAS[view](dataset, maps[map], policy, parts, True) for dataset, map in judging]
    prepare = partial(_take_pretrained, args)
    return make(areas, policy, parts['train'], args.out, prepare, judges)


def _take_pretrained(args, policy):
    if args.encoder:
        policy.encoder.load_pretrained(args.encoder)
        policy.encoder.freeze_but(args.train_blocks)


def _nadir_area(_, satellite_map, policy, parts, judging=False):
    from justzoom_ros.training import Area
    from justzoom_ros.training.batches import ViewBatches
    from justzoom_ros.training.nadir_views import NadirViews

    size_px = round(policy.ground_px * policy.ground_aspect), policy.ground_px
    views = NadirViews(satellite_map, size_px, parts['view'], parts['appearance'])
    return Area(satellite_map, partial(ViewBatches, views), policy.crop_px)


def _street_area(dataset, satellite_map, policy, parts, judging=False):
    from justzoom_ros.training import Area
    from justzoom_ros.training.street import StreetBatches, StreetPlaces

    places = StreetPlaces(dataset, satellite_map.region, judging)
    source = partial(StreetBatches, places, policy, parts['street'], parts['augmentation'])
    return Area(satellite_map, source, policy.crop_px)


AREAS = {'nadir': _nadir_area, 'street': _street_area}


def policy_config(args, view, region, parts):
    """The `PolicyConfig` that the arguments describe for a map's region."""
    from justzoom_ros.models import PolicyConfig

    ground_px, crop_px = {'nadir': (96, 64), 'street': (48, 48)}[view]
    return PolicyConfig(
        region.grid,
        region.depth,
        view,
        args.ground_px or ground_px,
        args.aspect if view == 'nadir' else 2.0,
        args.crop_px or crop_px,
        args.look_ahead,
        parts['encoder'],
        parts['decoder'],
    )


def configurations(args, view):
    """The configurations that the arguments describe, by name of the part."""
    from justzoom_ros.evaluation.retrieval import RetrievalConfig
    from justzoom_ros.models import ConvConfig, DecoderConfig
    from justzoom_ros.training import TrainConfig
    from justzoom_ros.training.augmentation import Augmentation
    from justzoom_ros.training.nadir_views import Appearance, NadirViewConfig
    from justzoom_ros.training.street import StreetConfig

    optimizer = args.optimizer or {'nadir': 'adamw', 'street': 'muon'}[view]
    channels = {'nadir': (32, 64, 128, 192), 'street': (32, 64, 128)}[view]
    parts = {
        'train': TrainConfig(
            steps=args.steps,
            batch=args.batch or {'nadir': 128, 'street': 256}[view],
            optimizer=optimizer,
            learning_rate=args.learning_rate or {'adamw': 1.5e-3, 'muon': 3e-3}[optimizer],
            seed=args.seed,
            workers=args.workers,
            label_smoothing=0.1 if view == 'nadir' else 0.0,
        ),
        'view': NadirViewConfig(
            footprint_m=tuple(args.footprint),
            fov_rad=math.radians(args.fov),
            tilt_rad=math.radians(args.tilt),
        ),
        'appearance': Appearance(),
        'street': StreetConfig(),
        'augmentation': Augmentation(),
        'retrieval': RetrievalConfig(),
        'conv': ConvConfig(channels=channels),
        'decoder': DecoderConfig(layers=3, heads=4, dropout=0.1 if view == 'nadir' else 0.0),
    }
    for assignment in args.set:
        _assign(parts, assignment)
    return {**parts, 'encoder': _encoder(args, parts)}


def _encoder(args, parts):
    from justzoom_ros.models import EncoderConfig

    if args.encoder:
        return EncoderConfig.from_pretrained(args.encoder)
    return EncoderConfig('conv', parts['conv'])


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
