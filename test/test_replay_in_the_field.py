"""Replay of what robots really record: odometry that cannot be used, truths that are none."""

import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from tiny import REGION, make_map, make_weights

from justzoom_ros.cli.main import main
from justzoom_ros.errors import BagError
from justzoom_ros.evaluation.replay import keep_finished, localize_frames, track_frames
from justzoom_ros.evaluation.sequence_calibration import observe
from justzoom_ros.filtering.odometry import JUMPED_BACK, Odometry
from justzoom_ros.io.bag_writing import write_bag
from justzoom_ros.io.bags import Bag
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.io.image_message import UsedDepth
from justzoom_ros.io.sequences import (
    ClockJumpEvent,
    FrameEvent,
    OdometryEvent,
    SequenceTopics,
    events_of_bag,
)
from justzoom_ros.io.stamps import NS_PER_S
from justzoom_ros.localizer import Localizer
from justzoom_ros.pose import Pose
from justzoom_ros.tracker import Tracker

STORE = get_typestore(Stores.ROS2_KILTED)
START_NS, STEP_NS = 1_700_000_000 * 10**9, 250_000_000
FRAMES = 4


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('replay')
    make_weights(folder, make_map(folder), gain=100.0)
    return folder


@pytest.fixture(scope='module')
def localizer(files):
    return Localizer.open(map=files / 'map', weights=files / 'weights.safetensors')


@pytest.fixture(scope='module')
def images(files):
    """Images of noise along a diagonal, a quarter of a second apart."""
    made = []
    for i in range(FRAMES):
        pixels = np.random.default_rng(i).integers(0, 256, (24, 24, 3), np.uint8)
        Image.fromarray(pixels).save(files / f'{i}.png')
        lat, lon = REGION.to_latlon(-100 + 25 * i, 100 - 20 * i)
        stamp_ns = START_NS + i * STEP_NS
        made.append(GeoImage(f'{i}.png', files / f'{i}.png', lat, lon, stamp_ns, f'row {i}'))
    return made


def frames(images, truth=None):
    return [FrameEvent(image.stamp_ns, image.load, truth) for image in images]


def with_odometry(frames, poses):
    """The frames, each after its pose."""
    pairs = zip(poses, frames, strict=True)
    return [event for pose, frame in pairs for event in (OdometryEvent(pose), frame)]


def poses(stamps_ns, yaw_rad=0.0, x_m=0.0):
    return [Pose(stamp_ns, x_m + i, 0.0, yaw_rad) for i, stamp_ns in enumerate(stamps_ns)]


STAMPS = [START_NS + i * STEP_NS for i in range(FRAMES)]
USELESS = {
    'zero quaternion': (poses(STAMPS, yaw_rad=np.nan), 'a quaternion of zeros'),
    'not a number': (poses(STAMPS, x_m=np.nan), 'not finite'),
    'no stamps': (poses([0] * FRAMES), 'header.stamp is zero'),
    'another clock': (poses([10**9 + s - START_NS for s in STAMPS]), '1699999999.0 s apart'),
}


@pytest.mark.parametrize('kind', USELESS)
def test_odometry_that_cannot_be_used_is_told_once_and_frames_stand_alone(
    localizer, images, kind, caplog
):
    samples, reason = USELESS[kind]
    alone = list(localize_frames(frames(images), localizer))
    with caplog.at_level(logging.WARNING):
        found = list(track_frames(with_odometry(frames(images), samples), Tracker(localizer)))
    assert [(f.status, f.latitude, f.longitude) for f in found] == [
        (f.status, f.latitude, f.longitude) for f in alone
    ]
    (message,) = [r.getMessage() for r in caplog.records if 'odometry' in r.getMessage()]
    assert message.startswith('no odometry could be used (4 samples')
    assert reason in message and '4 images was localized by itself' in message


def test_odometry_that_can_be_used_is_used_and_what_is_left_out_is_counted(
    localizer, images, caplog
):
    good = poses(STAMPS)
    found, expected = [], []
    for samples in (good, [good[0], *poses([STAMPS[1]], np.nan), *good[2:]]):
        found.append(
            list(track_frames(with_odometry(frames(images), samples), Tracker(localizer)))
        )
    tracker = Tracker(localizer)
    for image, pose in zip(images, good, strict=True):
        tracker.add_odometry(pose)
        fix = tracker.locate(image.load(), image.stamp_ns)
        expected.append((fix.latitude, fix.longitude))
    assert [(f.latitude, f.longitude) for f in found[0]] == expected
    told = [r.getMessage() for r in caplog.records if 'odometry' in r.getMessage()]
    assert len(told) == 1 and told[0].startswith('of 4 samples of the odometry some were not used')


