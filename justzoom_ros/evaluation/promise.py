"""What may be promised of fixes: from the `fixes.csv` of many sequences to a `Promise`.

Every sequence is a file, as `justzoom replay` writes it. First the factor that makes covariances
true; then the gate, by learn then test; then the radii that hold, by conformal prediction.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyproj import Geod

from justzoom_ros.errors import ConfigError, DatasetError
from justzoom_ros.evaluation.guarantee import (
    conformal_radius,
    learn_then_test,
    least_sequences,
    upper_bound,
)
from justzoom_ros.inference.calibration import Promise
from justzoom_ros.inference.posterior import CHI2_2DOF

GEOD = Geod(ellps='WGS84')
GATES = (0.999, 0.99, 0.98, 0.95, 0.9, 0.85, 0.8)
"""Least confidences that are tried, from the strictest to the laxest."""

LEVELS = (0.5, 0.9, 0.95, 0.99)
"""Probabilities of the regions that are promised, where there are sequences enough."""

GROSS = 9.0
"""A fix is grossly false where the truth is outside an ellipse three times as long as that of
99 %."""

CUT = 13.8155
"""Squared distances count up to that which holds 99.9 %: one false fix must not widen all."""

CUT_MEAN = 1.998
"""Mean of the squared distance of a normal error that is cut so: 2 (1 - exp(-CUT / 2))."""

_COLUMNS = ('variance_east_m2', 'covariance_east_north_m2', 'variance_north_m2')


@dataclass(frozen=True)
class FixSequence:
    """The fixes of one sequence that have a truth, in the order of time."""

    squared: np.ndarray
    """Squared Mahalanobis distance (N,) of the truth, by the covariances as published."""

    confidence: np.ndarray
    """Mass (N,) of the first hypothesis, 0..1."""

    error_m: np.ndarray
    """Distance (N,) of the truth, metres."""

    radius_90_m: np.ndarray
    """Half the long axis (N,) of the 90 % ellipse, metres."""

    frames: int
    """Number of images with a truth, those without a fix among them."""


@dataclass(frozen=True)
class FixTable:
    """The rows of a `fixes.csv` with a fix and a truth."""

    latitude: np.ndarray
    """Degrees (N,) of the fix."""

    longitude: np.ndarray
    """Degrees (N,) of the fix."""

    true_latitude: np.ndarray
    """Degrees (N,)."""

    true_longitude: np.ndarray
    """Degrees (N,)."""

    covariance_m2: np.ndarray
    """(N, 2, 2), ENU."""

    confidence: np.ndarray
    """Mass (N,) of the first hypothesis; NaN where it is not known."""

    frames: int
    """Number of rows with a truth, those without a fix among them."""


def read_fixes(path: str | Path) -> FixTable:
    """The `FixTable` of a `fixes.csv`. Raises DatasetError where it cannot be read or has no true
    positions."""
    try:
        with open(path, newline='', encoding='utf-8') as file:
            rows = [row for row in csv.DictReader(file) if row.get('truth_latitude')]
        fixes = [row for row in rows if row['status'] == 'fix']
        names = ('latitude', 'longitude', 'truth_latitude', 'truth_longitude', *_COLUMNS)
        columns = np.array([[float(row[n]) for n in names] for row in fixes]).reshape(-1, 7)
        confidence = np.array([float(row['confidence'] or 'nan') for row in fixes])
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f'{path} is no fixes.csv of justzoom replay: {error}') from None
    if not rows:
        raise DatasetError(f'{path} has no true positions; replay a bag that has them')
    latitude, longitude, true_latitude, true_longitude = columns[:, :4].T
    covariance = columns[:, [4, 5, 5, 6]].reshape(-1, 2, 2)
    place, truth = (latitude, longitude), (true_latitude, true_longitude)
    return FixTable(*place, *truth, covariance, confidence, len(rows))


def read_sequence(path: str | Path) -> FixSequence:
    """The `FixSequence` of a `fixes.csv`. Raises DatasetError as `read_fixes`."""
    table = read_fixes(path)
    azimuth, _, distance = GEOD.inv(
        table.longitude, table.latitude, table.true_longitude, table.true_latitude
    )
    angle, length = np.radians(azimuth), np.asarray(distance, float)
    off = np.stack([length * np.sin(angle), length * np.cos(angle)], 1)
    solved = np.linalg.solve(table.covariance_m2, off[:, :, None])[:, :, 0]
    radius = np.sqrt(CHI2_2DOF[0.9] * np.linalg.eigvalsh(table.covariance_m2)[:, 1])
    squared = (off * solved).sum(1)
    return FixSequence(squared, table.confidence, length, radius, table.frames)


def fit_scale(sequences: Sequence[FixSequence]) -> float:
    """The factor on covariances that makes them true: with it the mean squared distance is that
    of a normal error, every sequence counting the same. Raises DatasetError without fixes."""
    with_fixes = [each.squared for each in sequences if len(each.squared)]
    if not with_fixes:
        raise DatasetError('no sequence has a fix with a true position: nothing to calibrate on')

    def mean(scale: float) -> float:
        return float(np.mean([np.minimum(s / scale, CUT).mean() for s in with_fixes]))

    low, high = 1e-4, 1e4
    for _ in range(100):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if mean(middle) > CUT_MEAN else (low, middle)
    return high


def make_promise(
    sequences: Sequence[FixSequence],
    group: str,
    fitted_on: str,
    alpha: float = 0.05,
    delta: float = 0.05,
    scale: float = 1.0,
) -> Promise:
    """The `Promise` of sequences whose covariances count times `scale`.

    Raises DatasetError where there are too few for `alpha` and `delta`, or where they show that it
    would not be kept; ConfigError for shares that are not within 0..1.
    """
    needed = least_sequences(alpha, delta)
    known = [each for each in sequences if len(each.squared)]
    if len(known) < needed:
        raise DatasetError(
            f'{len(known)} sequences with fixes cannot support a risk of at most {alpha:g} with '
            f'confidence {1 - delta:g}: it takes {needed}, or a greater alpha'
        )
    losses = [_losses(known, gate, scale) for gate in GATES]
    passed = learn_then_test(losses, alpha, delta)
    if passed is None:
        raise DatasetError(
            f'a risk of at most {alpha:g} cannot be promised with confidence {1 - delta:g}: of '
            f'{len(known)} sequences {losses[-1].mean():.1%} of the fixes are false, with the '
            f'strictest gate {losses[0].mean():.1%}; take more sequences or a greater alpha'
        )
    kept = [_kept(each, GATES[passed]) for each in known]
    scores = [each.squared[flags] / scale for each, flags in zip(known, kept, strict=True)]
    gross = sum(bool((s > GROSS * CHI2_2DOF[0.99]).any()) for s in scores)
    return Promise(
        group=group,
        sequences=len(known),
        fixes=int(sum(map(len, scores))),
        alpha=alpha,
        delta=delta,
        min_confidence=GATES[passed],
        false_share=float(losses[passed].mean()),
        gross_sequences=gross,
        gross_bound=upper_bound(gross, len(known), delta),
        radii=_radii([s for s in scores if len(s)]),
        fitted_on=fitted_on,
    )


def _kept(sequence: FixSequence, gate: float) -> np.ndarray:
    return sequence.confidence >= gate


def _losses(sequences: Sequence[FixSequence], gate: float, scale: float) -> np.ndarray:
    """Of each sequence the share of its fixes through a gate that are false."""
    losses = []
    for each in sequences:
        squared = each.squared[_kept(each, gate)] / scale
        losses.append((squared > CHI2_2DOF[0.99]).mean() if len(squared) else 0.0)
    return np.array(losses)


def _radii(scores: Sequence[np.ndarray]) -> dict[str, float]:
    """{probability: squared Mahalanobis radius that holds it}, where there are enough."""
    found = {f'{level:g}': conformal_radius(scores, 1 - level) for level in LEVELS if scores}
    return {level: radius for level, radius in found.items() if np.isfinite(radius)}


def check_alpha(alpha: float, delta: float) -> None:
    """Raises ConfigError for shares that are not within 0..1."""
    for name, value in (('alpha', alpha), ('delta', delta)):
        if not 0 < value < 1:
            raise ConfigError(f'--{name} is {value:g}; it must lie within 0..1')
