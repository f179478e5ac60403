"""The ROS 2 lifecycle node: camera frames in, fixes out.

configure loads and warms up, activate subscribes, deactivate unsubscribes, cleanup frees memory.
The executor's thread only sorts messages; one worker thread decodes, localizes and publishes.
"""

import gc
import logging
import math
import threading
import time
from dataclasses import dataclass
from functools import partial

import torch
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import OccupancyGrid, Odometry
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, NavSatFix, PointCloud2
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from justzoom_ros.errors import ConfigError, ImageError, JustZoomError
from justzoom_ros.filtering import HistogramFilterConfig, MotionNoise
from justzoom_ros.inference.multi_view import Mount
from justzoom_ros.inference.preprocess import enough_px
from justzoom_ros.io.image_message import image_from_message
from justzoom_ros.io.motion_message import prior_of
from justzoom_ros.io.stamps import StampGate, stamp_ns_of
from justzoom_ros.io.undistortion import Undistorter
from justzoom_ros.live import parameters
from justzoom_ros.live.diagnostics import NodeDiagnostics, StageTimer
from justzoom_ros.live.frame_processor import FrameProcessor
from justzoom_ros.live.latest_worker import LatestWorker
from justzoom_ros.live.log import RosHandler, in_words
from justzoom_ros.localizer import FixCriteria, Localizer
from justzoom_ros.plots.zoom_picture import zoom_picture
from justzoom_ros.ros import messages
from justzoom_ros.ros.declare import declare
from justzoom_ros.tracker import TrackerConfig

DIAGNOSTICS_PERIOD_S = 1.0
LOG_PERIOD_S = 5.0
OUTPUTS = {
    'fix': NavSatFix,
    'pose': PoseWithCovarianceStamped,
    'hypotheses': PointCloud2,
    'belief': OccupancyGrid,
    'zoom_image': Image,
}
QUEUE = 100
"""Odometry is small and comes fast; none of it should be lost while a frame is at work."""


@dataclass(frozen=True)
class Frame:
    """Image messages on their way, those of a rig by the number of their cameras: when the first
    camera's arrived, and how many resets there were before."""

    messages: dict
    arrived_s: float
    epoch: int


