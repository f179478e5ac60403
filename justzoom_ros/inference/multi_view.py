"""Several views of one place: their posteriors multiply.

A rig's cameras, or a turn on the spot, see different sides of the same place. Given the place,
what they see is independent except where they overlap, so the posterior of all is the product of
theirs, each to the power of how much of its view it has to itself (a logarithmic opinion pool,
Genest and Zidek 1986, doi 10.1214/ss/1177013825).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.region import Region

BEARINGS = 720
"""Directions in which overlaps are counted: half a degree apart."""

FLOOR = 1e-9
"""Least density of a view's posterior relative to the greatest, which keeps zeros of rounding from
vetoing what all other views say."""


@dataclass(frozen=True)
class Mount:
    """How a camera is mounted. Raises ConfigError for values out of range."""

    heading_rad: float = 0.0
    """Heading of its axis, counter-clockwise from that of the first camera."""

    fov_rad: float = np.pi / 2
    """Horizontal field of view, in 0..2 pi."""

    def __post_init__(self) -> None:
        if not np.isfinite(self.heading_rad):
            raise ConfigError(f'heading of a camera is {self.heading_rad}; it must be finite')
        if not 0 < self.fov_rad <= 2 * np.pi:
            raise ConfigError(f'fov of a camera is {self.fov_rad} rad; it must lie in 0..2 pi')

    def sees(self, bearings_rad: np.ndarray) -> np.ndarray:
        """bool (N,), True for bearings (N,) within the field of view."""
        turn = (bearings_rad - self.heading_rad + np.pi) % (2 * np.pi) - np.pi
        return np.abs(turn) <= self.fov_rad / 2


def overlap_weights(mounts: Sequence[Mount]) -> np.ndarray:
    """Exponent (N,) of each camera's posterior: the mean, over its field of view, of one by the
    number of cameras that look there. Cameras apart have 1 each, N alike 1 / N each."""
    bearings = (np.arange(BEARINGS) + 0.5) * 2 * np.pi / BEARINGS
    seen = np.array([mount.sees(bearings) for mount in mounts])
    alone = 1 / seen.sum(axis=0).clip(1)
    return (seen * alone).sum(axis=1) / seen.sum(axis=1).clip(1)


def fuse_posteriors(
    posteriors: Sequence[CellPosterior], exponents: Sequence[float] | np.ndarray | None = None
) -> CellPosterior:
    """The `CellPosterior` of several views of one place, over one region.

    The leaves are the finest of all; an unexplored leaf counts as uniform inside. Raises
    ConfigError for another number of exponents than posteriors.
    """
    powers = np.ones(len(posteriors)) if exponents is None else np.asarray(exponents)
    if not len(posteriors) or len(powers) != len(posteriors):
        raise ConfigError(f'{len(posteriors)} posteriors cannot have {len(powers)} exponents')
    if len(posteriors) == 1:
        return posteriors[0]
    region = posteriors[0].region
    levels, indices = _finest(region, posteriors)
    total = np.zeros(len(levels))
    for posterior, exponent in zip(posteriors, powers, strict=True):
        density = _densities(posterior, levels, indices)
        total += exponent * np.log(np.maximum(density, FLOOR * density.max()))
    masses = np.exp(total - total.max()) * region.terminal_count(levels)
    return CellPosterior(region, levels, indices, masses / masses.sum())


def _finest(region: Region, posteriors: Sequence[CellPosterior]) -> tuple[np.ndarray, np.ndarray]:
    """Leaves (levels, indices) of all the posteriors that no other leaf lies within."""
    if all(_same_leaves(posteriors[0], other) for other in posteriors[1:]):
        return posteriors[0].levels, posteriors[0].indices
    pairs = (np.stack([p.levels, p.indices], axis=1).tolist() for p in posteriors)
    leaves = {tuple(pair) for of_one in pairs for pair in of_one}
    split = set()
    for level, index in leaves:
        while level:
            level, index = level - 1, region.parent(index)
            split.add((level, index))
    levels, indices = np.array(sorted(leaves - split)).T
    return levels, indices


def _same_leaves(one: CellPosterior, other: CellPosterior) -> bool:
    return np.array_equal(one.levels, other.levels) and np.array_equal(one.indices, other.indices)


def _densities(posterior: CellPosterior, levels: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Mass per terminal cell (N,) of leaves at least as fine as the posterior's own."""
    region = posterior.region
    own = posterior.masses / region.terminal_count(posterior.levels)
    found = np.zeros(len(levels))
    for level in np.unique(posterior.levels):
        at = posterior.levels == level
        order = np.argsort(posterior.indices[at])
        known, values = posterior.indices[at][order], own[at][order]
        below = np.flatnonzero(levels >= level)
        above = region.parent(indices[below], levels[below] - level)
        where = np.searchsorted(known, above).clip(max=len(known) - 1)
        hit = known[where] == above
        found[below[hit]] = values[where[hit]]
    return found
