"""`justzoom demo`: a flight over an invented town, localized by the real node."""

import argparse
import json
import signal
import sys
from typing import Any

EXAMPLE = """examples:
  justzoom demo
  justzoom demo -o out/demo --frames 30 --json
  justzoom demo --street -o out/street

The map is maps/demo, whose town exists only in this package; the flight is drawn from the same
town on another day and registered on the map: nothing was trained on that town. With --street it
is maps/city, and a car with a forward camera, registered with weights that never saw the city.
Node and replay talk over DDS in a random ROS domain of this machine alone.
Exit status 1 means that it ran, but missed its goals.
"""


def add_parser(subparsers: Any) -> None:
    """Add `demo`."""
    parser = subparsers.add_parser(
        'demo',
        help='fly over an invented town and localize with the real node',
        description='Make a flight over an invented town as a bag, start the lifecycle node in a '
        'process of its own, replay the bag to it over DDS, and compare its fixes with the truth.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('-o', '--out', metavar='DIR', default='out/demo', help='folder for the bag, the '
        "node's log and the results (default out/demo)")  # fmt: skip
    add('--street', action='store_true', help='drive through the generated city with a forward '
        'camera, instead of flying')  # fmt: skip
    add('--frames', type=int, metavar='N', help='fly only the first N frames')
    add('--weights', metavar='FILE', help='weights of a policy, instead of '
        'registration')  # fmt: skip
    add('--json', action='store_true', help='print one JSON object on stdout and nothing else')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; returns 1 where its goals are missed."""
    from tqdm import tqdm

    from justzoom_ros.errors import ConfigError
    from justzoom_ros.worlds.demo import run_demo, table
    from justzoom_ros.worlds.flight import WHOLE_FLIGHT, FlightConfig

    if args.street and args.frames is not None:
        raise ConfigError('--frames is for the flight; leave it out with --street')
    frames = WHOLE_FLIGHT if args.frames is None else args.frames
    if not 1 <= frames <= WHOLE_FLIGHT:
        raise ConfigError(f'--frames is {frames}; it must be in 1..{WHOLE_FLIGHT}')
    # A plain kill must stop the node too, so it ends like any other failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    summary = run_demo(
        args.out,
        FlightConfig(frames=frames),
        weights=args.weights,
        street=args.street,
        progress=lambda items, name, total: tqdm(items, name, total, file=sys.stderr),
    )
    if args.json:
        print(json.dumps(summary))
    else:
        print(table(summary))
        print(f'open {args.out}/report.html; figures: {args.out}/summary.json')
    return 0 if summary['goals_met'] else 1
