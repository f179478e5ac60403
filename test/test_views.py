"""The downward camera against rays cast one by one, and the views drawn with it."""

from dataclasses import replace
from math import pi, radians, tan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import make_map

from justzoom_ros.errors import ConfigError
from justzoom_ros.maps.nadir_camera import NadirPose, image_to_ground, look_down
from justzoom_ros.training.appearance import Appearance, develop
from justzoom_ros.training.nadir_views import NadirViewConfig, NadirViews, reduce_map

FOV = 1.2
CLEAN = Appearance(0, 0, 0, 0, 0, 0, 0, 95, 0)


def cast_ray(pose, size_px, pixel):
    """Where the ray through a pixel (column, row) meets the ground, by vectors alone."""
    width, height = size_px
    focal = width / 2 / tan(FOV / 2)
    above = pose.footprint_m / 2 / tan(FOV / 2)
    right = np.array([np.sin(pose.yaw_rad), -np.cos(pose.yaw_rad), 0])
    ahead = np.array([np.cos(pose.yaw_rad), np.sin(pose.yaw_rad), 0])
    down = np.array([0, 0, -1.0])
    x, y = (pixel[0] - (width - 1) / 2) / focal, (pixel[1] - (height - 1) / 2) / focal
    # Roll turns the camera about its own ahead axis, then pitch about the right axis.
    cr, sr = np.cos(pose.roll_rad), np.sin(pose.roll_rad)
    x, z = x * cr + sr, cr - x * sr
    cp, sp = np.cos(pose.pitch_rad), np.sin(pose.pitch_rad)
    y, z = y * cp - z * sp, y * sp + z * cp
    ray = x * right - y * ahead + z * down
    at = np.array([pose.east_m, pose.north_m, above]) + ray * (above / -ray[2])
    return at[:2]


def ground(pose, size_px, pixel):
    point = image_to_ground(pose, size_px, FOV) @ [*pixel, 1]
    return point[:2] / point[2]


@settings(deadline=None)
@given(
    yaw=st.floats(-pi, pi),
    pitch=st.floats(-0.4, 0.4),
    roll=st.floats(-0.4, 0.4),
    column=st.floats(0, 127),
    row=st.floats(0, 95),
)
def test_pixels_meet_the_ground_where_their_rays_do(yaw, pitch, roll, column, row):
    pose = NadirPose(30.0, -20.0, yaw, 100.0, pitch, roll)
    expected = cast_ray(pose, (128, 96), (column, row))
    np.testing.assert_allclose(ground(pose, (128, 96), (column, row)), expected, atol=1e-6)


def test_a_level_camera_sees_its_footprint_and_heads_to_the_top_of_the_image():
    pose = NadirPose(0.0, 0.0, radians(90), 100.0)  # heading north
    np.testing.assert_allclose(ground(pose, (101, 81), (50, 40)), [0, 0], atol=1e-9)
    left, right = ground(pose, (101, 81), (-0.5, 40)), ground(pose, (101, 81), (100.5, 40))
    np.testing.assert_allclose([left, right], [[-50, 0], [50, 0]], atol=1e-9)
    assert ground(pose, (101, 81), (50, 0))[1] > 0
    east = NadirPose(0.0, 0.0, 0.0, 100.0)  # heading east
    assert ground(east, (101, 81), (50, 0))[0] > 0


def test_pitch_looks_ahead_and_roll_looks_right():
    north = radians(90)
    assert ground(NadirPose(0, 0, north, 100.0, pitch_rad=0.1), (101, 81), (50, 40))[1] > 1
    assert ground(NadirPose(0, 0, north, 100.0, roll_rad=0.1), (101, 81), (50, 40))[0] > 1


def test_a_landmark_is_seen_at_its_place():
    side_m, n = 200.0, 400
    pixels = np.zeros((n, n), np.uint8)
    row, column = 130, 290  # centre at north 100 - 65.25, east 145.25 - 100
    pixels[row - 1 : row + 2, column - 1 : column + 2] = 255
    pose = NadirPose(40.0, 30.0, 0.7, 80.0, 0.05, -0.08)
    size = (320, 240)
    view = look_down(pixels, side_m, pose, size, FOV).astype(float)
    seen = np.array([(view.sum(0) @ np.arange(320)), (view.sum(1) @ np.arange(240))]) / view.sum()
    np.testing.assert_allclose(ground(pose, size, seen), [45.25, 34.75], atol=0.1)


def test_views_are_drawn_where_they_say(tmp_path):
    satellite_map = make_map(tmp_path)
    config = NadirViewConfig((60, 80), FOV, 0.0, (0.0, 0.0), 0.9)
    views = NadirViews(satellite_map, (64, 48), config, CLEAN)
    pixels, _ = reduce_map(satellite_map, 60 / 64)
    for seed in range(5):
        view, pose = views.draw(np.random.default_rng(seed))
        again = look_down(pixels, satellite_map.region.side_m, pose, (64, 48), FOV)
        assert 60 <= pose.footprint_m <= 80
        assert abs(pose.east_m) <= 128 and abs(pose.north_m) <= 128
        assert np.abs(view.astype(int) - again).mean() < 8  # JPEG alone is between them


def test_stated_positions_scatter_about_the_true_one_within_the_region(tmp_path):
    config = NadirViewConfig(position_noise_m=10.0)
    views = NadirViews(make_map(tmp_path), (64, 48), config)
    rng = np.random.default_rng(0)
    pose = NadirPose(20.0, -30.0, 0.0, 80.0)
    stated = np.array([views.stated_position(pose, rng) for _ in range(4000)])
    np.testing.assert_allclose(stated.mean(axis=0), [20.0, -30.0], atol=0.6)
    np.testing.assert_allclose(stated.std(axis=0), 10.0, atol=0.5)
    border = NadirPose(128.0, -128.0, 0.0, 80.0)
    assert np.abs([views.stated_position(border, rng) for _ in range(100)]).max() <= 128.0


def test_the_same_seed_draws_the_same_view(tmp_path):
    views = NadirViews(make_map(tmp_path), (64, 48))
    first, pose = views.draw(np.random.default_rng(5))
    second, same = views.draw(np.random.default_rng(5))
    assert pose == same and np.array_equal(first, second)
    assert not np.array_equal(first, views.draw(np.random.default_rng(6))[0])


@pytest.mark.parametrize('field', ['gain', 'colour', 'contrast', 'shade', 'vignette', 'noise'])
def test_every_kind_of_appearance_changes_the_picture(field):
    view = np.random.default_rng(0).integers(60, 190, (48, 64, 3), np.uint8)
    clean = develop(view, CLEAN, np.random.default_rng(1))
    changed = develop(view, replace(CLEAN, **{field: 0.5}), np.random.default_rng(1))
    assert changed.shape == view.shape and changed.dtype == np.uint8
    assert np.abs(changed.astype(int) - clean).mean() > 1


def test_impossible_cameras_are_named():
    with pytest.raises(ConfigError, match='footprint'):
        NadirViewConfig(footprint_m=(90, 80))
    with pytest.raises(ConfigError, match='field of view'):
        NadirViewConfig(fov_rad=4.0)
    with pytest.raises(ConfigError, match='tilt'):
        NadirViewConfig(tilt_rad=-0.1)
