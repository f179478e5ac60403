"""The ROS 2 lifecycle node: camera frames in, fixes out.

configure loads and warms up, activate subscribes, deactivate unsubscribes, cleanup frees memory.
The executor's thread only sorts messages; one worker thread decodes, localizes and publishes.
"""

import gc
import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.time import Time
from sensor_msgs.msg import NavSatFix
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from justzoom_ros.errors import ConfigError, ImageError, JustZoomError
from justzoom_ros.filtering import MotionNoise
from justzoom_ros.io.motion_message import prior_from_message
from justzoom_ros.io.stamps import StampGate, to_nanoseconds
from justzoom_ros.live.belief_memory import BeliefMemory, MemoryConfig
from justzoom_ros.live.camera_sensors import CameraSensors
from justzoom_ros.live.diagnostics import TIME_JUMPED, NodeDiagnostics, StageTimer
from justzoom_ros.live.frame_processor import FrameProcessor, Prior
from justzoom_ros.live.latest_worker import LatestWorker
from justzoom_ros.live.log import RosHandler, describe_error
from justzoom_ros.live.map_alignment import MapAlignment
from justzoom_ros.localizer import Localizer
from justzoom_ros.ros import declare, messages
from justzoom_ros.ros.autopilot import open_reports
from justzoom_ros.ros.bond import ManagerBond, open_bond
from justzoom_ros.ros.inputs import Inputs
from justzoom_ros.ros.outputs import Outputs
from justzoom_ros.ros.position_reports import PositionReports

DIAGNOSTICS_PERIOD_S = 1.0
LOG_PERIOD_S = 5.0


@dataclass(frozen=True)
class Frame:
    """Image messages on their way to the worker."""

    rig: dict[int, Any]
    """{number of the camera: message}, the first camera's among them."""

    arrived_s: float
    """When the first camera's arrived, on the monotonic clock."""

    epoch: int
    """How many resets there were before."""


@dataclass(frozen=True)
class Loaded:
    """What configure brings and cleanup frees."""

    localizer: Localizer
    """Map and policy at work."""

    processor: FrameProcessor
    """What the worker does with frames."""

    outputs: Outputs
    """The publishers."""


