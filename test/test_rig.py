"""Rigs: cameras that are mounted alike round a robot, which may lean, registered as one view."""

from math import cos, pi, radians, sin, tan

import numpy as np
import pytest
import torch
from registration_toy import ToyNetwork, ground, map_of
from town_piece import FOV_RAD, HEIGHT_M, make_town_map, take_view

from justzoom_ros import Localizer
from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.fix import FixStatus
from justzoom_ros.inference.multi_view import Mount
from justzoom_ros.maps.nadir_camera import NadirPose, look_down
from justzoom_ros.registration.attitude import DOWNWARD_MOUNT, FORWARD_MOUNT, Attitude
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.camera_state import CameraState
from justzoom_ros.registration.correlation import correlate
from justzoom_ros.registration.forward_lift import Tilt
from justzoom_ros.registration.rig import RigView, merge_templates
from justzoom_ros.registration.search import View
from justzoom_ros.registration.template import Templates

FOV, SIDE_M, FOOTPRINT_M = 1.1, 300.0, 90.0
NETWORK, PIXELS = ToyNetwork(), ground(300)
MAP = map_of(NETWORK, PIXELS, 1.0)
CAMERA = Camera.from_fov(FOV).with_height(FOOTPRINT_M / 2 / tan(FOV / 2))


def lean(axis, angle_rad):
    """Rotation (3, 3) about one axis of a robot: 0 forward, 1 left, 2 up."""
    c, s = cos(angle_rad), sin(angle_rad)
    turn = np.eye(3)
    rows = [number for number in range(3) if number != axis]
    turn[np.ix_(rows, rows)] = [[c, -s], [s, c]] if axis != 1 else [[c, s], [-s, c]]
    return turn


# --- how the cameras of a rig are tilted -------------------------------------------------------


def test_cameras_are_tilted_alike_where_nobody_measures_how_the_robot_leans():
    state = CameraState(attitude=Attitude(0.3, 0.1))
    assert state.turned(2.0) == (state, 2.0)


def test_the_first_camera_is_itself_so_that_one_alone_is_no_rig(tmp_path):
    mount = lean(2, 0.3) @ DOWNWARD_MOUNT @ Attitude(0.31, 0.07).level_from_camera()
    state = CameraState(attitude=Attitude(0.43, 0.05), body_from_camera=mount)
    assert state.turned(0.0) == (state, 0.0)
    satellite_map = make_town_map(tmp_path)
    camera = Camera.from_fov(FOV_RAD).with_height(HEIGHT_M)
    localizer = Localizer.open(satellite_map, camera=camera, progress=False)
    view = localizer.view([take_view(satellite_map, 20.0, 30.0, 0.4)], state, [Mount()])
    assert type(view) is View


@pytest.mark.parametrize(
    ('heading_deg', 'pitch_deg', 'roll_deg'),
    [(0, -5, 0), (180, 5, 0), (90, 0, 5), (-90, 0, -5)],
)
def test_when_the_nose_dips_the_camera_behind_looks_up_and_those_aside_roll(
    heading_deg, pitch_deg, roll_deg
):
    state = CameraState(tilt=Tilt(radians(-5)), body_from_camera=FORWARD_MOUNT)
    other, yaw_rad = state.turned(radians(heading_deg))
    found = np.degrees([other.tilt.pitch_rad, other.tilt.roll_rad, yaw_rad])
    assert found == pytest.approx([pitch_deg, roll_deg, heading_deg], abs=1e-6)


@pytest.mark.parametrize(('heading_deg', 'pitch_deg'), [(0, 35), (180, 45)])
def test_when_the_nose_dips_slanting_cameras_look_further_back(heading_deg, pitch_deg):
    mount = DOWNWARD_MOUNT @ Attitude(radians(40)).level_from_camera()
    state = CameraState(attitude=Attitude(radians(35), std_rad=0.02), body_from_camera=mount)
    other, yaw_rad = state.turned(radians(heading_deg))
    assert np.degrees(other.attitude.pitch_rad) == pytest.approx(pitch_deg)
    assert other.attitude.std_rad == 0.02
    assert abs(np.degrees(yaw_rad)) == pytest.approx(heading_deg)


@pytest.mark.parametrize('heading_rad', [0.7, 2.5, -1.9])
def test_any_lean_is_that_of_the_robot_itself(heading_rad):
    """Against the rotations multiplied out: world from robot, robot from camera."""
    world = lean(2, 0.4) @ lean(1, 0.2) @ lean(0, -0.15)
    mount = lean(2, 0.3) @ FORWARD_MOUNT @ Tilt(-0.1).level_from_camera
    first, first_yaw_rad = Tilt.from_camera_rotation(world @ mount)
    expected, yaw_rad = Tilt.from_camera_rotation(world @ lean(2, heading_rad) @ mount)
    other, turn_rad = CameraState(tilt=first, body_from_camera=mount).turned(heading_rad)
    assert other.tilt.pitch_rad == pytest.approx(expected.pitch_rad)
    assert other.tilt.roll_rad == pytest.approx(expected.roll_rad)
    apart = (first_yaw_rad + turn_rad - yaw_rad + pi) % (2 * pi) - pi
    assert apart == pytest.approx(0, abs=1e-9)


