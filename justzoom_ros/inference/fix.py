"""From a posterior to what a robot can use: a position with a true covariance, or none.

A fix is sure only if one hypothesis holds most of the mass and lies within a radius. Its
covariance is that of the hypothesis, widened until the 90 % ellipse holds 90 % of the whole
posterior, other hypotheses included. In doubt the answer is 'no_fix', with the mean and the
covariance of everything.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.posterior import CHI2_2DOF, CellPosterior, Mode, radius_m
from justzoom_ros.maps.map_offset import MapOffset
from justzoom_ros.ranges import check_ranges, ranged
from justzoom_ros.region import Region

Points = tuple[np.ndarray, np.ndarray]
"""Positions (N, 2), east and north in metres, and their masses (N,), summing to one."""


class FixStatus(str, Enum):
    """Whether a `Fix` may be used; as text 'fix' or 'no_fix'."""

    FIX = 'fix'
    NO_FIX = 'no_fix'

    __str__ = str.__str__


@dataclass(frozen=True)
class FixCriteria:
    """When to be sure. Raises ConfigError for values out of range."""

    min_confidence: float = ranged(0.8, at_least=0, at_most=1)
    """Least mass (0..1) of the first hypothesis."""

    max_radius_m: float = ranged(50.0, above=0)
    """Greatest half axis of the 90 % ellipse, metres."""

    def __post_init__(self) -> None:
        check_ranges(self)

    def at_least(self, min_confidence: float) -> 'FixCriteria':
        """The same, but as strict as a gate (0..1) at least."""
        stricter = max(self.min_confidence, min_confidence)
        return replace(self, min_confidence=stricter)


@dataclass(frozen=True)
class Hypothesis:
    """A place where the camera may be."""

    latitude: float
    """Degrees (WGS84)."""

    longitude: float
    """Degrees (WGS84)."""

    east_m: float
    """Metres east of the region's centre."""

    north_m: float
    """Metres north of the region's centre."""

    covariance_m2: np.ndarray
    """Covariance (2, 2) of east and north."""

    mass: float
    """Probability (0..1) that the camera is there."""


@dataclass(frozen=True)
class Fix:
    """One answer: where the camera is, how surely, and whether that is sure enough."""

    latitude: float
    """Degrees (WGS84), always finite."""

    longitude: float
    """Degrees (WGS84), always finite."""

    east_m: float
    """Metres east of the region's centre."""

    north_m: float
    """Metres north of the region's centre."""

    covariance_m2: np.ndarray
    """Covariance (2, 2) of east and north: its 90 % ellipse holds 90 % of the posterior."""

    radius_90_m: float
    """Half the long axis of the 90 % ellipse of the covariance."""

    confidence: float
    """Mass (0..1) of the first hypothesis, 0 where there is none."""

    status: FixStatus
    """Whether a robot may use it."""

    reason: str
    """Why there is no fix, '' where there is one."""

    hypotheses: tuple[Hypothesis, ...]
    """All places that are told apart, heaviest first."""

    posterior: CellPosterior | None
    """What the fix was made from. None where it was dropped to save memory: a posterior takes as
    many numbers as the map has cells. What needs it calls `require_posterior`."""

    yaw_rad: float | None = None
    """Heading counter-clockwise from east; None of a single frame, which says nothing of it."""

    yaw_std_rad: float | None = None
    """Standard deviation of the heading; None where there is no heading."""

    heading_cross_m_rad: tuple[float, float] = (0.0, 0.0)
    """Covariance of east and north with the heading, metres times radians."""

    off_map: float = 0.0
    """Probability (0..1) that the camera is not on the map; 0 of a single frame."""

    map_offset_m: tuple[float, float] = (0.0, 0.0)
    """What was added to the place on the map, metres east and north: see `MapOffset`."""

    def require_posterior(self) -> CellPosterior:
        """The posterior. Raises ConfigError where the fix has none any more."""
        if self.posterior is None:
            raise ConfigError('the posterior of this fix was dropped; it is needed here')
        return self.posterior


Place = TypeVar('Place', Fix, Hypothesis)


