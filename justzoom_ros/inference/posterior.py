"""Where the camera may be: probabilities over the cells of a zoom tree.

A posterior holds the *leaves* of a tree that a search has expanded as far as it went: terminal
cells, and cells that were not looked into. The leaves' masses sum to one, so nothing is hidden:
what was not explored is known by its mass and place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import cv2
import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.region import Cell, Region

CHI2_2DOF = {0.5: 1.3862943611, 0.9: 4.6051701860, 0.95: 5.9914645471, 0.99: 9.2103403720}
"""Squared Mahalanobis radius that holds a share of a Gaussian in the plane: -2 ln(1 - share)."""

TINY = 1e-9
"""Shares of a leaf that are smaller than this are what rounding leaves of nothing."""

MAX_MODES = 100
"""So many hypotheses are told apart at most: more are of no use to anybody."""


@dataclass(frozen=True)
class Mode:
    """One hypothesis: a connected group of terminal cells."""

    mass: float
    """Its probability (0..1)."""

    mass_upper: float
    """Greatest probability that it can have, given what was not explored."""

    mean_m: np.ndarray
    """Mean position (2,) of the group alone, metres east and north of the region's centre."""

    covariance_m2: np.ndarray
    """Covariance (2, 2) about that mean, ENU."""

    indices: np.ndarray
    """Cell indices (N,) of its terminal cells."""

    def scaled(self, share: float) -> 'Mode':
        """The same where all modes together hold only a share (0..1) of everything."""
        return replace(self, mass=self.mass * share, mass_upper=self.mass_upper * share)


