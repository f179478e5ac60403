"""The node `justzoom` with robot_localization: two EKFs and navsat_transform.

ros2 launch justzoom_ros fuse.launch.py map:=/maps/town weights:=/maps/town.safetensors \
    image_topic:=/camera/image_raw odom_topic:=/odom imu_topic:=/imu/data \
    camera_frame:=camera camera_x:=0.2 camera_z:=0.5

Needs the package robot_localization. Publishes the transforms map -> odom and odom -> base_link,
and base_link -> camera where one of camera_x ... camera_yaw is given; everything else is up to
the robot's description.
"""

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from justzoom_ros.maps.map_file import read_info
from launch import LaunchDescription

FIX_RATE_HZ = '0.1'
PLACE = ('x', 'y', 'z', 'roll', 'pitch', 'yaw')
"""Of the camera in the frame of the base: metres and radians."""
SWITCH = {'choices': ['true', 'false', 'True', 'False']}


TEXTS = {
    'odom_topic': ('odom', 'Topic of the odometry.'),
    'imu_topic': ('imu', 'Topic of the IMU, for turn rates.'),
    'namespace': ('', 'Namespace of all nodes and topics, /tf and /tf_static among them.'),
    'fix_rate': (FIX_RATE_HZ, 'Fixes per second that are fused; neighbouring ones tell the same.'),
    'from_ll_service': (
        '/fromLL',
        "Name of navsat_transform's service; Nav2 calls /fromLL, wherever it runs itself.",
    ),
    'base_frame': ('base_link', 'Frame of the robot.'),
    'camera_frame': (
        'camera',
        'Frame of the images, for the transform of camera_x ... camera_yaw.',
    ),
}
"""{launch argument: (default, description)}."""
SWITCHES = {
    'use_sim_time': 'Take the time from /clock, as for ros2 bag play --clock.',
    'respawn': 'Start a node again when it dies.',
    'increments': 'Fuse what is new in every fix, instead of one fix in a while.',
}
"""{launch argument: description} of what is true or false, false unless given."""
# As Nav2's bringup: in a namespace the transforms are the robot's own.
FRAMES = [('/tf', 'tf'), ('/tf_static', 'tf_static')]


def generate_launch_description():
    share = get_package_share_directory('justzoom_ros')
    localize = PythonLaunchDescriptionSource(f'{share}/launch/localize.launch.py')
    return LaunchDescription(
        [
            DeclareLaunchArgument('map', description='Folder of the map.'),
            *(_argument(name, default, text) for name, (default, text) in TEXTS.items()),
            *(_argument(name, 'false', text, SWITCH) for name, text in SWITCHES.items()),
            *_filter_arguments(share),
            *(_camera_argument(name) for name in PLACE),
            IncludeLaunchDescription(localize),
            OpaqueFunction(function=_fusion),
        ]
    )


def _argument(name, default, text, choices=None):
    return DeclareLaunchArgument(name, default_value=default, description=text, **(choices or {}))


def _filter_arguments(share):
    return [
        _argument(
            'smooth_lagged_data',
            'auto',
            'Let the filter go back to the time of a fix; auto does where time is not simulated, '
            'since released versions crash there.',
            {'choices': ['auto', 'true', 'false']},
        ),
        _argument(
            'fusion_file',
            f'{share}/config/robot_localization.yaml',
            'YAML file with the parameters of robot_localization.',
        ),
    ]


def _camera_argument(name):
    return _argument(
        f'camera_{name}',
        '',
        f'{name} of the camera in the frame of the robot, metres or radians. Empty: 0, and where '
        'all are, no transform is published.',
    )


def _fusion(context):
    """The nodes, once the arguments are known."""

    def value(name):
        return LaunchConfiguration(name).perform(context)

    common = {
        'namespace': value('namespace'),
        'respawn': _is_true(value, 'respawn'),
        'respawn_delay': 2.0,
        'output': 'screen',
    }
    time = {'use_sim_time': _is_true(value, 'use_sim_time')}
    return [
        *_camera_transform(value, common),
        _relay(value, time, common),
        _ekf('odom', 'local', value, time, common),
        _ekf('map', 'global', value, {**time, **_lagged(value)}, common),
        _navsat(value, time, common),
    ]


def _is_true(value, name):
    return value(name).lower() == 'true'


def _lagged(value):
    smooth = value('smooth_lagged_data')
    simulated = _is_true(value, 'use_sim_time')
    return {'smooth_lagged_data': smooth == 'true' or smooth == 'auto' and not simulated}


def _relay(value, time, common):
    rate_hz = float(value('fix_rate'))
    if not rate_hz > 0:
        raise RuntimeError(f'fix_rate is {rate_hz:g}; it must be above 0')
    relay = {
        'period_s': 1 / rate_hz,
        'base_frame': value('base_frame'),
        'increments': _is_true(value, 'increments'),
    }
    return Node(
        package='justzoom_ros',
        executable='fix_relay',
        name='fix_relay',
        parameters=[time, relay],
        remappings=FRAMES,
        **common,
    )


def _navsat(value, time, common):
    region = read_info(value('map')).region
    datum = {'datum': [region.latitude, region.longitude, 0.0]}
    return Node(
        package='robot_localization',
        executable='navsat_transform_node',
        name='navsat_transform',
        parameters=[value('fusion_file'), time, datum],
        remappings=[
            ('gps/fix', 'fix_throttled'),
            ('odometry/filtered', 'odometry/global'),
            ('fromLL', value('from_ll_service')),
            *FRAMES,
        ],
        **common,
    )


def _ekf(frame, output, value, changes, common):
    """The filter that makes the transform of `frame` from odometry/`output`."""
    inputs = [('odom', value('odom_topic')), ('imu', value('imu_topic'))]
    robot = {**changes, 'base_link_frame': value('base_frame')}
    return Node(
        package='robot_localization',
        executable='ekf_node',
        name=f'ekf_{frame}',
        parameters=[value('fusion_file'), robot],
        remappings=[*inputs, *FRAMES, ('odometry/filtered', f'odometry/{output}')],
        **common,
    )


def _camera_transform(value, common):
    """Base to camera, where a place is given: without it a fix counts as one at (0, 0)."""
    place = {name: value(f'camera_{name}') for name in PLACE}
    if not any(place.values()):
        return []
    arguments = [word for name in PLACE for word in (f'--{name}', place[name] or '0')]
    arguments += ['--frame-id', value('base_frame'), '--child-frame-id', value('camera_frame')]
    return [
        Node(
            package='tf2_ros',
            executable='static_transform_publisher',
            name='camera_transform',
            arguments=arguments,
            remappings=FRAMES,
            **common,
        )
    ]
