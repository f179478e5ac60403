"""A fix as ROS messages: the contract that robot_localization and RViz rely on."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('sensor_msgs.msg', reason='no ROS messages are installed')

from builtin_interfaces.msg import Time  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from sensor_msgs.msg import NavSatFix, PointCloud2, PointField  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from justzoom_ros.errors import JustZoomError  # noqa: E402
from justzoom_ros.inference.posterior import CellPosterior  # noqa: E402
from justzoom_ros.io.image_message import image_from_message  # noqa: E402
from justzoom_ros.region import Region  # noqa: E402
from justzoom_ros.ros import messages  # noqa: E402

HEADER = Header(stamp=Time(sec=12, nanosec=345), frame_id='camera')
REGION = Region(42.0, -76.0, 800.0, grid=2, depth=3)


def hypothesis(east_m, north_m, covariance_m2, mass):
    latitude, longitude = REGION.to_latlon(east_m, north_m)
    return SimpleNamespace(
        latitude=latitude,
        longitude=longitude,
        east_m=east_m,
        north_m=north_m,
        covariance_m2=np.array(covariance_m2, float),
        mass=mass,
    )


def fix(status='fix', covariance_m2=((25.0, 3.0), (3.0, 16.0)), **changes):
    """A stand-in with the fields of justzoom_ros.localizer.Fix."""
    first = hypothesis(100.0, -50.0, covariance_m2, 0.75)
    second = hypothesis(-200.0, 300.0, [[9.0, -1.0], [-1.0, 4.0]], 0.25)
    made = SimpleNamespace(**vars(first), status=status, hypotheses=(first, second), yaw_rad=None)
    vars(made).update(changes)
    return made


def fix_message(given, calibrated=False):
    message = messages.fix_message(given, HEADER, 210.0, 30.0, calibrated)
    return deserialize_message(serialize_message(message), NavSatFix)


def test_a_fix_keeps_stamp_frame_position_and_row_major_enu_covariance():
    message = fix_message(fix())
    assert message.header == HEADER
    assert message.status.status == 0
    assert message.status.service == 0
    assert REGION.to_enu(message.latitude, message.longitude) == pytest.approx((100.0, -50.0))
    assert message.altitude == 210.0
    assert list(message.position_covariance) == [25, 3, 0, 3, 16, 0, 0, 0, 900]


def test_no_fix_is_said_explicitly_with_a_covariance_all_the_same():
    message = fix_message(fix('no_fix', ((4e4, 0.0), (0.0, 4e4))))
    assert message.status.status == -1
    assert message.position_covariance[0] == 4e4
    assert math.isfinite(message.altitude)


@pytest.mark.parametrize(('calibrated', 'kind'), [(False, 1), (True, 3)])
def test_only_calibrated_weights_know_their_covariance(calibrated, kind):
    assert fix_message(fix(), calibrated).position_covariance_type == kind


@pytest.mark.parametrize(
    'covariance_m2',
    [
        ((0.0, 0.0), (0.0, 1.0)),
        ((math.nan, 0.0), (0.0, 1.0)),
        ((math.inf, 0.0), (0.0, 1.0)),
        ((1.0, 2.0), (2.0, 1.0)),
        ((-1.0, 0.0), (0.0, 1.0)),
    ],
)
def test_a_covariance_that_would_poison_a_filter_is_never_sent(covariance_m2):
    with pytest.raises(JustZoomError, match='covariance'):
        fix_message(fix(covariance_m2=covariance_m2))


@pytest.mark.parametrize('where', [{'latitude': math.nan}, {'latitude': 91}, {'longitude': 181}])
def test_a_position_off_the_earth_is_never_sent(where):
    with pytest.raises(JustZoomError, match='not on the earth'):
        fix_message(fix(**where))


def test_the_pose_is_in_the_map_frame_with_an_unknown_heading():
    message = messages.pose_message(fix(), HEADER, 'map', 30.0)
    assert message.header.frame_id == 'map' and message.header.stamp == HEADER.stamp
    place = message.pose.pose.position
    assert (place.x, place.y, place.z) == (100.0, -50.0, 0.0)
    assert message.pose.pose.orientation.w == 1.0
    covariance = np.array(message.pose.covariance).reshape(6, 6)
    np.testing.assert_array_equal(covariance[:2, :2], [[25, 3], [3, 16]])
    assert covariance[2, 2] == 900 and (np.diag(covariance)[3:] > 3).all()


def test_the_pose_of_a_robot_in_motion_has_its_heading():
    moving = fix()
    moving.yaw_rad, moving.yaw_std_rad = math.pi / 2, 0.1
    pose = messages.pose_message(moving, HEADER, 'map', 30.0).pose
    turn = pose.pose.orientation
    assert math.atan2(2 * turn.w * turn.z, 1 - 2 * turn.z**2) == pytest.approx(math.pi / 2)
    assert pose.covariance[35] == pytest.approx(0.01)


def test_the_belief_is_a_grid_whose_first_row_is_in_the_south():
    region = Region(42.0, -76.0, 400.0, grid=2, depth=1)
    masses = np.array([0.64, 0.0, 0.36, 0.0])  # north-west and south-west
    posterior = CellPosterior(region, np.ones(4, int), np.arange(4), masses)
    fix = SimpleNamespace(require_posterior=lambda: posterior)
    grid = messages.belief_message(fix, HEADER, 'map')
    assert list(grid.data) == [75, 0, 100, 0]
    assert (grid.info.width, grid.info.height, grid.info.resolution) == (2, 2, 200.0)
    assert (grid.info.origin.position.x, grid.info.origin.position.y) == (-200.0, -200.0)
    assert grid.header.frame_id == 'map'


def read_points(cloud):
    """Points of a cloud from its own field table, by sensor_msgs_py where that is installed."""
    kinds = {PointField.FLOAT32: '<f4', PointField.FLOAT64: '<f8'}
    dtype = np.dtype(
        {
            'names': [field.name for field in cloud.fields],
            'formats': [kinds[field.datatype] for field in cloud.fields],
            'offsets': [field.offset for field in cloud.fields],
            'itemsize': cloud.point_step,
        }
    )
    points = np.frombuffer(bytes(cloud.data), dtype)
    try:
        from sensor_msgs_py import point_cloud2
    except ImportError:
        return points
    theirs = point_cloud2.read_points(cloud)
    for name in dtype.names:
        np.testing.assert_array_equal(theirs[name], points[name])
    return points


def test_hypotheses_are_points_that_carry_mass_covariance_and_degrees():
    cloud = messages.hypotheses_message(fix(), HEADER, 'map')
    cloud = deserialize_message(serialize_message(cloud), PointCloud2)
    assert cloud.header.frame_id == 'map' and cloud.header.stamp == HEADER.stamp
    assert (cloud.width, cloud.height, cloud.row_step) == (2, 1, 2 * cloud.point_step)
    points = read_points(cloud)
    assert points['mass'].tolist() == [0.75, 0.25]
    assert points['x'].tolist() == [100.0, -200.0] and points['y'].tolist() == [-50.0, 300.0]
    assert points['z'].tolist() == [0.0, 0.0]
    assert points['cov_xx'].tolist() == [25, 9] and points['cov_yy'].tolist() == [16, 4]
    assert points['cov_xy'].tolist() == [3, -1]
    for point in points:
        assert REGION.to_latlon(point['x'], point['y']) == pytest.approx(
            (point['latitude'], point['longitude']), abs=1e-9
        )


def test_no_hypotheses_are_an_empty_cloud():
    cloud = messages.hypotheses_message(fix(hypotheses=()), HEADER, 'map')
    assert cloud.width == 0 and len(cloud.data) == 0 and len(cloud.fields) == 9


def test_a_picture_survives_the_message():
    rgb = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)
    message = messages.picture_message(rgb[:, ::-1], HEADER)
    assert message.is_bigendian == (sys.byteorder == 'big')
    np.testing.assert_array_equal(image_from_message(message), rgb[:, ::-1])


@pytest.mark.parametrize(('level', 'byte'), [('ok', b'\0'), ('warn', b'\1'), ('error', b'\2')])
def test_diagnostics_hold_one_status_with_printed_values(level, byte):
    stamp = Time(sec=3)
    array = messages.diagnostics_message(stamp, 'justzoom', level, 'text', {'frames': 3, 'a': ''})
    assert array.header.stamp == stamp
    (status,) = array.status
    assert (status.level, status.name, status.message) == (byte, 'justzoom', 'text')
    assert [(v.key, v.value) for v in status.values] == [('frames', '3'), ('a', '')]
