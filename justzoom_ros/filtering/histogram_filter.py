"""A Bayes filter over position and heading on a whole city at once.

The state is where the robot is (a cell of a lattice over the map), which way it faces (one of K
headings), or that it is off the map. Odometry shifts each heading's lattice by the movement
turned into that heading, without loss, and blurs it by what odometry can be wrong by. A frame
multiplies all of them by its likelihood, the policy's posterior over its prior. No frame can rule
anything out, and at any time the robot may have been carried elsewhere: the belief gets over both.

The histogram filter of Thrun, Burgard, Fox: Probabilistic Robotics (2005), section 8.2, with
lattices that move along instead of masses that are moved between cells.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.filtering import lattice
from justzoom_ros.filtering.core_moments import CoreMoments, core_moments
from justzoom_ros.filtering.lattices import Lattices, heading_likelihood
from justzoom_ros.filtering.motion_model import Motion, MotionNoise
from justzoom_ros.filtering.pose_ratios import PoseExcess, PoseRatios
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.ranges import check_ranges, ranged
from justzoom_ros.region import Region

FAINT = 1e-7
"""Cells with a smaller share of the greatest mass are not worth looking at."""

CLEAR_MASS = 0.9
"""Mass (0..1) from which on one mode stands for the belief."""

REACH_CELLS = 8
"""A mode lies within about so many cells of its heaviest."""

MAX_STATES = 2**24
"""64 MiB of single precision; a belief works with a few copies of them."""


@dataclass(frozen=True)
class HistogramFilterConfig:
    """Resolution of a belief, and how it treats frames that do not fit.

    There are streets that a policy does not know, on which it is sure and wrong. So a frame counts
    with the probability that it is an inlier; that state changes with the distance travelled, and
    its probability stays within `probability_floor` and 1 - `probability_floor`: no frame can rule
    anything out, nor be ignored. Raises ConfigError for values out of range.
    """

    kind: ClassVar[str] = 'histogram'

    headings: int = ranged(36, at_least=4)
    """Number of headings that the belief tells apart, evenly spread."""

    cell_m: float = ranged(40.0, above=0)
    """Greatest side of a lattice cell in metres: larger terminal cells are divided."""

    off_map: float = ranged(0.01, at_least=0, below=1)
    """Probability (0..1) that a start is off the map."""

    inlier_probability: float = ranged(0.75, above=0, at_most=1)
    """Probability (0..1) that the first frame is an inlier."""

    inlier_run_m: float = ranged(300.0, above=0)
    """Mean distance in metres over which frames stay inliers."""

    outlier_run_m: float = ranged(100.0, above=0)
    """Mean distance in metres over which frames stay outliers."""

    probability_floor: float = ranged(0.05, above=0, below=1)
    """Bound (0..1) on the inlier probability, at either end."""

    def __post_init__(self) -> None:
        check_ranges(self)


class HistogramFilter:
    """Probabilities over east, north and heading, for one region.

    `covered` (cells,) says which terminal cells, in cell-index order, have imagery.
    `masses` (K, n, n), `offsets` (K, 2) as in lattice.py, and `off_map` sum to one. Starts with no
    idea at all. Raises ConfigError where the states are too many.
    """

    def __init__(
        self,
        region: Region,
        covered: np.ndarray,
        config: HistogramFilterConfig | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.region, self.config, self.dtype = region, config or HistogramFilterConfig(), dtype
        terminals = region.grid**region.depth
        self.fine = int(np.ceil(region.terminal_side_m / self.config.cell_m - 1e-9))
        self.cells = terminals * self.fine
        states = self.config.headings * self.cells**2
        if states > MAX_STATES:
            raise ConfigError(
                f'a belief of {self.config.headings} headings and {self.cells} x {self.cells} '
                f'cells has {states} states, over {MAX_STATES}; take fewer headings or larger '
                'cells'
            )
        self.side_m = region.side_m / self.cells
        rows, columns = region.rows_columns(region.depth, np.arange(terminals**2))
        self._cell_index = np.empty((terminals, terminals), np.int64)
        self._cell_index[rows, columns] = np.arange(terminals**2)
        self._covered = np.asarray(covered, bool)[self._cell_index]
        axis = (torch.arange(self.cells, dtype=torch.float64) + 0.5) * self.side_m
        self._east_m, self._north_m = axis - region.side_m / 2, region.side_m / 2 - axis
        self._start = self._uniform()
        self.start()

    # --- where it starts -----------------------------------------------------------------------

    def start(self, yaw_rad: float | None = None, yaw_std_rad: float = 0.0) -> None:
        """Anywhere with imagery, with any heading or a normal one."""
        self._begin(self._start[0].clone(), yaw_rad, yaw_std_rad)

    def start_near(
        self,
        mean_m: np.ndarray | tuple[float, float],
        covariance_m2: np.ndarray,
        yaw_rad: float | None = None,
        yaw_std_rad: float = 0.0,
    ) -> None:
        """Round a position (2,), normal with covariance (2, 2), in metres east and north. Raises
        ConfigError where the map has nothing there."""
        covariance = np.asarray(covariance_m2, float) + np.eye(2) * self.side_m**2 / 12
        precision = np.linalg.inv(covariance)
        east, north = self._east_m - mean_m[0], (self._north_m - mean_m[1])[:, None]
        squared = (
            precision[0, 0] * east**2
            + 2 * precision[0, 1] * east * north
            + precision[1, 1] * north**2
        )
        masses = torch.exp(-squared / 2).to(self.dtype)
        if not (np.isfinite(precision).all() and masses.sum() > 0):
            raise ConfigError(
                f'a start at {mean_m[0]:.0f} m east, {mean_m[1]:.0f} m north of the centre is '
                'nowhere near the map'
            )
        self._begin(masses / masses.sum(), yaw_rad, yaw_std_rad)

    def _begin(self, plane: torch.Tensor, yaw_rad: float | None, yaw_std_rad: float) -> None:
        count = self.config.headings
        self._first_yaw_rad = 0.0
        self._marginal: np.ndarray | None = None
        self.offsets = np.zeros((count, 2))
        self.off_map, self.inlier_probability = self.config.off_map, self.config.inlier_probability
        weights = (
            np.full(count, 1 / count) if yaw_rad is None else self._near(yaw_rad, yaw_std_rad)
        )
        shares = torch.from_numpy(weights / weights.sum()).to(self.dtype)
        self.masses = (1 - self.off_map) * shares[:, None, None] * plane

    def _uniform(self) -> torch.Tensor:
        """The start of a robot that may be anywhere, (1, n, n)."""
        plane = self._divide(torch.from_numpy(self._covered).to(self.dtype))[None]
        return plane / plane.sum()

    @property
    def nbytes(self) -> int:
        """Memory that the masses take."""
        return self.masses.nbytes

    @property
    def yaws_rad(self) -> np.ndarray:
        """Headings (K,) that the lattices stand for, counter-clockwise from east."""
        return self._first_yaw_rad + np.arange(self.config.headings) * self.yaw_step_rad

    @property
    def yaw_step_rad(self) -> float:
        """Between one heading and the next."""
        return 2 * np.pi / self.config.headings

    # --- what happens --------------------------------------------------------------------------

    def predict(self, motion: Motion, noise: MotionNoise) -> None:
        """Follow a `Motion` with its `MotionNoise`."""
        self.offsets += motion.south_east_m(self.yaws_rad) / self.side_m
        whole = np.round(self.offsets).astype(int)
        self.offsets -= whole
        self._first_yaw_rad += motion.turn_rad
        masses = lattice.shift(self.masses, whole)
        # Headings between two lattices move apart from both: half a step to either side.
        aslant = self.yaw_step_rad**2 / 12 * motion.distance_m**2
        variance = (noise.position_variance_m2(motion) + aslant) / self.side_m**2
        masses = lattice.blur(masses, variance)
        turned = noise.yaw_variance_rad2(motion) / self.yaw_step_rad**2
        masses = lattice.rotate(masses, self.offsets, turned)
        self.off_map = 1 - lattice.total(masses)
        self.masses, self._marginal = masses, None
        self._kidnap(noise.kidnap_probability(motion))
        self._predict_inlier(motion.distance_m)

    def _predict_inlier(self, distance_m: float) -> None:
        """The inlier probability after a distance: two states that change at constant rates."""
        lost, won = 1 / self.config.inlier_run_m, 1 / self.config.outlier_run_m
        stationary = won / (lost + won)
        decay = np.exp(-(lost + won) * distance_m)
        self.inlier_probability = stationary + (self.inlier_probability - stationary) * decay

    def _kidnap(self, share: float) -> None:
        """With this probability anything at all happened: the robot is where it may start."""
        anywhere = (1 - self.config.off_map) * share / self.config.headings
        self.masses *= 1 - share
        self.masses += anywhere * self._start
        self.off_map = (1 - share) * self.off_map + share * self.config.off_map

    def update(
        self, posterior: CellPosterior, exponent: float = 1.0, novelty: float = 1.0
    ) -> None:
        """Weigh everything by a frame, a `CellPosterior` under a uniform prior over the covered
        cells. `exponent` (0..1): how much one of many frames may say of the place; `novelty`
        (0..1): how much of it was not seen before. Whether it fits the belief at all is judged by
        what it says in full, so that a robot on streets that the policy does not know goes on by
        its odometry."""
        masses = posterior.to_grid()
        self._update_inlier(self._likelihood(masses, novelty))
        inlier = self.inlier_probability
        likelihood = inlier * self._likelihood(masses, exponent * novelty) + 1 - inlier
        plane = self._divide(torch.from_numpy(likelihood)).to(self.dtype)
        self.masses *= lattice.resample(plane, self.offsets, beyond=1.0)
        self._normalize()

    def _update_inlier(self, likelihood: np.ndarray) -> None:
        """The inlier probability after a frame: how likely it is under the belief, beside 1, the
        mean of all places, which an outlier would have."""
        masses = self.cell_masses()
        self.judge(float((masses * likelihood).sum()) + 1 - masses.sum())

    def judge(self, fit: float) -> None:
        """Update the inlier probability by a frame that is `fit` times as probable under the
        belief as an outlier would be."""
        inlier, floor = self.inlier_probability, self.config.probability_floor
        updated = inlier * fit / (inlier * fit + 1 - inlier)
        self.inlier_probability = float(np.clip(updated, floor, 1 - floor))

    def likelihood(self, posterior: CellPosterior, exponent: float = 1.0) -> np.ndarray:
        """Likelihood of every terminal cell (n, n), row 0 in the north, relative to the mean of
        the covered ones. Off the map and where there is no imagery a frame says nothing: 1."""
        return self._likelihood(posterior.to_grid(), exponent)

    def _likelihood(self, masses: np.ndarray, exponent: float) -> np.ndarray:
        covered = self._covered
        ratio = np.where(covered, masses, 0.0) ** exponent
        mean = ratio[covered].mean()
        return np.where(covered, ratio / max(mean, 1e-300), 1.0)

    def update_poses(
        self, likelihood: PoseRatios, exponent: float = 1.0, novelty: float = 1.0
    ) -> None:
        """As `update`, by a registration's `PoseLikelihood`, whose ratios are relative to
        elsewhere: off the map they are 1, and 1 where no pose was looked at. Searched at
        `yaws_rad`, each heading is weighed by its own ratios and no others."""
        full = PoseExcess(likelihood, novelty)
        fit = 1 + full.on(self.lattices()).under(self.masses)
        self.judge(fit / full.outlier_ratio(self.area_m2))
        excess = PoseExcess(likelihood, exponent * novelty)
        share = self.inlier_share(excess.outlier_ratio(self.area_m2))
        excess.on(self.lattices()).weigh(self.masses, share)
        self._normalize()

    def inlier_share(self, outlier_ratio: float) -> float:
        """The share (0..1) with which ratios count: the likelihood of a frame, inlier * ratio +
        (1 - inlier) * `outlier_ratio`, is 1 + share * (ratio - 1) times a constant."""
        inlier = self.inlier_probability
        return inlier / (inlier + (1 - inlier) * outlier_ratio)

    @property
    def area_m2(self) -> float:
        """What has imagery."""
        return float(self._covered.mean()) * self.region.side_m**2

    def lattices(self) -> Lattices:
        """The masses as they stand and where they are."""
        half = self.region.side_m / 2
        return Lattices(
            self.masses, self.offsets, self.yaws_rad, self.yaw_step_rad, self.side_m, -half, half
        )

    def update_heading(self, yaw_rad: float, std_rad: float, exponent: float = 1.0) -> None:
        """Weigh all headings by a measured one, of a compass, with its standard deviation;
        `exponent` (0..1): how much of it is novelty."""
        weights = self._near(yaw_rad, std_rad) ** exponent
        likelihood = torch.from_numpy(weights / weights.mean()).to(self.dtype)
        self.masses *= likelihood[:, None, None]
        self._normalize()

    def _near(self, yaw_rad: float, std_rad: float) -> np.ndarray:
        return heading_likelihood(self.yaws_rad, yaw_rad, std_rad, self.config.probability_floor)

    def _normalize(self) -> None:
        self.scale(1 / (lattice.total(self.masses) + self.off_map))

    def scale(self, factor: float) -> None:
        """Multiply all masses: a filter may be one part of a belief."""
        self.masses *= factor
        self.off_map *= factor
        self.forget_sums()

    def forget_sums(self) -> None:
        """To be called after a change of `masses` from outside."""
        self._marginal = None

    def _divide(self, plane: torch.Tensor) -> torch.Tensor:
        """A plane of terminal cells, (n, n), as one of lattice cells."""
        return plane.repeat_interleave(self.fine, 0).repeat_interleave(self.fine, 1)

    # --- what it comes to ----------------------------------------------------------------------

    def cell_masses(self) -> np.ndarray:
        """Mass of every terminal cell, float64 (n, n), row 0 in the north."""
        if self._marginal is None:
            self._marginal = self._sum_cells()
        return self._marginal

    def _sum_cells(self) -> np.ndarray:
        total = lattice.sum_headings(self.masses, self.offsets).double()
        terminals = len(self._cell_index)
        return (
            total.unflatten(0, (terminals, -1)).unflatten(2, (terminals, -1)).sum((1, 3)).numpy()
        )

    def posterior(self) -> CellPosterior:
        """The `CellPosterior` over terminal cells, given that the robot is on the map."""
        return self.posterior_of(self.cell_masses())

    def posterior_of(self, cell_masses: np.ndarray) -> CellPosterior:
        """The `CellPosterior` of masses of terminal cells (n, n), row 0 in the north."""
        masses = np.empty(self._cell_index.size)
        masses[self._cell_index] = cell_masses
        levels = np.full(len(masses), self.region.depth)
        return CellPosterior(
            self.region, levels, np.arange(len(masses)), masses / max(masses.sum(), 1e-300)
        )

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (N, 2), metres east and north, and masses (N,), summing to one, of the lattice
        cells that hold nearly all, the headings taken together where they are on the mean. Not
        spread over the terminal cells, as `posterior` is, which would make them wider."""
        masses = self.masses.sum(0).double().numpy()
        weights = self.masses.sum((1, 2)).double().numpy()
        south, east = weights @ self.offsets / max(weights.sum(), 1e-300) * self.side_m
        rows, columns = np.nonzero(masses > FAINT * masses.max())
        positions = self._east_m.numpy()[columns] + east, self._north_m.numpy()[rows] - south
        found = masses[rows, columns]
        return np.stack(positions, 1), found / found.sum()

    def moments(
        self, indices: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Mean (2,) and covariance (2, 2), metres east and north, yaw (radians) and the length
        (0..1) of the mean heading vector, of what lies in the terminal cells `indices` (all)."""
        inside = self._divide(torch.from_numpy(self.cell_flags(indices)))
        rows, columns = (_from_first_to_last(inside.any(axis)) for axis in (1, 0))
        masses = self.masses[:, rows, columns] * inside[rows, columns]
        origin = self._middle(masses, rows.start, columns.start)
        east = self._east_m[columns] - origin[0]
        north = (self._north_m[rows] - origin[1])[:, None]
        ones = torch.ones(masses.shape[1:], dtype=torch.float64)
        features = [ones, ones * east, ones * north, ones * east**2, east * north, ones * north**2]
        sums = masses.flatten(1) @ torch.stack(features, -1).flatten(0, 1).to(self.dtype)
        return self._merge_moments(sums.double().numpy(), origin)

    def heading_cross(self, indices: np.ndarray | None = None) -> np.ndarray:
        """Covariance (2,) of east and north with the yaw of what lies in the terminal cells
        `indices` (all)."""
        inside = self._divide(torch.from_numpy(self.cell_flags(indices))).double()
        by_heading = self.masses.double() * inside
        mass = by_heading.sum((1, 2)).numpy()
        east = (by_heading.sum(1) @ self._east_m).numpy() + mass * self.offsets[:, 1] * self.side_m
        north = (by_heading.sum(2) @ self._north_m).numpy() - mass * self.offsets[
            :, 0
        ] * self.side_m
        total = max(mass.sum(), 1e-300)
        yaw = np.angle((mass * np.exp(1j * self.yaws_rad)).sum())
        turn = (self.yaws_rad - yaw + np.pi) % (2 * np.pi) - np.pi
        sums = np.stack([east, north])
        return (sums @ turn - sums.sum(1) * (mass @ turn) / total) / total

    def clear_moments(self) -> CoreMoments | None:
        """Moments of the mode at the heaviest cell; None where it holds less than `CLEAR_MASS`."""
        plane = self.masses.sum(0)
        south, east = divmod(int(plane.argmax()), self.cells)
        start = np.array([float(self._east_m[east]), float(self._north_m[south])])
        around = (slice(max(0, at - REACH_CELLS), at + REACH_CELLS + 1) for at in (south, east))
        if float(plane[tuple(around)].sum()) < CLEAR_MASS:
            return None
        core = core_moments(self.lattices(), start, REACH_CELLS * self.side_m)
        return core if core.mass >= CLEAR_MASS else None

    def cell_flags(self, indices: np.ndarray | None) -> np.ndarray:
        """Flags (n, n) of the terminal cells with these path indices (all), row 0 in the north."""
        if indices is None:
            return np.ones(self._cell_index.shape, bool)
        return np.isin(self._cell_index, indices)

    def _middle(self, masses: torch.Tensor, row: int, column: int) -> tuple[float, float]:
        """Centre of the heaviest cell of the masses from a row and column on, to keep squares
        small in single precision."""
        south, east = divmod(int(masses.sum(0).argmax()), masses.shape[2])
        return float(self._east_m[column + east]), float(self._north_m[row + south])

    def _merge_moments(
        self, sums: np.ndarray, origin: tuple[float, float]
    ) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Moments over all lattices from those (K, 6) of each about its own offset."""
        east, north = self.offsets[:, 1] * self.side_m, -self.offsets[:, 0] * self.side_m
        mass, e, n, ee, en, nn = sums.T
        total = max(mass.sum(), 1e-300)
        mean = np.array([(e + mass * east).sum(), (n + mass * north).sum()]) / total
        square = ee + 2 * e * east + mass * east**2, nn + 2 * n * north + mass * north**2
        cross = (en + e * north + n * east + mass * east * north).sum() / total
        covariance = np.array([[square[0].sum() / total, cross], [cross, square[1].sum() / total]])
        covariance += np.eye(2) * self.side_m**2 / 12 - np.outer(mean, mean)
        heading = (mass * np.exp(1j * self.yaws_rad)).sum() / total
        return mean + origin, covariance, float(np.angle(heading)), float(abs(heading))

    def mass_within(self, east_m: float, north_m: float, radius_m: float) -> float:
        """Mass of the terminal cells whose centres lie within a radius of a point."""
        return self.posterior().mass_within(east_m, north_m, radius_m) * (1 - self.off_map)


def _from_first_to_last(flags: torch.Tensor) -> slice:
    """The slice of a vector that holds all its flags."""
    found = flags.nonzero()
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 1)
