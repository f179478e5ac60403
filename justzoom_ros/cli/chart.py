"""`justzoom chart`: tables of `justzoom compare` as one picture."""

import argparse
from typing import Any

EXAMPLE = """example:
  justzoom chart -o robustness.png mixed=mixed.json night=night.json rain=rain.json

The tables are what `justzoom compare -o FILE` writes; exact searches are drawn.
"""


def add_parser(subparsers: Any) -> None:
    """Add `chart` to the commands."""
    parser = subparsers.add_parser(
        'chart',
        help='draw the recall of several tables side by side',
        description='Draw R@50m of several tables of `justzoom compare` as bars, a group for each '
        'table and a bar for each number of views, with 90 % intervals.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('tables', nargs='+', metavar='NAME=FILE', help='name of a group, and its table')
    add('-o', '--out', required=True, metavar='FILE', help='PNG to write')
    add('--method', metavar='NAME', help='which method, where a table has several')
    add('--split', default='val', metavar='SPLIT', help='which split (default val)')
    add('--title', default='', help='above the chart')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read the tables and draw them."""
    from justzoom_ros.cli.named_files import named_files
    from justzoom_ros.plots.comparison import draw_recalls, read_rows

    tables = {
        name: read_rows(file, args.split, args.method)
        for name, file in named_files(args.tables, 'table').items()
    }
    draw_recalls(tables, args.out, args.title)
    print(args.out)
