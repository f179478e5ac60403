"""Figures of a way, by hand; odometry made from true positions."""

import json

import numpy as np
import pytest

from justzoom_ros.errors import ConfigError
from justzoom_ros.evaluation import sequence_metrics
from justzoom_ros.io.dead_reckoning import DriftConfig, dead_reckon

WAY = np.array([0.0, 10.0, 20.0, 40.0, 50.0])


def test_convergence_is_the_distance_after_which_the_error_stays_small():
    assert sequence_metrics.convergence_m(WAY, [90, 20, 60, 30, 10], 50) == 40
    assert sequence_metrics.convergence_m(WAY, [9, 20, 6, 30, 10], 50) == 0
    assert np.isnan(sequence_metrics.convergence_m(WAY, [9, 20, 6, 30, 51], 50))
    assert np.isnan(sequence_metrics.convergence_m(WAY, [9, 20, 6, 30, np.nan], 50))


def test_the_cost_is_the_area_above_the_mass():
    # 0 to 10 m: mean 0.75 missing; 10 to 20 m: 0.25; then nothing.
    assert sequence_metrics.convergence_cost_m(WAY, [0, 0.5, 1, 1, 1]) == pytest.approx(7.5 + 2.5)


def test_the_figures_of_a_way():
    truths = np.stack([WAY, np.zeros(5)], 1)
    off = np.array([80.0, 60.0, 20.0, 5.0, 30.0])
    estimates = truths + np.stack([np.zeros(5), off], 1)
    sure = [False, True, True, True, True]
    covariances = np.eye(2)[None] * 100.0
    figures = sequence_metrics.summarize(
        truths, estimates, np.repeat(covariances, 5, 0), sure, [0, 0, 1, 1, 1]
    )
    assert figures['convergence_50m_m'] == 20 and figures['convergence_25m_m'] is None
    assert figures['availability'] == 0.8
    assert figures['after_median_m'] == 20 and figures['after_recall_25m'] == pytest.approx(2 / 3)
    # chi2 of 60, 20, 5, 30 m with 10 m: 36, 4, 0.25, 9; beyond 9.21 is sure and wrong.
    assert figures['false_sure'] == 1 and not figures['ends_sure_and_wrong']
    assert figures['anees'] == pytest.approx((36 + 4 + 0.25 + 9) / 4 / 2)
    assert figures['coverage_90'] == 0.5
    json.dumps(figures, allow_nan=False)


def test_several_ways_are_summed_up():
    one = {'convergence_50m_m': 100.0, 'ends_sure_and_wrong': False}
    two = {'convergence_50m_m': None, 'ends_sure_and_wrong': True}
    rest = {'length_m': 900.0, 'false_sure': 1, 'frames': 10, 'availability': 0.5, 'anees': None}
    rest |= dict.fromkeys(('convergence_25m_m', 'convergence_cost_m'))
    rest |= dict.fromkeys(('after_median_m', 'after_p90_m', 'after_recall_25m'))
    rest |= dict.fromkeys(('coverage_50', 'coverage_90', 'coverage_95'))
    figures = sequence_metrics.summarize_sequences([one | rest, two | rest])
    assert figures['converged_50m'] == figures['converged_50m_in_500m'] == 0.5
    assert figures['ends_sure_and_wrong'] == 1 and figures['false_sure'] == 2
    assert figures['convergence_50m_m'] == 100 and figures['anees'] is None
    assert 'converged_50m' in sequence_metrics.describe(figures)


def test_made_odometry_is_the_way_but_for_its_errors():
    angle = np.linspace(0, 3, 400)
    places = 200 * np.stack([np.cos(angle), np.sin(angle)], 1)
    stamps_ns = np.arange(400) * 10**9
    exact = dead_reckon(stamps_ns, places, DriftConfig(0.0, 0.0))
    here = np.array([(pose.x_m, pose.y_m) for pose in exact])
    np.testing.assert_allclose(
        np.hypot(*(here[-1] - here[0])), np.hypot(*(places[-1] - places[0])), rtol=1e-9
    )
    assert exact[0].yaw_rad == 0 and exact[-1].yaw_rad == pytest.approx(3.0, abs=0.01)
    drifting = dead_reckon(stamps_ns, places, DriftConfig(0.05, 0.001))
    assert drifting[-1].yaw_rad - exact[-1].yaw_rad == pytest.approx(0.001 * 399, rel=1e-6)
    lengths = np.hypot(*np.diff([(p.x_m, p.y_m) for p in drifting], axis=0).T)
    true = np.hypot(*np.diff(places, axis=0).T)
    assert (lengths / true).std() == pytest.approx(0.05, rel=0.15)


def test_impossible_errors_are_refused():
    with pytest.raises(ConfigError, match='odometry noise'):
        DriftConfig(length_share=-0.1)
    with pytest.raises(ConfigError, match='yaw drift'):
        DriftConfig(yaw_rad_s=float('nan'))
