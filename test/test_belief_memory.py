"""Memory over a crash: what is written, what is believed of it, and where a node begins then."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import make_map, make_weights

from justzoom_ros import Localizer
from justzoom_ros.filtering import MotionNoise
from justzoom_ros.inference.fix import FixCriteria, FixStatus
from justzoom_ros.inference.multi_view import Mount
from justzoom_ros.live.belief_memory import BeliefMemory, MemoryConfig
from justzoom_ros.live.frame_processor import REMEMBERED, FrameProcessor

S = 1_000_000_000
NOISE = MotionNoise(unknown_m_s=3.0, unknown_rad_s=0.05)
FIX = SimpleNamespace(
    status=FixStatus.FIX,
    latitude=48.5,
    longitude=11.25,
    covariance_m2=np.array([[4.0, 1.0], [1.0, 9.0]]),
    yaw_rad=0.7,
    yaw_std_rad=0.1,
)
NO_FIX = SimpleNamespace(**{**vars(FIX), 'status': FixStatus.NO_FIX, 'latitude': 1.0})


@pytest.fixture
def told():
    return []


@pytest.fixture
def memory(tmp_path, told):
    return BeliefMemory(tmp_path / 'deep' / 'memory.json', 'this map', NOISE, told.append)


def test_a_position_comes_back_as_it_was_at_the_same_moment(memory, told):
    memory.remember(FIX, 100 * S, 2.0)
    last = memory.recall(100 * S)
    assert (last.latitude, last.longitude, last.stamp_ns) == (48.5, 11.25, 100 * S)
    np.testing.assert_array_equal(last.covariance_m2, FIX.covariance_m2)
    assert (last.yaw_rad, last.yaw_std_rad, told) == (0.7, 0.1, [])


def test_it_is_widened_by_how_far_the_robot_can_have_gone(memory):
    memory.remember(FIX, 100 * S, 12.0)
    last = memory.recall(110 * S)
    np.testing.assert_allclose(last.covariance_m2, FIX.covariance_m2 + 120.0**2 * np.eye(2))
    assert last.yaw_std_rad == pytest.approx(math.hypot(0.1, 0.5))
    memory.remember(FIX, 200 * S, 0.0)  # a robot that stood may have started
    widened = memory.recall(204 * S).covariance_m2 - FIX.covariance_m2
    np.testing.assert_allclose(widened, 12.0**2 * np.eye(2))
    assert memory.recall(400 * S).yaw_rad is None  # by now it may face anywhere


def test_only_fixes_are_written_and_only_now_and_then(memory):
    memory.remember(NO_FIX, 99 * S, 1.0)
    assert memory.recall(99 * S) is None
    memory.remember(FIX, 100 * S, 1.0)
    first = memory.path.read_text()
    memory.remember(SimpleNamespace(**{**vars(FIX), 'latitude': 40.0}), 100 * S + S // 2, 1.0)
    memory.remember(NO_FIX, 105 * S, 1.0)
    assert memory.path.read_text() == first
    memory.remember(FIX, 101 * S, 1.0)
    assert memory.recall(101 * S).stamp_ns == 101 * S
    memory.remember(FIX, 5 * S, 1.0)  # a bag loops
    assert memory.recall(5 * S).stamp_ns == 5 * S
    assert [path.name for path in memory.path.parent.iterdir()] == ['memory.json']


def spoil(path, **changes):
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, **changes}))


@pytest.mark.parametrize(
    'changes',
    [
        {'format': 2},
        {'latitude': 'north'},
        {'latitude': None},
        {'longitude': 1e9},
        {'covariance_m2': [[1.0, 2.0], [2.0, 1.0]]},
        {'covariance_m2': [1.0]},
        {'covariance_m2': [[float('nan'), 0.0], [0.0, 1.0]]},
        {'speed_m_s': -1.0},
        {'stamp_ns': 'now'},
        {'yaw_rad': float('inf')},
        {'map': 'another map'},
    ],
)
def test_a_file_that_is_damaged_or_of_another_map_is_told_and_not_believed(memory, told, changes):
    memory.remember(FIX, 100 * S, 1.0)
    spoil(memory.path, **changes)
    assert memory.recall(101 * S) is None
    (text,) = told
    assert str(memory.path) in text and 'not believed' in text


@pytest.mark.parametrize('content', [b'', b'{"format": 1', b'[]', b'\xff\xfe', b'null'])
def test_what_is_no_file_of_ours_is_not_believed(memory, told, content):
    memory.path.parent.mkdir()
    memory.path.write_bytes(content)
    assert memory.recall(S) is None and len(told) == 1


@pytest.mark.parametrize('stamp_ns', [99 * S, 100 * S + 301 * S])
def test_what_is_too_old_or_not_yet_is_not_believed(memory, told, stamp_ns):
    memory.remember(FIX, 100 * S, 1.0)
    assert memory.recall(stamp_ns) is None and len(told) == 1


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path, told):
    (tmp_path / 'file').write_text('')
    memory = BeliefMemory(tmp_path / 'file' / 'memory.json', 'map', NOISE, told.append)
    memory.remember(FIX, S, 1.0)
    assert len(told) == 1 and 'not remembered' in told[0]


# --- the node's worker ---------------------------------------------------------------------------

IMAGE = np.zeros((48, 64, 3), np.uint8)  # shows nothing: odometry and the start alone speak


@pytest.fixture(scope='module')
def localizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp('memory')
    map = make_map(folder)
    return Localizer.open(map, make_weights(folder, map), registration=False, progress=False)


def processor_of(localizer, path, told=None):
    report = (lambda text: None) if told is None else told.append
    memory = BeliefMemory(path, localizer.map.checksum, MotionNoise(), report, MemoryConfig())
    return FrameProcessor(localizer, 'always', report=report, memory=memory)


def locate(processor, stamp_ns):
    return processor.locate([IMAGE], [Mount()], stamp_ns, FixCriteria())


def put_at(localizer, processor, east_m, north_m, stamp_ns):
    latitude, longitude = localizer.region.to_latlon(east_m, north_m)
    processor.begin((latitude, longitude, 16.0 * np.eye(2)))
    return locate(processor, stamp_ns)


def test_a_worker_that_comes_back_goes_on_where_it_was(localizer, tmp_path):
    told, path = [], tmp_path / 'memory.json'
    assert put_at(localizer, processor_of(localizer, path), 60.0, -40.0, 100 * S).status == 'fix'
    again = processor_of(localizer, path, told)
    again.resume()
    fix = locate(again, 102 * S)
    assert (fix.east_m, fix.north_m) == pytest.approx((60.0, -40.0), abs=4.0)
    assert np.sqrt(fix.covariance_m2[0, 0]) == pytest.approx(math.hypot(4.0, 6.0), rel=0.6)
    assert REMEMBERED in told
    nowhere = processor_of(localizer, tmp_path / 'none.json')
    nowhere.resume()
    assert locate(nowhere, 102 * S).status == 'no_fix'


def test_a_reset_and_a_new_start_forget_what_was_remembered(localizer, tmp_path):
    path = tmp_path / 'memory.json'
    processor = processor_of(localizer, path)
    put_at(localizer, processor, 60.0, -40.0, 100 * S)
    processor.begin()
    assert locate(processor, 101 * S).status == 'no_fix' and not path.exists()
    put_at(localizer, processor, -60.0, 40.0, 102 * S)
    again = processor_of(localizer, path)
    again.resume()
    fix = locate(again, 102 * S + 1)
    assert (fix.east_m, fix.north_m) == pytest.approx((-60.0, 40.0), abs=4.0)


def test_a_remembered_place_beside_the_map_is_a_start_anywhere(localizer, tmp_path):
    told, path = [], tmp_path / 'memory.json'
    put_at(localizer, processor_of(localizer, path), 60.0, -40.0, 100 * S)
    spoil(path, latitude=0.0)
    again = processor_of(localizer, path, told)
    again.resume()
    assert locate(again, 101 * S).status == 'no_fix'
    assert any('nowhere near the map' in text for text in told)
