"""A window of small cells that follows the place where a robot most probably is.

The lattice over a whole map has cells of tens of metres. Where nearly all of its mass is in one
place, this window takes it over in cells of metres and narrow headings, and moves along: by whole
cells, so that nothing is blurred by following. What leaves it goes back to the lattice. Of the
window only those cells and headings are kept that hold something: a robot that knows where it is
needs a hundredth of them, and the others would cost as much.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.filtering import lattice
from justzoom_ros.filtering.lattices import Lattices, shortest_arc, spread
from justzoom_ros.filtering.motion_model import Motion, MotionNoise
from justzoom_ros.ranges import check_ranges, ranged

FAINT = 1e-7
"""Cells with a smaller share of the greatest mass are not worth looking at."""

NEGLIGIBLE = 1e-8
"""A heading, row or column with a smaller share of the window's mass is left out: it only costs
time."""


@dataclass(frozen=True)
class FineWindowConfig:
    """Resolution of a window, and when there is one. Raises ConfigError for values out of
    range."""

    cell_m: float = ranged(1.0, above=0)
    """Greatest side of a cell in metres: the cells of the lattice are divided evenly. Registration
    that fits is wrong by 0.5 m, which cells of 1 m widen to 0.6 m and cells of 2 m to 0.8 m."""

    side_m: float = ranged(120.0, above=0)
    """Side of the window in metres; the whole map where that is smaller. Wide enough for the
    motion between two frames and for what odometry can be wrong by."""

    headings: int = ranged(144, at_least=4)
    """Number of headings all the way round, a multiple of the lattice's."""

    max_windows: int = ranged(3, at_least=1)
    """Greatest number of windows at a time. A place in a window gains from frames that agree with
    each other to metres, one in the lattice only from those that agree to its cells; so places
    that are nearly as probable need windows of their own."""

    spawn_mass: float = ranged(0.2, above=0, at_most=1)
    """Probability (0..1) of being in one place, 3 x 3 cells of the lattice, from which on a window
    begins there."""

    give_up_mass: float = ranged(0.01, at_least=0, below=1)
    """Probability (0..1) of being in a window below which it is given up: the robot is somewhere
    else. What it held goes back to the lattice."""

    absorb_mass: float = ranged(1e-3, at_least=0, at_most=1)
    """Probability (0..1) in the lattice's cells inside a window from which on it is moved into the
    window. Less does not matter to a fix."""

    def __post_init__(self) -> None:
        check_ranges(self)


