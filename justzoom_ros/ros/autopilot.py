"""The autopilots that the node's parameters ask for: PX4 over its DDS bridge, any by MAVLink."""

from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from justzoom_ros.errors import ConfigError
from justzoom_ros.live.mavlink import MavlinkSender, message_maker
from justzoom_ros.live.position_predictor import NoPosition, Position, PositionPredictor
from justzoom_ros.live.px4 import global_position, import_type, versioned_topic
from justzoom_ros.maps.map_file import read_info
from justzoom_ros.ros.declare import value_of
from justzoom_ros.ros.position_reports import PositionReports, PositionSender

LATEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
"""What PX4's bridge listens with, and enough: a position that is sent again is an old one."""


class Px4Sender:
    """Publishes positions for PX4 on a `topic`, given without the version at its end. Raises
    ConfigError for what is no name, RuntimeUnavailableError without px4_msgs."""

    def __init__(self, node: Node, topic: str, sensor_id: int) -> None:
        self._node, self._sensor_id, self._kind = node, sensor_id, import_type()
        name = versioned_topic(topic, self._kind)
        try:
            self._publisher = node.create_publisher(self._kind, name, LATEST)
        except InvalidTopicNameException as error:
            raise ConfigError(f'px4_topic is {topic!r}, which is no name of a topic') from error
        node.get_logger().info(f'positions for PX4 on {name} ({self._kind.__name__})')

    def send(self, report: Position | NoPosition, now_ns: int) -> bool:
        """Publish a report now (nanoseconds since 1970); returns whether there was one."""
        message = global_position(self._kind, report, now_ns, self._sensor_id)
        if message is not None:
            self._publisher.publish(message)
        return message is not None

    def send_heartbeat(self) -> None:
        """The bridge looks after that."""

    def close(self) -> None:
        """Take the publisher back."""
        self._node.destroy_publisher(self._publisher)


def open_reports(node: Node) -> PositionReports | None:
    """What the parameters of autopilot_parameters.py ask for; None where they ask for nothing.
    Raises ConfigError, RuntimeUnavailableError."""
    senders: list[PositionSender] = []
    sensor_id = value_of(node, 'autopilot_sensor_id')
    # PX4's comes last: its publisher would outlive a failure of the other.
    if connection := value_of(node, 'mavlink_to'):
        senders.append(_mavlink_sender(node, connection, sensor_id))
    if topic := value_of(node, 'px4_topic'):
        senders.append(Px4Sender(node, topic, sensor_id))
    if not senders:
        return None
    return PositionReports(node, senders, value_of(node, 'autopilot_rate_hz'), PositionPredictor())


def _mavlink_sender(node: Node, connection: str, sensor_id: int) -> MavlinkSender:
    kind = value_of(node, 'mavlink_message')
    origin = read_info(value_of(node, 'map')).region if kind == 'odometry' else None
    return MavlinkSender(connection, message_maker(kind, sensor_id=sensor_id, origin=origin))
