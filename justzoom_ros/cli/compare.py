"""`justzoom compare`: several methods on one dataset, in one table."""

import argparse
from collections.abc import Sequence
from typing import Any

from justzoom_ros.cli.camera_options import add_camera_options, knowledge_of

HELP = 'compare methods on one dataset'
EPILOG = """examples:
  justzoom compare runs/city retrieval=runs/retrieval/weights.safetensors \\
      published=runs/published/weights.safetensors look-ahead=runs/look/weights.safetensors \\
      -o docs/results/city.json
  justzoom compare photos.csv registration sift --map maps/farm --footprint 90 150
  justzoom compare photos.csv sift registration adapted=maps/farm/registration.safetensors \\
      policy=farm.safetensors zoom+registration=farm.safetensors --map maps/farm --footprint 90 150

Methods of pictures of streets are weights, NAME=FILE. Of a downward camera, whose images come with
--map, also:
  registration[=FILE]       with the weights that `justzoom localize` would use, or these
  NAME=FILE                 a policy alone, or registration, as the file says
  zoom+registration=FILE    the policy says which part of the map is registered on
  sift                      SIFT, ratio test, MAGSAC; an image that it cannot place counts as wrong
"""


def add_parser(subparsers: Any) -> None:
    """Add `compare` to the commands."""
    parser = subparsers.add_parser(
        'compare',
        help=HELP,
        description=f'{HELP}: recall, error, likelihood, time and memory as a Markdown table',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('dataset', metavar='DATASET', help='folder as `justzoom city` writes it; with --map a CSV '
        'or a folder of images, see evaluate')  # fmt: skip
    add('methods', nargs='+', metavar='METHOD', help='NAME=FILE, weights of `justzoom train`, or '
        'a method of its own, see below')  # fmt: skip
    add('--splits', nargs='+', default=('val', 'blocks', 'other_city'), metavar='SPLIT',
        choices=('val', 'blocks', 'other_city'), help='of streets (default all)')  # fmt: skip
    add('--views', nargs='+', type=int, default=(1, 2, 4), metavar='N', help='of streets: cameras '
        'at each place (default 1 2 4)')  # fmt: skip
    add('--occupied', action='store_true', help='only the cells in which an image of the split '
        'was taken can be')  # fmt: skip
    add('--limit', type=int, metavar='N', help='at most so many places of a split')
    add('-o', '--out', metavar='FILE', help='JSON file for the figures; beside it an HTML page '
        'of the same name')  # fmt: skip
    add('--curves', metavar='FILE', help='PNG for the learning curves of all methods, read from '
        'history.csv beside their weights')  # fmt: skip
    add('--json', action='store_true', help='print the figures as JSON instead of the table')
    add = parser.add_argument_group('images of a downward camera').add_argument
    add('--map', metavar='DIR', help='map folder of the images')
    add('--select', action='append', metavar='COLUMN=VALUE', help='only the rows of the CSV with '
        'this value; may be given again')  # fmt: skip
    add('--skip-outside', action='store_true', help='leave out images taken outside the map')
    add_camera_options(parser, of_dataset=True)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Compare, print and write."""
    import json
    from functools import partial
    from pathlib import Path

    from tqdm import tqdm

    from justzoom_ros.evaluation.compare import (
        CompareConfig,
        compare,
        draw_histories,
        markdown,
        write,
    )
    from justzoom_ros.evaluation.compare_report import write_compare_report
    from justzoom_ros.files import output_file
    from justzoom_ros.io.datasets import parse_select
    from justzoom_ros.plots.figures import require_matplotlib
    from justzoom_ros.report.page import write_report

    if args.curves:
        require_matplotlib()
    if args.out:
        output_file(args.out)
    methods = _methods(args.methods)
    config = CompareConfig(
        splits=tuple(args.splits),
        views=tuple(args.views),
        occupied=args.occupied,
        limit=args.limit,
        map=args.map,
        select=parse_select(args.select),
        skip_outside=args.skip_outside,
        knowledge=knowledge_of(args),
    )
    made = compare(args.dataset, methods, config, partial(tqdm, desc='compare', unit='place'))
    if args.out:
        write(args.out, made)
        write_report(Path(args.out).with_suffix('.html'), write_compare_report, made)
    if args.curves:
        draw_histories(methods, made['rows'][0]['chance_nats'], args.curves)
    print(json.dumps(made) if args.json else markdown(made))


def _methods(words: Sequence[str]) -> dict[str, str | None]:
    """{name: file, None for a method that needs none}, in the order of the words."""
    from justzoom_ros.cli.named_files import named_files
    from justzoom_ros.errors import ConfigError
    from justzoom_ros.evaluation.methods import REGISTRATION, SIFT

    alone = [word for word in words if word in (SIFT, REGISTRATION)]
    named = named_files([word for word in words if word not in alone], 'method')
    found = {word.partition('=')[0]: named.get(word.partition('=')[0]) for word in words}
    if len(found) < len(words):
        raise ConfigError('give each method once')
    return found
