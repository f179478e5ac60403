"""The filter that follows registration to metres: a lattice over the map and a fine window in it.

    belief = PoseFilter(region, covered)
    belief.predict(motion, noise)
    area = belief.search_area(unexplored_mass=0.01)     # where and at which headings to look
    belief.update_poses(likelihood)                     # the PoseLikelihood of that search
    mean_m, covariance_m2, yaw_rad, length = belief.moments()

The belief is the sum of several parts, each a Bayes filter of its own: a `HistogramFilter` with
coarse cells over the whole map, and round each of the few most probable places a `FineWindow` that
has taken over what the lattice held there. A likelihood weighs all parts, so what one wins the
others lose: other hypotheses stay alive, and a robot that was carried off is found again.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import cv2
import numpy as np
import torch

from justzoom_ros.filtering import lattice
from justzoom_ros.filtering.core_moments import CoreMoments, core_moments
from justzoom_ros.filtering.fine_window import FineWindow, FineWindowConfig
from justzoom_ros.filtering.histogram_filter import (
    CLEAR_MASS,
    HistogramFilter,
    HistogramFilterConfig,
)
from justzoom_ros.filtering.lattices import Lattices, heading_likelihood, spread
from justzoom_ros.filtering.motion_model import Motion, MotionNoise
from justzoom_ros.filtering.pose_ratios import (
    CellRatios,
    PoseExcess,
    PoseRatios,
    StateExcess,
    refine,
)
from justzoom_ros.filtering.search_area import SearchArea, search_area, whole_area
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.ranges import check_ranges, ranged
from justzoom_ros.region import Region

PLACE_CELLS = 3
"""A place is a square of so many of the lattice's cells along its side."""

MODE_REACH_M = 15.0
"""What is within about this distance of the best place belongs to one mode with it."""


@dataclass(frozen=True)
class PoseFilterConfig:
    """The parts of the belief. Raises ConfigError for values out of range.

    How much one of many frames may say is the caller's: `exponent` and `novelty` of
    `update_poses`. Registration wants an exponent of 1: its peaks are narrow, so a root of them
    flattens what sets one place apart from thousands of others, and with 0.5 a robot hardly
    converges. That frames close to each other err alike is said by the novelty; a whole new
    observation every 20 m of way is cautious. In 200 simulated flights with frames 8 m apart, of
    which a fifth shows a wrong place, no fix was false. Where every second of these frames shows
    the same wrong place again, 2 of 200 flights began with two of them and had false fixes for 4
    and 7 frames: what agrees with itself and with odometry is believed.
    """

    kind: ClassVar[str] = 'pose'

    coarse: HistogramFilterConfig = field(
        default_factory=lambda: HistogramFilterConfig(cell_m=20.0)
    )
    """The lattice over the whole map, and how frames that do not fit are treated."""

    window: FineWindowConfig = field(default_factory=FineWindowConfig)
    """The fine windows."""

    search_all_below: float = ranged(0.5, at_least=0, at_most=1)
    """Where frames can be trusted with a smaller probability (0..1), the whole map is searched:
    the robot may have been carried off, which a search round its place would not see."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass
class _Kept:
    """What several of the filter's answers need, as long as nothing changes."""

    planes: list[np.ndarray] | None = None
    """Masses of positions of each window."""

    cores: dict[bytes, CoreMoments | None] = field(default_factory=dict)
    """Moments by the terminal cells that they are of."""


