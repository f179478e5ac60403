"""What robot_localization is told, and that an independent filter can live on our fixes."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
import types
from copy import deepcopy
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import launch_doubles
import numpy as np
import pytest
import yaml
from colcon_support import REPO
from fusion_filter import FlatEkf
from tiny import make_map

from justzoom_ros import Region
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.inference.fix import FixCriteria, make_fix
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.live.fix_increments import FixIncrements
from justzoom_ros.live.fix_thinner import FixThinner, ThinnerConfig
from justzoom_ros.pose import Pose
from justzoom_ros.tracker import Tracker, TrackerConfig

CONFIG = REPO / 'config' / 'robot_localization.yaml'

# --- the parameters file -------------------------------------------------------------------------

COMMON = {
    'frequency': float,
    'two_d_mode': bool,
    'publish_tf': bool,
    'map_frame': str,
    'odom_frame': str,
    'base_link_frame': str,
    'world_frame': str,
    'smooth_lagged_data': bool,
    'history_length': float,
    'process_noise_covariance': list,
    'initial_estimate_covariance': list,
}
"""Parameters of ekf_node that we set, as its sources of 3.5.0, 3.5.2 and 3.6.0 declare them
(src/ros_filter.cpp, RosFilter::loadParams); no changelog up to 3.10.0 takes one back."""
INPUT = {
    '': str,
    '_config': list,
    '_pose_rejection_threshold': float,
    '_rejection_threshold': float,
}
"""Of odomN, poseN and imuN, from there too; the first threshold is odometry's, the second a
pose's."""
NAVSAT = {
    'frequency': float,
    'delay': float,
    'wait_for_datum': bool,
    'use_local_cartesian': bool,
    'use_odometry_yaw': bool,
    'zero_altitude': bool,
    'publish_filtered_gps': bool,
    'broadcast_cartesian_transform': bool,
}
"""Parameters of navsat_transform_node that we set: src/navsat_transform.cpp of 3.5.0, 3.5.2 and
3.6.0, and the documentation of Rolling (doc/navsat_transform_node.rst)."""
STATES = 15


def fusion():
    """{node: its parameters}; the file's names hold in every namespace."""
    nodes = yaml.safe_load(CONFIG.read_text())
    assert all(name.startswith('/**/') for name in nodes)
    return {name.removeprefix('/**/'): node['ros__parameters'] for name, node in nodes.items()}


def kind_of(name):
    if name in COMMON:
        return COMMON[name]
    for sensor in ('odom0', 'odom1', 'imu0', 'pose0'):
        if name.startswith(sensor):
            return INPUT[name.removeprefix(sensor)]
    raise AssertionError(f'{name} is no parameter of robot_localization')


@pytest.mark.parametrize('node', ['ekf_odom', 'ekf_map'])
def test_the_filters_are_given_only_what_they_know(node):
    for name, value in fusion()[node].items():
        assert type(value) is kind_of(name), name
        if name.endswith('_config'):
            assert [type(flag) for flag in value] == [bool] * STATES


@pytest.mark.parametrize('node', ['ekf_odom', 'ekf_map'])
def test_covariances_are_written_in_full(node):
    """3.5 copies 225 numbers out of whatever it is given; diagonals came later."""
    covariances = {k: v for k, v in fusion()[node].items() if k.endswith('_covariance')}
    assert 'process_noise_covariance' in covariances
    for name, values in covariances.items():
        assert [type(value) for value in values] == [float] * STATES**2, name
        matrix = np.reshape(values, (STATES, STATES))
        assert (np.diag(matrix) > 0).all() and (matrix == np.diag(np.diag(matrix))).all()


def test_navsat_transform_is_given_only_what_it_knows():
    for name, value in fusion()['navsat_transform'].items():
        assert type(value) is NAVSAT[name], name


