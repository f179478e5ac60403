"""Start the node `justzoom`, configure and activate it.

ros2 launch justzoom_ros localize.launch.py map:=/maps/town image_topic:=/camera/image_raw \
    height_m:=120 fov_deg:=70
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from justzoom_ros.live.parameters import BY_NAME
from launch import LaunchDescription

FROM_FILE = 'Empty: as in params_file.'
OVERRIDES = (
    *('map', 'weights', 'runtime', 'image_transport', 'motion', 'height_source'),
    *('attitude_source', 'mavlink_to', 'px4_topic'),
)
"""Launch arguments that are parameters of the node, which are words."""
NUMBERS = {
    **{'height_m': 'height_m', 'fov_deg': 'camera_fov_deg', 'footprint': 'footprint_m'},
    'view_port': 'view_port',
}
"""{launch argument: parameter}: numbers, two of them with a space between for the footprint."""
TOPICS = ('image', 'height', 'odom', 'imu')
"""Topics of the node that have a launch argument NAME_topic."""
SHOWN = (
    *('map_image', 'belief', 'likelihood', 'markers', 'hypotheses', 'pose', 'zoom_image'),
    *('tf', 'tf_static'),
)
"""Topics of config/justzoom.rviz."""
SWITCH = {'choices': ['true', 'false', 'True', 'False']}


TEXTS = {
    'image_topic': ('image', 'Topic of the images; for compressed ones without /compressed.'),
    'camera_info_topic': (
        '',
        'Topic of the calibration: where it is given, the lens is read there.',
    ),
    'odom_topic': ('odom', 'Topic of the odometry (nav_msgs/Odometry).'),
    'imu_topic': ('imu', 'Topic of the IMU, read where attitude_source or imu_yaw wants it.'),
    'height_topic': (
        'height',
        'Topic of the height above ground, for height_source range, float64.',
    ),
    'namespace': ('', 'Namespace of node and topics.'),
    'memory_file': (
        '',
        'File that keeps the last fix over a crash. Empty: with respawn one below ROS_HOME '
        '(~/.ros), else as in params_file.',
    ),
}
"""{launch argument: (default, description)}."""
SWITCHES = {
    'use_sim_time': ('false', 'Take the time from /clock, as for ros2 bag play --clock.'),
    'autostart': ('true', 'Configure and activate the node at once.'),
    'respawn': ('false', 'Start the node again when it dies, and with autostart configure it.'),
    'rviz': ('false', 'Show everything in RViz.'),
}
"""{launch argument: (default, description)} of what is true or false."""


def generate_launch_description():
    share = get_package_share_directory('justzoom_ros')
    return LaunchDescription(
        [
            _argument(
                'params_file',
                f'{share}/config/localize.yaml',
                'YAML file with the parameters of the node.',
            ),
            *(_override(name, name) for name in OVERRIDES),
            *(_override(*pair) for pair in NUMBERS.items()),
            *(_argument(name, *texts) for name, texts in TEXTS.items()),
            *(_argument(name, *texts, SWITCH) for name, texts in SWITCHES.items()),
            OpaqueFunction(function=_start),
            OpaqueFunction(function=_show),
        ]
    )


def _argument(name, default, text, choices=None):
    return DeclareLaunchArgument(name, default_value=default, description=text, **(choices or {}))


def _override(name, parameter_name):
    parameter = BY_NAME[parameter_name]
    choices = {'choices': ['', *parameter.choices]} if parameter.choices else {}
    text = f'{parameter.text} {FROM_FILE}'
    return DeclareLaunchArgument(name, default_value='', description=text, **choices)


def _is_true(context, name):
    return LaunchConfiguration(name).perform(context).lower() == 'true'


def _start(context):
    node = _node(context, _params_file(context), _changes(context))
    if not _is_true(context, 'autostart'):
        return [node]
    configure = _change(node, Transition.TRANSITION_CONFIGURE)
    if _is_true(context, 'respawn'):
        # With every start: a node that comes back is unconfigured.
        started = OnProcessStart(target_action=node, on_start=[configure])
        return [_activate_when_configured(node), RegisterEventHandler(started), node]
    return [_activate_when_configured(node), node, configure]


def _params_file(context):
    path = LaunchConfiguration('params_file').perform(context)
    if not Path(path).is_file():
        # launch_ros itself would start the node without it.
        raise FileNotFoundError(f'params_file {path} is not there')
    return path


def _changes(context):
    """{parameter: value} of the launch arguments that are given."""
    given = {name: LaunchConfiguration(name).perform(context) for name in OVERRIDES}
    changes = {name: value for name, value in given.items() if value} | _numbers(context)
    if LaunchConfiguration('camera_info_topic').perform(context):
        changes['lens_source'] = 'camera_info'
    changes['use_sim_time'] = _is_true(context, 'use_sim_time')
    return changes | _memory(context)


def _node(context, params_file, changes):
    camera_info = LaunchConfiguration('camera_info_topic').perform(context)
    topics = {name: LaunchConfiguration(f'{name}_topic') for name in TOPICS}
    return LifecycleNode(
        package='justzoom_ros',
        executable='localize',
        name='justzoom',
        namespace=LaunchConfiguration('namespace'),
        parameters=[params_file, changes],
        remappings=[*topics.items(), ('camera_info', camera_info or 'camera_info')],
        respawn=_is_true(context, 'respawn'),
        respawn_delay=2.0,
        output='screen',
    )


def _numbers(context):
    """{parameter: number or numbers} of the launch arguments that are given."""
    given = {name: LaunchConfiguration(name).perform(context) for name in NUMBERS}
    return {NUMBERS[name]: _number(name, text) for name, text in given.items() if text}


def _number(name, text):
    """The number that a launch argument gives, or the list of two; of the type that the parameter
    has, since ROS takes no 8350.0 for 8350."""
    default = BY_NAME[NUMBERS[name]].default
    many, kind = isinstance(default, list), int if isinstance(default, int) else float
    try:
        values = [kind(word) for word in text.replace(',', ' ').split()]
    except ValueError:
        values = []
    if len(values) != (2 if many else 1):
        one = 'one whole number' if kind is int else 'one number'
        wanted = 'two numbers, as in footprint:="90 150"' if many else one
        raise RuntimeError(f'{name}:={text} must be {wanted}')
    return values if many else values[0]


def _memory(context):
    """{parameter: path} of the file that keeps the last fix, {} where nobody wants one."""
    path = LaunchConfiguration('memory_file').perform(context)
    if not path and _is_true(context, 'respawn'):
        namespace = LaunchConfiguration('namespace').perform(context).strip('/')
        name = '_'.join(['justzoom', *filter(None, namespace.split('/'))])
        home = os.environ.get('ROS_HOME') or Path.home() / '.ros'
        path = str(Path(home) / f'{name}_memory.json')
    return {'memory_file': path} if path else {}


def _show(context):
    if not _is_true(context, 'rviz'):
        return []
    share = get_package_share_directory('justzoom_ros')
    return [
        Node(
            package='rviz2',
            executable='rviz2',
            name='rviz',
            namespace=LaunchConfiguration('namespace'),
            arguments=['-d', f'{share}/config/justzoom.rviz'],
            parameters=[{'use_sim_time': _is_true(context, 'use_sim_time')}],
            # The file names them as they are without a namespace.
            remappings=[(f'/{topic}', topic) for topic in SHOWN],
        )
    ]


def _activate_when_configured(node):
    # From configuring only: who deactivates the node later wants it to stay inactive.
    return RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=node,
            start_state='configuring',
            goal_state='inactive',
            entities=[
                LogInfo(msg='justzoom is configured; activating it'),
                _change(node, Transition.TRANSITION_ACTIVATE),
            ],
        )
    )


def _change(node, transition):
    matcher = matches_action(node)
    return EmitEvent(event=ChangeState(lifecycle_node_matcher=matcher, transition_id=transition))
