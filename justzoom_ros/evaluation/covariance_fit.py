"""What makes covariances true: a factor on them, and an error that all frames of a day share.

What a belief says of its own width can be too careful or too bold: that is the factor. What it
cannot know is what every frame of a sequence is off by alike, such as the shadows of another hour
than the map's: no frame after it makes that smaller, so it is added, and not a share of the rest.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from justzoom_ros.errors import DatasetError
from justzoom_ros.evaluation.promise import FixSequence

CUT = 13.8155
"""Squared distances count up to that which holds 99.9 %: one false fix must not widen all."""

CUT_MEAN = 1.998
"""Mean of the squared distance of a normal error that is cut so: 2 (1 - exp(-CUT / 2))."""

FLOORS_M = (0.0, *np.geomspace(0.05, 20.0, 49))
"""Shared errors that are tried, metres."""

LEAST_SCALE, MOST_SCALE = 1e-3, 1e4
"""A factor is between these. With the least, nearly all of a covariance is shared."""


@dataclass(frozen=True)
class CovarianceFit:
    """What covariances are to be, of those that were published: see `FixSequence.calibrated`."""

    scale: float = 1.0
    """Factor."""

    floor_m: float = 0.0
    """Shared error along each axis, metres."""


def fit_scale_and_floor(sequences: Sequence[FixSequence]) -> CovarianceFit:
    """The fit with which the mean squared distance is that of a normal error and the errors are
    most probable, every sequence counting the same; without a shared error, unless that is better
    by more than the deviation of the gain between sequences. Raises DatasetError without fixes."""
    errors = [_Errors.of(each) for each in sequences if len(each.off_m)]
    if not errors:
        raise DatasetError('no sequence has a fix with a true position: nothing to calibrate on')
    together = _Errors(*(np.concatenate(part) for part in zip(*map(astuple, errors), strict=True)))
    shares = np.concatenate([np.full(len(each.along), 1 / len(each.along)) for each in errors])
    shares /= len(errors)
    fits = [CovarianceFit(_scale(together, shares, floor_m), floor_m) for floor_m in FLOORS_M]
    fits = [fit for fit in fits if fit.scale > 0]
    best = min(fits, key=lambda fit: together.cost(fit) @ shares)
    gain = [(each.cost(fits[0]) - each.cost(best)).mean() for each in errors]
    return best if np.mean(gain) > np.std(gain) / np.sqrt(len(gain)) else fits[0]


def cross_fit(sequences: Sequence[FixSequence]) -> list[FixSequence]:
    """The sequences of each place with covariances made true by those of all others: what a fit
    is worth at a place that it did not see. Raises DatasetError for fewer than two places."""
    places = sorted({each.place for each in sequences})
    if len(places) < 2:
        raise DatasetError('sequences of one place cannot say what a fit is worth at another')
    found = []
    for place in places:
        fit = fit_scale_and_floor([each for each in sequences if each.place != place])
        here = (each for each in sequences if each.place == place)
        found += [each.calibrated(fit.scale, fit.floor_m) for each in here]
    return found


@dataclass(frozen=True)
class _Errors:
    """Errors along the axes of their ellipses: a shared error widens both and turns neither."""

    along: np.ndarray
    """(N, 2), metres squared."""

    variances: np.ndarray
    """(N, 2) of the published covariance along these axes, metres squared."""

    @classmethod
    def of(cls, sequence: FixSequence) -> '_Errors':
        variances, axes = np.linalg.eigh(sequence.covariance_m2)
        return cls(np.einsum('nij,ni->nj', axes, sequence.off_m) ** 2, variances)

    def squared(self, scale: float, floor_m: float) -> np.ndarray:
        """Squared Mahalanobis distance (N,), cut."""
        return np.minimum((self.along / (scale * self.variances + floor_m**2)).sum(1), CUT)

    def cost(self, fit: CovarianceFit) -> np.ndarray:
        """Negative logarithms (N,) of the densities of the errors, less a constant."""
        logs = np.log(fit.scale * self.variances + fit.floor_m**2).sum(1)
        return (logs + self.squared(fit.scale, fit.floor_m)) / 2


def _scale(errors: _Errors, shares: np.ndarray, floor_m: float) -> float:
    """The factor with which the mean squared distance is right beside a shared error; 0 where
    that alone is too much. `shares` (N,) of the errors sum to one."""
    low, high = LEAST_SCALE, MOST_SCALE
    if errors.squared(low, floor_m) @ shares <= CUT_MEAN:
        return low if floor_m == 0 else 0.0
    for _ in range(40):
        middle = float(np.sqrt(low * high))
        too_low = errors.squared(middle, floor_m) @ shares > CUT_MEAN
        low, high = (middle, high) if too_low else (low, middle)
    return high
