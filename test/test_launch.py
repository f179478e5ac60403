"""The launch file, run for real where launch_ros is, and recorded everywhere; and the executable
that it starts, run for real with the arguments that launch_ros would pass."""

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path

import launch_doubles
import pytest
import yaml
from colcon_support import REPO, sourced, workspace
from ros_support import (
    PATIENCE_S,
    Peer,
    Waited,
    image_message,
    make_files,
    own_domain,
    rclpy,
    stamp_s,
)

from justzoom_ros.live.parameters import BY_NAME, all_parameters

LAUNCH_FILE = REPO / 'launch' / 'localize.launch.py'
CONFIG = REPO / 'config' / 'localize.yaml'


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('launch files')
    paths = make_files(folder)
    return {'map': paths['map'], 'weights': paths['sure']}


def prefix():
    return workspace() / 'install' / 'justzoom_ros'


# --- recorded ------------------------------------------------------------------------------------


@pytest.fixture
def recorded(monkeypatch):
    """Runs the launch file against the doubles: recorded(argument=value, ...)."""
    return recorder(monkeypatch, LAUNCH_FILE)


def recorder(monkeypatch, file):
    launch_doubles.install(monkeypatch)
    index = types.ModuleType('ament_index_python.packages')
    index.get_package_share_directory = lambda name: str(REPO)
    monkeypatch.setitem(sys.modules, 'ament_index_python.packages', index)
    spec = importlib.util.spec_from_file_location('launch_file', file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda **given: launch_doubles.execute(module.generate_launch_description(), **given)


@pytest.mark.slow
def test_every_launch_argument_is_described_with_its_choices(recorded):
    declared, _ = recorded()
    assert set(declared) == {
        *('params_file', 'map', 'weights', 'runtime', 'image_topic', 'image_transport'),
        *('camera_info_topic', 'namespace', 'use_sim_time', 'autostart', 'rviz', 'respawn'),
        'memory_file',
        *('motion', 'odom_topic', 'imu_topic', 'height_m', 'fov_deg', 'footprint'),
        *('height_source', 'height_topic', 'attitude_source'),
        *('view_port', 'mavlink_to', 'px4_topic'),
    }
    for argument in declared.values():
        assert argument.named['description'].endswith('.')
    assert declared['runtime'].named['choices'] == ['', *BY_NAME['runtime'].choices]
    assert declared['image_transport'].named['choices'] == ['', 'raw', 'compressed']
    assert declared['use_sim_time'].named['choices'] == ['true', 'false', 'True', 'False']


@pytest.mark.slow
@pytest.mark.parametrize('word', ['true', 'True'])
def test_a_switch_may_be_written_as_python_does(recorded, word):
    _, actions = recorded(use_sim_time=word, autostart='False')
    (node,) = actions
    assert node.named['parameters'][1] == {'use_sim_time': True}


def test_a_node_that_comes_back_is_configured_again(recorded):
    _, (activate, handler, node) = recorded(respawn='true')
    assert node.named['respawn'] is True
    started = handler.positional[0]
    assert started.kind == 'OnProcessStart' and started.named['target_action'] is node
    (configure,) = started.named['on_start']
    assert configure.named['event'].named['transition_id'] == 1
    assert activate.positional[0].named['target_lifecycle_node'] is node
    _, (node,) = recorded(respawn='true', autostart='false')
    assert node.kind == 'LifecycleNode'


def test_rviz_is_started_if_asked_and_follows_the_namespace(recorded):
    _, actions = recorded(rviz='true', namespace='robot1', autostart='false')
    _, rviz = actions
    assert rviz.named['package'] == 'rviz2' and rviz.named['namespace'] == 'robot1'
    option, file = rviz.named['arguments']
    assert option == '-d' and Path(file).name == 'justzoom.rviz'
    shown = re.findall(r'Value: (/\S+)', (REPO / 'config' / 'justzoom.rviz').read_text())
    assert {(topic, topic[1:]) for topic in shown} <= set(rviz.named['remappings'])


def test_a_parameters_file_that_is_not_there_is_an_error(recorded):
    with pytest.raises(FileNotFoundError, match='/nowhere.yaml is not there'):
        recorded(params_file='/nowhere.yaml')


def test_without_arguments_only_the_parameters_file_speaks(recorded):
    _, actions = recorded()
    (node,) = (action for action in actions if action.kind == 'LifecycleNode')
    file, changes = node.named['parameters']
    assert changes == {'use_sim_time': False}
    assert yaml.safe_load(Path(file).read_text()) == yaml.safe_load(CONFIG.read_text())


def test_numbers_of_the_camera_reach_the_node_as_numbers(recorded):
    _, actions = recorded(height_m='120', fov_deg='70.5', camera_info_topic='/cam/info')
    (node,) = (action for action in actions if action.kind == 'LifecycleNode')
    assert node.named['parameters'][1] == {
        'use_sim_time': False, 'height_m': 120.0, 'camera_fov_deg': 70.5,
        'lens_source': 'camera_info',
    }  # fmt: skip
    assert ('camera_info', '/cam/info') in node.named['remappings']
    _, actions = recorded(footprint='90 150')
    (node,) = (action for action in actions if action.kind == 'LifecycleNode')
    assert node.named['parameters'][1]['footprint_m'] == [90.0, 150.0]


def test_the_live_page_and_autopilots_are_asked_for_by_arguments(recorded):
    _, actions = recorded(view_port='8350', mavlink_to='udpout:127.0.0.1:14550', px4_topic='/p')
    (node,) = (action for action in actions if action.kind == 'LifecycleNode')
    changes = node.named['parameters'][1]
    assert changes == {
        **{'use_sim_time': False, 'view_port': 8350},
        **{'mavlink_to': 'udpout:127.0.0.1:14550', 'px4_topic': '/p'},
    }
    assert type(changes['view_port']) is int  # ROS takes no 8350.0 for a whole number


@pytest.mark.parametrize(
    'given', [{'footprint': '90'}, {'height_m': 'high'}, {'view_port': '80.5'}]
)
def test_what_is_no_number_of_the_camera_is_named(recorded, given):
    with pytest.raises(RuntimeError, match=next(iter(given.values()))):
        recorded(**given)


def test_a_node_that_comes_back_has_a_file_to_remember_by(recorded, monkeypatch):
    def file_of(**given):
        _, actions = recorded(**given)
        (node,) = (action for action in actions if action.kind == 'LifecycleNode')
        return node.named['parameters'][1].get('memory_file')

    monkeypatch.setenv('ROS_HOME', '/home/robot/.ros')
    assert file_of() is None
    assert file_of(respawn='true') == '/home/robot/.ros/justzoom_memory.json'
    assert file_of(respawn='true', namespace='/a/b') == '/home/robot/.ros/justzoom_a_b_memory.json'
    assert file_of(memory_file='/tmp/here.json') == '/tmp/here.json'


def flat(values, prefix=''):
    """Nested parameters by their full names, as ROS reads a file."""
    found = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f'{prefix}{name}.')
        else:
            found[prefix + name] = value
    return found


