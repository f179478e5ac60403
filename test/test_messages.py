"""A fix as ROS messages: the contract that robot_localization and RViz rely on."""

import json
import math
import sys
from array import array
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import yaml
from colcon_support import REPO
from tiny import make_map

pytest.importorskip('sensor_msgs.msg', reason='no ROS messages are installed')

from builtin_interfaces.msg import Time  # noqa: E402
from geometry_msgs.msg import PoseWithCovarianceStamped  # noqa: E402
from nav_msgs.msg import OccupancyGrid  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from rclpy.time import Time as RclpyTime  # noqa: E402
from sensor_msgs.msg import Image, NavSatFix, PointCloud2, PointField  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from visualization_msgs.msg import MarkerArray  # noqa: E402

from justzoom_ros.errors import ConfigError, JustZoomError  # noqa: E402
from justzoom_ros.inference.posterior import CellPosterior  # noqa: E402
from justzoom_ros.io.image_message import image_from_message  # noqa: E402
from justzoom_ros.live.image_decoder import Decoder  # noqa: E402
from justzoom_ros.region import Region  # noqa: E402
from justzoom_ros.ros import markers, messages, outputs  # noqa: E402

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
    fix = SimpleNamespace(require_posterior=lambda: posterior, map_offset_m=(0.0, 0.0))
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
    now = RclpyTime(seconds=3)
    array = messages.diagnostics_message(now, 'justzoom', level, 'text', {'frames': 3, 'a': ''})
    assert array.header.stamp == Time(sec=3)
    (status,) = array.status
    assert (status.level, status.name, status.message) == (byte, 'justzoom', 'text')
    assert [(v.key, v.value) for v in status.values] == [('frames', '3'), ('a', '')]


# --- what is drawn -------------------------------------------------------------------------------


def test_hypotheses_are_ellipses_that_hold_90_percent():
    """Long axis 20 m (1 sigma) to the north-east, short axis 5 m: by points drawn from it."""
    turn = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    covariance = turn @ np.diag([400.0, 25.0]) @ turn.T
    one = hypothesis(30.0, -10.0, covariance, 0.9)
    made = markers.markers_message(fix(hypotheses=(one,)), HEADER, 'map')
    (ellipse,) = (m for m in made.markers if m.ns == 'hypotheses')
    yaw = 2 * math.atan2(ellipse.pose.orientation.z, ellipse.pose.orientation.w)
    points = np.random.default_rng(0).multivariate_normal([30, -10], covariance, 20000)
    offset = points - [ellipse.pose.position.x, ellipse.pose.position.y]
    along = offset @ [math.cos(yaw), math.sin(yaw)]
    across = offset @ [-math.sin(yaw), math.cos(yaw)]
    inside = (2 * along / ellipse.scale.x) ** 2 + (2 * across / ellipse.scale.y) ** 2 < 1
    assert inside.mean() == pytest.approx(0.9, abs=0.01)
    assert ellipse.scale.x > ellipse.scale.y and ellipse.header.frame_id == 'map'
    sent = deserialize_message(serialize_message(made), MarkerArray)
    assert [m.type for m in sent.markers] == [m.type for m in made.markers]


def test_markers_show_status_mass_and_heading_and_replace_what_was_there():
    rivals = [hypothesis(0, 0, np.eye(2), 0.7), hypothesis(9, 9, np.eye(2), 0.2)]
    made = markers.markers_message(
        fix(status='no_fix', hypotheses=rivals, yaw_rad=1.0), HEADER, 'map'
    ).markers
    assert made[0].action == made[0].DELETEALL
    (arrow,) = (m for m in made if m.ns == 'heading')
    assert arrow.type == arrow.ARROW
    assert 2 * math.atan2(arrow.pose.orientation.z, arrow.pose.orientation.w) == pytest.approx(1)
    heavy, light = (m for m in made if m.ns == 'hypotheses')
    assert heavy.color.a > light.color.a and heavy.id != light.id
    sure = markers.markers_message(fix(hypotheses=rivals), HEADER, 'map').markers
    assert [m.ns for m in sure] == ['', 'hypotheses', 'hypotheses']  # no heading, no arrow
    assert sure[1].color.g > sure[1].color.r and heavy.color.r > heavy.color.g
    assert all(m.lifetime.sec > 0 for m in made[1:])


def test_the_map_is_a_grid_with_the_north_on_top(tmp_path):
    map = make_map(tmp_path)
    grid = markers.map_image_message(map, HEADER, 'map')
    side_px = grid.info.width
    assert side_px == grid.info.height <= markers.MAP_PX
    assert grid.info.resolution * side_px == pytest.approx(map.region.side_m)
    assert grid.info.origin.position.x == -map.region.side_m / 2
    cells = np.array(grid.data).reshape(side_px, side_px)
    assert cells.min() >= 0 and cells.max() <= 100
    red, green, blue = map.crop((), side_px)[0, 0].astype(float)  # the north-west corner
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    assert cells[-1, 0] == pytest.approx(100 - grey / 2.55, abs=1)


