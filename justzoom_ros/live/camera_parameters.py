"""The node's parameters about the camera. Readable without torch: the launch file has them."""

from justzoom_ros.live.config_parameters import UNCONFIGURED, Parameter
from justzoom_ros.ranges import Range

HEIGHT_SOURCES = ('none', 'range', 'float64', 'altitude', 'odom')
"""Where heights above ground come from: none, only the parameters; a `sensor_msgs/Range` or a
`std_msgs/Float64` on `height`; a Float64 on `altitude` or z of the odometry, less the ground's."""

ATTITUDE_SOURCES = ('none', 'imu', 'gimbal')
"""Where the tilt comes from: none, only the mount; the orientation of the body on `imu`, with the
mount; the orientation of the camera itself on `gimbal`."""

LENS_SOURCES = ('fov', 'camera_info')
"""Where the lens comes from."""

CAMERA_PARAMETERS = (
    Parameter(
        'footprint_m',
        [0.0, 0.0],
        'Least and greatest ground width in view, in metres; two zeros stand for not given.',
        UNCONFIGURED,
    ),
    Parameter(
        'height_m',
        0.0,
        'Height of the camera above ground in metres; 0 stands for not given. With a '
        '`height_source` it is the height to expect.',
        UNCONFIGURED,
        range=Range(at_least=0.0, at_most=20_000.0),
    ),
    Parameter(
        'height_std_m',
        0.0,
        'Standard deviation of heights in metres; 0 stands for 10 % of the height. It says how '
        'many scales are searched.',
        UNCONFIGURED,
        range=Range(at_least=0.0, at_most=10_000.0),
    ),
    Parameter(
        'height_source',
        'none',
        'Where heights come from: a Range (`range`) or a Float64 (`float64`) on `height`, a '
        'Float64 on `altitude`, or z of `odom`.',
        UNCONFIGURED,
        choices=HEIGHT_SOURCES,
    ),
    Parameter(
        'ground_altitude_m',
        0.0,
        'What `altitude`, or z of `odom`, is on the ground, in metres.',
        UNCONFIGURED,
        range=Range(at_least=-20_000.0, at_most=20_000.0),
    ),
    Parameter(
        'lens_source',
        'fov',
        '`fov` takes `camera_fov_deg`, `camera_info` the calibration on that topic.',
        UNCONFIGURED,
        choices=LENS_SOURCES,
    ),
    Parameter(
        'attitude_source',
        'none',
        'Where the tilt comes from: the mount alone, the body on `imu` with the mount, or the '
        'camera on `gimbal`.',
        UNCONFIGURED,
        choices=ATTITUDE_SOURCES,
    ),
    Parameter(
        'camera_pitch_deg',
        0.0,
        'Tilt of the camera ahead, to where the top of the image points, in degrees from straight '
        'down. From 70 on it is a camera that looks ahead, at 90 to the horizon.',
        UNCONFIGURED,
        range=Range(at_least=-89.0, at_most=110.0),
    ),
    Parameter(
        'camera_roll_deg',
        0.0,
        'Tilt of the camera to the right of the image, in degrees from straight down.',
        UNCONFIGURED,
        range=Range(at_least=-89.0, at_most=89.0),
    ),
    Parameter(
        'camera_yaw_deg',
        0.0,
        "Where the top of the image points, in degrees counter-clockwise from the robot's front.",
        UNCONFIGURED,
        range=Range(at_least=-360.0, at_most=360.0),
    ),
    Parameter(
        'heading_deg',
        -1.0,
        'Where the top of the image points, in degrees clockwise from north, if it always does; '
        'below 0 stands for not known.',
        UNCONFIGURED,
        range=Range(at_least=-1.0, at_most=360.0),
    ),
    Parameter(
        'heading_std_deg',
        10.0,
        'Standard deviation of `heading_deg` in degrees.',
        UNCONFIGURED,
        range=Range(at_least=0.1, at_most=180.0),
    ),
    Parameter(
        'sample_slop_s',
        0.1,
        'The nearest height and attitude within so many seconds of an image count.',
        UNCONFIGURED,
        range=Range(at_least=0.0, at_most=10.0),
    ),
    Parameter(
        'sample_age_s',
        1.0,
        'Otherwise the last ones before it do, if they are no older than so many seconds.',
        UNCONFIGURED,
        range=Range(at_least=0.0, at_most=3600.0),
    ),
)
