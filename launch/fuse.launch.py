"""The node `justzoom` with robot_localization: two EKFs and navsat_transform.

ros2 launch justzoom_ros fuse.launch.py map:=/maps/town weights:=/maps/town.safetensors \
    image_topic:=/camera/image_raw odom_topic:=/odom imu_topic:=/imu/data

Needs the packages robot_localization and topic_tools. Publishes the transforms map -> odom and
odom -> base_link; everything else is up to the robot's description.
"""

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from justzoom_ros.maps.map_file import read_info
from launch import LaunchDescription

FIX_RATE_HZ = '0.1'


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
                'use_sim_time',
                default_value='false',
                choices=['true', 'false'],
                description='Take the time from /clock, as for ros2 bag play --clock.',
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
            IncludeLaunchDescription(localize),
            OpaqueFunction(function=_fusion),
        ]
    )


def _fusion(context):
    def value(name):
        return LaunchConfiguration(name).perform(context)

    region = read_info(value('map')).region
    common = [value('fusion_file'), {'use_sim_time': value('use_sim_time') == 'true'}]
    datum = {'datum': [region.latitude, region.longitude, 0.0]}
    inputs = [('odom', value('odom_topic')), ('imu', value('imu_topic'))]
    return [
        _throttle('fix', value('fix_rate')),
        _throttle('pose', value('fix_rate')),
        _ekf('ekf_odom', common, [*inputs, ('odometry/filtered', 'odometry/local')]),
        _ekf('ekf_map', common, [*inputs, ('odometry/filtered', 'odometry/global')]),
        Node(
            package='robot_localization',
            executable='navsat_transform_node',
            name='navsat_transform',
            parameters=[*common, datum],
            remappings=[
                ('gps/fix', 'fix_throttled'),
                ('odometry/filtered', 'odometry/global'),
            ],
            output='screen',
        ),
    ]


def _ekf(name, parameters, remappings):
    return Node(
        package='robot_localization',
        executable='ekf_node',
        name=name,
        parameters=parameters,
        remappings=remappings,
        output='screen',
    )


def _throttle(topic, rate_hz):
    """One in a while of the messages on a topic, on `topic`_throttled."""
    return Node(
        package='topic_tools',
        executable='throttle',
        name=f'throttle_{topic}',
        arguments=['messages', topic, rate_hz, f'{topic}_throttled'],
        output='screen',
    )
