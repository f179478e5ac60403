"""What robot_localization is told, and that an independent filter can live on our fixes."""

import importlib.util
import sys
import types
from types import SimpleNamespace

import launch_doubles
import numpy as np
import pytest
import yaml
from colcon_support import REPO
from tiny import make_map

from justzoom_ros import Region
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.inference.fix import FixCriteria, make_fix
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.pose import Pose
from justzoom_ros.tracker import Tracker, TrackerConfig

CONFIG = REPO / 'config' / 'robot_localization.yaml'

# --- the parameters file -------------------------------------------------------------------------

EKF = {
    'frequency': float,
    'two_d_mode': bool,
    'publish_tf': bool,
    'map_frame': str,
    'odom_frame': str,
    'base_link_frame': str,
    'world_frame': str,
    'smooth_lagged_data': bool,
    'history_length': float,
    'reset_on_time_jump': bool,
    'initial_estimate_covariance': list,
}
INPUT = {
    '': str,
    '_config': list,
    '_pose_rejection_threshold': float,
    '_rejection_threshold': float,
}
"""Of odomN, poseN and imuN; the first threshold is odometry's, the second a pose's."""
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
"""Parameters that the nodes of robot_localization 3.6.0 declare, of those that we set."""


def fusion():
    nodes = yaml.safe_load(CONFIG.read_text())
    return {name: node['ros__parameters'] for name, node in nodes.items()}


def kind_of(name):
    if name in EKF:
        return EKF[name]
    for sensor in ('odom0', 'odom1', 'imu0', 'pose0'):
        if name.startswith(sensor):
            return INPUT[name.removeprefix(sensor)]
    raise AssertionError(f'{name} is no parameter of robot_localization')


@pytest.mark.parametrize('node', ['ekf_odom', 'ekf_map'])
def test_the_filters_are_given_only_what_they_know(node):
    for name, value in fusion()[node].items():
        assert type(value) is kind_of(name), name
        if name.endswith('_config'):
            assert [type(flag) for flag in value] == [bool] * 15


def test_navsat_transform_is_given_only_what_it_knows():
    for name, value in fusion()['navsat_transform'].items():
        assert type(value) is NAVSAT[name], name


def test_what_robot_localization_needs_of_us():
    nodes = fusion()
    assert (nodes['ekf_odom']['world_frame'], nodes['ekf_map']['world_frame']) == ('odom', 'map')
    ekf = nodes['ekf_map']
    assert ekf['smooth_lagged_data'] and ekf['history_length'] > 2
    assert ekf['odom1_config'][:2] == [True, True] and not any(ekf['odom1_config'][2:])
    assert ekf['odom1_pose_rejection_threshold'] == 5.0
    # Of the pose only the heading: its position is that of the fix, and would count twice.
    assert [i for i, flag in enumerate(ekf['pose0_config']) if flag] == [5]
    assert nodes['navsat_transform']['wait_for_datum']


# --- the launch file -----------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch, tmp_path):
    """The nodes that fuse.launch.py starts over a tiny map, and the map."""
    launch_doubles.install(monkeypatch)
    index = types.ModuleType('ament_index_python.packages')
    index.get_package_share_directory = lambda name: str(REPO)
    monkeypatch.setitem(sys.modules, 'ament_index_python.packages', index)
    spec = importlib.util.spec_from_file_location('fuse', REPO / 'launch' / 'fuse.launch.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    map = make_map(tmp_path)
    given = {'map': str(map.path), 'odom_topic': '/wheels', 'use_sim_time': 'true'}
    declared, actions = launch_doubles.execute(module.generate_launch_description(), **given)
    assert all(e.named['description'].endswith('.') for e in declared.values())
    return {action.named['name']: action.named for action in actions}, map


def test_two_filters_and_navsat_transform_are_started(started):
    nodes, map = started
    assert set(nodes) == {
        *('throttle_fix', 'throttle_pose', 'ekf_odom', 'ekf_map', 'navsat_transform')
    }
    assert set(fusion()) <= set(nodes)
    for name in fusion():
        file, changes = nodes[name]['parameters'][:2]
        assert file == str(CONFIG) and changes == {'use_sim_time': True}
    datum = nodes['navsat_transform']['parameters'][2]['datum']
    assert datum == [map.region.latitude, map.region.longitude, 0.0]


def test_every_topic_that_is_fused_is_there(started):
    """By the remappings: fix -> throttle -> navsat_transform -> ekf_map, and back."""
    nodes, _ = started
    assert nodes['throttle_fix']['arguments'] == ['messages', 'fix', '0.1', 'fix_throttled']
    assert nodes['throttle_pose']['arguments'][-1] == fusion()['ekf_map']['pose0']
    navsat = dict(nodes['navsat_transform']['remappings'])
    assert navsat['gps/fix'] == 'fix_throttled'
    outputs = {dict(nodes[n]['remappings'])['odometry/filtered'] for n in ('ekf_odom', 'ekf_map')}
    assert outputs == {'odometry/local', 'odometry/global'}
    assert navsat['odometry/filtered'] == 'odometry/global'
    assert fusion()['ekf_map']['odom1'] == 'odometry/gps'
    assert dict(nodes['ekf_map']['remappings'])['odom'] == '/wheels'


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


def fused(seed, every_s):
    """Errors (M, 2) of the filter with their covariances, errors of the wheels alone from the same
    start, and of the last fix; once a second since the first fix."""
    rng = np.random.default_rng(seed)
    truth, steps, turns = drive(rng)
    localizer = SimpleNamespace(
        region=REGION,
        covered=np.ones(CELLS, bool),
        calibration=Calibration(),
        criteria=FixCriteria(),
        registrar=None,
    )
    tracker = Tracker(
        localizer, TrackerConfig(likelihood_exponent=1.0, decorrelation_distance_m=1.0)
    )
    place, yaw, ekf, since, rows = 0j, 0.0, None, 0, []
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
        fix = tracker.fix()
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
