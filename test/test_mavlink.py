"""MAVLink to autopilots: what is on the wire, and that no old position is told as new."""

import math
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from datetime import datetime, timezone
from types import SimpleNamespace

import numpy as np
import pytest
from colcon_support import REPO
from pyproj import Geod

from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError
from justzoom_ros.live import mavlink
from justzoom_ros.live.mavlink import MavlinkSender, gps_time, message_maker, yaw_cdeg
from justzoom_ros.live.position_predictor import (
    NoPosition,
    Position,
    PositionPredictor,
    PredictorConfig,
)
from justzoom_ros.region import Region

pytest.importorskip('pymavlink', reason='pymavlink is not installed')
from pymavlink.dialects.v20 import common  # noqa: E402

STAMP_NS = 1_790_000_000_123_456_789
COVARIANCE = np.array([[9.0, 0.0], [0.0, 25.0]])
PLACE = Position(STAMP_NS, 48.1374, -11.5755, COVARIANCE, math.pi / 2, 0.1)
NOWHERE = NoPosition(STAMP_NS)


# --- on the wire ---------------------------------------------------------------------------------


def x25(data):
    """MAVLink's checksum, bit by bit: polynomial 0x1021, reflected, from 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc


@pytest.fixture
def sent():
    """Sends reports to a plain socket: sent(report, **options of message_maker) gives the datagram
    (None where nothing was sent)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(('127.0.0.1', 0))
        receiver.settimeout(60)
        to = f'udpout:127.0.0.1:{receiver.getsockname()[1]}'

        def send(report, kind='gps_input', now_ns=STAMP_NS, **options):
            sender = MavlinkSender(to, message_maker(kind, **options), 7, 197)
            found = receiver.recv(1000) if sender.send(report, now_ns) else None
            sender.close()
            return found

        yield send


def payload(datagram, message_id, crc_extra, size, sender=7):
    """The payload of a MAVLink 2 datagram, with the zeros that were cut off; header and checksum
    are checked."""
    magic, length, incompatible, compatible, _, system, component = datagram[:7]
    assert (magic, incompatible, compatible, system, component) == (0xFD, 0, 0, sender, 197)
    assert int.from_bytes(datagram[7:10], 'little') == message_id
    assert len(datagram) == 12 + length
    body = datagram[1 : 10 + length] + bytes([crc_extra])
    assert int.from_bytes(datagram[-2:], 'little') == x25(body)
    return datagram[10:-2].ljust(size, b'\0')


GPS_INPUT_NAMES = (
    *('time_usec', 'time_week_ms', 'lat', 'lon', 'alt', 'hdop', 'vdop', 'vn', 've', 'vd'),
    *('speed_accuracy', 'horiz_accuracy', 'vert_accuracy', 'ignore_flags', 'time_week'),
    *('gps_id', 'fix_type', 'satellites_visible', 'yaw'),
)


def gps_input(datagram, sender=7):
    size = struct.calcsize('<QIii9fHHBBBH')
    values = struct.unpack('<QIii9fHHBBBH', payload(datagram, 232, 151, size, sender))
    return SimpleNamespace(**dict(zip(GPS_INPUT_NAMES, values, strict=True)))


def test_gps_input_byte_by_byte(sent):
    packet = gps_input(sent(PLACE))
    assert packet.time_usec == STAMP_NS // 1000
    assert (packet.lat, packet.lon) == (481374000, -115755000)
    assert packet.horiz_accuracy == 5.0  # the longer axis
    assert packet.fix_type == 3 and packet.gps_id == 0
    # All but the accuracy in the plane: altitude, dilutions, velocities, other accuracies.
    assert packet.ignore_flags == 0xFF & ~64
    silent = ('alt', 'hdop', 'vdop', 'vn', 've', 'vd', 'speed_accuracy', 'vert_accuracy')
    assert [getattr(packet, name) for name in silent] == [0.0] * 8
    assert packet.satellites_visible == 0 and packet.yaw == 0


def test_gps_time_is_that_of_a_calendar():
    since = datetime.fromtimestamp(STAMP_NS // 10**9, timezone.utc) - datetime(
        1980, 1, 6, tzinfo=timezone.utc
    )
    seconds = since.days * 86400 + since.seconds + 18  # leap seconds since 1980
    week, rest_s = divmod(seconds, 7 * 86400)
    assert gps_time(STAMP_NS) == (week, rest_s * 1000 + 123)
    assert gps_time(315_964_800 * 10**9 - 18 * 10**9) == (0, 0)