def test_what_robot_localization_needs_of_us():
    nodes = fusion()
    assert (nodes['ekf_odom']['world_frame'], nodes['ekf_map']['world_frame']) == ('odom', 'map')
    ekf = nodes['ekf_map']
    assert ekf['smooth_lagged_data'] and ekf['history_length'] > 2
    assert ekf['odom1_config'][:2] == [True, True] and not any(ekf['odom1_config'][2:])
    # Of the pose only the heading: its position is that of the fix, and would count twice.
    assert [i for i, flag in enumerate(ekf['pose0_config']) if flag] == [5]
    assert nodes['navsat_transform']['wait_for_datum']
    # Broken in released versions, its issue 832.
    assert nodes['navsat_transform']['use_local_cartesian'] is False


# --- the launch file -----------------------------------------------------------------------------


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """Runs fuse.launch.py over a tiny map: launched(argument=value, ...) gives the nodes by name;
    launched.map is the map."""
    launch_doubles.install(monkeypatch)
    index = types.ModuleType('ament_index_python.packages')
    index.get_package_share_directory = lambda name: str(REPO)
    monkeypatch.setitem(sys.modules, 'ament_index_python.packages', index)
    spec = importlib.util.spec_from_file_location('fuse', REPO / 'launch' / 'fuse.launch.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    map = make_map(tmp_path)

    def launch(**given):
        given = {'map': str(map.path), 'odom_topic': '/wheels', **given}
        declared, actions = launch_doubles.execute(module.generate_launch_description(), **given)
        assert all(e.named['description'].endswith('.') for e in declared.values())
        return {action.named['name']: action.named for action in actions}

    launch.map = map
    return launch


def parameters_of(node):
    """What a recorded node is given after its file, later values over earlier ones."""
    merged = {}
    for parameters in node['parameters']:
        if isinstance(parameters, dict):
            merged |= parameters
    return merged


def test_two_filters_and_navsat_transform_are_started(launched):
    nodes = launched(use_sim_time='true')
    assert set(nodes) == {'fix_relay', *fusion()}
    for name in fusion():
        assert nodes[name]['parameters'][0] == str(CONFIG)
    assert all(parameters_of(node)['use_sim_time'] is True for node in nodes.values())
    datum = parameters_of(nodes['navsat_transform'])['datum']
    assert datum == [launched.map.region.latitude, launched.map.region.longitude, 0.0]


def test_every_topic_that_is_fused_is_there(launched):
    """By the remappings: fix -> relay -> navsat_transform -> ekf_map, and back."""
    nodes = launched()
    assert parameters_of(nodes['fix_relay'])['period_s'] == 10.0
    assert fusion()['ekf_map']['pose0'] == 'pose_throttled'
    navsat = dict(nodes['navsat_transform']['remappings'])
    assert navsat['gps/fix'] == 'fix_throttled'
    outputs = {dict(nodes[n]['remappings'])['odometry/filtered'] for n in ('ekf_odom', 'ekf_map')}
    assert outputs == {'odometry/local', 'odometry/global'}
    assert navsat['odometry/filtered'] == 'odometry/global'
    assert fusion()['ekf_map']['odom1'] == 'odometry/gps'
    assert dict(nodes['ekf_map']['remappings'])['odom'] == '/wheels'


def test_a_namespace_moves_every_node_and_its_transforms(launched):
    nodes = launched(namespace='robot1', camera_x='0.2')
    for node in nodes.values():
        assert node['namespace'] == 'robot1'
        assert {('/tf', 'tf'), ('/tf_static', 'tf_static')} <= set(node['remappings'])
    # Nav2 calls this one by its absolute name.
    assert dict(nodes['navsat_transform']['remappings'])['fromLL'] == '/fromLL'
    nodes = launched(namespace='robot1', from_ll_service='/robot1/fromLL')
    assert dict(nodes['navsat_transform']['remappings'])['fromLL'] == '/robot1/fromLL'


@pytest.mark.parametrize(
    ('given', 'smooth'),
    [
        ({}, True),
        ({'use_sim_time': 'True'}, False),
        ({'use_sim_time': 'true', 'smooth_lagged_data': 'true'}, True),
        ({'smooth_lagged_data': 'false'}, False),
    ],
)
def test_lagged_data_are_smoothed_where_time_is_not_simulated(launched, given, smooth):
    nodes = launched(**given)
    assert parameters_of(nodes['ekf_map'])['smooth_lagged_data'] is smooth
    assert 'smooth_lagged_data' not in parameters_of(nodes['ekf_odom'])


def test_the_place_of_the_camera_becomes_a_static_transform(launched):
    assert 'camera_transform' not in launched()
    node = launched(camera_x='0.2', camera_yaw='1.57', camera_frame='front')['camera_transform']
    assert (node['package'], node['executable']) == ('tf2_ros', 'static_transform_publisher')
    words = node['arguments']
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert given == {
        **{'--x': '0.2', '--y': '0', '--z': '0', '--roll': '0', '--pitch': '0', '--yaw': '1.57'},
        **{'--frame-id': 'base_link', '--child-frame-id': 'front'},
    }


def test_the_frame_of_the_robot_is_the_same_everywhere(launched):
    nodes = launched(base_frame='chassis', camera_z='1')
    assert {parameters_of(nodes[n])['base_link_frame'] for n in ('ekf_odom', 'ekf_map')} == {
        'chassis'
    }
    assert parameters_of(nodes['fix_relay'])['base_frame'] == 'chassis'
    assert 'chassis' in nodes['camera_transform']['arguments']


def test_nodes_come_back_if_asked(launched):
    assert all(node['respawn'] is False for node in launched().values())
    assert all(node['respawn'] is True for node in launched(respawn='true').values())


@pytest.mark.parametrize('rate', ['0', '-1'])
def test_a_rate_of_fixes_that_is_none_is_an_error(launched, rate):
    with pytest.raises(RuntimeError, match='fix_rate'):
        launched(fix_rate=rate)


# --- what the filters are given ------------------------------------------------------------------


def fix_at(stamp_s, status=0):
    stamp = SimpleNamespace(sec=stamp_s, nanosec=0)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp), status=SimpleNamespace(status=status)
    )


