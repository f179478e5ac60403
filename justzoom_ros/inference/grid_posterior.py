"""Where the camera may be, in metres: probabilities over a fine grid instead of a zoom tree.

    posterior = grid_posterior(likelihood, region, prior=policy_posterior, prior_elsewhere=0.01)
    fix = make_fix_from_modes(posterior, posterior.modes(), off_map=posterior.off_map)

What `make_fix_from_modes` needs of a posterior, a `GridPosterior` has as a `CellPosterior` has it.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.posterior import MAX_MODES, CellPosterior, Mode
from justzoom_ros.region import Cell, Region
from justzoom_ros.registration.area_sums import area_sums
from justzoom_ros.registration.likelihood import (
    PoseLikelihood,
    PositionLikelihood,
    probability_elsewhere,
)
from justzoom_ros.registration.peaks import Peak

FAINT = 1e-9
"""Cells with a smaller share of the greatest mass are left out."""


@dataclass(frozen=True)
class GridPosterior:
    """Cells of a grid that hold nearly all the mass, each uniform inside. Raises ConfigError where
    the masses are no distribution."""

    region: Region
    """The square that positions are counted from."""

    rows: np.ndarray
    """int (N,): rows of the cells, 0 in the north of the grid."""

    columns: np.ndarray
    """int (N,): columns of the cells, 0 in the west of the grid."""

    masses: np.ndarray
    """float64 (N,): probabilities given that the camera is on the map; they sum to one."""

    cell_m: float
    """Side of a cell in metres."""

    west_m: float
    """West border of the grid, in metres east of the region's centre."""

    north_m: float
    """North border of the grid, in metres north of the region's centre."""

    off_map: float = 0.0
    """Probability (0..1) that the camera is not on the map."""

    def __post_init__(self) -> None:
        masses = self.masses
        if not (len(masses) and np.all(masses >= 0) and abs(masses.sum() - 1) < 1e-6):
            raise ConfigError('masses of a posterior must be non-negative and sum to one')

    # --- moments -------------------------------------------------------------------------------

    @cached_property
    def centers_m(self) -> np.ndarray:
        """Centres of the cells (N, 2), east and north."""
        east_m = self.west_m + (self.columns + 0.5) * self.cell_m
        return np.stack([east_m, self.north_m - (self.rows + 0.5) * self.cell_m], axis=-1)

    @property
    def sides_m(self) -> np.ndarray:
        """Sides of the cells (N,)."""
        return np.full(len(self.masses), self.cell_m)

    @cached_property
    def mean_m(self) -> np.ndarray:
        """Mean position (2,), east and north, given that the camera is on the map."""
        return self.masses @ self.centers_m

    @cached_property
    def covariance_m2(self) -> np.ndarray:
        """Covariance (2, 2) about the mean: between the cells plus uniform within each."""
        return self._moments(slice(None), self.masses)[1]

    def _moments(self, cells: np.ndarray | slice, weights: np.ndarray) -> tuple:
        centers = self.centers_m[cells]
        mean = weights @ centers
        offset = centers - mean
        within = self.cell_m**2 / 12 * np.eye(2)
        return mean, (weights[:, None] * offset).T @ offset + within

    # --- places --------------------------------------------------------------------------------

    @property
    def best_cell(self) -> Cell:
        """The terminal `Cell` of the region that the most probable cell's centre lies in."""
        east_m, north_m = self.centers_m[int(self.masses.argmax())]
        return self.region.cell(self.region.encode_enu(east_m, north_m))

    def leaf_at(self, east_m: float, north_m: float) -> int:
        """Number of the cell that a point lies in, -1 where there is none."""
        row = np.floor((self.north_m - north_m) / self.cell_m)
        column = np.floor((east_m - self.west_m) / self.cell_m)
        found = np.flatnonzero((self.rows == row) & (self.columns == column))
        return int(found[0]) if len(found) else -1

    @cached_property
    def _by_mass(self) -> np.ndarray:
        return np.argsort(-self.masses, kind='stable')

    def credible_region(self, mass: float) -> np.ndarray:
        """Numbers of the cells of the smallest region that holds at least `mass`, densest
        first."""
        total = np.cumsum(self.masses[self._by_mass])
        count = int(np.searchsorted(total, mass - 1e-12)) + 1
        return self._by_mass[: min(count, len(total))]

    def holds(self, east_m: float, north_m: float, mass: float) -> bool:
        """True where a point lies in the smallest region that holds `mass`."""
        return bool(np.isin(self.leaf_at(east_m, north_m), self.credible_region(mass)))

    def mass_within(self, east_m: float, north_m: float, radius_m: float) -> float:
        """Mass of the cells whose centres lie within a radius of a point."""
        offset = self.centers_m - (east_m, north_m)
        return float(self.masses[np.hypot(*offset.T) <= radius_m].sum())

    # --- hypotheses ----------------------------------------------------------------------------

    def modes(self, mass: float = 0.95, gap_m: float = 5.0) -> tuple[Mode, ...]:
        """The cells of the smallest region holding `mass`, grouped where they are at most `gap_m`
        apart, as `Mode`s, heaviest first. Their masses leave room for `off_map`; their `indices`
        are numbers of cells of this posterior."""
        cells = self.credible_region(mass)
        groups = self._touching(cells, gap_m)
        order = np.argsort(groups, kind='stable')
        members = np.split(cells[order], np.flatnonzero(np.diff(groups[order])) + 1)
        members.sort(key=lambda some: -self.masses[some].sum())
        return tuple(self._mode(some) for some in members[:MAX_MODES])

    def _touching(self, cells: np.ndarray, gap_m: float) -> np.ndarray:
        """Label (N,) of the connected group of each of the given cells."""
        rows, columns = self.rows[cells], self.columns[cells]
        row, column = rows - rows.min(), columns - columns.min()
        picture = np.zeros((row.max() + 1, column.max() + 1), np.uint8)
        picture[row, column] = 1
        # Cells that are within a gap of each other overlap once each has grown by half of it.
        grow = max(1, round(gap_m / self.cell_m))
        picture = cv2.dilate(picture, np.ones((grow, grow), np.uint8))
        return cv2.connectedComponents(picture, connectivity=8)[1][row, column]

    def _mode(self, cells: np.ndarray) -> Mode:
        mass = float(self.masses[cells].sum())
        mean, covariance = self._moments(cells, self.masses[cells] / mass)
        mass *= 1 - self.off_map
        return Mode(mass, mass, mean, covariance, cells)

    # --- other grids ---------------------------------------------------------------------------

    def to_grid(self) -> np.ndarray:
        """Mass of every terminal cell of the region, (n, n) with row 0 in the north."""
        region = self.region
        n, m = int(self.rows.max()) + 1, int(self.columns.max()) + 1
        picture = np.zeros((n, m))
        picture[self.rows, self.columns] = self.masses / self.cell_m**2
        terminal = np.linspace(0, region.side_m, region.grid**region.depth + 1)
        north, west = region.side_m / 2 - self.north_m, region.side_m / 2 + self.west_m
        rows = north + np.arange(n + 1) * self.cell_m, terminal
        columns = west + np.arange(m + 1) * self.cell_m, terminal
        masses = area_sums(picture, rows, columns)
        return masses / masses.sum()

    def to_cells(self) -> CellPosterior:
        """The same as a `CellPosterior` over the terminal cells of the region."""
        region = self.region
        index = np.arange(region.branching**region.depth)
        masses = self.to_grid()[region.rows_columns(region.depth, index)]
        kept = masses > 0
        levels = np.full(int(kept.sum()), region.depth)
        return CellPosterior(region, levels, index[kept], masses[kept])