@dataclass(frozen=True)
class CellPosterior:
    """Leaves of an expanded zoom tree. They do not overlap; cells without imagery are left out.
    Raises ConfigError where the masses are no distribution."""

    region: Region
    """The square and its zoom tree."""

    levels: np.ndarray
    """Level (N,) int64 of each leaf, `region.depth` for terminal cells."""

    indices: np.ndarray
    """Cell index (N,) int64 of each leaf in its level."""

    masses: np.ndarray
    """Probability (N,) float64 of each leaf, summing to one."""

    def __post_init__(self) -> None:
        masses = self.masses
        if not (len(masses) and np.all(masses >= 0) and abs(masses.sum() - 1) < 1e-6):
            raise ConfigError('masses of a posterior must be non-negative and sum to one')

    # --- moments -------------------------------------------------------------------------------

    @cached_property
    def centers_m(self) -> np.ndarray:
        """Centres of the leaves (N, 2), east and north."""
        return self.region.centers(self.levels, self.indices)

    @cached_property
    def sides_m(self) -> np.ndarray:
        """Sides of the leaves (N,)."""
        return self.region.side_m / np.power(float(self.region.grid), self.levels)

    @cached_property
    def mean_m(self) -> np.ndarray:
        """Mean position (2,), east and north."""
        return self.masses @ self.centers_m

    @cached_property
    def covariance_m2(self) -> np.ndarray:
        """Covariance (2, 2) about the mean: between the leaves plus uniform within each."""
        return _moments(self.centers_m, self.sides_m, self.masses)[1]

    @cached_property
    def entropy_nats(self) -> float:
        """Entropy over terminal cells, unexplored leaves counted as uniform inside."""
        cells = self.region.terminal_count(self.levels)
        some = self.masses > 0
        return float(-np.sum(self.masses[some] * np.log(self.masses[some] / cells[some])))

    @cached_property
    def explored_mass(self) -> float:
        """Share of the mass that was followed down to terminal cells."""
        return float(self.masses[self.levels == self.region.depth].sum())

    # --- places --------------------------------------------------------------------------------

    @property
    def best_cell(self) -> Cell:
        """The leaf of greatest density as a `Cell`: the most probable terminal cell."""
        best = self._by_density[0]
        actions = self.region.actions_of(self.levels[best], self.indices[best])
        return self.region.cell(actions)

    def leaf_at(self, east_m: float, north_m: float) -> int:
        """Number of the leaf that a point lies in, -1 where there is none (no imagery).

        Raises OutsideRegionError beyond the square.
        """
        index = self.region.cell_index(self.region.encode_enu(east_m, north_m))
        above = self.region.parent(index, self.region.depth - self.levels)
        found = np.flatnonzero(above == self.indices)
        return int(found[0]) if len(found) else -1

    def bounds(self, actions: Sequence[int]) -> tuple[float, float]:
        """Lowest and highest probability that one terminal cell can have, given what was not
        explored. Equal after an exact search."""
        level, index = len(actions), self.region.cell_index(actions)
        above = self.region.parent(index, np.maximum(level - self.levels, 0))
        found = np.flatnonzero((above == self.indices) & (self.levels <= level))
        if not len(found):
            return 0.0, 0.0
        mass = float(self.masses[found[0]])
        if self.levels[found[0]] == level:
            return mass, self._upper(mass)
        return 0.0, mass / (self.explored_mass + mass)

    def credible_region(self, mass: float) -> np.ndarray:
        """Numbers of the leaves of the smallest region that holds at least `mass`, densest
        first."""
        total = np.cumsum(self.masses[self._by_density])
        count = int(np.searchsorted(total, mass - 1e-12)) + 1
        return self._by_density[: min(count, len(total))]

    def holds(self, east_m: float, north_m: float, mass: float) -> bool:
        """True where a point lies in the smallest region that holds `mass`."""
        return bool(np.isin(self.leaf_at(east_m, north_m), self.credible_region(mass)))

    def mass_within(self, east_m: float, north_m: float, radius_m: float) -> float:
        """Mass of the leaves whose centres lie within a radius of a point."""
        offset = self.centers_m - (east_m, north_m)
        return float(self.masses[np.hypot(*offset.T) <= radius_m].sum())

    def best_point(self, radius_m: float) -> np.ndarray:
        """The point (2,) with most mass within a radius of it, of the points of a grid as fine as
        the terminal cells: the guess of least risk where only errors beyond the radius count."""
        side = self.region.terminal_side_m
        reach = int(radius_m // side)
        offsets = np.arange(-reach, reach + 1) * side
        disc = np.hypot(*np.meshgrid(offsets, offsets)) <= radius_m
        picture = self.to_grid()
        near = cv2.filter2D(picture, -1, disc.astype(float), borderType=cv2.BORDER_CONSTANT)
        # Of points that are as good, the one nearest to the mass itself.
        row, column = np.unravel_index(np.argmax(near + 1e-6 * picture), picture.shape)
        half = self.region.side_m / 2
        return np.array([(column + 0.5) * side - half, half - (row + 0.5) * side])

    def among(self, indices: np.ndarray) -> 'CellPosterior':
        """The posterior where only the terminal cells with these indices (N,) can be. It must
        have been explored down to all of them. Raises ConfigError where that leaves nothing."""
        kept = np.isin(self.indices, indices) & (self.levels == self.region.depth)
        if not self.masses[kept].sum() > 0:
            raise ConfigError('none of the cells asked for has any mass in this posterior')
        masses = self.masses[kept] / self.masses[kept].sum()
        return CellPosterior(self.region, self.levels[kept], self.indices[kept], masses)

    def coarsen(self, region: Region) -> 'CellPosterior':
        """The same over the terminal cells of another zoom tree of the square, whose cells may lie
        askew to the leaves: a leaf's mass goes to the cells under it in proportion to their share
        of its area. Raises ConfigError where `region` is another square."""
        if replace(region, grid=self.region.grid, depth=self.region.depth) != self.region:
            raise ConfigError('a posterior can only be summed over cells of its own square')
        side_m, half_m = region.terminal_side_m, region.side_m / 2
        corner = np.stack([half_m - self.centers_m[:, 1], half_m + self.centers_m[:, 0]], 1)
        start = (corner - self.sides_m[:, None] / 2) / side_m
        length = (self.sides_m / side_m)[:, None]
        first, last = np.floor(start + TINY).astype(int), region.grid**region.depth - 1
        reach = range(int(np.ceil(length.max())) + 1)
        places, masses = [], []
        for offset in product(reach, reach):
            cell = first + offset
            inside = np.minimum(cell + 1, start + length) - np.maximum(cell, start)
            share = (inside.clip(0) / length).prod(1)
            some = (share > TINY) & (cell <= last).all(1)
            places.append(cell[some])
            masses.append(self.masses[some] * share[some])
        middle = (np.concatenate(places) + 0.5) * side_m - half_m
        every = region.cell_index(region.encode_enu(middle[:, 1], -middle[:, 0]))
        indices, which = np.unique(every, return_inverse=True)
        total = np.bincount(which, np.concatenate(masses))
        levels = np.full(len(indices), region.depth)
        return CellPosterior(region, levels, indices, total / total.sum())

    @cached_property
    def _by_density(self) -> np.ndarray:
        return np.argsort(-self.masses / self.sides_m**2, kind='stable')

    def _upper(self, mass: float) -> float:
        """The highest that a mass among explored cells can be: if all unexplored ground turned
        out to be without imagery, the explored part would be everything."""
        return min(1.0, mass / self.explored_mass)

    # --- hypotheses ----------------------------------------------------------------------------

    def modes(self, mass: float = 0.95, gap_m: float = 0.0) -> tuple[Mode, ...]:
        """The terminal cells of the smallest region holding `mass`, grouped where they touch
        (sides or corners) or are at most `gap_m` apart, as `Mode`s, heaviest first. Empty if no
        terminal cell is in it."""
        leaves = self.credible_region(mass)
        leaves = leaves[self.levels[leaves] == self.region.depth]
        if not len(leaves):
            return ()
        groups = self._touching(leaves, 1 + int(gap_m / self.region.terminal_side_m))
        order = np.argsort(groups, kind='stable')
        members = np.split(leaves[order], np.flatnonzero(np.diff(groups[order])) + 1)
        members.sort(key=lambda some: -self.masses[some].sum())
        return tuple(self._mode(some) for some in members[:MAX_MODES])

    def _touching(self, leaves: np.ndarray, reach: int) -> np.ndarray:
        """Label (N,) of the connected group of each of the given terminal cells; neighbours are up
        to `reach` cells apart."""
        row, column = self.region.rows_columns(self.region.depth, self.indices[leaves])
        row, column = _close_gaps(row, reach), _close_gaps(column, reach)
        picture = np.zeros((row.max() + 1, column.max() + 1), np.uint8)
        picture[row, column] = 1
        if reach > 1:  # grown by half of the reach each, cells that far apart touch
            picture = cv2.dilate(picture, np.ones((reach, reach), np.uint8))
        return cv2.connectedComponents(picture, connectivity=8)[1][row, column]

    def _mode(self, leaves: np.ndarray) -> Mode:
        mass = float(self.masses[leaves].sum())
        weights = self.masses[leaves] / mass if mass > 0 else np.full(len(leaves), 1 / len(leaves))
        mean, covariance = _moments(self.centers_m[leaves], self.sides_m[leaves], weights)
        upper = self._upper(mass) if mass > 0 else 0.0
        return Mode(mass, upper, mean, covariance, self.indices[leaves])

    # --- pictures ------------------------------------------------------------------------------

    def to_grid(self) -> np.ndarray:
        """Mass of every terminal cell, (n, n) with row 0 in the north and column 0 in the west;
        an unexplored leaf is spread evenly. For pictures: n is grid ** depth."""
        region = self.region
        picture = np.zeros((region.grid**region.depth,) * 2)
        row, column = region.rows_columns(self.levels, self.indices)
        for level in np.flatnonzero(np.bincount(self.levels)):
            at = self.levels == level
            cells = region.grid ** (region.depth - int(level))
            blocks = picture.reshape(region.grid ** int(level), cells, -1, cells)
            blocks[row[at], :, column[at], :] += (self.masses[at] / cells**2)[:, None, None]
        return picture


def radius_m(covariance_m2: np.ndarray, share: float = 0.9) -> float:
    """Half the long axis of the ellipse that holds `share` of a Gaussian, in metres."""
    return float(np.sqrt(CHI2_2DOF[share] * np.linalg.eigvalsh(covariance_m2)[-1]))


def _moments(
    centers: np.ndarray, sides: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (2,) and covariance (2, 2) of squares that are uniform inside."""
    mean = weights @ centers
    offset = centers - mean
    within = float(weights @ sides**2) / 12
    return mean, (weights[:, None] * offset).T @ offset + within * np.eye(2)


def _close_gaps(numbers: np.ndarray, reach: int) -> np.ndarray:
    """Small numbers in which those up to `reach` apart stay so and others stay further apart."""
    distinct, where = np.unique(numbers, return_inverse=True)
    steps = np.minimum(np.diff(distinct, prepend=distinct[0]), reach + 1)
    return np.cumsum(steps)[where]