def pose_at(stamp_s, heading_std_rad=0.1):
    covariance = [0.0] * 36
    covariance[35] = heading_std_rad**2
    header = SimpleNamespace(stamp=SimpleNamespace(sec=stamp_s, nanosec=0))
    return SimpleNamespace(header=header, pose=SimpleNamespace(covariance=covariance))


def passed_stamps(messages, **config):
    """Stamps of the pairs that a thinner lets through of fixes and poses."""
    thinner, stamps = FixThinner(ThinnerConfig(**config)), []
    for message in messages:
        add = thinner.add_fix if hasattr(message, 'status') else thinner.add_pose
        if pair := add(message):
            fix, pose = pair
            assert fix.header.stamp == pose.header.stamp
            stamps.append(fix.header.stamp.sec)
    return stamps


def test_one_fix_in_a_while_is_passed_on_with_its_pose():
    messages = [m for s in range(1, 26) for m in (fix_at(s), pose_at(s))]
    assert passed_stamps(messages) == [1, 11, 21]
    swapped = [m for s in range(1, 26) for m in (pose_at(s), fix_at(s))]
    assert passed_stamps(swapped) == [1, 11, 21]


def test_no_fix_takes_nobodys_turn():
    messages = [fix_at(1, status=-1), fix_at(2), pose_at(2), fix_at(12, status=-1), fix_at(13)]
    assert passed_stamps([*messages, pose_at(13)]) == [2, 13]


def test_nothing_is_passed_on_before_the_heading_is_known():
    """A heading that may be anything counts as measured for a filter, which then locks itself
    out."""
    messages = [fix_at(1), pose_at(1, 1.8), fix_at(2), pose_at(2, 0.2), fix_at(3), pose_at(3, 0.0)]
    assert passed_stamps(messages, period_s=0) == [2]


def test_a_bag_that_loops_begins_anew():
    messages = [m for s in (100, 101, 5, 6, 15) for m in (fix_at(s), pose_at(s))]
    assert passed_stamps(messages) == [100, 5, 15]


