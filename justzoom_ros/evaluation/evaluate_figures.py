"""The figures of an evaluation's `Result`s: what is printed, compared and written as JSON."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from justzoom_ros.evaluation import metrics
from justzoom_ros.evaluation.evaluate import Result
from justzoom_ros.inference.fix import Fix, FixStatus
from justzoom_ros.radii import NEAR_M


def summarize(results: Sequence[Result]) -> dict[str, Any]:
    """The figures of one search's Results as a dictionary for JSON.

    recall_cell, recall_5m ... and median_m, p90_m are those of the guess; those of the position
    of the fix are under `fix_position`, over all images, and under `fix_only`, over the sure ones.
    `no_fix` counts the reasons why there was none.
    """
    truths = np.array([r.truth_m for r in results]).reshape(-1, 2)
    guesses = np.array([r.guess_m for r in results]).reshape(-1, 2)
    near = metrics.errors_m(truths, guesses) <= NEAR_M
    headings = [r.heading_error_rad for r in results if r.heading_error_rad is not None]
    figures = {
        **metrics.summary(truths, guesses, [r.cell_hit for r in results]),
        'heading_median_deg': float(np.degrees(metrics.quantile(headings, 0.5))),
        'nll_nats': metrics.nll_nats([r.truth_mass for r in results]),
        **{
            f'coverage_{100 * mass:.0f}': metrics.share([r.held[mass] for r in results])
            for mass in metrics.MASSES
        },
        'ece_50m': metrics.ece([r.mass_near for r in results], near),
        'share_fix': metrics.share([r.fix.status == 'fix' for r in results]),
        'no_fix': count_reasons(r.fix for r in results),
        'point': _point_figures(truths, results),
        'fix_position': _fix_figures(results),
        'fix_only': _fix_figures([r for r in results if r.fix.status == 'fix']),
    }
    return metrics.without_nan(figures)


def count_reasons(fixes: Iterable[Fix]) -> dict[str, int]:
    """{why there was no fix, without figures: how often}, most frequent first."""
    reasons = (fix.reason.partition(':')[0] for fix in fixes if fix.status == FixStatus.NO_FIX)
    return dict(Counter(reasons).most_common())


def _point_figures(truths: np.ndarray, results: Sequence[Result]) -> dict[str, float]:
    errors_m = metrics.errors_m(truths, np.array([r.point_m for r in results]).reshape(-1, 2))
    near = metrics.recalls(errors_m)
    return {f'recall_{radius}m': value for radius, value in near.items()}


def _fix_figures(results: Sequence[Result]) -> dict[str, Any]:
    truths = np.array([r.truth_m for r in results]).reshape(-1, 2)
    fixes = np.array([r.fix_m for r in results]).reshape(-1, 2)
    covariances = [r.fix.covariance_m2 for r in results]
    hits = [r.fix_cell_hit for r in results]
    return metrics.without_nan(metrics.fix_summary(truths, fixes, covariances, hits))


def reliability_curve(
    results: Sequence[Result],
) -> tuple[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(label, curve) of the results of one search: how sure of the 50 m round the guess against
    how often the truth is there, as `metrics.reliability` gives it, with ECE and NLL in words."""
    sure = [r.mass_near for r in results]
    right = [r.guess_error_m <= NEAR_M for r in results]
    nll = metrics.nll_nats([r.truth_mass for r in results])
    label = f'ECE {metrics.ece(sure, right):.3f}, NLL {nll:.2f} nats'
    return label, metrics.reliability(sure, right)
