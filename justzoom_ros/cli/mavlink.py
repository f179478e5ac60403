"""`justzoom mavlink`: the node's fixes to an autopilot."""

import argparse

HELP = "send the running node's fixes to an autopilot by MAVLink"
EPILOG = """examples:
  justzoom mavlink --to udpout:127.0.0.1:14550
  justzoom mavlink --to /dev/ttyACM0,115200 --satellites 10
  justzoom mavlink --to udpout:127.0.0.1:14540 --message global_position_sensor --rate 10
"""


def add_parser(subparsers):
    """Add `mavlink` to the commands."""
    parser = subparsers.add_parser(
        'mavlink',
        help=HELP,
        description=f'{HELP}; see docs/drones.md for the parameters of the autopilots',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--to', required=True, metavar='CONNECTION', help='udpout:HOST:PORT, tcp:HOST:PORT or a '
        'serial port with its baud rate, as pymavlink names it')  # fmt: skip
    add('--message', default='gps_input', choices=('gps_input', 'global_position_sensor',
        'odometry'), help='gps_input for ArduPilot (default), the others for PX4')  # fmt: skip
    add('--rate', type=float, default=5.0, metavar='HZ', help='messages per second (default 5)')
    add('--map', metavar='DIR', help='map folder, whose centre is the origin of odometry')
    add('--satellites', type=int, default=0, metavar='N', help='claimed in gps_input, with an '
        'hdop of 1; none is used (default 0)')  # fmt: skip
    add('--heading', action='store_true', help='tell the heading in gps_input')
    add('--sensor-id', type=int, default=10, metavar='N', help="PX4's number of this source of "
        'global positions, its EKF2_AGP0_ID (default 10)')  # fmt: skip
    add('--max-age', type=float, default=10.0, metavar='S', help='seconds for which odometry '
        'carries a fix on (default 10)')  # fmt: skip
    add('--system-id', type=int, default=1, metavar='N', help='of the vehicle (default 1)')
    add('--component-id', type=int, default=197, metavar='N', help='of this program (default 197)')
    add('--ros-args', nargs=argparse.REMAINDER, default=[], metavar='...', help='remappings and '
        'parameters for ROS, at the end')  # fmt: skip
    parser.set_defaults(run=run)


def run(args):
    """Send until interrupted; returns the exit status."""
    from justzoom_ros.errors import ConfigError, RuntimeUnavailableError
    from justzoom_ros.live.mavlink import MavlinkSender, message_maker
    from justzoom_ros.live.position_predictor import PositionPredictor, PredictorConfig

    if not args.rate > 0:
        raise ConfigError(f'--rate is {args.rate:g}; it must be greater than 0')
    if not 0 <= args.satellites <= 255:
        raise ConfigError(f'--satellites is {args.satellites}; it must be 0 .. 255')
    if not 0 <= args.sensor_id <= 255:
        raise ConfigError(f'--sensor-id is {args.sensor_id}; it must be 0 .. 255')
    origin = None
    if args.map:
        from justzoom_ros.maps.map_file import read_info  # loads GDAL, which only this needs

        origin = read_info(args.map).region
    make = message_maker(args.message, args.satellites, args.heading, args.sensor_id, origin)
    predictor = PositionPredictor(PredictorConfig(max_age_s=args.max_age))
    try:
        from justzoom_ros.ros.mavlink_bridge import run_bridge
    except ImportError as error:
        raise RuntimeUnavailableError(
            f'mavlink needs ROS 2 in Python, source its setup file: {error}'
        ) from error
    sender = MavlinkSender(args.to, make, args.system_id, args.component_id)
    return run_bridge(sender, predictor, args.rate, ['--ros-args', *args.ros_args])
