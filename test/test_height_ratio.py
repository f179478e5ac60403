"""The slow state of the height above ground against hand computation and drawn flights."""

from math import exp, log, sqrt

import numpy as np
import pytest

from justzoom_ros.errors import ConfigError
from justzoom_ros.filtering.height_ratio import HeightRatio, HeightRatioConfig
from justzoom_ros.registration.camera import Camera

CAMERA = Camera.from_fov(1.2).with_height(100.0, std_m=15.0)


def learn(ratio, height_m, camera=CAMERA):
    """A frame that fits best at a height, others having been searched on either side."""
    ratio.learn(camera, [height_m / 1.1, height_m, height_m * 1.1], 1)


def test_nothing_is_left_out_before_a_frame_was_found():
    assert HeightRatio().narrow(CAMERA) is CAMERA


def test_after_one_frame_three_heights_round_the_ratio_are_searched():
    ratio = HeightRatio()
    learn(ratio, 112.0)
    lower = Camera.from_fov(1.2).with_height(50.0, std_m=7.5)
    heights = [candidate.height_m for candidate in ratio.narrow(lower).scales()]
    assert len(CAMERA.scales()) == 13
    np.testing.assert_allclose(heights, [56 / 1.05, 56, 56 * 1.05], rtol=2e-3)


def test_two_frames_are_weighed_as_a_kalman_filter_does():
    ratio = HeightRatio(HeightRatioConfig(walk=0.02, frame_std=0.05))
    learn(ratio, 110.0)
    ratio.move(4.0)
    learn(ratio, 100.0)
    before = 0.05**2 + 0.02**2 * 4  # by hand
    assert ratio.log_mean == pytest.approx(log(1.1) * (1 - before / (before + 0.05**2)))
    assert ratio.variance == pytest.approx(1 / (1 / before + 1 / 0.05**2))


def test_the_search_widens_with_the_way_and_stays_within_what_the_camera_tells():
    ratio = HeightRatio()
    learn(ratio, 120.0)
    widths = []
    for _ in range(4):
        widths.append(len(ratio.narrow(CAMERA).scales()))
        ratio.move(100.0)
    assert widths == sorted(widths) and widths[0] == 3 and widths[-1] > 6
    low_m, high_m = ratio.narrow(CAMERA).height_bounds()
    assert high_m == pytest.approx(100 * exp(0.3)) and low_m > 100 * exp(-0.3)


def test_a_camera_that_knows_its_height_better_is_left_as_it_is():
    ratio = HeightRatio()
    learn(ratio, 112.0)
    exact = Camera.from_fov(1.2).with_height(100.0, std_m=1.0)
    assert ratio.narrow(exact) is exact
    assert ratio.narrow(exact.with_height(100.0)).height_m == 100.0


def test_a_range_of_footprints_is_narrowed_about_its_middle():
    camera = Camera.from_footprint(60, 120)
    ratio = HeightRatio()
    learn(ratio, camera.scales()[-1].height_m, camera)
    low_m, high_m = (camera.footprint_at(h) for h in ratio.narrow(camera).height_bounds())
    assert 100 < low_m < high_m <= 120 * (1 + 1e-9)


def test_a_frame_at_the_border_of_the_search_moves_it_and_widens_it():
    ratio = HeightRatio()
    learn(ratio, 112.0)
    searched = [candidate.height_m for candidate in ratio.narrow(CAMERA).scales()]
    ratio.learn(CAMERA, searched, 0)
    heights = [candidate.height_m for candidate in ratio.narrow(CAMERA).scales()]
    assert len(heights) == 5
    assert heights[2] == pytest.approx(searched[0], rel=0.01)


def test_what_was_forgotten_no_longer_counts():
    ratio = HeightRatio()
    learn(ratio, 112.0)
    ratio.forget()
    assert not ratio.is_known and ratio.narrow(CAMERA) is CAMERA


def test_the_deviation_is_that_of_the_error_in_drawn_flights():
    """Ratios that walk as is assumed, frames that err as is assumed: the mean square of the error
    over its variance is 1."""
    rng, config = np.random.default_rng(3), HeightRatioConfig()
    squares = []
    for _ in range(400):
        ratio, truth = HeightRatio(config), rng.normal(0, 0.1)
        for _ in range(6):
            truth += rng.normal(0, config.walk * sqrt(5.0))
            ratio.move(5.0)
            learn(ratio, 100 * exp(truth + rng.normal(0, config.frame_std)))
        squares.append((ratio.log_mean - truth) ** 2 / ratio.variance)
    assert np.mean(squares) == pytest.approx(1, abs=0.2)  # 0.07 is one deviation


def test_values_out_of_range_are_named():
    with pytest.raises(ConfigError, match='frame_std'):
        HeightRatioConfig(frame_std=0)
