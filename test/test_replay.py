"""Replay in process and through a real node in a process of its own: the same fixes; and files
that say what happened, checked by reading them back."""

import contextlib
import csv
import json
import math
import re
import signal
import subprocess
import sys
from itertools import chain

import numpy as np
import pytest
from PIL import Image
from pyproj import Geod
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from tiny import REGION, make_map, make_weights

from justzoom_ros.cli.main import main
from justzoom_ros.evaluation.replay import ReplayedFix, localize_frames, track_frames
from justzoom_ros.evaluation.replay_results import summarize, write_results
from justzoom_ros.evaluation.scored_fix import score_fix
from justzoom_ros.filtering import Odometry
from justzoom_ros.io.bag_writing import write_bag
from justzoom_ros.io.bags import IMAGE_TYPES, ODOMETRY_TYPES, Bag, Track
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.io.dead_reckoning import DriftConfig, dead_reckon
from justzoom_ros.io.sequences import (
    FrameEvent,
    HeadingEvent,
    SequenceTopics,
    events_of_bag,
)
from justzoom_ros.localizer import FixCriteria, Localizer
from justzoom_ros.tracker import Tracker

TOPIC, TRUTH = '/camera/image/compressed', '/gps/fix'
START_S = 1_370_353_055
STORE = get_typestore(Stores.ROS2_KILTED)
ALWAYS = ['fixes.csv', 'map.png', 'report.html', 'summary.json', 'track.geojson']
OUTPUTS = sorted([*ALWAYS, 'belief.png', 'errors.png'])


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('replay')
    make_weights(folder, make_map(folder), gain=100.0)
    return folder


@pytest.fixture(scope='module')
def images(files):
    """Eight images of noise along a diagonal, a quarter of a second apart."""
    made = []
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 256, (24, 24, 3), np.uint8)
        pixels[:, :, i % 3] //= 8
        path = files / f'{i}.jpg'
        Image.fromarray(pixels).save(path, quality=95)
        lat, lon = REGION.to_latlon(-100 + 25 * i, 100 - 20 * i)
        stamp_ns = START_S * 10**9 + i * 250_000_000
        made.append(GeoImage(path.name, path, lat, lon, stamp_ns, f'row {i}'))
    return made


@pytest.fixture(scope='module')
def bag(files, images):
    write_bag(images, files / 'bag', TOPIC, TRUTH)
    return files / 'bag'