def make_fix(posterior: CellPosterior, criteria: FixCriteria | None = None) -> Fix:
    """The `Fix` of a posterior. Without `criteria` those of `FixCriteria()` hold."""
    return make_fix_from_modes(posterior, posterior.modes(), criteria)


def make_fix_from_modes(
    posterior: CellPosterior,
    modes: Sequence[Mode],
    criteria: FixCriteria | None = None,
    off_map: float = 0.0,
    points: Points | None = None,
) -> Fix:
    """The `Fix` of a posterior whose `modes` are known already, heaviest first.

    With the probability `off_map`, which the masses of the modes leave room for, none of it holds.
    `points` are what the ellipse has to hold, the centres of the posterior's leaves unless given.
    """
    mean, covariance, reason = _judge(posterior, modes, criteria or FixCriteria(), off_map, points)
    return Fix(
        *_position(posterior.region, mean),
        covariance_m2=covariance,
        radius_90_m=radius_m(covariance),
        confidence=modes[0].mass if modes else 0.0,
        status=FixStatus.NO_FIX if reason else FixStatus.FIX,
        reason=reason,
        hypotheses=tuple(_hypothesis(posterior.region, mode) for mode in modes),
        posterior=posterior,
        off_map=off_map,
    )


def make_no_fix(region: Region, reason: str) -> Fix:
    """The `Fix` of a picture that could not be looked at: none, with a covariance that covers the
    whole region and no posterior."""
    covariance = np.eye(2) * region.side_m**2 / 12
    return Fix(
        *_position(region, np.zeros(2)),
        covariance_m2=covariance,
        radius_90_m=radius_m(covariance),
        confidence=0.0,
        status=FixStatus.NO_FIX,
        reason=reason,
        hypotheses=(),
        posterior=None,
    )


def _judge(
    posterior: CellPosterior,
    modes: Sequence[Mode],
    criteria: FixCriteria,
    off_map: float,
    points: Points | None,
) -> tuple[np.ndarray, np.ndarray, str]:
    """Mean (2,), covariance (2, 2) and why there is no fix, '' where there is one."""
    everything = posterior.mean_m, posterior.covariance_m2
    if not modes:
        return *everything, 'nothing was explored down to terminal cells'
    reach = _reach_of_points if points else _reach_of_cells
    points = points or (posterior.centers_m, posterior.masses)
    widened = _widen(modes[0], *points, 0.9 / max(1 - off_map, 0.9), reach)
    reason = _doubt(modes, radius_m(widened), criteria)
    return (*everything, reason) if reason else (modes[0].mean_m, widened, '')


def widen(fix: Fix, std_m: float, criteria: FixCriteria | None = None) -> Fix:
    """The fix with an error of `std_m` metres in every direction added that its posterior does not
    know of; NO_FIX where that makes it too wide for `criteria`, `FixCriteria()` unless given."""
    return _add_covariance(fix, std_m**2 * np.eye(2), criteria)


def scale_covariance(fix: Fix, scale: float) -> Fix:
    """The fix with its covariance times a factor that calibration found; whether it is one stays
    as decided."""
    radius = fix.radius_90_m * math.sqrt(scale)
    return replace(fix, covariance_m2=fix.covariance_m2 * scale, radius_90_m=radius)


def add_offset(
    fix: Fix, region: Region, offset: MapOffset, criteria: FixCriteria | None = None
) -> Fix:
    """The fix on a map, moved to where it truly is by the map's offset, whose covariance is added;
    NO_FIX where that makes it too wide for `criteria`, `FixCriteria()` unless given."""
    if not (offset.mean_m.any() or offset.covariance_m2.any()):
        return fix
    moved = replace(
        _move(region, fix, offset),
        hypotheses=tuple(_move(region, one, offset) for one in fix.hypotheses),
        map_offset_m=(offset.east_m, offset.north_m),
    )
    return _add_covariance(moved, offset.covariance_m2, criteria)


