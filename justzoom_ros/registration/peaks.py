"""The highest places of a likelihood, finer than its cells and headings."""

from dataclasses import dataclass
from math import ceil, pi

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
    """(2, 2), east and north: of the mass round the peak, headings averaged out."""

    yaw_rad: float
    """Heading, counter-clockwise from east, in -pi..pi."""

    yaw_std_rad: float
    """Standard deviation of the heading."""

    log_ratio: float
    """Log of the likelihood ratio of the best pose in the peak's cell."""

    scale: int | None = None
    """Number of the most probable of the searched heights, where several were."""


def find_peaks(likelihood, count, separation_m):
    """Up to `count` `Peak`s of a `PoseLikelihood`, at least `separation_m` apart, highest mean
    over headings first. Fewer where the window has no room for more."""
    if not (count >= 1 and separation_m > 0):
        raise ConfigError('peaks need a count of at least 1 and a positive separation')
    plane = likelihood.position.log_ratio.cpu().numpy()
    reach = ceil(separation_m / likelihood.cell_m)
    left = plane.copy()
    peaks = []
    while len(peaks) < count:
        row, column = np.unravel_index(int(left.argmax()), left.shape)
        if not np.isfinite(left[row, column]):
            break
        if _is_top(plane, row, column):
            peaks.append(_peak(likelihood, plane, row, column, reach))
        _blank(left, row, column, reach)
    return tuple(peaks)


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


def _peak(likelihood, plane, row, column, reach):
    south, east = _top_of_paraboloid(plane, row, column)
    cell = likelihood.cell_m
    yaw, std, best = _heading(likelihood, row, column)
    scale = None if likelihood.scale is None else int(likelihood.scale[best, row, column])
    return Peak(
        east_m=likelihood.west_m + (column + 0.5 + east) * cell,
        north_m=likelihood.north_m - (row + 0.5 + south) * cell,
        covariance_m2=_covariance(plane, (row, column), (south, east), reach) * cell**2,
        yaw_rad=yaw,
        yaw_std_rad=std,
        log_ratio=float(likelihood.log_ratio[best, row, column]),
        scale=scale,
    )


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


def _heading(likelihood, row, column):
    """Heading at a cell, its deviation, and the number of the best of the searched ones.

    The parabola through the logs of the mass near the cell at the best heading and the two beside
    it: exact for a Gaussian. Its place is trusted to a quarter of a step.
    """
    near = likelihood.log_ratio[:, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    logs = torch.logsumexp(near.double().flatten(1), 1).cpu().numpy()
    best = int(likelihood.log_ratio[:, row, column].argmax())
    count, step = len(logs), likelihood.step_rad
    shift, variance = 0.0, 1 / 12
    if count >= 3 and (likelihood.is_round or 0 < best < count - 1):
        before, after = logs[best - 1], logs[(best + 1) % count]
        bend = before + after - 2 * logs[best]
        if np.isfinite(bend) and bend < -1e-9:
            shift = float(np.clip((before - after) / (2 * bend), -0.5, 0.5))
            variance = min(-1 / bend, (pi / step) ** 2 / 3) + 1 / 48
    yaw = likelihood.yaws_rad[best] + shift * step
    return float((yaw + pi) % (2 * pi) - pi), step * float(np.sqrt(variance)), best
