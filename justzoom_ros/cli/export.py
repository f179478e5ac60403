"""`justzoom export`: make the engine of a policy for this machine."""

import argparse
import json

EXAMPLE = """examples:
  justzoom export --weights runs/farm/weights.safetensors
  justzoom export --weights farm.safetensors --runtime onnx --folder engines/

An engine is made on the machine that runs it. It is checked on fixed frames against plain torch,
and refused where it says something else. Runtime 'auto' of node, replay and evaluate takes it.
"""


def add_parser(subparsers):
    """Add `export` to the commands."""
    parser = subparsers.add_parser(
        'export',
        help='make an engine of a policy for this machine',
        description='Export the encoder of a policy to ONNX and check it against torch.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--weights', required=True, metavar='FILE', help='weights of the policy')
    add('--runtime', default='onnx', choices=('onnx',), help='kind of engine (default onnx)')
    add('--folder', metavar='DIR', help='where to keep it (default $JUSTZOOM_ENGINES or '
        '~/.cache/justzoom_ros/engines)')  # fmt: skip
    add('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args):
    """Export, check, say where it is."""
    from justzoom_ros.errors import RuntimeUnavailableError
    from justzoom_ros.model import ZoomPolicy
    from justzoom_ros.runtime.onnx_runtime import OnnxRuntime, export_onnx
    from justzoom_ros.runtime.parity import check_parity
    from justzoom_ros.runtime.torch_runtime import TorchRuntime

    policy = ZoomPolicy.load(args.weights)
    paths = export_onnx(policy, args.folder)
    try:
        found = check_parity(OnnxRuntime(policy, args.folder), TorchRuntime(policy, 'cpu'))
    except RuntimeUnavailableError:
        for path in (paths.ground, paths.crop):
            path.unlink(missing_ok=True)
        raise
    made = {
        'ground': str(paths.ground),
        'crop': str(paths.crop),
        'frames': found.frames,
        'total_variation': found.total_variation,
    }
    text = (
        f'{paths.crop.parent}: engine of {args.weights}; on {found.frames} fixed frames its '
        f'posterior differs from that of torch by at most {found.total_variation:.1e}'
    )
    print(json.dumps(made) if args.json else text)
