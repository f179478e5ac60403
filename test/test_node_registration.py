"""The node without a policy: registration on a map, over real DDS."""

import contextlib
import json
import socket
import time
import urllib.error
import urllib.request
from array import array
from concurrent.futures import ThreadPoolExecutor
from math import degrees, radians, tan
from threading import Event

import numpy as np
import pytest
import torch
from colcon_support import REPO
from geometry_msgs.msg import QuaternionStamped
from nav_msgs.msg import OccupancyGrid, Odometry
from ros_support import PATIENCE_S, connect, image_message, publisher, robot, send, stamp_s
from sensor_msgs.msg import CameraInfo, Image, Imu, Range
from std_msgs.msg import Float64
from tiny import tiny_policy_config

from justzoom_ros.live import diagnostics
from justzoom_ros.live.view_server import ViewServer
from justzoom_ros.maps.nadir_camera import NadirPose, look_down
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.models.policy import ZoomPolicy
from justzoom_ros.region import Region
from justzoom_ros.ros import lifecycle
from justzoom_ros.ros.view_client import ViewClient
from justzoom_ros.worlds.town import write_geotiff

pytestmark = pytest.mark.ros

FIX, NO_FIX = 0, -1
OK, WARN, ERROR = b'\0', b'\1', b'\2'
REGION = Region(latitude=-41.3, longitude=-18.6, side_m=240.0, grid=4, depth=2)
SIZE_PX = 160, 120
FOV_RAD = radians(60.0)
WIDTH_M = 100.0
HEIGHT_M = WIDTH_M / 2 / tan(FOV_RAD / 2)
PLACE = NadirPose(east_m=31.0, north_m=-22.0, yaw_rad=0.7, footprint_m=WIDTH_M)
LENS = {'camera_fov_deg': degrees(FOV_RAD), 'height_std_m': 2.0}


@pytest.fixture(autouse=True)
def frequent_diagnostics(monkeypatch):
    """On a loaded machine a frame may take longer than a node waits for the next in silence."""
    monkeypatch.setattr(lifecycle, 'DIAGNOSTICS_PERIOD_S', 0.1)
    monkeypatch.setattr(diagnostics, 'SILENCE_S', 100.0)


@pytest.fixture(scope='module')
def ground():
    """A part of the demo's town, north up."""
    pixels = SatelliteMap.open(REPO / 'maps' / 'demo').pixels
    return np.ascontiguousarray(pixels[400:880, 500:980])


@pytest.fixture(scope='module')
def files(tmp_path_factory, ground):
    """A map of it, and no weights."""
    folder = tmp_path_factory.mktemp('registration')
    write_geotiff(ground, REGION, folder / 'source.tif')
    made = SatelliteMap.build(folder / 'source.tif', REGION, folder / 'map', resolution_m=0.5)
    return {'map': str(made.path), 'none': ''}


def picture(pixels, stamp_s):
    """Pixels (h, w, 3) as sensor_msgs/Image."""
    message = image_message(stamp_s, width=pixels.shape[1], height=pixels.shape[0])
    message.data = array('B', pixels.tobytes())
    return message


def view(ground, stamp_s=1, pose=PLACE, size_px=SIZE_PX):
    """What the camera sees, as a message."""
    return picture(look_down(ground, REGION.side_m, pose, size_px, FOV_RAD), stamp_s)


def registering(files, **parameters):
    """The active node, and its peer, without weights."""
    return robot(files, 'none', motion='never', **parameters)


def stamped(message, stamp_s):
    message.header.stamp = image_message(stamp_s).header.stamp
    return message


def error_m(fix, pose=PLACE):
    east_m, north_m = REGION.to_enu(fix.latitude, fix.longitude)
    return np.hypot(east_m - pose.east_m, north_m - pose.north_m)


def assert_found(fix):
    assert fix.status.status == FIX
    assert error_m(fix) < 4.0


def values_of(status):
    return {v.key: v.value for v in status.values}


# --- fixes ---------------------------------------------------------------------------------------


