"""From a posterior to what a robot can use: a position with a true covariance, or none.

A fix is sure only if one hypothesis holds most of the mass and lies within a radius. Its
covariance is that of the hypothesis, widened until the 90 % ellipse holds 90 % of the whole
posterior, other hypotheses included. In doubt the answer is 'no_fix', with the mean and the
covariance of everything.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.posterior import CHI2_2DOF, CellPosterior, radius_m


class FixStatus(str, Enum):
    """Whether a `Fix` may be used; as text 'fix' or 'no_fix'."""

    FIX = 'fix'
    NO_FIX = 'no_fix'

    __str__ = str.__str__


@dataclass(frozen=True)
class FixCriteria:
    """When to be sure. Raises ConfigError for values out of range."""

    min_confidence: float = 0.8
    """Least mass (0..1) of the first hypothesis."""

    max_radius_m: float = 50.0
    """Greatest half axis of the 90 % ellipse."""

    def __post_init__(self):
        if not 0 <= self.min_confidence <= 1:
            raise ConfigError(f'min_confidence is {self.min_confidence:g}; it must lie in 0..1')
        if not self.max_radius_m > 0:
            raise ConfigError(f'max_radius_m is {self.max_radius_m:g}; it must be positive')


@dataclass(frozen=True)
class Hypothesis:
    """A place where the camera may be, with the probability `mass`: latitude and longitude in
    degrees, `east_m` and `north_m` of the region's centre, covariance (2, 2) ENU."""

    latitude: float
    longitude: float
    east_m: float
    north_m: float
    covariance_m2: np.ndarray
    mass: float


@dataclass(frozen=True)
class Fix:
    """One answer. `status` is a `FixStatus`, `reason` says why not. `confidence` is the mass
    of the first of `hypotheses`, `radius_90_m` half the long axis of the 90 % ellipse of
    `covariance_m2` (2, 2), ENU. Of a robot in motion `yaw_rad` and `yaw_std_rad` are the heading,
    counter-clockwise from east, and `off_map` the probability that it is not on the map."""

    latitude: float
    longitude: float
    east_m: float
    north_m: float
    covariance_m2: np.ndarray
    radius_90_m: float
    confidence: float
    status: FixStatus
    reason: str
    hypotheses: tuple[Hypothesis, ...]
    posterior: CellPosterior
    yaw_rad: float | None = None
    yaw_std_rad: float | None = None
    off_map: float = 0.0


def make_fix(posterior, criteria=None):
    """The `Fix` of a `CellPosterior` under a `FixCriteria`."""
    return make_fix_from_modes(posterior, posterior.modes(), criteria)


def make_fix_from_modes(posterior, modes, criteria=None, off_map=0.0, points=None):
    """The `Fix` of a `CellPosterior` whose `Mode`s are known already, heaviest first. With the
    probability `off_map`, which the masses of the modes leave room for, none of it holds.
    `points`: positions (N, 2) and masses (N,) that the ellipse has to hold, the centres of the
    posterior's leaves unless given."""
    criteria = criteria or FixCriteria()
    hypotheses = tuple(_hypothesis(posterior.region, mode) for mode in modes)
    mean, covariance = posterior.mean_m, posterior.covariance_m2
    reason = 'nothing was explored down to terminal cells'
    if modes:
        points = points or (posterior.centers_m, posterior.masses)
        widened = _widened(modes[0], *points, 0.9 / max(1 - off_map, 0.9))
        reason = _doubt(modes, radius_m(widened), criteria)
        if not reason:
            mean, covariance = modes[0].mean_m, widened
    return Fix(
        *_position(posterior.region, mean),
        covariance_m2=covariance,
        radius_90_m=radius_m(covariance),
        confidence=modes[0].mass if modes else 0.0,
        status=FixStatus.NO_FIX if reason else FixStatus.FIX,
        reason=reason,
        hypotheses=hypotheses,
        posterior=posterior,
        off_map=off_map,
    )


def _doubt(modes, radius, criteria):
    """Why the first mode is not sure enough, '' where it is."""
    if modes[0].mass < criteria.min_confidence:
        return (
            f'ambiguous: the first of {len(modes)} hypotheses holds {modes[0].mass:.0%}, less '
            f'than {criteria.min_confidence:.0%}'
        )
    if radius > criteria.max_radius_m:
        return f'too wide: the 90 % radius is {radius:.0f} m, over {criteria.max_radius_m:.0f} m'
    return ''


def _widened(mode, positions_m, masses, share):
    """The mode's covariance, scaled up until its 90 % ellipse holds a share of the masses."""
    offset = positions_m - mode.mean_m
    squared = np.einsum('ni,ij,nj->n', offset, np.linalg.inv(mode.covariance_m2), offset)
    order = np.argsort(squared)
    reached = np.searchsorted(np.cumsum(masses[order]), share - 1e-12)
    needed = squared[order[min(reached, len(order) - 1)]]
    return mode.covariance_m2 * max(1.0, needed / CHI2_2DOF[0.9])


def _hypothesis(region, mode):
    return Hypothesis(*_position(region, mode.mean_m), mode.covariance_m2, mode.mass)


def _position(region, mean_m):
    east, north = (float(x) for x in mean_m)
    return *region.to_latlon(east, north), east, north