def ardupilot(packet):
    """What ArduPilot makes of a GPS_INPUT, by the rules of its AP_GPS_MAV::handle_msg."""
    state = SimpleNamespace(status=packet.fix_type, location=(packet.lat, packet.lon), hdop=None)
    flags = packet.ignore_flags
    state.altitude_cm = 0 if flags & 1 else packet.alt * 100
    state.hdop = None if flags & 2 else packet.hdop * 100
    state.have_velocity = not flags & 8
    state.have_vertical_velocity = state.have_velocity and not flags & 16
    state.have_speed_accuracy = not flags & 32
    state.horizontal_accuracy = None if flags & 64 else packet.horiz_accuracy
    state.have_vertical_accuracy = not flags & 128
    state.yaw_deg = packet.yaw * 0.01 % 360 if packet.yaw else None
    state.has_time = packet.fix_type >= 3 and packet.time_week > 0
    state.satellites = packet.satellites_visible
    return state


def test_ardupilot_reads_what_is_known_and_nothing_else(sent):
    state = ardupilot(gps_input(sent(PLACE)))
    assert state.status == 3 and state.horizontal_accuracy == 5.0 and state.has_time
    assert not (state.have_velocity or state.have_vertical_velocity or state.have_speed_accuracy)
    assert not state.have_vertical_accuracy and state.altitude_cm == 0
    assert state.hdop is None and state.yaw_deg is None


def test_ardupilot_sees_no_fix_where_there_is_none(sent):
    state = ardupilot(gps_input(sent(NOWHERE, satellites=10, heading=True)))
    assert state.status == 1 and not state.has_time
    assert state.location == (0, 0) and state.satellites == 0
    assert state.horizontal_accuracy is None and state.yaw_deg is None


def test_satellites_and_heading_are_claimed_only_if_asked(sent):
    state = ardupilot(gps_input(sent(PLACE, satellites=10, heading=True)))
    assert state.satellites == 10 and state.hdop == 100
    assert state.yaw_deg == 0.0  # north, which is 36000 on the wire, since 0 is none


@pytest.mark.parametrize(
    ('yaw_deg', 'expected'), [(90, 36000), (0, 9000), (-90, 18000), (180, 27000), (89.996, 36000)]
)
def test_headings_are_clockwise_from_north(yaw_deg, expected):
    assert yaw_cdeg(math.radians(yaw_deg)) == expected
    assert yaw_cdeg(None) == 0


SENSOR = '<QIiiffffBBBBB'


def sensor(datagram):
    names = ('time_usec', 'processing_time', 'lat', 'lon', 'alt_ellipsoid', 'alt', 'eph', 'epv',
             'target_system', 'target_component', 'id', 'source', 'flags')  # fmt: skip
    values = struct.unpack(SENSOR, payload(datagram, 296, 158, struct.calcsize(SENSOR)))
    return SimpleNamespace(**dict(zip(names, values, strict=True)))


def test_global_position_sensor_byte_by_byte(sent):
    later_ns = STAMP_NS + 250_000_000
    packet = sensor(sent(PLACE, 'global_position_sensor', later_ns, sensor_id=2))
    assert packet.time_usec - packet.processing_time == STAMP_NS // 1000
    assert packet.processing_time == 250_000
    assert (packet.lat, packet.lon, packet.eph) == (481374000, -115755000, 5.0)
    assert all(math.isnan(x) for x in (packet.alt, packet.alt_ellipsoid, packet.epv))
    assert (packet.id, packet.source, packet.flags) == (2, 2, 0)


def test_global_position_sensor_without_a_position_is_unhealthy_and_empty(sent):
    packet = sensor(sent(NOWHERE, 'global_position_sensor'))
    assert packet.flags == 1 and packet.lat == packet.lon == 2**31 - 1 and math.isnan(packet.eph)


