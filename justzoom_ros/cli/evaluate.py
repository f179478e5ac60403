"""`justzoom evaluate`: how good a policy is on images with known positions."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from justzoom_ros.cli.camera_options import add_camera_options, knowledge_of
from justzoom_ros.runtimes.registry import RUNTIMES

if TYPE_CHECKING:
    from justzoom_ros.evaluation.image_camera import CameraKnowledge
    from justzoom_ros.io.datasets import GeoImage
    from justzoom_ros.localizer import Localizer
    from justzoom_ros.maps.satellite_map import SatelliteMap

HELP = 'measure registration or a policy on images with known positions'
EPILOG = """examples:
  justzoom evaluate --map maps/farm --images photos.csv --footprint 90 150 -o out
  justzoom evaluate --map maps/farm --images photos.csv --fov 70 --ignore-heading
  justzoom evaluate --map maps/seneca --weights weights.safetensors \\
      --images frames.csv --select role=query -o out
  justzoom evaluate --map maps/seneca --weights weights.safetensors \\
      --images frames.csv --select role=query --sequence -o out

Without --weights each picture is registered on the map: nothing needs to be trained. With weights
of a policy and a camera, the policy alone and zoom-then-register are rows of one table. A CSV may
say more of each picture: altitude (height above ground, metres), fov_deg, heading_deg (clockwise
from north); what it says goes before the options.
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
    add('--weights', metavar='FILE', help='weights of a policy, if there is one')
    add('--registration', metavar='FILE', help='weights of a registration network (default: those '
        'adapted to the map, else the shipped ones)')  # fmt: skip
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
    add('-o', '--out', metavar='DIR', help='folder for report.html, summary.json, '
        'per_image.csv, errors.png')  # fmt: skip
    add('--frames', type=int, default=0, metavar='N', help='with -o, draw the N images of largest '
        'error with their posteriors (last search) into frames.png')  # fmt: skip
    add('--json', action='store_true', help='print the summary as JSON')
    add_camera_options(parser, of_dataset=True)
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
    from dataclasses import replace
    from functools import partial

    from tqdm import tqdm

    from justzoom_ros.evaluation.evaluate import evaluate
    from justzoom_ros.evaluation.evaluate_figures import summarize
    from justzoom_ros.evaluation.evaluate_report import ViewRecorder, write_evaluation_report
    from justzoom_ros.evaluation.evaluate_results import draw, table, write_results
    from justzoom_ros.files import output_folder
    from justzoom_ros.maps.satellite_map import SatelliteMap
    from justzoom_ros.plots.figures import require_matplotlib
    from justzoom_ros.report.page import write_report

    if args.out:
        require_matplotlib()
        output_folder(args.out)
    knowledge, satellite_map = knowledge_of(args), SatelliteMap.open(args.map)
    images, left_out = _images(args, satellite_map)
    localizer = _localizer(args, satellite_map, images, knowledge)
    if localizer.registrar and not all(map(knowledge.camera_of, images)):
        knowledge = replace(knowledge, camera=localizer.camera)  # that of the policy's training
    if args.sequence:
        return _sequence(args, localizer, images, knowledge)
    progress = partial(tqdm, desc='evaluate', unit='image')
    searches = dict.fromkeys(args.search)
    # The last row is drawn: registration where there is any, else the last search.
    shown = localizer.method if localizer.registrar else list(searches)[-1]
    recorder = ViewRecorder(localizer, shown) if args.out else None
    results = evaluate(localizer, images, searches, progress, knowledge=knowledge, watch=recorder)
    about = {
        'protocol': _protocol(localizer, images, knowledge),
        'map': str(args.map),
        'weights': args.weights,
        'registration': args.registration,
        'skipped_outside': left_out,
    }
    if args.out:
        summary = write_results(args.out, results, about)
        draw(output_folder(args.out), localizer, results, args.frames, knowledge)
        path = output_folder(args.out) / 'report.html'
        write_report(path, write_evaluation_report, localizer, results, summary, recorder)
    else:
        summary = {**about, 'searches': {name: summarize(r) for name, r in results.items()}}
    print(json.dumps(summary) if args.json else table(summary))
    return None


