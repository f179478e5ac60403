"""Replay of a bag that tells of its camera, over a map that nothing was trained on."""

import json

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from town_piece import FOV_RAD, HEIGHT_M, POSES, make_town_map, take_view

from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError, ImageError
from justzoom_ros.evaluation.image_camera import CameraKnowledge
from justzoom_ros.evaluation.sequence_camera import SequenceCamera, camera_of_bag, lens_of
from justzoom_ros.io.bags import Bag
from justzoom_ros.io.sequences import AttitudeEvent, HeightEvent, SequenceTopics, events_of_bag
from justzoom_ros.maps.map_offset import OFFSET_NAME, read_offset
from justzoom_ros.registration.camera import Camera

SECOND = 10**9
STORE = get_typestore(Stores.ROS2_KILTED)
TYPES = STORE.types
FOCAL_PX = 64 / np.tan(FOV_RAD / 2)


def header(second):
    return TYPES['std_msgs/msg/Header'](TYPES['builtin_interfaces/msg/Time'](second, 0), 'camera')


def camera_info(second, focal_px=FOCAL_PX, distortion=()):
    k = np.array([focal_px, 0, 63.5, 0, focal_px, 47.5, 0, 0, 1.0])
    p = np.array([focal_px, 0, 63.5, 0, 0, focal_px, 47.5, 0, 0, 0, 1.0, 0])
    roi = TYPES['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    return TYPES['sensor_msgs/msg/CameraInfo'](
        header(second), 96, 128, 'plumb_bob', np.array(distortion, float), k, np.eye(3).ravel(), p,
        0, 0, roi,
    )  # fmt: skip


def height(second, metres):
    return TYPES['sensor_msgs/msg/Range'](header(second), 1, 0.1, 0.5, 200.0, metres, 0.0)


def picture(second, pixels):
    rows, columns = pixels.shape[:2]
    return TYPES['sensor_msgs/msg/Image'](
        header(second), rows, columns, 'rgb8', 0, 3 * columns, pixels.ravel()
    )


def position(second, latitude, longitude):
    status = TYPES['sensor_msgs/msg/NavSatStatus'](0, 1)
    return TYPES['sensor_msgs/msg/NavSatFix'](
        header(second), status, latitude, longitude, 0.0, np.zeros(9), 0
    )