def test_the_parameters_file_holds_all_parameters_with_their_defaults():
    (values,) = (node['ros__parameters'] for node in yaml.safe_load(CONFIG.read_text()).values())
    assert flat(values) == {p.name: p.default for p in all_parameters().values()}


def test_the_node_is_configured_then_activated_and_only_if_asked(recorded):
    _, (handler, node, configure) = recorded()
    assert configure.named['event'].named['transition_id'] == 1
    on_transition = handler.positional[0].named
    assert on_transition['target_lifecycle_node'] is node
    assert (on_transition['start_state'], on_transition['goal_state']) == (
        'configuring',
        'inactive',
    )
    assert on_transition['entities'][-1].named['event'].named['transition_id'] == 3
    _, actions = recorded(autostart='false')
    assert [action.kind for action in actions] == ['LifecycleNode']


def test_nav2s_manager_starts_the_node_and_expects_its_bond(monkeypatch):
    """It configures and activates what the launch file leaves alone, by the node's name."""
    record = recorder(monkeypatch, REPO / 'launch' / 'nav2.launch.py')
    declared, (manager,) = record(namespace='robot1', use_sim_time='True')
    assert manager.named['package'] == 'nav2_lifecycle_manager'
    assert manager.named['namespace'] == 'robot1'
    (parameters,) = manager.named['parameters']
    assert parameters == {
        **{'use_sim_time': True, 'autostart': True},
        **{'node_names': ['justzoom'], 'bond_timeout': 4.0},
    }
    _, (manager,) = record(bond_timeout='0.0')
    assert manager.named['parameters'][0]['bond_timeout'] == 0.0
    assert all(e.named['description'].endswith('.') for e in declared.values())
    (include,) = (
        e for e in sys.modules['launch'].descriptions[-1] if e.kind == 'IncludeLaunchDescription'
    )
    assert include.named['launch_arguments'] == [('autostart', 'false')]


@pytest.mark.ros
def test_the_recorded_node_starts_and_localizes(recorded, files, tmp_path):
    _, actions = recorded(
        **files,
        runtime='cpu',
        image_topic='/camera/image_raw',
        namespace='drone',
        use_sim_time='true',
    )
    (node,) = (action for action in actions if action.kind == 'LifecycleNode')
    line = launch_doubles.command(node, prefix(), tmp_path)
    with (
        started(line) as (process, domain),
        peer(domain, '/camera/image_raw', '/drone') as base,
    ):
        assert base.change('configure') and base.change('activate')
        assert_localizes(base)
        interrupt(process)


# --- the executable ------------------------------------------------------------------------------