class LocalizeNode(LifecycleNode):
    """The node `justzoom`; keyword arguments are those of `rclpy.node.Node`."""

    def __init__(self, **arguments):
        super().__init__('justzoom', **arguments)
        self._localizer = self._worker = self._pilot = None
        self._subscriptions_made, self._outputs = [], {}
        self._gate, self._health = StampGate(), NodeDiagnostics()
        self._epoch, self._publishing = 0, threading.Lock()
        self._other_images, self._belief_due_s = {}, 0.0
        self._torch_threads = torch.get_num_threads()
        self._log_handler = RosHandler(self.get_logger())
        package_log = logging.getLogger('justzoom_ros')
        package_log.addHandler(self._log_handler)
        package_log.setLevel(logging.INFO)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        declare(self)
        self._image_topic = self._choose_image_topic('image')
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Steady: diagnostics go on where simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, clock=steady)
        self.create_service(Trigger, '~/reset', self._on_reset)

    # --- transitions ---------------------------------------------------------------------------
    # rclpy swallows exceptions of these callbacks without a word, so none may leave them.

    def on_configure(self, state):
        try:
            self._configure()
        except Exception as error:
            self._free()
            self._refuse('configure', error)
            return TransitionCallbackReturn.FAILURE
        self._health.refusal = ''
        return super().on_configure(state)

    def on_activate(self, state):
        try:
            self._subscribe()
        except Exception as error:
            self._stop()
            self._refuse('activate', error)
            return TransitionCallbackReturn.FAILURE
        self._health.refusal = ''
        return super().on_activate(state)

    def on_deactivate(self, state):
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state):
        self._free()
        return super().on_cleanup(state)

    def on_shutdown(self, state):
        self._stop()
        self._free()
        return super().on_shutdown(state)

    def on_error(self, state):
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self):
        self._stop()
        logging.getLogger('justzoom_ros').removeHandler(self._log_handler)
        super().destroy_node()

    def _configure(self):
        for name in ('map', 'weights'):
            if not self._value(name):
                raise ConfigError(f'parameter {name} is empty; set it to a path and configure')
        started_s = time.monotonic()
        torch.set_num_threads(self._value('threads') or self._torch_threads)
        self._localizer = Localizer.open(
            map=self._value('map'),
            weights=self._value('weights'),
            runtime=self._value('runtime'),
            search=self._value('search'),
            progress=False,
        )
        self._pilot = self._make_pilot()
        for topic, kind in OUTPUTS.items():
            self._outputs[topic] = self.create_lifecycle_publisher(kind, topic, 10)
        self.get_logger().info(
            f'map {self._localizer.map.path}, runtime {self._localizer.runtime}: ready after '
            f'{time.monotonic() - started_s:.1f} s, images from {self._image_topic}'
        )

    def _make_pilot(self):
        noise = MotionNoise(
            position_m=self._value('odom_noise_m'), unknown_m_s=self._value('unknown_speed_m_s')
        )
        config = TrackerConfig(HistogramFilterConfig(headings=self._value('headings')), noise)
        return FrameProcessor(self._localizer, self._value('motion'), config, self._notice)

    def _refuse(self, transition, error):
        self._health.refusal = f'{transition} failed: {in_words(error)}'
        self.get_logger().error(self._health.refusal)

    def _subscribe(self):
        self._health.restart()
        self._gate.reset()
        self._worker = LatestWorker(self._handle, 'localize')
        self._pilot.begin()
        self._mounts = self._choose_mounts()
        compressed = self._value('image_transport') == 'compressed'
        reliability = ReliabilityPolicy[self._value('image_reliability').upper()]
        quality = QoSProfile(depth=1, reliability=reliability)
        kind = CompressedImage if compressed else Image
        add = self._subscriptions_made.append
        add(self.create_subscription(kind, self._image_topic, self._on_image, quality))
        for number in range(1, len(self._mounts)):
            topic = self._choose_image_topic(f'image_{number}')
            take = partial(self._other_images.__setitem__, number)
            add(self.create_subscription(kind, topic, take, quality))
        self._subscribe_motion(add)
        self._undistorter = Undistorter() if self._value('undistort') else None
        if self._undistorter:
            take, quality = self._undistorter.set_info, QoSProfile(depth=1)
            quality.reliability = ReliabilityPolicy.BEST_EFFORT
            add(self.create_subscription(CameraInfo, 'camera_info', take, quality))

    def _subscribe_motion(self, add):
        if self._value('motion') == 'never':
            return
        quality = QoSProfile(depth=QUEUE, reliability=ReliabilityPolicy.BEST_EFFORT)
        add(self.create_subscription(Odometry, 'odom', self._pilot.add_odometry, quality))
        add(self.create_subscription(NavSatFix, 'initial_fix', self._on_prior, 1))
        if self._value('imu_yaw'):
            add(self.create_subscription(Imu, 'imu', self._pilot.add_imu, quality))

    def _choose_mounts(self):
        """The `Mount` of each camera."""
        fov_rad = math.radians(self._value('camera_fov_deg'))
        headings = self._value('camera_headings_deg')
        if not len(headings):
            raise ConfigError('parameter camera_headings_deg is empty; it needs one per camera')
        return [Mount(math.radians(heading - headings[0]), fov_rad) for heading in headings]

    def _choose_image_topic(self, name):
        """image_transport's way: the compressed images of a topic are on a topic below it."""
        topic = self.resolve_topic_name(name)
        if self._value('image_transport') == 'raw' or topic.endswith('/compressed'):
            return topic
        return f'{topic}/compressed'

    def _stop(self):
        """No more frames, neither new ones nor those on their way."""
        for subscription in self._subscriptions_made:
            self.destroy_subscription(subscription)
        self._subscriptions_made.clear()
        self._begin_epoch()
        if self._worker:
            self._worker.stop()
            self._worker = None

    def _free(self):
        for publisher in self._outputs.values():
            self.destroy_lifecycle_publisher(publisher)
        self._outputs.clear()
        self._localizer = self._pilot = None
        gc.collect()

    # --- frames: the executor's thread ---------------------------------------------------------

    def _on_image(self, message):
        self._health.count('received')
        verdict = self._gate.judge(Time.from_msg(message.header.stamp).nanoseconds)
        if verdict == 'unset':
            return self._report(ImageError('image has no header.stamp; let the driver set it'))
        if verdict == 'late':
            return self._health.count('late')
        if verdict == 'jump':
            text = 'time jumped back (a bag loops?): starting anew'
            self.get_logger().warning(text, throttle_duration_sec=LOG_PERIOD_S)
            self._begin_epoch()
            self._pilot.begin()
        frame = Frame(self._rig(message), time.monotonic(), self._epoch)
        if self._worker.offer(frame):
            self._health.count('replaced')

    def _rig(self, message):
        """{number of the camera: message}: the first camera's and those of about its time."""
        slop_ns = self._value('camera_slop_s') * 1e9
        stamp_ns = stamp_ns_of(message)
        others = {
            number: other
            for number, other in sorted(self._other_images.items())
            if abs(stamp_ns_of(other) - stamp_ns) <= slop_ns
        }
        return {0: message, **others}

    def _on_prior(self, message):
        try:
            prior = prior_of(message)
            region = self._localizer.region
            if not region.contains(*prior[:2]):
                raise ConfigError('initial_fix is outside the map; the start stays as it was')
        except JustZoomError as error:
            return self._notice(str(error))
        self._begin_epoch()
        self._pilot.begin(prior)
        self.get_logger().info(f'starting anew at {prior[0]:.6f}, {prior[1]:.6f}')

    def _begin_epoch(self):
        """What was seen so far no longer counts; frames of before are not published."""
        with self._publishing:
            self._epoch += 1
        if self._worker:
            self._worker.drop()

    def _on_reset(self, request, response):
        self._begin_epoch()
        self._gate.reset()
        if self._pilot:
            self._pilot.begin()
        self.get_logger().info('reset')
        response.success, response.message = True, 'waiting for the next image'
        return response

    # --- frames: the worker's thread -----------------------------------------------------------

    def _handle(self, frame):
        try:
            self._localize(frame)
        except Exception as error:
            # While ROS shuts down publishers fail, which is nobody's fault.
            if self.context.ok():
                self._report(error)

    def _localize(self, frame):
        laps = StageTimer(frame.arrived_s)
        laps.end('waiting')
        header = self._fix_header(frame.messages[0].header)
        # Undistortion knows the camera's own pixels only.
        enough = None if self._undistorter else enough_px(self._localizer.config)
        images = [image_from_message(message, enough) for message in frame.messages.values()]
        if self._undistorter:
            images[0] = self._undistorter.undistort(images[0])
        laps.end('decoding')
        criteria = FixCriteria(
            min_confidence=self._value('min_confidence'), max_radius_m=self._value('max_radius_m')
        )
        mounts = [self._mounts[number] for number in frame.messages]
        fix = self._pilot.locate(images, mounts, stamp_ns_of(frame.messages[0]), criteria)
        laps.end('localizing')
        made = self._messages(fix, header, images[0])
        with self._publishing:
            if frame.epoch != self._epoch:
                return
            for topic, message in made.items():
                self._outputs[topic].publish(message)
        laps.end('publishing')
        age_s = (self.get_clock().now() - Time.from_msg(header.stamp)).nanoseconds / 1e9
        self._health.localized(fix, laps, age_s)

    def _fix_header(self, header):
        frame_id = header.frame_id or self._value('camera_frame')
        if not frame_id:
            raise ImageError(
                'image has no header.frame_id; let the driver set it, or set camera_frame'
            )
        return Header(stamp=header.stamp, frame_id=frame_id)

    def _messages(self, fix, header, image):
        """Topic -> message. A pose cannot say that it is none, so there is one only for a fix."""
        altitude_m, altitude_std_m = self._value('altitude_m'), self._value('altitude_std_m')
        map_frame, calibrated = self._value('map_frame'), self._localizer.calibrated
        made = {
            'fix': messages.fix_message(fix, header, altitude_m, altitude_std_m, calibrated),
            'hypotheses': messages.hypotheses_message(fix, header, map_frame),
        }
        if fix.status == 'fix':
            made['pose'] = messages.pose_message(fix, header, map_frame, altitude_std_m)
        if self._outputs['zoom_image'].get_subscription_count():
            picture = zoom_picture(image, fix, self._localizer.map)
            made['zoom_image'] = messages.picture_message(picture, header)
        if self._belief_is_due():
            made['belief'] = messages.belief_message(fix, header, map_frame)
        return made

    def _belief_is_due(self):
        if not self._outputs['belief'].get_subscription_count():
            return False
        now_s = time.monotonic()
        if now_s < self._belief_due_s:
            return False
        self._belief_due_s = now_s + self._value('belief_period_s')
        return True

    # --- parameters and diagnostics ------------------------------------------------------------

    def _value(self, name):
        return self.get_parameter(name).value

    def _on_set_parameters(self, changed):
        configured = self._localizer is not None
        problems = [parameters.problem(p.name, p.value, configured) for p in changed]
        reason = '; '.join(filter(None, problems))
        return SetParametersResult(successful=not reason, reason=reason)

    def _report(self, error):
        """A frame could not be used: say so and go on."""
        text = in_words(error)
        self._health.bad(text)
        self.get_logger().error(text, throttle_duration_sec=LOG_PERIOD_S)

    def _notice(self, text):
        """Something about motion is not as it should be; frames are localized all the same."""
        self._health.notice = text
        self.get_logger().warning(text)

    def _publish_diagnostics(self):
        state = self._state_machine.current_state[1]
        publishers = self.count_publishers(self._image_topic)
        level, text = self._health.verdict(state, f'{self._image_topic} ({publishers} publishers)')
        values = {
            'state': state,
            'runtime': self._localizer.runtime if self._localizer else '',
            'runtime choice': self._localizer.selection_reason if self._localizer else '',
            'threads': self._value('threads') or self._torch_threads,
            'map': self._value('map'),
            'weights': self._value('weights'),
            'image topic': self._image_topic,
            **self._health.values(),
        }
        stamp, name = self.get_clock().now().to_msg(), self.get_fully_qualified_name()
        self._diagnostics.publish(
            messages.diagnostics_message(stamp, f'{name}: localization', level, text, values)
        )