@pytest.fixture(scope='module')
def broken_bag(files, bag):
    """The bag with its fourth image cut short, and its sixth as it was a second time."""
    out = files / 'broken'
    with Bag(bag) as whole, Writer(out, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topic = writer.add_connection(TOPIC, IMAGE_TYPES[0], typestore=STORE)
        for i, item in enumerate(whole.messages([TOPIC])):
            if i == 3:
                item.message.data = item.message.data[:300]
            for _ in range(2 if i == 5 else 1):
                raw = STORE.serialize_cdr(item.message, item.type)
                writer.write(topic, item.stamp_ns, raw)
    return out


@pytest.fixture(scope='module')
def criteria(files, images):
    """One under which half of the images give a fix."""
    localizer = Localizer.open(map=files / 'map', weights=files / 'weights.safetensors')
    confidences = sorted(localizer.locate(image.load()).confidence for image in images)
    return FixCriteria(sum(confidences[3:5]) / 2, 400.0)


@pytest.fixture(scope='module')
def localizer(files, criteria):
    map, weights = files / 'map', files / 'weights.safetensors'
    return Localizer.open(map=map, weights=weights, criteria=criteria)


def command(files, bag, out, *more):
    paths = [bag, '--map', files / 'map', '-o', out, *more]
    return main(['replay', *map(str, paths)])


def read_csv(path):
    with path.open() as file:
        return list(csv.DictReader(file))


# --- in process --------------------------------------------------------------------------------


def test_fixes_are_those_of_the_images(localizer, bag, images):
    with Bag(bag) as opened:
        fixes = list(localize_frames(events_of_bag(opened, SequenceTopics(TOPIC)), localizer))
    assert [fix.stamp_ns for fix in fixes] == [image.stamp_ns for image in images]
    for fix, image in zip(fixes, images, strict=True):
        alone = localizer.locate(image.load())
        assert (fix.latitude, fix.longitude) == (alone.latitude, alone.longitude)
        assert (fix.status, fix.confidence) == (alone.status, alone.confidence)
        assert (fix.covariance_m2 == alone.covariance_m2).all()
    assert len({fix.latitude for fix in fixes}) > 1  # the test would see a mix-up


def test_bad_images_are_rows_too(localizer, broken_bag):
    with Bag(broken_bag) as opened:
        fixes = list(localize_frames(events_of_bag(opened, SequenceTopics(TOPIC)), localizer))
    assert [i for i, fix in enumerate(fixes) if fix.status == 'error'] == [3, 6]
    assert 'cannot be decoded' in fixes[3].reason and 'not later' in fixes[6].reason
    assert fixes[3].latitude is None


# --- scores ------------------------------------------------------------------------------------


def fix_at(east_m, north_m, status='fix', stamp_ns=0, std_m=10.0):
    lat, lon = REGION.to_latlon(east_m, north_m)
    return ReplayedFix(stamp_ns, status, '', lat, lon, np.eye(2) * std_m**2, 0.9)


def track_at(east_m, north_m):
    lat, lon = REGION.to_latlon(east_m, north_m)
    return Track(np.array([0]), np.array([lat]), np.array([lon]))


def test_scores_by_hand():
    here = track_at(5, 5)
    # The 90 % ellipse of a standard deviation of 10 m has a radius of 21.46 m.
    for off_m, inside in ((21.4, True), (21.5, False)):
        item = score_fix(fix_at(5, 5 + off_m), REGION, here)
        assert item.error_m == pytest.approx(off_m, abs=1e-6) and item.in_ellipse == inside
    assert score_fix(fix_at(5, 5), REGION).truth is None
    assert score_fix(fix_at(5, 5, stamp_ns=10**11), REGION, here).truth is None
    assert score_fix(ReplayedFix(0, 'error'), REGION, here).error_m is None


def test_summary_by_hand():
    here = track_at(5, 5)  # in the cell from 0 to 16 m east and north
    fixes = [
        fix_at(6, 6),
        fix_at(45, 5),
        fix_at(5, 95, 'no_fix', std_m=100.0),
        fix_at(5, 5, stamp_ns=10**11),
        ReplayedFix(0, 'error', 'cut'),
    ]
    summary = summarize([score_fix(fix, REGION, here) for fix in fixes], REGION, here)
    counts = ('images', 'fix', 'no_fix', 'error', 'missed', 'truth_unknown')
    assert [summary[name] for name in counts] == [5, 3, 1, 1, 0, 1]
    every, sure = summary['all'], summary['fix_only']
    assert (every['images'], sure['images']) == (3, 2)
    assert every['recall_cell'] == pytest.approx(1 / 3) and sure['recall_cell'] == 0.5
    assert every['recall_40m'] == pytest.approx(2 / 3) and sure['recall_10m'] == 0.5
    assert every['median_m'] == pytest.approx(40, abs=1e-6)
    assert every['coverage_90_ellipse'] == pytest.approx(2 / 3)


def test_truth_outside_the_region_is_counted_apart():
    away = track_at(500, 0)
    summary = summarize([score_fix(fix_at(0, 0), REGION, away)], REGION, away)
    assert summary['truth_outside_region'] == 1 and summary['all']['images'] == 0


# --- files -------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def written(files, bag, criteria):
    out = files / 'out'
    options = ('--min-confidence', criteria.min_confidence, '--max-radius', criteria.max_radius_m)
    assert command(files, bag, out, '--weights', files / 'weights.safetensors', *options) == 0
    return out


@pytest.mark.slow
def test_outputs(written, images):
    assert sorted(p.name for p in written.iterdir()) == OUTPUTS
    summary = json.loads((written / 'summary.json').read_text())
    rows = read_csv(written / 'fixes.csv')
    assert summary['images'] == len(rows) == 8
    assert summary['fix'] == sum(row['status'] == 'fix' for row in rows) == 4
    assert summary['no_fix'] == 4
    for row, image in zip(rows, images, strict=True):
        assert float(row['truth_latitude']) == image.latitude
        here = float(row['longitude']), float(row['latitude'])
        _, _, metres = Geod(ellps='WGS84').inv(image.longitude, image.latitude, *here)
        assert float(row['error_m']) == pytest.approx(metres, rel=1e-4)
    with Image.open(written / 'map.png') as picture:
        assert picture.format == 'PNG' and min(picture.size) > 800


@pytest.mark.slow
def test_geojson(written, images):
    rows = read_csv(written / 'fixes.csv')
    features = json.loads((written / 'track.geojson').read_text())['features']
    kinds = [feature['properties']['kind'] for feature in features]
    assert kinds == ['truth', *['fix', 'ellipse_90'] * 8]
    assert features[0]['geometry']['coordinates'][3] == [images[3].longitude, images[3].latitude]
    for row, point, ellipse in zip(rows, features[1::2], features[2::2], strict=True):
        assert point['properties']['status'] == row['status']
        lon, lat = point['geometry']['coordinates']
        assert [lon, lat] == [float(row['longitude']), float(row['latitude'])]
        (ring,) = ellipse['geometry']['coordinates']
        assert ring[0] == ring[-1]
        reach = [Geod(ellps='WGS84').inv(lon, lat, *corner)[2] for corner in ring]
        variances = np.linalg.eigvalsh(
            [
                [float(row['variance_east_m2']), float(row['covariance_east_north_m2'])],
                [float(row['covariance_east_north_m2']), float(row['variance_north_m2'])],
            ]
        )
        assert max(reach) <= math.sqrt(4.6052 * variances[1]) * 1.001
        assert max(reach) >= math.sqrt(4.6052 * variances[1]) * 0.99


@pytest.mark.slow
def test_without_truth_and_with_bad_images(files, broken_bag, tmp_path, capsys):
    weights = files / 'weights.safetensors'
    assert command(files, broken_bag, tmp_path, '--weights', weights, '--json') == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary['error'], summary['truth_unknown']) == (2, 9)
    assert summary['all']['median_m'] is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ALWAYS