@pytest.mark.ros
def test_the_relay_passes_on_what_it_should_over_dds():
    ros = pytest.importorskip('ros_support')
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from sensor_msgs.msg import NavSatFix

    rclpy = ros.rclpy
    with ros.own_domain() as domain:
        environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain), 'PYTHONPATH': str(REPO)}
        command = [sys.executable, '-m', 'justzoom_ros.ros.fix_relay', '--ros-args']
        process = subprocess.Popen([*command, '-p', 'period_s:=5.0'], env=environment)
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain)
        node = rclpy.create_node('peer', context=context)
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)
        heard = []
        fixes = node.create_publisher(NavSatFix, 'fix', 10)
        poses = node.create_publisher(PoseWithCovarianceStamped, 'pose', 10)
        outputs = [
            node.create_subscription(NavSatFix, 'fix_throttled', heard.append, 10),
            node.create_subscription(
                PoseWithCovarianceStamped, 'pose_throttled', heard.append, 10
            ),
        ]
        try:
            for side in (fixes, poses):
                spin_until(ros, executor, side.get_subscription_count)
            for side in outputs:
                spin_until(ros, executor, side.get_publisher_count)
            passed_on = passed_whole(ros, executor, fixes, poses, heard)
            assert sorted(passed_on) == [2, 2, 8, 8]
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(ros.PATIENCE_S)
            executor.shutdown()
            rclpy.shutdown(context=context)
        assert status == 0


ROUND_S = 100
"""Stamps of one round of messages and those of the next are so far apart."""


def passed_whole(ros, executor, fixes, poses, heard):
    """Seconds of what came back of the first round of messages that lost nothing on its way.

    The relay's side of a topic is matched by itself, which cannot be seen from here, and what is
    sent before that is lost; so the round is sent again, later in time, until one gets through."""
    for start_s in range(0, ROUND_S * int(ros.PATIENCE_S), ROUND_S):
        for second, status in ((1, -1), (2, 0), (3, 0), (8, 0)):
            fix, pose = fixes.msg_type(latitude=42.0), poses.msg_type()
            fix.header.stamp.sec = pose.header.stamp.sec = start_s + second
            fix.status.status, pose.pose.covariance[35] = status, 0.01
            fixes.publish(fix)
            poses.publish(pose)
        end_s = time.monotonic() + 1.0
        while time.monotonic() < end_s:
            executor.spin_once(0.05)
            stamps_s = [message.header.stamp.sec - start_s for message in heard]
            back = [second for second in stamps_s if second > 0]
            if back.count(2) == back.count(8) == 2:
                return back
    raise AssertionError(f'no round came back whole: {heard}')


def spin_until(ros, executor, condition):
    end_s = time.monotonic() + ros.PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        executor.spin_once(0.05)


class FakeBuffer:
    """Stands in for tf2_ros.Buffer, which no registry has: knows one transform."""

    def can_transform(self, target, source, time):
        return (target, source) == ('base_link', 'camera')


@pytest.mark.ros
def test_a_frame_that_tf_does_not_know_is_told_once_and_held_back(monkeypatch):
    pytest.importorskip('rclpy')
    from justzoom_ros.ros.frame_check import FrameCheck

    tf2_ros = types.ModuleType('tf2_ros')
    tf2_ros.Buffer, tf2_ros.TransformListener = FakeBuffer, lambda buffer, node: None
    monkeypatch.setitem(sys.modules, 'tf2_ros', tf2_ros)
    told = []
    log = SimpleNamespace(warning=told.append)
    frames = FrameCheck(SimpleNamespace(get_logger=lambda: log), 'base_link')
    assert frames.knows('camera') and not told
    assert [frames.knows('front') for _ in range(3)] == [False] * 3
    assert len(told) == 1 and 'no transform from base_link to front' in told[0]


# --- an independent consumer ---------------------------------------------------------------------

REGION = Region(latitude=48.0, longitude=11.0, side_m=640.0, grid=4, depth=3)
CELLS = REGION.branching**REGION.depth
SPEED_M_S, SEEN_M, SECONDS = 5.0, 20.0, 240
SLIP, YAW_NOISE = 0.03, 0.004
"""Standard deviation of a wheel's step, as a share; of a second's turn, radians."""


