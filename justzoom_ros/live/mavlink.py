"""Positions as MAVLink messages for ArduPilot and PX4. No ROS in here.

`GPS_INPUT` is what ArduPilot takes for a GPS (`GPS1_TYPE` 14), `GLOBAL_POSITION_SENSOR` and
`ODOMETRY` are what PX4 takes; fields are those of MAVLink's common message set. What is not known
is left out by the message's own means: ignore flags, NaN, the greatest integer.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from justzoom_ros.errors import ConfigError, RuntimeUnavailableError
from justzoom_ros.live.autopilot_parameters import MESSAGES, SENSOR_ID
from justzoom_ros.live.position_predictor import NoPosition, Position
from justzoom_ros.region import Region

GPS_EPOCH_S = 315_964_800
"""When GPS time began, 6 January 1980, in seconds since 1970."""

LEAP_S = 18
"""Seconds that GPS time is ahead of UTC, since 2017."""

WEEK_MS = 7 * 24 * 3600 * 1000
GPS_ID = 0
FIX_NONE, FIX_3D = 1, 3
"""GPS_FIX_TYPE. ArduPilot's filter takes nothing below 3D; heights are told to be ignored."""

IGNORED = 1 | 2 | 4 | 8 | 16 | 32 | 128
"""GPS_INPUT_IGNORE_FLAGS: altitude, hdop, vdop, velocity in the plane and down, accuracy of the
speed, accuracy of the height. All but the accuracy in the plane, which is known."""

IGNORED_WITH_HDOP = IGNORED & ~2
ALL_IGNORED = IGNORED | 64

SOURCE_VISION = 2
UNHEALTHY = 1
"""GLOBAL_POSITION_FLAGS."""

NO_DEGREES = 2**31 - 1
NORTH_CDEG = 36_000
"""In GPS_INPUT a yaw of 0 means none."""

LOCAL_NED, BODY_FRD, VISION = 1, 12, 2
"""MAV_FRAME, MAV_FRAME, MAV_ESTIMATOR_TYPE."""

UNKNOWN_M2, UNKNOWN_RAD2 = 1e4, math.pi**2 / 3
"""Variances of a height and of an angle that may be anything."""

Report = Position | NoPosition


def gps_time(stamp_ns: int) -> tuple[int, int]:
    """(week, milliseconds of the week) of GPS time at a moment, nanoseconds since 1970 UTC."""
    milliseconds = stamp_ns // 1_000_000 + 1000 * (LEAP_S - GPS_EPOCH_S)
    return divmod(milliseconds, WEEK_MS)


def gps_input(dialect: Any, report: Report, satellites: int = 0, heading: bool = False) -> Any:
    """The `GPS_INPUT` of a report. `satellites` is the number that is claimed: none is used, but
    ArduPilot refuses fewer than six unless told otherwise; the hdop that is claimed with them is
    1. With `heading` the yaw is told too, where it is known."""
    week, week_ms = gps_time(report.stamp_ns)
    values: dict[str, Any] = {name: 0 for name in dialect.MAVLink_gps_input_message.fieldnames}
    values |= {
        'time_usec': report.stamp_ns // 1000,
        'gps_id': GPS_ID,
        'time_week': week,
        'time_week_ms': week_ms,
        'fix_type': FIX_NONE,
        'ignore_flags': ALL_IGNORED,
    }
    if isinstance(report, Position):
        values |= {
            'fix_type': FIX_3D,
            'ignore_flags': IGNORED_WITH_HDOP if satellites else IGNORED,
            'lat': degrees_e7(report.latitude),
            'lon': degrees_e7(report.longitude),
            'horiz_accuracy': report.std_m,
            'satellites_visible': satellites,
            'hdop': 1.0 if satellites else 0.0,
            'yaw': yaw_cdeg(report.yaw_rad) if heading else 0,
        }
    return dialect.MAVLink_gps_input_message(**values)


def global_position_sensor(
    dialect: Any, report: Report, now_ns: int, sensor_id: int = SENSOR_ID
) -> Any:
    """The `GLOBAL_POSITION_SENSOR` of a report that is sent now (nanoseconds since 1970).
    `sensor_id`: which of PX4's sources of global positions it is."""
    values: dict[str, Any] = {
        'target_system': 0,
        'target_component': 0,
        'id': sensor_id,
        'time_usec': now_ns // 1000,
        'processing_time': max(0, now_ns - report.stamp_ns) // 1000,
        'source': SOURCE_VISION,
        'flags': UNHEALTHY,
        'lat': NO_DEGREES,
        'lon': NO_DEGREES,
        'alt_ellipsoid': math.nan,
        'alt': math.nan,
        'eph': math.nan,
        'epv': math.nan,
    }
    if isinstance(report, Position):
        values |= {
            'flags': 0,
            'lat': degrees_e7(report.latitude),
            'lon': degrees_e7(report.longitude),
            'eph': report.std_m,
        }
    return dialect.MAVLink_global_position_sensor_message(**values)


