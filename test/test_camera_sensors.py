"""What is heard of the camera: which samples go with a frame, lens, height, tilt and heading."""

from math import cos, pi, radians, sin
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from justzoom_ros.errors import ConfigError, ViewError
from justzoom_ros.io.camera_message import pinhole_from_message, range_from_message
from justzoom_ros.live.camera_config import CameraConfig, footprint_of
from justzoom_ros.live.camera_sensors import CameraSensors
from justzoom_ros.live.samples import Moment, Samples
from justzoom_ros.plots.registration_picture import registration_picture
from justzoom_ros.plots.zoom_picture import YELLOW_RGB
from justzoom_ros.region import Region
from justzoom_ros.registration.attitude import UNKNOWN_TILT, Attitude

SECOND = 1_000_000_000
NOW = Moment(100 * SECOND, 5.0)


def at(stamp_s, arrived_s=5.0):
    return Moment(round(stamp_s * SECOND), arrived_s)


# --- samples -------------------------------------------------------------------------------------


def samples(*stamps_s, slop_s=0.1, max_age_s=1.0):
    made = Samples(slop_s, max_age_s)
    for stamp_s in stamps_s:
        made.add(at(stamp_s), stamp_s)
    return made


@pytest.mark.parametrize(
    ('stamps_s', 'found'),
    [
        ((), None),
        ((99.95, 100.02, 100.2), 100.02),
        ((99.5, 99.8, 100.2), 99.8),  # within the age, before; what comes later does not count
        ((98.9,), None),
        ((100.2,), None),
        ((140.0, 99.7), 99.7),  # a bag looped: those of before are in the future
    ],
)
def test_the_nearest_within_the_slop_counts_else_the_last_one_before(stamps_s, found):
    assert samples(*stamps_s).at(NOW) == found


@given(st.lists(st.integers(-3000, 3000), max_size=20))
def test_which_sample_counts_agrees_with_the_rule_spelled_out(offsets_ms):
    made = samples(*(100 + ms / 1000 for ms in offsets_ms))
    near = [ms for ms in offsets_ms if abs(ms) <= 100]
    before = [ms for ms in offsets_ms if -1000 <= ms <= 0]
    expected = min(map(abs, near or before), default=None)
    found = made.at(NOW)
    assert (found is None) == (expected is None)
    assert found is None or abs(found - 100) * 1000 == pytest.approx(expected, abs=1e-6)


def test_samples_without_stamps_count_by_their_arrival():
    made = Samples(0.1, 1.0)
    made.add(Moment(None, 4.2), 'late')
    assert made.at(NOW) == 'late'
    assert made.at(Moment(1, 5.3)) is None
    assert made.least_age_s(Moment(1, 5.3)) == pytest.approx(1.1)


# --- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('value', 'height_m'),
    [(30.0, 30.0), (0.1, None), (90.0, None), (np.inf, None), (np.nan, None)],
)
def test_a_range_beyond_its_limits_measures_nothing(value, height_m):
    message = SimpleNamespace(range=value, min_range=1.0, max_range=80.0)
    assert range_from_message(message) == height_m


def camera_info(roi=(0, 0, 0, 0), p0=500.0):
    return SimpleNamespace(
        width=640,
        height=480,
        k=[400.0, 0, 320.0, 0, 410.0, 240.0, 0, 0, 1],
        p=[p0, 0, 310.0, 0, 0, 510.0, 230.0, 0, 0, 0, 1, 0],
        roi=SimpleNamespace(
            **dict(zip(('x_offset', 'y_offset', 'width', 'height'), roi, strict=True))
        ),
    )


def test_rectified_images_have_the_lens_of_p_others_that_of_k():
    assert pinhole_from_message(camera_info(), True).matrix[:6] == (500, 0, 310, 0, 510, 230)
    assert pinhole_from_message(camera_info(), False).matrix[:6] == (400, 0, 320, 0, 410, 240)
    assert pinhole_from_message(camera_info(p0=0.0), True).matrix[0] == 400