def write(path, *messages):
    """(topic, message) a second apart."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {}
        for topic, message in messages:
            kind = message.__msgtype__
            if topic not in topics:
                topics[topic] = writer.add_connection(topic, kind, typestore=STORE)
            stamp_ns = message.header.stamp.sec * SECOND
            writer.write(topics[topic], stamp_ns, STORE.serialize_cdr(message, kind))
    return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('replay')


@pytest.fixture(scope='module')
def town(folder):
    return make_town_map(folder)


@pytest.fixture(scope='module')
def bag(folder, town):
    """A frame before anything is known of the camera, then one for each pose."""
    messages = [('/eye', picture(99, take_view(town, *POSES[0])))]
    for second, (east_m, north_m, yaw_rad) in enumerate(POSES, 100):
        place = town.region.to_latlon(east_m, north_m)
        messages += [
            ('/camera_info', camera_info(second)),
            ('/range', height(second, HEIGHT_M)),
            ('/gps', position(second, *place)),
            ('/eye', picture(second, take_view(town, east_m, north_m, yaw_rad))),
        ]
    return write(folder / 'bag', *messages)


def replay(town, bag, out, *more):
    return main(['replay', str(bag), '--map', str(town.path), '-o', str(out), *more])


@pytest.mark.slow
def test_lens_and_height_come_from_the_bag(town, bag, tmp_path, capsys):
    options = '--height-topic', '/range', '--height-std', '1', '--min-confidence', '0', '--json'
    assert replay(town, bag, tmp_path, *options) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary['images'] == 4 and summary['error'] == 1  # the one before any height
    lines = (tmp_path / 'fixes.csv').read_text().splitlines()
    assert 'no lens: none heard on /camera_info yet' in lines[1]
    errors_m = [float(line.split(',')[-2]) for line in lines[2:]]
    assert len(errors_m) == 3 and max(errors_m) < 5.0


@pytest.mark.slow
def test_a_map_is_aligned_by_a_bag_whose_truth_is_elsewhere(town, folder, capsys):
    messages = []
    for second, (east_m, north_m, yaw_rad) in enumerate(POSES, 100):
        place = town.region.to_latlon(east_m + 5.0, north_m - 4.0)
        messages += [
            ('/camera_info', camera_info(second)),
            ('/range', height(second, HEIGHT_M)),
            ('/gps', position(second, *place)),
            ('/eye', picture(second, take_view(town, east_m, north_m, yaw_rad))),
        ]
    bag = write(folder / 'shifted', *messages)
    command = ['map', 'align', str(town.path), '--bag', str(bag), '--height-topic', '/range']
    assert main([*command, '--height-std', '1', '--json', '--dry-run']) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found['east_m'], found['north_m']) == pytest.approx((5.0, -4.0), abs=1.5)
    assert found['fitting'] == found['fixes'] == 3
    assert found['median_before_m'] > 5 > 2 > found['median_after_m']
    assert not (town.path / OFFSET_NAME).exists()
    assert main([*command, '--height-std', '1']) == 0
    try:
        assert read_offset(town.path, town.checksum).known
    finally:
        (town.path / OFFSET_NAME).unlink()


def test_a_bag_that_says_nothing_of_the_height_is_asked_for_it(town, bag, tmp_path, capsys):
    assert replay(town, bag, tmp_path) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert '--height-topic' in error and '--footprint' in error and 'bag' in error
    assert list(tmp_path.iterdir()) == []
    assert replay(town, bag, tmp_path, '--height-topic', '/sonar') == 2
    assert 'no topic /sonar' in capsys.readouterr().err


def test_the_camera_of_a_bag_spans_its_heights(bag, folder):
    topics = SequenceTopics(camera_info='/camera_info', heights='/range')
    with Bag(bag) as opened:
        camera = camera_of_bag(opened, topics, CameraKnowledge())
        assert camera.height_range_m == pytest.approx((HEIGHT_M, HEIGHT_M), rel=1e-6)
        assert camera.footprint_at(HEIGHT_M) == pytest.approx(90.0)
        given = CameraKnowledge(Camera.from_footprint(80, 100))
        assert camera_of_bag(opened, SequenceTopics(), given).footprint_m == (80, 100)
        with pytest.raises(ConfigError, match='--fov'):
            camera_of_bag(opened, SequenceTopics(heights='/range'), CameraKnowledge())


def test_a_range_beyond_its_limits_is_no_height(tmp_path):
    ranges = [height(1, 50.0), height(2, float('inf')), height(3, 0.2), height(4, 60.0)]
    path = write(tmp_path / 'bag', *(('/range', message) for message in ranges))
    with Bag(path) as opened:
        events = list(events_of_bag(opened, SequenceTopics(heights='/range')))
    assert [event.height_m for event in events] == [50.0, 60.0]


def test_a_camera_follows_what_is_heard_of_it():
    camera = SequenceCamera(CameraKnowledge(Camera.from_fov(1.0).with_height(80.0, 8.0)))
    camera.add(HeightEvent(1, 50.0))
    frame = type('Frame', (), {'image': None})()
    known = camera.state_of(frame).camera
    assert (known.height_m, known.height_std_m, known.fov_rad) == (50.0, 5.0, 1.0)


def turned(yaw_rad, pitch_rad):
    """Quaternion of a body that is first turned, then pitched nose down."""
    y, z = np.sin(pitch_rad / 2), np.sin(yaw_rad / 2)
    cy, cz = np.cos(pitch_rad / 2), np.cos(yaw_rad / 2)
    return -z * y, cz * y, z * cy, cz * cy


@pytest.mark.parametrize(('of_camera', 'nose_down'), [(False, -0.2), (True, np.pi / 2 - 0.2)])
def test_a_camera_follows_the_tilt_of_its_body_or_its_own(of_camera, nose_down):
    camera = SequenceCamera(CameraKnowledge(Camera.from_fov(1.0).with_height(80.0)))
    camera.add(AttitudeEvent(1, turned(0.9, nose_down), of_camera))
    frame = type('Frame', (), {'image': None})()
    attitude = camera.state_of(frame).attitude
    assert attitude.pitch_rad == pytest.approx(0.2) and attitude.roll_rad == pytest.approx(0.0)
    camera.add(AttitudeEvent(2, turned(0.9, -2.0), of_camera))
    with pytest.raises(ImageError, match='no view of the ground'):
        camera.state_of(frame)


def test_a_tilt_that_is_still_to_come_is_named():
    camera = SequenceCamera(topics=SequenceTopics(attitudes='/gimbal'))
    with pytest.raises(ImageError, match='no attitude: none heard on /gimbal'):
        camera.state_of(type('Frame', (), {'image': None})())


def test_a_camera_info_without_a_calibration_is_named():
    assert lens_of(camera_info(1), rectified=False).intrinsics.fx == pytest.approx(FOCAL_PX)
    with pytest.raises(ConfigError, match='camera info of the bag.*--fov'):
        lens_of(camera_info(1, focal_px=0.0), rectified=True)