def test_odometry_that_ends_before_the_images_is_told(localizer, images, caplog):
    before = poses([START_NS - 2 * STEP_NS, START_NS - STEP_NS])
    events = [*map(OdometryEvent, before), *frames(images)]  # 0.25, 0.5, 0.75 and 1 s after it
    list(track_frames(events, Tracker(localizer)))
    (told,) = [r.getMessage() for r in caplog.records if 'odometry' in r.getMessage()]
    assert told.startswith(f'the odometry does not reach up to 2 of {FRAMES} images:')


def test_clocks_that_jump_back_are_told(localizer, images, caplog):
    back_ns = [STAMPS[0], STAMPS[1], STAMPS[2] - 2 * NS_PER_S, STAMPS[3] - 2 * NS_PER_S]
    events = with_odometry(frames(images), poses(back_ns))
    events.insert(2, ClockJumpEvent(START_NS))
    events.insert(3, OdometryEvent(poses([START_NS + NS_PER_S])[0]))
    list(track_frames(events, Tracker(localizer)))
    said = [r.getMessage() for r in caplog.records]
    assert sum(text.startswith('time jumps back') for text in said) == 1
    assert sum(f'1 of 5 times {JUMPED_BACK}' in text for text in said) == 1


def test_how_far_a_moment_is_from_the_odometry():
    odometry = Odometry()
    assert not odometry.covers(0) and odometry.seconds_from(0) == np.inf
    for pose in poses([10 * 10**9, 12 * 10**9]):
        odometry.add(pose)
    assert odometry.covers(11 * 10**9) and odometry.covers(12_400_000_000)
    assert not odometry.covers(14 * 10**9)
    assert odometry.seconds_from(14 * 10**9) == pytest.approx(2)
    assert odometry.seconds_from(7 * 10**9) == pytest.approx(3)


# --- the command -------------------------------------------------------------------------------


def edited(images, out, edit, odometry=()):
    """The bag of the images with messages that `edit(topic, number, message)` changes, or leaves
    out where it says False."""
    plain = out.with_name('plain')
    write_bag(images, plain, '/camera', '/gps/fix', poses=odometry)
    with Bag(plain) as bag, Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections, counts = {}, dict.fromkeys(bag.topics, 0)
        for name, kind in bag.topics.items():
            connections[name] = writer.add_connection(name, kind, typestore=STORE)
        for item in bag.messages(bag.topics):
            keep = edit(item.topic, counts[item.topic], item.message)
            counts[item.topic] += 1
            if keep is not False:
                raw = STORE.serialize_cdr(item.message, item.type)
                writer.write(connections[item.topic], item.stamp_ns, raw)
    shutil.rmtree(plain)
    return out


def replay(files, bag, tmp_path, capsys, caplog):
    """(status, what is said, summary)."""
    options = ['--map', files / 'map', '--weights', files / 'weights.safetensors', '--json']
    with caplog.at_level(logging.WARNING):
        status = main(['replay', *map(str, [bag, *options, '-o', tmp_path / 'out'])])
    said = capsys.readouterr()
    return status, said.err + caplog.text, json.loads(said.out)


@pytest.fixture
def run(files, images, tmp_path, capsys, caplog):
    def of(edit, **options):
        bag = edited(images, tmp_path / 'bag', edit, **options)
        return replay(files, bag, tmp_path, capsys, caplog)

    return of


@pytest.mark.slow
def test_frames_that_cannot_be_used_give_status_2_and_their_reason(run):
    def spoil(topic, number, message):
        if topic == '/camera':
            message.data = message.data[:50]

    status, said, summary = run(spoil)
    assert status == 2 and summary['error'] == FRAMES
    assert f'{FRAMES} x compressed image' in said and 'cannot be decoded' in said


@pytest.mark.slow
@pytest.mark.parametrize(('place', 'hint'), [
    ((0.0, 0.0), 'never had a fix'), ('swapped', 'swapped'), ((52.6, 13.4), 'outside the map'),
])  # fmt: skip
def test_a_truth_that_is_not_on_the_map_is_told(run, place, hint):
    def move(topic, number, message):
        if topic == '/gps/fix':
            swapped = message.longitude, message.latitude
            message.latitude, message.longitude = swapped if place == 'swapped' else place

    status, said, summary = run(move)
    assert status == 0 and summary['truth_remark'] in said
    assert f'all {FRAMES} true positions lie outside the map' in said and hint in said


@pytest.mark.slow
def test_truths_of_which_some_are_not_on_the_map_are_counted(run):
    def move(topic, number, message):
        if topic == '/gps/fix' and number == 1:
            message.latitude = message.longitude = 0.0

    _, said, _ = run(move)
    assert f'1 of {FRAMES} true positions lie outside the map (they are at 0, 0' in said


