"""The noise of odometry, learned from how far frames move the belief; and ratios between cells."""

import numpy as np
import pytest
import torch

from justzoom_ros.filtering import Motion, MotionNoise
from justzoom_ros.filtering.core_moments import CoreMoments
from justzoom_ros.filtering.noise_adaptation import AdaptationConfig, NoiseAdaptation
from justzoom_ros.filtering.pose_ratios import CellRatios, refine

ASSUMED = MotionNoise(position_m=0.5)
STEP = Motion(forward_m=8.0, distance_m=8.0, duration_s=1.0)


def moments(mean, variance):
    return CoreMoments(mean, variance * np.eye(2), 0.0, 1.0, np.zeros(2), 1.0)


def learned(true_position_m, frames=400, seen_m=1.0, seed=0):
    """Factors along a way whose odometry errs by so much, with a Kalman filter as the belief."""
    rng, adaptation = np.random.default_rng(seed), NoiseAdaptation()
    truth, mean, variance, factors = np.zeros(2), np.zeros(2), 1.0, []
    for _ in range(frames):
        truth = truth + rng.normal(0, true_position_m * np.sqrt(8.0), 2)
        variance += adaptation.apply(ASSUMED).position_variance_m2(STEP)
        gain = variance / (variance + seen_m**2)
        after = mean + gain * (truth + rng.normal(0, seen_m, 2) - mean)
        adaptation.learn(moments(mean, variance), moments(after, (1 - gain) * variance))
        mean, variance = after, (1 - gain) * variance
        factors.append(adaptation.factor)
    return factors


@pytest.mark.parametrize('true_position_m', [0.2, 0.5, 0.8])
def test_the_noise_comes_to_be_what_it_is(true_position_m):
    factors = np.concatenate([learned(true_position_m, seed=seed)[200:] for seed in range(5)])
    found = 0.5 * np.sqrt(np.exp(np.log(factors).mean()))
    assert found == pytest.approx(true_position_m, rel=0.25)


def test_the_noise_stays_within_its_bounds_and_where_nobody_learns():
    assert min(learned(0.0)) >= AdaptationConfig().least
    assert max(learned(5.0)) <= AdaptationConfig().most
    still = NoiseAdaptation(AdaptationConfig(rate=0.0))
    still.learn(moments(np.zeros(2), 4.0), moments(np.ones(2), 1.0))
    assert still.factor == 1.0
    nothing = NoiseAdaptation()
    nothing.learn(moments(np.zeros(2), 1.0), moments(np.ones(2), 1.0))  # the frame said nothing
    assert nothing.factor == 1.0


def test_what_does_not_fit_at_all_is_noticed_and_what_fits_is_not():
    def surprised(true_position_m, seed):
        rng, adaptation = np.random.default_rng(seed), NoiseAdaptation()
        variance, seen = 1.0, 0
        for _ in range(200):
            prior = variance + adaptation.apply(ASSUMED).position_variance_m2(STEP)
            gain = prior / (prior + 1.0)
            spread = prior + 1.0 + (true_position_m * 8) ** 2
            moved = gain * rng.normal(0, np.sqrt(spread), 2)
            adaptation.learn(moments(np.zeros(2), prior), moments(moved, (1 - gain) * prior))
            variance = (1 - gain) * prior
            seen += adaptation.is_surprised
        return seen

    assert [surprised(0.0, seed) for seed in range(10)] == [0] * 10
    assert min(surprised(3.0, seed) for seed in range(10)) > 100


def test_only_what_is_measured_is_adapted():
    adaptation = NoiseAdaptation()
    adaptation.factor = 0.25
    found = adaptation.apply(ASSUMED)
    assert found.position_m == 0.25 and found.yaw_rad == ASSUMED.yaw_rad / 2
    assert found.unknown_m_s == ASSUMED.unknown_m_s
    assert found.kidnap_rate_per_s == ASSUMED.kidnap_rate_per_s


# --- ratios between the cells of a search --------------------------------------------------------


def test_between_cells_the_logarithm_of_a_peak_is_found_where_it_is():
    """A parabola whose top is between two cells' centres, against the formula."""
    cell_m, top = 1.7, (0.62, -0.41)
    centres = (np.arange(41) + 0.5) * cell_m - 41 * cell_m / 2
    east, north = np.meshgrid(centres, -centres)
    log = -((east - top[0]) ** 2 + (north - top[1]) ** 2) / (2 * 1.5**2)
    coarse = CellRatios(
        torch.from_numpy(log[None]).float(), cell_m, -41 * cell_m / 2, 41 * cell_m / 2
    )
    finer = refine(coarse, 0.5)
    assert finer.cell_m == pytest.approx(1.7 / 4)
    row, column = np.unravel_index(int(finer.log_ratio[0].argmax()), finer.log_ratio[0].shape)
    found = (
        finer.west_m + (column + 0.5) * finer.cell_m,
        finer.north_m - (row + 0.5) * finer.cell_m,
    )
    assert found == pytest.approx(top, abs=0.22)  # within half a finer cell
    fine = (np.arange(164) + 0.5) * finer.cell_m - 41 * cell_m / 2
    east, north = np.meshgrid(fine, -fine)
    expected = -((east - top[0]) ** 2 + (north - top[1]) ** 2) / (2 * 1.5**2)
    middle = slice(50, 114)
    np.testing.assert_allclose(
        finer.log_ratio[0].numpy()[middle, middle], expected[middle, middle], atol=1e-3
    )


def test_what_is_fine_enough_or_was_not_looked_at_stays():
    log = torch.zeros(1, 8, 8)
    ratios = CellRatios(log, 1.0, -4.0, 4.0)
    assert refine(ratios, 1.0) is ratios
    log[0, 0, 0] = -torch.inf
    assert refine(ratios, 0.5) is ratios
