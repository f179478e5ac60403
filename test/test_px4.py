"""Positions for PX4 over its DDS bridge: messages of the types of its releases, whose fields are
checked as rosidl's classes check them, and never an old position as new.

px4_msgs cannot be installed here. Its definitions stand below, without their comments, and are
read by rosbags' parser of .msg files."""

import math
import sys
import types
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from rosbags.typesys import get_types_from_msg

from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.live import px4
from justzoom_ros.live.position_predictor import NoPosition, Position

AUX_1_18 = """uint32 MESSAGE_VERSION = 1
uint64 timestamp
uint64 timestamp_sample
uint8 id
uint8 source
uint8 SOURCE_UNKNOWN = 0
uint8 SOURCE_GNSS = 1
uint8 SOURCE_VISION = 2
float64 lat
float64 lon
float32 alt
float32 eph
float32 epv
uint8 lat_lon_reset_counter
"""
VEHICLE_1_16 = """uint32 MESSAGE_VERSION = 0
uint64 timestamp
uint64 timestamp_sample
float64 lat
float64 lon
float32 alt
float32 alt_ellipsoid
bool lat_lon_valid
bool alt_valid
float32 delta_alt
float32 delta_terrain
uint8 lat_lon_reset_counter
uint8 alt_reset_counter
uint8 terrain_reset_counter
float32 eph
float32 epv
float32 terrain_alt
bool terrain_alt_valid
bool dead_reckoning
"""
VEHICLE_1_15 = """uint64 timestamp
uint64 timestamp_sample
float64 lat
float64 lon
float32 alt
float32 alt_ellipsoid
float32 delta_alt
uint8 lat_lon_reset_counter
uint8 alt_reset_counter
float32 eph
float32 epv
float32 terrain_alt
bool terrain_alt_valid
bool dead_reckoning
"""
STAMP_NS = 1_790_000_000_123_456_789
NOW_NS = STAMP_NS + 200_000_000
COVARIANCE = np.array([[9.0, 0.0], [0.0, 25.0]])
PLACE = Position(STAMP_NS, 48.1374, -11.5755, COVARIANCE, math.pi / 2, 0.1)
VEHICLE = 'VehicleGlobalPosition'


def message_class(name, definition):
    """A class as rosidl makes it: constants on it, its fields alone, and values of their types."""
    ((constants, fields),) = get_types_from_msg(definition, f'px4_msgs/msg/{name}').values()
    kinds = {field: base for field, (_, (base, _)) in fields}

    class Message:
        __slots__ = tuple(f'_{field}' for field in kinds)

        def __init__(self):
            for field, kind in kinds.items():
                setattr(self, field, {'f': 0.0, 'u': 0, 'b': False}[kind[0]])

    for field, kind in kinds.items():
        setattr(Message, field, checked(field, kind))
    for constant, _, value in constants:
        setattr(Message, constant, value)
    Message.__name__ = name
    return Message


def checked(field, kind):
    """A property that takes only what the type of a field takes."""

    def put(message, value):
        if kind[0] == 'u':
            assert type(value) is int and 0 <= value < 2 ** int(kind[4:]), (field, value)
        else:
            assert type(value) is {'f': float, 'b': bool}[kind[0]], (field, value)
        setattr(message, f'_{field}', value)

    return property(lambda message: getattr(message, f'_{field}'), put)


@pytest.fixture
def installed(monkeypatch):
    """Installs a px4_msgs of {type: definition}."""

    def install(**definitions):
        package, messages = types.ModuleType('px4_msgs'), types.ModuleType('px4_msgs.msg')
        for name, definition in definitions.items():
            setattr(messages, name, message_class(name, definition))
        monkeypatch.setitem(sys.modules, 'px4_msgs', package)
        monkeypatch.setitem(sys.modules, 'px4_msgs.msg', messages)

    return install


