"""Cameras that look down from a height that is told wrongly: few heights are searched once a
robot was found, and the right one is found again when it changes."""

import numpy as np
import pytest
from town_piece import FOV_RAD, HEIGHT_M, make_town_map, take_view

from justzoom_ros import Localizer, Pose
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.camera_state import CameraState
from justzoom_ros.tracker import Tracker

TOLD = Camera.from_fov(FOV_RAD).with_height(HEIGHT_M, std_m=0.1 * HEIGHT_M)
"""Nine heights, up to a fifth from what is told."""


@pytest.fixture(scope='module')
def satellite_map(tmp_path_factory):
    return make_town_map(tmp_path_factory.mktemp('town'))


def fly(satellite_map, factors):
    """Of frames 15 m apart on a way to the east, each from a true height of so many times what is
    told: the numbers of heights that were searched, the errors in metres, and the ratio that was
    learned by the end."""
    tracker = Tracker(Localizer.open(map=satellite_map.path, camera=TOLD))
    narrow, searched, errors = tracker.height_ratio.narrow, [], []

    def counting(camera):
        searched.append(len(narrow(camera).scales()))
        return narrow(camera)

    tracker.height_ratio.narrow = counting
    for number, factor in enumerate(factors):
        east_m, north_m, stamp_ns = -60.0 + 15 * number, 10.0, number * 10**9
        tracker.add_odometry(Pose(stamp_ns, 15.0 * number, 0.0, 0.0))
        image = take_view(satellite_map, east_m, north_m, 0.0, 90.0 * factor)
        fix = tracker.locate(image, stamp_ns, state=CameraState(TOLD))
        errors.append(np.hypot(fix.east_m - east_m, fix.north_m - north_m))
    return searched, errors, np.exp(tracker.height_ratio.log_mean)


@pytest.mark.slow
def test_a_height_that_is_told_a_tenth_too_low_is_learned_on_the_way(satellite_map):
    searched, errors, ratio = fly(satellite_map, [1.1] * 6)
    assert searched[0] == 9 and max(searched[2:]) <= 5
    assert max(errors[2:]) < 3
    assert ratio == pytest.approx(1.1, rel=0.03)


@pytest.mark.slow
def test_a_height_that_jumps_is_looked_for_among_all_again(satellite_map):
    searched, errors, ratio = fly(satellite_map, [1.15] * 4 + [0.9] * 4)
    assert searched[4] < searched[5] < 9
    assert errors[-1] < 3
    assert ratio == pytest.approx(0.9, rel=0.05)