def frame(rng, truth_m, rival=0.2):
    """What a policy says of one frame: normal about a point that is itself off by as much, with a
    rival somewhere else that holds so much of the mass."""
    masses = np.full(CELLS, 0.01 / CELLS)
    for center, share in ((truth_m, 0.99 - rival), (rng.uniform(-300, 300, 2), rival)):
        offset = REGION.centers(REGION.depth) - (center + rng.normal(0, SEEN_M, 2))
        bump = np.exp(-(offset**2).sum(1) / (2 * SEEN_M**2))
        masses += share * bump / bump.sum()
    levels = np.full(CELLS, REGION.depth)
    return CellPosterior(REGION, levels, np.arange(CELLS), masses / masses.sum())


def drive(rng):
    """True poses (N, 3) once a second, and what the wheels say of each step: metres, radians."""
    turns = 0.04 * np.sin(np.arange(SECONDS) / 17 + rng.uniform(0, 6)) + 0.02
    yaw = rng.uniform(-np.pi, np.pi) + np.cumsum(turns)
    way = np.cumsum(SPEED_M_S * np.exp(1j * yaw))
    way -= way.mean()
    steps = SPEED_M_S * (1 + SLIP * rng.normal(size=SECONDS))
    return np.stack([way.real, way.imag, yaw], 1), steps, turns + rng.normal(0, YAW_NOISE, SECONDS)


class Ekf:
    """Position and heading from wheels and fixes, as any fusion node would do it."""

    def __init__(self, fix):
        self.state = np.array([fix.east_m, fix.north_m, fix.yaw_rad])
        self.covariance = np.diag([0.0, 0.0, fix.yaw_std_rad**2])
        self.covariance[:2, :2] = fix.covariance_m2

    def predict(self, step, turn):
        self.state[2] += turn
        cos, sin = np.cos(self.state[2]), np.sin(self.state[2])
        self.state[:2] += step * np.array([cos, sin])
        jacobian = np.array([[1, 0, -step * sin], [0, 1, step * cos], [0, 0, 1.0]])
        ahead = np.array([cos, sin, 0.0])[:, None]
        noise = (SLIP * SPEED_M_S) ** 2 * ahead @ ahead.T + np.diag([0, 0, YAW_NOISE**2])
        self.covariance = jacobian @ self.covariance @ jacobian.T + noise

    def correct(self, fix):
        gain = self.covariance[:, :2] @ np.linalg.inv(self.covariance[:2, :2] + fix.covariance_m2)
        self.state += gain @ (np.array([fix.east_m, fix.north_m]) - self.state[:2])
        self.covariance -= gain @ self.covariance[:2]


def world():
    """What a tracker needs of a localizer."""
    return SimpleNamespace(
        region=REGION,
        covered=np.ones(CELLS, bool),
        calibration=Calibration(),
        criteria=FixCriteria(),
        registrar=None,
        correct=lambda fix, criteria: fix,
    )


@cache
def recorded(seed):
    """A drive and what the node would say: true poses (N, 3), steps, turns, and a fix a second."""
    rng = np.random.default_rng(seed)
    truth, steps, turns = drive(rng)
    config = TrackerConfig(likelihood_exponent=1.0, decorrelation_distance_m=1.0)
    tracker = Tracker(world(), config)
    place, yaw, fixes = 0j, 0.0, []
    for second, (step, turn) in enumerate(zip(steps, turns, strict=True)):
        yaw += turn
        place += step * np.exp(1j * yaw)
        stamp_ns = (second + 1) * 10**9
        tracker.add_odometry(Pose(stamp_ns, place.real, place.imag, yaw))
        before = tracker._stamp_ns
        tracker._stamp_ns = stamp_ns
        if before:
            tracker.predict(tracker.odometry.motion(before, stamp_ns))
        tracker.update(frame(rng, truth[second, :2]))
        # Kept without its posterior, which is large.
        fixes.append(replace(tracker.fix(), posterior=None))
    return truth, steps, turns, fixes