def _images(
    args: argparse.Namespace, satellite_map: 'SatelliteMap'
) -> 'tuple[list[GeoImage], int]':
    """The images inside the map, and how many others were left out."""
    from justzoom_ros.errors import DatasetError
    from justzoom_ros.evaluation.evaluate import inside
    from justzoom_ros.io.datasets import parse_select, read_images

    every = read_images(args.images, parse_select(args.select), satellite_map.region)
    images = inside(every, satellite_map.region, args.skip_outside)
    if not images:
        raise DatasetError(f'{args.images} has no image inside the map {args.map}')
    left_out = len(every) - len(images)
    if left_out:
        print(f'justzoom: {left_out} images outside left out', file=sys.stderr)
    return images, left_out


def _localizer(
    args: argparse.Namespace,
    satellite_map: 'SatelliteMap',
    images: 'list[GeoImage]',
    knowledge: 'CameraKnowledge',
) -> 'Localizer':
    """Registration where there are no weights of a policy, or where the scale of the images is
    known beside them, if only from the policy's training."""
    from justzoom_ros.evaluation.image_camera import common_camera
    from justzoom_ros.localizer import Localizer

    known = all(knowledge.camera_of(image) for image in images)
    camera = None
    told = args.ahead or args.footprint or args.height is not None
    if known or not args.weights or told:
        camera = common_camera(knowledge.require_cameras(images))
    return Localizer.open(
        satellite_map, args.weights, args.runtime, camera=camera, registration=args.registration
    )


def _protocol(
    localizer: 'Localizer', images: 'list[GeoImage]', knowledge: 'CameraKnowledge'
) -> str:
    """In one line what competes with what and what is known beforehand."""
    region = localizer.region
    line = (
        f'full grid: {region.cell_count(region.depth)} cells of {region.terminal_side_m:.3g} m, '
        f'{len(images)} images'
    )
    if localizer.registrar is None:
        return line
    return f'{line}; {localizer.registrar.origin}, {knowledge.describe(images)}'


def _sequence(
    args: argparse.Namespace,
    localizer: 'Localizer',
    images: 'list[GeoImage]',
    knowledge: 'CameraKnowledge',
) -> None:
    """The images as the frames of one sequence."""
    import json
    import math
    from functools import partial

    from tqdm import tqdm

    from justzoom_ros.evaluation.replay import track_frames, track_of
    from justzoom_ros.evaluation.replay_results import (
        describe,
        describe_sequence,
        summarize,
        write_results,
    )
    from justzoom_ros.evaluation.report import ReportWords
    from justzoom_ros.evaluation.scored_fix import score_fix
    from justzoom_ros.evaluation.sequence_camera import SequenceCamera
    from justzoom_ros.io.dead_reckoning import DriftConfig
    from justzoom_ros.io.sequences import events_of_images
    from justzoom_ros.tracker import Tracker

    drift = DriftConfig(args.odometry_noise / 100, math.radians(args.yaw_drift) / 60)
    progress = partial(tqdm, desc='evaluate', unit='image')
    events = events_of_images(images, localizer.region, drift, progress)
    fixes = list(track_frames(events, Tracker(localizer), SequenceCamera(knowledge)))
    track = track_of(images)
    if args.out:
        about = f'map {args.map}', localizer.method, 'as one sequence, odometry from the truth'
        words = ReportWords(f'Evaluation on {args.images}', about, localizer.map_offset)
        summary = write_results(args.out, localizer.map, fixes, track, words=words)
    else:
        scored = [score_fix(fix, localizer.region, track) for fix in fixes]
        summary = summarize(scored, localizer.region, track)
    text = f'{describe(summary)}\n{describe_sequence(summary)}'
    print(json.dumps(summary) if args.json else text)