def test_with_a_policys_weights_the_camera_is_the_one_it_was_trained_for(files, ground, tmp_path):
    policy = ZoomPolicy(tiny_policy_config(SatelliteMap.open(files['map'])))
    torch.nn.init.zeros_(policy.decoder.output_head.weight)  # says nothing of its own
    policy.provenance = {'views': {'footprint_m': [95.0, 105.0], 'fov_rad': FOV_RAD}}
    policy.save(tmp_path / 'policy.safetensors')
    known = {**files, 'policy': str(tmp_path / 'policy.safetensors')}
    with robot(known, 'policy', motion='never') as (_, peer):
        assert_found(send(peer, view(ground)))


def test_any_map_gives_a_fix_with_a_heading_and_nothing_is_trained(files, ground):
    with registering(files, footprint_m=[95.0, 105.0]) as (node, peer):
        pictures, grids, likelihoods = [], [], []
        peer.node.create_subscription(Image, 'zoom_image', pictures.append, 10)
        peer.node.create_subscription(OccupancyGrid, 'belief', grids.append, 10)
        peer.node.create_subscription(OccupancyGrid, 'likelihood', likelihoods.append, 10)
        for topic in ('zoom_image', 'belief', 'likelihood'):
            heard = node._loaded.outputs.publishers[topic]
            peer.wait(heard.get_subscription_count, 'a subscriber')
        assert_found(send(peer, view(ground)))
        peer.wait(lambda: peer.poses and pictures and grids, 'a pose, a picture and a belief')
        turn = peer.poses[0].pose.pose.orientation
        assert 2 * np.arctan2(turn.z, turn.w) == pytest.approx(PLACE.yaw_rad, abs=0.05)
        assert 0 < peer.poses[0].pose.covariance[35] < 0.1
        assert (pictures[0].width, pictures[0].height) == (768, 256)
        # Terminal cells of 15 m, row 0 in the south: the place is in row 6, column 10 of 16.
        assert grids[0].info.resolution == 15.0
        assert divmod(int(np.argmax(grids[0].data)), 16) == (6, 10)
        values = values_of(peer.diagnosis('localizing', OK))
        assert (values['method'], values['weights']) == ('registration', '')
        peer.wait(lambda: likelihoods, 'a likelihood')
        info, strengths = likelihoods[0].info, np.array(likelihoods[0].data)
        assert strengths.min() >= 0 and strengths.max() <= 100
        best = np.flatnonzero(strengths == strengths.max())
        east_m = info.origin.position.x + (best % info.width + 0.5) * info.resolution
        north_m = info.origin.position.y + (best // info.width + 0.5) * info.resolution
        off_m = np.hypot(east_m - PLACE.east_m, north_m - PLACE.north_m)
        assert off_m.min() < 2 * info.resolution


def test_a_picture_of_nothing_is_no_fix_with_the_reason_and_is_counted(files, ground):
    with registering(files, height_m=HEIGHT_M, **LENS) as (node, peer):
        dark = send(peer, picture(np.zeros((120, 160, 3), np.uint8), 1))
        assert dark.status.status == NO_FIX
        values = values_of(peer.diagnosis('no fix: the picture is dark', WARN))
        assert values['no fix, the picture is dark'] == '1'
        white = send(peer, picture(np.full((120, 160, 3), 255, np.uint8), 2))
        assert white.status.status == NO_FIX
        assert_found(send(peer, view(ground, 3)))
        values = values_of(peer.diagnosis('localizing', OK))
        assert values['no fix, the picture is over-exposed'] == '1'
        assert (values['height (m)'], values['tilt (degrees)']) == (f'{HEIGHT_M:.1f}', '0.0')


def odometry(stamp_s, driven_m):
    """Of a robot that flies straight ahead, in a frame of its own."""
    message = stamped(Odometry(), stamp_s)
    message.pose.pose.position.x = driven_m
    message.pose.pose.orientation.w = 1.0
    message.twist.twist.linear.x = 5.0
    return message


def ahead(driven_m):
    """Where the camera is then."""
    east_m = PLACE.east_m - 60.0 + driven_m * np.cos(PLACE.yaw_rad)
    return NadirPose(east_m, PLACE.north_m + driven_m * np.sin(PLACE.yaw_rad), 0.7, WIDTH_M)


def test_with_odometry_registered_frames_are_followed_and_odometry_bridges_what_shows_nothing(
    files, ground
):
    known = {
        'height_source': 'range',
        'sample_age_s': 0.5,
        'tracker.decorrelation_distance_m': 5.0,
    }
    with robot(files, 'none', **known, **LENS) as (node, peer):
        drive = publisher(peer, node, Odometry, 'odom')
        height = publisher(peer, node, Range, 'height')
        processor, fixes = node._loaded.processor, []
        for number in range(8):
            drive.publish(odometry(number + 1, 8.0 * number))
            peer.wait(lambda: len(processor.events), 'the odometry')
            if number != 6:  # nobody says how high the robot is then
                heard = len(processor.sensors.heights)
                reading = Range(range=HEIGHT_M, min_range=1.0, max_range=200.0)
                height.publish(stamped(reading, number + 1))
                peer.wait(lambda n=heard: len(processor.sensors.heights) > n, 'the height')
            fixes.append(send(peer, view(ground, number + 1, ahead(8.0 * number))))
            assert (processor.state is None) == (number == 6)
        for number in (4, 5, 6, 7):
            assert fixes[number].status.status == FIX
            assert error_m(fixes[number], ahead(8.0 * number)) < 4.0
        turn = peer.poses[-1].pose.pose.orientation
        assert 2 * np.arctan2(turn.z, turn.w) == pytest.approx(PLACE.yaw_rad, abs=0.06)


# --- height --------------------------------------------------------------------------------------


def test_the_height_of_a_range_finder_counts_and_without_one_there_is_no_fix(files, ground):
    with registering(files, height_source='range', **LENS) as (node, peer):
        sender = publisher(peer, node, Range, 'height')
        assert send(peer, view(ground, 1)).status.status == NO_FIX
        peer.diagnosis('no fix: no height: none heard on /height yet', WARN)
        sensors = node._loaded.processor.sensors
        sender.publish(stamped(Range(range=HEIGHT_M, min_range=1.0, max_range=200.0), 1.9))
        sender.publish(stamped(Range(range=float('inf'), min_range=1.0, max_range=200.0), 2.0))
        peer.wait(lambda: len(sensors.heights), 'the height')
        assert_found(send(peer, view(ground, 2.5)))
        assert send(peer, view(ground, 9)).status.status == NO_FIX
        status = peer.diagnosis('the nearest on /height is 7.1 s older than the image', WARN)
        assert values_of(status)['no fix, no height'] == '2'


@pytest.mark.parametrize(
    ('source', 'topic', 'message'),
    [
        ('float64', 'height', Float64(data=HEIGHT_M)),
        ('altitude', 'altitude', Float64(data=HEIGHT_M + 250.0)),
        ('odom', 'odom', Odometry()),
    ],
)
def test_heights_come_from_the_topic_that_is_chosen(files, ground, source, topic, message):
    ground_m = 0.0 if source == 'float64' else 250.0
    if source == 'odom':
        message.pose.pose.position.z = HEIGHT_M + ground_m
        stamped(message, 1)
    choice = {'height_source': source, 'ground_altitude_m': ground_m, 'sample_age_s': 60.0}
    with registering(files, **choice, **LENS) as (node, peer):
        sender = publisher(peer, node, type(message), topic)
        sender.publish(message)
        peer.wait(lambda: len(node._loaded.processor.sensors.heights), 'the height')
        assert_found(send(peer, view(ground)))


# --- lens and tilt -------------------------------------------------------------------------------


def test_the_lens_of_the_camera_info_counts_at_the_size_of_the_image(files, ground):
    """The camera is calibrated at twice the size of its images."""
    lens = {'height_std_m': 2.0, 'lens_source': 'camera_info'}
    with registering(files, height_m=HEIGHT_M, **lens) as (node, peer):
        sender = publisher(peer, node, CameraInfo, 'camera_info')
        assert send(peer, view(ground, 1)).status.status == NO_FIX
        peer.diagnosis('no fix: no lens: none heard on /camera_info yet', WARN)
        focal_px = SIZE_PX[0] / tan(FOV_RAD / 2)
        info = CameraInfo(width=2 * SIZE_PX[0], height=2 * SIZE_PX[1])
        info.k = [focal_px, 0.0, 159.5, 0.0, focal_px, 119.5, 0.0, 0.0, 1.0]
        sender.publish(info)
        peer.wait(lambda: node._loaded.processor.sensors._info, 'the camera info')
        assert_found(send(peer, view(ground, 2)))


TILT_RAD = radians(25.0)
AHEAD = NadirPose(31.0, -22.0, 0.7, WIDTH_M, pitch_rad=TILT_RAD)


def test_a_camera_that_is_mounted_tilted_finds_the_place_below_itself(files, ground):
    tilted = {'camera_pitch_deg': degrees(TILT_RAD), 'camera_yaw_deg': 90.0}
    with registering(files, height_m=HEIGHT_M, **tilted, **LENS) as (node, peer):
        assert_found(send(peer, view(ground, pose=AHEAD)))
        peer.wait(lambda: peer.poses, 'a pose')
        turn = peer.poses[0].pose.pose.orientation
        # The image looks to the left of the robot.
        expected = PLACE.yaw_rad - np.pi / 2
        assert 2 * np.arctan2(turn.z, turn.w) == pytest.approx(expected, abs=0.05)
        values = values_of(peer.diagnosis('localizing', OK))
        assert float(values['tilt (degrees)']) == pytest.approx(25.0)


def quaternion_message(target, axis, angle_rad, yaw_rad):
    """Fill in a turn about an axis of the body (x 0, y 1) and then one about up."""
    half = np.zeros(3)
    half[axis] = np.sin(angle_rad / 2)
    w, z, (x, y, _) = np.cos(yaw_rad / 2), np.sin(yaw_rad / 2), half
    c = np.cos(angle_rad / 2)
    target.w, target.z = w * c, z * c
    target.x, target.y = w * x - z * y, w * y + z * x
    return target


@pytest.mark.parametrize('source', ['imu', 'gimbal'])
def test_the_tilt_comes_from_an_imu_or_a_gimbal(files, ground, source):
    """The nose of a body is up by what its downward camera looks ahead; a gimbal's own camera
    looks forward where it is level."""
    with registering(
        files, height_m=HEIGHT_M, attitude_source=source, imu_yaw=source == 'imu', **LENS
    ) as (node, peer):
        sensors = node._loaded.processor.sensors
        if source == 'imu':
            message = Imu()
            message.orientation_covariance[8] = 0.01
            quaternion_message(message.orientation, 1, -TILT_RAD, PLACE.yaw_rad)
        else:
            message = QuaternionStamped()
            quaternion_message(message.quaternion, 1, np.pi / 2 - TILT_RAD, 2.0)
        sender = publisher(peer, node, type(message), source)
        sender.publish(stamped(message, 1))
        peer.wait(lambda: len(sensors.orientations) == 1, 'the attitude')
        assert_found(send(peer, view(ground, pose=AHEAD)))
        assert node._loaded.processor.state.attitude.pitch_rad == pytest.approx(TILT_RAD)
        if source == 'imu':
            assert node._loaded.processor.state.yaw_rad == pytest.approx(PLACE.yaw_rad)
        turn = message.orientation if source == 'imu' else message.quaternion
        quaternion_message(turn, 1, -2.0, 0.0)  # on its back
        sender.publish(stamped(message, 2))
        peer.wait(lambda: len(sensors.orientations) == 2, 'the attitude')
        assert send(peer, view(ground, 2)).status.status == NO_FIX
        peer.diagnosis('no fix: no view of the ground: the camera looks', WARN)


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('known', 'reason'),
    [
        ({}, 'how much ground the pictures show is not known: set height_m or footprint_m'),
        ({'height_m': 90.0}, 'a height needs a lens: set camera_fov_deg, or lens_source'),
        ({'height_source': 'range'}, 'a height needs a lens'),
        ({'footprint_m': [120.0, 60.0]}, 'the lesser first'),
        ({'footprint_m': [60.0, 90.0], 'height_m': 90.0}, 'both set'),
        ({'footprint_m': [60.0, 90.0], 'camera_pitch_deg': 30.0}, 'a tilted camera needs a lens'),
        (
            {'footprint_m': [60.0, 90.0], 'registration_weights': '/nowhere/r.safetensors'},
            '/nowhere/r.safetensors',
        ),
    ],
)
def test_what_is_not_enough_to_register_with_fails_configure_by_name(files, known, reason):
    with robot(files, 'none', activate=False, **known) as (node, peer):
        assert not peer.change('configure')
        peer.diagnosis(reason, ERROR)


