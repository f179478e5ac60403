"""The node's parameters as one table: the node declares them, the launch file takes its choices
from them, and the documentation is checked against them. Readable without ROS."""

from dataclasses import dataclass

START = 'start'
"""Fixed when the node starts (read_only)."""
UNCONFIGURED = 'unconfigured'
"""Used by configure: changed in the unconfigured state only."""
ALWAYS = 'always'
"""Used for every frame: changed at any time."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: its default, what it means, and which values and moments are allowed."""

    name: str
    default: object
    text: str
    changes: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


PARAMETERS = (
    Parameter('map', '', 'Folder of the map, as made by `justzoom map build`.', UNCONFIGURED),
    Parameter('weights', '', 'Weights file of the policy (.safetensors).', UNCONFIGURED),
    Parameter(
        'runtime',
        'auto',
        'Where the policy runs; auto takes the fastest that is there.',
        UNCONFIGURED,
        choices=('auto', 'cpu', 'cuda', 'compile', 'onnx', 'tensorrt'),
    ),
    Parameter(
        'threads',
        0,
        'Threads that the policy computes in on the CPU; 0 leaves it to torch: one for each core, '
        'or OMP_NUM_THREADS.',
        UNCONFIGURED,
        low=0,
        high=1024,
    ),
    Parameter(
        'search',
        'exact',
        'How the zoom tree is searched for the posterior.',
        UNCONFIGURED,
        choices=('exact', 'best_first', 'beam', 'greedy'),
    ),
    Parameter(
        'min_confidence',
        0.8,
        'Mass (0..1) that the first hypothesis needs for a fix.',
        ALWAYS,
        low=0.0,
        high=1.0,
    ),
    Parameter(
        'max_radius_m',
        50.0,
        'Radius in metres of the 90 % region above which there is no fix.',
        ALWAYS,
        low=0.001,
        high=1e6,
    ),
    Parameter(
        'altitude_m',
        0.0,
        'Altitude in metres above the WGS84 ellipsoid written into each fix: the map has none.',
        ALWAYS,
        low=-1000.0,
        high=100_000.0,
    ),
    Parameter(
        'altitude_std_m',
        100.0,
        'Standard deviation in metres of that altitude.',
        ALWAYS,
        low=0.001,
        high=100_000.0,
    ),
    Parameter(
        'motion',
        'auto',
        'When a frame is seen in the light of those before it: auto where odometry is heard.',
        UNCONFIGURED,
        choices=('auto', 'always', 'never'),
    ),
    Parameter(
        'headings',
        36,
        'Number of headings that the belief tells apart.',
        UNCONFIGURED,
        low=4,
        high=360,
    ),
    Parameter(
        'odom_noise_m',
        0.5,
        'Error of odometry after one metre, in metres; it grows with the root of the distance.',
        UNCONFIGURED,
        low=0.0,
        high=100.0,
    ),
    Parameter(
        'unknown_speed_m_s',
        3.0,
        'Speed in m/s that the robot may have while odometry is missing.',
        UNCONFIGURED,
        low=0.0,
        high=100.0,
    ),
    Parameter(
        'imu_yaw',
        False,
        'Take the heading from the orientation on `imu` (absolute, REP-145).',
        START,
    ),
    Parameter(
        'belief_period_s',
        1.0,
        'Least time in seconds between two messages on `belief`.',
        ALWAYS,
        low=0.0,
        high=3600.0,
    ),
    Parameter(
        'camera_headings_deg',
        [0.0],
        'Heading of each camera in degrees, counter-clockwise from the first; further cameras are '
        'on image_1, image_2 ...',
        START,
    ),
    Parameter(
        'camera_fov_deg',
        90.0,
        'Horizontal field of view of the cameras in degrees, where there are several.',
        START,
        low=1.0,
        high=360.0,
    ),
    Parameter(
        'camera_slop_s',
        0.1,
        'Images of other cameras count whose stamps are within so many seconds of the first.',
        ALWAYS,
        low=0.0,
        high=10.0,
    ),
    Parameter('map_frame', 'map', 'Frame of pose and hypotheses: ENU, region centre.', START),
    Parameter('camera_frame', '', 'frame_id of fixes where the image itself has none.', START),
    Parameter(
        'image_transport',
        'raw',
        'raw subscribes to `image`, compressed to `image` + `/compressed`.',
        START,
        choices=('raw', 'compressed'),
    ),
    Parameter(
        'image_reliability',
        'best_effort',
        'QoS of the image subscription; best_effort receives from every publisher.',
        START,
        choices=('best_effort', 'reliable'),
    ),
    Parameter(
        'undistort',
        False,
        'Undistort images by `camera_info` before localizing.',
        START,
    ),
)
BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


def problem(name, value, configured):
    """Why `value` cannot be set now, or '' where it can. `configured`: the node is not in its
    unconfigured state. Parameters of others (`use_sim_time`) are none of our business."""
    parameter = BY_NAME.get(name)
    if parameter is None:
        return ''
    if parameter.changes == UNCONFIGURED and configured:
        return f'{name} is used by configure: clean up the node, set it, configure again'
    if parameter.choices and value not in parameter.choices:
        return f'{name} is {value!r}; it must be one of {", ".join(parameter.choices)}'
    return ''
