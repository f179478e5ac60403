"""`justzoom replay`: the fixes of a bag's images, in process or from a running node."""

import argparse
from typing import TYPE_CHECKING, Any

from justzoom_ros.cli.bag_replay import BagReplay
from justzoom_ros.cli.camera_options import add_bag_camera_options, add_camera_options
from justzoom_ros.runtimes.registry import RUNTIMES

if TYPE_CHECKING:
    from pathlib import Path

    from justzoom_ros.evaluation.report import ReportWords
    from justzoom_ros.localizer import Localizer
    from justzoom_ros.maps.satellite_map import SatelliteMap

HELP = 'localize every image of a bag and compare with the truth'
EPILOG = """examples:
  justzoom replay flight --map maps/seneca --weights weights.safetensors -o out
  justzoom replay runs/city/drive_*/bag --map runs/city/map --weights street.safetensors -o out
  justzoom replay flight --map maps/farm --height-topic /range -o out
  justzoom replay flight --map maps/farm --footprint 90 150 --single -o out
  justzoom replay flight --map maps/seneca --live --fix-topic /fix -o out

Without --weights pictures are registered on the map: nothing needs to be trained. The lens comes
from the bag's camera info or --fov, the height above ground from a topic or --height; or give
--footprint.
"""


def add_parser(subparsers: Any) -> None:
    """Add `replay` to the commands."""
    parser = subparsers.add_parser(
        'replay',
        help=HELP,
        description=f'{HELP}; writes report.html, fixes.csv, track.geojson, map.png, summary.json',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('bags', metavar='BAG', nargs='+', help='rosbag2: its folder, or an .mcap or .db3 file; '
        'of several each gets a folder in DIR, whose summary.json is of all')  # fmt: skip
    add('--map', required=True, metavar='DIR', help='map folder')
    add('--weights', metavar='FILE', help='weights of a policy, if there is one; with --live the '
        'node has its own')  # fmt: skip
    add('--registration', metavar='FILE', help='weights of a registration network (default: those '
        'adapted to the map, else the shipped ones)')  # fmt: skip
    add('-o', '--out', required=True, metavar='DIR', help='folder for the results')
    add('--image-topic', metavar='TOPIC', help='topic of the images, where there are several')
    add('--truth', metavar='TOPIC', help='NavSatFix topic of the true positions, where there are '
        'several; a bag may have none')  # fmt: skip
    add('--max-gap', type=float, default=5.0, metavar='S', help='where the nearest true position '
        'is further away in time, the truth is unknown (default 5)')  # fmt: skip
    add('--json', action='store_true', help='print the summary as JSON')
    add = parser.add_argument_group('in process').add_argument
    add('--odom', metavar='TOPIC', help='Odometry topic, where there are several; a bag may have '
        'none')  # fmt: skip
    add('--imu', metavar='TOPIC', help='Imu topic with absolute orientations, as of a compass; '
        'not used unless given')  # fmt: skip
    add('--single', action='store_true', help='each image by itself, not in the light of those '
        'before it and of the odometry')  # fmt: skip
    add('--headings', type=int, default=36, help='that the belief tells apart (default 36)')
    add('--search', default='exact', choices=('exact', 'best_first', 'beam', 'greedy'),
        help='search of the posterior (default exact)')  # fmt: skip
    add(
        '--runtime',
        default='auto',
        help=f'where the policy runs: {", ".join(RUNTIMES.list())} (default auto)',
    )
    add('--min-confidence', type=float, default=0.8, help='least mass (0..1) of the first '
        'hypothesis of a fix (default 0.8)')  # fmt: skip
    add('--max-radius', type=float, default=50.0, metavar='M', help='greatest 90 %% radius of a '
        'fix (default 50)')  # fmt: skip
    add_camera_options(parser)
    add_bag_camera_options(parser)
    add = parser.add_argument_group('with a running node').add_argument
    add('--live', action='store_true', help='publish the bag to a running node')
    add('--fix-topic', default='fix', metavar='TOPIC', help="the node's fixes (default fix)")
    add('--rate', type=float, help='speed, 1.0 as recorded; without it each image waits for the '
        'fix of the one before')  # fmt: skip
    add('--timeout', type=float, default=60.0, metavar='S', help='how long to wait for the node '
        'and for each fix (default 60)')  # fmt: skip
    add('--clock', action='store_true', help='publish the stamps on /clock, for a node with '
        'use_sim_time')  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay, write the results, print the summary; status 2 where no image could be used."""
    import json
    from pathlib import Path

    from justzoom_ros.evaluation import sequence_metrics
    from justzoom_ros.evaluation.replay_results import describe
    from justzoom_ros.files import output_folder, write_json
    from justzoom_ros.maps.satellite_map import SatelliteMap
    from justzoom_ros.plots.figures import require_matplotlib

    _check(args)
    require_matplotlib()
    out = output_folder(args.out)
    map = SatelliteMap.open(args.map)
    localizer = None if args.live else _open_localizer(args, map)
    if len(args.bags) == 1:
        summary = _replay(args, args.bags[0], map, localizer, out)
        print(json.dumps(summary) if args.json else f'{args.out}: {describe(summary)}')
        return _status([summary])
    names = _names(args.bags)
    summaries = {
        name: _replay(args, bag, map, localizer, output_folder(out / name))
        for name, bag in names.items()
    }
    sequences = {name: of_bag['sequence'] for name, of_bag in summaries.items()}
    summary = {
        'all': sequence_metrics.summarize_sequences(list(filter(None, sequences.values()))),
        'sequences': sequences,
    }
    write_json(Path(args.out) / 'summary.json', summary)
    print(json.dumps(summary) if args.json else sequence_metrics.describe(summary['all']))
    return _status(list(summaries.values()))


def _in_process(args: argparse.Namespace) -> BagReplay:
    return BagReplay.from_args(args, single=args.single, headings=args.headings)


def _open_localizer(args: argparse.Namespace, map: 'SatelliteMap') -> 'Localizer':
    from justzoom_ros.localizer import FixCriteria

    return _in_process(args).open_localizer(
        args.bags[0],
        map,
        args.weights,
        registration=args.registration,
        runtime=args.runtime,
        search=args.search,
        criteria=FixCriteria(args.min_confidence, args.max_radius),
    )


def _status(summaries: list[dict[str, Any]]) -> int:
    """2 where none of the images of any bag could be used."""
    return 2 if all(summary['error'] == summary['images'] for summary in summaries) else 0


def _names(bags: list[str]) -> dict[str, str]:
    """{name of a folder for the results: bag}, from the last parts of the paths that differ."""
    from pathlib import Path

    from justzoom_ros.errors import ConfigError

    for parts in (1, 2, 3):
        names = {'_'.join(Path(bag).absolute().parts[-parts:]): bag for bag in bags}
        if len(names) == len(bags):
            return names
    raise ConfigError('two of the bags have the same path, or nearly')


def _replay(
    args: argparse.Namespace,
    path: str,
    map: 'SatelliteMap',
    localizer: 'Localizer | None',
    out: 'Path',
) -> dict[str, Any]:
    """Replay one bag into one folder and say what is odd about it; returns its summary."""
    import sys

    from justzoom_ros.evaluation.replay_results import remarks, write_results
    from justzoom_ros.io.bags import IMAGE_TYPES, Bag, find_track

    with Bag(path) as bag:
        track = find_track(bag, args.truth)
        if localizer is None:
            fixes = _live(args, bag, bag.topic(IMAGE_TYPES, args.image_topic))
        else:
            fixes = _in_process(args).replay(bag, localizer, track)
    words = _words(args, path, map, localizer)
    summary = write_results(out, map, fixes, track, args.max_gap, words)
    for remark in remarks(summary):
        print(f'justzoom: {path}: {remark}', file=sys.stderr)
    return summary


def _words(
    args: argparse.Namespace, path: str, map: 'SatelliteMap', localizer: 'Localizer | None'
) -> 'ReportWords':
    """What the report is called."""
    from pathlib import Path

    from justzoom_ros.evaluation.report import ReportWords
    from justzoom_ros.maps.map_offset import read_offset

    about = [f'map {map.path}']
    if localizer is None:
        about.append('by a running node')
    else:
        about.append(localizer.method)
        about += [f'weights {args.weights}'] if args.weights else []
        about.append('each image by itself' if args.single else 'in motion')
    # A running node takes it from the map's folder, too.
    offset = localizer.map_offset if localizer else read_offset(map.path, map.checksum)
    return ReportWords(f'Replay of {Path(path).absolute().name}', tuple(about), offset)


def _check(args: argparse.Namespace) -> None:
    import math

    from justzoom_ros.cli.topic_names import check_topics
    from justzoom_ros.errors import ConfigError

    check_topics(*filter(None, (args.image_topic, args.truth, args.odom, args.imu)))
    check_topics(args.fix_topic)
    if args.rate is not None and not args.live:
        raise ConfigError('--rate is for --live; in process every image is localized')
    if args.clock and not args.live:
        raise ConfigError('--clock is for --live; in process the stamps are the time')
    for name in ('rate', 'timeout', 'max_gap'):
        value = getattr(args, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            option = name.replace('_', '-')
            raise ConfigError(f'--{option} is {value:g}; it must be greater than 0')


def _live(args: argparse.Namespace, bag: Any, topic: Any) -> list[Any]:
    import sys
    from functools import partial

    from tqdm import tqdm

    from justzoom_ros.errors import RuntimeUnavailableError

    try:
        from justzoom_ros.ros.live_replay import LiveNode, replay_live
    except ImportError as error:
        raise RuntimeUnavailableError(
            f'--live needs ROS 2 in Python, source its setup file: {error}'
        ) from error
    with LiveNode(bag.topics, topic, args.fix_topic, args.timeout, args.clock, draws=True) as node:
        for left_out in node.left_out:
            print(f'justzoom: {left_out} of the bag is not published', file=sys.stderr)
        progress = partial(tqdm, desc='live', unit='msg', total=sum(bag.counts.values()))
        return node.with_beliefs(list(replay_live(bag, topic, node, args.rate, progress)))
