"""The node's parameters as one table: the node declares them, the launch file takes its choices
from it, and the documentation is made from it. Readable without ROS.

    python -m justzoom_ros.live.parameters     # the table of docs/ros.md
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

from justzoom_ros.live.autopilot_parameters import AUTOPILOT_PARAMETERS
from justzoom_ros.live.camera_parameters import CAMERA_PARAMETERS
from justzoom_ros.live.config_parameters import (
    ALWAYS,
    NOT_GIVEN,
    START,
    UNCONFIGURED,
    Parameter,
    parameters_of,
)
from justzoom_ros.ranges import Range
from justzoom_ros.runtimes.registry import RUNTIMES

TRACKER = 'tracker'
"""Where the fields of a `TrackerConfig` are."""

RENAMED = {
    'headings': 'tracker.filter.headings',
    'odom_noise_m': 'tracker.noise.position_m',
    'unknown_speed_m_s': 'tracker.noise.unknown_m_s',
}
"""Former names, which are still read, with a warning."""

NODE_PARAMETERS = (
    Parameter('map', '', 'Folder of the map, as made by `justzoom map build`.', UNCONFIGURED),
    Parameter(
        'weights',
        '',
        'Weights file of a policy (.safetensors); empty: registration alone.',
        UNCONFIGURED,
    ),
    Parameter(
        'registration_weights',
        '',
        'Weights file of a registration network; empty: those adapted to the map, else the '
        'shipped ones.',
        UNCONFIGURED,
    ),
    Parameter(
        'runtime',
        'auto',
        'Where the policy runs; auto takes the fastest that is there.',
        UNCONFIGURED,
        choices=RUNTIMES.list(),
    ),
    Parameter(
        'threads',
        0,
        'Threads that the policy computes in on the CPU; 0 leaves it to torch: one for each core, '
        'or OMP_NUM_THREADS.',
        UNCONFIGURED,
        range=Range(at_least=0, at_most=1024),
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
        range=Range(at_least=0.0, at_most=1.0),
    ),
    Parameter(
        'max_radius_m',
        50.0,
        'Radius in metres of the 90 % region above which there is no fix.',
        ALWAYS,
        range=Range(at_least=0.001, at_most=1e6),
    ),
    Parameter(
        'altitude_m',
        0.0,
        'Altitude in metres above the WGS84 ellipsoid written into each fix, where the map has no '
        'heights.',
        ALWAYS,
        range=Range(at_least=-1000.0, at_most=100_000.0),
    ),
    Parameter(
        'altitude_std_m',
        100.0,
        'Standard deviation in metres of that altitude.',
        ALWAYS,
        range=Range(at_least=0.001, at_most=100_000.0),
    ),
    Parameter(
        'map_offset_std_m',
        0.0,
        'Standard deviation in metres, along each axis, of the whole map being off, where nothing '
        'was measured: a part of every covariance that averaging does not make smaller.',
        UNCONFIGURED,
        range=Range(at_least=0.0, at_most=1000.0),
    ),
    Parameter(
        'map_offset_source',
        'none',
        'gnss: learn how far the map is off from the positions on `gnss` of a receiver that is '
        'trusted, and keep it in the folder of the map.',
        UNCONFIGURED,
        choices=('none', 'gnss'),
    ),
    Parameter(
        'motion',
        'auto',
        'When a frame is seen in the light of those before it: auto where odometry is heard.',
        UNCONFIGURED,
        choices=('auto', 'always', 'never'),
    ),
    Parameter(
        'memory_file',
        '',
        'File in which the last fix is kept over a crash: a node that is started again begins '
        'there. Empty: none.',
        UNCONFIGURED,
    ),
    Parameter(
        'memory_max_age_s',
        300.0,
        'Age in seconds above which what the file holds is not believed.',
        UNCONFIGURED,
        range=Range(at_least=0.001, at_most=1e6),
    ),
    Parameter(
        'imu_yaw',
        False,
        'Trust the yaw of the orientation on `imu`: it is absolute (REP-145).',
        START,
    ),
    Parameter(
        'belief_period_s',
        1.0,
        'Least time in seconds between two messages on `belief`.',
        ALWAYS,
        range=Range(at_least=0.0, at_most=3600.0),
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
        0.0,
        'Horizontal field of view of the cameras in degrees; 0 stands for not given, which a rig '
        'takes for 90.',
        UNCONFIGURED,
        range=Range(at_least=0.0, at_most=360.0),
    ),
    Parameter(
        'camera_slop_s',
        0.1,
        'Images of other cameras count whose stamps are within so many seconds of the first.',
        ALWAYS,
        range=Range(at_least=0.0, at_most=10.0),
    ),
    *CAMERA_PARAMETERS,
    Parameter(
        'view_port',
        0,
        'Port of a page that shows the node at work in a browser; 0 for none.',
        START,
        range=Range(at_least=0, at_most=65_535),
    ),
    Parameter(
        'view_host',
        '127.0.0.1',
        "Address of that page. On others than this machine's own whoever reaches it may look.",
        START,
    ),
    *AUTOPILOT_PARAMETERS,
    Parameter(
        'bond',
        'auto',
        "A bond with Nav2's lifecycle manager while the node is active: auto where the package "
        'bond is installed, as it is with Nav2.',
        START,
        choices=('auto', 'never'),
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
    Parameter(
        'image_range',
        [0.0, 0.0],
        'Values of 16-bit pictures that are black and white, as of a thermal camera; two zeros: '
        '0, and what the camera uses.',
        START,
    ),
    Parameter(
        'decoder',
        'auto',
        'Who decodes raw images: our own decoder, or cv_bridge for what both decode alike; auto '
        'takes cv_bridge where it works.',
        START,
        choices=('auto', 'cv_bridge', 'own'),
    ),
)
"""The node's own, without those of the configurations below it: readable without torch."""

