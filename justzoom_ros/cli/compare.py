"""`justzoom compare`: several methods on one dataset, in one table."""

import argparse
from typing import Any

HELP = 'compare methods on a dataset of streets'
EPILOG = """example:
  justzoom compare runs/city retrieval=runs/retrieval/weights.safetensors \\
      published=runs/published/weights.safetensors look-ahead=runs/look/weights.safetensors \\
      -o docs/results/city.json
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
    add('dataset', metavar='DIR', help='folder as `justzoom city` writes it')
    add('weights', nargs='+', metavar='NAME=FILE', help='methods: weights of `justzoom train`')
    add('--splits', nargs='+', default=('val', 'blocks', 'other_city'), metavar='SPLIT',
        choices=('val', 'blocks', 'other_city'), help='of them (default all)')  # fmt: skip
    add('--views', nargs='+', type=int, default=(1, 2, 4), metavar='N', help='cameras at each '
        'place (default 1 2 4)')  # fmt: skip
    add('--occupied', action='store_true', help='only the cells in which an image of the split '
        'was taken can be')  # fmt: skip
    add('--limit', type=int, metavar='N', help='at most so many places of a split')
    add('-o', '--out', metavar='FILE', help='JSON file for the figures')
    add('--curves', metavar='FILE', help='PNG for the learning curves of all methods, read from '
        'history.csv beside their weights')  # fmt: skip
    add('--json', action='store_true', help='print the figures as JSON instead of the table')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Compare, print and write."""
    import json
    from functools import partial

    from tqdm import tqdm

    from justzoom_ros.cli.named_files import named_files
    from justzoom_ros.evaluation.compare import (
        CompareConfig,
        compare,
        draw_histories,
        markdown,
        write,
    )
    from justzoom_ros.plots.figures import require_matplotlib

    if args.curves:
        require_matplotlib()
    weights = named_files(args.weights, 'method')
    config = CompareConfig(
        tuple(args.splits), tuple(args.views), occupied=args.occupied, limit=args.limit
    )
    made = compare(args.dataset, weights, config, partial(tqdm, desc='compare', unit='place'))
    if args.out:
        write(args.out, made)
    if args.curves:
        draw_histories(weights, made['rows'][0]['chance_nats'], args.curves)
    print(json.dumps(made) if args.json else markdown(made))
