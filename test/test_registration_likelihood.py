"""Likelihoods against sums written out in double precision, peaks against Gaussians."""

from math import exp, log, pi, radians

import numpy as np
import pytest
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.region import Region
from justzoom_ros.registration.area_sums import area_sums
from justzoom_ros.registration.likelihood import (
    PoseLikelihood,
    PositionLikelihood,
    combine_scales,
    probability_elsewhere,
)
from justzoom_ros.registration.map_features import MapFeatures, Window


def likelihood(values, cell_m=2.0, west_m=-10.0, north_m=8.0, **more):
    values = np.asarray(values, np.float32)
    yaws = np.arange(len(values)) * 2 * pi / len(values)
    return PoseLikelihood(torch.from_numpy(values), yaws, cell_m, west_m, north_m, **more)


@pytest.fixture
def some():
    """Ratios of 4 headings over 5 x 7 cells; some poses were not looked at."""
    values = np.random.default_rng(0).normal(0, 3, (4, 5, 7)).astype(np.float32)
    values[:, 0, :3] = -np.inf
    values[1, 2, 2] = -np.inf
    return likelihood(values)


def ratios(one):
    return np.exp(one.log_ratio.double().numpy())


# --- evidence and posterior --------------------------------------------------------------------


def test_evidence_is_the_log_of_the_mean_ratio_over_poses_that_were_looked_at(some):
    looked_at = np.isfinite(some.log_ratio.numpy())
    assert some.evidence() == pytest.approx(log(ratios(some)[looked_at].mean()))
    nothing = likelihood(np.zeros((4, 3, 3)))
    assert nothing.evidence() == pytest.approx(0, abs=1e-6)


def test_the_posterior_is_bayes_rule_over_poses_and_elsewhere(some):
    masses, elsewhere = some.posterior_mass(prior_elsewhere=0.3)
    looked_at = np.isfinite(some.log_ratio.numpy())
    joint = 0.7 * ratios(some) / looked_at.sum()
    total = joint.sum() + 0.3
    np.testing.assert_allclose(masses, joint / total, rtol=1e-5, atol=1e-9)
    assert elsewhere == pytest.approx(0.3 / total)
    assert probability_elsewhere(some.evidence(), 0.3) == pytest.approx(elsewhere)


def test_a_prior_weighs_poses_whatever_its_sum(some):
    prior = np.random.default_rng(1).random((5, 7)) * 40
    prior[4] = 0
    masses, _ = some.posterior_mass(prior)
    expected = ratios(some) * prior
    np.testing.assert_allclose(masses, expected / expected.sum(), rtol=1e-5)
    with pytest.raises(ConfigError, match='does not fit'):
        some.posterior_mass(prior[:3])
    with pytest.raises(ConfigError, match='leaves no pose'):
        some.posterior_mass(np.zeros((5, 7)))
    with pytest.raises(ConfigError, match='not negative'):
        some.posterior_mass(prior - 1)


def test_a_prior_counts_into_being_elsewhere(some):
    prior = np.zeros((5, 7))
    prior[3, 4] = 1
    _, elsewhere = some.posterior_mass(prior, prior_elsewhere=0.5)
    assert elsewhere == pytest.approx(1 / (1 + ratios(some)[:, 3, 4].mean()))


def test_tempering_raises_ratios_to_a_power(some):
    half = some.tempered(0.5)
    np.testing.assert_allclose(ratios(half), np.sqrt(ratios(some)), rtol=1e-5)
    with pytest.raises(ConfigError, match='likelihood_exponent'):
        some.tempered(0)


def test_headings_are_judged_over_all_places(some):
    sums = ratios(some).sum((1, 2))
    np.testing.assert_allclose(some.heading_marginal(), sums / sums.sum(), rtol=1e-6)