def test_odometry_is_north_east_of_the_centre_of_the_map(sent):
    origin = Region(latitude=48.1374, longitude=-11.58, side_m=2000.0, grid=2, depth=2)
    datagram = sent(PLACE, 'odometry', origin=origin)
    size = struct.calcsize('<Q3f4f6f21f21fBBBBb')
    values = struct.unpack('<Q3f4f6f21f21fBBBBb', payload(datagram, 331, 91, size))
    assert values[0] == STAMP_NS // 1000
    north_m, east_m, down_m = values[1:4]
    _, _, away_m = Geod(ellps='WGS84').inv(-11.58, 48.1374, -11.5755, 48.1374)
    assert east_m == pytest.approx(away_m, rel=1e-4) and abs(north_m) < 0.5 and down_m == 0
    assert values[4:8] == (1.0, 0.0, 0.0, 0.0)  # to the north
    assert all(math.isnan(x) for x in values[8:14])
    upper = values[14:35]
    # Row by row of the upper half: north, east, down, roll, pitch, yaw on the diagonal.
    assert (upper[0], upper[1], upper[6]) == (25.0, 0.0, 9.0)
    assert upper[11] == 1e4 and upper[20] == pytest.approx(0.01)
    assert all(math.isnan(x) for x in values[35:56])
    assert values[56:59] == (1, 12, 0) and values[59] == 2
    assert sent(NOWHERE, 'odometry', origin=origin) is None


def test_the_numbers_used_are_those_of_the_message_set():
    enums = common.enums
    flags = {entry.name: number for number, entry in enums['GPS_INPUT_IGNORE_FLAGS'].items()}
    assert (
        sum(number for name, number in flags.items() if not name.endswith('ENUM_END'))
        == mavlink.ALL_IGNORED
    )
    known = flags['GPS_INPUT_IGNORE_FLAG_HORIZONTAL_ACCURACY']
    assert mavlink.ALL_IGNORED - known == mavlink.IGNORED
    assert common.GLOBAL_POSITION_SRC_VISION == mavlink.SOURCE_VISION
    assert common.GLOBAL_POSITION_UNHEALTHY == mavlink.UNHEALTHY
    assert (common.GPS_FIX_TYPE_NO_FIX, common.GPS_FIX_TYPE_3D_FIX) == (1, 3)
    assert (common.MAV_FRAME_LOCAL_NED, common.MAV_FRAME_BODY_FRD) == (1, 12)
    assert common.MAV_ESTIMATOR_TYPE_VISION == mavlink.VISION


def test_wrong_options_are_told_in_one_line(capsys):
    with pytest.raises(ConfigError, match='with --map'):
        message_maker('odometry')
    with pytest.raises(ConfigError, match='must be one of gps_input'):
        message_maker('smoke')
    assert main(['mavlink', '--to', 'udpout:127.0.0.1:1', '--rate', '0']) == 2
    assert '--rate is 0; it must be greater than 0' in capsys.readouterr().err


# --- between frames ------------------------------------------------------------------------------

SECOND = 10**9


def stamped(stamp_ns):
    sec, nanosec = divmod(stamp_ns, SECOND)
    return SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec))


def fix_message(stamp_ns, latitude=48.0, longitude=11.0, status=0):
    return SimpleNamespace(
        header=stamped(stamp_ns), status=SimpleNamespace(status=status), latitude=latitude,
        longitude=longitude, position_covariance=[9.0, 0, 0, 0, 9.0, 0, 0, 0, 1e4],
    )  # fmt: skip


def quaternion(yaw_rad):
    return SimpleNamespace(x=0.0, y=0.0, z=math.sin(yaw_rad / 2), w=math.cos(yaw_rad / 2))


def pose_message(stamp_ns, yaw_rad, std_rad=0.1):
    pose = SimpleNamespace(orientation=quaternion(yaw_rad), position=None)
    covariance = [0.0] * 35 + [std_rad**2]
    pose = SimpleNamespace(pose=pose, covariance=covariance)
    return SimpleNamespace(header=stamped(stamp_ns), pose=pose)


def odometry_message(stamp_ns, x_m, y_m, yaw_rad):
    zero = SimpleNamespace(x=0.0, y=0.0, z=0.0)
    twist = SimpleNamespace(linear=zero, angular=zero)
    position = SimpleNamespace(x=x_m, y=y_m, z=0.0)
    pose = SimpleNamespace(position=position, orientation=quaternion(yaw_rad))
    return SimpleNamespace(
        header=stamped(stamp_ns), pose=SimpleNamespace(pose=pose),
        twist=SimpleNamespace(twist=twist, covariance=[0.0] * 36),
    )  # fmt: skip


