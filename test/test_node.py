"""The lifecycle node over real DDS: transitions, messages, behaviour in trouble."""

import contextlib
import gc
import io
import logging
import math
import threading
import weakref

import numpy as np
import pytest
import torch
from nav_msgs.msg import OccupancyGrid, Odometry
from PIL import Image as Picture
from rclpy.qos import ReliabilityPolicy
from ros_support import (
    PATIENCE_S,
    REGION,
    connect,
    image_message,
    make_files,
    publisher,
    robot,
    send,
    stamp_s,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, NavSatFix
from std_srvs.srv import Trigger

from justzoom_ros import Localizer
from justzoom_ros.filtering import HistogramFilterConfig, MotionNoise, OdometryConfig
from justzoom_ros.inference.tree_search import SEARCHES
from justzoom_ros.io.image_message import image_from_message
from justzoom_ros.live import diagnostics
from justzoom_ros.live.parameters import BY_NAME, all_parameters
from justzoom_ros.maps.map_offset import MapOffset, write_offset
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.maps.terrain import Terrain, write_terrain
from justzoom_ros.ros import lifecycle
from justzoom_ros.runtimes import RUNTIMES
from justzoom_ros.tracker import TrackerConfig
from justzoom_ros.zoom_search import ZoomSearch

pytestmark = pytest.mark.ros

FIX, NO_FIX = 0, -1
OK, WARN, ERROR = b'\0', b'\1', b'\2'


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Paths of a map, of weights that are always sure and of weights that never are."""
    return make_files(tmp_path_factory.mktemp('files'))


@pytest.fixture(autouse=True)
def frequent_diagnostics(monkeypatch):
    """On a loaded machine a frame may take longer than a node waits for the next in silence."""
    monkeypatch.setattr(diagnostics, 'SILENCE_S', 100.0)
    monkeypatch.setattr(lifecycle, 'DIAGNOSTICS_PERIOD_S', 0.1)


def counts(node):
    return node._diagnostics.counts


# --- from state to state -------------------------------------------------------------------------


def test_the_life_of_the_node_and_that_cleanup_frees_the_model(files):
    with robot(files, activate=False) as (node, peer):
        assert peer.state() == 'unconfigured'
        assert not peer.change('activate')
        assert peer.change('configure') and peer.state() == 'inactive'
        model = weakref.ref(node._loaded.localizer)
        assert peer.change('activate') and peer.state() == 'active'
        connect(peer, node)
        send(peer, image_message(1))
        assert peer.change('deactivate') and peer.state() == 'inactive'
        peer.wait(lambda: not peer.images.get_subscription_count(), 'no subscription')
        assert peer.change('activate')
        connect(peer, node)
        send(peer, image_message(2))
        assert peer.change('deactivate') and peer.change('cleanup')
        gc.collect()
        assert model() is None
        assert peer.state() == 'unconfigured'
        assert peer.change('configure') and peer.change('activate')


def test_an_inactive_node_publishes_nothing(files):
    with robot(files) as (node, peer):
        send(peer, image_message(1))
        peer.change('deactivate')
        for second in range(2, 6):
            peer.images.publish(image_message(second))
        peer.diagnosis('inactive', OK)
        assert len(peer.fixes) == 1


@pytest.mark.parametrize(
    ('wrong', 'reason'),
    [
        ({'map': ''}, 'parameter map is empty'),
        ({'weights': ''}, 'how much ground the pictures show is not known'),
        ({'map': '/nowhere/map'}, '/nowhere/map'),
        ({'weights': '/nowhere/w.safetensors'}, '/nowhere/w.safetensors'),
        ({'weights': 'MAP'}, 'map'),
    ],
)
def test_a_configure_that_fails_says_why_and_can_be_mended(files, wrong, reason):
    wrong = {name: files['map'] if value == 'MAP' else value for name, value in wrong.items()}
    with robot(files, activate=False, **wrong) as (node, peer):
        assert not peer.change('configure')
        assert peer.state() == 'unconfigured'
        peer.diagnosis(f'configure failed: {reason}' if 'empty' in reason else reason, ERROR)
        assert peer.set(map=files['map'], weights=files['sure']) == ''
        assert peer.change('configure') and peer.change('activate')
        connect(peer, node)
        assert send(peer, image_message(1)).status.status == FIX
        peer.diagnosis('localizing', OK)


# --- what is published ---------------------------------------------------------------------------


def assert_contract(fix, image, calibrated=False):
    """What robot_localization needs of every NavSatFix."""
    assert fix.header == image.header
    assert fix.header.frame_id
    assert all(math.isfinite(v) for v in (fix.latitude, fix.longitude, fix.altitude))
    covariance = np.array(fix.position_covariance).reshape(3, 3)
    assert np.isfinite(covariance).all()
    np.testing.assert_allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance)[0] > 0
    assert fix.status.status in (FIX, NO_FIX)
    assert fix.position_covariance_type == (3 if calibrated else 1)


def test_a_sure_posterior_becomes_the_fix_that_the_localizer_finds(files):
    image = image_message(12.5)
    localizer = Localizer.open(files['map'], files['sure'], progress=False)
    expected = localizer.locate(image_from_message(image))
    with robot(files, altitude_m=210.0, altitude_std_m=20.0, map_frame='town') as (_, peer):
        fix = send(peer, image)
        peer.wait(lambda: peer.poses and peer.clouds, 'pose and hypotheses')
    assert_contract(fix, image)
    assert fix.status.status == FIX
    assert (fix.latitude, fix.longitude, fix.altitude) == pytest.approx(
        (expected.latitude, expected.longitude, 210.0), abs=1e-9
    )
    covariance = np.array(fix.position_covariance).reshape(3, 3)
    np.testing.assert_allclose(covariance[:2, :2], expected.covariance_m2, rtol=1e-6)
    assert covariance[2, 2] == 400.0
    pose, cloud = peer.poses[0], peer.clouds[0]
    assert pose.header.stamp == cloud.header.stamp == image.header.stamp
    assert pose.header.frame_id == cloud.header.frame_id == 'town'
    place = pose.pose.pose.position
    assert REGION.to_enu(fix.latitude, fix.longitude) == pytest.approx(
        (place.x, place.y), abs=0.01
    )
    assert cloud.width == len(expected.hypotheses)


def test_an_ambiguous_posterior_is_no_fix_with_a_covariance_that_covers_it(files):
    image = image_message(3)
    with robot(files, 'unsure') as (node, peer):
        fix = send(peer, image)
        peer.wait(lambda: peer.clouds, 'hypotheses')
        peer.diagnosis('no fix: ', WARN)
        assert not peer.poses
    assert_contract(fix, image)
    assert fix.status.status == NO_FIX
    # A camera that may be anywhere in a square of side a has a variance of a * a / 12.
    spread = REGION.side_m**2 / 12
    assert fix.position_covariance[0] == pytest.approx(spread, rel=0.1)
    assert fix.position_covariance[4] == pytest.approx(spread, rel=0.1)


def test_fixes_are_reliable_and_images_are_taken_best_effort(files):
    with robot(files) as (node, peer):
        (fixes,) = peer.node.get_publishers_info_by_topic('/fix')
        (images,) = peer.node.get_subscriptions_info_by_topic('/image')
        assert fixes.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        assert images.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT


@pytest.mark.parametrize('publisher_reliable', [True, False])
def test_a_best_effort_subscription_hears_every_publisher(files, publisher_reliable):
    with robot(files, peer={'reliable': publisher_reliable}) as (node, peer):
        assert send(peer, image_message(1)).status.status == FIX


def test_a_reliable_subscription_is_a_parameter(files):
    with robot(files, image_reliability='reliable') as (node, peer):
        (images,) = peer.node.get_subscriptions_info_by_topic('/image')
        assert images.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        send(peer, image_message(1))


@pytest.mark.parametrize('remap', ['image:=/cam/front', 'image:=/cam/front/compressed'])
def test_compressed_images_are_on_the_topic_below(files, remap):
    raw = image_message(5)
    file = io.BytesIO()
    Picture.fromarray(image_from_message(raw)).save(file, 'PNG')
    packed = CompressedImage(header=raw.header, format='png', data=file.getvalue())
    peer = {'compressed': True, 'image': '/cam/front/compressed'}
    with robot(files, arguments=['-r', remap], peer=peer, image_transport='compressed') as (
        node,
        peer,
    ):
        fix = send(peer, packed)
    assert_contract(fix, raw)


def test_the_debug_picture_is_made_for_a_subscriber_only(files):
    with robot(files) as (node, peer):
        send(peer, image_message(1))
        assert not node._loaded.outputs.publishers['zoom_image'].get_subscription_count()
        pictures = []
        peer.node.create_subscription(Image, 'zoom_image', pictures.append, 10)
        peer.wait(
            node._loaded.outputs.publishers['zoom_image'].get_subscription_count, 'a subscriber'
        )
        send(peer, image_message(2), pictures)
    assert stamp_s(pictures[0]) == 2
    assert image_from_message(pictures[0]).shape == (256, 256 * (1 + REGION.depth), 3)


# --- frames --------------------------------------------------------------------------------------


def hold_frames(node):
    """(begun, go_on): the node sets the first event when it takes up a frame, and works on it
    once the second is set."""
    begun, go_on = threading.Event(), threading.Event()
    posterior = node._loaded.localizer.zoom.posterior

    def slow(*searched):
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return posterior(*searched)

    node._loaded.localizer.zoom.posterior = slow
    return begun, go_on


def test_under_overload_the_latest_frame_wins(files):
    with robot(files) as (node, peer):
        begun, go_on = hold_frames(node)
        peer.publish_until(begun.is_set, image_message(1), 'the first frame')
        for second in (2, 3, 4, 5):
            peer.publish_until(
                lambda n=second: counts(node)['received'] == n,
                image_message(second),
                'the frame to arrive',
            )
        go_on.set()
        peer.wait(lambda: len(peer.fixes) == 2, 'two fixes')
        peer.diagnosis('localizing', OK)
        assert [stamp_s(fix) for fix in peer.fixes] == [1, 5]
        assert counts(node)['replaced'] == 3 and counts(node)['localized'] == 2


def test_late_frames_are_dropped_and_a_bag_that_loops_starts_anew(files):
    with robot(files) as (node, peer):
        for second in (100, 100.5, 100.2, 100.5, 101, 50, 50.5, 51):
            before = counts(node)['localized'] + counts(node)['late']
            peer.publish_until(
                lambda before=before: sum(counts(node)[k] for k in ('localized', 'late')) > before,
                image_message(second),
                'the frame to be handled',
            )
        peer.wait(lambda: len(peer.fixes) == 6, 'six fixes')
        assert [stamp_s(fix) for fix in peer.fixes] == [100, 100.5, 101, 50, 50.5, 51]
        assert counts(node)['late'] == 2


def test_a_reset_lets_time_begin_again_and_drops_the_frame_at_work(files):
    with robot(files) as (node, peer):
        send(peer, image_message(9.0))
        begun, go_on = hold_frames(node)
        peer.publish_until(begun.is_set, image_message(9.1), 'the frame at work')
        assert peer.call('reset', Trigger.Request()).success
        go_on.set()
        send(peer, image_message(8.9))
        assert [stamp_s(fix) for fix in peer.fixes] == [9.0, 8.9]


# --- trouble -------------------------------------------------------------------------------------


def without(message, **fields):
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ('message', 'problem'),
    [
        (without(image_message(5), encoding='32FC1'), "'32FC1' is not a known picture"),
        (without(image_message(5), data=[]), 'truncated'),
        (without(image_message(5), width=2**31), "'rgb8'"),
        (without(image_message(5), height=0), 'no pixels'),
        (image_message(0), 'no header.stamp'),
        (image_message(-5), 'no header.stamp'),
        (image_message(5, frame_id=''), 'no header.frame_id'),
    ],
)
def test_a_bad_image_is_told_and_survived(files, message, problem):
    with robot(files) as (node, peer):
        peer.publish_until(lambda: counts(node)['bad'], message, 'the bad image')
        peer.diagnosis(problem, ERROR)
        fix = send(peer, image_message(6))
        assert fix.status.status == FIX and stamp_s(fix) == 6
        status = peer.diagnosis('localizing', OK)
        assert problem in dict((v.key, v.value) for v in status.values)['last error']
        assert counts(node)['bad'] == 1


@pytest.mark.parametrize('error', [RuntimeError('out of memory'), ZeroDivisionError('x')])
def test_any_failure_while_localizing_is_told_and_survived(files, error):
    with robot(files) as (node, peer):
        posterior = node._loaded.localizer.zoom.posterior

        def fail(*_):
            node._loaded.localizer.zoom.posterior = posterior
            raise error

        node._loaded.localizer.zoom.posterior = fail
        peer.publish_until(lambda: counts(node)['bad'], image_message(1), 'the failure')
        peer.diagnosis(f'{type(error).__name__}: {error}', ERROR)
        send(peer, image_message(2))


def test_a_camera_frame_can_be_given_for_images_without_one(files):
    with robot(files, camera_frame='front') as (node, peer):
        assert send(peer, image_message(1, frame_id='')).header.frame_id == 'front'
        assert send(peer, image_message(2)).header.frame_id == 'camera'


def test_undistort_waits_for_camera_info(files):
    with robot(files, undistort=True) as (node, peer):
        peer.publish_until(lambda: counts(node)['bad'], image_message(1), 'the bad image')
        peer.diagnosis('no camera_info has arrived', ERROR)
        info = CameraInfo(width=48, height=32, distortion_model='plumb_bob')
        info.k = [40.0, 0.0, 24.0, 0.0, 40.0, 16.0, 0.0, 0.0, 1.0]
        info.d = [0.1, 0.0, 0.0, 0.0, 0.0]
        sender = publisher(peer, node, CameraInfo, 'camera_info')
        sender.publish(info)
        peer.wait(lambda: node._inputs.undistorter._info, 'camera_info')
        send(peer, image_message(2))
        sender.publish(without(info, width=50))
        peer.wait(lambda: node._inputs.undistorter._info.width == 50, 'camera_info')
        peer.publish_until(lambda: counts(node)['bad'] == 2, image_message(3), 'the bad image')
        peer.diagnosis('50 x 32 pixels, the image has 48 x 32', ERROR)


# --- parameters and diagnostics ------------------------------------------------------------------


def test_the_decision_can_be_changed_at_run_time(files):
    with robot(files) as (node, peer):
        assert send(peer, image_message(1)).status.status == FIX
        assert peer.set(max_radius_m=1.0) == ''
        assert send(peer, image_message(2)).status.status == NO_FIX
        assert peer.set(max_radius_m=1000.0, altitude_m=55.0) == ''
        fix = send(peer, image_message(3))
        assert (fix.status.status, fix.altitude) == (FIX, 55.0)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'map': '/other'}, 'clean up the node'),
        ({'runtime': 'cpu'}, 'clean up the node'),
        ({'map_frame': 'other'}, 'read-only'),
        ({'image_transport': 'compressed'}, 'read-only'),
        ({'min_confidence': 1.5}, 'range'),
        ({'min_confidence': math.nan}, 'range'),
        ({'altitude_m': math.inf}, 'range'),
        ({'max_radius_m': 0.0}, 'range'),
        ({'max_radius_m': 'wide'}, 'type'),
        ({'tracker.noise.position_m': 1.0}, 'clean up the node'),
    ],
)
def test_wrong_values_and_wrong_moments_are_refused(files, change, reason):
    with robot(files) as (node, peer):
        refusal = peer.set(**change)
        assert refusal and reason in refusal
        assert send(peer, image_message(1)).status.status == FIX


@pytest.mark.parametrize('name', ['runtime', 'search', 'image_transport', 'image_reliability'])
def test_a_wrong_choice_stops_the_node_at_its_start(files, name):
    from rclpy.exceptions import ParameterException

    with (
        pytest.raises(ParameterException, match='it must be one of'),
        robot(files, activate=False, **{name: 'other'}),
    ):
        pass


def test_the_choices_are_those_of_the_rooms_below():
    assert BY_NAME['runtime'].choices == RUNTIMES.list()
    assert BY_NAME['search'].choices == SEARCHES


def test_descriptors_explain_every_parameter(files):
    with robot(files, activate=False) as (node, peer):
        for name, parameter in all_parameters().items():
            descriptor = node.describe_parameter(name)
            assert descriptor.description == parameter.text
            assert descriptor.read_only == (parameter.changes == 'start')
            bounds = parameter.range and (parameter.range.at_least, parameter.range.at_most)
            if bounds and None in bounds:
                assert descriptor.additional_constraints == f'It must be {parameter.range}.'
            elif isinstance(parameter.default, float):
                (limits,) = descriptor.floating_point_range
                assert (limits.from_value, limits.to_value) == bounds
                assert limits.from_value <= parameter.default <= limits.to_value


TRACKER_VALUES = {
    'tracker.filter.headings': 12,
    'tracker.noise.position_m': 0.25,
    'tracker.odometry.max_gap_s': 0.75,
    'tracker.likelihood_exponent': 0.5,
    'tracker.decorrelation_distance_m': 7.0,
}


def test_parameters_reach_every_part_of_the_tracker(files):
    with robot(files, activate=False, **TRACKER_VALUES) as (node, peer):
        assert peer.change('configure')
        config = node._loaded.processor.tracker.config
        assert config == TrackerConfig(
            filter=HistogramFilterConfig(headings=12),
            noise=MotionNoise(position_m=0.25),
            odometry=OdometryConfig(max_gap_s=0.75),
            likelihood_exponent=0.5,
            decorrelation_distance_m=7.0,
        )
        assert len(node._loaded.processor.tracker.belief.masses) == 12


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'tracker.noise.position_m': -1.0}, 'noise.position_m is -1; it must be at least 0'),
        ({'tracker.odometry.max_gap_s': 0.0}, 'odometry.max_gap_s is 0; it must be above 0'),
        ({'tracker.unexplored_mass': math.nan}, 'unexplored_mass is nan; it must be'),
        ({'tracker.filter.headings': 3}, 'filter.headings is 3; it must be at least 4'),
    ],
)
def test_a_tracker_parameter_out_of_its_range_is_refused_by_name(files, change, reason):
    with robot(files, activate=False) as (node, peer):
        assert f'tracker.{reason}' in peer.set(**change)


def test_a_filter_that_does_not_fit_the_map_fails_configure_with_the_reason(files):
    with robot(files, activate=False, **{'tracker.filter.cell_m': 0.1}) as (node, peer):
        assert not peer.change('configure')
        peer.diagnosis('take fewer headings or larger cells', ERROR)
        assert peer.set(**{'tracker.filter.cell_m': 40.0}) == ''
        assert peer.change('configure')


def test_former_names_are_still_read_with_a_warning(files):
    former = {'headings': 8, 'odom_noise_m': 0.125, 'unknown_speed_m_s': 2.0}
    with robot(files, activate=False, **former) as (node, peer):
        assert peer.change('configure')
        config = node._loaded.processor.tracker.config
        assert config.filter.headings == 8
        assert (config.noise.position_m, config.noise.unknown_m_s) == (0.125, 2.0)
        assert not node.has_parameter('headings')


def test_diagnostics_name_what_is_at_work(files):
    with robot(files) as (node, peer):
        send(peer, image_message(1))
        status = peer.diagnosis('localizing', OK)
        values = dict((v.key, v.value) for v in status.values)
        assert status.name == '/justzoom: localization'
        assert values['map'] == files['map'] and values['weights'] == files['sure']
        assert values['runtime'] == node._loaded.localizer.runtime
        assert values['runtime choice'] == node._loaded.localizer.selection_reason
        assert values['frames received'] == values['frames localized'] == '1'
        assert values['frames fixes'] == '1' and values['frames bad'] == '0'
        assert float(values['latency (s)']) > 0


def test_the_policy_computes_in_as_many_threads_as_it_is_told(files, monkeypatch):
    """Asked where it computes, for torch counts the threads of each thread by itself."""
    asked, embed, usual = [], ZoomSearch.embed, torch.get_num_threads()

    def asking(self, image_rgb):
        asked.append(torch.get_num_threads())
        return embed(self, image_rgb)

    monkeypatch.setattr(ZoomSearch, 'embed', asking)
    for threads, expected in ((usual + 1, usual + 1), (0, usual)):
        with robot(files, threads=threads) as (node, peer):
            asked.clear()  # of the frame that configure warms up with
            send(peer, image_message(1))
            status = peer.diagnosis('localizing', OK)
            assert asked == [expected]
            assert {v.key: v.value for v in status.values}['threads'] == str(expected)


def test_what_the_package_logs_is_in_the_log_of_the_node(files, monkeypatch):
    with robot(files, activate=False) as (node, peer):
        said = []
        monkeypatch.setattr(node._log_handler._logger, 'warning', said.append)
        logging.getLogger('justzoom_ros.localizer').warning('map of %s', 'yesterday')
        assert said == ['map of yesterday']


def test_simulated_time_that_stands_still_stops_neither_fixes_nor_diagnostics(files):
    with robot(files, use_sim_time=True) as (node, peer):
        send(peer, image_message(1))
        peer.diagnosis('localizing', OK)


def test_a_namespace_holds_all_topics(files):
    arguments, peer = ['-r', '__ns:=/drone'], {'namespace': '/drone'}
    with robot(files, arguments=arguments, peer=peer) as (node, peer):
        send(peer, image_message(1))
        assert peer.node.count_publishers('/drone/fix') == 1
        peer.diagnosis('localizing', OK)


# --- motion --------------------------------------------------------------------------------------


def odometry(stamp, x, yaw=0.0, moving=True):
    """nav_msgs/Odometry of a robot that has driven `x` metres straight ahead."""
    message = Odometry()
    message.header.stamp = image_message(stamp).header.stamp
    message.pose.pose.position.x = x
    turn = message.pose.pose.orientation
    turn.z, turn.w = np.sin(yaw / 2), np.cos(yaw / 2)
    message.twist.twist.linear.x = 1.0 if moving else 0.0
    return message


@contextlib.contextmanager
def moving_robot(files, **parameters):
    """A robot with odometry; yields the node, the peer, and a function that sends odometry and
    waits until it has arrived."""
    with robot(files, **parameters) as (node, peer):
        drive = publisher(peer, node, Odometry, 'odom')

        def move(*messages):
            for message in messages:
                heard = len(node._loaded.processor.events)
                drive.publish(message)
                peer.wait(
                    lambda n=heard: len(node._loaded.processor.events) > n,
                    'the odometry to arrive',
                )

        yield node, peer, move


def test_with_odometry_a_frame_is_seen_in_the_light_of_those_before(files):
    with moving_robot(files, policy='unsure') as (node, peer, move):
        move(odometry(1, 0.0), odometry(2, 5.0))
        send(peer, image_message(1))
        send(peer, image_message(2))
        assert node._loaded.processor.tracker.motion.forward_m == pytest.approx(5.0)
        assert node._loaded.processor.tracker.motion.unknown_s == 0


def test_a_start_position_makes_a_fix_of_what_was_ambiguous(files):
    with moving_robot(files, policy='unsure') as (node, peer, move):
        prior = publisher(peer, node, NavSatFix, 'initial_fix')
        move(odometry(1, 0.0))
        assert send(peer, image_message(1)).status.status == NO_FIX
        there = NavSatFix(latitude=REGION.latitude + 0.0005, longitude=REGION.longitude)
        there.position_covariance = np.diag([100.0, 100.0, 1.0]).ravel().tolist()
        there.position_covariance_type = 2
        prior.publish(there)
        peer.wait(lambda: node._loaded.processor.events, 'the start')
        fix = send(peer, image_message(1.1))
        assert fix.status.status == FIX
        assert fix.latitude == pytest.approx(there.latitude, abs=1e-4)
        outside = NavSatFix(latitude=10.0, position_covariance=there.position_covariance)
        outside.position_covariance_type = 2
        prior.publish(outside)
        peer.wait(lambda: 'outside the map' in node._diagnostics.notice, 'the refusal')
        assert send(peer, image_message(1.2)).status.status == FIX


def test_a_node_that_comes_back_begins_where_the_one_before_it_ended(files, tmp_path):
    path = tmp_path / 'memory.json'
    memory = {'memory_file': str(path)}
    with moving_robot(files, policy='unsure', **memory) as (node, peer, move):
        node._on_prior(prior_at(REGION.latitude + 0.0005))
        move(odometry(1, 0.0))
        assert send(peer, image_message(1)).status.status == FIX
    assert path.is_file()
    with moving_robot(files, policy='unsure', **memory) as (node, peer, move):
        fix = send(peer, image_message(2))
        assert fix.status.status == FIX
        assert fix.latitude == pytest.approx(REGION.latitude + 0.0005, abs=1e-4)
        assert fix.position_covariance[0] > 100.0
        node._on_reset(Trigger.Request(), Trigger.Response())
        assert send(peer, image_message(2.1)).status.status == NO_FIX


def test_heights_and_the_offset_of_the_map_reach_every_fix(files):
    map = SatelliteMap.open(files['map'])
    heights = np.full((4, 4), 321.0, np.float32)
    write_terrain(map.path, map.checksum, Terrain(REGION, heights, 2.0))
    offset = MapOffset(3.0, 0.0, 4.0 * np.eye(2), 'bag', 9)
    with robot(files) as (_, peer):
        plain = send(peer, image_message(1))
    write_offset(map.path, map.checksum, offset)
    try:
        with moving_robot(files, map_offset_source='gnss') as (node, peer, move):
            moved = send(peer, image_message(1))
            receiver = peer.node.create_publisher(NavSatFix, 'gnss', 10)
            peer.wait(receiver.get_subscription_count, 'a subscription')
            values = {v.key: v.value for v in peer.diagnosis('localizing', OK).values}
            assert values['map offset'].startswith('+3.0 m east')
    finally:
        (map.path / 'terrain.tif').unlink()
        (map.path / 'offset.json').unlink()
    assert plain.altitude == moved.altitude == 321.0
    assert moved.position_covariance[8] == pytest.approx(4.0)
    east_m, north_m = REGION.to_enu(moved.latitude, moved.longitude)
    was = REGION.to_enu(plain.latitude, plain.longitude)
    assert (east_m - was[0], north_m - was[1]) == pytest.approx((3.0, 0.0), abs=1e-3)
    assert moved.position_covariance[0] == pytest.approx(plain.position_covariance[0] + 4.0)


def prior_at(latitude):
    there = NavSatFix(latitude=latitude, longitude=REGION.longitude, position_covariance_type=2)
    there.position_covariance = np.diag([100.0, 100.0, 1.0]).ravel().tolist()
    return there


def test_trouble_with_odometry_is_told_once_and_survived(files):
    with moving_robot(files) as (node, peer, move):
        said = []
        node._loaded.processor._report = said.append
        move(odometry(1, 0.0), odometry(1, 0.0), odometry(1.1, float('nan')), odometry(1.2, 900.0))
        move(odometry(1.3, 1800.0))
        send(peer, image_message(1))
        send(peer, image_message(9))
        assert [text.split(',')[0].split(';')[0] for text in said] == [
            'a stamp of the odometry is not later than the one before',
            'a pose of the odometry is not finite',
            'the odometry jumps',
            'no odometry reaches up to the images: the belief spreads meanwhile',
        ]


def test_the_belief_is_a_grid_in_the_map_frame(files):
    with moving_robot(files) as (node, peer, move):
        grids = []
        peer.node.create_subscription(OccupancyGrid, 'belief', grids.append, 10)
        peer.wait(node._loaded.outputs.publishers['belief'].get_subscription_count, 'a subscriber')
        move(odometry(1, 0.0))
        send(peer, image_message(1))
        peer.wait(lambda: grids, 'a grid')
        info = grids[0].info
        assert (info.width, info.height, info.resolution) == (8, 8, 50.0)
        row, column = divmod(int(np.argmax(grids[0].data)), 8)
        place = info.origin.position.x + (column + 0.5) * 50, (row + 0.5) * 50 - 200
        best = node._loaded.processor.tracker.belief.posterior().best_cell
        assert place == pytest.approx((best.east_m, best.north_m))


def test_the_pose_of_a_robot_in_motion_has_its_heading(files):
    """Known or not: as yet it may face anywhere."""
    with moving_robot(files, min_confidence=0.5, max_radius_m=1e4) as (node, peer, move):
        move(odometry(1, 0.0))
        send(peer, image_message(1))
        peer.wait(lambda: peer.poses, 'a pose')
        pose = peer.poses[-1].pose
        assert 0 < pose.covariance[35] <= np.pi**2 / 3 + 1e-9


def test_several_cameras_are_one_rig(files):
    with robot(files, camera_headings_deg=[0.0, 180.0]) as (node, peer):
        rear = publisher(peer, node, Image, 'image_1')
        rear.publish(image_message(5.02, seed=4))
        peer.wait(lambda: node._inputs.others, 'the rear image')
        fix = send(peer, image_message(5))
        images = [image_from_message(image_message(5, seed=seed)) for seed in (0, 4)]
        expected = node._loaded.localizer.locate_rig(images, node._inputs.mounts)
        assert fix.latitude == pytest.approx(expected.latitude, abs=1e-9)
        late = send(peer, image_message(6))  # the rear image is too old by now
        alone = node._loaded.localizer.locate(images[0])
        assert late.longitude == pytest.approx(alone.longitude, abs=1e-9)