def test_a_region_of_interest_moves_the_axis_and_is_the_size():
    pinhole = pinhole_from_message(camera_info(roi=(20, 10, 320, 200)), False)
    assert (pinhole.matrix[2], pinhole.matrix[5]) == (300.0, 230.0)
    assert pinhole.size_px == (320, 200)


# --- the state of a camera -----------------------------------------------------------------------


def header(stamp_s):
    return SimpleNamespace(stamp=SimpleNamespace(sec=int(stamp_s), nanosec=0))


def imu(yaw_rad, pitch_rad=0.0, stamp_s=100, variance=0.04):
    """A body that is pitched nose up, then turned."""
    y, z, w = sin(-pitch_rad / 2), sin(yaw_rad / 2), cos(yaw_rad / 2)
    turn = SimpleNamespace(x=-z * y, y=w * y, z=z * cos(pitch_rad / 2), w=w * cos(pitch_rad / 2))
    covariance = [0.0] * 8 + [variance]
    return SimpleNamespace(
        header=header(stamp_s), orientation=turn, orientation_covariance=covariance
    )


def config(**changes):
    return CameraConfig(**{'fov_rad': 1.0, 'height_m': 100.0, **changes})


def test_parameters_alone_make_a_camera_with_a_tenth_of_its_height_as_deviation():
    state = CameraSensors(config()).state_at(NOW)
    assert (state.camera.height_m, state.camera.height_std_m) == (100.0, 10.0)
    assert (state.yaw_rad, state.attitude) == (None, UNKNOWN_TILT)
    state = CameraSensors(config(height_std_m=3.0, yaw_rad=0.5)).state_at(NOW)
    assert (state.camera.height_std_m, state.yaw_rad) == (3.0, 0.5)
    assert state.yaw_std_rad == pytest.approx(radians(10))


def test_where_nothing_says_how_much_ground_is_seen_the_camera_is_the_policys():
    state = CameraSensors(config(height_m=None, yaw_rad=0.5)).state_at(NOW)
    assert (state.camera, state.yaw_rad) == (None, 0.5)


@pytest.mark.parametrize('attitude_source', ['none', 'imu'])
def test_a_trusted_imu_gives_the_yaw_of_the_image(attitude_source):
    chosen = config(imu_yaw=True, mount_yaw_rad=pi / 2, attitude_source=attitude_source)
    sensors = CameraSensors(chosen)
    sensors.add_imu(imu(0.3))
    state = sensors.state_at(NOW)
    assert state.yaw_rad == pytest.approx(0.3 + pi / 2)
    assert state.yaw_std_rad == pytest.approx(0.2)
    assert state.attitude.off_nadir_rad == pytest.approx(0.0, abs=1e-6)


def test_a_nose_that_is_up_makes_a_downward_camera_look_ahead_and_adds_to_its_mount():
    sensors = CameraSensors(config(attitude_source='imu', mount=Attitude(pitch_rad=0.2)))
    sensors.add_imu(imu(1.0, pitch_rad=0.1))
    state = sensors.state_at(NOW)
    assert state.attitude.pitch_rad == pytest.approx(0.3)
    assert state.yaw_rad is None  # not trusted


@pytest.mark.parametrize(('source', 'behind_rad'), [('imu', 0.1), ('none', 0.2)])
def test_the_camera_behind_is_tilted_by_the_lean_of_the_robot_where_it_is_measured(
    source, behind_rad
):
    """The nose is up by 0.1: the camera ahead looks further ahead, that behind less far back."""
    sensors = CameraSensors(config(attitude_source=source, mount=Attitude(pitch_rad=0.2)))
    sensors.add_imu(imu(1.0, pitch_rad=0.1))
    behind, turn_rad = sensors.state_at(NOW).turned(pi)
    assert behind.attitude.pitch_rad == pytest.approx(behind_rad)
    assert (behind.attitude.roll_rad, abs(turn_rad)) == pytest.approx((0, pi), abs=1e-9)