class LocalizeNode(LifecycleNode):
    """The node `justzoom`; keyword arguments are those of `rclpy.node.Node`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__('justzoom', **arguments)
        self._loaded: Loaded | None = None
        self._inputs = Inputs(self)
        self._worker: LatestWorker[Frame] | None = None
        self._reports: PositionReports | None = None
        self._bond: ManagerBond | None = None
        self._gate, self._diagnostics = StampGate(), NodeDiagnostics()
        self._epoch, self._publishing = 0, threading.Lock()
        self._torch_threads = torch.get_num_threads()
        self._log_handler = RosHandler(self.get_logger())
        package_log = logging.getLogger('justzoom_ros')
        package_log.addHandler(self._log_handler)
        package_log.setLevel(logging.INFO)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        declare.declare(self)
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Steady: diagnostics go on where simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, clock=steady)
        self.create_service(Trigger, '~/reset', self._on_reset)

    # --- transitions ---------------------------------------------------------------------------
    # rclpy swallows exceptions of these callbacks without a word, so none may leave them.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._loaded = self._load()
        except Exception as error:
            self._free()
            return self._refuse('configure', error)
        self._diagnostics.refusal = ''
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._start(self._require_loaded())
        except Exception as error:
            self._stop()
            return self._refuse('activate', error)
        self._diagnostics.refusal = ''
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._free()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        self._free()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        self._stop()
        logging.getLogger('justzoom_ros').removeHandler(self._log_handler)
        super().destroy_node()

    def _load(self) -> Loaded:
        if not self._value('map'):
            raise ConfigError('parameter map is empty; set it to a path and configure')
        started_s = time.monotonic()
        config, camera = declare.tracker_config(self), declare.camera_config(self)
        if camera.scale_known or not self._value('weights'):
            camera.check()
        torch.set_num_threads(self._value('threads') or self._torch_threads)
        localizer = Localizer.open(
            map=self._value('map'),
            weights=self._value('weights') or None,
            runtime=self._value('runtime'),
            search=self._value('search'),
            progress=False,
            camera=camera.expected_camera(),
            registration=self._value('registration_weights') or None,
            map_offset_std_m=self._value('map_offset_std_m'),
        )
        localizer.terrain  # noqa: B018 - a damaged file fails configure, not a frame
        sensors = CameraSensors(camera, self.resolve_topic_name) if localizer.registrar else None
        motion = self._value('motion')
        memory = self._memory(localizer, config.noise)
        learns = self._value('map_offset_source') == 'gnss' and motion != 'never'
        alignment = MapAlignment(localizer, self._notice) if learns else None
        processor = FrameProcessor(
            localizer, motion, config, self._notice, sensors, memory, alignment
        )
        self.get_logger().info(
            f'map {localizer.map.path}, {localizer.method} on {localizer.runtime}: ready after '
            f'{time.monotonic() - started_s:.1f} s, images from {self._inputs.image_topic}'
        )
        return Loaded(localizer, processor, Outputs(self))

    def _memory(self, localizer: Localizer, noise: MotionNoise) -> BeliefMemory | None:
        path = self._value('memory_file')
        if not path or self._value('motion') == 'never':
            return None
        config = MemoryConfig(max_age_s=self._value('memory_max_age_s'))
        return BeliefMemory(path, localizer.map.checksum, noise, self._notice, config)

    def _require_loaded(self) -> Loaded:
        if self._loaded is None:
            raise ConfigError('the node is not configured')
        return self._loaded

    def _refuse(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        self._diagnostics.refusal = f'{transition} failed: {describe_error(error)}'
        self.get_logger().error(self._diagnostics.refusal)
        return TransitionCallbackReturn.FAILURE

    def _start(self, loaded: Loaded) -> None:
        """Take frames. Of where the robot is nothing is known but what its memory holds."""
        self._diagnostics.restart()
        self._gate.reset()
        if address := loaded.outputs.open_view(loaded.localizer):
            self.get_logger().info(f'live page on {address}')
        self._reports = open_reports(self)
        self._worker = LatestWorker(self._handle, 'localize')
        loaded.processor.resume()
        self._inputs.open(self._on_image, self._on_prior, loaded.processor)
        self._bond = open_bond(self)

    def _stop(self) -> None:
        """No more frames, neither new ones nor those on their way."""
        self._inputs.close()
        self._begin_epoch()
        if self._worker:
            self._worker.stop()
            self._worker = None
        for each in (self._bond, self._reports):
            if each:
                each.close()
        self._bond = self._reports = None
        if self._loaded:
            self._loaded.outputs.close_view()

    def _free(self) -> None:
        if self._loaded:
            self._loaded.outputs.close()
        self._loaded = None
        gc.collect()

    # --- frames: the executor's thread ---------------------------------------------------------

    def _on_image(self, message: Any) -> None:
        verdict = self._gate.judge(to_nanoseconds(message.header.stamp))
        self._diagnostics.receive(verdict)
        if verdict == 'unset':
            return self._report(ImageError('image has no header.stamp; let the driver set it'))
        if verdict == 'late':
            return  # counted
        if verdict == 'jump':
            self.get_logger().warning(TIME_JUMPED, throttle_duration_sec=LOG_PERIOD_S)
            self._begin_anew()
        frame = Frame(self._inputs.rig(message), time.monotonic(), self._epoch)
        if self._worker and self._worker.offer(frame):
            self._diagnostics.count_replaced()

    def _on_prior(self, message: NavSatFix) -> None:
        try:
            prior = prior_from_message(message)
            if not self._require_loaded().localizer.region.contains(*prior[:2]):
                raise ConfigError('initial_fix is outside the map; the start stays as it was')
        except JustZoomError as error:
            return self._notice(str(error))
        self._begin_anew(prior)
        self.get_logger().info(f'starting anew at {prior[0]:.6f}, {prior[1]:.6f}')

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._gate.reset()
        self._begin_anew()
        self.get_logger().info('reset')
        response.success, response.message = True, 'waiting for the next image'
        return response

    def _begin_anew(self, prior: Prior | None = None) -> None:
        """Forget what was seen so far; the robot is where `prior` says, or anywhere."""
        self._begin_epoch()
        if self._loaded:
            self._loaded.processor.begin(prior)

    def _begin_epoch(self) -> None:
        """What was seen so far no longer counts; frames of before are not published."""
        with self._publishing:
            self._epoch += 1
        if self._worker:
            self._worker.drop()

    # --- frames: the worker's thread -----------------------------------------------------------

    def _handle(self, frame: Frame) -> None:
        try:
            self._localize(frame)
        except Exception as error:
            # While ROS shuts down publishers fail, which is nobody's fault.
            if self.context.ok():
                self._report(error)

    def _localize(self, frame: Frame) -> None:
        timer = StageTimer(frame.arrived_s)
        timer.end('waiting')
        loaded, first = self._require_loaded(), frame.rig[0]
        header = self._fix_header(first.header)
        images, mounts = self._inputs.decode(frame.rig, loaded.localizer.enough_px)
        timer.end('decoding')
        criteria = declare.fix_criteria(self)
        stamp_ns = to_nanoseconds(first.header.stamp)
        loaded.outputs.begin_frame(loaded.localizer)
        fix = loaded.processor.locate(images, mounts, stamp_ns, criteria, frame.arrived_s)
        self._diagnostics.state = loaded.processor.state
        self._diagnostics.distrust = loaded.processor.doubt
        timer.end('localizing')
        camera = loaded.processor.state.camera if loaded.processor.state else None
        height_m = camera.height_m if camera else None
        made = loaded.outputs.make(
            fix, header, images[0], loaded.localizer, height_m,
            loaded.processor.increment, loaded.processor.group,
        )  # fmt: skip
        with self._publishing:
            if frame.epoch != self._epoch:
                return
            loaded.outputs.publish(made)
        timer.end('publishing')
        age_s = (self.get_clock().now() - Time.from_msg(header.stamp)).nanoseconds / 1e9
        if self._diagnostics.add_fix(fix, timer, age_s, stamp_ns):
            self._publish_diagnostics()  # who looks on need not wait for a reason
        loaded.outputs.show(stamp_ns, fix, images[0], timer.total_s)

    def _fix_header(self, header: Header) -> Header:
        frame_id = header.frame_id or self._value('camera_frame')
        if not frame_id:
            raise ImageError(
                'image has no header.frame_id; let the driver set it, or set camera_frame'
            )
        return Header(stamp=header.stamp, frame_id=frame_id)

    # --- parameters and diagnostics ------------------------------------------------------------

    def _value(self, name: str) -> Any:
        return declare.value_of(self, name)

    def _on_set_parameters(self, changed: list[Parameter]) -> SetParametersResult:
        return declare.check(changed, configured=self._loaded is not None)

    def _report(self, error: Exception) -> None:
        """A frame could not be used: say so and go on."""
        text = describe_error(error)
        self._diagnostics.add_error(text)
        self.get_logger().error(text, throttle_duration_sec=LOG_PERIOD_S)

    def _notice(self, text: str) -> None:
        """Something about motion is not as it should be; frames are localized all the same."""
        self._diagnostics.notice = text
        self.get_logger().warning(text)

    def _publish_diagnostics(self) -> None:
        state = self._state_machine.current_state[1]
        topic = self._inputs.image_topic
        localizer = self._loaded.localizer if self._loaded else None
        publishers = self.count_publishers(topic)
        level, text = self._diagnostics.verdict(state, f'{topic} ({publishers} publishers)')
        values = {
            'state': state,
            'method': localizer.method if localizer else '',
            'runtime': localizer.runtime if localizer else '',
            'runtime choice': localizer.selection_reason if localizer else '',
            'threads': self._value('threads') or self._torch_threads,
            'map': self._value('map'),
            'promise': _promises(localizer),
            'map offset': str(localizer.map_offset) if localizer else '',
            'weights': self._value('weights'),
            'registration weights': self._value('registration_weights'),
            'image topic': topic,
            **self._diagnostics.values(),
        }
        stamp, name = self.get_clock().now(), self.get_fully_qualified_name()
        self._diagnostics_publisher.publish(
            messages.diagnostics_message(stamp, f'{name}: localization', level, text, values)
        )


def _promises(localizer: Localizer | None) -> str:
    """What the weights promise of fixes, in words; '' where nothing."""
    return '; '.join(map(str, localizer.calibration.promises)) if localizer else ''
