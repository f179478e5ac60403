"""`justzoom map align`: how far a map is off, from recordings with trusted positions."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from justzoom_ros.cli.camera_options import add_bag_camera_options, add_camera_options

if TYPE_CHECKING:
    from justzoom_ros.evaluation.alignment import Alignment
    from justzoom_ros.maps.satellite_map import SatelliteMap

EXAMPLE = """examples:
  justzoom map align maps/farm --bag flight --height-topic /range
  justzoom map align maps/farm --bag flight_1 flight_2 --height 120 --fov 70 --truth /rtk/fix

The offset is kept in the map's folder and added to every fix, with its covariance. It is as exact
as the positions in the bag: take those of RTK, or of a receiver that you trust.
"""


def add_align(jobs: Any) -> None:
    """Add the job to `justzoom map`."""
    parser = jobs.add_parser(
        'align',
        help='find how far a map is off',
        description='Compare the fixes of recordings with their true positions, and keep in the '
        "map's folder how far the map is off.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('map', metavar='DIR', help='map folder')
    add('--bag', nargs='+', default=[], metavar='BAG', dest='bags', help='rosbag2 with images, '
        'odometry and true positions')  # fmt: skip
    add('--fixes', nargs='+', default=[], metavar='CSV', help='fixes.csv of bags that were '
        'replayed on the map while it had no offset')  # fmt: skip
    add('--weights', metavar='FILE', help='weights of a policy, if there is one')
    add('--registration', metavar='FILE', help='weights of a registration network')
    add('--image-topic', metavar='TOPIC', help='topic of the images, where there are several')
    add('--truth', metavar='TOPIC', help='NavSatFix topic of the true positions, where there are '
        'several')  # fmt: skip
    add('--truth-std', type=float, default=0.5, metavar='M', help='standard deviation of the true '
        'positions, metres: an error that does not average out (default 0.5)')  # fmt: skip
    add('--odom', metavar='TOPIC', help='Odometry topic, where there are several')
    add('--imu', metavar='TOPIC', help='Imu topic with absolute orientations')
    add_camera_options(parser)
    add_bag_camera_options(parser)
    parser.add_argument('--dry-run', action='store_true', help='say it, keep nothing')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Follow every bag, compare, keep."""
    from justzoom_ros.maps.map_offset import write_offset
    from justzoom_ros.maps.satellite_map import SatelliteMap

    map = SatelliteMap.open(args.map)
    found = _align(args, map)
    offset = found.offset
    if not args.dry_run:
        write_offset(map.path, map.checksum, offset)
    facts = {
        'east_m': offset.east_m,
        'north_m': offset.north_m,
        'covariance_m2': offset.covariance_m2.tolist(),
        'samples': offset.samples,
        'fixes': found.fixes,
        'fitting': found.fitting,
        'median_before_m': found.median_before_m,
        'median_after_m': found.median_after_m,
    }
    text = (
        f'{args.map}: {offset}; {found.fitting} of {found.fixes} fixes agree, whose median error '
        f'is {found.median_before_m:.1f} m without it and {found.median_after_m:.1f} m with it'
    )
    print(json.dumps(facts) if args.json else text)


def _align(args: argparse.Namespace, map: 'SatelliteMap') -> 'Alignment':
    from justzoom_ros.cli.bag_replay import BagReplay
    from justzoom_ros.errors import BagError, ConfigError
    from justzoom_ros.evaluation.alignment import align, pairs_of, pairs_of_table
    from justzoom_ros.io.bags import Bag, find_track
    from justzoom_ros.maps.map_offset import MapOffset

    if bool(args.bags) == bool(args.fixes):
        raise ConfigError('map align needs --bag or --fixes, one of the two')
    if args.fixes:
        tables = [pairs_of_table(path, map.region, args.truth_std) for path in args.fixes]
        return align([pair for table in tables for pair in table])
    replay = BagReplay.from_args(args)
    localizer = replay.open_localizer(
        args.bags[0], map, args.weights, registration=args.registration
    )
    localizer.map_offset = MapOffset()
    pairs = []
    for path in args.bags:
        with Bag(path) as bag:
            track = find_track(bag, args.truth)
            if track is None:
                raise BagError(f'bag {path} has no true positions to align the map by')
            fixes = replay.replay(bag, localizer, track)
        pairs += pairs_of(fixes, track, map.region, args.truth_std)
    return align(pairs)
