"""`justzoom train --registration`: weights that work on any map, or weights adapted to one map or
to photos of streets."""

import argparse
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from justzoom_ros.errors import ConfigError

OF_POLICIES = (
    *('view', 'look_ahead', 'encoder', 'fov', 'tilt', 'aspect', 'ground_px'),
    *('crop_px', 'steps', 'batch', 'optimizer', 'workers', 'set'),
)
"""Options that say nothing of registration."""

OF_PHOTOS = ('position_std', 'heading_std')
"""Options of photos alone."""

FIRST_SEED = 1000
"""Of the generated towns."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add those of registration to `justzoom train`."""
    add = parser.add_argument_group('registration').add_argument
    add('--registration', action='store_true', help='train registration instead of a policy: on '
        'imagery, for any map; with --map adapt it to one map; with --dataset fit that of cameras '
        'that look ahead to photos')  # fmt: skip
    add('--imagery', nargs='+', metavar='INDEX', help='CSV of overhead pictures to learn from: '
        'file, licence, metres_per_px, place, kind')  # fmt: skip
    add('--towns', type=int, metavar='N', help='generate N towns on three days each in OUT/towns '
        'and learn from them too')  # fmt: skip
    add('--minutes', type=float, help='processor minutes, or minutes on a GPU '
        '(default 75 or 15, with --map 5, with --dataset 15)')  # fmt: skip
    add('--device', choices=('cpu', 'cuda'), help='where to train for any map or on photos '
        '(default: a GPU where there is one)')  # fmt: skip
    add('--position-std', type=float, metavar='M', help='of photos: standard deviation of their '
        'positions along either axis (default: what the dataset says, else 7.5)')  # fmt: skip
    add('--heading-std', type=float, metavar='DEG', help='of photos: standard deviation of their '
        'headings (default: what the dataset says, else 15)')  # fmt: skip


def check_options(args: argparse.Namespace) -> None:
    """Raises ConfigError where options of registration and of policies are mixed."""
    if not args.registration:
        for name in ('imagery', 'towns', 'minutes', 'device', *OF_PHOTOS):
            if getattr(args, name) is not None:
                raise ConfigError(f'--{name.replace("_", "-")} is for --registration')
        _require_out(args)
        return
    for name in OF_POLICIES:
        if getattr(args, name):
            option = name.replace('_', '-')
            raise ConfigError(f'--{option} says nothing of registration; leave it out')
    if args.minutes is not None and not args.minutes > 0:
        raise ConfigError(f'--minutes is {args.minutes:g}; it must be greater than 0')
    _check_sources(args)


def _check_sources(args: argparse.Namespace) -> None:
    """Raises ConfigError unless it is said once what is learned from."""
    imagery = bool(args.imagery or args.towns)
    if imagery + bool(args.dataset or args.map) != 1:
        raise ConfigError(
            'give --imagery INDEX or --towns N (for any map), --map DIR (to adapt to one), or '
            '--dataset DIR (photos of streets)'
        )
    if not args.dataset:
        for name in OF_PHOTOS:
            if getattr(args, name) is not None:
                raise ConfigError(f'--{name.replace("_", "-")} is for photos: give --dataset DIR')
        return
    for name in ('footprint', 'validate_on'):
        if getattr(args, name):
            raise ConfigError(f'--{name.replace("_", "-")} says nothing of photos; leave it out')
    if args.map and len(args.map) != len(args.dataset):
        raise ConfigError(f'{len(args.dataset)} datasets need as many maps, not {len(args.map)}')


def run(args: argparse.Namespace) -> None:
    """Train or adapt, and say where the weights are."""
    if args.dataset:
        print(_fit_to_photos(args))
        return
    if args.map:
        for map_folder in args.map:
            print(_adapt(args, map_folder))
        return
    weights = _train(args)
    if int(os.environ.get('RANK', 0)) == 0:
        print(weights)


def _train(args: argparse.Namespace) -> Path:
    from justzoom_ros.training.registration.runs import recipe_for, train_on_imagery

    out = _require_out(args)
    recipe = replace(recipe_for(args.device), **_given(args))
    imagery = [*(args.imagery or []), *_towns(args)]
    validate_on, start, resume = args.validate_on or (), args.start_from, args.resume
    return train_on_imagery(imagery, out, recipe, validate_on, start, resume, _bar, args.device)


def _towns(args: argparse.Namespace) -> list[Path]:
    """The index of generated towns, made where they are not there yet."""
    if not args.towns:
        return []
    from justzoom_ros.worlds.town_dates import INDEX, write_towns

    folder = Path(args.out) / 'towns'
    if not (folder / INDEX).is_file():
        if int(os.environ.get('WORLD_SIZE', 1)) > 1:
            raise ConfigError('several processes cannot make towns: make them first, in one')
        write_towns(folder, range(FIRST_SEED, FIRST_SEED + args.towns), progress=_bar)
    return [folder / INDEX]


def _adapt(args: argparse.Namespace, map_folder: str) -> str:
    """One line for people."""
    from justzoom_ros.registration.camera import Camera
    from justzoom_ros.training.registration.runs import adapt_to_map

    found = adapt_to_map(
        map_folder,
        args.minutes or 5.0,
        args.out,
        args.start_from,
        Camera.from_footprint(*args.footprint) if args.footprint else None,
        args.resume,
        _bar,
    )
    return f'{found.weights or map_folder}: {found.adaptation}'


def _fit_to_photos(args: argparse.Namespace) -> str:
    """One line for people."""
    from justzoom_ros.training.street_registration.adapt import adapt_to_photos
    from justzoom_ros.training.street_registration.photos import LabelDeviations, PhotoFolder
    from justzoom_ros.training.street_registration.recipe import PhotoRecipe

    out = _require_out(args)
    maps = args.map or [None] * len(args.dataset)
    folders = [
        PhotoFolder(Path(dataset), Path(one) if one else None)
        for dataset, one in zip(args.dataset, maps, strict=True)
    ]
    recipe = replace(
        PhotoRecipe(deviations=LabelDeviations(args.position_std, args.heading_std)),
        **_given(args),
    )
    found = adapt_to_photos(folders, out, recipe, args.start_from, args.resume, _bar, args.device)
    return f'{found.weights or out}: {found}'


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """What a recipe shall have of the options."""
    given = {'minutes': args.minutes, 'seed': args.seed, 'learning_rate': args.learning_rate}
    return {name: value for name, value in given.items() if value is not None}


def _require_out(args: argparse.Namespace) -> str:
    if args.out is None:
        raise ConfigError('give -o DIR, where checkpoint, logs and weights go')
    return args.out


def _bar(items: Iterable[Any], name: str, total: int) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(items, desc=name, total=total)
