"""Positions as messages of px4_msgs, which PX4 hears over its DDS bridge. No ROS in here.

What the topic carries depends on the version of PX4: `AuxGlobalPosition` where px4_msgs has it
(1.18), `VehicleGlobalPosition` before. A message is filled by the fields that its type has.
"""

import math
from importlib import import_module
from typing import Any

from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.live.autopilot_parameters import SENSOR_ID
from justzoom_ros.live.mavlink import SOURCE_VISION
from justzoom_ros.live.position_predictor import NoPosition, Position

KINDS = ('AuxGlobalPosition', 'VehicleGlobalPosition')
"""Types of the topic, the newest first."""

NEEDED = ('timestamp', 'timestamp_sample', 'lat', 'lon', 'eph')


def import_type() -> Any:
    """The type of the topic. Raises RuntimeUnavailableError where px4_msgs is not installed, or is
    of a version that has no type with these fields."""
    try:
        found = import_module('px4_msgs.msg')
    except ImportError as error:
        raise RuntimeUnavailableError(
            f'px4_topic needs px4_msgs of the branch of your PX4, in a sourced workspace ({error})'
        ) from error
    for name in KINDS:
        kind = getattr(found, name, None)
        if kind is not None and all(hasattr(kind(), field) for field in NEEDED):
            return kind
    raise RuntimeUnavailableError(f'px4_msgs has neither of {", ".join(KINDS)}')


def versioned_topic(topic: str, kind: Any) -> str:
    """The name of a topic with the version of its message at the end, as PX4 expects it from
    version 1 on."""
    version = getattr(kind, 'MESSAGE_VERSION', 0)
    return f'{topic}_v{version}' if version else topic


def global_position(
    kind: Any, report: Position | NoPosition, now_ns: int, sensor_id: int = SENSOR_ID
) -> Any | None:
    """The message of `kind` of a report that is sent now (nanoseconds since 1970); None where
    there is no position: the message has no way to say so, and PX4 stops to fuse after 5 s of
    silence. Height is not known."""
    if isinstance(report, NoPosition):
        return None
    values: dict[str, Any] = {
        'timestamp': now_ns // 1000,
        'timestamp_sample': report.stamp_ns // 1000,
        'id': sensor_id,
        'source': SOURCE_VISION,
        'lat': report.latitude,
        'lon': report.longitude,
        'eph': report.std_m,
        'lat_lon_valid': True,
        # A number that is zero by default would be told as known.
        **dict.fromkeys(('alt', 'alt_ellipsoid', 'terrain_alt', 'epv'), math.nan),
    }
    message = kind()
    for name, value in values.items():
        if hasattr(message, name):
            setattr(message, name, value)
    return message
