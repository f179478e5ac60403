"""The node's parameters that tell an autopilot where the robot is; a part of the table of
parameters.py. All are off unless given."""

from justzoom_ros.live.config_parameters import START, Parameter
from justzoom_ros.ranges import Range

MESSAGES = ('gps_input', 'global_position_sensor', 'odometry')
"""MAVLink's messages that can be sent: the first for ArduPilot, the others for PX4."""

SENSOR_ID = 10
"""What tells sources of global positions apart; PX4 fuses none whose number is 0, and has 10 to 19
for those that see."""

AUTOPILOT_PARAMETERS = (
    Parameter(
        'mavlink_to',
        '',
        'Autopilot that is told positions by MAVLink: udpout:HOST:PORT, tcp:HOST:PORT or a serial '
        'port with its baud rate; empty: none.',
        START,
    ),
    Parameter(
        'mavlink_message',
        'gps_input',
        'Message of MAVLink: gps_input for ArduPilot, the others for PX4.',
        START,
        choices=MESSAGES,
    ),
    Parameter(
        'px4_topic',
        '',
        'Topic on which PX4 is told positions by its DDS bridge, without the version at its end: '
        '`/fmu/in/aux_global_position`; empty: none. Needs px4_msgs.',
        START,
    ),
    Parameter(
        'autopilot_rate_hz',
        5.0,
        'Positions a second for the autopilot: between frames odometry carries the fix on.',
        START,
        range=Range(at_least=0.1, at_most=100.0),
    ),
    Parameter(
        'autopilot_sensor_id',
        SENSOR_ID,
        "PX4's number of this source of global positions, as in its parameter EKF2_AGP0_ID.",
        START,
        range=Range(at_least=1, at_most=255),
    ),
)
