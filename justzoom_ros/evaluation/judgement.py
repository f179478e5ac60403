"""What became of promised fixes on sequences that no fit saw: figures with intervals.

Frames of a sequence depend on each other, and sequences of one place and day share an error, so
intervals come from drawing whole places again (bootstrap); bounds count sequences.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from justzoom_ros.evaluation.guarantee import upper_bound
from justzoom_ros.evaluation.promise import GROSS, LEVELS, FixSequence
from justzoom_ros.inference.calibration import Promise
from justzoom_ros.inference.posterior import CHI2_2DOF

WRONG_PLACE_M = 25.0
"""A gross fix that is wrong by more than this shows another place."""

DRAWS = 2000
CONFIDENCE = 0.95


def judge(sequences: Sequence[FixSequence], promise: Promise | None = None) -> dict[str, Any]:
    """The figures of sequences, through the gate of a promise where there is one: [value, low,
    high] at 95 % confidence where there is an interval. None where there is no fix."""
    kept = [each.through(promise.min_confidence) if promise else each for each in sequences]
    with_fixes = [each for each in kept if len(each.off_m)]
    if not with_fixes:
        return {'sequences': len(sequences), 'fixes': 0}
    scores, limit = [each.squared for each in with_fixes], CHI2_2DOF[0.99]
    interval = partial(_interval, with_fixes)

    def share_within(radius: float) -> list[float]:
        return interval(lambda s: (s <= radius).mean())

    false = sum(bool((s > limit).any()) for s in scores)
    gross = [s > GROSS * limit for s in scores]
    wrong = [g & (e.error_m > WRONG_PLACE_M) for g, e in zip(gross, with_fixes, strict=True)]
    pooled = {
        name: np.concatenate([getattr(each, name) for each in with_fixes])
        for name in ('error_m', 'radius_90_m')
    }
    figures = {
        'sequences': len(sequences),
        'places': len({each.place for each in sequences}),
        'with_fixes': len(with_fixes),
        'frames': sum(each.frames for each in sequences),
        'fixes': int(sum(map(len, scores))),
        'availability': sum(map(len, scores)) / sum(each.frames for each in sequences),
        'median_error_m': float(np.median(pooled['error_m'])),
        'p99_error_m': float(np.quantile(pooled['error_m'], 0.99)),
        'median_radius_90_m': float(np.median(pooled['radius_90_m'])),
        'anees': interval(lambda s: s.mean() / 2),
        'false_share': interval(lambda s: (s > limit).mean()),
        'sequences_with_false': false,
        **_count('gross', gross),
        **_count('wrong_place', wrong),
    }
    for level in LEVELS:
        figures[f'coverage_{100 * level:.0f}'] = share_within(-2 * np.log(1 - level))
        if promise and f'{level:g}' in promise.radii:
            figures[f'promised_{100 * level:.0f}'] = share_within(promise.radii[f'{level:g}'])
    return figures


def _count(name: str, flags: Sequence[np.ndarray]) -> dict[str, Any]:
    """How many sequences have a flag at all, and what their share does not exceed."""
    found = sum(bool(each.any()) for each in flags)
    bound = upper_bound(found, len(flags), 1 - CONFIDENCE)
    return {f'sequences_with_{name}': found, f'{name}_bound': bound}


def coverage_curve(sequences: Sequence[FixSequence], levels: np.ndarray) -> np.ndarray:
    """Shares (L,) of fixes whose truth lies in the ellipse of each of the `levels` (L,), 0..1,
    every sequence counting the same."""
    scores = [each.squared for each in sequences if len(each.off_m)]
    limits = -2 * np.log1p(-levels)
    return np.mean([(s[:, None] <= limits).mean(0) for s in scores], axis=0)


def _interval(
    sequences: Sequence[FixSequence], figure: Callable[[np.ndarray], Any]
) -> list[float]:
    """[mean over sequences, low, high] of a figure of squared distances, by drawing places
    again; sequences where there is one place alone."""
    values = np.array([float(figure(each.squared)) for each in sequences])
    places = np.unique([each.place for each in sequences], return_inverse=True)[1]
    if not places.any():
        places = np.arange(len(sequences))
    sums, counts = (np.bincount(places, weights) for weights in (values, None))
    drawn = np.random.default_rng(0).integers(len(counts), size=(DRAWS, len(counts)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return [float(values.mean()), float(low), float(high)]
