"""Mean and covariance of one mode of a belief, whatever else the belief holds.

A belief after updates is a narrow mode on a wide and thin ground of what might be as well. Moments
of everything would tell mostly of that ground. These are of what lies within an ellipse, which is
that of the moments themselves: a Gaussian mode keeps its covariance to 0.7 %, and the ground
outside does not count.
"""

from dataclasses import dataclass

import numpy as np

from justzoom_ros.filtering.lattices import Lattices

GATE = 13.8155
"""Squared Mahalanobis radius of the ellipse, which holds 99.9 % of a Gaussian."""

ROUNDS = 8
"""The ellipse is found anew so often; a Gaussian needs 3."""


@dataclass(frozen=True)
class CoreMoments:
    """Moments of one mode."""

    mean_m: np.ndarray
    """(2,) metres east and north of the region's centre."""

    covariance_m2: np.ndarray
    """(2, 2) east and north."""

    yaw_rad: float
    """Mean heading, counter-clockwise from east."""

    length: float
    """Length (0..1) of the mean heading vector."""

    cross_m_rad: np.ndarray
    """(2,) covariance of east and north with the heading."""

    mass: float
    """What lies within the ellipse."""


def core_moments(lattices: Lattices, start_m: np.ndarray, reach_m: float) -> CoreMoments:
    """Moments of the mode at a position (2,), which stands out within about `reach_m` of it."""
    points = _points(lattices)
    mean, covariance = np.asarray(start_m, float), np.eye(2) * reach_m**2 / GATE
    weights = None
    for _ in range(ROUNDS):
        before, weights = weights, _gated(*points[:3], mean, covariance)
        if before is not None and np.array_equal(before, weights):
            break  # every further round would find the same
        mean, covariance = _moments(weights, *points[1:3], lattices.side_m)
    assert weights is not None
    total = max(weights.sum(), 1e-300)
    vector = complex((weights * np.exp(1j * points[3])).sum() / total)
    # Headings are uniform within their steps.
    length = abs(vector) * float(np.sinc(lattices.yaw_step_rad / (2 * np.pi)))
    yaw = float(np.angle(vector))
    turn = (points[3] - yaw + np.pi) % (2 * np.pi) - np.pi
    offset = np.stack([points[1] - mean[0], points[2] - mean[1]])
    cross = offset @ (weights * turn) / total
    return CoreMoments(mean, covariance, yaw, length, cross, float(weights.sum()))


def _points(lattices: Lattices) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Masses, east, north (metres) and yaws, (N,) each, of the states that hold nearly all."""
    masses = lattices.masses.numpy()
    k, row, column = np.nonzero(masses > 1e-6 * masses.max())
    south, east = (lattices.offsets[k] + np.stack([row, column], 1) + 0.5).T * lattices.side_m
    found = masses[k, row, column].astype(float)
    return found, lattices.west_m + east, lattices.north_m - south, lattices.yaws_rad[k]


def _gated(
    masses: np.ndarray,
    east: np.ndarray,
    north: np.ndarray,
    mean: np.ndarray,
    covariance: np.ndarray,
) -> np.ndarray:
    """Masses (N,) within the ellipse of a mean and a covariance, zero beyond it."""
    (a, b), (_, c) = np.linalg.inv(covariance)
    x, y = east - mean[0], north - mean[1]
    return np.where(a * x**2 + 2 * b * x * y + c * y**2 <= GATE, masses, 0.0)


def _moments(
    weights: np.ndarray, east: np.ndarray, north: np.ndarray, side_m: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (2,) and covariance (2, 2) of squares that are uniform inside."""
    total = max(weights.sum(), 1e-300)
    mean = np.array([weights @ east, weights @ north]) / total
    offset = np.stack([east - mean[0], north - mean[1]])
    return mean, (offset * weights) @ offset.T / total + np.eye(2) * side_m**2 / 12