def test_a_map_that_is_too_coarse_fails_configure_and_one_too_small_is_no_fix(
    files, ground, tmp_path
):
    write_geotiff(ground, REGION, tmp_path / 'source.tif')
    coarse = SatelliteMap.build(tmp_path / 'source.tif', REGION, tmp_path / 'map', resolution_m=5)
    width = {'footprint_m': [400.0, 410.0]}
    with robot({'map': str(coarse.path), 'none': ''}, 'none', activate=False, **width) as (
        node,
        peer,
    ):
        assert not peer.change('configure')
        peer.diagnosis('coarser than', ERROR)
        assert peer.set(map=files['map']) == ''
        assert peer.change('configure') and peer.change('activate')
        connect(peer, node)
        assert send(peer, view(ground)).status.status == NO_FIX
        peer.diagnosis('no fix: ', WARN)


# --- the live page -------------------------------------------------------------------------------


def first_frame(address, wanted=lambda frame: frame['image']):
    """The first frame, such as one with a picture, that a browser would hear of."""
    with urllib.request.urlopen(f'{address}events', timeout=PATIENCE_S) as stream:
        for line in stream:
            if line == b'event: frame\n':
                frame = json.loads(next(stream)[6:])
                if wanted(frame):
                    return frame
    raise AssertionError('the stream ended')


