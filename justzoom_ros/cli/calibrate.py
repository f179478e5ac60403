"""`justzoom calibrate`: fit how sure a policy may be on real images."""

import argparse
import json
from typing import Any

from justzoom_ros.cli import calibrate_fixes

EXAMPLE = """examples:
  justzoom calibrate --map maps/farm --weights runs/farm/weights.safetensors \\
      --images photos/ -o farm_calibrated.safetensors

  justzoom calibrate --map maps/farm --weights runs/farm/weights.safetensors \\
      --images photos/ --bags flights/* -o farm_calibrated.safetensors

  justzoom calibrate --registration --fixes runs/*/fixes.csv --alpha 0.05 \\
      --fitted-on 'flights over farmland in May' -o nadir_calibrated.safetensors

The weights are bound to the map that they were calibrated on. Take images that you do not
evaluate on. With calibrated weights the node publishes its
covariances as KNOWN.
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        'calibrate',
        help='fit how sure a policy may be on real images',
        description='Fit the temperature of a policy on images with known positions, how much '
        'one frame of many may say on bags, and write weights that hold both.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--map', metavar='DIR', help='map folder; not for --fixes')
    add('--weights', metavar='FILE', help='weights of the policy')
    add('--images', metavar='PATH', help='images with positions, see evaluate: fits the '
        'temperature')  # fmt: skip
    add('--select', action='append', default=[], metavar='COLUMN=VALUE', help='rows of the CSV')
    add('--bags', nargs='+', default=[], metavar='BAG', help='bags with images, odometry and true '
        'positions: fits the exponent, how much one frame of many may say')  # fmt: skip
    add('--sequence', action='store_true', help='fit the exponent on the images, as one sequence '
        'with odometry made from their positions')  # fmt: skip
    add('--report', metavar='FILE', help='a page (.html) or a picture (.png) of how often the '
        'policy is right where it is so sure, before and after')  # fmt: skip
    add('-o', '--out', required=True, metavar='FILE', help='calibrated weights to write')
    add('--json', action='store_true', help='print one JSON object')
    calibrate_fixes.add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Fit, write, say what it changed."""
    if args.fixes:
        return calibrate_fixes.run(args)
    from dataclasses import replace

    from tqdm import tqdm

    from justzoom_ros.localizer import Localizer
    from justzoom_ros.models import ZoomPolicy
    from justzoom_ros.training.temperature import fit_temperature, logits_along

    _check(args)
    localizer = Localizer.open(args.map, args.weights, registration=False)
    policy, said = ZoomPolicy.load(args.weights), []
    found = localizer.calibration
    images = _images(args, localizer) if args.images else []
    if images:
        bar = lambda items: tqdm(items, desc='calibrate', unit='image')  # noqa: E731
        found = fit_temperature(*logits_along(localizer, images, bar), 'images', found)
        _check_gain('temperature', found.temperature_nll_before, found.temperature_nll_after)
        said.append(
            f'temperature {found.temperature:.2f} from {found.temperature_samples} images, NLL '
            f'{found.temperature_nll_before:.2f} -> {found.temperature_nll_after:.2f} nats'
        )
        localizer.calibrate(found)
    if args.bags or args.sequence:
        exponent, scale, fixes = _motion(args, localizer, images)
        _check_gain('exponent', exponent.nll_before, exponent.nll_after)
        found = replace(exponent.added_to(found), covariance_scale=scale, covariance_fixes=fixes)
        localizer.calibrate(found)
        said.append(
            f'exponent {exponent.likelihood_exponent:g} from {exponent.frames} frames of '
            f'{exponent.sequences} sequences, NLL {exponent.nll_before:.2f} -> '
            f'{exponent.nll_after:.2f} nats; covariances times {scale:.2f} from {fixes} fixes'
        )
    policy.provenance['calibration'] = found.to_dict()
    policy.provenance['maps'] = [localizer.map.checksum]
    policy.save(args.out, half=True)
    if args.report:
        _report(args.report, localizer, images)
    text = f'{args.out}: {"; ".join(said)}'
    print(json.dumps({'weights': args.out, **found.to_dict()}) if args.json else text)