SHOWN_BY = {
    'rviz_default_plugins/Map': OccupancyGrid,
    'rviz_default_plugins/MarkerArray': MarkerArray,
    'rviz_default_plugins/PointCloud2': PointCloud2,
    'rviz_default_plugins/PoseWithCovariance': PoseWithCovarianceStamped,
    'rviz_default_plugins/Image': Image,
}


def test_rviz_is_shown_topics_of_the_node_by_displays_of_their_type():
    config = yaml.safe_load((REPO / 'config' / 'justzoom.rviz').read_text())
    manager = config['Visualization Manager']
    assert manager['Global Options']['Fixed Frame'] == 'map'
    displays = {d['Topic']['Value']: d for d in manager['Displays']}
    drawn = {topic for topic, kind in outputs.TYPES.items() if kind in SHOWN_BY.values()}
    assert {topic.strip('/') for topic in displays} == drawn
    for topic, display in displays.items():
        assert SHOWN_BY[display['Class']] is outputs.TYPES[topic.strip('/')]
        # A display that asks for kept messages hears a publisher only that keeps them.
        kept = display['Topic']['Durability Policy'] == 'Transient Local'
        assert kept == (topic == '/map_image')
    cloud = displays['/hypotheses']
    assert cloud['Channel Name'] in messages.HYPOTHESIS.names


def test_foxglove_is_shown_topics_of_the_node():
    layout = json.loads((REPO / 'config' / 'justzoom_foxglove.json').read_text())
    panels = layout['configById']
    drawn = {topic.strip('/') for topic in panels['3D!justzoom']['topics']}
    assert drawn == set(outputs.TYPES) - {'fix', 'fix_increment', 'zoom_image'}
    assert panels['map!justzoom']['followTopic'] == '/fix'
    assert panels['Image!justzoom']['imageMode']['imageTopic'] == '/zoom_image'
    assert panels['DiagnosticSummary!justzoom']['topicToRender'] == '/diagnostics'
    field = panels['3D!justzoom']['topics']['/hypotheses']['colorField']
    assert field in messages.HYPOTHESIS.names

    def leaves(node):
        return [node] if isinstance(node, str) else leaves(node['first']) + leaves(node['second'])

    assert sorted(leaves(layout['layout'])) == sorted(panels)


# --- decoding ------------------------------------------------------------------------------------


class FakeBridge:
    """Stands in for cv_bridge.CvBridge: pixels of 3 bytes, and it refuses 1 x 1."""

    def imgmsg_to_cv2(self, message, encoding):
        if message.width == 1:
            raise RuntimeError('too small')
        rows = np.array(message.data, np.uint8).reshape(message.height, message.step)
        pixels = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
        return pixels[..., ::-1] if message.encoding == 'bgr8' else pixels


def picture(encoding, width=4, step=12):
    data = np.random.default_rng(1).integers(0, 256, 2 * step, np.uint8)
    message = Image(height=2, width=width, encoding=encoding, step=step)
    message.data = array('B', data.tobytes())
    return message


@pytest.fixture
def bridge(monkeypatch):
    """Puts a stand-in where cv_bridge is imported from: bridge(class or None)."""

    def install(kind):
        module = ModuleType('cv_bridge')
        if kind:
            module.CvBridge = kind
        monkeypatch.setitem(sys.modules, 'cv_bridge', module)

    return install


def test_cv_bridge_decodes_what_both_know_and_we_the_rest(bridge):
    bridge(FakeBridge)
    decoder = Decoder('auto')
    assert decoder.name == 'cv_bridge'
    for message in (
        picture('rgb8'), picture('bgr8', step=15), picture('rgb8', step=14),  # its step is ours
        picture('bgr8', width=1, step=3), picture('mono16', step=8), picture('yuv422', step=8),
    ):  # fmt: skip
        np.testing.assert_array_equal(decoder.decode(message), image_from_message(message))
    assert Decoder('own').name == 'own'


@pytest.mark.parametrize('broken', [None, type('Wrong', (FakeBridge,), {
    'imgmsg_to_cv2': lambda self, message, encoding: np.zeros((1, 2, 3), np.uint8)})])  # fmt: skip
def test_a_cv_bridge_that_does_not_work_is_not_used(bridge, broken):
    bridge(broken)
    assert Decoder('auto').name == 'own'
    with pytest.raises(ConfigError, match='decoder is cv_bridge, which does not work here'):
        Decoder('cv_bridge')