@pytest.mark.parametrize(
    ('changes', 'heard', 'reason'),
    [
        ({'height_source': 'range'}, None, 'no height: none heard on height yet'),
        ({'attitude_source': 'imu'}, None, 'no attitude: none heard on imu yet'),
        (
            {'attitude_source': 'imu'},
            imu(0, stamp_s=90),
            'no attitude: the nearest on imu is 10.0',
        ),
        ({'attitude_source': 'imu'}, imu(0, 2.0), 'no view of the ground: the camera looks'),
        ({'lens_source': 'camera_info', 'fov_rad': None}, None, 'no lens: none heard'),
    ],
)
def test_what_is_missing_is_named_by_kind(changes, heard, reason):
    sensors = CameraSensors(config(**changes))
    if heard:
        sensors.add_imu(heard)
    with pytest.raises(ViewError, match=reason):
        sensors.state_at(NOW)


@pytest.mark.parametrize(('source', 'height_m'), [('imu', 100 * cos(0.4)), ('none', 100.0)])
def test_a_range_along_a_tilted_body_is_longer_than_the_height(source, height_m):
    sensors = CameraSensors(config(height_source='range', attitude_source=source))
    measured = SimpleNamespace(header=header(100), range=100.0, min_range=1.0, max_range=150.0)
    sensors.add_range(measured)
    sensors.add_imu(imu(1.0, pitch_rad=0.4))
    assert sensors.state_at(NOW).camera.height_m == pytest.approx(height_m)


@pytest.mark.parametrize('z_m', [240.0, float('nan')])
def test_a_height_below_ground_or_not_finite_is_none(z_m):
    sensors = CameraSensors(config(height_source='odom', ground_altitude_m=250.0))
    pose = SimpleNamespace(pose=SimpleNamespace(position=SimpleNamespace(z=z_m)))
    sensors.add_odometry(SimpleNamespace(header=header(100), pose=pose))
    with pytest.raises(ViewError, match='no height: odom says'):
        sensors.state_at(NOW)


def test_the_lens_of_a_bad_calibration_is_none():
    sensors = CameraSensors(config(undistorted=True))
    info = camera_info()
    info.k = [0.0] * 9
    sensors.set_info(info)
    with pytest.raises(ViewError, match='no lens: intrinsics'):
        sensors.state_at(NOW)


def test_a_footprint_is_two_ascending_widths_or_none():
    assert footprint_of([]) is footprint_of([0.0, 0.0]) is None
    assert footprint_of([60.0, 90.0]) == (60.0, 90.0)
    for wrong in ([60.0], [90.0, 60.0], [0.0, 60.0], [60.0, float('inf')]):
        with pytest.raises(ConfigError, match='footprint_m'):
            footprint_of(wrong)


# --- the debug picture ---------------------------------------------------------------------------


@pytest.mark.parametrize('yaw_rad', [pi / 2, None])
def test_the_picture_shows_the_ground_round_the_fix_and_where_it_heads(yaw_rad):
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[:50] = 200  # the north is bright
    satellite_map = SimpleNamespace(
        region=Region(42.0, -76.0, 400.0, grid=2, depth=2),
        pixels=pixels,
        picture=lambda px: np.zeros((px, px, 3), np.uint8),
    )
    fix = SimpleNamespace(
        east_m=0.0, north_m=0.0, radius_90_m=10.0, yaw_rad=yaw_rad, confidence=0.9, status='fix',
        hypotheses=(SimpleNamespace(east_m=100.0, north_m=0.0, mass=1.0),),
    )  # fmt: skip
    picture = registration_picture(np.full((20, 40, 3), 90, np.uint8), fix, satellite_map, 64)
    assert picture.shape == (64, 192, 3) and picture.dtype == np.uint8
    whole, near = picture[:, 64:128], picture[:, 128:]
    columns = np.flatnonzero(whole.any((0, 2)))
    assert columns.mean() == pytest.approx(48, abs=1)  # a quarter of 400 m east of the middle
    assert (near[2, 2] == 200).all() and (near[62, 2] == 0).all()
    assert (near[26, 32] == YELLOW_RGB).all() == (yaw_rad is not None)  # an arrow to the north