def odometry(dialect: Any, report: Report, origin: Region) -> Any | None:
    """The `ODOMETRY` of a report, metres north and east of the centre of `origin`, None where
    there is no position: the message has no way to say so. Height, roll, pitch and speeds are not
    known; the yaw only where the report has it."""
    if isinstance(report, NoPosition):
        return None
    east_m, north_m = origin.to_enu(report.latitude, report.longitude)
    yaw_rad = math.pi / 2 - (report.yaw_rad or 0.0)
    unknown = [math.nan] * 21
    return dialect.MAVLink_odometry_message(
        time_usec=report.stamp_ns // 1000,
        frame_id=LOCAL_NED,
        child_frame_id=BODY_FRD,
        x=float(north_m),
        y=float(east_m),
        z=0.0,
        q=[math.cos(yaw_rad / 2), 0.0, 0.0, math.sin(yaw_rad / 2)],
        **{name: math.nan for name in ('vx', 'vy', 'vz', 'rollspeed', 'pitchspeed', 'yawspeed')},
        pose_covariance=_upper_ned(report),
        velocity_covariance=unknown,
        reset_counter=0,
        estimator_type=VISION,
        quality=0,
    )


def _upper_ned(position: Position) -> list[float]:
    """Row by row the upper right half (21) of the covariance of north, east, down, roll, pitch,
    yaw."""
    full = np.diag([0.0, 0.0, UNKNOWN_M2, UNKNOWN_RAD2, UNKNOWN_RAD2, UNKNOWN_RAD2])
    full[:2, :2] = position.covariance_m2[::-1, ::-1]
    if position.yaw_std_rad is not None:
        full[5, 5] = position.yaw_std_rad**2
    return full[np.triu_indices(6)].tolist()


def degrees_e7(degrees: float) -> int:
    """Degrees in ten millionths."""
    return round(degrees * 1e7)


def yaw_cdeg(yaw_rad: float | None) -> int:
    """A heading counter-clockwise from east as hundredths of degrees clockwise from north, 1 ..
    36000; 0 where there is none."""
    if yaw_rad is None:
        return 0
    return round(100 * (90 - math.degrees(yaw_rad)) % NORTH_CDEG) or NORTH_CDEG


class MavlinkSender:
    """Sends reports over one connection, e.g. `udpout:127.0.0.1:14550` or a serial port, as
    `pymavlink.mavutil.mavlink_connection` takes it. `make(dialect, report, now_ns)` gives the
    message, or None. Raises RuntimeUnavailableError without pymavlink, ConfigError for a
    connection that cannot be made."""

    def __init__(
        self,
        connection: str,
        make: Callable[[Any, Report, int], Any],
        system_id: int = 1,
        component_id: int = 197,
    ) -> None:
        # Component 197 is MAV_COMP_ID_VISUAL_INERTIAL_ODOMETRY.
        self._make, self._dialect = make, import_dialect()
        mavutil = _mavutil()
        try:
            self._link = mavutil.mavlink_connection(
                connection, source_system=system_id, source_component=component_id
            )
        except (OSError, ValueError, IndexError) as error:
            raise ConfigError(f'{connection} cannot be opened: {error}') from error

    def send(self, report: Report, now_ns: int) -> bool:
        """Send a report now (nanoseconds since 1970); returns whether there was one to send."""
        message = self._make(self._dialect, report, now_ns)
        if message is not None:
            self._link.mav.send(message)
        return message is not None

    def send_heartbeat(self) -> None:
        """Say that this component is there, as each has to once a second."""
        dialect = self._dialect
        self._link.mav.heartbeat_send(
            dialect.MAV_TYPE_ONBOARD_CONTROLLER, dialect.MAV_AUTOPILOT_INVALID, 0, 0, 0
        )

    def close(self) -> None:
        """Close the connection."""
        self._link.close()


def import_dialect() -> Any:
    """MAVLink 2's common message set. Raises RuntimeUnavailableError without pymavlink."""
    try:
        from pymavlink.dialects.v20 import common
    except ImportError as error:
        raise RuntimeUnavailableError(
            f'MAVLink needs pymavlink: pip install pymavlink ({error})'
        ) from error
    return common


def _mavutil() -> Any:
    import os

    # Read when mavutil is imported; GPS_INPUT's yaw and the newer messages are of version 2.
    os.environ['MAVLINK20'] = '1'
    os.environ.setdefault('MAVLINK_DIALECT', 'common')
    from pymavlink import mavutil

    return mavutil


def message_maker(
    kind: str,
    satellites: int = 0,
    heading: bool = False,
    sensor_id: int = SENSOR_ID,
    origin: Region | None = None,
) -> Callable[[Any, Report, int], Any]:
    """What a `MavlinkSender` makes of reports: one of MESSAGES. Raises ConfigError for another,
    and for odometry without an origin."""
    if kind == 'gps_input':
        return lambda dialect, report, now_ns: gps_input(dialect, report, satellites, heading)
    if kind == 'global_position_sensor':
        return lambda dialect, report, now_ns: global_position_sensor(
            dialect, report, now_ns, sensor_id
        )
    if kind != 'odometry':
        raise ConfigError(f'message {kind} is not known; it must be one of {", ".join(MESSAGES)}')
    if origin is None:
        raise ConfigError('odometry needs a map, whose centre is its origin; name it with --map')
    return lambda dialect, report, now_ns: odometry(dialect, report, origin)
