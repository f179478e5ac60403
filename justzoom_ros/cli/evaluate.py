"""`justzoom evaluate`: how good a policy is on images with known positions."""

import argparse
from typing import Any

from justzoom_ros.runtimes.registry import RUNTIMES

HELP = 'measure a policy on images with known positions'
EPILOG = """examples:
  justzoom evaluate --map maps/seneca --weights weights.safetensors \\
      --images frames.csv --select role=query -o out
  justzoom evaluate --map maps/seneca --weights weights.safetensors \\
      --images frames.csv --select role=query --sequence -o out
"""


def add_parser(subparsers: Any) -> None:
    """Add `evaluate` to the commands."""
    parser = subparsers.add_parser(
        'evaluate',
        help=HELP,
        description=f'{HELP}: recall, error and coverage, one row per search',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--map', required=True, metavar='DIR', help='map folder')
    add('--weights', required=True, metavar='FILE', help='weights of the policy')
    add('--images', required=True, metavar='PATH', help='CSV of images with positions (the '
        'published format or file, lat, lon), or a folder of geotagged images')  # fmt: skip
    add('--select', action='append', metavar='COLUMN=VALUE', help='only the rows of the CSV with '
        'this value; may be given again')  # fmt: skip
    add('--search', nargs='+', default=['greedy', 'beam', 'exact'], metavar='METHOD',
        choices=('exact', 'best_first', 'beam', 'greedy'), help='searches to compare: exact, '
        'best_first, beam, greedy (default: greedy beam exact)')  # fmt: skip
    add('--skip-outside', action='store_true', help='leave out, and count, images taken outside '
        'the map')  # fmt: skip
    add(
        '--runtime',
        default='auto',
        help=f'where the policy runs: {", ".join(RUNTIMES.list())} (default auto)',
    )
    add('-o', '--out', metavar='DIR', help='folder for summary.json, per_image.csv, errors.png')
    add('--frames', type=int, default=0, metavar='N', help='with -o, draw the N images of largest '
        'error with their posteriors (last search) into frames.png')  # fmt: skip
    add('--json', action='store_true', help='print the summary as JSON')
    add = parser.add_argument_group('as one sequence').add_argument
    add('--sequence', action='store_true', help='the images in the order of their times, each in '
        'the light of those before it and of odometry made from the true positions; with -o '
        'writes what replay writes')  # fmt: skip
    add('--odometry-noise', type=float, default=5.0, metavar='PERCENT', help='error of each '
        "step's length, standard deviation (default 5)")  # fmt: skip
    add('--yaw-drift', type=float, default=1.0, metavar='DEG', help='of the odometry, degrees per '
        'minute (default 1)')  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read the images, evaluate, print and write."""
    import json
    import sys
    from functools import partial

    from tqdm import tqdm

    from justzoom_ros.errors import DatasetError
    from justzoom_ros.evaluation.evaluate import (
        draw,
        evaluate,
        inside,
        summarize,
        table,
        write_results,
    )
    from justzoom_ros.files import output_folder
    from justzoom_ros.io.datasets import parse_select, read_images
    from justzoom_ros.localizer import Localizer
    from justzoom_ros.maps.satellite_map import SatelliteMap
    from justzoom_ros.plots.figures import require_matplotlib

    if args.out:
        require_matplotlib()
        output_folder(args.out)
    satellite_map = SatelliteMap.open(args.map)
    every = read_images(args.images, parse_select(args.select), satellite_map.region)
    images = inside(every, satellite_map.region, args.skip_outside)
    if not images:
        raise DatasetError(f'{args.images} has no image inside the map {args.map}')
    if len(images) < len(every):
        print(f'justzoom: {len(every) - len(images)} images outside left out', file=sys.stderr)
    localizer = Localizer.open(map=satellite_map, weights=args.weights, runtime=args.runtime)
    if args.sequence:
        return _sequence(args, localizer, images)
    progress = partial(tqdm, desc='evaluate', unit='image')
    results = evaluate(localizer, images, dict.fromkeys(args.search), progress)
    about = {
        'protocol': f'full grid: {localizer.region.cell_count(localizer.region.depth)} cells of '
        f'{localizer.region.terminal_side_m:.3g} m, {len(images)} images',
        'map': str(args.map),
        'weights': str(args.weights),
        'skipped_outside': len(every) - len(images),
    }
    if args.out:
        summary = write_results(args.out, results, about)
        draw(output_folder(args.out), localizer, results, args.frames)
    else:
        summary = {**about, 'searches': {name: summarize(r) for name, r in results.items()}}
    print(json.dumps(summary) if args.json else table(summary))


def _sequence(args: argparse.Namespace, localizer: Any, images: list[Any]) -> None:
    """The images as the frames of one sequence."""
    import json
    import math
    from functools import partial

    from tqdm import tqdm

    from justzoom_ros.evaluation.replay import track_frames, track_of
    from justzoom_ros.evaluation.replay_results import (
        describe,
        describe_sequence,
        score_fix,
        summarize,
        write_results,
    )
    from justzoom_ros.io.dead_reckoning import DriftConfig
    from justzoom_ros.io.sequences import events_of_images
    from justzoom_ros.tracker import Tracker

    drift = DriftConfig(args.odometry_noise / 100, math.radians(args.yaw_drift) / 60)
    progress = partial(tqdm, desc='evaluate', unit='image')
    events = events_of_images(images, localizer.region, drift, progress)
    fixes = list(track_frames(events, Tracker(localizer)))
    track = track_of(images)
    if args.out:
        summary = write_results(args.out, localizer.map, fixes, track)
    else:
        scored = [score_fix(fix, localizer.region, track) for fix in fixes]
        summary = summarize(scored, localizer.region, track)
    text = f'{describe(summary)}\n{describe_sequence(summary)}'
    print(json.dumps(summary) if args.json else text)
