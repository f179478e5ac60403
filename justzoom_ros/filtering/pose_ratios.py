"""Likelihood ratios of poses on the states of a belief.

A registration says of each pose by how much more probable a view is there than elsewhere, in its
own cells and headings. A state of a belief is a box of poses; what a view says of it is the mean
over that box. A pose that was not looked at has a ratio of 1: nothing was learned of it.

Means are kept less one, as *excess*: zero wherever nothing was learned, and nearly all of a map is
not even touched once a robot knows where it is.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from justzoom_ros.filtering.lattices import (
    Lattices,
    common_angles,
    common_lengths,
    touched_cells,
)

MAX_LOG_RATIO = 50.0
"""Higher ratios are cut off: e ** 50 is as good as certain, and single precision holds it."""

MAX_REFINED = 2_000_000
"""Ratios of a refined search at most: one round a place that is known has far fewer."""


class PoseRatios(Protocol):
    """What a belief needs of a registration's `PoseLikelihood`."""

    @property
    def log_ratio(self) -> torch.Tensor:
        """(L, n, m), natural logarithm, relative to elsewhere; -inf where not looked at."""

    @property
    def yaws_rad(self) -> np.ndarray:
        """(L,) headings, counter-clockwise from east."""

    @property
    def step_rad(self) -> float:
        """Between one heading and the next."""

    @property
    def cell_m(self) -> float:
        """Side of a cell in metres."""

    @property
    def west_m(self) -> float:
        """West border, in metres east of the region's centre."""

    @property
    def north_m(self) -> float:
        """North border, in metres north of the region's centre."""


@dataclass(frozen=True)
class CellRatios:
    """`PoseRatios` of cells whatever the heading: a policy's likelihood beside registration."""

    log_ratio: torch.Tensor
    """(1, n, m), natural logarithm."""

    cell_m: float
    """Side of a cell in metres."""

    west_m: float
    """West border, in metres east of the region's centre."""

    north_m: float
    """North border, in metres north of the region's centre."""

    yaws_rad: np.ndarray = field(default_factory=lambda: np.zeros(1))
    """(1,) one heading, which stands for all."""

    step_rad: float = 2 * np.pi
    """All the way round."""


@dataclass(frozen=True)
class FinerRatios:
    """`PoseRatios` between the cells of others, as `refine` makes them. Fields as there."""

    log_ratio: torch.Tensor
    yaws_rad: np.ndarray
    step_rad: float
    cell_m: float
    west_m: float
    north_m: float


def refine(likelihood: PoseRatios, cell_m: float) -> PoseRatios:
    """Ratios in cells no wider than `cell_m`: a search has the score of each cell's centre, and
    between the centres the logarithm is bicubic. Taken as the same all over a cell, a view would
    be wrong by up to half of it. What was not looked at, and a search of too much, stays."""
    factor = int(np.ceil(likelihood.cell_m / cell_m - 1e-9))
    log_ratio = likelihood.log_ratio
    finite = torch.isfinite(log_ratio)
    if factor <= 1 or log_ratio.numel() * factor**2 > MAX_REFINED or not bool(finite.all()):
        return likelihood
    south, east = (_cubic_weights(count, factor) for count in log_ratio.shape[1:])
    finer = south @ log_ratio.float().cpu() @ east.T
    return FinerRatios(
        finer,
        likelihood.yaws_rad,
        likelihood.step_rad,
        likelihood.cell_m / factor,
        likelihood.west_m,
        likelihood.north_m,
    )


def _cubic_weights(count: int, factor: int) -> torch.Tensor:
    """Weights (factor * count, count) that interpolate values at cell centres, exact for
    parabolas (Keys, doi 10.1109/TASSP.1981.1163711); the border's values go on beyond it."""
    at = (np.arange(count * factor) + 0.5) / factor - 0.5
    first, t = np.floor(at).astype(int), at - np.floor(at)
    shares = np.stack([
        -t / 2 + t**2 - t**3 / 2,
        1 - 5 * t**2 / 2 + 3 * t**3 / 2,
        t / 2 + 2 * t**2 - 3 * t**3 / 2,
        -(t**2) / 2 + t**3 / 2,
    ])  # fmt: skip
    weights = np.zeros((len(at), count), np.float32)
    for step, share in enumerate(shares, start=-1):
        np.add.at(weights, (np.arange(len(at)), (first + step).clip(0, count - 1)), share)
    return torch.from_numpy(weights)


