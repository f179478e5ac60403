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


def generate_launch_description():
    share = get_package_share_directory('justzoom_ros')
    localize = PythonLaunchDescriptionSource(f'{share}/launch/localize.launch.py')
    return LaunchDescription(
        [
            DeclareLaunchArgument('map', description='Folder of the map.'),
            DeclareLaunchArgument(
                'odom_topic', default_value='odom', description='Topic of the odometry.'
            ),
            DeclareLaunchArgument(
                'imu_topic', default_value='imu', description='Topic of the IMU, for turn rates.'
            ),
            DeclareLaunchArgument(
                'namespace',
                default_value='',
                description='Namespace of all nodes and topics, /tf and /tf_static among them.',
            ),
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='false',
                description='Take the time from /clock, as for ros2 bag play --clock.',
                **SWITCH,
            ),
            DeclareLaunchArgument(
                'smooth_lagged_data',
                default_value='auto',
                choices=['auto', 'true', 'false'],
                description='Let the filter go back to the time of a fix; auto does where time is '
                'not simulated, since released versions crash there.',
            ),
            DeclareLaunchArgument(
                'fusion_file',
                default_value=f'{share}/config/robot_localization.yaml',
                description='YAML file with the parameters of robot_localization.',
            ),
            DeclareLaunchArgument(
                'fix_rate',
                default_value=FIX_RATE_HZ,
                description='Fixes per second that are fused; neighbouring ones tell the same.',
            ),
            DeclareLaunchArgument(
                'increments',
                default_value='false',
                description='Fuse what is new in every fix, instead of one fix in a while.',
                **SWITCH,
            ),
            DeclareLaunchArgument(
                'from_ll_service',
                default_value='/fromLL',
                description="Name of navsat_transform's service; Nav2 calls /fromLL, wherever it "
                'runs itself.',
            ),
            DeclareLaunchArgument(
                'respawn',
                default_value='false',
                description='Start a node again when it dies.',
                **SWITCH,
            ),
            DeclareLaunchArgument(
                'base_frame', default_value='base_link', description='Frame of the robot.'
            ),
            DeclareLaunchArgument(
                'camera_frame',
                default_value='camera',
                description='Frame of the images, for the transform of camera_x ... camera_yaw.',
            ),
            *(
                DeclareLaunchArgument(
                    f'camera_{name}',
                    default_value='',
                    description=f'{name} of the camera in the frame of the robot, metres or '
                    'radians. Empty: 0, and where all are, no transform is published.',
                )
                for name in PLACE
            ),
            IncludeLaunchDescription(localize),
            OpaqueFunction(function=_fusion),
        ]
    )


def _fusion(context):
    def value(name):
        return LaunchConfiguration(name).perform(context)

    def is_true(name):
        return value(name).lower() == 'true'

    common = {
        'namespace': value('namespace'),
        'respawn': is_true('respawn'),
        'respawn_delay': 2.0,
        'output': 'screen',
    }
    region = read_info(value('map')).region
    time = {'use_sim_time': is_true('use_sim_time')}
    smooth = value('smooth_lagged_data')
    lagged = {
        'smooth_lagged_data': smooth == 'true' or smooth == 'auto' and not is_true('use_sim_time')
    }
    datum = {'datum': [region.latitude, region.longitude, 0.0]}
    file = value('fusion_file')
    # As Nav2's bringup: in a namespace the transforms are the robot's own.
    frames = [('/tf', 'tf'), ('/tf_static', 'tf_static')]
    inputs = [('odom', value('odom_topic')), ('imu', value('imu_topic')), *frames]
    rate_hz = float(value('fix_rate'))
    if not rate_hz > 0:
        raise RuntimeError(f'fix_rate is {rate_hz:g}; it must be above 0')
    relay = {
        'period_s': 1 / rate_hz,
        'base_frame': value('base_frame'),
        'increments': is_true('increments'),
    }
    robot = {**time, 'base_link_frame': value('base_frame')}
    return [
        *_camera_transform(value, common, frames),
        Node(
            package='justzoom_ros',
            executable='fix_relay',
            name='fix_relay',
            parameters=[time, relay],
            remappings=frames,
            **common,
        ),
        _ekf(
            'ekf_odom', [file, robot], [*inputs, ('odometry/filtered', 'odometry/local')], common
        ),
        _ekf(
            'ekf_map',
            [file, robot, lagged],
            [*inputs, ('odometry/filtered', 'odometry/global')],
            common,
        ),
        Node(
            package='robot_localization',
            executable='navsat_transform_node',
            name='navsat_transform',
            parameters=[file, time, datum],
            remappings=[
                ('gps/fix', 'fix_throttled'),
                ('odometry/filtered', 'odometry/global'),
                ('fromLL', value('from_ll_service')),
                *frames,
            ],
            **common,
        ),
    ]


def _ekf(name, parameters, remappings, common):
    return Node(
        package='robot_localization',
        executable='ekf_node',
        name=name,
        parameters=parameters,
        remappings=remappings,
        **common,
    )


def _camera_transform(value, common, frames):
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
            remappings=frames,
            **common,
        )
    ]