def assert_shows_the_place(frame):
    assert frame['status'] == 'fix' and frame['image'].startswith('data:image/webp')
    assert frame['position'] == pytest.approx((PLACE.east_m, PLACE.north_m), abs=4.0)
    assert frame['yaw_rad'] == pytest.approx(PLACE.yaw_rad, abs=0.05)
    assert frame['hypotheses'] and frame['belief'] and frame['evidence']


def test_the_node_serves_a_live_page_while_it_is_active(files, ground):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    with registering(files, footprint_m=[95.0, 105.0], view_port=port) as (node, peer):
        address = f'http://127.0.0.1:{port}/'
        with ThreadPoolExecutor() as pool:
            heard = pool.submit(first_frame, address)
            peer.wait(lambda: node._loaded.outputs._view.is_watched, 'a browser')
            assert_found(send(peer, view(ground)))
            frame = heard.result(PATIENCE_S)
        assert_shows_the_place(frame)
        assert frame['latency_ms'] > 0
        with urllib.request.urlopen(address, timeout=PATIENCE_S) as page:
            assert 'registration' in page.read().decode()
        assert peer.change('deactivate')
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(address, timeout=PATIENCE_S)


def test_a_taken_port_of_the_live_page_fails_activate_with_the_reason(files):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = {'footprint_m': [95.0, 105.0], 'view_port': port}
        with robot(files, 'none', activate=False, **options) as (node, peer):
            assert peer.change('configure') and not peer.change('activate')
            peer.diagnosis(f'activate failed: the page cannot be served on 127.0.0.1, port {port}')


