"""Lattices of a belief as one value, and what they share with other grids.

A state is a box: a cell of the lattice of its heading, times a step of heading. Whatever else is
uniform in boxes, a likelihood or the masses of another belief, is met by the share of the volume
that two boxes have in common, which is a product of three lengths. So nothing is interpolated, and
masses are neither made nor lost.
"""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Lattices:
    """Masses over cells of K lattices, one for each heading; see lattice.py."""

    masses: torch.Tensor
    """(K, n, m), row 0 in the north; the belief's own memory, no copy."""

    offsets: np.ndarray
    """(K, 2) by how many cells each lattice is shifted south and east."""

    yaws_rad: np.ndarray
    """(K,) headings, counter-clockwise from east."""

    yaw_step_rad: float
    """What a heading stands for, half of it to either side."""

    side_m: float
    """Side of a cell in metres."""

    west_m: float
    """West border without shift, in metres east of the region's centre."""

    north_m: float
    """North border without shift, in metres north of the region's centre."""

    def edges_m(self, headings: np.ndarray, axis: int) -> np.ndarray:
        """Edges (H, n + 1) of the rows of some lattices, in metres south of the region's centre
        (axis 0), or of their columns, in metres east of it (axis 1)."""
        steps = np.arange(self.masses.shape[1 + axis] + 1)
        first = self.west_m if axis else -self.north_m
        return first + (steps + self.offsets[headings, axis, None]) * self.side_m


def common_lengths(edges: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Length (..., n, m) that each of n intervals shares with each of m others, from ascending
    edges (..., n + 1) and (..., m + 1)."""
    starts, widths = others[..., None, :-1], np.diff(others)[..., None, :]
    return np.diff((edges[..., None] - starts).clip(0, widths), axis=-2)


def common_angles(
    yaws_rad: np.ndarray, step_rad: float, others_rad: np.ndarray, other_step_rad: float
) -> np.ndarray:
    """Angle (K, L) that each of K headings, half a step to either side, shares with each of L
    others of another step."""
    turn = np.asarray(others_rad)[None] - np.asarray(yaws_rad)[:, None]
    apart = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
    # Where both are wide they may meet on either side of the circle.
    near, far = ((step_rad + other_step_rad) / 2 - gap for gap in (apart, 2 * np.pi - apart))
    least = min(step_rad, other_step_rad)
    return np.minimum(near.clip(0, least) + far.clip(0, least), least)


def heading_likelihood(
    yaws_rad: np.ndarray, yaw_rad: float, std_rad: float, floor: float
) -> np.ndarray:
    """Likelihood (K,) of a measured heading for K evenly spread ones; a robot that is off the map
    has any, so the mean is one. With probability `floor` the measurement is worth nothing."""
    variance = std_rad**2 + (2 * np.pi / len(yaws_rad)) ** 2 / 12
    turn = (yaws_rad - yaw_rad + np.pi) % (2 * np.pi) - np.pi
    weights = np.exp(-(turn**2) / (2 * variance)) + floor / len(turn)
    return weights / weights.mean()


def shortest_arc(numbers: np.ndarray, count: int) -> tuple[int, int]:
    """First and length of the shortest arc of 0..count - 1, all the way round, that has all of
    some ascending numbers."""
    gaps = np.diff(numbers, append=numbers[0] + count)
    widest = int(gaps.argmax())
    return int(numbers[(widest + 1) % len(numbers)]), count - int(gaps[widest]) + 1


def spread(source: Lattices, target: Lattices) -> None:
    """Add the masses of one belief to those of another, to each of its states by the share of the
    source's box that lies in it. What lies beyond the target's borders is not added anywhere."""
    angles = common_angles(
        target.yaws_rad, target.yaw_step_rad, source.yaws_rad, source.yaw_step_rad
    )
    occupied = source.masses.sum((1, 2)).numpy() > 0
    into, out_of = np.nonzero((angles > 1e-9) & occupied)
    for k, j in zip(into.tolist(), out_of.tolist(), strict=True):
        rows, south = _shares(source, target, j, k, 0)
        columns, east = _shares(source, target, j, k, 1)
        masses = source.masses[j] * float(angles[k, j] / source.yaw_step_rad)
        target.masses[k, rows, columns] += south @ masses @ east.T


def _shares(
    source: Lattices, target: Lattices, j: int, k: int, axis: int
) -> tuple[slice, torch.Tensor]:
    """Cells of target lattice k along an axis that touch source lattice j, and the shares (n, m)
    of the source's cells that lie in them."""
    edges = source.edges_m(np.array([j]), axis)[0]
    others = target.edges_m(np.array([k]), axis)[0]
    touched = touched_cells(others[None], edges[0], edges[-1])
    lengths = common_lengths(others[touched.start : touched.stop + 1], edges)
    return touched, torch.from_numpy(lengths / source.side_m).to(source.masses)


def touched_cells(edges: np.ndarray, first: float, last: float) -> slice:
    """The cells of lattices with edges (H, n + 1) that touch an interval on any of them."""
    start = int(np.searchsorted(edges.max(0), first, side='right')) - 1
    stop = int(np.searchsorted(edges.min(0), last, side='left'))
    count = edges.shape[1] - 1
    start, stop = min(max(start, 0), count), min(max(stop, 0), count)
    return slice(start, max(start, stop))
