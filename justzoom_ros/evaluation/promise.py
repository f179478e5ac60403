"""What may be promised of fixes: from the `fixes.csv` of many sequences to a `Promise`.

Every sequence is a file, as `justzoom replay` writes it. First covariances are made true
(covariance_fit.py); then comes the gate, by learn then test; then the radii that hold, by
conformal prediction.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
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

_COLUMNS = ('variance_east_m2', 'covariance_east_north_m2', 'variance_north_m2')


@dataclass(frozen=True)
class FixSequence:
    """The fixes of one sequence that have a truth, in the order of time."""

    off_m: np.ndarray
    """How far (N, 2) the truth is from the fix, metres east and north."""

    covariance_m2: np.ndarray
    """(N, 2, 2), ENU."""

    confidence: np.ndarray
    """Mass (N,) of the first hypothesis, 0..1."""

    frames: int
    """Number of images with a truth, those without a fix among them."""

    place: str = ''
    """Where and when it was taken, in a word: sequences of one place and day share an error."""

    @cached_property
    def squared(self) -> np.ndarray:
        """Squared Mahalanobis distance (N,) of the truth."""
        solved = np.linalg.solve(self.covariance_m2, self.off_m[:, :, None])[:, :, 0]
        return (self.off_m * solved).sum(1)

    @property
    def error_m(self) -> np.ndarray:
        """Distance (N,) of the truth, metres."""
        return np.hypot(*self.off_m.T)

    @property
    def radius_90_m(self) -> np.ndarray:
        """Half the long axis (N,) of the 90 % ellipse, metres."""
        return np.sqrt(CHI2_2DOF[0.9] * np.linalg.eigvalsh(self.covariance_m2)[:, 1])

    def calibrated(self, scale: float = 1.0, floor_m: float = 0.0) -> 'FixSequence':
        """The same with covariances times `scale`, and an error of `floor_m` metres along each
        axis added that the frames share."""
        covariance_m2 = scale * self.covariance_m2 + floor_m**2 * np.eye(2)
        return replace(self, covariance_m2=covariance_m2)

    def through(self, gate: float) -> 'FixSequence':
        """The fixes whose confidence is at least that of a gate."""
        flags = self.confidence >= gate
        return replace(
            self,
            off_m=self.off_m[flags],
            covariance_m2=self.covariance_m2[flags],
            confidence=self.confidence[flags],
        )


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
    """The `FixSequence` of a `fixes.csv`, in a folder of its own, which is in that of its place.
    Raises DatasetError as `read_fixes`."""
    table = read_fixes(path)
    azimuth, _, distance = GEOD.inv(
        table.longitude, table.latitude, table.true_longitude, table.true_latitude
    )
    angle, length = np.radians(azimuth), np.asarray(distance, float)
    off_m = np.stack([length * np.sin(angle), length * np.cos(angle)], 1)
    place = str(Path(path).absolute().parent.parent)
    return FixSequence(off_m, table.covariance_m2, table.confidence, table.frames, place)


def make_promise(
    sequences: Sequence[FixSequence],
    group: str,
    fitted_on: str,
    alpha: float = 0.05,
    delta: float = 0.05,
) -> Promise:
    """The `Promise` of sequences.

    Raises DatasetError where there are too few for `alpha` and `delta`, or where they show that it
    would not be kept; ConfigError for shares that are not within 0..1.
    """
    needed = least_sequences(alpha, delta)
    known = [each for each in sequences if len(each.off_m)]
    if len(known) < needed:
        raise DatasetError(
            f'{len(known)} sequences with fixes cannot support a risk of at most {alpha:g} with '
            f'confidence {1 - delta:g}: it takes {needed}, or a greater alpha'
        )
    losses = [_losses(known, gate) for gate in GATES]
    passed = learn_then_test(losses, alpha, delta)
    if passed is None:
        raise DatasetError(
            f'a risk of at most {alpha:g} cannot be promised with confidence {1 - delta:g}: of '
            f'{len(known)} sequences {losses[-1].mean():.1%} of the fixes are false, with the '
            f'strictest gate {losses[0].mean():.1%}; take more sequences or a greater alpha'
        )
    scores = [each.through(GATES[passed]).squared for each in known]
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


def _losses(sequences: Sequence[FixSequence], gate: float) -> np.ndarray:
    """Of each sequence the share of its fixes through a gate that are false."""
    kept = [each.through(gate).squared for each in sequences]
    return np.array([(s > CHI2_2DOF[0.99]).mean() if len(s) else 0.0 for s in kept])


def _radii(scores: Sequence[np.ndarray]) -> dict[str, float]:
    """{probability: squared Mahalanobis radius that holds it}, where there are enough."""
    found = {f'{level:g}': conformal_radius(scores, 1 - level) for level in LEVELS if scores}
    return {level: radius for level, radius in found.items() if np.isfinite(radius)}


def check_alpha(alpha: float, delta: float) -> None:
    """Raises ConfigError for shares that are not within 0..1."""
    for name, value in (('alpha', alpha), ('delta', delta)):
        if not 0 < value < 1:
            raise ConfigError(f'--{name} is {value:g}; it must lie within 0..1')
