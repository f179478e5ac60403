"""Cameras, heights to search, and attitudes against rotations worked out by hand."""

from math import atan, cos, degrees, exp, log, pi, radians, sin, sqrt, tan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from justzoom_ros.errors import ConfigError, ImageError
from justzoom_ros.registration.attitude import (
    DOWNWARD_MOUNT,
    FORWARD_MOUNT,
    Attitude,
    rotation_from_quaternion,
)
from justzoom_ros.registration.camera import MAX_SCALES, UNKNOWN_HEIGHT_M, Camera

K = [800.0, 0.0, 319.5, 0.0, 810.0, 239.5, 0.0, 0.0, 1.0]

# --- lenses ------------------------------------------------------------------------------------


def test_a_field_of_view_spans_the_image_from_edge_to_edge():
    lens = Camera.from_fov(radians(90)).intrinsics_for(200, 100)
    assert (lens.fx, lens.fy) == pytest.approx((100, 100))
    assert (lens.cx, lens.cy) == (99.5, 49.5)


def test_intrinsics_follow_the_size_of_the_image():
    camera = Camera.from_intrinsics(np.reshape(K, (3, 3)), (640, 480))
    assert camera == Camera.from_intrinsics(K, (640, 480))
    half = camera.intrinsics_for(320, 240)
    assert (half.fx, half.fy) == (400, 405)
    # The edge of the image stays the edge: the middle of 640 columns is that of 320.
    assert (half.cx, half.cy) == (159.5, 119.5)
    with pytest.raises(ImageError, match='640 x 480'):
        camera.intrinsics_for(640, 360)


def test_footprints_are_heights_through_the_lens():
    assert Camera.from_fov(2 * atan(0.8)).footprint_at(100) == pytest.approx(160)
    assert Camera.from_intrinsics(K, (640, 480)).footprint_at(100) == pytest.approx(80)
    assert Camera.from_footprint(70, 115).footprint_at(90) == pytest.approx(90)


# --- heights -----------------------------------------------------------------------------------


def probabilities(camera, **more):
    scales = camera.scales(**more)
    return [s.height_m for s in scales], np.exp([s.log_prior for s in scales])


def test_a_known_height_is_one_scale():
    heights, prior = probabilities(Camera.from_fov(1.2).with_height(120))
    assert heights == pytest.approx([120]) and prior == pytest.approx([1])