class PoseFilter:
    """Probabilities over east, north and heading in one region, to metres where they allow it.

    A `BeliefFilter`. `coarse` holds what is not in one of the `windows`, of which there are none
    as long as the robot may be anywhere. `covered` (cells,): flags of the terminal cells with
    imagery, in the order of the cell index. Raises ConfigError where the states are
    too many or headings do not divide.
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
        self.windows: list[FineWindow] = []
        self._kept = _Kept()
        FineWindow(self.config.window, self.coarse.lattices(), np.zeros(2))  # is it possible?

    # --- where it starts -------------------------------------------------------------------------

    def start(self, yaw_rad: float | None = None, yaw_std_rad: float = 0.0) -> None:
        """Anywhere with imagery, with any heading or a normal one."""
        self.windows, self._kept = [], _Kept()
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
        self.windows, self._kept = [], _Kept()
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
        """Probability (0..1) of being in one of the fine windows."""
        return sum(window.mass for window in self.windows)

    @property
    def nbytes(self) -> int:
        """Memory that the probabilities take."""
        tensors = [window.masses for window in self.windows]
        return self.coarse.nbytes + sum(each.numel() * each.element_size() for each in tensors)

    # --- what happens ----------------------------------------------------------------------------

    def predict(self, motion: Motion, noise: MotionNoise) -> None:
        """Follow a `Motion` with its `MotionNoise`."""
        self._kept = _Kept()
        self._give_up([w for w in self.windows if not w.can_follow(motion, noise)])
        gone = [window.predict(motion, noise) for window in self.windows]
        self.coarse.predict(motion, noise)
        stays = 1 - noise.kidnap_probability(motion)
        for left, window in zip(gone, self.windows, strict=True):
            window.masses *= stays
            left.masses.mul_(stays)
        self._add_to_coarse(gone)
        self._absorb()

    def update(
        self, posterior: CellPosterior, exponent: float = 1.0, novelty: float = 1.0
    ) -> None:
        """Weigh by a policy's frame, whatever the heading, as `HistogramFilter.update`."""
        full, tempered = (
            PoseExcess(self._cell_ratios(posterior, power), 1.0)
            for power in (novelty, exponent * novelty)
        )
        self._update(full, tempered)

    def update_poses(
        self,
        likelihood: PoseRatios,
        exponent: float = 1.0,
        novelty: float = 1.0,
        may_gain: bool = True,
    ) -> None:
        """Weigh by a registration's `PoseLikelihood`, as `HistogramFilter.update_poses`; best
        searched in `search_area`, at its headings. Where the robot thereby is most probably in one
        place, a fine window begins there, of this frame's ratios already. Without `may_gain` what
        was looked at loses to what was not where it does not fit, and never gains from it: a
        street that looks like the true one fits as well, and would grow certain while nobody
        looks at the true one."""
        if self.windows:
            likelihood = refine(likelihood, self.config.window.cell_m)
        full = PoseExcess(likelihood, novelty)
        tempered = full if exponent == 1 else PoseExcess(likelihood, exponent * novelty)
        self._update(full, tempered, may_gain)

    def update_heading(self, yaw_rad: float, std_rad: float, exponent: float = 1.0) -> None:
        """Weigh all headings by a measured one, as `HistogramFilter.update_heading`."""
        floor = self.config.coarse.probability_floor
        self._kept = _Kept()
        for part in self._parts():
            weights = heading_likelihood(part.yaws_rad, yaw_rad, std_rad, floor) ** exponent
            likelihood = torch.from_numpy(weights / weights.mean()).to(part.masses)
            part.masses.mul_(likelihood[:, None, None])
        self._normalize()

    def _cell_ratios(self, posterior: CellPosterior, power: float) -> CellRatios:
        logs = np.log(np.maximum(self.coarse.likelihood(posterior, power), 1e-30))
        half, side_m = self.region.side_m / 2, self.region.terminal_side_m
        return CellRatios(torch.from_numpy(logs)[None], side_m, -half, half)

    def _update(self, full: PoseExcess, tempered: PoseExcess, may_gain: bool = True) -> None:
        """Weigh by ratios. By `full` it is judged whether the frame fits."""
        self._kept = _Kept()
        coarse, area_m2 = self.coarse, self.coarse.area_m2
        prior = coarse.masses.clone() if self._may_spawn() else None
        parts = self._parts()
        excesses = [_of_occupied(full, part) for part in parts]
        fit = 1 + sum(e.under(part.masses) for e, part in zip(excesses, parts, strict=True))
        coarse.judge(fit / full.outlier_ratio(area_m2))
        if tempered is not full:
            excesses = [_of_occupied(tempered, part) for part in parts]
        share = coarse.inlier_share(tempered.outlier_ratio(area_m2))
        before = sum(e.touched(part.masses) for e, part in zip(excesses, parts, strict=True))
        for excess, part in zip(excesses, parts, strict=True):
            excess.weigh(part.masses, share)
        after = sum(e.touched(part.masses) for e, part in zip(excesses, parts, strict=True))
        if not may_gain and after > before:
            for excess, part in zip(excesses, parts, strict=True):
                excess.scale(part.masses, before / after)
        self._normalize()
        self._give_up(self._superfluous())
        while prior is not None and self._may_spawn() and self._spawn(prior, tempered, share):
            pass

    def _parts(self) -> list[Lattices]:
        coarse = self.coarse.lattices()
        return [coarse, *(window.lattices() for window in self.windows)]

    def _normalize(self) -> None:
        for window in self.windows:
            window.drop_negligible()
        total = lattice.total(self.coarse.masses) + self.off_map + self.window_mass
        self.coarse.scale(1 / total)
        for window in self.windows:
            window.masses /= total

    # --- the fine windows ------------------------------------------------------------------------

    def _may_spawn(self) -> bool:
        config = self.config.window
        enough = lattice.total(self.coarse.masses) >= config.spawn_mass
        return enough and len(self.windows) < config.max_windows

    def _spawn(self, prior: torch.Tensor, excess: PoseExcess, share: float) -> bool:
        """Begin a window where most of the lattice's mass is: of its masses before the frame,
        weighed by the frame in fine cells. False where no place holds enough."""
        place = self._best_place()
        if place is None:
            return False
        coarse = self.coarse.lattices()
        window = FineWindow(self.config.window, coarse, place)
        before, moved = lattice.total(coarse.masses), window.cells_inside(coarse)
        for k, rows, columns in moved:
            coarse.masses[k, rows, columns] = 0
        window.take(replace(coarse, masses=prior))
        _of_occupied(excess, window.lattices()).weigh(window.masses, share)
        window.masses *= (before - lattice.total(coarse.masses)) / max(window.mass, 1e-300)
        window.drop_negligible()
        self.windows.append(window)
        self.coarse.forget_sums()
        return True

    def _best_place(self) -> np.ndarray | None:
        """Centre (2,) of the mass in the best square of a few of the lattice's cells, in metres
        east and north; None where it holds less than a window needs."""
        total = lattice.sum_headings(self.coarse.masses, self.coarse.offsets)
        masses = total.double().numpy()
        size = min(PLACE_CELLS, len(masses))
        around = np.pad(masses, ((0, size - 1), (0, size - 1)))
        windows = np.lib.stride_tricks.sliding_window_view(around, (size, size))
        sums = windows.sum((2, 3))
        row, column = np.unravel_index(int(sums.argmax()), sums.shape)
        if sums[row, column] < self.config.window.spawn_mass:
            return None
        part, steps = windows[row, column], np.arange(size) + 0.5
        south = row + part.sum(1) @ steps / part.sum()
        east = column + part.sum(0) @ steps / part.sum()
        half, side_m = self.region.side_m / 2, self.coarse.side_m
        return np.array([east * side_m - half, half - south * side_m])

    def _superfluous(self) -> list[FineWindow]:
        """Windows in which the robot most probably is not, and those that have come to follow the
        same place as a heavier one."""
        kept: list[FineWindow] = []
        for window in sorted(self.windows, key=lambda each: -each.mass):
            apart = [np.abs(window.mean_m() - other.mean_m()).max() for other in kept]
            near = min(apart, default=np.inf) < self.coarse.side_m
            if window.mass >= self.config.window.give_up_mass and not near:
                kept.append(window)
        return [window for window in self.windows if window not in kept]

    def _give_up(self, windows: list[FineWindow]) -> None:
        """Back to the lattice with all that some windows hold."""
        if windows:
            self.windows = [window for window in self.windows if window not in windows]
            self._add_to_coarse([window.lattices() for window in windows])

    def _add_to_coarse(self, gone: list[Lattices]) -> None:
        """Add masses to the lattice; what is beyond the map's border is off the map."""
        for each in gone:
            if float(each.masses.sum()) > 1e-9:
                spread(each, self.coarse.lattices())
        if gone:
            on_map = lattice.total(self.coarse.masses) + self.window_mass
            self.coarse.off_map = max(0.0, 1 - on_map)
            self.coarse.forget_sums()

    def _absorb(self) -> None:
        """Move what came to lie in the lattice's cells inside a window into that window."""
        coarse = self.coarse.lattices()
        for window in self.windows:
            inside = window.cells_inside(coarse)
            mass = sum(float(coarse.masses[k, rows, columns].sum()) for k, rows, columns in inside)
            if mass > max(self.config.window.absorb_mass, 1e-12):
                window.take(coarse)
                self.coarse.forget_sums()

    # --- what it comes to ------------------------------------------------------------------------

    def cell_masses(self) -> np.ndarray:
        """Mass of every terminal cell, float64 (n, n), row 0 in the north."""
        masses = self.coarse.cell_masses().copy()
        for window, plane in zip(self.windows, self._planes(), strict=True):
            np.add.at(masses, self._terminal_cells(window), plane)
        return masses

    def _planes(self) -> list[np.ndarray]:
        """Masses of positions of the windows, as long as nothing changes."""
        if self._kept.planes is None:
            self._kept.planes = [window.plane() for window in self.windows]
        return self._kept.planes

    def _terminal_cells(self, window: FineWindow) -> tuple[np.ndarray, ...]:
        """Rows and columns of the terminal cells that the window's cells lie in, to index with."""
        divided = round(self.region.terminal_side_m / window.side_m)
        sides = zip(window.corner, window.masses.shape[1:], strict=True)
        return np.ix_(*((first + np.arange(side)) // divided for first, side in sides))

    def posterior(self) -> CellPosterior:
        """The `CellPosterior` over terminal cells, given that the robot is on the map."""
        return self.coarse.posterior_of(self.cell_masses())

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (N, 2), metres east and north, and masses (N,), summing to one, of the cells
        that hold nearly all of both parts."""
        positions, masses = self.coarse.points()
        points = [(positions, masses * lattice.total(self.coarse.masses))]
        points += [w.points(p) for w, p in zip(self.windows, self._planes(), strict=True)]
        positions, masses = (np.concatenate(each) for each in zip(*points, strict=True))
        return positions, masses / masses.sum()

    def moments(
        self, indices: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Mean (2,) and covariance (2, 2), metres east and north, yaw (radians) and the length
        (0..1) of the mean heading vector: of the mode at the heaviest fine cell in the terminal
        cells `indices` (all), or of these cells where the lattice holds more of them."""
        core = self._core(indices)
        if core is None:
            return self.coarse.moments(indices)
        return core.mean_m, core.covariance_m2, core.yaw_rad, core.length

    def heading_cross(self, indices: np.ndarray | None = None) -> np.ndarray:
        """Covariance (2,) of east and north with the yaw of what `moments` is of."""
        core = self._core(indices)
        return self.coarse.heading_cross(indices) if core is None else core.cross_m_rad

    def clear_moments(self) -> CoreMoments | None:
        """Moments of the heaviest mode in the windows; None where they hold less than
        `CLEAR_MASS`."""
        return self._core(None) if self.window_mass >= CLEAR_MASS else None

    def _core(self, indices: np.ndarray | None) -> CoreMoments | None:
        """Moments of the heaviest window's mode in terminal cells; None where the lattice holds
        more of them. Kept as long as nothing changes."""
        key = b'' if indices is None else np.asarray(indices).tobytes()
        if key not in self._kept.cores:
            self._kept.cores[key] = self._find_core(indices)
        return self._kept.cores[key]

    def _find_core(self, indices: np.ndarray | None) -> CoreMoments | None:
        flags = self.coarse.cell_flags(indices)
        planes = [
            plane * flags[self._terminal_cells(window)]
            for window, plane in zip(self.windows, self._planes(), strict=True)
        ]
        masses = [float(plane.sum()) for plane in planes]
        if max(masses, default=0.0) <= float(self.coarse.cell_masses()[flags].sum()):
            return None
        best = int(np.argmax(masses))
        top = np.unravel_index(int(cv2.blur(planes[best], (3, 3)).argmax()), planes[best].shape)
        start = self.windows[best].centers_m(*(np.array([i]) for i in top))[0]
        return core_moments(self.windows[best].lattices(), start, MODE_REACH_M)

    def mass_within(self, east_m: float, north_m: float, radius_m: float) -> float:
        """Mass (0..1) within a radius of a point."""
        positions, masses = self.points()
        near = np.hypot(positions[:, 0] - east_m, positions[:, 1] - north_m) <= radius_m
        return float(masses[near].sum()) * (1 - self.off_map)

    def search_area(self, unexplored_mass: float = 0.01) -> SearchArea:
        """Where and at which headings a registration shall look, so that no more than
        `unexplored_mass` (0..1) of the belief is left out: all of the map and all headings where
        it may be anywhere, or where frames have ceased to fit."""
        lost = self.off_map > 1 - 1e-6  # nothing on the map says where to look
        if lost or self.inlier_probability < self.config.search_all_below:
            return self.whole_area()
        return search_area(self._parts(), self.region.side_m, unexplored_mass)

    def whole_area(self) -> SearchArea:
        """All of the map, at the headings of the coarse belief."""
        return whole_area(self.coarse.lattices(), self.region.side_m)


def _of_occupied(excess: PoseExcess, part: Lattices) -> StateExcess:
    return excess.on(part, lattice.occupied(part.masses))