@pytest.mark.slow
def test_nothing_to_draw(files, localizer, tmp_path):
    summary = write_results(tmp_path, localizer.map, [ReplayedFix(1, 'error', 'cut')])
    assert summary['images'] == 1 and sorted(p.name for p in tmp_path.iterdir()) == ALWAYS


@pytest.mark.parametrize(
    ('bag_name', 'options', 'says'),
    [
        ('nothing', '--weights weights.safetensors', 'nothing does not exist'),
        ('bag', '', 'how much ground does bag bag show? give --footprint'),
        ('bag', '--weights nothing.safetensors', 'nothing.safetensors'),
        ('bag', '--weights weights.safetensors --truth /gps', 'has no topic /gps; it has'),
        ('bag', '--weights weights.safetensors --image-topic /gps/fix', 'is a sensor_msgs/msg/Na'),
        ('bag', '--weights weights.safetensors --rate 2', '--rate is for --live'),
        ('bag', '--weights weights.safetensors --clock', '--clock is for --live'),
        ('bag', '--weights weights.safetensors --max-gap nan', '--max-gap is nan'),
        ('bag', '--weights weights.safetensors --min-confidence 2', 'min_confidence is 2'),
        ('bag', '--weights weights.safetensors --map nothing', 'nothing'),
        ('bag', '--weights weights.safetensors -o bag/metadata.yaml', 'cannot be written'),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(
    files, bag, tmp_path, monkeypatch, capsys, bag_name, options, says
):
    monkeypatch.chdir(files)
    assert command(files, bag_name, tmp_path, *options.split()) == 2
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert out == '' and last.startswith('justzoom: error: ') and says in last
    assert list(tmp_path.iterdir()) == []


# --- through a running node --------------------------------------------------------------------


@pytest.fixture(scope='module')
def node(files, criteria):
    """The node, active, in a process and a domain of its own; yields the environment to set."""
    support = pytest.importorskip('ros_support')
    with contextlib.ExitStack() as stack:
        domain = stack.enter_context(support.own_domain(41, 70))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv('ROS_DOMAIN_ID', str(domain))
        patch.setenv('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp')
        parameters = {
            'map': files / 'map',
            'weights': files / 'weights.safetensors',
            'image_transport': 'compressed',
            'image_reliability': 'reliable',
            'min_confidence': criteria.min_confidence,
            'max_radius_m': criteria.max_radius_m,
        }
        words = [word for name, value in parameters.items() for word in ('-p', f'{name}:={value}')]
        process = subprocess.Popen(
            [sys.executable, '-m', 'justzoom_ros.ros.node', '--ros-args', *words]
            + ['-r', 'image:=/camera/image', '-r', 'fix:=/camera/position']
            + ['-r', 'likelihood:=/camera/likelihood', '-r', 'hypotheses:=/camera/hypotheses']
        )
        stack.callback(process.wait, support.PATIENCE_S)
        stack.callback(process.send_signal, signal.SIGINT)
        context = support.rclpy.Context()
        support.rclpy.init(context=context)
        peer = support.Peer(context)
        peer.meet()
        assert peer.change('configure') and peer.change('activate')
        peer.close()
        support.rclpy.shutdown(context=context)
        yield process


def live(files, bag, out, *more):
    return command(files, bag, out, '--live', '--fix-topic', '/camera/position', *more)


def test_live_gives_the_same_fixes(node, files, bag, written, tmp_path):
    assert live(files, bag, tmp_path) == 0
    alike = ('stamp_ns', 'status', 'truth_latitude', 'truth_longitude', 'truth_in_90_ellipse')
    ours, theirs = read_csv(written / 'fixes.csv'), read_csv(tmp_path / 'fixes.csv')
    assert len(ours) == len(theirs) == 8
    for mine, other in zip(ours, theirs, strict=True):
        assert [mine[name] for name in alike] == [other[name] for name in alike]
        for name in ('latitude', 'longitude'):
            assert float(mine[name]) == pytest.approx(float(other[name]), abs=1e-9)
        for name in ('variance_east_m2', 'covariance_east_north_m2', 'variance_north_m2'):
            assert float(mine[name]) == pytest.approx(float(other[name]), rel=1e-6, abs=1e-6)


def test_the_page_of_a_live_replay_shows_what_the_node_said(node, files, bag, tmp_path):
    assert live(files, bag, tmp_path) == 0
    data = re.search(r'id="data">(.*?)</script>', (tmp_path / 'report.html').read_text())[1]
    frames = json.loads(data)['frames']
    assert len(frames) == 8
    for frame in frames:
        assert frame['image'].startswith('data:image/webp') and frame['hypotheses']
        assert frame['evidence']['width_m'] == frame['evidence']['height_m'] == REGION.side_m
        assert frame['confidence'] == pytest.approx(frame['hypotheses'][0][2])


def test_live_with_bad_images(node, files, broken_bag, tmp_path):
    assert live(files, broken_bag, tmp_path) == 0
    rows = read_csv(tmp_path / 'fixes.csv')
    assert [i for i, row in enumerate(rows) if row['status'] == 'error'] == [3, 6]
    assert all(row['latitude'] for i, row in enumerate(rows) if i not in (3, 6))


def test_live_at_a_rate(node, files, bag, tmp_path):
    """As fast as can be: what is passed over is said so, the last image never is; and again."""
    for out in (tmp_path / 'once', tmp_path / 'twice'):
        assert live(files, bag, out, '--rate', 1000) == 0
        statuses = [row['status'] for row in read_csv(out / 'fixes.csv')]
        assert len(statuses) == 8 and set(statuses) <= {'fix', 'no_fix', 'missed'}
        assert statuses[-1] != 'missed'


def test_live_tells_the_time_if_asked(node, files, bag, tmp_path):
    """Every stamp of the bag is on /clock, in its order."""
    import ros_support as support
    from rosgraph_msgs.msg import Clock

    context = support.rclpy.Context()
    support.rclpy.init(context=context)
    peer = support.rclpy.create_node('clock_peer', context=context)
    executor = support.rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(peer)
    ticks = []
    peer.create_subscription(Clock, '/clock', lambda m: ticks.append(m.clock), 1000)
    with Bag(bag) as opened:
        sent = [message.stamp_ns for message in opened.messages(opened.topics)]
    # What is sent before DDS has made the peer known is lost.
    for number in range(5):
        if len(ticks) < len(sent) / 2:
            ticks.clear()
            assert live(files, bag, tmp_path / str(number), '--clock') == 0
            for _ in range(len(sent) + 20):
                executor.spin_once(0.1)
    executor.shutdown()
    peer.destroy_node()
    support.rclpy.shutdown(context=context)
    heard = [tick.sec * 10**9 + tick.nanosec for tick in ticks]
    assert heard == sent[-len(heard) :] and len(heard) >= len(sent) / 2


def test_live_with_nobody_there(node, files, bag, tmp_path, capsys):
    out = tmp_path / 'out'
    # On a loaded machine it may take a while to find the node.
    for patience_s in ('3', '60'):
        words = ['--live', '--fix-topic', '/nowhere', '--timeout', patience_s]
        assert command(files, bag, out, *words) == 2
        told = capsys.readouterr().err
        if 'nobody subscribes' not in told:
            break
    assert 'nobody publishes /nowhere' in told
    other = files / 'other_topic'
    with Bag(bag) as opened:
        first = next(iter(opened.messages([TOPIC])))
    with Writer(other, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection('/eye', IMAGE_TYPES[0], typestore=STORE)
        writer.write(topic, first.stamp_ns, first.raw)
    assert live(files, other, out, '--timeout', '0.5') == 2
    assert 'nobody subscribes to /eye' in capsys.readouterr().err
    assert list(out.iterdir()) == []


def test_live_when_the_node_stays_silent(node, files, bag, tmp_path, capsys):
    """An image without a frame_id gets no fix from the node: bounded waiting, a clear error."""
    silent = files / 'silent'
    with Bag(bag) as opened:
        first = next(iter(opened.messages([TOPIC])))
    first.message.header.frame_id = ''
    first.message.header.stamp.sec += 100
    with Writer(silent, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection(TOPIC, IMAGE_TYPES[0], typestore=STORE)
        raw = STORE.serialize_cdr(first.message, IMAGE_TYPES[0])
        writer.write(topic, first.stamp_ns, raw)
    # On a loaded machine it may take a while to find the node.
    for patience_s in ('3', '60'):
        assert live(files, silent, tmp_path, '--timeout', patience_s) == 2
        told = capsys.readouterr().err
        if 'no fix' in told:
            break
    assert f'no fix on /camera/position within {patience_s} s' in told


# --- motion --------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def moving_bag(files, images):
    """The bag with odometry at twenty samples a second, of a robot that goes straight on."""
    stamps_ns = np.arange(images[0].stamp_ns, images[-1].stamp_ns + 1, 50_000_000)
    since = (stamps_ns - images[0].stamp_ns) / 250e6
    places = np.stack([5 * since, 0 * since], 1)
    poses = dead_reckon(stamps_ns, places, DriftConfig(0.0, 0.0))
    write_bag(images, files / 'moving', TOPIC, TRUTH, poses=poses)
    return files / 'moving'


def test_written_odometry_is_read_as_it_was(moving_bag):
    with Bag(moving_bag) as bag:
        topics = SequenceTopics(odometry=bag.topic(ODOMETRY_TYPES))
        poses = [event.pose for event in events_of_bag(bag, topics)]
    odometry = Odometry()
    assert [odometry.add(pose) for pose in poses] == [''] * len(poses)
    whole = odometry.motion(poses[0].stamp_ns, poses[-1].stamp_ns)
    assert whole.distance_m == pytest.approx(35.0)
    assert whole.forward_m == pytest.approx(whole.distance_m) and whole.unknown_s == 0


class Looped:
    """An open bag that is played twice: time jumps back between."""

    def __init__(self, bag):
        self._bag = bag

    def messages(self, topics):
        return chain(self._bag.messages(topics), self._bag.messages(topics))


@pytest.mark.slow
def test_a_bag_that_loops_gives_the_same_the_second_time(moving_bag, localizer):
    tracker = Tracker(localizer)
    with Bag(moving_bag) as bag:
        events = events_of_bag(Looped(bag), SequenceTopics.find(bag))
        fixes = list(track_frames(events, tracker))
    first, second = fixes[:8], fixes[8:]
    for one, other in zip(first, second, strict=True):
        assert (one.stamp_ns, one.latitude, one.longitude) == (
            other.stamp_ns,
            other.latitude,
            other.longitude,
        )
        np.testing.assert_array_equal(one.covariance_m2, other.covariance_m2)


def test_measured_headings_reach_the_belief(localizer):
    """A compass that says east leaves no mass to other headings, frame or not."""
    tracker = Tracker(localizer)
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    events = [HeadingEvent(10**9, 0.0, 0.1), FrameEvent(10**9, lambda: image)]
    assert len(list(track_frames(events, tracker))) == 1
    assert abs(tracker.fix().yaw_rad) < 0.2 and tracker.fix().yaw_std_rad < 0.5


@pytest.mark.slow
def test_replay_follows_the_odometry_of_a_bag(files, moving_bag, tmp_path, capsys):
    arguments = [files, moving_bag, tmp_path, '--weights', files / 'weights.safetensors', '--json']
    assert command(*arguments) == 0
    moving = json.loads(capsys.readouterr().out)
    assert command(*arguments, '--single') == 0
    single = json.loads(capsys.readouterr().out)
    assert moving['sequence']['length_m'] == pytest.approx(7 * np.hypot(25, 20), rel=1e-3)
    assert moving['sequence']['convergence_cost_m'] is not None
    assert moving['all']['median_m'] != single['all']['median_m']


@pytest.mark.slow
def test_several_bags_are_summed_up(files, moving_bag, bag, tmp_path, capsys):
    weights = files / 'weights.safetensors'
    arguments = ['--map', files / 'map', '--weights', weights, '-o', tmp_path, '--json']
    assert main(['replay', str(bag), str(moving_bag), *map(str, arguments)]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary['all']['sequences'] == 2 and set(summary['sequences']) == {'bag', 'moving'}
    assert (tmp_path / 'moving' / 'belief.png').is_file()
    assert json.loads((tmp_path / 'summary.json').read_text()) == summary