def fused(seed, every_s):
    """Errors (M, 2) of the filter with their covariances, errors of the wheels alone from the same
    start, and of the last fix; once a second since the first fix."""
    truth, steps, turns, fixes = recorded(seed)
    ekf, since, rows = None, 0, []
    for second, (step, turn, fix) in enumerate(zip(steps, turns, fixes, strict=True)):
        if ekf is None:
            if fix.status == 'no_fix' or fix.yaw_std_rad > 0.3:
                continue
            ekf, wheels, last, since = Ekf(fix), Ekf(fix), fix, second
        else:
            ekf.predict(step, turn)
            wheels.predict(step, turn)
            if fix.status == 'fix' and (second - since) % every_s == 0:
                ekf.correct(fix)
                last = fix
        here = truth[second, :2]
        rows.append((
            ekf.state[:2] - here, ekf.covariance[:2, :2].copy(), wheels.state[:2] - here,
            np.array([last.east_m, last.north_m]) - here,
        ))  # fmt: skip
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.slow
def test_a_filter_lives_well_on_fixes_and_odometry():
    """With a fix in 10 s, as fuse.launch.py passes them on: its covariance is true, and it is
    nearer to the truth than the wheels alone and than the fixes alone."""
    runs = [fused(seed, every_s=10) for seed in range(6)]
    errors, covariances, wheels, fixes = (
        np.concatenate([run[i] for run in runs]) for i in range(4)
    )
    assert len(errors) > 0.8 * 6 * SECONDS
    anees = np.einsum('ni,nij,nj->n', errors, np.linalg.inv(covariances), errors).mean() / 2

    def rms(some):
        return np.sqrt((some**2).sum(1).mean())

    print(f'ANEES {anees:.2f}, rms {rms(errors):.1f} m, wheels {rms(wheels):.1f} m, '
          f'fixes {rms(fixes):.1f} m')  # fmt: skip
    assert 0.5 < anees < 2.0
    assert rms(errors) < rms(wheels)
    assert rms(errors) < rms(fixes)


def test_a_filter_lives_well_on_single_frames():
    """Without odometry inside, fixes are independent and every one may be fused."""
    rng = np.random.default_rng(3)
    decision, squared = FixCriteria(min_confidence=0.5, max_radius_m=80), []
    for _ in range(60):
        here = rng.uniform(-200, 200, 2)
        fix = make_fix(frame(rng, here, rival=0.0), decision)
        if fix.status == 'fix':
            off = np.array([fix.east_m, fix.north_m]) - here
            squared.append(off @ np.linalg.inv(fix.covariance_m2) @ off)
    assert len(squared) > 40
    assert np.mean(squared) / 2 < 2.0


# --- our parameters ------------------------------------------------------------------------------

TWIST_HZ = 5
FIX_PERIOD_S = 10
OFF_M = 50.0
DEFAULT_NOISE = [
    *(0.05, 0.05, 0.06, 0.03, 0.03, 0.06, 0.025, 0.025, 0.04),
    *(0.01, 0.01, 0.02, 0.01, 0.01, 0.015),
]
"""Of robot_localization where it is given none (src/filter_base.cpp, 3.6.0)."""
HEADINGS_RAD = np.arange(8) * np.pi / 4


def driven(seed, changes=(), period_s=FIX_PERIOD_S, start_s=0, gap_s=(0, 0)):
    """Yields (second since the first fix, filter, fix, true place (2,)) of a drive through a
    filter with our parameters, before the filter takes the fix. It begins with the first fix
    after `start_s`, takes one in `period_s`, and none in the gap, from its start to its end."""
    truth, steps, turns, fixes = recorded(seed)
    ekf = FlatEkf({**fusion()['ekf_map'], **dict(changes)})
    since = None
    for second, fix in enumerate(fixes):
        if second < start_s:
            continue
        for _ in range(TWIST_HZ):
            ekf.predict(1 / TWIST_HZ)
            ekf.wheels(steps[second], turns[second], SLIP * SPEED_M_S, 3 * YAW_NOISE)
        passes = fix.status == 'fix' and fix.yaw_std_rad <= ThinnerConfig().max_heading_std_rad
        if since is None and passes:
            since = second
        if since is None:
            continue
        yield second - since, ekf, fix, truth[second, :2]
        in_gap = gap_s[0] <= second - since < gap_s[1]
        if passes and not in_gap and (second - since) % period_s == 0:
            ekf.fix(fix.east_m, fix.north_m, fix.covariance_m2)
            ekf.heading(fix.yaw_rad, fix.yaw_std_rad)