def on_map(fix: Fix, region: Region) -> Fix:
    """The fix where the map shows it, for pictures: without what `add_offset` moved it by."""
    east_m, north_m = fix.map_offset_m
    back = add_offset(fix, region, MapOffset(-east_m, -north_m))
    return replace(back, map_offset_m=(0.0, 0.0), status=fix.status, reason=fix.reason)


def _move(region: Region, place: Place, offset: MapOffset) -> Place:
    east_m, north_m = place.east_m + offset.east_m, place.north_m + offset.north_m
    latitude, longitude = region.to_latlon(east_m, north_m)
    return replace(place, latitude=latitude, longitude=longitude, east_m=east_m, north_m=north_m)


def _add_covariance(fix: Fix, added_m2: np.ndarray, criteria: FixCriteria | None) -> Fix:
    covariance_m2 = fix.covariance_m2 + added_m2
    wider = replace(
        fix,
        covariance_m2=covariance_m2,
        radius_90_m=radius_m(covariance_m2),
        hypotheses=tuple(
            replace(one, covariance_m2=one.covariance_m2 + added_m2) for one in fix.hypotheses
        ),
    )
    reason = _too_wide(wider.radius_90_m, criteria or FixCriteria())
    if fix.status is not FixStatus.FIX or not reason:
        return wider
    return replace(wider, status=FixStatus.NO_FIX, reason=reason)


def circular_std_rad(length: float) -> float:
    """Standard deviation, in radians, of headings whose mean vector has this length (0..1), as in
    directional statistics: sqrt(-2 ln length)."""
    return float(np.sqrt(-2 * np.log(np.clip(length, 1e-12, 1.0))))


def _doubt(modes: Sequence[Mode], radius: float, criteria: FixCriteria) -> str:
    """Why the first mode is not sure enough, '' where it is."""
    if modes[0].mass < criteria.min_confidence:
        # Rounded down, since 79.9 % is not "80 %, less than 80 %".
        share = math.floor(100 * modes[0].mass) / 100
        return (
            f'ambiguous: the first of {len(modes)} hypotheses holds {share:.0%}, less '
            f'than {criteria.min_confidence:.0%}'
        )
    return _too_wide(radius, criteria)


def _too_wide(radius: float, criteria: FixCriteria) -> str:
    if radius > criteria.max_radius_m:
        return f'too wide: the 90 % radius is {radius:.0f} m, over {criteria.max_radius_m:.0f} m'
    return ''


def _widen(
    mode: Mode,
    positions_m: np.ndarray,
    masses: np.ndarray,
    share: float,
    reach: Callable[[np.ndarray, np.ndarray, float], float],
) -> np.ndarray:
    """The mode's covariance, scaled up until its 90 % ellipse holds a share of the masses, which
    end where `reach` says."""
    offset = positions_m - mode.mean_m
    squared = np.einsum('ni,ij,nj->n', offset, np.linalg.inv(mode.covariance_m2), offset)
    order = np.argsort(squared)
    needed = reach(squared[order], masses[order], share)
    return mode.covariance_m2 * max(1.0, needed / CHI2_2DOF[0.9])


def _reach_of_cells(squared: np.ndarray, masses: np.ndarray, share: float) -> float:
    """Squared distance, of an ascending row, that holds the centres of cells with that share."""
    reached = int(np.searchsorted(np.cumsum(masses), share - 1e-12))
    return float(squared[min(reached, len(squared) - 1)])


def _reach_of_points(squared: np.ndarray, masses: np.ndarray, share: float) -> float:
    """As `_reach_of_cells`, of points that a density is known at: half of the mass that one stands
    for is nearer than it is."""
    return float(np.interp(share, np.cumsum(masses) - masses / 2, squared))


def _hypothesis(region: Region, mode: Mode) -> Hypothesis:
    return Hypothesis(*_position(region, mode.mean_m), mode.covariance_m2, mode.mass)


def _position(region: Region, mean_m: np.ndarray) -> tuple[float, float, float, float]:
    """Latitude, longitude, east and north of a point (2,)."""
    east, north = (float(x) for x in mean_m)
    latitude, longitude = region.to_latlon(east, north)
    return latitude, longitude, east, north