def grid_posterior(
    likelihood: PoseLikelihood | PositionLikelihood,
    region: Region,
    prior: CellPosterior | None = None,
    prior_elsewhere: float = 0.0,
    uniform_share: float = 0.0,
) -> GridPosterior:
    """The `GridPosterior` of a likelihood under a prior over the cells of a region.

    `prior`: what a policy says, spread evenly within its cells; uniform over all that was looked
    at unless given. `uniform_share` (0..1) of it is spread over everything, so that a policy that
    is wrong rules nothing out. `prior_elsewhere` (0..1): probability before the view that the
    camera is not on the map. Raises ConfigError where the prior leaves nothing.
    """
    position = likelihood.position if isinstance(likelihood, PoseLikelihood) else likelihood
    ratio = position.log_ratio.double().cpu().numpy()
    looked_at = np.isfinite(ratio)
    weights = looked_at / looked_at.sum()
    if prior is not None:
        weights = _blend(_spread(prior, position), weights, looked_at, uniform_share)
    with np.errstate(divide='ignore'):
        joint = np.where(looked_at, ratio, -np.inf) + np.log(weights)
    highest = joint.max()
    masses = np.exp(joint - highest)
    off_map = probability_elsewhere(highest + np.log(masses.sum()), prior_elsewhere)
    rows, columns = np.nonzero(masses > FAINT)
    kept = masses[rows, columns]
    sides = position.cell_m, position.west_m, position.north_m
    return GridPosterior(region, rows, columns, kept / kept.sum(), *sides, off_map)


def _blend(
    weights: np.ndarray, uniform: np.ndarray, looked_at: np.ndarray, share: float
) -> np.ndarray:
    """A prior over what was looked at, a share of it uniform."""
    if not 0 <= share <= 1:
        raise ConfigError(f'uniform_share is {share:g}; it must lie in 0..1')
    total = weights[looked_at].sum()
    if not total > 0 and share == 0:
        raise ConfigError('the prior has no mass where the view was compared with the map')
    return (1 - share) * weights / (total if total > 0 else 1.0) + share * uniform


def _spread(prior: CellPosterior, position: PositionLikelihood) -> np.ndarray:
    """Masses of a prior on the cells of a likelihood, (n, m)."""
    region = prior.region
    density = prior.to_grid() / region.terminal_side_m**2
    terminal = np.linspace(0, region.side_m, len(density) + 1)
    n, m = position.log_ratio.shape
    north, west = region.side_m / 2 - position.north_m, region.side_m / 2 + position.west_m
    rows = terminal, north + np.arange(n + 1) * position.cell_m
    columns = terminal, west + np.arange(m + 1) * position.cell_m
    return area_sums(density, rows, columns)


def sharpen_modes(posterior: GridPosterior, modes: tuple[Mode, ...], peak: Peak) -> tuple:
    """The same `Mode`s, that in which a `Peak` lies with the peak's position, finer than a cell,
    and a covariance that holds both what the mode is spread by and what the peak is unsure of."""
    cell = posterior.leaf_at(peak.east_m, peak.north_m)
    at = np.array([peak.east_m, peak.north_m])
    return tuple(
        replace(mode, mean_m=at, covariance_m2=_about(mode, at, peak))
        if cell in mode.indices
        else mode
        for mode in modes
    )


def _about(mode: Mode, at: np.ndarray, peak: Peak) -> np.ndarray:
    """The least covariance that is nowhere smaller than a mode's about a point, nor the peak's."""
    offset = mode.mean_m - at
    root = np.linalg.cholesky(mode.covariance_m2 + np.outer(offset, offset))
    inverse = np.linalg.inv(root)
    values, axes = np.linalg.eigh(inverse @ peak.covariance_m2 @ inverse.T)
    back = root @ axes
    return (back * np.maximum(values, 1.0)) @ back.T
