"""What a localizer is worth, as numbers over a set of images.

All functions take arrays over N images and return floats: shares in 0..1, distances in metres.
NaN comes out where there is nothing to count, never an invented number.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from justzoom_ros.radii import RECALL_RADII_M

Values = np.ndarray | Sequence[Any]
"""What numpy makes an array of numbers or flags of."""

MASSES = (0.5, 0.9, 0.95)

LEAST_MASS = 1e-12
"""Mass that a true cell is granted in the NLL, which one impossible cell would make infinite."""


def errors_m(truths_m: Values, estimates_m: Values) -> np.ndarray:
    """Distances (N,) in metres between positions (N, 2) in metres east and north."""
    difference = np.asarray(estimates_m, float) - np.asarray(truths_m, float)
    return np.linalg.norm(difference.reshape(-1, 2), axis=1)


def share(flags: Values) -> float:
    """Share of the images for which a flag (N,) is set: hits, coverage of a region, fixes."""
    flags = np.asarray(flags, bool)
    return float(flags.mean()) if flags.size else float('nan')


def recalls(distances_m: Values, radii_m: tuple[int, ...] = RECALL_RADII_M) -> dict[int, float]:
    """{radius: share of the images with an error of at most that radius}, metres."""
    distances_m = np.asarray(distances_m, float)
    return {radius: share(distances_m <= radius) for radius in radii_m}


def quantile(distances_m: Values, q: float) -> float:
    """The q-quantile (0..1) of errors, linear between order statistics; q 0.5 is the median."""
    distances_m = np.asarray(distances_m, float)
    return float(np.quantile(distances_m, q)) if distances_m.size else float('nan')


def angle_rad(one_rad: float, other_rad: float) -> float:
    """Angle (0..pi) between two directions."""
    return float(abs((one_rad - other_rad + np.pi) % (2 * np.pi) - np.pi))


def nll_nats(true_masses: Values) -> float:
    """Mean negative log of the masses (N,) that the posteriors give the true terminal cells."""
    masses = np.asarray(true_masses, float)
    if not masses.size:
        return float('nan')
    return float(-np.log(np.clip(masses, LEAST_MASS, 1.0)).mean())


def anees(truths_m: Values, estimates_m: Values, covariances_m2: Values) -> float:
    """Average normalised squared error over its 2 degrees of freedom; ideal 1, above it the
    covariances (N, 2, 2) are too small (Bar-Shalom, Li, Kirubarajan 2001, section 5.4)."""
    squared = _squared_distances(truths_m, estimates_m, covariances_m2)
    return float(squared.mean() / 2) if squared.size else float('nan')


def in_ellipses(
    truths_m: Values, estimates_m: Values, covariances_m2: Values, mass: float = 0.9
) -> np.ndarray:
    """Flags (N,): the truth lies in the ellipse round the estimate that holds `mass` of a normal
    distribution with the covariance (N, 2, 2)."""
    squared = _squared_distances(truths_m, estimates_m, covariances_m2)
    return squared <= -2.0 * np.log(1.0 - mass)  # chi squared of 2 degrees of freedom


def _squared_distances(
    truths_m: Values, estimates_m: Values, covariances_m2: Values
) -> np.ndarray:
    """Squared Mahalanobis distances (N,)."""
    difference = (np.asarray(estimates_m, float) - np.asarray(truths_m, float)).reshape(-1, 2, 1)
    scaled = np.linalg.solve(np.asarray(covariances_m2, float).reshape(-1, 2, 2), difference)
    return (difference * scaled).sum(axis=(1, 2))


def ece(confidences: Values, correct: Values, bins: int = 10) -> float:
    """Expected calibration error: how far, on average over the images, the confidence (0..1)
    is from the share of correct ones in its bin; `bins` of equal width (Guo et al. 2017)."""
    confidences, correct = np.asarray(confidences, float), np.asarray(correct, bool)
    if not confidences.size:
        return float('nan')
    index = np.minimum((confidences * bins).astype(int), bins - 1)
    # The gap of a bin times its share of the images is |sum(confidence - correct)| / N.
    gaps = np.bincount(index, confidences - correct, minlength=bins)
    return float(np.abs(gaps).sum() / confidences.size)


def summary(truths_m: Values, estimates_m: Values, cell_hits: Values) -> dict[str, Any]:
    """The figures that any estimate has: images, recall_cell (strict R@1: exactly the terminal
    cell, flags (N,)), recall_5m ... recall_100m, median_m and p90_m, as a dictionary."""
    distances_m = errors_m(truths_m, estimates_m)
    return {
        'images': len(distances_m),
        'recall_cell': share(cell_hits),
        **{f'recall_{radius}m': value for radius, value in recalls(distances_m).items()},
        'median_m': quantile(distances_m, 0.5),
        'p90_m': quantile(distances_m, 0.9),
    }


def fix_summary(
    truths_m: Values, fixes_m: Values, covariances_m2: Values, cell_hits: Values
) -> dict[str, Any]:
    """`summary` of positions that come with covariances, plus coverage_90_ellipse and anees."""
    inside = in_ellipses(truths_m, fixes_m, covariances_m2)
    return {
        **summary(truths_m, fixes_m, cell_hits),
        'coverage_90_ellipse': share(inside),
        'anees': anees(truths_m, fixes_m, covariances_m2),
    }


def without_nan(figures: dict[str, Any]) -> dict[str, Any]:
    """The same dictionary for JSON, which has no NaN: what could not be counted is None."""
    return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in figures.items()}


def reliability(
    confidences: Values, correct: Values, bins: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, share that is right, and number of the images of each bin (equal width)
    that has any: three arrays (Guo et al., arXiv 1706.04599)."""
    confidences, correct = np.asarray(confidences, float), np.asarray(correct, float)
    index = np.minimum((confidences * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    some = count > 0
    mean = np.bincount(index, confidences, bins)[some] / count[some]
    right = np.bincount(index, correct, bins)[some] / count[some]
    return mean, right, count[some]
