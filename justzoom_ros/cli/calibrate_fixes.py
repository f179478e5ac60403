"""`justzoom calibrate --fixes`: what may be promised of fixes, from many replayed sequences."""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from justzoom_ros.inference.calibration import Calibration

SCALE_STRIDE = 4


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about fixes to `calibrate`."""
    add = parser.add_argument_group('promises, from sequences replayed').add_argument
    add('--fixes', nargs='+', default=[], metavar='CSV', help='fixes.csv of justzoom replay, one '
        'for each sequence')  # fmt: skip
    add('--registration', metavar='FILE', nargs='?', const='', help='calibrate the weights of a '
        'registration network, the shipped ones unless given, instead of a policy')  # fmt: skip
    add('--group', default='tracking', choices=('tracking', 'single'), help='what the fixes are: '
        'in the light of the frames before, or each by itself (default tracking)')  # fmt: skip
    add('--alpha', type=float, default=0.05, help='greatest share of false fixes to promise '
        '(default 0.05)')  # fmt: skip
    add('--delta', type=float, default=0.05, help='one less the confidence (default 0.05)')
    add('--judge', nargs='+', default=[], metavar='CSV', help='fixes.csv of other sequences: say '
        'what becomes of the promise on them; --report draws it')  # fmt: skip
    add('--fitted-on', default='', metavar='TEXT', help='what the sequences are, in words')


def run(args: argparse.Namespace) -> None:
    """Fit, write, say what is promised."""
    from justzoom_ros.evaluation.promise import check_alpha, read_sequence
    from justzoom_ros.files import output_file

    check_alpha(args.alpha, args.delta)
    output_file(args.out)
    sequences = [read_sequence(path) for path in args.fixes]
    others = [read_sequence(path) for path in args.judge]
    weights, before = _open(args)
    found = promise(before, sequences, args)
    _save(weights, found, args)
    scale, promised = found.covariance_scale / before.covariance_scale, found.promises[-1]
    said = {'weights': args.out, **found.to_dict()}
    if others:
        said |= _judge(others, scale, promised, args.report)
    text = f'{args.out}: covariances times {found.covariance_scale:.3g}; {promised}'
    print(json.dumps(said) if args.json else '\n'.join([text, *_lines(said)]))


def _judge(
    sequences: Sequence[Any], scale: float, promised: Any, report: str | None
) -> dict[str, Any]:
    """{'before', 'after'}: figures of other sequences; draws them where a report is wanted."""
    import numpy as np

    from justzoom_ros.evaluation.judgement import coverage_curve, judge
    from justzoom_ros.plots.promise import draw_coverage

    if report:
        levels = np.r_[np.arange(0.05, 0.96, 0.05), 0.99]
        scales = {'before': 1.0, 'after': scale}
        radii = np.concatenate([each.radius_90_m for each in sequences])
        draw_coverage(
            levels,
            {name: coverage_curve(sequences, s, levels) for name, s in scales.items()},
            {name: np.sqrt(s) * radii for name, s in scales.items()},
            report,
        )
    return {'before': judge(sequences), 'after': judge(sequences, scale, promised)}


def _lines(said: dict[str, Any]) -> list[str]:
    """The judgement as lines of text; none where there is none."""
    return [
        f'{when:7s}{name:22s}{value if not isinstance(value, list) else _with_interval(value)}'
        for when in ('before', 'after')
        for name, value in said.get(when, {}).items()
    ]


def _with_interval(value: list[float]) -> str:
    return f'{value[0]:.3f} ({value[1]:.3f} .. {value[2]:.3f})'


def promise(
    found: 'Calibration', sequences: Sequence[Any], args: argparse.Namespace
) -> 'Calibration':
    """The calibration with the scale and the promise of sequences. The fixes were published with
    the scale that the weights have: that of tracking is multiplied, that of single frames stays
    one. One sequence in `SCALE_STRIDE` is for the scale, the others for the promise: what they
    are judged by must not be made of them."""
    from dataclasses import replace

    from justzoom_ros.evaluation.promise import fit_scale, make_promise

    judged, scale = list(sequences), 1.0
    if args.group == 'tracking':
        scale = fit_scale(judged[::SCALE_STRIDE])
        del judged[::SCALE_STRIDE]
    fitted_on = args.fitted_on or f'{len(sequences)} files'
    made = make_promise(judged, args.group, fitted_on, args.alpha, args.delta, scale)
    others = tuple(each for each in found.promises if each.group != args.group)
    if args.group == 'tracking':
        fixes = int(sum(len(each.squared) for each in sequences[::SCALE_STRIDE]))
        scale *= found.covariance_scale
        found = replace(found, covariance_scale=scale, covariance_fixes=fixes)
    return replace(found, promises=(*others, made))


def _open(args: argparse.Namespace) -> tuple[Any, 'Calibration']:
    """The weights that are calibrated, and their calibration so far."""
    from justzoom_ros.errors import ConfigError
    from justzoom_ros.inference.calibration import Calibration
    from justzoom_ros.models import ZoomPolicy
    from justzoom_ros.registration.network import RegistrationNetwork

    if (args.registration is None) == (args.weights is None):
        raise ConfigError('--fixes needs --weights of a policy or --registration, one of the two')
    if args.registration is None:
        policy = ZoomPolicy.load(args.weights)
        return policy, Calibration.from_dict(policy.provenance.get('calibration', {}))
    shipped = args.registration == ''
    network = (
        RegistrationNetwork.shipped() if shipped else RegistrationNetwork.load(args.registration)
    )
    return network, Calibration.from_dict(network.card.get('calibration', {}))


def _save(weights: Any, found: 'Calibration', args: argparse.Namespace) -> None:
    from justzoom_ros.models import ZoomPolicy

    if isinstance(weights, ZoomPolicy):
        weights.provenance['calibration'] = found.to_dict()
        weights.save(args.out, half=True)
    else:
        weights.save(args.out, {**weights.card, 'calibration': found.to_dict()})