@contextlib.contextmanager
def started(line, environment=None):
    """A process of the built package in a domain of its own; yields (process, domain)."""
    with own_domain() as domain:
        environment = {**(environment or sourced()), 'ROS_DOMAIN_ID': str(domain)}
        environment |= {'OMP_NUM_THREADS': '1', 'ROS_LOG_DIR': '/tmp/justzoom-test-log'}
        process = subprocess.Popen(
            line,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process, domain
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@contextlib.contextmanager
def peer(domain, image='/image', namespace='/'):
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    base = Peer(context, image=image, namespace=namespace)
    try:
        base.meet()
        yield base
        base.close()
    finally:
        rclpy.shutdown(context=context)


def assert_localizes(base):
    base.connect()
    sent = []
    while not base.fixes and len(sent) < PATIENCE_S:  # best effort: some may get lost
        sent.append(7.5 + len(sent))
        base.images.publish(image_message(sent[-1]))
        with contextlib.suppress(Waited):
            base.wait(lambda: base.fixes, 'a fix', patience_s=1.0)
    assert stamp_s(base.fixes[0]) in sent and base.fixes[0].header.frame_id == 'camera'


def interrupt(process):
    """Ctrl-C, which a terminal sends to the whole group; the process must end in order."""
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    assert 'Traceback' not in output, output
    return output


def executable(*arguments):
    return [f'{prefix()}/lib/justzoom_ros/localize', '--ros-args', *arguments]


@pytest.mark.ros
def test_an_interrupt_ends_the_executable_in_order_before_anything_is_configured():
    with started(executable()) as (process, domain), peer(domain) as base:
        assert base.state() == 'unconfigured'
        interrupt(process)


@pytest.mark.ros
@pytest.mark.parametrize(
    ('arguments', 'problem'),
    [
        (['-p', 'min_confidence:=high'], "'min_confidence'"),
        (['-p', 'runtime:=abacus'], 'it must be one of auto, '),
        (['-p', 'tracker.noise.position_m:=-1.0'], 'tracker.noise.position_m is -1; it must be'),
        (['--params-file', '/nowhere.yaml'], '/nowhere.yaml'),
    ],
)
def test_wrong_arguments_end_the_executable_with_one_line(arguments, problem):
    with started(executable(*arguments)) as (process, _):
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2, output
    (line,) = (li for li in output.splitlines() if li.startswith('justzoom: error: '))
    assert problem in line and 'Traceback' not in output


@pytest.mark.ros
def test_a_misspelt_parameter_is_told_with_what_may_be_meant(tmp_path):
    file = tmp_path / 'parameters.yaml'
    file.write_text('/**: {ros__parameters: {min_confidense: 0.9, tracker: {noise: {yaw: 1.0}}}}')
    with (
        started(executable('--params-file', str(file))) as (process, domain),
        peer(domain) as base,
    ):
        assert base.state() == 'unconfigured'
        output = interrupt(process)
    assert 'min_confidense is no parameter of this node; is min_confidence meant?' in output
    assert 'tracker.noise.yaw is no parameter of this node' in output
    assert output.count('is no parameter') == 2


# --- for real ------------------------------------------------------------------------------------

RUN = """
import sys
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
arguments = [argument.split(':=', 1) for argument in sys.argv[2:]]
service = LaunchService()
source = PythonLaunchDescriptionSource(sys.argv[1])
service.include_launch_description(IncludeLaunchDescription(source, launch_arguments=arguments))
sys.exit(service.run())
"""


@pytest.fixture
def launched():
    """Runs the installed launch file by launch: launched('argument:=value', ...)."""
    pytest.importorskip('launch_ros', reason='launch_ros is not installed')
    pytest.importorskip('launch_ros.actions')
    file = prefix() / 'share' / 'justzoom_ros' / 'launch' / 'localize.launch.py'
    return lambda *arguments: started([sys.executable, '-c', RUN, str(file), *arguments])


def test_launch_brings_the_node_to_active_and_ctrl_c_ends_both(launched, files):
    arguments = [f'{name}:={path}' for name, path in files.items()]
    with (
        launched(*arguments, 'image_topic:=/camera/image_raw', 'runtime:=cpu') as (
            process,
            domain,
        ),
        peer(domain, '/camera/image_raw') as base,
    ):
        base.diagnosis('', b'\0')
        base.wait(base.images.get_subscription_count, 'the node to be active')
        assert_localizes(base)
        output = interrupt(process)
        assert 'process has finished cleanly' in output


def test_launch_keeps_a_node_that_cannot_configure(launched):
    with launched('map:=/nowhere') as (process, domain), peer(domain) as base:
        base.diagnosis('configure failed', b'\2')
        assert base.state() == 'unconfigured'
        output = interrupt(process)
        assert "Failed to make transition 'TRANSITION_CONFIGURE'" in output


def test_launch_refuses_values_that_are_no_choice(launched):
    with launched('runtime:=abacus') as (process, _):
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0 and 'abacus' in output
