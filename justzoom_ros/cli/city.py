"""`justzoom city`: a generated city as a dataset, with its map, street pictures and drives."""

import argparse
import json
import sys
from typing import Any

EXAMPLE = """examples:
  justzoom city runs/city
  justzoom city runs/town --seed 4 --side 640 --train 2000 --size 256 128 --drives 3
  justzoom city runs/night --seed 1 --train 0 --blocks 0 --other-city 0 --condition night

The same options give the same bytes. A run that was interrupted goes on when it is repeated.
Read it with:  justzoom evaluate ... runs/city/metadata.csv --select split=val
"""


def add_parser(subparsers: Any) -> None:
    """Add `city`."""
    parser = subparsers.add_parser(
        'city',
        help='generate a city: map, street pictures, drives',
        description='Generate a city from a seed and render it twice: as an orthophoto, of which a'
        ' map is built, and as street pictures with positions, headings and camera matrices in '
        'the published layout. Drives are written as rosbag2.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('output', metavar='DIR', help='folder to make or to complete')
    add('--seed', type=int, default=1, metavar='N', help='of the city (default 1)')
    add('--side', type=float, default=1280.0, metavar='M', help='of the square, metres '
        '(default 1280)')  # fmt: skip
    add('--grid', type=int, default=4, metavar='N', help='cells along a side in one zoom step '
        '(default 4)')  # fmt: skip
    add('--depth', type=int, default=3, metavar='N', help='zoom steps (default 3)')
    add('--resolution', type=float, default=0.25, metavar='M', help='of the orthophoto, metres '
        'per pixel (default 0.25)')  # fmt: skip
    add('--crop-px', type=int, default=160, metavar='PX', help='side of the finest map crop '
        '(default 160)')  # fmt: skip
    for split, count, what in (
        ('train', 10_000, 'to learn from'),
        ('val', 500, 'of the same streets, other places and days'),
        ('blocks', 500, 'round blocks that train never sees'),
        ('other-city', 500, 'of a city of another seed, in DIR/other_city with its own map'),
    ):
        add(f'--{split}', type=int, default=count, metavar='N', help=f'pictures {what} '
            f'(default {count})')  # fmt: skip
    add('--panoramas', type=int, default=0, metavar='N', help='further places to learn from, seen '
        'all round (default 0)')  # fmt: skip
    add('--cameras', type=int, default=1, metavar='N', help='at each place of val, blocks and '
        'other-city: 1 to 4, looking ahead, back, left, right (default 1)')  # fmt: skip
    add('--size', nargs=2, type=int, default=(512, 288), metavar=('W', 'H'), help='of a picture, '
        'pixels (default 512 288)')  # fmt: skip
    add('--drives', type=int, default=1, metavar='N', help='traverses as rosbag2 (default 1)')
    add('--drive-seconds', type=float, default=120.0, metavar='S', help='of each (default 120)')
    add('--drive-hz', type=float, default=4.0, metavar='HZ', help='pictures per second '
        '(default 4)')  # fmt: skip
    add('--held', type=float, default=0.1, metavar='SHARE', help='of the blocks, kept back from '
        'train and val (default 0.1)')  # fmt: skip
    add('--changed', type=float, default=0.0, metavar='SHARE', help='of the blocks, built anew '
        'since the map was made (default 0)')  # fmt: skip
    add('--condition', default='mixed', choices=('mixed', 'night', 'rain', 'traffic'),
        help='mixed (default), or all by night, in rain, or in dense traffic')  # fmt: skip
    add('--fov', type=float, nargs=2, default=(60, 110), metavar=('MIN', 'MAX'), help='horizontal '
        'fields of view, degrees (default 60 110)')  # fmt: skip
    add('--workers', type=int, metavar='N', help='threads (default: one per core)')
    add('--json', action='store_true', help='print one JSON object on stdout and nothing else')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Make the dataset."""
    import os

    from tqdm import tqdm

    from justzoom_ros.worlds.city.config import CityConfig
    from justzoom_ros.worlds.city.dataset import make_dataset

    config = CityConfig(
        seed=args.seed,
        side_m=args.side,
        grid=args.grid,
        depth=args.depth,
        resolution_m=args.resolution,
        crop_px=args.crop_px,
        train=args.train,
        val=args.val,
        blocks=args.blocks,
        other_city=args.other_city,
        panoramas=args.panoramas,
        cameras=args.cameras,
        size_px=tuple(args.size),
        drives=args.drives,
        drive_s=args.drive_seconds,
        drive_hz=args.drive_hz,
        held_share=args.held,
        changed=args.changed,
        condition=args.condition,
        fov_deg=tuple(args.fov),
    )
    made = make_dataset(
        args.output,
        config,
        args.workers or os.cpu_count() or 1,
        lambda items, name, total: tqdm(items, name, total, file=sys.stderr),
    )
    if args.json:
        print(json.dumps({'dataset': args.output, **made}))
    else:
        counted = ', '.join(f'{count} {name}' for name, count in made.items())
        print(f'{args.output}: {counted}')
