"""The classical baseline places a picture where it was taken, or says nothing."""

from pathlib import Path

import numpy as np
import pytest

from justzoom_ros import SatelliteMap
from justzoom_ros.errors import ConfigError
from justzoom_ros.evaluation.sift import SiftBaseline, SiftConfig
from justzoom_ros.maps.nadir_camera import NadirPose, look_down

DEMO = Path(__file__).resolve().parents[1] / 'maps' / 'demo'
FOV_RAD = 1.2


@pytest.fixture(scope='module')
def baseline():
    return SiftBaseline(SatelliteMap.open(DEMO), SiftConfig(metres_per_px=0.5))


@pytest.mark.slow
@pytest.mark.parametrize('yaw_rad', [0.0, 1.0, -2.5])
@pytest.mark.parametrize('width_m', [None, 120.0])
def test_a_view_of_the_map_is_placed_to_a_metre(baseline, yaw_rad, width_m):
    pose = NadirPose(35.0, -80.0, yaw_rad, footprint_m=120.0)
    side_m = baseline.map.region.side_m
    view = look_down(baseline.map.pixels, side_m, pose, (480, 360), FOV_RAD)
    found = baseline.match(view, width_m)
    assert np.hypot(found.east_m - 35.0, found.north_m + 80.0) < 1.0
    assert abs((found.yaw_rad - yaw_rad + np.pi) % (2 * np.pi) - np.pi) < 0.02
    assert found.metres_per_px == pytest.approx(120.0 / 480, rel=0.03)
    assert found.inliers >= 8


@pytest.mark.slow
def test_a_blank_and_a_noisy_picture_are_placed_nowhere(baseline):
    assert baseline.match(np.full((120, 160, 3), 90, np.uint8)) is None
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    assert baseline.match(noise) is None


@pytest.mark.parametrize(
    'wrong', [{'metres_per_px': 0.0}, {'ratio': 1.0}, {'min_inliers': 3}, {'threshold_px': 0.0}]
)
def test_a_configuration_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError):
        SiftConfig(**wrong)