def test_the_newest_type_is_told_place_time_source_and_accuracy(installed):
    installed(AuxGlobalPosition=AUX_1_18, VehicleGlobalPosition=VEHICLE_1_16)
    kind = px4.import_type()
    assert kind.__name__ == 'AuxGlobalPosition'
    message = px4.global_position(kind, PLACE, NOW_NS, sensor_id=12)
    assert message.timestamp == NOW_NS // 1000
    assert message.timestamp_sample == STAMP_NS // 1000  # when it was there, not when it is told
    assert (message.lat, message.lon, message.eph) == (48.1374, -11.5755, 5.0)
    assert (message.id, message.source) == (12, kind.SOURCE_VISION)
    assert math.isnan(message.alt) and math.isnan(message.epv)
    assert message.lat_lon_reset_counter == 0


@pytest.mark.parametrize('definition', [VEHICLE_1_16, VEHICLE_1_15])
def test_older_types_are_filled_by_the_fields_that_they_have(installed, definition):
    installed(VehicleGlobalPosition=definition)
    message = px4.global_position(px4.import_type(), PLACE, NOW_NS)
    assert (message.lat, message.lon, message.eph) == (48.1374, -11.5755, 5.0)
    assert all(math.isnan(getattr(message, name)) for name in ('alt', 'alt_ellipsoid', 'epv'))
    assert math.isnan(message.terrain_alt) and message.terrain_alt_valid is False
    if 'lat_lon_valid' in definition:
        assert message.lat_lon_valid is True and message.alt_valid is False


def test_the_topic_has_the_version_of_its_message_from_1_on(installed):
    topic = '/fmu/in/aux_global_position'
    installed(AuxGlobalPosition=AUX_1_18)
    assert px4.versioned_topic(topic, px4.import_type()) == f'{topic}_v1'
    for definition in (VEHICLE_1_16, VEHICLE_1_15):
        installed(VehicleGlobalPosition=definition)
        assert px4.versioned_topic(topic, px4.import_type()) == topic


def test_where_there_is_no_position_nothing_is_sent(installed):
    installed(AuxGlobalPosition=AUX_1_18)
    assert px4.global_position(px4.import_type(), NoPosition(STAMP_NS), NOW_NS) is None


def test_without_px4_msgs_or_with_another_one_it_is_said(installed):
    with pytest.raises(RuntimeUnavailableError, match='px4_topic needs px4_msgs'):
        px4.import_type()
    installed(AuxGlobalPosition=AUX_1_18.replace('float32 eph', 'float32 accuracy'))
    with pytest.raises(RuntimeUnavailableError, match='has neither of AuxGlobalPosition'):
        px4.import_type()


# --- with ROS ------------------------------------------------------------------------------------


class Recorder:
    """Stands in for a node's publisher of a type that DDS does not know here."""

    def __init__(self):
        self.sent = []

    def publish(self, message):
        self.sent.append(message)


def test_a_publisher_as_the_bridge_listens_and_the_same_reports(installed):
    pytest.importorskip('rclpy')
    from justzoom_ros.ros.autopilot import Px4Sender

    installed(AuxGlobalPosition=AUX_1_18)
    made, recorder = [], Recorder()
    node = SimpleNamespace(
        create_publisher=lambda *arguments: made.append(arguments) or recorder,
        get_logger=lambda: SimpleNamespace(info=made.append),
    )
    sender = Px4Sender(node, '/fmu/in/aux_global_position', 10)
    (kind, topic, quality), said = made
    assert (kind.__name__, topic) == ('AuxGlobalPosition', '/fmu/in/aux_global_position_v1')
    assert topic in said
    assert (quality.reliability.name, quality.durability.name) == ('BEST_EFFORT', 'VOLATILE')
    assert quality.depth == 1
    assert sender.send(PLACE, NOW_NS) and not sender.send(NoPosition(NOW_NS), NOW_NS)
    assert [m.timestamp_sample for m in recorder.sent] == [STAMP_NS // 1000]


@pytest.mark.ros
def test_without_px4_msgs_activate_fails_with_the_reason(tmp_path):
    ros = pytest.importorskip('ros_support')
    if find_spec('px4_msgs') is not None:
        pytest.skip('px4_msgs is installed')
    files = ros.make_files(tmp_path)
    with ros.robot(files, activate=False, px4_topic='/fmu/in/aux_global_position') as (_, peer):
        assert peer.change('configure') and not peer.change('activate')
        peer.diagnosis('activate failed: px4_topic needs px4_msgs')
        assert peer.state() == 'inactive'
