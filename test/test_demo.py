"""The demo: its flight, and the whole way through the real node over DDS."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pyproj import Geod
from tiny import make_map, make_weights

from justzoom_ros.cli.main import main
from justzoom_ros.errors import LiveError, OutputError, RuntimeUnavailableError
from justzoom_ros.io.bags import Bag, read_track
from justzoom_ros.io.image_message import image_from_message
from justzoom_ros.live import end_with_parent, node_process
from justzoom_ros.live.node_process import own_domain, running_node
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.worlds import demo, flight
from justzoom_ros.worlds.town import DEMO_REGION

DEMO_MAP = Path(__file__).resolve().parents[1] / 'maps' / 'demo'
SHIPPED = DEMO_MAP / 'weights.safetensors'
SHORT = flight.FlightConfig(frames=12)


@pytest.fixture(scope='module')
def flown(tmp_path_factory):
    """A short flight over grey ground: a town takes its time to be drawn."""
    folder = tmp_path_factory.mktemp('flown') / 'flight'
    flight.make_flight(folder, SHORT, ground=np.full((640, 640, 3), 128, np.uint8))
    return folder


@pytest.fixture
def ros(monkeypatch):
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    monkeypatch.setenv('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp')


def node_processes(out):
    """Ids of the processes whose command line names the parameters in `out`."""
    found = []
    for entry in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            if str(out / 'node.yaml').encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def wait_for_node(out):
    """Its process, which has its command line a moment after it was started."""
    end_s = time.monotonic() + 120
    while not node_processes(out):
        assert time.monotonic() < end_s
        time.sleep(0.02)
    return node_processes(out)


# --- the flight ----------------------------------------------------------------------------------


def test_the_flight_is_smooth_nose_first_and_within_the_town():
    poses = flight.flight_poses(flight.FlightConfig(), 640.0)
    places = np.array([[p.east_m, p.north_m] for p in poses])
    steps = np.diff(places, axis=0)
    lengths_m = np.hypot(*steps.T)
    assert np.abs(places).max() < 320 - 75
    assert lengths_m.max() < 1.1 * lengths_m.min()
    ahead = np.stack([[np.cos(p.yaw_rad), np.sin(p.yaw_rad)] for p in poses])[:-1]
    assert ((steps / lengths_m[:, None] * ahead).sum(axis=1) > np.cos(0.35)).all()
    yaws = np.unwrap([p.yaw_rad for p in poses])
    assert np.ptp(yaws) > np.pi
    assert np.abs(np.diff(yaws)).max() < 0.6
    footprints_m = np.array([p.footprint_m for p in poses])
    assert 95 <= footprints_m.min() < footprints_m.max() - 30 < 140 - 30 + 1e-9


def test_a_short_flight_is_the_beginning_of_the_long_one():
    whole = flight.flight_poses(flight.FlightConfig(), 640.0)
    assert flight.flight_poses(SHORT, 640.0) == whole[:12]


def test_the_bag_holds_the_frames_and_where_they_were_taken(flown):
    poses = flight.flight_poses(SHORT, DEMO_REGION.side_m)
    with Bag(flown / 'bag') as bag:
        expected = {flight.IMAGE_TOPIC: 12, flight.TRUTH_TOPIC: 12, '/odom': 111, '/tf_static': 1}
        expected |= {flight.HEIGHT_TOPIC: 12, flight.GIMBAL_TOPIC: 12}
        assert bag.counts == expected
        track = read_track(bag, flight.TRUTH_TOPIC)
        messages = list(bag.messages([flight.IMAGE_TOPIC]))
    assert [m.stamp_ns for m in messages] == list(track.stamps_ns)
    assert {image_from_message(m.message).shape for m in messages} == {(480, 640, 3)}
    assert set(np.diff(track.stamps_ns)) == {10**9}
    centre = (DEMO_REGION.longitude, DEMO_REGION.latitude)
    for pose, latitude, longitude in zip(poses, track.latitudes, track.longitudes, strict=True):
        azimuth_deg, _, away_m = Geod(ellps='WGS84').inv(*centre, longitude, latitude)
        east_m = away_m * np.sin(np.radians(azimuth_deg))
        north_m = away_m * np.cos(np.radians(azimuth_deg))
        assert (east_m, north_m) == pytest.approx((pose.east_m, pose.north_m), abs=0.01)


def test_the_bag_says_where_the_camera_is(flown):
    """Its optical axis points down, the top of its image ahead; who comes later hears it too."""
    with Bag(flown / 'bag') as bag:
        (message,) = bag.messages(['/tf_static'])
    (transform,) = message.message.transforms
    assert (transform.header.frame_id, transform.child_frame_id) == ('base_link', 'camera')
    x, y, z, w = (getattr(transform.transform.rotation, name) for name in 'xyzw')
    # Columns of the matrix of a quaternion: right, down in the image, along the lens.
    down_image = [2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)]
    along = [2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)]
    assert along == pytest.approx([0, 0, -1]) and down_image == pytest.approx([-1, 0, 0])
    assert 'durability: transient_local' in (flown / 'bag' / 'metadata.yaml').read_text()


def test_a_frame_shows_what_the_map_has_there():
    """A level camera heading north and no JPEG to speak of: its picture is a cut of the map."""
    town = SatelliteMap.open(DEMO_MAP).pixels
    pose = replace(flight.flight_poses(SHORT, 640.0)[5], yaw_rad=np.pi / 2, footprint_m=120.0)
    level = replace(pose, pitch_rad=0.0, roll_rad=0.0)
    config = replace(SHORT, jpeg_quality=98)
    jpeg = flight.take_picture(town, 640.0, level, config, 0)
    seen = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    left, top = (320 + pose.east_m - 60) * 2, (320 - pose.north_m - 45) * 2
    cut = cv2.getRectSubPix(town, (240, 180), (left + 119.5, top + 89.5))
    cut = cv2.resize(cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY), (640, 480))
    shift, _ = cv2.phaseCorrelate(seen.astype(np.float32), cut.astype(np.float32))
    assert np.hypot(*shift) < 1.0


def test_flying_twice_gives_the_same_frames():
    config = replace(SHORT, frames=1)
    ground = np.full((640, 640, 3), 128, np.uint8)
    pose = flight.flight_poses(config, 640.0)[0]
    once, twice = (flight.take_picture(ground, 640.0, pose, config, 0) for _ in range(2))
    assert once == twice
    assert once != flight.take_picture(ground, 640.0, pose, config, 1)


# --- the demo ------------------------------------------------------------------------------------


def test_the_whole_way(tmp_path, ros, capsys):
    """Bag, node, DDS, judgement. Shipped weights must be good, random ones only run."""
    weights = SHIPPED if SHIPPED.is_file() else make_weights(tmp_path, SatelliteMap.open(DEMO_MAP))
    out = tmp_path / 'out'
    status = main(['demo', '-o', str(out), '--frames', '20', '--json', '--weights', str(weights)])
    summary = json.loads(capsys.readouterr().out)
    assert summary['images'] == 20
    assert summary['error'] == summary['missed'] == 0
    assert status == (0 if summary['goals_met'] else 1)
    assert {p.name for p in out.iterdir()} == {
        *('flight', 'node.yaml', 'node.log', 'fixes.csv', 'track.geojson', 'map.png'),
        *('belief.png', 'errors.png'),
        *('summary.json', 'report.html'),
    }
    assert 'ready after' in (out / 'node.log').read_text()
    assert not node_processes(out)
    if weights == SHIPPED:
        assert summary['fix_only']['recall_25m'] >= 0.8
        assert summary['all']['coverage_90_ellipse'] >= 0.75


def test_a_node_that_cannot_configure_is_reported_and_stopped(tmp_path, ros):
    map = make_map(tmp_path)
    weights = tmp_path / 'weights.safetensors'
    weights.write_bytes(b'nothing of the kind')
    with (
        pytest.raises(
            LiveError, match=r'refused to configure \(configure failed: .*weights.*see .*node\.log'
        ),
        own_domain(),
        running_node(tmp_path, map.path, weights) as alive,
    ):
        assert len(wait_for_node(tmp_path)) == 1
        demo._locate(None, alive, iter)
    assert not node_processes(tmp_path)
    assert 'configure failed' in (tmp_path / 'node.log').read_text()


def test_a_node_that_dies_is_noticed_at_once(tmp_path, ros):
    with (
        pytest.raises(LiveError, match='stopped while'),
        own_domain(),
        running_node(tmp_path, tmp_path / 'map', tmp_path / 'weights') as alive,
    ):
        for process in wait_for_node(tmp_path):
            os.kill(process, 9)
        demo._locate(None, alive, iter)


def test_the_node_stops_however_the_demo_fails(tmp_path, ros):
    with (
        pytest.raises(KeyboardInterrupt),
        own_domain(),
        running_node(tmp_path, tmp_path / 'map', tmp_path / 'weights'),
    ):
        assert len(wait_for_node(tmp_path)) == 1
        raise KeyboardInterrupt
    assert not node_processes(tmp_path)


ORPHANED = """
import sys, time
from pathlib import Path
from justzoom_ros.errors import LiveError
from justzoom_ros.live.node_process import own_domain, running_node
from justzoom_ros.ros.transitions import LifecycleClient
out = Path(sys.argv[1])
with own_domain(), running_node(out, out, None) as alive:
    with LifecycleClient('/justzoom', alive) as driver:
        try:
            driver.change('configure')
        except LiveError:
            print('it spins', flush=True)
    time.sleep(120)
