"""Bags written and read back with rosbags' own reader, and every way in which one can be bad."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from justzoom_ros.cli.main import main
from justzoom_ros.errors import BagError, DatasetError
from justzoom_ros.io.bag_writing import image_message, truth_message, write_bag
from justzoom_ros.io.bags import IMAGE_TYPES, TRUTH_TYPES, Bag, Track, read_track
from justzoom_ros.io.datasets import GeoImage, read_images
from justzoom_ros.io.image_message import image_from_message

TOPIC, TRUTH = '/camera/image/compressed', '/gps/fix'
STORE = get_typestore(Stores.ROS2_KILTED)


def make_image(folder, number, stamp_s=None, suffix='jpg', **save):
    """A GeoImage of noise, 20 x 30, at 52 + number / 1000 north, 13 east."""
    path = folder / f'{number}.{suffix}'
    noise = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(noise).save(path, **save)
    stamp_s = 1000 + number if stamp_s is None else stamp_s
    return GeoImage(path.name, path, 52 + number / 1000, 13.0, int(stamp_s * 1e9), f'row {number}')


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    return [make_image(folder, number) for number in range(4)]


@pytest.fixture(scope='module')
def bag(images, tmp_path_factory):
    out = tmp_path_factory.mktemp('bags') / 'flight'
    write_bag(images[::-1], out, TOPIC, TRUTH, 'cam0')
    return out


def write_messages(out, *messages, plugin=StoragePlugin.SQLITE3):
    """A bag of (topic, message, recorded seconds)."""
    with Writer(out, version=9, storage_plugin=plugin) as writer:
        connections = {}
        for topic, message, recorded_s in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            raw = STORE.serialize_cdr(message, kind)
            writer.write(connections[topic], int(recorded_s * 1e9), raw)
    return out


# --- writing -----------------------------------------------------------------------------------


def test_written_bag_read_by_rosbags(bag, images):
    with AnyReader([bag]) as reader:
        items = [
            (c.topic, t, reader.deserialize(raw, c.msgtype)) for c, t, raw in reader.messages()
        ]
    assert sorted(p.name for p in bag.iterdir()) == ['flight.mcap', 'metadata.yaml']
    assert [p.name for p in bag.parent.iterdir()] == ['flight']
    for i, image in enumerate(images):
        (_, time_ns, truth), (topic, _, frame) = items[2 * i : 2 * i + 2]
        assert topic == TOPIC and time_ns == image.stamp_ns
        for header in (truth.header, frame.header):
            assert header.stamp.sec * 10**9 + header.stamp.nanosec == image.stamp_ns
        assert (frame.header.frame_id, frame.format) == ('cam0', 'jpeg')
        assert frame.data.tobytes() == image.path.read_bytes()
        assert (truth.latitude, truth.longitude) == (image.latitude, image.longitude)
        assert truth.status.status == 0 and truth.position_covariance_type == 0


def test_other_formats_and_turned_images_are_encoded(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    turned = make_image(tmp_path, 1, exif=exif)
    png = make_image(tmp_path, 2, suffix='png')
    for image, shape in ((turned, (30, 20, 3)), (png, (20, 30, 3))):
        message = image_message(STORE, image, 'cam')
        assert message.data[:2].tobytes() == b'\xff\xd8'
        pixels = image_from_message(message)
        assert pixels.shape == shape
        assert np.abs(pixels.astype(int) - image.load()).mean() < 6


def test_images_that_cannot_be_stamped(tmp_path):
    first, twin = make_image(tmp_path, 1), make_image(tmp_path, 2, stamp_s=1001)
    timeless = GeoImage('3', first.path, 52, 13, None, 'list.csv row 5')
    for images, says in (([first, twin], 'has the time of'), ([timeless], 'row 5: .* no time')):
        with pytest.raises(DatasetError, match=says):
            write_bag(images, tmp_path / 'bag', TOPIC, TRUTH)
    assert not (tmp_path / 'bag').exists()


def test_a_failure_leaves_nothing(tmp_path):
    (tmp_path / 'in').mkdir()
    images = [make_image(tmp_path / 'in', 1), make_image(tmp_path / 'in', 2)]
    images[1].path.write_bytes(images[1].path.read_bytes()[:-300])
    with pytest.raises(DatasetError, match='2.jpg is corrupt'):
        write_bag(images, tmp_path / 'bag', TOPIC, TRUTH)
    assert list(tmp_path.iterdir()) == [tmp_path / 'in']


def test_a_bag_is_never_overwritten(bag, images):
    with pytest.raises(BagError, match='exists already'):
        write_bag(images, bag, TOPIC, TRUTH)


# --- reading -----------------------------------------------------------------------------------


def test_messages(bag, images):
    with Bag(bag) as opened:
        assert opened.counts == {TOPIC: 4, TRUTH: 4}
        assert opened.topic(IMAGE_TYPES) == opened.topic(IMAGE_TYPES, TOPIC) == TOPIC
        items = list(opened.messages([TOPIC]))
    for image, item in zip(images, items, strict=True):
        assert item.stamp_ns == image.stamp_ns
        assert (image_from_message(item.message) == image.load()).all()
        assert STORE.deserialize_cdr(item.raw, item.type).header.frame_id == 'cam0'


@pytest.mark.parametrize('plugin', [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_either_storage_as_folder_or_file(tmp_path, images, plugin):
    message = truth_message(STORE, images[2])
    out = write_messages(tmp_path / 'b', (TRUTH, message, 7.0), plugin=plugin)
    (file,) = (f for f in out.iterdir() if f.suffix in ('.db3', '.mcap'))
    paths = [out, file]
    for path in paths:
        with Bag(path) as opened:
            (item,) = opened.messages([TRUTH])
        assert item.message.latitude == images[2].latitude
    (out / 'metadata.yaml').unlink()
    with Bag(out) as opened:
        assert opened.topics == {TRUTH: TRUTH_TYPES[0]}


def test_a_message_without_a_stamp_has_the_time_of_its_recording(tmp_path, images):
    unstamped = GeoImage('x', images[0].path, 1, 2, 0, '')
    out = write_messages(tmp_path / 'b', (TRUTH, truth_message(STORE, unstamped), 7.25))
    with Bag(out) as opened:
        (item,) = opened.messages([TRUTH])
    assert item.stamp_ns == 7_250_000_000


def test_topics_that_are_not_there_or_ambiguous(tmp_path, bag, images):
    with Bag(bag) as opened:
        with pytest.raises(BagError, match=f'no topic /camera; it has .*{TRUTH}'):
            opened.topic(IMAGE_TYPES, '/camera')
        with pytest.raises(BagError, match=f'{TRUTH} .* is a sensor_msgs/msg/NavSatFix, not a'):
            opened.topic(IMAGE_TYPES, TRUTH)
        with pytest.raises(BagError, match='has no topic of type x/msg/Y'):
            opened.topic(('x/msg/Y',))
    message = truth_message(STORE, images[0])
    two = write_messages(tmp_path / 'two', ('/a', message, 1), ('/b', message, 1))
    with Bag(two) as opened:
        with pytest.raises(BagError, match='more than one topic .* /a .*, /b '):
            opened.topic(TRUTH_TYPES)
        assert opened.topic(TRUTH_TYPES, '/b') == '/b'


def test_paths_that_are_no_bag(tmp_path):
    (tmp_path / 'a.bag').write_bytes(b'#ROSBAG V2.0')
    (tmp_path / 'empty.mcap').touch()
    (tmp_path / 'text.db3').write_text('hello')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken' / 'metadata.yaml').write_text('{')
    for name in ('a.bag', 'empty.mcap', 'text.db3', 'folder', 'broken', 'nothing'):
        with pytest.raises(BagError, match=name), Bag(tmp_path / name):
            pass


def test_an_empty_bag(tmp_path):
    with pytest.raises(BagError, match='holds no messages'), Bag(write_messages(tmp_path / 'b')):
        pass


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bags_are_bag_errors(bag, tmp_path_factory, data):
    """Cut anywhere: an error. A flipped byte: an error or readable, but no other exception."""
    raw = bytearray((bag / 'flight.mcap').read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    cut = data.draw(st.booleans())
    if cut:
        raw = raw[:place]
    else:
        raw[place] ^= data.draw(st.integers(1, 255))
    file = tmp_path_factory.getbasetemp() / 'damaged.mcap'
    file.write_bytes(raw)
    expected = pytest.raises(BagError) if cut else contextlib.suppress(BagError)
    with expected, Bag(file) as opened:
        list(opened.messages(opened.topics))


# --- truth -------------------------------------------------------------------------------------


def test_truth_is_linear_in_time():
    base_ns = 1_700_000_000_000_000_000
    stamps = base_ns + np.array([0, 2, 4], np.int64) * 10**9
    track = Track(stamps, np.array([10.0, 11, 13]), np.array([179.9, -179.9, -179.5]))
    assert track.at(base_ns) == pytest.approx((10, 179.9), abs=1e-12)
    assert track.at(base_ns + 500_000_000) == pytest.approx((10.25, 179.95), abs=1e-9)
    assert track.at(base_ns + 1_500_000_000) == pytest.approx((10.75, -179.95), abs=1e-9)
    assert track.at(base_ns + 3 * 10**9 + 1) == pytest.approx((12, -179.7), abs=1e-8)
    assert track.at(base_ns + 5 * 10**9) == pytest.approx((13, -179.5))
    assert track.at(base_ns - 10**9) == pytest.approx((10, 179.9))
    assert track.at(base_ns + 10 * 10**9) is None
    assert track.at(base_ns + 10**9, max_gap_s=0.5) is None


def test_truth_without_a_position_is_dropped_and_counted(tmp_path, images):
    good, lost, nan = (truth_message(STORE, image) for image in images[:3])
    lost.status.status = -1
    nan.latitude = float('nan')
    out = write_messages(tmp_path / 'b', *((TRUTH, m, 1) for m in (lost, good, nan)))
    with Bag(out) as opened:
        track = read_track(opened, TRUTH)
    assert track.dropped == 2 and list(track.stamps_ns) == [images[0].stamp_ns]
    out = write_messages(tmp_path / 'c', (TRUTH, lost, 1))
    with Bag(out) as opened, pytest.raises(BagError, match='no message with a position$'):
        read_track(opened, TRUTH)
    lost.latitude, lost.longitude = 5_800_000.0, 391_000.0  # metres of UTM
    out = write_messages(tmp_path / 'd', (TRUTH, lost, 1))
    with Bag(out) as opened, pytest.raises(BagError, match='latitudes and longitudes are no deg'):
        read_track(opened, TRUTH)


def test_a_real_drive(shared):
    with Bag(shared / 'data' / 'husky' / 'test1_ros2_mcap') as opened:
        track = read_track(opened, opened.topic(TRUTH_TYPES))
    assert len(track.stamps_ns) == 989
    assert track.at(int(track.stamps_ns[500])) == pytest.approx((42.3764, -71.1475), abs=2e-3)


# --- command -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_command(shared, tmp_path, capsys):
    frames = shared / 'data' / 'seneca' / 'frames.csv'
    out = tmp_path / 'seneca'
    assert main(['bag', str(frames), '--select', 'role=query', '-o', str(out), '--json']) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {'bag': str(out), 'images': 83, 'duration_s': 1143.0}
    first = read_images(frames, {'role': 'query'})[0]
    with Bag(out) as opened:
        assert opened.counts == {TOPIC: 83, TRUTH: 83}
        assert read_track(opened, TRUTH).at(first.stamp_ns) == (first.latitude, first.longitude)
    assert main(['bag', str(frames), '-o', str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith('justzoom: error: ') and error.count('\n') == 1
