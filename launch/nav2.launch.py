"""The node `justzoom` in the care of Nav2's lifecycle manager.

ros2 launch justzoom_ros nav2.launch.py map:=/maps/town weights:=/maps/town.safetensors \
    image_topic:=/camera/image_raw

Needs the package nav2_lifecycle_manager. Takes every argument of localize.launch.py but autostart.
"""

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription


def generate_launch_description():
    share = get_package_share_directory('justzoom_ros')
    localize = PythonLaunchDescriptionSource(f'{share}/launch/localize.launch.py')
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'namespace', default_value='', description='Namespace of node and manager.'
            ),
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='false',
                choices=['true', 'false', 'True', 'False'],
                description='Take the time from /clock, as for ros2 bag play --clock.',
            ),
            DeclareLaunchArgument(
                'bond_timeout',
                default_value='4.0',
                description='Seconds without a sign of life after which the manager takes the '
                'node for dead; 0.0 where the package bond is not installed.',
            ),
            # The manager configures and activates it.
            IncludeLaunchDescription(localize, launch_arguments=[('autostart', 'false')]),
            OpaqueFunction(function=_manager),
        ]
    )


def _manager(context):
    use_sim_time = LaunchConfiguration('use_sim_time').perform(context).lower() == 'true'
    return [
        Node(
            package='nav2_lifecycle_manager',
            executable='lifecycle_manager',
            name='lifecycle_manager_justzoom',
            namespace=LaunchConfiguration('namespace'),
            parameters=[
                {
                    'use_sim_time': use_sim_time,
                    'autostart': True,
                    'node_names': ['justzoom'],
                    'bond_timeout': float(LaunchConfiguration('bond_timeout').perform(context)),
                }
            ],
            output='screen',
        )
    ]
