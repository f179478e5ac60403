"""What became of promised fixes on sequences that no fit saw: figures with intervals.

Frames of a sequence depend on each other, so intervals come from drawing whole sequences again
(bootstrap), and bounds count sequences.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from justzoom_ros.evaluation.guarantee import upper_bound
from justzoom_ros.evaluation.promise import GROSS, LEVELS, FixSequence
from justzoom_ros.inference.calibration import Promise
from justzoom_ros.inference.posterior import CHI2_2DOF

DRAWS = 2000
CONFIDENCE = 0.95


def judge(
    sequences: Sequence[FixSequence], scale: float = 1.0, promise: Promise | None = None
) -> dict[str, Any]:
    """The figures of sequences whose covariances count times `scale`, through the gate of a
    promise where there is one; [value, low, high] at 95 % confidence where there is an interval.
    None where there is no fix."""
    gate = promise.min_confidence if promise else 0.0
    kept = [_through(each, gate, scale) for each in sequences]
    with_fixes = [each for each in kept if len(each.squared)]
    if not with_fixes:
        return {'sequences': len(sequences), 'fixes': 0}
    scores = [each.squared for each in with_fixes]
    limit = CHI2_2DOF[0.99]
    false = sum(bool((s > limit).any()) for s in scores)
    gross = sum(bool((s > GROSS * limit).any()) for s in scores)
    pooled = {
        name: np.concatenate([getattr(each, name) for each in with_fixes])
        for name in ('error_m', 'radius_90_m')
    }
    figures = {
        'sequences': len(sequences),
        'with_fixes': len(with_fixes),
        'frames': sum(each.frames for each in sequences),
        'fixes': int(sum(map(len, scores))),
        'median_error_m': float(np.median(pooled['error_m'])),
        'p99_error_m': float(np.quantile(pooled['error_m'], 0.99)),
        'median_radius_90_m': float(np.median(pooled['radius_90_m'])),
        'anees': _interval(scores, lambda s: s.mean() / 2),
        'false_share': _interval(scores, lambda s: (s > limit).mean()),
        'sequences_with_false': false,
        'sequences_with_gross': gross,
        'gross_bound': upper_bound(gross, len(with_fixes), 1 - CONFIDENCE),
    }
    for level in LEVELS:
        figures[f'coverage_{100 * level:.0f}'] = _coverage(scores, -2 * np.log(1 - level))
        if promise and f'{level:g}' in promise.radii:
            radius = promise.radii[f'{level:g}']
            figures[f'promised_{100 * level:.0f}'] = _coverage(scores, radius)
    return figures


def coverage_curve(
    sequences: Sequence[FixSequence], scale: float, levels: np.ndarray
) -> np.ndarray:
    """Shares (L,) of fixes whose truth lies in the ellipse of each of the `levels` (L,), 0..1,
    every sequence counting the same."""
    scores = [each.squared / scale for each in sequences if len(each.squared)]
    limits = -2 * np.log1p(-levels)
    return np.mean([(s[:, None] <= limits).mean(0) for s in scores], axis=0)


def _through(sequence: FixSequence, gate: float, scale: float) -> FixSequence:
    flags = sequence.confidence >= gate
    return FixSequence(
        sequence.squared[flags] / scale,
        sequence.confidence[flags],
        sequence.error_m[flags],
        sequence.radius_90_m[flags] * np.sqrt(scale),
        sequence.frames,
    )


def _coverage(scores: Sequence[np.ndarray], limit: float) -> list[float]:
    return _interval(scores, lambda s: (s <= limit).mean())


def _interval(scores: Sequence[np.ndarray], figure: Callable[[np.ndarray], Any]) -> list[float]:
    """[mean over sequences, low, high] by drawing sequences again."""
    values = np.array([float(figure(each)) for each in scores])
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return [float(values.mean()), float(low), float(high)]