def error_m(ekf, here):
    return np.hypot(*(ekf.state[:2] - here))


def moved_m(ekf, fix, here):
    """How far fixes 50 m off in eight directions move the filter, metres (8,)."""
    found = []
    for angle in HEADINGS_RAD:
        other = deepcopy(ekf)
        off = here + OFF_M * np.array([np.cos(angle), np.sin(angle)])
        other.fix(*off, fix.covariance_m2)
        found.append(np.hypot(*(other.state - ekf.state)[:2]))
    return np.array(found)


@pytest.mark.slow
def test_a_wrong_fix_moves_the_filter_by_less_than_three_metres():
    """One second and ten seconds after a fix, once a minute of fixes was taken; with the noise
    that robot_localization takes unless told otherwise, it moves by tens of metres."""
    loose = {
        'process_noise_covariance': np.diag(DEFAULT_NOISE).ravel(),
        'odom1_pose_rejection_threshold': 5.0,
    }
    for age_s in (1, FIX_PERIOD_S):
        ours, theirs = (
            np.concatenate([
                moved_m(ekf, fix, here)
                for seed in range(6)
                for second, ekf, fix, here in driven(seed, changes)
                if second > 60 and (second - age_s) % FIX_PERIOD_S == 0
            ])
            for changes in ({}, loose)
        )  # fmt: skip
        print(f'{age_s} s after: {ours.max():.1f} m, by default {theirs.max():.1f} m')
        assert ours.max() < 3.0 < theirs.max()


@pytest.mark.slow
def test_our_parameters_fuse_what_the_node_says():
    errors, covariances, lasts, singles, last = [], [], [], [], None
    for seed in range(6):
        for second, ekf, fix, here in driven(seed):
            at = np.array([fix.east_m, fix.north_m])
            if second % FIX_PERIOD_S == 0 and fix.status == 'fix':
                last = at
            errors.append(ekf.state[:2] - here if second else at - here)
            covariances.append(ekf.covariance[:2, :2] if second else fix.covariance_m2)
            lasts.append(last - here)
            singles += [at - here] if fix.status == 'fix' else []
    errors = np.array(errors)
    squared = np.einsum('ni,nij,nj->n', errors, np.linalg.inv(covariances), errors)

    def rms(some):
        return np.sqrt((np.array(some) ** 2).sum(1).mean())

    print(f'rms {rms(errors):.2f} m, ANEES {squared.mean() / 2:.2f}, last fix {rms(lasts):.1f} m, '
          f'all fixes {rms(singles):.2f} m')  # fmt: skip
    assert rms(errors) < rms(lasts) / 2
    # The fixes between hold what the wheels say too; nothing is left to gain on them.
    assert rms(errors) < 1.15 * rms(singles)
    assert 0.5 < squared.mean() / 2 < 1.5


@pytest.mark.slow
def test_a_filter_that_is_wrong_gets_home():
    """50 m off and sure of it, as after a wrong first fix: the noise lets it take fixes again."""
    waits = []
    for seed in range(6):
        for second, ekf, _, here in driven(seed):
            if second == 70:
                ekf.state[:2] += [30.0, 40.0]
            elif second > 70 and np.hypot(*(ekf.state[:2] - here)) < 20:
                waits.append(second - 70)
                break
    print(f'home after {sorted(waits)} s')
    assert len(waits) >= 5