@pytest.mark.slow
def test_clocks_that_do_not_overlap_are_told_with_their_distance(run):
    def delay(topic, number, message):
        if topic == '/gps/fix':
            message.header.stamp.sec += 7200

    _, said, summary = run(delay)
    # The last image is 0.75 s after the first.
    assert 'images and true positions are 7199.2 s apart' in said
    assert summary['truth_unknown'] == FRAMES


@pytest.mark.slow
def test_a_gps_that_never_had_a_fix_is_no_truth(run):
    def lose(topic, number, message):
        if topic == '/gps/fix':
            message.status.status = -1

    status, said, summary = run(lose)
    assert status == 0 and 'no true positions' in said and summary['truth_unknown'] == FRAMES


@pytest.mark.slow
def test_topics_without_messages_are_as_if_they_were_not_there(run, images):
    status, said, summary = run(lambda topic, *_: topic == '/camera', odometry=poses(STAMPS))
    assert status == 0 and 'no true positions' in said and 'there is no odometry' in said
    assert summary['images'] == FRAMES and summary['error'] == 0


def test_what_was_finished_before_the_damage_is_kept(localizer, images, caplog):
    def events(count):
        yield from frames(images)[:count]
        raise BagError('bag a is damaged or truncated: crc')

    with caplog.at_level(logging.WARNING):
        kept = list(keep_finished(localize_frames(events(3), localizer)))
    assert [fix.stamp_ns for fix in kept] == STAMPS[:3]
    assert 'bag a is damaged or truncated: crc; the 3 images before that are kept' in caplog.text
    with pytest.raises(BagError, match='crc'):
        list(keep_finished(localize_frames(events(0), localizer)))


# --- cameras of more than 8 bits ---------------------------------------------------------------


def grey_bag(out, pictures, encoding):
    """A bag of grey pictures, uint8 or uint16 (24, 24)."""
    image, stamp = STORE.types['sensor_msgs/msg/Image'], STORE.types['builtin_interfaces/msg/Time']
    header = STORE.types['std_msgs/msg/Header']
    with Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection('/camera', 'sensor_msgs/msg/Image', typestore=STORE)
        for stamp_ns, picture in zip(STAMPS, pictures, strict=True):
            at = header(stamp(*divmod(stamp_ns, 10**9)), 'camera')
            data = np.frombuffer(
                picture.astype(picture.dtype.newbyteorder('<')).tobytes(), np.uint8
            )
            step = picture.itemsize * picture.shape[1]
            message = image(at, *picture.shape, encoding, 0, step, data)
            writer.write(topic, stamp_ns, STORE.serialize_cdr(message, 'sensor_msgs/msg/Image'))
    return out


def fixes_of(path, localizer, depth=None):
    with Bag(path) as bag:
        events = events_of_bag(bag, SequenceTopics('/camera'), depth=depth)
        return list(localize_frames(events, localizer))


@pytest.mark.parametrize(
    ('to_16_bits', 'limits'),
    [(lambda p: p * 16383.0 / 255, None), (lambda p: 28315 + p * 3000.0 / 255, (28315, 31315))],
    ids=['14 bits', 'thermal'],
)
def test_a_bag_of_16_bits_gives_the_fixes_of_8(tmp_path, localizer, to_16_bits, limits):
    rng = np.random.default_rng(3)
    small = [rng.integers(0, 256, (24, 24), np.uint8) for _ in STAMPS]
    deep = [np.rint(to_16_bits(picture)).astype(np.uint16) for picture in small]
    plain = fixes_of(grey_bag(tmp_path / 'a', small, 'mono8'), localizer)
    found = fixes_of(grey_bag(tmp_path / 'b', deep, 'mono16'), localizer, UsedDepth(limits))
    assert [fix.status for fix in found] == [fix.status for fix in plain]
    assert 'error' not in {fix.status for fix in found}
    for one, other in zip(found, plain, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=0.02)
        assert (one.latitude, one.longitude) == pytest.approx(
            (other.latitude, other.longitude), abs=2e-6
        )


# --- calibration -------------------------------------------------------------------------------


def test_calibration_refuses_a_truth_outside_the_map_and_a_robot_that_stands(localizer, images):
    inside = REGION.latitude, REGION.longitude
    outside = with_odometry(frames(images, (13.4, 52.5)), poses(STAMPS))
    with pytest.raises(BagError, match='bag a has the true position 13.4.*outside the map'):
        observe(outside, localizer, 'bag a')
    still = [Pose(stamp_ns, 0.0, 0.0, 0.0) for stamp_ns in STAMPS]
    with pytest.raises(BagError, match='bag a has no movement'):
        observe(with_odometry(frames(images, inside), still), localizer, 'bag a')
    useless = poses(STAMPS, yaw_rad=np.nan)
    with pytest.raises(BagError, match='bag a has no movement'):
        observe(with_odometry(frames(images, inside), useless), localizer, 'bag a')
