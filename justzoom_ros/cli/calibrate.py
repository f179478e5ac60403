"""`justzoom calibrate`: fit how sure a policy may be on real images."""

import argparse
import json

EXAMPLE = """example:
  justzoom calibrate --map maps/farm --weights runs/farm/weights.safetensors \\
      --images photos/ -o farm_calibrated.safetensors

Take images that you do not evaluate on. With calibrated weights the node publishes its
covariances as KNOWN.
"""


def add_parser(subparsers):
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        'calibrate',
        help='fit how sure a policy may be on real images',
        description='Fit the temperature of a policy on images with known positions, and write '
        'weights that hold it.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--map', required=True, metavar='DIR', help='map folder')
    add('--weights', required=True, metavar='FILE', help='weights of the policy')
    add('--images', required=True, metavar='PATH', help='images with positions, see evaluate')
    add('--select', action='append', default=[], metavar='COLUMN=VALUE', help='rows of the CSV')
    add('-o', '--out', required=True, metavar='FILE', help='calibrated weights to write')
    add('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args):
    """Fit, write, say what it changed."""
    from tqdm import tqdm

    from justzoom_ros.benchmark.datasets import parse_select, read_images
    from justzoom_ros.calibrate import fit_temperature, logits_along
    from justzoom_ros.localizer import Localizer
    from justzoom_ros.model import ZoomPolicy

    localizer = Localizer.open(args.map, args.weights)
    images = read_images(args.images, parse_select(args.select), localizer.region)
    bar = lambda items: tqdm(items, desc='calibrate', unit='image', disable=None)  # noqa: E731
    calibration = fit_temperature(*logits_along(localizer, images, bar), 'images')
    policy = ZoomPolicy.load(args.weights)
    policy.provenance['calibration'] = calibration.to_dict()
    policy.save(args.out, half=True)
    if args.json:
        print(json.dumps({'weights': args.out, **calibration.to_dict()}))
        return
    print(
        f'{args.out}: temperature {calibration.temperature:.2f} from {calibration.count} images, '
        f'NLL {calibration.nll_before:.2f} -> {calibration.nll_after:.2f} nats'
    )
