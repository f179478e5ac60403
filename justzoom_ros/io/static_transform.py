"""Where a camera sits on its robot, as a bag says it: one message on /tf_static."""

from dataclasses import dataclass
from typing import Any

from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import Writer
from rosbags.typesys.store import Typestore

from justzoom_ros.io.stamps import from_nanoseconds

TOPIC, TYPE = '/tf_static', 'tf2_msgs/msg/TFMessage'
UNSET = QosTime(0, 0)
KEPT = Qos(
    QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, UNSET, UNSET,
    QosLiveliness.SYSTEM_DEFAULT, UNSET, False,
)  # fmt: skip
"""As tf2 publishes it: kept for who comes later."""

Quaternion = tuple[float, float, float, float]
"""x, y, z, w."""

LOOKS_DOWN: Quaternion = (0.5**0.5, -(0.5**0.5), 0.0, 0.0)
"""An optical frame (x right, y down in the image, z ahead of the lens) of a camera that looks
straight down, the top of its image ahead of the robot."""

LOOKS_AHEAD: Quaternion = (-0.5, 0.5, -0.5, 0.5)
"""An optical frame of a camera that looks ahead."""


@dataclass(frozen=True)
class StaticTransform:
    """The frame of a camera in that of its robot, base_link."""

    frame_id: str
    """Name of the camera's frame."""

    rotation: Quaternion
    """How the camera's axes lie in base_link."""

    up_m: float = 0.0
    """Height of the camera above base_link in metres."""


def write_static_transform(
    writer: Writer, store: Typestore, transform: StaticTransform, stamp_ns: int
) -> None:
    """Write a transform with a stamp (nanoseconds since 1970) into an open bag of rosbags."""
    connection = writer.add_connection(TOPIC, TYPE, typestore=store, offered_qos_profiles=[KEPT])
    message = transform_message(store, transform, stamp_ns)
    writer.write(connection, stamp_ns, store.serialize_cdr(message, TYPE))


def transform_message(store: Typestore, transform: StaticTransform, stamp_ns: int) -> Any:
    """A `tf2_msgs/TFMessage` of one transform, of a rosbags typestore."""
    types, geometry = store.types, 'geometry_msgs/msg/'
    stamp = types['builtin_interfaces/msg/Time'](*from_nanoseconds(stamp_ns))
    placed = types[f'{geometry}Transform'](
        types[f'{geometry}Vector3'](0.0, 0.0, transform.up_m),
        types[f'{geometry}Quaternion'](*transform.rotation),
    )
    header = types['std_msgs/msg/Header'](stamp=stamp, frame_id='base_link')
    return types[TYPE]([types[f'{geometry}TransformStamped'](header, transform.frame_id, placed)])