def driving(predictor, start_s, end_s, speed_m_s=8.0, yaw_rad=0.7, hz=20):
    """Odometry straight ahead, in a frame of its own that is turned by `yaw_rad`."""
    for step in range(round(start_s * hz), round(end_s * hz) + 1):
        along_m = speed_m_s * step / hz
        message = odometry_message(
            STAMP_NS + step * SECOND // hz, 5 + along_m * math.cos(yaw_rad),
            3 + along_m * math.sin(yaw_rad), yaw_rad,
        )  # fmt: skip
        predictor.add_odometry(message)


def test_between_frames_the_fix_is_carried_on_by_odometry():
    """8 m/s to the north: after 2.2 s the robot is 17.6 m further, whatever frame odometry has."""
    predictor = PositionPredictor()
    driving(predictor, 0, 2.2)
    predictor.add_fix(fix_message(STAMP_NS))
    predictor.add_pose(pose_message(STAMP_NS, math.pi / 2))
    now_ns = STAMP_NS + 22 * SECOND // 10
    found = predictor.report(now_ns)
    azimuth_deg, _, away_m = Geod(ellps='WGS84').inv(11.0, 48.0, found.longitude, found.latitude)
    assert away_m == pytest.approx(17.6, abs=0.01) and azimuth_deg == pytest.approx(0, abs=0.01)
    assert found.stamp_ns == now_ns and found.yaw_rad == pytest.approx(math.pi / 2)
    # Along: 9 and 0.25 m2 per metre. Across: what the heading may be off, too.
    along, across = found.covariance_m2[1, 1], found.covariance_m2[0, 0]
    assert along == pytest.approx(9 + 0.25 * 17.6, abs=0.01)
    yaw_variance = 0.1**2 + 0.01**2 * 17.6
    assert across == pytest.approx(along + 17.6**2 * yaw_variance, abs=0.01)


