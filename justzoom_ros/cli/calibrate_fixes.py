"""`justzoom calibrate --fixes`: what may be promised of fixes, from many replayed sequences."""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from justzoom_ros.evaluation.covariance_fit import CovarianceFit
    from justzoom_ros.evaluation.promise import FixSequence
    from justzoom_ros.inference.calibration import Calibration, Promise

SCALE_STRIDE = 4


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about fixes to `calibrate`."""
    add = parser.add_argument_group('promises, from sequences replayed').add_argument
    add('--fixes', nargs='+', default=[], metavar='CSV', help='fixes.csv of justzoom replay, one '
        'for each sequence')  # fmt: skip
    add('--registration', metavar='FILE', nargs='?', const='', help='calibrate the weights of a '
        'registration network, the shipped ones unless given, instead of a policy')  # fmt: skip
    add('--ahead', action='store_true', help='with --registration: weights for cameras that look '
        'ahead')  # fmt: skip
    add('--group', default='tracking', choices=('tracking', 'single'), help='what the fixes are: '
        'in the light of the frames before, or each by itself (default tracking)')  # fmt: skip
    add('--alpha', type=float, default=0.05, help='greatest share of false fixes to promise '
        '(default 0.05)')  # fmt: skip
    add('--delta', type=float, default=0.05, help='one less the confidence (default 0.05)')
    add('--judge', nargs='+', default=[], metavar='CSV', help='fixes.csv of other sequences: say '
        'what becomes of the promise on them; --report draws it')  # fmt: skip
    add('--cross', action='store_true', help='say what covariances of each place are worth when '
        'they are fitted on all others')  # fmt: skip
    add('--fitted-on', default='', metavar='TEXT', help='what the sequences are, in words')


def run(args: argparse.Namespace) -> None:
    """Fit, write, say what is promised."""
    from justzoom_ros.evaluation.covariance_fit import cross_fit
    from justzoom_ros.evaluation.judgement import judge
    from justzoom_ros.evaluation.promise import check_alpha, read_sequence
    from justzoom_ros.files import output_file

    check_alpha(args.alpha, args.delta)
    output_file(args.out)
    sequences = [read_sequence(path) for path in args.fixes]
    others = [read_sequence(path) for path in args.judge]
    weights, before = _open(args)
    fit, promised = promise(sequences, args)
    found = add_promise(before, fit, promised, args.group)
    _save(weights, found, args)
    said = {'weights': args.out, 'fit': asdict(fit), **found.to_dict()}
    after: list[FixSequence] = []
    if args.cross:
        after = cross_fit(sequences)
        said['crossed'] = judge(after)
    if others:
        after = [each.calibrated(fit.scale, fit.floor_m) for each in others]
        said |= {'before': judge(others), 'after': judge(after, promised)}
    if args.report and after:
        _draw(others or sequences, after, args.report)
    wider = f'times {fit.scale:.3g}, {fit.floor_m:.2g} m shared'
    text = f'{args.out}: covariances of {args.group} fixes {wider}; {promised}'
    print(json.dumps(said) if args.json else '\n'.join([text, *_lines(said)]))


def _draw(before: Sequence['FixSequence'], after: Sequence['FixSequence'], path: str) -> None:
    """Draw how often ellipses hold the truth, and how wide they are, before and after."""
    import numpy as np

    from justzoom_ros.evaluation.judgement import coverage_curve
    from justzoom_ros.plots.promise import draw_coverage

    levels = np.r_[np.arange(0.05, 0.96, 0.05), 0.99]
    both = {'before': before, 'after': after}
    draw_coverage(
        levels,
        {name: coverage_curve(each, levels) for name, each in both.items()},
        {name: np.concatenate([s.radius_90_m for s in each]) for name, each in both.items()},
        path,
    )


def _lines(said: dict[str, Any]) -> list[str]:
    """The judgement as lines of text; none where there is none."""
    return [
        f'{when:8s}{name:27s}{value if not isinstance(value, list) else _with_interval(value)}'
        for when in ('crossed', 'before', 'after')
        for name, value in said.get(when, {}).items()
    ]


def _with_interval(value: list[float]) -> str:
    return f'{value[0]:.3f} ({value[1]:.3f} .. {value[2]:.3f})'


def promise(
    sequences: Sequence['FixSequence'], args: argparse.Namespace
) -> tuple['CovarianceFit', 'Promise']:
    """What makes covariances true, and the promise of sequences. One place in `SCALE_STRIDE`, or
    one sequence where places are few, is for the former, the others for the promise: what they
    are judged by must not be made of them."""
    from justzoom_ros.evaluation.covariance_fit import fit_scale_and_floor
    from justzoom_ros.evaluation.promise import make_promise

    places = sorted({each.place for each in sequences})
    few = len(places) < 4 * SCALE_STRIDE
    unit = range(len(sequences)) if few else [places.index(each.place) for each in sequences]
    parts: tuple[list[FixSequence], list[FixSequence]] = [], []
    for each, number in zip(sequences, unit, strict=True):
        parts[number % SCALE_STRIDE > 0].append(each)
    fit = fit_scale_and_floor(parts[0])
    judged = [each.calibrated(fit.scale, fit.floor_m) for each in parts[1]]
    fitted_on = args.fitted_on or f'{len(sequences)} files'
    return fit, make_promise(judged, args.group, fitted_on, args.alpha, args.delta)


def add_promise(
    found: 'Calibration', fit: 'CovarianceFit', promised: 'Promise', group: str
) -> 'Calibration':
    """The calibration with what was found of a group of fixes, which were published with the
    covariances that the weights have."""
    from dataclasses import replace

    others = tuple(each for each in found.promises if each.group != group)
    found = replace(found, promises=(*others, promised))
    if group == 'single':
        floor_m = math.hypot(math.sqrt(fit.scale) * found.single_floor_m, fit.floor_m)
        return replace(found, single_scale=fit.scale * found.single_scale, single_floor_m=floor_m)
    floor_m = math.hypot(math.sqrt(fit.scale) * found.covariance_floor_m, fit.floor_m)
    return replace(
        found,
        covariance_scale=fit.scale * found.covariance_scale,
        covariance_floor_m=floor_m,
        covariance_fixes=promised.fixes,
    )


def _open(args: argparse.Namespace) -> tuple[Any, 'Calibration']:
    """The weights that are calibrated, and their calibration so far."""
    from justzoom_ros.errors import ConfigError
    from justzoom_ros.inference.calibration import Calibration
    from justzoom_ros.models import ZoomPolicy
    from justzoom_ros.registration.forward_network import ForwardNetwork
    from justzoom_ros.registration.network import RegistrationNetwork

    if (args.registration is None) == (args.weights is None):
        raise ConfigError('--fixes needs --weights of a policy or --registration, one of the two')
    if args.registration is None:
        policy = ZoomPolicy.load(args.weights)
        return policy, Calibration.from_dict(policy.provenance.get('calibration', {}))
    kind = ForwardNetwork if args.ahead else RegistrationNetwork
    network = kind.load(args.registration) if args.registration else kind.shipped()
    return network, Calibration.from_dict(network.card.get('calibration', {}))


def _save(weights: Any, found: 'Calibration', args: argparse.Namespace) -> None:
    from justzoom_ros.models import ZoomPolicy

    if isinstance(weights, ZoomPolicy):
        weights.provenance['calibration'] = found.to_dict()
        weights.save(args.out, half=True)
    else:
        weights.save(args.out, {**weights.card, 'calibration': found.to_dict()})
