"""`justzoom train`: teach a policy from a map alone or pictures of streets, or registration."""

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from justzoom_ros.cli import train_registration
from justzoom_ros.errors import ConfigError

if TYPE_CHECKING:
    from justzoom_ros.training import TrainRecipe
    from justzoom_ros.training.train_recipe import AreaFolders

EXAMPLE = """examples:
  justzoom train --dataset runs/city --look-ahead -o runs/street
  justzoom train --dataset runs/town1 runs/town2 runs/town3 --validate-on runs/town4 -o runs/towns
  justzoom train --dataset runs/city --method retrieval -o runs/retrieval
  justzoom train --dataset runs/city --encoder dinov2-base/ --train-blocks 2 -o runs/dino
  justzoom train --map maps/town --view nadir --footprint 70 120 --fov 72 -o runs/town
  justzoom train --map maps/town --view nadir --footprint 70 120 -o runs/town --resume
  justzoom train --registration --map maps/farm --minutes 5 --footprint 90 150
  justzoom train --registration --dataset runs/mine -o runs/fitted
  justzoom train --registration --imagery imagery/index.csv --towns 20 -o runs/anywhere
  torchrun --nproc-per-node 4 -m justzoom_ros.cli.main train --dataset runs/city -o runs/street

--set changes any other field of TrainConfig (train.), ConvConfig (conv.), DecoderConfig
(decoder.), for streets StreetConfig (street.) and Augmentation (augmentation.), for a downward
camera NadirViewConfig (nadir.) and Appearance (appearance.), for retrieval RetrievalConfig
(retrieval.):
  --set appearance.shade=0.4 --set conv.channels=32,64,128,192 --set train.weight_decay=0.01
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        'train',
        help='teach a policy, or registration',
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
    add('-o', '--out', metavar='DIR', help='where checkpoint, logs and weights go; needed but to '
        'adapt registration to a map')  # fmt: skip
    add('--view', choices=['nadir', 'street'], help='camera: nadir looks straight down, street '
        'ahead (default street with --dataset, else nadir)')  # fmt: skip
    add('--method', default='zoom', choices=['zoom', 'retrieval'], help='zoom (default), or the '
        'contrastive baseline')  # fmt: skip
    add('--look-ahead', action='store_true', help="look at the child cells' own images")
    add('--encoder', metavar='DIR', help='pretrained DINOv2, a local folder or hub name, instead '
        'of a small convolutional network')  # fmt: skip
    add('--train-blocks', type=int, default=2, metavar='N', help='last blocks of the pretrained '
        'encoder that are trained, the others stay (default 2)')  # fmt: skip
    add('--footprint', nargs=2, type=float, metavar=('MIN', 'MAX'),
        help='nadir: ground width in the image, metres (default 80 160)')  # fmt: skip
    add('--fov', type=float, metavar='DEG', help='nadir: horizontal field of view, degrees '
        '(default 69)')  # fmt: skip
    add('--tilt', type=float, metavar='DEG', help='nadir: standard deviation of the tilt, degrees '
        '(default 4.6)')  # fmt: skip
    add('--aspect', type=float, help='nadir: image width / height (default 1.333)')
    add('--ground-px', type=int, help='height of a camera view (default 96 nadir, 48 street)')
    add('--crop-px', type=int, help='side of a map crop (default 64 nadir, 48 street)')
    add('--steps', type=int, help='optimiser steps (default 10000)')
    add('--batch', type=int, help='views per step (default 128 nadir, 256 street)')
    add('--optimizer', choices=['adamw', 'muon'], help='of the weights of hidden layers (default '
        'adamw nadir, muon street); muon needs torch 2.9')  # fmt: skip
    add('--learning-rate', type=float, help='at its peak (default 0.0015, with muon 0.003, of '
        'registration 0.002)')  # fmt: skip
    add('--seed', type=int, help='of weights and views (default 0)')
    add('--workers', type=int, help='processes that draw views beside (default 1)')
    add('--set', action='append', default=[], metavar='PART.FIELD=VALUE', help='see below')
    add('--start-from', metavar='FILE', help='trained weights to go on from, with a new schedule')
    add('--resume', action='store_true', help='go on from the checkpoint in the output folder')
    train_registration.add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train as the arguments say, print where the weights are."""
    train_registration.check_options(args)
    if args.registration:
        return train_registration.run(args)
    from justzoom_ros.training import train
    from justzoom_ros.training.batches import Rank

    view = _view(args)
    areas = _areas(args.dataset, args.map)
    validate_on = (
        _areas(args.validate_on, None) if args.dataset else _areas(None, args.validate_on)
    )
    weights = train(
        _recipe(args, view), areas, args.out, validate_on, args.start_from, args.resume
    )
    if Rank.of_process().leads:
        print(weights)
    return None


def _view(args: argparse.Namespace) -> str:
    if not (args.map or args.dataset):
        raise ConfigError('give --dataset DIR (pictures of streets) or --map DIR (a map alone)')
    view = args.view or ('street' if args.dataset else 'nadir')
    if (view == 'street') != bool(args.dataset):
        raise ConfigError(f'--view {view} goes with --{"dataset" if view == "street" else "map"}')
    return view


def _areas(datasets: list[str] | None, maps: list[str] | None) -> 'list[AreaFolders]':
    """Where each area lies."""
    from justzoom_ros.training.train_recipe import AreaFolders

    if not datasets:
        return [AreaFolders(Path(map)) for map in maps or ()]
    maps = maps or [str(Path(dataset) / 'map') for dataset in datasets]
    if len(maps) != len(datasets):
        raise ConfigError(f'{len(datasets)} datasets need as many maps, not {len(maps)}')
    pairs = zip(maps, datasets, strict=True)
    return [AreaFolders(Path(map), Path(dataset)) for map, dataset in pairs]


def _recipe(args: argparse.Namespace, view: str) -> 'TrainRecipe':
    """That of the camera with what the arguments change of it."""
    from justzoom_ros.training import TrainRecipe

    recipe = TrainRecipe.of_view(view, args.optimizer)
    learning = {name: getattr(args, name) for name in ('steps', 'batch', 'seed', 'workers')}
    recipe = replace(
        recipe,
        method=args.method,
        look_ahead=args.look_ahead,
        pretrained=args.encoder,
        trained_blocks=args.train_blocks,
        train=_changed(recipe.train, **learning, learning_rate=args.learning_rate),
    )
    recipe = _changed(recipe, ground_px=args.ground_px, crop_px=args.crop_px)
    if view == 'nadir':
        camera = _changed(
            recipe.nadir,
            footprint_m=args.footprint and tuple(args.footprint),
            fov_rad=args.fov and math.radians(args.fov),
            tilt_rad=args.tilt if args.tilt is None else math.radians(args.tilt),
        )
        recipe = _changed(recipe, nadir=camera, ground_aspect=args.aspect)
    for assignment in args.set:
        recipe = recipe.with_setting(assignment)
    return recipe


def _changed(config: Any, **values: Any) -> Any:
    """A configuration with the values that were given, those that are not None."""
    return replace(config, **{name: v for name, v in values.items() if v is not None})