def _check(args: argparse.Namespace) -> None:
    """Whatever is missing is said before anything is fitted or written."""
    from justzoom_ros.errors import ConfigError
    from justzoom_ros.files import output_file
    from justzoom_ros.plots.figures import require_matplotlib
    from justzoom_ros.report.page import require_leaflet

    if not (args.images or args.bags):
        raise ConfigError('calibrate needs --images, --bags or both, or --fixes')
    if not (args.map and args.weights):
        raise ConfigError('calibrate needs --map and --weights')
    for option in ('sequence', 'report'):
        if getattr(args, option) and not args.images:
            raise ConfigError(f'--{option} is made of the images; give --images with it')
    output_file(args.out)
    if args.report:
        (require_leaflet if _is_page(args.report) else require_matplotlib)()
        output_file(args.report)


def _is_page(path: str) -> bool:
    return path.lower().endswith(('.html', '.htm'))


def _check_gain(name: str, before: float, after: float) -> None:
    """Refuse what a fit made worse: weights that say they are calibrated are believed."""
    import math

    from justzoom_ros.errors import DatasetError

    if not (math.isfinite(after) and after <= before + 1e-6):
        raise DatasetError(
            f'the {name} did not get better by fitting it (NLL {before:.2f} -> {after:.2f} nats), '
            'so nothing is written; are the true positions those of the images?'
        )


def _images(args: argparse.Namespace, localizer: Any) -> list[Any]:
    from justzoom_ros.io.datasets import parse_select, read_images

    return read_images(args.images, parse_select(args.select), localizer.region)


def _motion(args: argparse.Namespace, localizer: Any, images: list[Any]) -> tuple[Any, float, int]:
    """Fit the exponent, and the factor on covariances with it, on bags or on the images as one
    sequence."""
    from dataclasses import replace

    from tqdm import tqdm

    from justzoom_ros.evaluation.sequence_calibration import (
        fit_covariance,
        fit_exponent,
        observe,
        observe_bag,
    )
    from justzoom_ros.io.sequences import events_of_images
    from justzoom_ros.tracker import TrackerConfig

    sequences = []
    if args.sequence:
        sequences.append(observe(events_of_images(images, localizer.region), localizer))
    bags = tqdm(args.bags, desc='bags', unit='bag')
    sequences += [observe_bag(path, localizer) for path in bags]
    bar = lambda items: tqdm(items, desc='exponents')  # noqa: E731
    exponent = fit_exponent(sequences, localizer, TrackerConfig(), progress=bar)
    config = replace(TrackerConfig(), likelihood_exponent=exponent.likelihood_exponent)
    return exponent, *fit_covariance(sequences, localizer, config)


def _report(path: str, localizer: Any, images: list[Any]) -> None:
    """Draw how sure the policy is and how often it is right, before and after."""
    from dataclasses import replace

    from justzoom_ros.evaluation.compare_report import write_calibration_report
    from justzoom_ros.evaluation.evaluate import evaluate
    from justzoom_ros.evaluation.evaluate_figures import reliability_curve
    from justzoom_ros.plots.calibration import draw_reliability

    curves, fitted = {}, localizer.calibration
    for name, temperature in (('before', 1.0), ('after', fitted.temperature)):
        localizer.calibrate(replace(fitted, temperature=temperature))
        label, curve = reliability_curve(evaluate(localizer, images, ('exact',))['exact'])
        curves[f'{name}: {label}'] = curve
    if _is_page(path):
        about = f'map {localizer.map.path}', f'{len(images)} images'
        write_calibration_report(path, curves, fitted, about)
    else:
        draw_reliability(curves, path)