def test_five_times_a_second_there_is_something_new():
    predictor = PositionPredictor()
    predictor.add_fix(fix_message(STAMP_NS))
    predictor.add_pose(pose_message(STAMP_NS, 0.0))
    stamps = []
    for tick in range(26):
        driving(predictor, tick / 5, tick / 5, hz=5)
        stamps.append(predictor.report(STAMP_NS + tick * SECOND // 5).stamp_ns)
    assert len(set(stamps)) == 26 and stamps == sorted(stamps)


def test_without_odometry_a_fix_is_told_once_and_then_no_position():
    predictor = PositionPredictor()
    predictor.add_fix(fix_message(STAMP_NS))
    told = [predictor.report(STAMP_NS + n * SECOND // 5) for n in range(1, 25)]
    assert isinstance(told[0], Position) and told[0].stamp_ns == STAMP_NS
    assert told[1:10] == [None] * 9
    assert all(isinstance(report, NoPosition) for report in told[11:])


def test_no_fix_ends_it_at_once():
    predictor = PositionPredictor()
    driving(predictor, 0, 1)
    predictor.add_fix(fix_message(STAMP_NS))
    predictor.add_pose(pose_message(STAMP_NS, 0.0))
    assert isinstance(predictor.report(STAMP_NS + SECOND // 2), Position)
    predictor.add_fix(fix_message(STAMP_NS + SECOND // 2, status=-1))
    assert isinstance(predictor.report(STAMP_NS + 6 * SECOND // 10), NoPosition)


def test_odometry_that_falls_silent_or_a_fix_that_is_old_gives_no_position():
    predictor = PositionPredictor(PredictorConfig(max_age_s=5.0))
    driving(predictor, 0, 3)
    predictor.add_fix(fix_message(STAMP_NS))
    predictor.add_pose(pose_message(STAMP_NS, 0.0))
    assert isinstance(predictor.report(STAMP_NS + 3 * SECOND), Position)
    assert predictor.report(STAMP_NS + 4 * SECOND) is None
    assert isinstance(predictor.report(STAMP_NS + 6 * SECOND), NoPosition)
    driving(predictor, 3.05, 8)
    assert isinstance(predictor.report(STAMP_NS + 8 * SECOND), NoPosition)


def test_an_older_fix_never_follows_a_newer_position():
    """A new fix whose pose is still on its way, after the old one was carried on beyond it."""
    predictor = PositionPredictor()
    driving(predictor, 0, 3)
    predictor.add_fix(fix_message(STAMP_NS))
    predictor.add_pose(pose_message(STAMP_NS, 0.0))
    first = predictor.report(STAMP_NS + 2 * SECOND)
    predictor.add_fix(fix_message(STAMP_NS + SECOND))
    assert predictor.report(STAMP_NS + 22 * SECOND // 10) is None
    predictor.add_pose(pose_message(STAMP_NS + SECOND, 0.0))
    assert predictor.report(STAMP_NS + 24 * SECOND // 10).stamp_ns > first.stamp_ns


def test_a_heading_that_is_not_known_turns_nothing():
    predictor = PositionPredictor()
    driving(predictor, 0, 1)
    predictor.add_fix(fix_message(STAMP_NS))
    predictor.add_pose(pose_message(STAMP_NS, 0.0, std_rad=1.8))
    found = predictor.report(STAMP_NS + SECOND)
    assert found.stamp_ns == STAMP_NS and found.yaw_rad is None


# --- with ROS ------------------------------------------------------------------------------------


@pytest.mark.ros
def test_the_command_sends_what_the_topics_say():
    ros = pytest.importorskip('ros_support')
    from sensor_msgs.msg import NavSatFix

    rclpy = ros.rclpy
    with (
        ros.own_domain() as domain,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(('127.0.0.1', 0))
        receiver.settimeout(ros.PATIENCE_S)
        to = f'udpout:127.0.0.1:{receiver.getsockname()[1]}'
        environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain), 'PYTHONPATH': str(REPO)}
        command = [sys.executable, '-m', 'justzoom_ros.cli.main', 'mavlink', '--to', to]
        command += ['--system-id', '7', '--ros-args', '-r', 'fix:=/robot/fix']
        process = subprocess.Popen(command, env=environment)
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain)
        node = rclpy.create_node('peer', context=context)
        try:
            fixes = node.create_publisher(NavSatFix, '/robot/fix', 10)
            assert next_gps_input(receiver).fix_type == 1
            message = NavSatFix(latitude=48.1374, longitude=-11.5755)
            message.position_covariance = [9.0, 0.0, 0.0, 0.0, 25.0, 0.0, 0.0, 0.0, 1e4]
            end_s, packet = time.monotonic() + ros.PATIENCE_S, None
            while packet is None or packet.fix_type != 3:
                assert time.monotonic() < end_s
                message.header.stamp = node.get_clock().now().to_msg()
                fixes.publish(message)
                packet = next_gps_input(receiver)
            assert (packet.lat, packet.lon) == (481374000, -115755000)
            assert packet.horiz_accuracy == 5.0
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(ros.PATIENCE_S)
            node.destroy_node()
            rclpy.shutdown(context=context)
        assert status == 0


def next_gps_input(receiver, sender=7):
    """The next GPS_INPUT; heartbeats are passed over."""
    while True:
        datagram = receiver.recv(1000)
        if datagram[7:10] == (232).to_bytes(3, 'little'):
            return gps_input(datagram, sender)


@pytest.mark.ros
def test_the_node_sends_what_it_found_where_its_parameter_says(tmp_path):
    ros = pytest.importorskip('ros_support')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(('127.0.0.1', 0))
        receiver.settimeout(60)
        to = f'udpout:127.0.0.1:{receiver.getsockname()[1]}'
        files = ros.make_files(tmp_path)
        with ros.robot(files, mavlink_to=to, autopilot_rate_hz=20.0) as (node, peer):
            now_s, packet = peer.node.get_clock().now().nanoseconds / 1e9, None
            while packet is None or packet.fix_type != 3:
                ros.send(peer, ros.image_message(now_s + len(peer.fixes) / 100))
                assert len(peer.fixes) < 300
                packet = next_gps_input(receiver, 1)
            told = {round(ros.stamp_s(fix) * 1e3): fix for fix in peer.fixes}
            fix = told[round(packet.time_usec / 1e3)]  # the stamp is the image's
            assert (packet.lat, packet.lon) == (
                round(fix.latitude * 1e7),
                round(fix.longitude * 1e7),
            )
            assert peer.change('deactivate') and node._reports is None