class FineWindow:
    """Masses of a part of a belief, (A, h, w) over fine cells; they sum to that part, not to one.

    Only an arc of A headings and a box of h rows and w columns of the window are kept, outside of
    which there is nothing.

    `coarse`: the lattices of the whole map that are divided; `center_m` (2,): where the window
    shall be, metres east and north. It begins empty and stays within the map.
    Raises ConfigError where its headings do not divide those of the lattices.
    """

    def __init__(self, config: FineWindowConfig, coarse: Lattices, center_m: np.ndarray) -> None:
        count, cells = coarse.masses.shape[0], coarse.masses.shape[1]
        if config.headings % count:
            raise ConfigError(
                f'headings of the fine window are {config.headings}; they must be a multiple of '
                f'the {count} of the belief'
            )
        divided = int(np.ceil(coarse.side_m / config.cell_m - 1e-9))
        self.side_m = coarse.side_m / divided
        self._region_cells = cells * divided
        self._size = min(max(round(config.side_m / self.side_m), 1), self._region_cells)
        self._region_half_m = self._region_cells * self.side_m / 2
        center = np.array([self._region_half_m - center_m[1], center_m[0] + self._region_half_m])
        self._window_corner = self._inside(center / self.side_m - self._size / 2)
        self.corner = self._window_corner
        self.headings, self._first = config.headings, 0
        self.masses = coarse.masses.new_zeros((self.headings, self._size, self._size))
        self._offsets = np.zeros((self.headings, 2))
        self._yaw_rad = float(coarse.yaws_rad[0])

    def _inside(self, corner: np.ndarray) -> np.ndarray:
        """The nearest first row and column (2,) of a window that is within the map."""
        return np.round(corner).astype(int).clip(0, self._region_cells - self._size)

    @property
    def numbers(self) -> np.ndarray:
        """Numbers (A,) of the headings of the arc, 0 to `headings` - 1, one after the other."""
        return (self._first + np.arange(len(self.masses))) % self.headings

    @property
    def yaw_step_rad(self) -> float:
        """Between one heading and the next."""
        return 2 * np.pi / self.headings

    @property
    def mass(self) -> float:
        """Probability (0..1) of being in the window."""
        return lattice.total(self.masses)

    def lattices(self) -> Lattices:
        """The masses as they stand and where they are."""
        return self._lattices(self.masses, self.corner)

    def _lattices(self, masses: torch.Tensor, corner: np.ndarray) -> Lattices:
        south_m, east_m = corner * self.side_m
        return Lattices(
            masses,
            self._offsets[self.numbers],
            self._yaw_rad + self.numbers * self.yaw_step_rad,
            self.yaw_step_rad,
            self.side_m,
            float(east_m - self._region_half_m),
            float(self._region_half_m - south_m),
        )

    def plane(self) -> np.ndarray:
        """Masses of positions, float64 (h, w), headings taken together. `corner` is their first
        row and column on the map."""
        offsets = self._offsets[self.numbers]
        return lattice.sum_headings(self.masses, offsets).double().numpy()

    def points(self, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centres (N, 2) and masses (N,) of the cells that hold nearly all, given the `plane`."""
        row, column = np.nonzero(plane > FAINT * plane.max())
        return self.centers_m(row, column), plane[row, column]

    def mean_m(self) -> np.ndarray:
        """Mean position (2,), metres east and north of the region's centre."""
        return self.centers_m(*(np.array([cell - 0.5]) for cell in self._mean_cell()))[0]

    def _mean_cell(self) -> np.ndarray:
        """Mean row and column (2,), continuous: 0.5 is the middle of the first cell."""
        plane = self.masses.sum(0).double().numpy()
        sums = plane.sum(1), plane.sum(0)
        means = [each @ (np.arange(len(each)) + 0.5) for each in sums]
        return np.array(means) / max(plane.sum(), 1e-300)

    def centers_m(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Centres (N, 2) of cells, metres east and north of the region's centre."""
        south = (self.corner[0] + rows + 0.5) * self.side_m
        east = (self.corner[1] + columns + 0.5) * self.side_m
        return np.stack([east - self._region_half_m, self._region_half_m - south], 1)

    # --- what comes in from the lattice over the map ---------------------------------------------

    def cells_inside(self, coarse: Lattices) -> list[tuple[int, slice, slice]]:
        """Of each coarse lattice the rows and columns that lie wholly inside the window."""
        low_m = self._window_corner * self.side_m - self._region_half_m - self.side_m / 2
        high_m = low_m + (self._size + 1) * self.side_m
        first_m = np.array([-coarse.north_m, coarse.west_m]) + coarse.offsets * coarse.side_m
        start = np.ceil((low_m - first_m) / coarse.side_m).astype(int)
        stop = np.floor((high_m - first_m) / coarse.side_m).astype(int)
        stop = stop.clip(0, coarse.masses.shape[1:])
        start = start.clip(0, stop)
        spans = np.stack([start, stop], 2).tolist()
        return [(k, slice(*rows), slice(*columns)) for k, (rows, columns) in enumerate(spans)]

    def take(self, coarse: Lattices) -> None:
        """Move in what coarse lattices hold inside the window, each cell spread evenly over the
        fine ones in it. Nothing is lost."""
        moved = torch.zeros_like(coarse.masses)
        for k, rows, columns in self.cells_inside(coarse):
            moved[k, rows, columns] = coarse.masses[k, rows, columns]
            coarse.masses[k, rows, columns] = 0
        self.add(replace(coarse, masses=moved))

    def add(self, coarse: Lattices) -> None:
        """Add masses that are all inside the window."""
        self._widen(self.headings)
        self._fill_window()
        fine = self._lattices(torch.zeros_like(self.masses), self.corner)
        spread(coarse, fine)
        total, came = lattice.total(coarse.masses), lattice.total(fine.masses)
        if came > 0:
            self.masses += fine.masses * (total / came)
        self.drop_negligible()

    # --- what is kept ----------------------------------------------------------------------------

    def drop_negligible(self) -> None:
        """Leave out the headings, rows and columns at the ends that hold next to nothing."""
        sums = self.masses.sum(2)
        negligible = NEGLIGIBLE * float(sums.sum(dtype=torch.float64))
        kept = np.flatnonzero(sums.sum(1).numpy() > negligible)
        rows = np.flatnonzero(sums.sum(0).numpy() > negligible)
        columns = np.flatnonzero(self.masses.sum((0, 1)).numpy() > negligible)
        if not (len(kept) and len(rows) and len(columns)):
            return
        self.corner = self.corner + (rows[0], columns[0])
        first, length = int(kept[0]), int(kept[-1] - kept[0]) + 1
        if len(self.masses) == self.headings:  # a circle has no ends
            first, length = shortest_arc(kept, self.headings)
        arc = (first + np.arange(length)) % len(self.masses)
        self.masses = self.masses[arc, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        self._first = (self._first + first) % self.headings

    def _fill_window(self) -> None:
        """Keep all cells of the window."""
        masses, (row, column) = self.masses, self.corner - self._window_corner
        _, high, wide = masses.shape
        self.masses = masses.new_zeros((len(masses), self._size, self._size))
        self.masses[:, row : row + high, column : column + wide] = masses
        self.corner = self._window_corner

    def _widen(self, steps: int) -> None:
        """Lengthen the arc by empty headings at either end, at most to the whole circle."""
        masses, length = self.masses, len(self.masses)
        before = min(steps, (self.headings - length) // 2)
        if length + 2 * steps >= self.headings:
            before, longer = 0, self.headings
        else:
            longer = length + 2 * steps
        self.masses = masses.new_zeros((longer, *masses.shape[1:]))
        self.masses[before : before + length] = masses
        self._first = (self._first - before) % self.headings

    # --- what happens ----------------------------------------------------------------------------

    def can_follow(self, motion: Motion, noise: MotionNoise) -> bool:
        """Whether a motion is known well enough for the window to be of use after it."""
        reach = lattice.step_reach(self._variance(motion, noise))
        whole = np.round(motion.south_east_m(self.lattices().yaws_rad) / self.side_m)
        apart = np.ptp(whole, axis=0).max()
        return bool(reach + apart < self._size // 2)

    def predict(self, motion: Motion, noise: MotionNoise) -> Lattices:
        """Follow a `Motion` with its `MotionNoise`; what thereby leaves the window is no longer in
        it, and returned."""
        turned = noise.yaw_variance_rad2(motion) / self.yaw_step_rad**2
        self._widen(lattice.step_reach(turned) if turned > 0 else 0)
        variance = self._variance(motion, noise)
        whole = self._displace(motion)[self.numbers]
        along = self._mean_shift(whole)
        margin = self._margin(whole - along) + lattice.step_reach(variance) + 1
        self._recenter(along)
        corner = self.corner + along - margin
        masses = _place(self.masses, whole - along, margin)
        masses = lattice.blur(self._on_map(masses, corner), variance)
        masses = lattice.rotate(self._on_map(masses, corner), self._offsets[self.numbers], turned)
        return self._split(self._on_map(masses, corner), corner)

    def _margin(self, cells: np.ndarray) -> int:
        """The greatest of the shifts (A, 2) of headings that are possible at all."""
        return int(np.abs(cells)[lattice.occupied(self.masses)].max(initial=0))

    def _variance(self, motion: Motion, noise: MotionNoise) -> float:
        """Variance of a motion along each axis, in cells squared: see `HistogramFilter.predict`"""
        aslant = self.yaw_step_rad**2 / 12 * motion.distance_m**2
        return (noise.position_variance_m2(motion) + aslant) / self.side_m**2

    def _displace(self, motion: Motion) -> np.ndarray:
        """Shift all lattices by a motion, and tell by how many whole cells (K, 2) beside that."""
        yaws = self._yaw_rad + np.arange(self.headings) * self.yaw_step_rad
        self._offsets = self._offsets + motion.south_east_m(yaws) / self.side_m
        whole = np.round(self._offsets).astype(int)
        self._offsets -= whole
        self._yaw_rad += motion.turn_rad
        return whole

    def _mean_shift(self, whole: np.ndarray) -> np.ndarray:
        """By how many cells (2,) the lattices go south and east, given that of each (A, 2)."""
        by_heading = self.masses.sum((1, 2)).double().numpy()
        return np.round(by_heading @ whole / max(by_heading.sum(), 1e-300)).astype(int)

    def _recenter(self, along: np.ndarray) -> None:
        """Move the window by whole cells (2,) along with its lattices, and so that the mean is in
        its middle where it was far from there."""
        away = self._mean_cell() + self.corner - self._window_corner - self._size / 2
        if np.abs(away).max() < self._size / 8:
            away = np.zeros(2)
        self._window_corner = self._inside(self._window_corner + along + away)

    def _on_map(self, masses: torch.Tensor, corner: np.ndarray) -> torch.Tensor:
        """Masses whose first row and column are `corner` (2,), less those beyond the map's border,
        which do not come back."""
        for axis, first in enumerate(corner.tolist(), start=1):
            size = masses.shape[axis]
            before, behind = max(0, -first), max(0, first + size - self._region_cells)
            masses.narrow(axis, 0, min(before, size)).zero_()
            masses.narrow(axis, size - min(behind, size), min(behind, size)).zero_()
        return masses

    def _split(self, masses: torch.Tensor, corner: np.ndarray) -> Lattices:
        """Keep what is inside the window of masses whose first row and column are `corner` (2,),
        and return the rest."""
        size = masses.shape[1:]
        start = (self._window_corner - corner).clip(0, size)
        stop = (self._window_corner + self._size - corner).clip(start, size)
        if (stop == start).any():  # all of it has left
            self.corner, self.masses = self._window_corner, masses.new_zeros((len(masses), 1, 1))
            return self._lattices(masses, corner)
        inner = (slice(None), *map(slice, start, stop))
        self.corner, self.masses = corner + start, masses[inner].clone()
        masses[inner] = 0
        return self._lattices(masses, corner)


def _place(masses: torch.Tensor, cells: np.ndarray, margin: int) -> torch.Tensor:
    """Each lattice moved by whole `cells` (A, 2), south and east, within a margin all round."""
    count, high, wide = masses.shape
    placed = masses.new_zeros((count, high + 2 * margin, wide + 2 * margin))
    for k in np.flatnonzero(lattice.occupied(masses)):
        south, east = (cells[k] + margin).tolist()
        placed[k, south : south + high, east : east + wide] = masses[k]
    return placed