def test_a_deviation_is_searched_to_two_sigma_with_normal_weights():
    heights, prior = probabilities(Camera.from_fov(1.2).with_height(100, 8))
    assert heights[len(heights) // 2] == pytest.approx(100)
    steps = np.diff(np.log(heights))
    assert (steps <= log(1.05) + 1e-9).all() and (steps > 0.03).all()
    assert heights[0] < 100 * exp(-0.16) * 1.05 and heights[-1] > 100 * exp(0.16) / 1.05
    assert prior.sum() == pytest.approx(1)
    middle = len(heights) // 2
    by_hand = exp(-((log(heights[0] / 100) / 0.08) ** 2) / 2)
    assert prior[0] / prior[middle] == pytest.approx(by_hand)


def test_a_footprint_range_is_searched_evenly_in_the_logarithm():
    heights, prior = probabilities(Camera.from_fov(2 * atan(0.5)).with_footprint(80, 160))
    assert len(heights) == 15  # log 2 / log 1.05 = 14.2
    np.testing.assert_allclose(np.diff(np.log(heights)), log(2) / 15)
    assert sqrt(heights[0] * heights[-1]) == pytest.approx(sqrt(80 * 160))
    np.testing.assert_allclose(prior, 1 / 15)


def test_an_unknown_height_costs_the_stated_number_of_scales():
    heights, _ = probabilities(Camera.from_fov(1.0).with_unknown_height())
    low, high = UNKNOWN_HEIGHT_M
    assert low < heights[0] and heights[-1] < high
    assert len(heights) == 66


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda: Camera.from_fov(1.2).scales(), 'neither a height nor a range'),
        (lambda: Camera.from_fov(4.0), 'field of view'),
        (lambda: Camera.from_fov(1.0, height_m=-3.0), 'positive'),
        (lambda: Camera.from_fov(1.0).with_height(100, -1), 'deviation'),
        (lambda: Camera.from_footprint(100, 50), 'ordered'),
        (lambda: Camera(height_m=100.0, footprint_m=(1.0, 2.0)), 'only one'),
        (lambda: Camera.from_fov(1.0).with_height_range(0.01, 1e5).scales(), str(MAX_SCALES)),
        (lambda: Camera.from_intrinsics(K[:4], (640, 480)), '9 numbers'),
        (lambda: Camera.from_intrinsics([0.0] * 9, (640, 480)), 'no calibration'),
        (lambda: Camera.from_intrinsics(K, (0, 0)), 'size'),
    ],
)
def test_what_a_camera_lacks_is_said(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


# --- attitudes ---------------------------------------------------------------------------------


def about(axis, angle):
    """Quaternion x, y, z, w of a turn about an axis of the body."""
    return [*(sin(angle / 2) * np.array(axis)), cos(angle / 2)]


def test_a_level_body_that_faces_east_has_a_level_camera_with_yaw_zero():
    attitude, yaw = Attitude.from_imu([0, 0, 0, 1])
    assert (attitude.pitch_rad, attitude.roll_rad, yaw) == pytest.approx((0, 0, 0))


def test_yaw_is_counter_clockwise_from_east():
    attitude, yaw = Attitude.from_imu(about([0, 0, 1], radians(110)))
    assert degrees(yaw) == pytest.approx(110)
    assert (attitude.pitch_rad, attitude.roll_rad) == pytest.approx((0, 0))


def test_a_body_that_dips_its_nose_looks_behind_through_its_belly():
    # About the left axis, positive: the nose goes down and the belly turns to the tail.
    attitude, yaw = Attitude.from_imu(about([0, 1, 0], radians(12)))
    assert degrees(attitude.pitch_rad) == pytest.approx(-12)
    assert (attitude.roll_rad, yaw) == pytest.approx((0, 0), abs=1e-9)


def test_a_body_that_leans_to_the_right_looks_left_through_its_belly():
    # About the forward axis, positive: the left side goes up.
    attitude, _ = Attitude.from_imu(about([1, 0, 0], radians(9)))
    assert degrees(attitude.roll_rad) == pytest.approx(-9)
    assert attitude.pitch_rad == pytest.approx(0)


def test_a_forward_camera_that_looks_thirty_degrees_down_is_pitched_by_sixty():
    attitude, yaw = Attitude.from_imu(about([0, 1, 0], radians(30)), FORWARD_MOUNT)
    assert degrees(attitude.pitch_rad) == pytest.approx(60)
    assert (attitude.roll_rad, yaw) == pytest.approx((0, 0), abs=1e-9)
    assert degrees(attitude.off_nadir_rad) == pytest.approx(60)


def test_mounts_are_rotations_between_right_handed_frames():
    for mount in (DOWNWARD_MOUNT, FORWARD_MOUNT):
        np.testing.assert_allclose(mount @ mount.T, np.eye(3))
        assert np.linalg.det(mount) == pytest.approx(1)
    # The top of the image (minus y) is forward, its right is the body's right (minus y).
    np.testing.assert_array_equal(DOWNWARD_MOUNT @ [0, -1, 0], [1, 0, 0])
    np.testing.assert_array_equal(DOWNWARD_MOUNT @ [1, 0, 0], [0, -1, 0])


@pytest.mark.slow
@given(pitch=st.floats(-1.5, 1.5), roll=st.floats(-1.5, 1.5), yaw=st.floats(-3.1, 3.1))
def test_an_attitude_comes_back_from_the_rotation_that_it_makes(pitch, roll, yaw):
    # Level heading frame in ENU: right, behind, down.
    level = np.array([[sin(yaw), -cos(yaw), 0], [-cos(yaw), -sin(yaw), 0], [0, 0, -1]]).T
    rotation = level @ Attitude(pitch, roll).level_from_camera()
    found, found_yaw = Attitude.from_camera_rotation(rotation)
    assert (found.pitch_rad, found.roll_rad, found_yaw) == pytest.approx((pitch, roll, yaw))


def test_quaternions_turn_vectors_as_by_hand():
    quarter = rotation_from_quaternion([0, 0, 1, 1])  # any length; 90 degrees about up
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    third = rotation_from_quaternion([1, 1, 1, 1])  # x to y to z
    np.testing.assert_allclose(third, [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-12)


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda: Attitude(pitch_rad=radians(91)), 'above the horizon'),
        (lambda: Attitude(roll_rad=float('nan')), 'finite'),
        (lambda: Attitude.from_imu([0, 0, 0, 1], FORWARD_MOUNT), 'above the horizon'),
        (lambda: Attitude.from_imu(about([1, 0, 0], pi)), 'above the horizon'),
        (lambda: Attitude.from_imu([0, 0, 0, 0]), 'no orientation'),
        (lambda: Attitude.from_imu([0, 0, 0, 1], np.diag([1.0, 1.0, -1.0])), 'no rotation'),
        (lambda: Attitude.from_imu([0, 0, 0, 1], np.zeros((2, 2))), '3 x 3'),
    ],
)
def test_attitudes_that_cannot_be_used_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_horizontal_view_width_is_twice_the_tangent():
    assert Camera.from_fov(1.2).footprint_at(1) == pytest.approx(2 * tan(0.6))
