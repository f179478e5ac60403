"""The one iterator over sequences: its order, which frames count, and jumps of the clock."""

import numpy as np
import pytest
from PIL import Image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from justzoom_ros.errors import BagError, DatasetError, ImageError
from justzoom_ros.io.bag_writing import odometry_message
from justzoom_ros.io.bags import IMAGE_TYPES, ODOMETRY_TYPES, Bag, Track
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.io.dead_reckoning import DriftConfig
from justzoom_ros.io.sequences import (
    ClockJumpEvent,
    FrameEvent,
    HeadingEvent,
    OdometryEvent,
    OtherEvent,
    SequenceTopics,
    events_of_bag,
    events_of_images,
)
from justzoom_ros.pose import Pose
from justzoom_ros.region import Region

SECOND = 10**9
REGION = Region(52.5, 13.4, 1024.0, 4, 2)
STORE = get_typestore(Stores.ROS2_KILTED)
TYPES = STORE.types
IMU = 'sensor_msgs/msg/Imu'


def header(stamp_ns):
    stamp = TYPES['builtin_interfaces/msg/Time'](*divmod(stamp_ns, SECOND))
    return TYPES['std_msgs/msg/Header'](stamp, 'camera')


def frame(stamp_ns, grey=0):
    pixels = np.full(4 * 6 * 3, grey, np.uint8)
    return TYPES['sensor_msgs/msg/Image'](header(stamp_ns), 4, 6, 'rgb8', 0, 18, pixels)


def imu(stamp_ns, yaw_rad, variance):
    """`variance` -1 says that there is no orientation (REP-145)."""
    vector = TYPES['geometry_msgs/msg/Vector3'](0.0, 0.0, 0.0)
    turn = TYPES['geometry_msgs/msg/Quaternion'](
        0.0, 0.0, float(np.sin(yaw_rad / 2)), float(np.cos(yaw_rad / 2))
    )
    return TYPES[IMU](
        header(stamp_ns), turn, np.full(9, variance), vector, np.zeros(9), vector, np.zeros(9)
    )


def odometry(stamp_ns):
    return odometry_message(STORE, Pose(stamp_ns, 1.0, 2.0, 0.5))


@pytest.fixture
def make_bag(tmp_path):
    """Writes (topic, message) at one time each, a second apart; returns the bag's path."""

    def make(*messages):
        with Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            topics = {}
            for second, (topic, message) in enumerate(messages, 100):
                kind = message.__msgtype__
                if topic not in topics:
                    topics[topic] = writer.add_connection(topic, kind, typestore=STORE)
                raw = STORE.serialize_cdr(message, kind)
                writer.write(topics[topic], second * SECOND, raw)
        return tmp_path / 'bag'

    return make


def kinds(events):
    return [type(event) for event in events]


def test_events_come_as_they_were_recorded(make_bag):
    path = make_bag(
        ('/odom', odometry(1 * SECOND)),
        ('/eye', frame(1 * SECOND, grey=7)),
        ('/imu', imu(2 * SECOND, 0.5, 0.04)),
        ('/imu', imu(2 * SECOND, 0.5, -1.0)),
        ('/odom', odometry(3 * SECOND)),
        ('/eye', frame(2 * SECOND)),
    )
    with Bag(path) as bag:
        topics = SequenceTopics.find(bag, headings='/imu')
        assert topics == SequenceTopics('/eye', '/odom', '/imu')
        events = list(events_of_bag(bag, topics))
    assert kinds(events) == [OdometryEvent, FrameEvent, HeadingEvent, OdometryEvent, FrameEvent]
    assert [event.stamp_ns // SECOND for event in events] == [1, 1, 2, 3, 2]
    assert events[0].pose.x_m == 1.0 and events[0].pose.yaw_rad == pytest.approx(0.5)
    np.testing.assert_array_equal(events[1].load(), np.full((4, 6, 3), 7))
    assert (events[2].yaw_rad, events[2].std_rad) == pytest.approx((0.5, 0.2))
    assert events[1].truth is None


def test_a_frame_that_a_node_would_leave_out_says_why(make_bag):
    path = make_bag(
        ('/eye', frame(5 * SECOND)),
        ('/eye', frame(5 * SECOND)),
        ('/eye', frame(0)),
        ('/eye', frame(6 * SECOND)),
    )
    with Bag(path) as bag:
        events = list(events_of_bag(bag, SequenceTopics('/eye')))
    assert kinds(events) == [FrameEvent] * 4
    with pytest.raises(ImageError, match='not later'):
        events[1].load()
    with pytest.raises(ImageError, match='no header.stamp'):
        events[2].load()
    assert events[2].stamp_ns == 102 * SECOND  # when it was recorded
    assert events[0].load().shape == events[3].load().shape == (4, 6, 3)


def test_a_jump_of_the_clock_comes_before_its_frame(make_bag):
    stamps_s = (5, 6, 5, 6)
    with Bag(make_bag(*(('/eye', frame(s * SECOND)) for s in stamps_s))) as bag:
        events = list(events_of_bag(bag, SequenceTopics('/eye')))
    assert kinds(events) == [FrameEvent, FrameEvent, ClockJumpEvent, FrameEvent, FrameEvent]
    assert events[2].stamp_ns == events[3].stamp_ns == 5 * SECOND
    events[3].load()  # counts again


def test_frames_know_their_truth_and_other_topics_pass_through(make_bag):
    path = make_bag(('/odom', odometry(SECOND)), ('/eye', frame(2 * SECOND)))
    track = Track(np.array([1, 3]) * SECOND, np.array([52.0, 53.0]), np.array([13.0, 14.0]))
    with Bag(path) as bag:
        topics = SequenceTopics('/eye', others=tuple(bag.topics))
        assert sorted(topics.names) == ['/eye', '/odom']
        other, seen = events_of_bag(bag, topics, track)
    assert isinstance(other, OtherEvent) and other.message.type == ODOMETRY_TYPES[0]
    assert seen.truth == pytest.approx((52.5, 13.5))
    assert seen.message.type in IMAGE_TYPES


def test_what_a_bag_does_not_have_is_not_looked_for(make_bag):
    with Bag(make_bag(('/eye', frame(SECOND)))) as bag:
        assert SequenceTopics.find(bag) == SequenceTopics('/eye')
        with pytest.raises(BagError, match='no topic /imu'):
            SequenceTopics.find(bag, headings='/imu')


def test_images_come_in_time_each_after_its_odometry(tmp_path):
    images = []
    for second in (3, 1, 2):
        path = tmp_path / f'{second}.png'
        Image.fromarray(np.full((4, 6, 3), second, np.uint8)).save(path)
        lat, lon = REGION.to_latlon(10.0 * second, 0.0)
        images.append(GeoImage(path.name, path, lat, lon, second * SECOND, path.name))
    events = list(events_of_images(images, REGION, DriftConfig(0.0, 0.0)))
    assert kinds(events) == [OdometryEvent, FrameEvent] * 3
    assert [event.stamp_ns // SECOND for event in events] == [1, 1, 2, 2, 3, 3]
    assert [event.load()[0, 0, 0] for event in events[1::2]] == [1, 2, 3]
    assert [event.pose.x_m for event in events[::2]] == pytest.approx([0, 10, 20], abs=1e-6)
    assert events[1].truth == (images[1].latitude, images[1].longitude)
    with pytest.raises(DatasetError, match='has the time of'):
        list(events_of_images([images[0], images[0]], REGION))
