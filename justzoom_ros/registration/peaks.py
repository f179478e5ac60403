"""The highest places of a likelihood, finer than its cells and headings."""

from dataclasses import dataclass
from math import ceil, pi
from typing import Any

import numpy as np
import torch

from justzoom_ros.errors import ConfigError


@dataclass(frozen=True)
class Peak:
    """One place that a view speaks for."""

    east_m: float
    """Metres east of the region's centre."""

    north_m: float
    """Metres north of the region's centre."""

    covariance_m2: np.ndarray
    """(2, 2), east and north: of the mass round the peak at its heading, and what the deviation of
    the heading adds where the camera is not over the middle of what it sees."""

    yaw_rad: float
    """Heading, counter-clockwise from east, in -pi..pi."""

    yaw_std_rad: float
    """Standard deviation of the heading."""

    log_ratio: float
    """Log of the likelihood ratio of the best pose in the peak's cell."""

    scale: int | None = None
    """Number of the most probable of the searched heights, where several were."""


def find_peaks(likelihood: Any, count: int, separation_m: float) -> tuple[Peak, ...]:
    """Up to `count` `Peak`s of a `PoseLikelihood`, at least `separation_m` apart, highest mean
    over headings first. Fewer where the window has no room for more."""
    if not (count >= 1 and separation_m > 0):
        raise ConfigError('peaks need a count of at least 1 and a positive separation')
    plane = likelihood.position.log_ratio.cpu().numpy()
    reach = ceil(separation_m / likelihood.cell_m)
    return tuple(
        _peak(likelihood, row, column, reach)
        for row, column in highest_places(plane, count, reach)
    )


def highest_places(plane: np.ndarray, count: int, reach: float) -> list[tuple[int, int]]:
    """Rows and columns, highest first, of up to `count` tops of an array (n, m) of log ratios that
    are more than `reach` cells apart."""
    left, reach = plane.copy(), ceil(reach)
    places: list[tuple[int, int]] = []
    while len(places) < count:
        row, column = (int(i) for i in np.unravel_index(int(left.argmax()), left.shape))
        if not np.isfinite(left[row, column]):
            break
        if _is_top(plane, row, column):
            places.append((row, column))
        _blank(left, row, column, reach)
    return places


