"""The parts of the node that know no ROS: order of frames, what comes between them, the worker,
diagnostics, parameters, undistortion."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import make_map, make_weights

from justzoom_ros import Localizer
from justzoom_ros.errors import ConfigError, ImageError
from justzoom_ros.filtering import MotionNoise, OdometryConfig
from justzoom_ros.filtering.odometry import JUMPED_BACK
from justzoom_ros.inference.fix import FixCriteria, FixStatus
from justzoom_ros.inference.multi_view import Mount
from justzoom_ros.io.stamps import JUMP_BACK_NS, NS_PER_S, StampGate
from justzoom_ros.io.undistortion import Undistorter
from justzoom_ros.live import frame_processor, parameters
from justzoom_ros.live.config_parameters import config_from, parameters_of
from justzoom_ros.live.diagnostics import (
    REASON,
    SILENCE_S,
    STAGES,
    STAMP,
    TIME_JUMPED,
    NodeDiagnostics,
    StageTimer,
)
from justzoom_ros.live.event_queue import EventQueue
from justzoom_ros.live.frame_processor import FrameProcessor
from justzoom_ros.live.latest_worker import LatestWorker
from justzoom_ros.live.parameters import RENAMED, TRACKER, UNCONFIGURED, all_parameters
from justzoom_ros.plots.zoom_picture import YELLOW_RGB, zoom_picture
from justzoom_ros.ranges import check_ranges, ranged
from justzoom_ros.region import Region
from justzoom_ros.tracker import TrackerConfig

# --- order of frames -----------------------------------------------------------------------------


def test_stamps_are_new_late_jumped_or_unset():
    gate, second = StampGate(), 1_000_000_000
    stamps = [5 * second, 6 * second, 6 * second, 6 * second - 1, 0, 5 * second, 5 * second + 1]
    verdicts = ['new', 'new', 'late', 'late', 'unset', 'jump', 'new']
    assert [gate.judge(stamp) for stamp in stamps] == verdicts
    assert gate.judge(-second) == 'unset'
    gate.reset()
    assert gate.judge(1) == 'new'


@given(st.lists(st.integers(1, 10 * JUMP_BACK_NS), max_size=50))
def test_between_jumps_what_passes_the_gate_never_goes_back(stamps):
    gate, newest = StampGate(), 0
    for stamp in stamps:
        verdict = gate.judge(stamp)
        if verdict == 'new':
            assert stamp > newest
        if verdict == 'jump':
            assert newest - stamp >= JUMP_BACK_NS
        if verdict != 'late':
            newest = stamp


def test_the_worker_handles_the_newest_and_finishes_what_it_began():
    begun, go_on, handled = threading.Event(), threading.Event(), []

    def handle(item):
        begun.set()
        go_on.wait(120)
        handled.append(item)

    worker = LatestWorker(handle, 'test')
    assert not worker.offer(1)
    assert begun.wait(120)
    assert [worker.offer(item) for item in (2, 3, 4)] == [False, True, True]
    worker.drop()
    assert not worker.offer(5)
    go_on.set()
    while len(handled) < 2:
        time.sleep(0.01)
    worker.stop()
    assert handled == [1, 5]


def test_a_stopped_worker_drops_what_waits():
    begun, go_on, handled = threading.Event(), threading.Event(), []

    def handle(item):
        begun.set()
        go_on.wait(120)
        handled.append(item)

    worker = LatestWorker(handle, 'test')
    worker.offer(1)
    assert begun.wait(120)
    worker.offer(2)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    while not worker._stopping:
        time.sleep(0.01)
    go_on.set()
    stopping.join()
    assert handled == [1]


# --- diagnostics ---------------------------------------------------------------------------------

FIX = SimpleNamespace(status=FixStatus.FIX, reason='')
NO_FIX = SimpleNamespace(status=FixStatus.NO_FIX, reason='ambiguous')


@pytest.fixture
def clock():
    return SimpleNamespace(now_s=100.0)


@pytest.fixture
def diagnostics(clock):
    return NodeDiagnostics(lambda: clock.now_s)


def timed(seconds):
    """A frame that took so long, half of it to localize."""
    clock = SimpleNamespace(now_s=0.0)
    taken = StageTimer(0.0, lambda: clock.now_s)
    for stage, share in zip(STAGES, (0.0, 0.3, 0.5, 0.2), strict=True):
        clock.now_s += share * seconds
        taken.end(stage)
    return taken


def test_covariances_that_do_not_fit_are_a_warning(diagnostics):
    diagnostics.add_fix(FIX, timed(0.1), 0.2)
    diagnostics.distrust = 'frames move the belief more than they should'
    assert diagnostics.verdict('active', '/image') == ('warn', diagnostics.distrust)
    diagnostics.distrust = ''
    assert diagnostics.verdict('active', '/image')[0] == 'ok'


def test_silence_is_told_with_the_topic(diagnostics, clock):
    assert diagnostics.verdict('active', '/image')[0] == 'ok'
    clock.now_s += SILENCE_S + 1
    assert diagnostics.verdict('active', '/image') == ('warn', 'no image for 6 s: /image')
    assert diagnostics.verdict('inactive', '/image') == ('ok', 'inactive')
    diagnostics.receive('new')
    assert diagnostics.verdict('active', '/image') == ('ok', 'localizing')


def test_images_whose_stamps_stand_still_are_told(diagnostics, clock):
    diagnostics.receive('new')
    diagnostics.add_fix(FIX, timed(0.1), 0.2)
    for _ in range(6):
        clock.now_s += 1.0
        diagnostics.receive('late')
    level, text = diagnostics.verdict('active', '/image')
    assert level == 'warn' and text.startswith('for 6 s no image had a later stamp')
    assert '/image' in text and diagnostics.values()['frames late'] == 6
    diagnostics.receive('new')
    assert diagnostics.verdict('active', '/image') == ('ok', 'localizing')
    assert diagnostics.values()['frames received'] == 8


def test_time_that_jumps_back_is_told_for_a_while(diagnostics, clock):
    diagnostics.receive('jump')
    diagnostics.add_fix(FIX, timed(0.1), 0.2)
    assert diagnostics.verdict('active', '/image') == ('warn', TIME_JUMPED)
    for _ in range(10):
        clock.now_s += 1.0
        diagnostics.receive('new')
    assert diagnostics.verdict('active', '/image') == ('ok', 'localizing')


def test_what_is_in_doubt_is_told_beside_why_there_is_no_fix(diagnostics):
    diagnostics.add_fix(NO_FIX, timed(0.1), 0.2)
    diagnostics.distrust = 'the clock jumped'
    assert diagnostics.verdict('active', '') == ('warn', 'no fix: ambiguous; the clock jumped')


def test_the_latest_frame_decides_and_the_last_error_stays(diagnostics):
    diagnostics.add_error('broken')
    assert diagnostics.verdict('active', '') == ('error', 'broken')
    diagnostics.add_fix(NO_FIX, timed(0.1), 0.2)
    assert diagnostics.verdict('active', '') == ('warn', 'no fix: ambiguous')
    diagnostics.add_fix(FIX, timed(0.1), 0.2)
    assert diagnostics.verdict('active', '') == ('ok', 'localizing')
    values = diagnostics.values()
    assert values['last error'] == 'broken' and values['latency (s)'] == '0.100'
    assert (values['frames localized'], values['frames fixes'], values['frames bad']) == (2, 1, 1)
    diagnostics.restart()
    assert not diagnostics.values()['last error'] and diagnostics.values()['frames bad'] == 0


def test_another_kind_of_reason_is_noticed_and_the_latest_is_told_with_its_stamp(diagnostics):
    dark = SimpleNamespace(status=FixStatus.NO_FIX, reason='the picture is dark: mean 3 of 255')
    darker = SimpleNamespace(status=FixStatus.NO_FIX, reason='the picture is dark: mean 1 of 255')
    frames = (FIX, dark, darker, NO_FIX, FIX, FIX)
    changes = [diagnostics.add_fix(f, timed(0.1), 0.2, 7 + n) for n, f in enumerate(frames[:3])]
    assert changes == [False, True, False]
    assert diagnostics.values()[REASON] == darker.reason and diagnostics.values()[STAMP] == 9
    assert [diagnostics.add_fix(f, timed(0.1), 0.2) for f in frames[3:]] == [True, True, False]
    assert diagnostics.values()[REASON] == ''


def test_where_the_latency_goes_is_the_median_of_the_latest_frames(diagnostics):
    assert diagnostics.values()['localizing (s)'] == ''
    for seconds in (9.0, *[0.1] * 5, *[0.2] * 5):
        diagnostics.add_fix(FIX, timed(seconds), 0.2)
    values = diagnostics.values()
    assert values['latency (s)'] == '0.200'
    stages = {stage: float(values[f'{stage} (s)']) for stage in STAGES}
    assert stages == pytest.approx(
        {'waiting': 0.0, 'decoding': 0.045, 'localizing': 0.075, 'publishing': 0.03}
    )


def test_a_refused_transition_is_an_error_until_it_is_mended(diagnostics):
    diagnostics.refusal = 'configure failed: no map'
    assert diagnostics.verdict('unconfigured', '') == ('error', 'configure failed: no map')
    assert diagnostics.verdict('active', '') == ('ok', 'localizing')
    diagnostics.refusal = ''
    assert diagnostics.verdict('unconfigured', '') == ('ok', 'unconfigured')


# --- undistortion --------------------------------------------------------------------------------

WIDTH, HEIGHT, FOCAL_PX, MIDDLE = 160, 120, 100.0, (79.5, 59.5)


def camera_info(model='plumb_bob', d=(0.0,) * 5, **changes):
    k = [FOCAL_PX, 0, MIDDLE[0], 0, FOCAL_PX, MIDDLE[1], 0, 0, 1]
    fields = {'width': WIDTH, 'height': HEIGHT, 'distortion_model': model, 'd': d, 'k': k}
    return SimpleNamespace(**{**fields, **changes})


def undistorter(info):
    made = Undistorter()
    made.set_info(info)
    return made


def spot(x, y):
    """A round spot of light at a place of the image."""
    columns, rows = np.arange(WIDTH), np.arange(HEIGHT)[:, None]
    light = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    return np.repeat(light[..., None], 3, axis=2).astype(np.uint8)


def centroid(image):
    light = image[..., 0].astype(float)
    return (
        (light * np.arange(WIDTH)).sum() / light.sum(),
        (light * np.arange(HEIGHT)[:, None]).sum() / light.sum(),
    )


def radial(r, k1, k2):
    return r * (1 + k1 * r**2 + k2 * r**4)


def fisheye(r, k1, k2):
    angle = np.arctan(r)
    return angle * (1 + k1 * angle**2 + k2 * angle**4)


@pytest.mark.parametrize(
    ('model', 'bend', 'd'),
    [
        ('plumb_bob', radial, (-0.2, 0.05, 0, 0, 0)),
        ('rational_polynomial', radial, (-0.2, 0.05, 0, 0, 0, 0, 0, 0)),
        ('equidistant', fisheye, (-0.1, 0.02, 0, 0)),
    ],
)
@pytest.mark.parametrize('ideal', [(0.4, 0.3), (-0.5, 0.1), (0.0, -0.4)])
def test_a_spot_comes_to_where_a_pinhole_camera_sees_it(model, bend, d, ideal):
    r = np.hypot(*ideal)
    scale = bend(r, *d[:2]) / r
    bent = [FOCAL_PX * scale * i + m for i, m in zip(ideal, MIDDLE, strict=True)]
    straight = [FOCAL_PX * i + m for i, m in zip(ideal, MIDDLE, strict=True)]
    out = undistorter(camera_info(model, d)).undistort(spot(*bent))
    assert centroid(out) == pytest.approx(straight, abs=0.3)


@pytest.mark.parametrize('model', ['plumb_bob', ''])
def test_no_distortion_leaves_the_image_alone(model):
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    np.testing.assert_array_equal(undistorter(camera_info(model, ())).undistort(image), image)


def test_a_new_calibration_replaces_the_tables():
    made, image = undistorter(camera_info(d=(-0.3, 0, 0, 0, 0))), spot(130, 60)
    bent = made.undistort(image)
    made.set_info(camera_info())
    np.testing.assert_array_equal(made.undistort(image), image)
    assert not np.array_equal(bent, image)


@pytest.mark.parametrize(
    ('info', 'problem'),
    [
        (None, 'no camera_info has arrived'),
        (camera_info(width=80), '80 x 120 pixels, the image has 160 x 120'),
        (camera_info(k=[0.0] * 9), 'no calibration'),
        (camera_info(k=[np.nan] * 9), 'no calibration'),
        (camera_info(d=(np.inf, 0, 0, 0)), 'not finite'),
        (camera_info('fancy', (0.1,)), "'fancy' with 1 coefficients"),
        (camera_info('equidistant', (0.1,) * 5), "'equidistant' with 5"),
    ],
)
def test_a_calibration_that_does_not_fit_is_named(info, problem):
    with pytest.raises(ImageError, match=problem):
        undistorter(info).undistort(spot(5, 5))


# --- the debug picture ---------------------------------------------------------------------------


def test_the_picture_shows_image_and_choices_level_by_level():
    region = Region(42.0, -76.0, 400.0, grid=2, depth=2)
    colours = {(): 50, (3,): 150}
    satellite_map = SimpleNamespace(
        region=region, crop=lambda actions: np.full((32, 32, 3), colours[actions], np.uint8)
    )
    posterior = SimpleNamespace(best_cell=region.cell((3, 0)))
    fix = SimpleNamespace(posterior=posterior, status='fix', confidence=0.9)
    wide = np.full((20, 40, 3), 200, np.uint8)
    picture = zoom_picture(wide, fix, satellite_map, tile_px=64)
    assert picture.shape == (64, 192, 3) and picture.dtype == np.uint8
    assert (picture[32, 32] == 200).all() and (picture[60, 32] < 50).all()
    assert (picture[16, 64 + 16] == 50).all() and (picture[16, 128 + 40] == 150).all()
    # South-east, then north-west.
    np.testing.assert_array_equal(picture[32, 64 + 48], YELLOW_RGB)
    np.testing.assert_array_equal(picture[0, 128 + 16], YELLOW_RGB)


# --- what comes between frames -------------------------------------------------------------------


@pytest.fixture(scope='module')
def localizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp('between')
    satellite_map = make_map(folder)
    weights = make_weights(folder, satellite_map, gain=0.0)
    return Localizer.open(map=satellite_map, weights=weights, progress=False)


def odometry(stamp_ns):
    """A `nav_msgs/Odometry` of a robot that stands."""
    zero = SimpleNamespace(x=0.0, y=0.0, z=0.0)
    pose = SimpleNamespace(position=zero, orientation=SimpleNamespace(x=0, y=0, z=0, w=1))
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=stamp_ns)),
        pose=SimpleNamespace(pose=pose),
        twist=SimpleNamespace(
            twist=SimpleNamespace(linear=zero, angular=zero), covariance=[0.0] * 36
        ),
    )


IMAGE = np.zeros((48, 64, 3), np.uint8)


def test_a_start_position_outlives_any_number_of_odometry_samples(localizer, monkeypatch):
    """However long there is no image: the robot is still where it was put."""
    monkeypatch.setattr(frame_processor, 'ODOMETRY_KEPT', 1000)
    processor = FrameProcessor(localizer)
    latitude, longitude = localizer.region.to_latlon(60.0, -40.0)
    processor.begin((latitude, longitude, np.eye(2) * 25.0))
    for number in range(1001):
        processor.add_odometry(odometry(number * 1000))
    assert len(processor.events) == 1001
    fix = processor.locate([IMAGE], [Mount()], 1001 * 1000, FixCriteria())
    assert fix.status == 'fix'
    assert (fix.east_m, fix.north_m) == pytest.approx((60.0, -40.0), abs=3.0)
    # The newest samples were kept.
    assert processor.tracker.odometry.motion(0, 1001 * 1000).unknown_s < 1e-5


def feed(processor, from_s, to_s):
    """Odometry at 10 Hz, then an image; stamps in seconds."""
    for tenth in range(round(10 * from_s), round(10 * to_s) + 1):
        processor.add_odometry(odometry(tenth * NS_PER_S // 10))
    processor.locate([IMAGE], [Mount()], round(to_s * NS_PER_S), FixCriteria())


def test_a_clock_of_the_odometry_that_jumps_back_is_told_once_and_until_it_is_steady(localizer):
    told = []
    processor = FrameProcessor(localizer, report=told.append)
    feed(processor, 100, 105)
    assert processor.doubt == '' and not told
    feed(processor, 50, 51)  # the images' clock went along
    feed(processor, 40, 41)
    assert processor.doubt == JUMPED_BACK and told == [JUMPED_BACK]
    feed(processor, 41.1, 49)
    assert processor.doubt == JUMPED_BACK
    feed(processor, 49.1, 51)
    assert processor.doubt == '' and told == [JUMPED_BACK]
    assert processor.tracker.motion.unknown_s == 0
    feed(processor, 30, 31)
    assert processor.doubt == JUMPED_BACK and told == [JUMPED_BACK] * 2
    processor.begin()
    feed(processor, 31.1, 32)
    assert processor.doubt == ''


def test_odometry_that_fell_behind_the_images_is_told_as_long_as_it_is(localizer):
    told = []
    processor = FrameProcessor(localizer, report=told.append)
    feed(processor, 100, 105)
    for tenth in range(500, 650):
        processor.add_odometry(odometry(tenth * NS_PER_S // 10))
    processor.locate([IMAGE], [Mount()], 120 * NS_PER_S, FixCriteria())
    assert processor.doubt == JUMPED_BACK
    assert told == [JUMPED_BACK, frame_processor.UNKNOWN_MOTION]
    feed(processor, 120.1, 121)  # the clock was set right
    assert processor.doubt == ''


def imu(yaw_rad, variance=0.01):
    """A `sensor_msgs/Imu` with an orientation, none where its variance is 0."""
    turn = SimpleNamespace(x=0.0, y=0.0, z=np.sin(yaw_rad / 2), w=np.cos(yaw_rad / 2))
    covariance = [0.0] * 8 + [variance]
    return SimpleNamespace(orientation=turn, orientation_covariance=covariance)


def test_headings_however_fast_push_out_no_odometry(localizer):
    processor = FrameProcessor(localizer)
    processor.add_odometry(odometry(1000))
    for number in range(5000):
        processor.add_imu(imu(number / 5000))
    processor.add_imu(imu(3.0, variance=0.0))
    assert len(processor.events) == 2
    fix = processor.locate([IMAGE], [Mount()], 2000, FixCriteria())
    assert fix.yaw_rad == pytest.approx(1.0, abs=0.05)


def test_events_keep_their_order_and_each_kind_its_newest():
    queue, taken = EventQueue({'sample': 3, 'restart': 1}), []
    for number in range(4):
        queue.add('sample', taken.append, f'sample {number}')
    queue.add('restart', taken.append, 'restart a')
    queue.add('sample', taken.append, 'sample 4')
    queue.add('restart', taken.append, 'restart b')
    queue.add('sample', taken.append, 'sample 5')
    assert len(queue) == 4
    queue.take_all()
    assert taken == ['sample 3', 'sample 4', 'restart b', 'sample 5']
    assert len(queue) == 0


def test_an_event_that_fails_leaves_the_others_waiting():
    queue, taken = EventQueue({'sample': 3, 'restart': 1}), []
    queue.add('restart', lambda start: 1 / start, 0)
    queue.add('sample', taken.append, 'sample')
    with pytest.raises(ZeroDivisionError):
        queue.take_all()
    queue.take_all()
    assert taken == ['sample']


# --- parameters ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inner:
    """A configuration in another one."""

    speed_m_s: float = ranged(2.0, at_least=0)
    """Speed in m/s, which is
    told in two lines."""

    count: int = 3
    """How many."""


@dataclass(frozen=True)
class Outer:
    """A configuration with a nested one, and a field that may be left open."""

    inner: Inner = field(default_factory=Inner)
    """Not a parameter itself."""

    share: float | None = ranged(None, above=0, at_most=1)
    """A share (0..1)."""

    def __post_init__(self) -> None:
        check_ranges(self)


def test_the_parameters_of_a_configuration_are_its_fields_with_their_docstrings():
    speed, count, share = parameters_of(Outer(Inner(speed_m_s=5.0)), 'outer', UNCONFIGURED)
    assert (speed.name, speed.default) == ('outer.inner.speed_m_s', 5.0)
    assert speed.text == 'Speed in m/s, which is told in two lines.'
    assert speed.problem(-1.0) == 'outer.inner.speed_m_s is -1; it must be at least 0'
    assert speed.problem(7.0) == ''
    assert (count.name, count.default, count.problem(99)) == ('outer.inner.count', 3, '')
    assert (share.default, share.text) == (0.0, 'A share (0..1). 0 stands for not given.')
    assert share.problem(0.0) == share.problem(0.5) == ''
    assert share.problem(1.5) == 'outer.share is 1.5; it must be above 0 and at most 1'


def test_a_configuration_comes_back_from_its_parameters():
    values = {'o.inner.speed_m_s': 4.0, 'o.inner.count': 8, 'o.share': 0.0}
    assert config_from(Outer(), 'o', values.get) == Outer(Inner(4.0, 8))
    assert config_from(Outer(), 'o', (values | {'o.share': 0.5}).get).share == 0.5
    with pytest.raises(ConfigError, match='share is 2'):
        config_from(Outer(), 'o', (values | {'o.share': 2.0}).get)


def test_every_field_of_the_tracker_has_a_parameter_of_its_name_and_default():
    defaults = {p.name: p.default for p in all_parameters().values()}
    assert config_from(TrackerConfig(), TRACKER, defaults.__getitem__) == TrackerConfig()
    assert defaults['tracker.noise.position_m'] == MotionNoise().position_m
    assert defaults['tracker.odometry.max_gap_s'] == OdometryConfig().max_gap_s
    assert set(RENAMED.values()) <= set(defaults) and not set(RENAMED) & set(defaults)


def test_every_default_is_allowed_and_every_parameter_is_a_sentence():
    for parameter in all_parameters().values():
        assert parameter.problem(parameter.default) == ''
        assert parameter.text.endswith(('.', '...'))


def test_the_documentation_has_the_table_of_parameters():
    text = (Path(__file__).parents[1] / 'docs' / 'ros.md').read_text()
    table = text.split('<!-- parameters -->')[1].split('<!-- end of parameters -->')[0]
    assert table.strip() == parameters.table(all_parameters().values()).strip()