BY_NAME = {parameter.name: parameter for parameter in NODE_PARAMETERS}


@cache
def all_parameters() -> dict[str, Parameter]:
    """{name: `Parameter`} of all, those of the tracker's configuration included."""
    from justzoom_ros.tracker import TrackerConfig  # not above: it loads torch

    tracker = parameters_of(TrackerConfig(), TRACKER, UNCONFIGURED)
    return {parameter.name: parameter for parameter in (*NODE_PARAMETERS, *tracker)}


def problem(name: str, value: Any, configured: bool) -> str:
    """Why `value` cannot be set now, or '' where it can. `configured`: the node is not in its
    unconfigured state. Parameters of others (`use_sim_time`) are none of our business."""
    parameter = all_parameters().get(name)
    if parameter is None:
        return ''
    if parameter.changes == UNCONFIGURED and configured:
        return f'{name} is used by configure: clean up the node, set it, configure again'
    return parameter.problem(value)


def table(parameters: Iterable[Parameter]) -> str:
    """Parameters as a table in Markdown."""
    head = (
        '| Parameter | Default | Values | Changes | Meaning |\n| --- | --- | --- | --- | --- |\n'
    )
    return head + ''.join(map(_row, parameters))


def _row(parameter: Parameter) -> str:
    default = f'`{str(parameter.default).lower()}`' if parameter.default != '' else 'empty'
    cells = f'`{parameter.name}`', default, _values(parameter), parameter.changes, parameter.text
    return f'| {" | ".join(cells)} |\n'


def _values(parameter: Parameter) -> str:
    allowed = parameter.range
    if allowed is None:
        return ', '.join(f'`{choice}`' for choice in parameter.choices)
    if allowed.at_least is not None and allowed.at_most is not None:
        return f'{allowed.at_least:g} .. {allowed.at_most:g}'
    return f'{NOT_GIVEN:g}, or {allowed}' if parameter.optional else str(allowed)


if __name__ == '__main__':
    print(table(all_parameters().values()), end='')