def test_huge_ratios_neither_overflow_nor_vanish():
    values = np.full((4, 6, 6), -3000.0, np.float32)
    values[2, 3, 3] = 3000
    one = likelihood(values)
    assert one.evidence() == pytest.approx(3000 - log(4 * 36), rel=1e-6)
    masses, elsewhere = one.posterior_mass(prior_elsewhere=0.5)
    assert float(masses[2, 3, 3]) == pytest.approx(1) and elsewhere < 1e-300
    low = likelihood(values - 6000)
    assert low.posterior_mass(prior_elsewhere=0.5)[1] == pytest.approx(1)
    region = Region(0.0, 0.0, 12.0, 2, 1)
    cells = likelihood(values, 2.0, -6.0, 6.0).cell_log_ratio(region)
    assert np.isfinite(cells).all()
    assert cells[1, 1] == pytest.approx(3000 - log(4 * 9), rel=1e-6)


@pytest.mark.parametrize(
    'value, message', [(np.nan, 'NaN'), (np.inf, r'\+inf'), (-np.inf, 'none')]
)
def test_ratios_that_are_no_numbers_are_refused(value, message):
    values = np.zeros((4, 3, 3), np.float32)
    values[:, 1] = value
    if value == -np.inf:
        values[:] = value
    with pytest.raises(ConfigError, match=message):
        likelihood(values)
    with pytest.raises(ConfigError, match='do not fit'):
        PoseLikelihood(torch.zeros(2, 3, 3), np.zeros(4), 2.0, 0.0, 0.0)


# --- scales ------------------------------------------------------------------------------------


def test_scales_are_averaged_with_their_priors_and_the_best_is_told():
    rng = np.random.default_rng(2)
    values = rng.normal(0, 2, (3, 4, 5, 6))
    values[:, 0, 0, 0] = -np.inf
    values[1, 1] = -np.inf  # at one height these poses see too little imagery
    priors = np.log([0.2, 0.5, 0.3])
    made = []

    def each():
        for one in values:
            made.append(1)
            yield likelihood(one)

    one = combine_scales(each(), priors)
    weighed = np.exp(values) * np.exp(priors)[:, None, None, None]
    weights = (np.isfinite(values) * np.exp(priors)[:, None, None, None]).sum(0)
    expected = weighed.sum(0) / np.maximum(weights, 1e-9)
    np.testing.assert_allclose(ratios(one), expected, rtol=1e-5)
    looked_at = np.isfinite(values).any(0)
    np.testing.assert_array_equal(one.scale.numpy()[looked_at], weighed.argmax(0)[looked_at])


def test_heights_at_which_a_view_fits_nowhere_are_left_out():
    values = np.random.default_rng(5).normal(0, 2, (2, 3, 3))
    one = combine_scales([None, likelihood(values), None], np.log([0.5, 0.2, 0.3]))
    np.testing.assert_allclose(one.log_ratio, values, rtol=1e-6)
    assert (one.scale == 1).all()
    with pytest.raises(ConfigError, match='fits nowhere'):
        combine_scales([None, None], np.log([0.5, 0.5]))


# --- cells of a region -------------------------------------------------------------------------