@dataclass(frozen=True)
class StateExcess:
    """Mean ratios less one, of the states that a likelihood touches."""

    headings: np.ndarray
    """(H,) numbers of the lattices."""

    rows: slice
    """Rows of these lattices."""

    columns: slice
    """Columns of these lattices."""

    values: torch.Tensor
    """(H, rows, columns), greater than -1."""

    def under(self, masses: torch.Tensor) -> float:
        """By how much the mean ratio under `masses` (K, n, m), which need not sum to one, is
        above their sum."""
        touched = masses[self.headings, self.rows, self.columns]
        return float((touched * self.values).sum(-1).sum(dtype=torch.float64))

    def touched(self, masses: torch.Tensor) -> float:
        """The sum of the `masses` (K, n, m) of the states that are touched."""
        part = masses[self.headings, self.rows, self.columns]
        return float(part.sum(-1).sum(dtype=torch.float64))

    def scale(self, masses: torch.Tensor, factor: float) -> None:
        """Multiply the `masses` (K, n, m) of the states that are touched."""
        for k in self.headings:
            masses[k, self.rows, self.columns] *= factor

    def weigh(self, masses: torch.Tensor, share: float) -> None:
        """Multiply `masses` (K, n, m) by mean ratios that count with a share (0..1): 1 + share *
        (ratio - 1)."""
        for k, values in zip(self.headings, self.values, strict=True):
            masses[k, self.rows, self.columns] *= 1 + share * values


class PoseExcess:
    """Ratios of poses, each raised to `exponent` (0..1), less one; 0 where not looked at."""

    def __init__(self, likelihood: PoseRatios, exponent: float) -> None:
        self.likelihood = likelihood
        log_ratio = likelihood.log_ratio
        logs = torch.where(torch.isfinite(log_ratio), log_ratio, 0.0) * exponent
        self.values = torch.expm1_(logs.clamp_(max=MAX_LOG_RATIO)).cpu()

    def outlier_ratio(self, area_m2: float) -> float:
        """How probable an outlier is to be a view like this, relative to elsewhere: it may show a
        place that is not on the map, or be taken for any place of it. So this is the mean ratio
        over a map of that area and all headings, and at least 1. Thereby a single frame, however
        sure, is right with no more than the probability that it is an inlier."""
        volume = self.likelihood.cell_m**2 * self.likelihood.step_rad
        total = float(self.values.sum(-1).sum(dtype=torch.float64))
        return 1 + max(0.0, total * volume / (area_m2 * 2 * np.pi))

    def on(self, lattices: Lattices, occupied: np.ndarray | None = None) -> StateExcess:
        """The means over the states of lattices, of those whose `occupied` (K,) is True (all).
        Where the likelihood has their headings and their step, none of them is mixed with
        another."""
        likelihood, step = self.likelihood, lattices.yaw_step_rad
        angles = common_angles(lattices.yaws_rad, step, likelihood.yaws_rad, likelihood.step_rad)
        angles[angles < 1e-6 * step] = 0.0
        touched = angles.any(1) if occupied is None else angles.any(1) & occupied
        headings, used = np.flatnonzero(touched), np.flatnonzero(angles[touched].any(0))
        planes = self.values if len(used) == len(self.values) else self.values[used]
        planes = _mixed(planes.to(lattices.masses), angles[np.ix_(headings, used)] / step)
        rows, south = self._shares(lattices, headings, 0, -likelihood.north_m)
        columns, east = self._shares(lattices, headings, 1, likelihood.west_m)
        return StateExcess(headings, rows, columns, south @ planes @ east.transpose(1, 2))

    def _shares(
        self, lattices: Lattices, headings: np.ndarray, axis: int, first_m: float
    ) -> tuple[slice, torch.Tensor]:
        """Cells of some lattices along an axis that touch the likelihood, and the shares
        (H, n, m) of them that its cells cover."""
        count = self.values.shape[1 + axis]
        if not len(headings):
            return slice(0, 0), lattices.masses.new_zeros((0, 0, count))
        others = first_m + np.arange(count + 1) * self.likelihood.cell_m
        edges = lattices.edges_m(headings, axis)
        touched = touched_cells(edges, others[0], others[-1])
        lengths = common_lengths(edges[:, touched.start : touched.stop + 1], others)
        return touched, torch.from_numpy(lengths / lattices.side_m).to(lattices.masses)


def _mixed(planes: torch.Tensor, weights: np.ndarray) -> torch.Tensor:
    """Sums (H, n, m) of planes (L, n, m) with weights (H, L)."""
    if len(weights) == len(planes) and np.allclose(weights, np.eye(len(weights)), atol=1e-9):
        return planes
    return torch.tensordot(torch.from_numpy(weights).to(planes), planes, 1)