def test_a_page_beside_the_node_shows_what_it_publishes(files, ground, monkeypatch):
    with registering(files, footprint_m=[95.0, 105.0], belief_period_s=0.0) as (node, peer):
        monkeypatch.setenv('ROS_DOMAIN_ID', str(node.context.get_domain_id()))
        server, done = ViewServer(lambda: 'page'), Event()
        with ViewClient(server, REGION) as client, ThreadPoolExecutor() as pool:
            spun = pool.submit(client.spin, lambda: not done.is_set())
            try:
                heard = pool.submit(first_frame, server.address)
                for topic in ('likelihood', 'belief'):
                    publisher = node._loaded.outputs.publishers[topic]
                    peer.wait(publisher.get_subscription_count, topic)
                peer.wait(lambda: server.browsers, 'a browser')
                peer.wait(lambda: peer.images.get_subscription_count() > 1, 'the page')
                # Best effort: the first pictures may come before the page is known to who sends.
                for stamp_s in range(1, 1000):
                    assert_found(send(peer, view(ground, stamp_s)))
                    if heard.done():
                        break
                assert_shows_the_place(heard.result(PATIENCE_S))
                heard = pool.submit(first_frame, server.address, lambda f: f['status'] != 'fix')
                peer.wait(lambda: server.browsers, 'a browser')
                send(peer, picture(np.zeros((*SIZE_PX[::-1], 3), np.uint8), 30))
                assert heard.result(PATIENCE_S)['reason'].startswith('the picture is dark')
            finally:
                done.set()
            spun.result(PATIENCE_S)
        server.close()


