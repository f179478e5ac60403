"""The filter that follows registration to metres: a lattice over the map and a fine window in it.

    belief = PoseFilter(region, covered)
    belief.predict(motion, noise)
    area = belief.search_area(unexplored_mass=0.01)     # where and at which headings to look
    belief.update_poses(likelihood)                     # the PoseLikelihood of that search
    mean_m, covariance_m2, yaw_rad, length = belief.moments()

The belief is the sum of two parts, each a Bayes filter of its own: a `HistogramFilter` with coarse
cells over the whole map, and where most of its mass is in one place, a `FineWindow` that has taken
over what the lattice held there. A likelihood weighs both parts, so what one wins the other loses:
other hypotheses stay alive in the lattice, and a robot that was carried off is found there again.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import cv2
import numpy as np
import torch

from justzoom_ros.filtering import lattice
from justzoom_ros.filtering.core_moments import core_moments
from justzoom_ros.filtering.fine_window import FineWindow, FineWindowConfig
from justzoom_ros.filtering.histogram_filter import (
    FAINT,
    HistogramFilter,
    HistogramFilterConfig,
    heading_likelihood,
)
from justzoom_ros.filtering.lattices import Lattices, spread
from justzoom_ros.filtering.motion_model import Motion, MotionNoise
from justzoom_ros.filtering.pose_ratios import CellRatios, Excess, PoseRatios, mean_excess
from justzoom_ros.filtering.search_area import SearchArea, search_area, whole_area
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.ranges import check_ranges, ranged
from justzoom_ros.region import Region

MODE_REACH_M = 15.0
"""What is within about this distance of the best place belongs to one mode with it."""


@dataclass(frozen=True)
class PoseFilterConfig:
    """Both parts of the belief. Raises ConfigError for values out of range."""

    kind: ClassVar[str] = 'pose'

    coarse: HistogramFilterConfig = field(
        default_factory=lambda: HistogramFilterConfig(cell_m=20.0)
    )
    """The lattice over the whole map, and how frames that do not fit are treated."""

    window: FineWindowConfig = field(default_factory=FineWindowConfig)
    """The fine window."""

    search_all_below: float = ranged(0.5, at_least=0, at_most=1)
    """Where frames can be trusted with a smaller probability (0..1), the whole map is searched:
    the robot may have been carried off, which a search round its place would not see."""

    def __post_init__(self) -> None:
        check_ranges(self)


class PoseFilter:
    """Probabilities over east, north and heading in one region, to metres where they allow it.

    A `BeliefFilter`. `coarse` holds what is not in `window`, which is None as long as the robot
    may be in many places. `covered` (cells,): flags of the terminal cells with imagery, in path
    order. Raises ConfigError where the states are too many or headings do not divide.
    """

    def __init__(
        self,
        region: Region,
        covered: np.ndarray,
        config: PoseFilterConfig | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.region, self.config = region, config or PoseFilterConfig()
        self.coarse = HistogramFilter(region, covered, self.config.coarse, dtype)
        self.window: FineWindow | None = None
        FineWindow(self.config.window, self.coarse.lattices(), np.zeros(2))  # is it possible?

    # --- where it starts -------------------------------------------------------------------------

    def start(self, yaw_rad: float | None = None, yaw_std_rad: float = 0.0) -> None:
        """Anywhere with imagery, with any heading or a normal one."""
        self.window = None
        self.coarse.start(yaw_rad, yaw_std_rad)

    def start_near(
        self,
        mean_m: np.ndarray | tuple[float, float],
        covariance_m2: np.ndarray,
        yaw_rad: float | None = None,
        yaw_std_rad: float = 0.0,
    ) -> None:
        """Round a position (2,), normal with covariance (2, 2), in metres east and north. Raises
        ConfigError where the map has nothing there."""
        self.window = None
        self.coarse.start_near(mean_m, covariance_m2, yaw_rad, yaw_std_rad)

    @property
    def off_map(self) -> float:
        """Probability (0..1) that the robot is not on the map."""
        return self.coarse.off_map

    @property
    def inlier_probability(self) -> float:
        """Probability (0..1) that frames can be trusted here."""
        return self.coarse.inlier_probability

    @property
    def window_mass(self) -> float:
        """Probability (0..1) of being in the fine window; 0 where there is none."""
        return self.window.mass if self.window else 0.0

    @property
    def nbytes(self) -> int:
        """Memory that the probabilities take."""
        window = self.window.masses if self.window else self.coarse.masses.new_zeros(0)
        return self.coarse.nbytes + window.numel() * window.element_size()

    # --- what happens ----------------------------------------------------------------------------

    def predict(self, motion: Motion, noise: MotionNoise) -> None:
        """Follow a `Motion` with its `MotionNoise`."""
        if self.window and not self.window.can_follow(motion, noise):
            self._give_up()
        if not self.window:
            self.coarse.predict(motion, noise)
            return
        gone = self.window.predict(motion, noise)
        self.coarse.predict(motion, noise)
        stays = 1 - noise.kidnap_probability(motion)
        self.window.masses *= stays
        gone.masses.mul_(stays)
        self._add_to_coarse(gone)
        self._absorb()

    def update(
        self, posterior: CellPosterior, exponent: float = 1.0, novelty: float = 1.0
    ) -> None:
        """Weigh by a policy's frame, whatever the heading, as `HistogramFilter.update`."""
        full, tempered = (
            self._cell_ratios(posterior, power) for power in (novelty, exponent * novelty)
        )
        self._update(full, tempered)

    def update_poses(
        self, likelihood: PoseRatios, exponent: float = 1.0, novelty: float = 1.0
    ) -> None:
        """Weigh by a registration's `PoseLikelihood`, as `HistogramFilter.update_poses`; best
        searched in `search_area`, at its headings. Where the robot thereby is most probably in one
        place, a fine window begins there, of this frame's ratios already."""
        self._update((likelihood, novelty), (likelihood, exponent * novelty))

    def update_heading(self, yaw_rad: float, std_rad: float, exponent: float = 1.0) -> None:
        """Weigh all headings by a measured one, as `HistogramFilter.update_heading`."""
        floor = self.config.coarse.probability_floor
        for part in self._parts():
            weights = heading_likelihood(part.yaws_rad, yaw_rad, std_rad, floor) ** exponent
            likelihood = torch.from_numpy(weights / weights.mean()).to(part.masses)
            part.masses.mul_(likelihood[:, None, None])
        self._normalize()

    def _cell_ratios(self, posterior: CellPosterior, power: float) -> tuple[CellRatios, float]:
        logs = np.log(np.maximum(self.coarse.likelihood(posterior, power), 1e-30))
        half = self.region.side_m / 2
        side_m = self.region.terminal_side_m
        return CellRatios(torch.from_numpy(logs)[None], side_m, -half, half), 1.0

    def _update(self, full: tuple[PoseRatios, float], tempered: tuple[PoseRatios, float]) -> None:
        """Weigh by ratios to a power. By `full` it is judged whether the frame fits."""
        prior = None if self.window else self.coarse.masses.clone()
        parts = self._parts()
        judged = [_excess(full, part) for part in parts]
        fit = 1 + sum(e.under(part.masses) for e, part in zip(judged, parts, strict=True))
        self.coarse.judge(fit)
        if tempered[1] != full[1] or tempered[0] is not full[0]:
            judged = [_excess(tempered, part) for part in parts]
        for excess, part in zip(judged, parts, strict=True):
            excess.weigh(part.masses, self.inlier_probability)
        self._normalize()
        if prior is None:
            self._keep_or_give_up()
        else:
            self._spawn(prior, tempered)

    def _parts(self) -> list[Lattices]:
        coarse = self.coarse.lattices()
        return [coarse, self.window.lattices()] if self.window else [coarse]

    def _normalize(self) -> None:
        if self.window:
            self.window.drop_negligible()
        total = lattice.total(self.coarse.masses) + self.off_map + self.window_mass
        self.coarse.scale(1 / total)
        if self.window:
            self.window.masses /= total

    # --- the fine window -------------------------------------------------------------------------

    def _spawn(self, prior: torch.Tensor, ratios: tuple[PoseRatios, float]) -> None:
        """Begin a window where most of the mass is: of the masses before the frame, weighed by the
        frame in fine cells."""
        place = self._best_place()
        if place is None:
            return
        coarse = self.coarse.lattices()
        window = FineWindow(self.config.window, coarse, place)
        before, moved = lattice.total(coarse.masses), window.cells_inside(coarse)
        for k, rows, columns in moved:
            coarse.masses[k, rows, columns] = 0
        window.take(replace(coarse, masses=prior))
        excess = _excess(ratios, window.lattices())
        excess.weigh(window.masses, self.inlier_probability)
        share = (before - lattice.total(coarse.masses)) / max(window.mass, 1e-300)
        window.masses *= share
        window.drop_negligible()
        self.window = window
        self.coarse.forget_sums()

    def _best_place(self) -> np.ndarray | None:
        """Centre (2,) of the mass in the best square of a window's size, in metres east and north;
        None where it holds less than a window needs."""
        side_m = self.coarse.side_m
        total = lattice.sum_headings(self.coarse.masses, self.coarse.offsets)
        masses = total.double().numpy()
        size = min(max(int(self.config.window.side_m / side_m), 1), len(masses))
        sums = cv2.boxFilter(
            masses, -1, (size, size), anchor=(0, 0), normalize=False,
            borderType=cv2.BORDER_CONSTANT,
        )  # fmt: skip
        row, column = np.unravel_index(int(sums.argmax()), sums.shape)
        if sums[row, column] < self.config.window.spawn_mass:
            return None
        part = masses[row : row + size, column : column + size]
        south, east = (
            (first + 0.5 + np.arange(len(line)) @ line / line.sum()) * side_m
            for first, line in ((row, part.sum(1)), (column, part.sum(0)))
        )
        half = self.region.side_m / 2
        return np.array([east - half, half - south])

    def _keep_or_give_up(self) -> None:
        """Give the window up where the robot most probably is somewhere else."""
        elsewhere = lattice.total(self.coarse.masses)
        config = self.config.window
        if self.window_mass < config.give_up_mass or (
            elsewhere >= config.spawn_mass and self._best_place() is not None
        ):
            self._give_up()

    def _give_up(self) -> None:
        """Back to the lattice with all that the window holds."""
        if self.window:
            gone, self.window = self.window.lattices(), None
            self._add_to_coarse(gone)

    def _add_to_coarse(self, gone: Lattices) -> None:
        """Add masses to the lattice; what is beyond the map's border is off the map."""
        if float(gone.masses.sum()) > 1e-9:
            spread(gone, self.coarse.lattices())
        on_map = lattice.total(self.coarse.masses) + self.window_mass
        self.coarse.off_map = max(0.0, 1 - on_map)
        self.coarse.forget_sums()

    def _absorb(self) -> None:
        """Move what came to lie in the lattice's cells inside the window into the window."""
        if not self.window:
            return
        coarse = self.coarse.lattices()
        inside = self.window.cells_inside(coarse)
        mass = sum(float(coarse.masses[k, rows, columns].sum()) for k, rows, columns in inside)
        if mass > max(self.config.window.absorb_mass, 1e-12):
            self.window.take(coarse)
            self.coarse.forget_sums()

    # --- what it comes to ------------------------------------------------------------------------

    def cell_masses(self) -> np.ndarray:
        """Mass of every terminal cell, float64 (n, n), row 0 in the north."""
        masses = self.coarse.cell_masses()
        if not self.window:
            return masses
        masses = masses.copy()
        np.add.at(masses, self._terminal_cells(self.window), self.window.plane())
        return masses

    def _terminal_cells(self, window: FineWindow) -> tuple[np.ndarray, ...]:
        """Rows and columns of the terminal cells that the window's cells lie in, to index with."""
        divided = round(self.region.terminal_side_m / window.side_m)
        cells = np.arange(window.masses.shape[1])
        return np.ix_(*((first + cells) // divided for first in window.corner))

    def posterior(self) -> CellPosterior:
        """The `CellPosterior` over terminal cells, given that the robot is on the map."""
        return self.coarse.posterior_of(self.cell_masses())

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (N, 2), metres east and north, and masses (N,), summing to one, of the cells
        that hold nearly all of both parts."""
        positions, masses = self.coarse.points()
        if not self.window:
            return positions, masses
        masses = masses * lattice.total(self.coarse.masses)
        plane = self.window.plane()
        row, column = np.nonzero(plane > FAINT * plane.max())
        fine = self.window.centers_m(row, column)
        both = np.concatenate([masses, plane[row, column]])
        return np.concatenate([positions, fine]), both / both.sum()

    def moments(
        self, indices: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Mean (2,) and covariance (2, 2), metres east and north, yaw (radians) and the length
        (0..1) of the mean heading vector: of the mode at the heaviest fine cell in the terminal
        cells `indices` (all), or of these cells where the lattice holds more of them."""
        window = self.window
        flags = self.coarse.cell_flags(indices)
        coarse = float(self.coarse.cell_masses()[flags].sum())
        if window is None or coarse > float(self.cell_masses()[flags].sum()) / 2:
            return self.coarse.moments(indices)
        plane = window.plane() * flags[self._terminal_cells(window)]
        top = np.unravel_index(int(cv2.blur(plane, (3, 3)).argmax()), plane.shape)
        start = window.centers_m(*(np.array([i]) for i in top))[0]
        core = core_moments(window.lattices(), start, MODE_REACH_M)
        return core.mean_m, core.covariance_m2, core.yaw_rad, core.length

    def mass_within(self, east_m: float, north_m: float, radius_m: float) -> float:
        """Mass (0..1) within a radius of a point."""
        positions, masses = self.points()
        near = np.hypot(positions[:, 0] - east_m, positions[:, 1] - north_m) <= radius_m
        return float(masses[near].sum()) * (1 - self.off_map)

    def search_area(self, unexplored_mass: float = 0.01) -> SearchArea:
        """Where and at which headings a registration shall look, so that no more than
        `unexplored_mass` (0..1) of the belief is left out: all of the map and all headings where
        it may be anywhere, or where frames have ceased to fit."""
        if self.inlier_probability < self.config.search_all_below:
            return whole_area(self.coarse.lattices(), self.region.side_m)
        return search_area(self._parts(), self.region.side_m, unexplored_mass)


def _excess(ratios: tuple[PoseRatios, float], part: Lattices) -> Excess:
    likelihood, power = ratios
    return mean_excess(likelihood, part, power, lattice.occupied(part.masses))
