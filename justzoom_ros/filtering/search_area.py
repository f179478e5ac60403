"""Where a belief wants to be told more: the places and headings that a search has to look at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from justzoom_ros.filtering.lattices import Lattices, common_angles, shortest_arc

LEAST_REACH_M = 50.0
LEAST_HEADINGS = 5
"""A smaller search knows too little of how well other places fit to judge the right one."""


@dataclass(frozen=True)
class SearchArea:
    """A square of the map, and an arc of headings."""

    east_m: float
    """Centre, in metres east of the region's centre."""

    north_m: float
    """Centre, in metres north of the region's centre."""

    reach_m: float
    """Half the side in metres. The square may reach beyond the map."""

    yaws_rad: np.ndarray
    """(L,) headings, counter-clockwise from east, one step after the other: those that the belief
    itself has."""

    headings: int
    """How many of these steps go all the way round."""

    @property
    def yaw_step_rad(self) -> float:
        """Between one heading and the next."""
        return 2 * np.pi / self.headings

    def is_whole(self, region_side_m: float) -> bool:
        """Whether it is all of a map of that side, at all headings."""
        beyond_m = self.reach_m - max(abs(self.east_m), abs(self.north_m))
        return len(self.yaws_rad) == self.headings and beyond_m >= region_side_m / 2 - 1e-6


def search_area(parts: Sequence[Lattices], region_side_m: float, unexplored: float) -> SearchArea:
    """The area that leaves out no more than the share `unexplored` (0..1) of a belief in parts,
    the coarse one first. The others are looked at alone where it holds less than that."""
    totals = [float(part.masses.sum()) for part in parts]
    if totals[0] <= unexplored * sum(totals):
        unexplored, parts = unexplored - totals[0] / sum(totals), parts[1:]
    # Both ends along two axes, and the headings.
    spans = [_span(parts, axis, unexplored / 6) for axis in (0, 1)]
    (south, east), sides = np.mean(spans, 1), np.ptp(spans, 1)
    reach = min(max(float(sides.max()) / 2, LEAST_REACH_M), region_side_m)
    yaws, count = _arc(parts, unexplored / 3)
    return SearchArea(float(east), float(-south), reach, yaws, count)


def whole_area(coarse: Lattices, region_side_m: float) -> SearchArea:
    """All of a map, and all headings of the lattices over it."""
    return SearchArea(0.0, 0.0, region_side_m / 2, coarse.yaws_rad, len(coarse.yaws_rad))


def _span(parts: Sequence[Lattices], axis: int, unexplored: float) -> tuple[float, float]:
    """From where to where, in metres south (axis 0) or east of the region's centre, nearly all
    mass lies; no more than `unexplored` on either side."""
    lows, highs, masses = [], [], []
    for part in parts:
        edges = part.edges_m(np.arange(len(part.masses)), axis)
        lows.append(edges[:, :-1].min(0))
        highs.append(edges[:, 1:].max(0))
        masses.append(part.masses.sum((0, 2 - axis)).double().numpy())
    low, high, mass = (np.concatenate(each) for each in (lows, highs, masses))
    return _quantile(low, mass, unexplored), -_quantile(-high, mass, unexplored)


def _quantile(positions: np.ndarray, masses: np.ndarray, share: float) -> float:
    """The position below which no more than a share of the masses lies."""
    order = np.argsort(positions)
    below = np.cumsum(masses[order]) > share * masses.sum()
    return float(positions[order][int(below.argmax())])


def _arc(parts: Sequence[Lattices], unexplored: float) -> tuple[np.ndarray, int]:
    """Headings of the first part that leave no more than `unexplored` out, in one arc, and how
    many there are all the way round."""
    first = parts[0]
    count = round(2 * np.pi / first.yaw_step_rad)
    yaws = first.yaws_rad[0] + np.arange(count) * first.yaw_step_rad
    masses = np.zeros(count)
    for part in parts:
        angles = common_angles(yaws, first.yaw_step_rad, part.yaws_rad, part.yaw_step_rad)
        masses += angles @ part.masses.sum((1, 2)).double().numpy() / part.yaw_step_rad
    order = np.argsort(masses)
    left_out = np.cumsum(masses[order]) <= unexplored * masses.sum()
    start, length = shortest_arc(np.sort(order[~left_out]), count)
    more = max(0, min(LEAST_HEADINGS, count) - length)
    steps = np.arange(start - more // 2, start - more // 2 + length + more)
    return yaws[0] + steps * first.yaw_step_rad, count