@pytest.mark.slow
def test_after_a_minute_without_fixes_the_next_ones_are_taken():
    before, after = [], []
    for seed in range(6):
        for second, ekf, _, here in driven(seed, gap_s=(60, 120)):
            if second == 120:
                before.append(error_m(ekf, here))
            if second == 131:
                after.append(error_m(ekf, here))
    print(f'gap: {np.max(before):.1f} m, after two fixes {np.max(after):.1f} m')
    assert len(after) == 6
    assert np.max(after) < 20 and np.mean(after) < np.mean(before)


@pytest.mark.slow
def test_a_filter_that_is_started_again_finds_itself_with_the_next_fix():
    """As after a crash, or for each round of a bag."""
    errors = [
        error_m(ekf, here)
        for seed in range(6)
        for second, ekf, _, here in driven(seed, start_s=120)
        if second == 11
    ]
    print(f'restart: {np.max(errors):.1f} m')
    assert len(errors) == 6 and np.max(errors) < 20


@cache
def followed(seed):
    """A drive as `recorded`, with the noise of the odometry learned: true poses (N, 3), steps,
    turns, and of every second the fix and what is new in it, None where nothing is."""
    rng = np.random.default_rng(seed)
    truth, steps, turns = drive(rng)
    config = TrackerConfig(
        likelihood_exponent=1.0, decorrelation_distance_m=1.0, adapt_unregistered=True
    )
    tracker, told = Tracker(world(), config), FixIncrements(REGION)
    place, yaw, found = 0j, 0.0, []
    for second, (step, turn) in enumerate(zip(steps, turns, strict=True)):
        yaw += turn
        place += step * np.exp(1j * yaw)
        stamp_ns = (second + 1) * 10**9
        tracker.add_odometry(Pose(stamp_ns, place.real, place.imag, yaw))
        tracker.predict(tracker._motion_to(stamp_ns))
        tracker.update(frame(rng, truth[second, :2]))
        fix = replace(tracker.fix(), posterior=None)
        found.append((fix, told.add(fix, tracker.motion, tracker.noise)))
    return truth, steps, turns, found


@pytest.mark.slow
def test_a_filter_that_takes_everything_that_is_new_is_as_sure_as_it_is_right():
    """Every frame is a fix here, and one a second; the filter knows its own odometry's noise."""
    errors, covariances, beliefs = [], [], []
    for seed in range(6):
        truth, steps, turns, found = followed(seed)
        ekf = None
        for second, (step, turn, (fix, new)) in enumerate(zip(steps, turns, found, strict=True)):
            if ekf is not None:
                ekf.predict(step, turn)
            if new is not None:
                if ekf is None:
                    ekf = Ekf(new)
                else:
                    ekf.correct(new)
            if ekf is None:
                continue
            here = truth[second, :2]
            errors.append(ekf.state[:2] - here)
            covariances.append(ekf.covariance[:2, :2].copy())
            beliefs += [np.array([fix.east_m, fix.north_m]) - here] if fix.status == 'fix' else []
    errors = np.array(errors)
    squared = np.einsum('ni,nij,nj->n', errors, np.linalg.inv(covariances), errors)

    def rms(some):
        return np.sqrt((np.array(some) ** 2).sum(1).mean())

    print(f'ANEES {squared.mean() / 2:.2f}, rms {rms(errors):.2f} m, belief {rms(beliefs):.2f} m')
    assert len(errors) > 0.8 * 6 * SECONDS
    assert 0.8 < squared.mean() / 2 < 1.5
    assert rms(errors) < 1.02 * rms(beliefs)


@pytest.mark.slow
def test_a_filter_that_takes_every_fix_is_surer_than_it_is_right():
    """Which is why the launch file passes on one in ten seconds."""
    values = {}
    for period_s in (1, FIX_PERIOD_S):
        squared = [
            offset @ np.linalg.inv(ekf.covariance[:2, :2]) @ offset / 2
            for seed in range(6)
            for second, ekf, _, here in driven(seed, period_s=period_s)
            if second
            for offset in [ekf.state[:2] - here]
        ]
        values[period_s] = np.mean(squared)
    print(f'ANEES {values}')
    assert values[1] > 2 > values[FIX_PERIOD_S]
