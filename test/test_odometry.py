"""Odometry between any two moments, and its faults."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from justzoom_ros.errors import ConfigError
from justzoom_ros.filtering import Odometry, OdometryConfig
from justzoom_ros.filtering.odometry import FROZEN, JUMPED, JUMPED_BACK, LATE, NOT_FINITE
from justzoom_ros.io.motion_message import yaw_from_quaternion
from justzoom_ros.pose import Pose

S = 10**9


def circle(seconds, radius_m=10.0, rate_rad_s=0.1):
    """The pose of a robot on a circle, starting at the origin and looking along x."""
    angle = rate_rad_s * seconds
    x, y = radius_m * np.sin(angle), radius_m * (1 - np.cos(angle))
    return Pose(round(seconds * S), x, y, (angle + np.pi) % (2 * np.pi) - np.pi, moving=True)


def driven(until_s=20.0, rate_hz=50, **config):
    odometry = Odometry(OdometryConfig(**config))
    for number in range(round(until_s * rate_hz) + 1):
        assert odometry.add(circle(number / rate_hz)) == ''
    return odometry


@pytest.mark.parametrize('scale', [0.01, 1.0, 1e150, 1e307])
def test_the_yaw_of_a_quaternion_does_not_depend_on_its_length(scale):
    half = 0.7 / 2
    q = SimpleNamespace(x=0.0, y=0.0, z=scale * np.sin(half), w=scale * np.cos(half))
    assert yaw_from_quaternion(q) == pytest.approx(0.7)


@pytest.mark.parametrize('value', [0.0, np.inf, np.nan])
def test_a_quaternion_that_is_no_rotation_has_no_yaw(value):
    assert np.isnan(yaw_from_quaternion(SimpleNamespace(x=0.0, y=0.0, z=value, w=value)))


@pytest.mark.parametrize(('start_s', 'end_s'), [(0, 5), (3.007, 3.5), (10, 19.99)])
def test_a_movement_is_seen_from_where_it_began(start_s, end_s):
    motion = driven().motion(round(start_s * S), round(end_s * S))
    turned = 0.1 * (end_s - start_s)
    assert motion.forward_m == pytest.approx(10 * np.sin(turned), abs=1e-3)
    assert motion.left_m == pytest.approx(10 * (1 - np.cos(turned)), abs=1e-3)
    assert motion.turn_rad == pytest.approx(turned, abs=1e-6)
    assert motion.distance_m == pytest.approx(10 * turned, rel=1e-3)
    assert motion.duration_s == pytest.approx(end_s - start_s)
    assert motion.unknown_s == 0


def test_many_turns_are_no_jump():
    odometry = Odometry()
    for number in range(400):
        odometry.add(circle(number / 2, rate_rad_s=0.5))
    # The first sample is long forgotten: only the last minute is kept.
    assert odometry.motion(150 * S, 190 * S).turn_rad == pytest.approx(20.0)


def test_a_frame_shortly_after_the_last_sample_goes_on_with_its_speed():
    motion = driven(until_s=5.0).motion(5 * S, round(5.3 * S))
    assert motion.distance_m == pytest.approx(0.3, abs=1e-3) and motion.unknown_s == 0


def test_silence_is_unknown_motion():
    motion = driven(until_s=5.0, max_gap_s=0.5).motion(5 * S, 9 * S)
    assert motion.unknown_s == pytest.approx(3.5)
    assert Odometry().motion(0, 2 * S).unknown_s == 2
    assert driven(until_s=2.0).motion(-S, S).unknown_s == pytest.approx(1.0)


def test_a_jump_is_unknown_motion_and_the_path_goes_on_behind_it():
    odometry = driven(until_s=1.0)
    jumped = [
        Pose(s.stamp_ns, s.x_m + 500, s.y_m - 90, s.yaw_rad, moving=True)
        for s in map(circle, (1.1, 1.2, 1.3))
    ]
    assert [odometry.add(pose) for pose in jumped] == [JUMPED, '', '']
    motion = odometry.motion(round(0.9 * S), round(1.3 * S))
    assert motion.unknown_s == pytest.approx(0.1)
    assert motion.distance_m == pytest.approx(0.3, abs=1e-3)
    assert motion.forward_m == pytest.approx(0.3, abs=0.02)


def test_duplicates_late_samples_and_nonsense_are_left_out():
    odometry = driven(until_s=1.0)
    expected = odometry.motion(0, S)
    assert odometry.add(circle(1.0)) == LATE
    assert odometry.add(circle(0.5)) == LATE
    assert odometry.add(Pose(2 * S, float('nan'), 0, 0)) == NOT_FINITE
    assert odometry.motion(0, S) == expected


def test_time_that_jumps_back_begins_anew():
    odometry = driven(until_s=10.0)
    assert odometry.steady_s == math.inf
    told = [odometry.add(circle(number / 50)) for number in range(51)]
    assert told == [JUMPED_BACK] + [''] * 50
    assert odometry.steady_s == pytest.approx(1.0)
    assert odometry.motion(0, S) == driven(until_s=1.0).motion(0, S)


def test_a_frozen_pose_is_unknown_motion_but_a_robot_that_stands_stands():
    frozen, standing = driven(until_s=1.0), driven(until_s=1.0)
    end, problems = circle(1.0), []
    for number in range(1, 201):
        stamp_ns = S + number * S // 50
        problems.append(frozen.add(Pose(stamp_ns, end.x_m, end.y_m, end.yaw_rad, moving=True)))
        assert standing.add(Pose(stamp_ns, end.x_m, end.y_m, end.yaw_rad)) == ''
    assert problems[0] == '' and problems[-1] == FROZEN
    assert frozen.motion(S, 5 * S).unknown_s == pytest.approx(3.0, abs=0.05)
    assert standing.motion(S, 5 * S).unknown_s == 0


def test_the_variance_of_the_twist_adds_up():
    odometry = Odometry()
    for number in range(11):
        odometry.add(Pose(number * S // 10, 0.1 * number, 0, 0, 0.04, 0.01))
    motion = odometry.motion(0, S)
    assert motion.position_variance_m2 == pytest.approx(10 * 0.04 * 0.01)
    assert motion.yaw_variance_rad2 == pytest.approx(10 * 0.01 * 0.01)


def test_a_configuration_out_of_range_is_named():
    with pytest.raises(ConfigError, match='max_gap_s'):
        OdometryConfig(max_gap_s=0)


def pulsing(seconds):
    """How far a robot has gone that stops and goes twice a second."""
    return seconds + np.sin(4 * np.pi * seconds) / (4 * np.pi)


def test_what_was_guessed_before_the_samples_came_is_made_up_for():
    """The images are always 0.2 s ahead of the odometry; at the end of the path that is all."""
    odometry, place = Odometry(), 0.0
    frames = [round(second * S) for second in np.arange(0, 20, 0.5)]
    heard = 0
    for before, now in zip(frames, frames[1:], strict=False):
        while heard / 50 < now / S - 0.2:
            seconds = heard / 50
            # It stops and goes in time with the images: each guess is wrong by the same.
            odometry.add(Pose(round(seconds * S), pulsing(seconds), 0.0, 0.0))
            heard += 1
        place += odometry.motion(before, now).forward_m
    truth = pulsing(frames[-1] / S)
    assert place == pytest.approx(truth, abs=0.5)