def _is_top(plane, row, column):
    """True unless a neighbour is higher: the slope of a peak that was found before is no peak."""
    near = plane[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    return bool(plane[row, column] >= near.max())


def _blank(plane, row, column, reach):
    rows, columns, near = _disc(plane.shape, row, column, reach)
    plane[rows, columns][near] = -np.inf


def _disc(shape, row, column, reach):
    """Slices of the square round a cell, and which of its cells are within `reach`."""
    rows = slice(max(0, row - reach), min(shape[0], row + reach + 1))
    columns = slice(max(0, column - reach), min(shape[1], column + reach + 1))
    south = np.arange(rows.start, rows.stop)[:, None] - row
    east = np.arange(columns.start, columns.stop) - column
    return rows, columns, south**2 + east**2 <= reach**2


def _peak(likelihood, row, column, reach):
    best, row, column = _best_pose(likelihood.log_ratio, row, column)
    scale = None if likelihood.scale is None else int(likelihood.scale[best, row, column])
    pose = _Pose(likelihood, best, row, column, likelihood.levers_m[scale or 0])
    turn, turn_variance = pose.turn()
    position, covariance = pose.position(reach)
    east_m, north_m = position + pose.lever(0.0) - pose.lever(turn)
    sideways = pose.lever(turn + pi / 2)
    return Peak(
        east_m=float(east_m),
        north_m=float(north_m),
        covariance_m2=covariance + turn_variance * np.outer(sideways, sideways),
        yaw_rad=float((pose.yaw_rad + turn + pi) % (2 * pi) - pi),
        yaw_std_rad=float(np.sqrt(turn_variance)),
        log_ratio=float(likelihood.log_ratio[best, row, column]),
        scale=scale,
    )


def _best_pose(log_ratio, row, column):
    """Heading, row and column of the best pose in a cell or the eight round it."""
    top, left = max(0, row - 1), max(0, column - 1)
    near = log_ratio[:, top : row + 2, left : column + 2].cpu().numpy()
    best, south, east = (int(i) for i in np.unravel_index(int(near.argmax()), near.shape))
    return best, top + south, left + east


class _Pose:
    """One searched pose, and what is round it. `lever_m` as in `PoseLikelihood.levers_m`."""

    def __init__(self, likelihood, heading, row, column, lever_m):
        self.likelihood, self.lever_m = likelihood, lever_m
        self.heading, self.row, self.column = heading, row, column
        self.yaw_rad = likelihood.yaws_rad[heading]

    def lever(self, turn_rad):
        """The lever (2,), metres east and north, after a turn from the pose's heading."""
        yaw, (right, ahead) = self.yaw_rad + turn_rad, self.lever_m
        sin, cos = np.sin(yaw), np.cos(yaw)
        return np.array([right * sin + ahead * cos, ahead * sin - right * cos])

    def position(self, reach):
        """Position (2,) and covariance (2, 2), metres east and north, at the pose's heading, of
        the mass within `reach` cells."""
        likelihood, cell_m = self.likelihood, self.likelihood.cell_m
        plane = likelihood.log_ratio[self.heading].cpu().numpy()
        south, east = _top_of_paraboloid(plane, self.row, self.column)
        covariance = _covariance(plane, (self.row, self.column), (south, east), reach)
        east_m = likelihood.west_m + (self.column + 0.5 + east) * cell_m
        north_m = likelihood.north_m - (self.row + 0.5 + south) * cell_m
        return np.array([east_m, north_m]), covariance * cell_m**2

    def turn(self):
        """How far the best heading is from that of the pose, and its variance, radians.

        The parabola through the logs of the mass near the pose and near those one heading on to
        either side that see the same: exact for a Gaussian. It is trusted to a quarter of a step.
        """
        step = self.likelihood.step_rad
        before, here, after = (self._log_mass(side) for side in (-1, 0, 1))
        bend = before + after - 2 * here
        if not (np.isfinite(bend) and bend < -1e-9):
            return 0.0, step**2 / 12
        turn = np.clip((before - after) / (2 * bend), -0.5, 0.5) * step
        return turn, min(-(step**2) / bend, pi**2 / 3) + step**2 / 48

    def _log_mass(self, side):
        """Log of the mass of the nine cells round the pose `side` headings on, -inf where that was
        not searched."""
        likelihood, heading = self.likelihood, self.heading + side
        count = len(likelihood.yaws_rad)
        if count < 3 or not (likelihood.is_round or 0 <= heading < count):
            return -np.inf
        shift = (self.lever(0.0) - self.lever(side * likelihood.step_rad)) / likelihood.cell_m
        row, column = self.row - round(shift[1]), self.column + round(shift[0])
        if row < -1 or column < -1:
            return -np.inf
        rows, columns = slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2)
        near = likelihood.log_ratio[heading % count, rows, columns]
        return float(torch.logsumexp(near.double().flatten(), 0)) if near.numel() else -np.inf


def _top_of_paraboloid(plane, row, column):
    """Where, within half a cell of a cell (south, east), the paraboloid through it and its eight
    neighbours is highest: for a Gaussian peak this is exact. (0, 0) at a border."""
    near = plane[row - 1 : row + 2, column - 1 : column + 2] if min(row, column) > 0 else plane[:0]
    if near.shape != (3, 3) or not np.isfinite(near).all():
        return 0.0, 0.0
    near = near.astype(float) - near[1, 1]
    slope = np.array([near[2, 1] - near[0, 1], near[1, 2] - near[1, 0]]) / 2
    cross = (near[2, 2] - near[2, 0] - near[0, 2] + near[0, 0]) / 4
    bend = np.array([[near[2, 1] + near[0, 1], cross], [cross, near[1, 2] + near[1, 0]]])
    if not np.linalg.eigvalsh(bend)[1] < -1e-9:
        return 0.0, 0.0
    south, east = np.clip(-np.linalg.solve(bend, slope), -0.5, 0.5)
    return float(south), float(east)


def _covariance(plane, cell, offset, reach):
    """Covariance (2, 2), east and north, in cells squared: of the mass within `reach` about the
    peak, uniform within each cell."""
    rows, columns, near = _disc(plane.shape, *cell, reach)
    masses = np.where(near, np.exp(plane[rows, columns] - plane[cell]), 0.0)
    south = np.arange(rows.start, rows.stop) - (cell[0] + offset[0])
    east = np.arange(columns.start, columns.stop) - (cell[1] + offset[1])
    masses = masses / masses.sum()
    cross = -float(south @ masses @ east)
    north_north, east_east = masses.sum(1) @ south**2, masses.sum(0) @ east**2
    return np.array([[east_east, cross], [cross, north_north]]) + np.eye(2) / 12
