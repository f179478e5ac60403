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
    'attitude_source',
)
"""Launch arguments that are parameters of the node, which are words."""
NUMBERS = {'height_m': 'height_m', 'fov_deg': 'camera_fov_deg', 'footprint': 'footprint_m'}
"""{launch argument: parameter}: numbers, two of them with a space between for the footprint."""
SHOWN = ('map_image', 'belief', 'markers', 'hypotheses', 'pose', 'zoom_image', 'tf', 'tf_static')
"""Topics of config/justzoom.rviz."""
SWITCH = {'choices': ['true', 'false', 'True', 'False']}


def generate_launch_description():
    share = get_package_share_directory('justzoom_ros')
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'params_file',
                default_value=f'{share}/config/localize.yaml',
                description='YAML file with the parameters of the node.',
            ),
            *(_override(name, name) for name in OVERRIDES),
            *(_override(*pair) for pair in NUMBERS.items()),
            DeclareLaunchArgument(
                'image_topic',
                default_value='image',
                description='Topic of the images; for compressed ones without /compressed.',
            ),
            DeclareLaunchArgument(
                'camera_info_topic',
                default_value='',
                description='Topic of the calibration: where it is given, the lens is read there.',
            ),
            DeclareLaunchArgument(
                'odom_topic',
                default_value='odom',
                description='Topic of the odometry (nav_msgs/Odometry).',
            ),
            DeclareLaunchArgument(
                'imu_topic',
                default_value='imu',
                description='Topic of the IMU, read where attitude_source or imu_yaw wants it.',
            ),
            DeclareLaunchArgument(
                'height_topic',
                default_value='height',
                description='Topic of the height above ground, for height_source range, float64.',
            ),
            DeclareLaunchArgument(
                'namespace', default_value='', description='Namespace of node and topics.'
            ),
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='false',
                description='Take the time from /clock, as for ros2 bag play --clock.',
                **SWITCH,
            ),
            DeclareLaunchArgument(
                'autostart',
                default_value='true',
                description='Configure and activate the node at once.',
                **SWITCH,
            ),
            DeclareLaunchArgument(
                'respawn',
                default_value='false',
                description='Start the node again when it dies, and with autostart configure it.',
                **SWITCH,
            ),
            DeclareLaunchArgument(
                'memory_file',
                default_value='',
                description='File that keeps the last fix over a crash. Empty: with respawn one '
                'below ROS_HOME (~/.ros), else as in params_file.',
            ),
            DeclareLaunchArgument(
                'rviz',
                default_value='false',
                description='Show everything in RViz.',
                **SWITCH,
            ),
            OpaqueFunction(function=_start),
            OpaqueFunction(function=_show),
        ]
    )


def _override(name, parameter_name):
    parameter = BY_NAME[parameter_name]
    choices = {'choices': ['', *parameter.choices]} if parameter.choices else {}
    text = f'{parameter.text} {FROM_FILE}'
    return DeclareLaunchArgument(name, default_value='', description=text, **choices)


def _is_true(context, name):
    return LaunchConfiguration(name).perform(context).lower() == 'true'


def _start(context):
    params_file = LaunchConfiguration('params_file').perform(context)
    if not Path(params_file).is_file():
        # launch_ros itself would start the node without it.
        raise FileNotFoundError(f'params_file {params_file} is not there')
    given = {name: LaunchConfiguration(name).perform(context) for name in OVERRIDES}
    changes = {name: value for name, value in given.items() if value} | _numbers(context)
    camera_info = LaunchConfiguration('camera_info_topic').perform(context)
    if camera_info:
        changes['lens_source'] = 'camera_info'
    changes['use_sim_time'] = _is_true(context, 'use_sim_time')
    changes |= _memory(context)
    node = LifecycleNode(
        package='justzoom_ros',
        executable='localize',
        name='justzoom',
        namespace=LaunchConfiguration('namespace'),
        parameters=[params_file, changes],
        remappings=[
            ('image', LaunchConfiguration('image_topic')),
            ('camera_info', camera_info or 'camera_info'),
            ('height', LaunchConfiguration('height_topic')),
            ('odom', LaunchConfiguration('odom_topic')),
            ('imu', LaunchConfiguration('imu_topic')),
        ],
        respawn=_is_true(context, 'respawn'),
        respawn_delay=2.0,
        output='screen',
    )
    if not _is_true(context, 'autostart'):
        return [node]
    configure = _change(node, Transition.TRANSITION_CONFIGURE)
    if _is_true(context, 'respawn'):
        # With every start: a node that comes back is unconfigured.
        started = OnProcessStart(target_action=node, on_start=[configure])
        return [_activate_when_configured(node), RegisterEventHandler(started), node]
    return [_activate_when_configured(node), node, configure]


def _numbers(context):
    """{parameter: number or numbers} of the launch arguments that are given."""
    found = {}
    for name, parameter in NUMBERS.items():
        text = LaunchConfiguration(name).perform(context)
        many = isinstance(BY_NAME[parameter].default, list)
        if text:
            try:
                values = [float(word) for word in text.replace(',', ' ').split()]
            except ValueError:
                values = []
            if len(values) != (2 if many else 1):
                wanted = 'two numbers, as in footprint:="90 150"' if many else 'one number'
                raise RuntimeError(f'{name}:={text} must be {wanted}')
            found[parameter] = values if many else values[0]
    return found


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