def test_a_camera_of_a_rig_that_comes_to_look_above_the_horizon_is_told():
    mount = DOWNWARD_MOUNT @ Attitude(radians(60)).level_from_camera()
    state = CameraState(attitude=Attitude(radians(20)), body_from_camera=mount)
    with pytest.raises(ConfigError, match='horizon'):
        state.turned(pi)


# --- several pictures as one view --------------------------------------------------------------


def random_templates(rng, size, anchor, cells):
    """Templates (1, 2, h, w) that see some `cells`, (row, column) as slices."""
    weights = torch.zeros(1, *size)
    weights[0][cells] = 1
    features = torch.from_numpy(rng.normal(size=(1, 2, *size)).astype(np.float32)) * weights
    return Templates(features, weights, np.array([anchor]), np.zeros(1))


def test_sums_over_two_pictures_are_those_over_each():
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(2, 20, 23)).astype(np.float32))
    map_features = type(MAP)(features, cell_m=2.0)
    ahead = random_templates(rng, (5, 4), (6, 2), np.s_[:, :])
    behind = random_templates(rng, (4, 6), (-1, 3), np.s_[1:, :])
    both = merge_templates([ahead, behind], np.zeros(1))
    found = correlate(map_features, both)
    sums = cells = 0.0
    for part in (ahead, behind):
        one = correlate(map_features, part, min_imagery=0.01)
        sums, cells = sums + one.score * one.cells, cells + one.cells
    valid = found.valid
    assert valid.sum() > 200
    np.testing.assert_allclose((found.score * found.cells)[valid], sums[valid], atol=1e-3)
    np.testing.assert_allclose(found.cells[valid], cells[valid], atol=1e-3)


def test_what_two_cameras_both_see_counts_once():
    one = random_templates(np.random.default_rng(1), (5, 4), (2, 1), np.s_[:3, :])
    both = merge_templates([one, one], np.zeros(1))
    np.testing.assert_allclose(both.features, one.features)
    np.testing.assert_allclose(both.weights, one.weights)
    np.testing.assert_array_equal(both.anchors, one.anchors)


@pytest.mark.parametrize('yaw_deg', [0, 131])
def test_four_slanting_cameras_round_a_robot_are_found_as_one(yaw_deg):
    yaw_rad, turns = radians(yaw_deg), [0.0, pi / 2, pi, -pi / 2]
    views = []
    for turn_rad in turns:
        pose = NadirPose(-21.4, 8.6, yaw_rad + turn_rad, FOOTPRINT_M, 0.5)
        picture = look_down(PIXELS, SIDE_M, pose, (160, 120), FOV)
        views.append(View(NETWORK, picture, CAMERA, Attitude(0.5)))
    rig = RigView(views, turns)
    found = rig.register(MAP)
    peak = rig.sharpen(MAP, found.peaks(1)[0])
    assert (peak.east_m, peak.north_m) == pytest.approx((-21.4, 8.6), abs=0.5)
    apart = (peak.yaw_rad - yaw_rad + pi) % (2 * pi) - pi
    assert abs(np.degrees(apart)) < 0.6
    assert found.evidence() > views[0].register(MAP).evidence()
    assert rig._lever_m(0, MAP) == pytest.approx((0, 0), abs=1.5)


def test_a_localizer_registers_all_pictures_of_a_rig_that_show_something(tmp_path):
    satellite_map = make_town_map(tmp_path)
    camera = Camera.from_fov(FOV_RAD).with_height(HEIGHT_M, 0.02 * HEIGHT_M)
    localizer = Localizer.open(satellite_map, camera=camera, progress=False)
    headings = [0.0, pi / 2, 2.0]
    pictures = [take_view(satellite_map, 20.0, 30.0, 0.4 + turn) for turn in headings]
    pictures[1][:] = 0
    fix = localizer.locate_rig(pictures, [Mount(turn) for turn in headings])
    assert fix.status is FixStatus.FIX
    assert (fix.east_m, fix.north_m) == pytest.approx((20, 30), abs=1)
    assert fix.yaw_rad == pytest.approx(0.4, abs=0.03)
    view = localizer.view(pictures, CameraState(), [Mount(turn) for turn in headings])
    assert isinstance(view, RigView) and len(view._members) == 2