# --- an autopilot --------------------------------------------------------------------------------

SPEED_M_S = 4.0


def drive(peer, odometry, image=None, seconds=1.0, started_s=0.0):
    """Odometry straight ahead, 20 times a second, for a while; one image on the way."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        now = peer.node.get_clock().now()
        message = Odometry()
        message.header.stamp = now.to_msg()
        message.pose.pose.position.x = SPEED_M_S * (now.nanoseconds / 1e9 - started_s)
        message.pose.pose.orientation.w = 1.0
        odometry.publish(message)
        if image is not None:
            image.header.stamp = now.to_msg()
            peer.images.publish(image)
            image = None
        pause_s = time.monotonic() + 0.05
        while time.monotonic() < pause_s:
            peer._executor.spin_once(timeout_sec=0.01)


@pytest.mark.slow
def test_between_frames_an_autopilot_hears_where_odometry_has_carried_the_fix(files, ground):
    pytest.importorskip('pymavlink', reason='pymavlink is not installed')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(('127.0.0.1', 0))
        to = f'udpout:127.0.0.1:{receiver.getsockname()[1]}'
        with registering(files, footprint_m=[95.0, 105.0], mavlink_to=to) as (node, peer):
            odometry = peer.node.create_publisher(Odometry, 'odom', 10)
            peer.wait(odometry.get_subscription_count, 'who listens to odometry')
            started_s = peer.node.get_clock().now().nanoseconds / 1e9
            drive(peer, odometry, started_s=started_s)
            end_s = time.monotonic() + PATIENCE_S
            while not peer.fixes or peer.fixes[-1].status.status != FIX:
                assert time.monotonic() < end_s
                drive(peer, odometry, view(ground), 2.0, started_s)
            drive(peer, odometry, None, 3.0, started_s)
        packets = told(receiver)
    assert_found(peer.fixes[-1])
    stamp_us = stamp_s(peer.fixes[-1]) * 1e6
    later = [packet for packet in packets if packet[0] > stamp_us + 1e5]
    # Five a second, each with the time that it is of.
    stamps_s = np.array([packet[0] for packet in later]) / 1e6
    assert len(later) >= 10 and (np.diff(stamps_s) > 0).all()
    assert np.median(np.diff(stamps_s)) == pytest.approx(0.2, abs=0.05)
    places = np.stack(REGION.to_enu(*np.array([packet[1:] for packet in later]).T), axis=1)
    steps_m = np.diff(places, axis=0)
    # A second picture may have moved it once: the robot is where the view was taken, or further.
    off_m = np.linalg.norm(steps_m, axis=1) - SPEED_M_S * np.diff(stamps_s)
    assert np.median(np.abs(off_m)) < 0.1
    east_m, north_m = np.median(steps_m, axis=0)
    assert np.arctan2(north_m, east_m) == pytest.approx(PLACE.yaw_rad, abs=0.05)


def told(receiver):
    """(time in microseconds, latitude, longitude) of all GPS_INPUT that hold a position."""
    from pymavlink.dialects.v20 import common

    receiver.setblocking(False)
    parser, found = common.MAVLink(None), []
    with contextlib.suppress(BlockingIOError):
        while True:
            for message in parser.parse_buffer(bytearray(receiver.recv(1000))) or ():
                if message.get_type() == 'GPS_INPUT' and message.fix_type == 3:
                    found.append((message.time_usec, message.lat / 1e7, message.lon / 1e7))
    return found