def test_sums_by_shared_area_are_those_of_a_fine_grid():
    rng = np.random.default_rng(3)
    values = rng.random((5, 4))
    rows = np.array([1.0, 3, 5, 7, 9, 11]), np.array([0.0, 4, 8, 12])
    columns = np.array([-2.0, 1, 4, 7, 10]), np.array([0.0, 4, 8])
    expected = np.zeros((3, 2))
    for r, c in np.ndindex(240, 240):  # twentieths of a metre
        y, x = (r + 0.5) / 20, (c + 0.5) / 20
        i, j = int((y - 1) // 2), int((x + 2) // 3)
        if y >= 1 and 0 <= i < 5 and 0 <= j < 4 and x < 8:
            expected[int(y // 4), int(x // 4)] += values[i, j] / 400
    np.testing.assert_allclose(area_sums(values, rows, columns), expected, rtol=1e-9)


@pytest.mark.parametrize('cell_m', [0.75, 2.0, 5.0, 30.0])
def test_cells_of_a_region_have_the_mean_ratio_over_their_area(cell_m):
    """Cells finer, coarser and not in step with those of the region."""
    region = Region(0.0, 0.0, 60.0, 4, 1)
    rng = np.random.default_rng(4)
    n = round(60 / cell_m)
    values = rng.normal(0, 1.5, (3, n, n))
    one = likelihood(values, cell_m, -30.0, 30.0)
    found = one.cell_log_ratio(region)
    steps = 60 * 20  # twentieths of a metre
    at = ((np.arange(steps) + 0.5) / 20 // cell_m).astype(int)
    fine = np.exp(values).mean(0)[np.ix_(at, at)]
    expected = fine.reshape(4, steps // 4, 4, steps // 4).mean((1, 3))
    np.testing.assert_allclose(found, np.log(expected), atol=1e-5)


def test_cells_where_nothing_was_looked_at_are_not_spoken_of():
    region = Region(0.0, 0.0, 40.0, 4, 1)
    values = np.full((2, 5, 10), 1.0)
    values[:, :, :5] = -np.inf
    values[:, 4, 5:] = -np.inf
    # Cells of 2 m from (0 m, 20 m) to (20 m, 10 m): the northern row of cells, east of the middle.
    window = likelihood(values, 2.0, 0.0, 20.0)
    found = window.cell_log_ratio(region)
    expected = np.zeros((4, 4))
    expected[0, 3] = 1.0
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_windows_are_placed_on_the_map():
    window = Window(10, 30, 20, 45)
    whole = MapFeatures(torch.zeros(1, 100, 80), cell_m=2.0)
    one = PoseLikelihood.of_window(torch.zeros(1, 10, 15), [0.0], window, whole)
    assert (one.west_m, one.north_m) == (-20.0, 80.0)


# --- peaks -------------------------------------------------------------------------------------


def gaussian(shape, cell_m, center_m, covariance_m2, yaw, yaw_std, yaws):
    """Log of a Gaussian over heading, and cells of a square round the origin."""
    n, m = shape
    east = (np.arange(m) + 0.5 - m / 2) * cell_m - center_m[0]
    north = (n / 2 - np.arange(n) - 0.5)[:, None] * cell_m - center_m[1]
    p = np.linalg.inv(covariance_m2)
    squared = p[0, 0] * east**2 + 2 * p[0, 1] * east * north + p[1, 1] * north**2
    turn = (yaws - yaw + pi) % (2 * pi) - pi
    return -(squared[None] + (turn**2 / yaw_std**2)[:, None, None]) / 2


@pytest.mark.parametrize('center_m', [(0.0, 0.0), (11.3, -7.6), (-16.9, 23.4)])
@pytest.mark.parametrize('shape', [(60, 60), (61, 75)])
def test_a_gaussian_is_found_to_a_tenth_of_a_cell_with_its_covariance(center_m, shape):
    covariance = np.array([[9.0, 3.0], [3.0, 6.0]])
    yaws = np.arange(36) * radians(10)
    yaw, yaw_std = radians(233.7), radians(6)
    values = 40 + gaussian(shape, 2.0, center_m, covariance, yaw, yaw_std, yaws)
    west, north = -shape[1] * 1.0, shape[0] * 1.0
    peaks = likelihood(values, 2.0, west, north).peaks(3, 20.0)
    first = peaks[0]
    np.testing.assert_allclose((first.east_m, first.north_m), center_m, atol=0.2)
    # The mass within a cell is counted as uniform, which adds a twelfth of it.
    np.testing.assert_allclose(first.covariance_m2, covariance + np.eye(2) / 3, rtol=0.03)
    assert first.yaw_rad == pytest.approx(radians(233.7 - 360), abs=radians(0.5))
    assert first.yaw_std_rad == pytest.approx(np.hypot(yaw_std, radians(10) / 48**0.5), rel=0.1)
    assert first.log_ratio == pytest.approx(40, abs=1)
    assert first.scale is None


def test_peaks_are_apart_highest_first_and_no_slopes():
    yaws = np.arange(8) * pi / 4
    args = np.eye(2) * 16.0, 0.0, 1.0, yaws
    heights = [12.0, 30.0, 21.0]
    centers = [(-40.0, 30.0), (10.0, 5.0), (35.0, -45.0)]
    values = np.logaddexp.reduce(
        [h + gaussian((80, 80), 2.0, c, *args) for h, c in zip(heights, centers, strict=True)]
    )
    peaks = likelihood(values, 2.0, -80.0, 80.0).peaks(10, 15.0)
    assert len(peaks) == 3
    for peak, which in zip(peaks, (1, 2, 0), strict=True):
        np.testing.assert_allclose((peak.east_m, peak.north_m), centers[which], atol=0.3)
        assert peak.log_ratio == pytest.approx(heights[which], abs=0.5)


def test_a_peak_at_the_border_and_one_beside_gaps_are_told_by_their_cells():
    values = np.full((4, 6, 6), -5.0)
    values[0, 0, 2] = 4.0
    values[2, 4, 4] = 3.0
    values[:, 5] = -np.inf
    first, second = likelihood(values, 2.0, 0.0, 0.0).peaks(2, 4.0)
    assert (first.east_m, first.north_m) == (5.0, -1.0)
    assert (second.east_m, second.north_m) == (9.0, -9.0)
    assert np.linalg.eigvalsh(first.covariance_m2)[0] > 0


def test_one_searched_heading_has_the_deviation_of_its_step():
    one = PoseLikelihood(torch.zeros(1, 3, 3), [0.4], 2.0, 0.0, 0.0, yaw_step_rad=radians(10))
    peak = one.peaks(1)[0]
    assert peak.yaw_rad == pytest.approx(0.4)
    assert peak.yaw_std_rad == pytest.approx(radians(10) / 12**0.5)
    with pytest.raises(ConfigError, match='count'):
        one.peaks(0)


def test_headings_of_a_part_of_the_circle_are_fitted_too():
    yaws = radians(350) + np.arange(5) * radians(10)
    values = gaussian((20, 20), 2.0, (1.0, 1.0), np.eye(2) * 9, radians(14), radians(7), yaws)
    one = PoseLikelihood(
        torch.from_numpy(values).float(), yaws, 2.0, -20.0, 20.0, yaw_step_rad=radians(10)
    )
    assert one.peaks(1)[0].yaw_rad == pytest.approx(radians(14), abs=radians(0.2))


def test_peaks_tell_their_scale():
    values = np.zeros((2, 5, 5))
    values[1, 2, 3] = 5
    scale = torch.zeros(2, 5, 5, dtype=torch.uint8)
    scale[1, 2, 3] = 7
    levers = ((0.0, 0.0),) * 8
    assert likelihood(values, scale=scale, levers_m=levers).peaks(1)[0].scale == 7


def test_a_camera_that_looks_ahead_moves_when_its_heading_is_corrected():
    """What is seen lies 40 m ahead and is known to a metre; headings are 10 degrees apart."""
    center, ahead, yaw, std = np.array([3.0, -5.0]), 40.0, radians(93.0), radians(4)
    yaws = np.arange(36) * radians(10)
    values = np.stack(
        [
            gaussian(
                (80, 80),
                2.0,
                center - ahead * np.array([np.cos(k), np.sin(k)]),
                np.eye(2),
                yaw,
                std,
                np.array([k]),
            )[0]
            for k in yaws
        ]
    )
    peak = likelihood(values, 2.0, -80.0, 80.0, levers_m=((0.0, ahead),)).peaks(1)[0]
    expected = center - ahead * np.array([np.cos(yaw), np.sin(yaw)])
    np.testing.assert_allclose((peak.east_m, peak.north_m), expected, atol=0.4)
    assert peak.yaw_rad == pytest.approx(yaw, abs=radians(0.5))
    # The heading, 4 degrees and a quarter of a step, moves it east and west.
    moved = (ahead * np.hypot(std, radians(10) / 48**0.5)) ** 2
    assert peak.covariance_m2[0, 0] == pytest.approx(1 + 4 / 12 + moved, rel=0.1)
    assert peak.covariance_m2[1, 1] == pytest.approx(1 + 4 / 12, rel=0.1)


def test_positions_have_the_mean_over_headings(some):
    with np.errstate(invalid='ignore'):
        looked_at = np.isfinite(some.log_ratio.numpy())
        expected = ratios(some).sum(0) / np.maximum(looked_at.sum(0), 1)
    position = some.position
    assert isinstance(position, PositionLikelihood)
    np.testing.assert_allclose(np.exp(position.log_ratio.numpy()), expected, rtol=1e-5)
    good = expected[looked_at.any(0)]
    assert position.evidence() == pytest.approx(log(good.mean()))
    assert exp(position.evidence()) > 0
