"""From likelihood ratios of poses to masses, headings and a fix, against sums done by hand."""

import numpy as np
import pytest
import torch

from justzoom_ros import Region
from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.fix import FixCriteria, FixStatus
from justzoom_ros.inference.pose_posterior import ELSEWHERE_REASON, pose_posterior
from justzoom_ros.registration.likelihood import PoseLikelihood

REGION = Region(41.0, -83.0, 120.0, grid=4, depth=2)
CELLS, CELL_M, HEADINGS = 60, 2.0, 12
YAWS = np.arange(HEADINGS) * 2 * np.pi / HEADINGS
ONES = np.ones((CELLS, CELLS))


def likelihood(log_ratio, top=0, left=0):
    north_m, west_m = 60.0 - top * CELL_M, left * CELL_M - 60.0
    ratio = torch.as_tensor(log_ratio, dtype=torch.float32)
    return PoseLikelihood(ratio, YAWS, CELL_M, west_m, north_m)


def random_ratio(seed=0, shape=(HEADINGS, CELLS, CELLS), scale=3.0):
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def peak(east_m, north_m, heading, height=25.0, std_m=3.0):
    """Log ratios that are high round one pose, and those of nowhere else."""
    axis = (np.arange(CELLS) + 0.5) * CELL_M - 60.0
    squared = (axis - east_m) ** 2 + (-axis[:, None] - north_m) ** 2
    turn = (YAWS - YAWS[heading] + np.pi) % (2 * np.pi) - np.pi
    off = squared / std_m**2 / 2 + (turn**2 / 0.1**2 / 2)[:, None, None]
    return np.maximum(height - off, -5.0)


def test_masses_and_the_probability_elsewhere_are_those_of_brute_force():
    ratio, prior = random_ratio(), np.random.default_rng(1).random((CELLS, CELLS))
    found = pose_posterior([likelihood(ratio)], REGION, prior, HEADINGS, prior_elsewhere=0.3)
    weights = np.exp(ratio.astype(float)) * prior / prior.sum() / HEADINGS
    here = 0.7 * weights.sum()
    assert found.elsewhere == pytest.approx(0.3 / (0.3 + here), rel=1e-5)
    masses = weights.sum(0) / weights.sum()
    expected = masses.ravel()[found.cells.indices]
    assert expected.sum() == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(found.cells.masses, expected, rtol=1e-4)
    mean = (weights * np.exp(1j * YAWS)[:, None, None]).sum(0) / weights.sum(0)
    np.testing.assert_allclose(found.headings, mean.ravel()[found.cells.indices], atol=1e-5)


def test_cells_without_imagery_and_poses_that_were_not_searched_have_no_mass():
    ratio, prior = random_ratio(), ONES.copy()
    prior[:30] = 0
    ratio[:, :, 40:] = -np.inf
    found = pose_posterior([likelihood(ratio)], REGION, prior, HEADINGS)
    rows, columns = np.divmod(found.cells.indices, CELLS)
    assert rows.min() >= 30 and columns.max() < 40


def test_windows_are_put_together_and_overlaps_count_once():
    ratio = random_ratio(scale=1.0)
    whole = ratio.copy()
    whole[:, 20:], whole[:, :, 50:] = -np.inf, -np.inf
    parts = [
        likelihood(ratio[:, :20, :30]),
        likelihood(ratio[:, :20, 10:50], top=0, left=10),
    ]
    found = pose_posterior(parts, REGION, ONES, HEADINGS)
    expected = pose_posterior([likelihood(whole)], REGION, ONES, HEADINGS)
    np.testing.assert_array_equal(found.cells.indices, expected.cells.indices)
    np.testing.assert_allclose(found.cells.masses, expected.cells.masses, rtol=1e-5)
    assert found.elsewhere == pytest.approx(expected.elsewhere, rel=1e-5)


@pytest.mark.parametrize('heading', [0, 4, 11])
def test_a_clear_peak_is_a_fix_in_metres_with_its_heading(heading):
    found = pose_posterior([likelihood(peak(13.0, -21.0, heading))], REGION, ONES, HEADINGS)
    fix = found.fix()
    assert fix.status is FixStatus.FIX and fix.confidence > 0.9
    assert np.hypot(fix.east_m - 13.0, fix.north_m + 21.0) < 0.3
    turn = (fix.yaw_rad - YAWS[heading] + np.pi) % (2 * np.pi) - np.pi
    assert abs(turn) < 0.01 and fix.yaw_std_rad < 0.1
    # Nearly the peak's own deviation of 3 m: chi2 of 90 % in two dimensions is 4.61.
    assert fix.radius_90_m == pytest.approx(3.0 * np.sqrt(4.605), rel=0.1)
    assert (fix.latitude, fix.longitude) == pytest.approx(REGION.to_latlon(13.0, -21.0), abs=1e-5)


def test_two_peaks_are_two_hypotheses_and_no_fix():
    both = np.logaddexp(peak(-40.0, 30.0, 2), peak(35.0, -30.0, 2, height=24.7))
    fix = pose_posterior([likelihood(both)], REGION, ONES, HEADINGS).fix()
    assert fix.status is FixStatus.NO_FIX and 'ambiguous' in fix.reason
    assert len(fix.hypotheses) == 2


def test_a_prior_decides_between_two_peaks():
    both = np.logaddexp(peak(-40.0, 30.0, 2), peak(35.0, -30.0, 2))
    prior = ONES.copy()
    prior[:, 30:] = 1e-3
    fix = pose_posterior([likelihood(both)], REGION, prior, HEADINGS).fix()
    assert fix.status is FixStatus.FIX and fix.east_m == pytest.approx(-40.0, abs=0.5)


def test_a_picture_that_fits_nowhere_is_no_fix_and_says_so():
    ratio = peak(13.0, -21.0, 4, height=1.0)
    fix = pose_posterior([likelihood(ratio)], REGION, ONES, HEADINGS).fix()
    assert fix.status is FixStatus.NO_FIX and fix.reason == ELSEWHERE_REASON
    assert fix.off_map > 0.9 and np.isfinite(fix.latitude)
    assert fix.covariance_m2[0, 0] > 1.0


def test_a_prior_that_leaves_nothing_is_refused():
    ratio = np.full((HEADINGS, CELLS, CELLS), -np.inf)
    ratio[:, :5] = 0.0
    prior = ONES.copy()
    prior[:10] = 0
    with pytest.raises(ConfigError, match='leaves no pose'):
        pose_posterior([likelihood(ratio)], REGION, prior, HEADINGS)


def test_criteria_are_those_that_are_given():
    found = pose_posterior([likelihood(peak(0.0, 0.0, 0, std_m=6.0))], REGION, ONES, HEADINGS)
    assert found.fix(FixCriteria(max_radius_m=5.0)).reason.startswith('too wide')