"""
"""What starts a node, has an answer of it, and is at work."""


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_a_node_ends_with_who_started_it(tmp_path, ros, number):
    words = [sys.executable, '-c', ORPHANED, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == 'it spins\n'
        assert len(node_processes(tmp_path)) == 1
        parent.send_signal(number)
        parent.wait()
    end_s = time.monotonic() + 60
    while left := node_processes(tmp_path):
        if time.monotonic() > end_s:
            os.kill(left[0], signal.SIGKILL)
            pytest.fail('the node goes on')
        time.sleep(0.02)


def test_a_node_that_a_background_job_just_started_stops_when_it_is_told(
    tmp_path, ros, monkeypatch
):
    """What a shell starts in the background ignores Ctrl-C, and so do its children at first."""
    monkeypatch.setattr(node_process, 'STOP_S', 30.0)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with own_domain(), running_node(tmp_path, tmp_path, None):
            assert len(wait_for_node(tmp_path)) == 1
            started_s = time.monotonic()
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - started_s < 30
    assert not node_processes(tmp_path)


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux tells a child')
def test_a_child_whose_parent_has_ended_before_it_began_does_not_begin():
    words = end_with_parent.command('-c', 'print("begun")')
    words[3] = '1'  # not the process that starts it
    assert not subprocess.run(words, capture_output=True, check=True).stdout


def test_a_child_gets_its_words_and_status():
    words = end_with_parent.command('-c', 'import sys; sys.exit(len(sys.argv))', 'one', '--two')
    assert subprocess.run(words, check=False).returncode == 3


def test_its_domain_is_its_own_and_given_back(monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '5')
    monkeypatch.delenv('ROS_AUTOMATIC_DISCOVERY_RANGE', raising=False)
    with own_domain():
        assert 71 <= int(os.environ['ROS_DOMAIN_ID']) <= 101
        assert os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'LOCALHOST'
    assert os.environ['ROS_DOMAIN_ID'] == '5'
    assert 'ROS_AUTOMATIC_DISCOVERY_RANGE' not in os.environ


def test_a_domain_is_held_until_it_is_given_back_and_a_vain_try_leaves_nothing_open():
    open_before = len(os.listdir('/proc/self/fd'))
    with ExitStack() as first, ExitStack() as second:
        assert node_process.lock_domain([199], first) == 199
        for _ in range(3):
            assert node_process.lock_domain([199], second) is None
        assert len(os.listdir('/proc/self/fd')) == open_before + 1
        first.close()
        assert node_process.lock_domain([199], second) == 199
    assert len(os.listdir('/proc/self/fd')) == open_before


def test_two_demos_at_once_have_domains_of_their_own(monkeypatch):
    monkeypatch.setattr(node_process, 'DOMAINS', range(71, 73))
    for _ in range(3):
        with own_domain():
            first = os.environ['ROS_DOMAIN_ID']
            with own_domain():
                assert os.environ['ROS_DOMAIN_ID'] != first
            assert os.environ['ROS_DOMAIN_ID'] == first


# --- goals and errors ----------------------------------------------------------------------------


def figures(within, coverage, share_fix=0.8):
    shares = {'recall_10m': within, 'recall_25m': within, 'recall_50m': within, 'median_m': 5.0}
    return {
        **{'images': 10, 'fix': 8, 'no_fix': 2, 'seconds_per_image': 0.02},
        'share_fix': share_fix,
        'fix_only': {**shares, 'coverage_90_ellipse': 1.0},
        'all': {**shares, 'coverage_90_ellipse': coverage},
    }


@pytest.mark.parametrize(
    ('within', 'coverage', 'met'),
    [(0.90, 0.85, True), (0.89, 1.0, False), (1.0, 0.84, False), (None, 1.0, False)],
)
def test_goals(within, coverage, met):
    summary = figures(within, coverage)
    assert demo.goals_met(summary) is met
    assert ('MISSED' in demo.table(summary)) is not met


def test_being_sure_once_is_not_enough():
    assert demo.goals_met(figures(1.0, 1.0, share_fix=0.5))
    assert not demo.goals_met(figures(1.0, 1.0, share_fix=0.1))


def test_a_folder_that_is_no_flight_is_left_alone(tmp_path):
    (tmp_path / 'flight').mkdir()
    (tmp_path / 'flight' / 'holiday.jpg').write_bytes(b'dear')
    with pytest.raises(OutputError, match='none of the demo'):
        demo._record(tmp_path / 'flight', lambda folder: None)
    assert (tmp_path / 'flight' / 'holiday.jpg').read_bytes() == b'dear'


def test_the_installed_map_is_found(tmp_path, monkeypatch):
    assert demo.demo_map() == DEMO_MAP
    monkeypatch.setattr(
        demo, '__file__', str(tmp_path / 'site' / 'justzoom_ros' / 'worlds' / 'demo.py')
    )
    monkeypatch.setattr(demo.sys, 'prefix', str(tmp_path))
    with pytest.raises(RuntimeUnavailableError, match='maps/demo'):
        demo.demo_map()
    installed = tmp_path / 'install' / 'share' / 'justzoom_ros' / 'maps' / 'demo'
    installed.mkdir(parents=True)
    (installed / 'map.yaml').touch()
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/opt/none:{tmp_path / "install"}')
    assert demo.demo_map() == installed


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['--weights', 'nowhere.safetensors'], 'nowhere.safetensors does not exist'),
        (['--frames', '0'], '--frames is 0'),
        (['--frames', '91'], '--frames is 91'),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(arguments, says, tmp_path, capsys):
    assert main(['demo', '-o', str(tmp_path / 'out'), *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ''
    assert told.err.startswith('justzoom: error: ')
    assert told.err.count('\n') == 1
    assert says in told.err
    assert not (tmp_path / 'out').exists()
