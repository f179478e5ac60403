"""What a localizer is worth on the move, as numbers over the frames of one sequence.

All functions take arrays over N frames in the order of time: `travelled_m` (N,) ascending, the
distance since the first frame, and what they say of each frame. Distances in metres, shares 0..1;
NaN where there is nothing to count.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from justzoom_ros.evaluation import metrics
from justzoom_ros.evaluation.metrics import Values
from justzoom_ros.radii import CONVERGENCE_RADII_M, SOON_M

SURE = 0.99
"""A fix whose truth lies outside the region of this mass was sure and wrong."""

MEDIANS = (
    *('convergence_50m_m', 'convergence_25m_m', 'convergence_cost_m'),
    *('after_median_m', 'after_p90_m'),
)
MEANS = (
    *('availability', 'after_recall_25m', 'anees'),
    *('coverage_50', 'coverage_90', 'coverage_95'),
)


def travelled_m(positions_m: Values) -> np.ndarray:
    """Distance (N,) along positions (N, 2) since the first."""
    steps = np.hypot(*np.diff(np.asarray(positions_m, float), axis=0).T)
    return np.concatenate([[0.0], np.cumsum(steps)])


def convergence_m(travelled_m: np.ndarray, errors_m: Values, radius_m: float) -> float:
    """Distance after which the errors stay within a radius to the end; NaN where they do not."""
    beyond = np.flatnonzero(~(np.asarray(errors_m) <= radius_m))
    if not np.size(errors_m) or (len(beyond) and beyond[-1] == len(errors_m) - 1):
        return float('nan')
    return float(travelled_m[beyond[-1] + 1]) if len(beyond) else 0.0


def convergence_cost_m(travelled_m: np.ndarray, mass_near: Values) -> float:
    """Integral of 1 - `mass_near` (N,), the mass near the truth, over the distance."""
    missing = 1 - np.asarray(mass_near, float)
    return float(np.trapezoid(missing, travelled_m)) if len(missing) else float('nan')


def summarize(
    truths_m: Values,
    estimates_m: Values,
    covariances_m2: Values,
    sure: Values,
    mass_near: Values | None = None,
) -> dict[str, Any]:
    """The figures of one sequence as a dictionary.

    `truths_m`, `estimates_m` (N, 2), `covariances_m2` (N, 2, 2), `sure` (N,) bool: there was a
    fix; `mass_near` (N,) may be left out. `after`: the frames since the error stays within 50 m;
    `fixes`: those that are sure.
    """
    truths, estimates = np.asarray(truths_m, float), np.asarray(estimates_m, float)
    covariances, sure = np.asarray(covariances_m2, float), np.asarray(sure, bool)
    travelled, errors = travelled_m(truths), metrics.errors_m(truths, estimates)
    converged = {
        radius: convergence_m(travelled, errors, radius) for radius in CONVERGENCE_RADII_M
    }
    after = travelled >= converged[CONVERGENCE_RADII_M[0]]  # none for NaN
    wrong = sure & ~metrics.in_ellipses(truths, estimates, covariances, SURE)
    figures = {
        'frames': len(truths),
        'length_m': float(travelled[-1]),
        **{f'convergence_{radius}m_m': value for radius, value in converged.items()},
        'convergence_cost_m': (
            float('nan') if mass_near is None else convergence_cost_m(travelled, mass_near)
        ),
        'availability': metrics.share(sure),
        'after_median_m': metrics.quantile(errors[after], 0.5),
        'after_p90_m': metrics.quantile(errors[after], 0.9),
        'after_recall_25m': metrics.share(errors[after] <= 25),
        'false_sure': int(wrong.sum()),
        'ends_sure_and_wrong': bool(wrong[-1]),
        'anees': metrics.anees(truths[sure], estimates[sure], covariances[sure]),
        **{
            f'coverage_{100 * mass:.0f}': metrics.share(
                metrics.in_ellipses(truths[sure], estimates[sure], covariances[sure], mass)
            )
            for mass in metrics.MASSES
        },
    }
    return metrics.without_nan(figures)


def summarize_sequences(sequences: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of several sequences, from those of each (see `summarize`), as a dictionary.

    Distances of convergence are medians over the sequences that converge; shares are over all or,
    where a sequence has none, over those that have.
    """
    reached = [s['convergence_50m_m'] for s in sequences]
    figures = {
        'sequences': len(sequences),
        'length_m': metrics.quantile([s['length_m'] for s in sequences], 0.5),
        'converged_50m': metrics.share([r is not None for r in reached]),
        f'converged_50m_in_{SOON_M:g}m': metrics.share(
            [r is not None and r <= SOON_M for r in reached]
        ),
        'ends_sure_and_wrong': sum(s['ends_sure_and_wrong'] for s in sequences),
        'false_sure': sum(s['false_sure'] for s in sequences),
        'frames': sum(s['frames'] for s in sequences),
    }
    for name in MEDIANS:
        known = [s[name] for s in sequences if s[name] is not None]
        figures[name] = metrics.quantile(known, 0.5)
    for name in MEANS:
        known = [s[name] for s in sequences if s[name] is not None]
        figures[name] = float(np.mean(known)) if known else float('nan')
    return metrics.without_nan(figures)


def describe(figures: dict[str, Any]) -> str:
    """Figures of one sequence or of several as lines of text."""
    return '\n'.join(
        f'{name:26s}' + ('-' if value is None else f'{value:.3g}')
        for name, value in figures.items()
    )
