"""`justzoom export`: make the engine of a policy for this machine."""

import argparse
import json
import logging
from typing import Any

from justzoom_ros.runtimes.registry import ENGINES

EXAMPLE = """examples:
  justzoom export --weights runs/farm/weights.safetensors
  justzoom export --weights farm.safetensors --precision int8 --folder engines/
  justzoom export --weights farm.safetensors --runtime tensorrt --precision float32

An engine is made on the machine that runs it. It is checked on fixed frames against plain torch,
and refused where it says something else. Runtime 'auto' of node, replay and evaluate takes it.
"""


def add_parser(subparsers: Any) -> None:
    """Add `export` to the commands."""
    parser = subparsers.add_parser(
        'export',
        help='make an engine of a policy for this machine',
        description='Build an engine of the encoder of a policy and check it against torch.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--weights', required=True, metavar='FILE', help='weights of the policy')
    add('--runtime', default='onnx', choices=ENGINES.list(),
        help='kind of engine (default onnx)')  # fmt: skip
    add('--precision', choices=('float32', 'float16', 'int8'),
        help='for camera images: float32 (default) or int8 with onnx, float16 (default) or '
        'float32 with tensorrt')  # fmt: skip
    add('--attention', choices=('explicit', 'fused'),
        help='how TensorRT is given attention; it is known to miscompute some fused ones '
        '(default explicit)')  # fmt: skip
    add('--folder', metavar='DIR', help='where to keep it (default $JUSTZOOM_ENGINES or '
        '~/.cache/justzoom_ros/engines)')  # fmt: skip
    add('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Build, check, say where it is."""
    from justzoom_ros.models import ZoomPolicy
    from justzoom_ros.runtimes.export import export_engine

    options = _options(args)
    logging.basicConfig(format='%(message)s')
    logging.getLogger('justzoom_ros').setLevel(logging.INFO)
    paths, found = export_engine(
        ZoomPolicy.load(args.weights), args.runtime, args.folder, **options
    )
    made = {
        'engines': [str(path) for path in paths],
        'frames': found.frames,
        'total_variation': found.total_variation,
    }
    text = (
        f'{paths[0].parent}: engine of {args.weights}; on {found.frames} fixed frames its '
        f'posterior differs from that of torch by at most {found.total_variation:.1e}'
    )
    print(json.dumps(made) if args.json else text)


def _options(args: argparse.Namespace) -> dict[str, str]:
    """What was given for the exporter. Raises ConfigError where it knows no such thing."""
    from justzoom_ros.errors import ConfigError

    known = ENGINES.get(args.runtime).options
    given = {'precision': args.precision, 'attention': args.attention}
    options = {name: value for name, value in given.items() if value}
    for name, value in options.items():
        if value not in known.get(name, ()):
            raise ConfigError(f'--{name} {value} is not for --runtime {args.runtime}')
    return options
