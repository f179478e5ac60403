"""What the node's worker does with frames, odometry and priors. No ROS in here.

The executor's thread hands over what it hears; the worker takes all of it, in the order in which
it came, before it looks at a frame.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from justzoom_ros.errors import ConfigError, ImageError, ViewError
from justzoom_ros.filtering.odometry import JUMPED_BACK
from justzoom_ros.inference.fix import Fix, FixCriteria, make_no_fix
from justzoom_ros.inference.multi_view import Mount
from justzoom_ros.io.motion_message import heading_from_message, pose_from_message
from justzoom_ros.live.belief_memory import BeliefMemory
from justzoom_ros.live.camera_sensors import CameraSensors
from justzoom_ros.live.event_queue import EventQueue
from justzoom_ros.live.fix_increments import FixIncrements
from justzoom_ros.live.map_alignment import MapAlignment
from justzoom_ros.live.samples import Moment
from justzoom_ros.localizer import Localizer
from justzoom_ros.pose import Pose
from justzoom_ros.registration.camera_state import CameraState
from justzoom_ros.tracker import Tracker, TrackerConfig

MOTIONS = ('auto', 'always', 'never')
"""When frames are seen in the light of those before them: where odometry was heard; always, even
if without odometry the belief only spreads; never."""

WITHOUT_ODOMETRY = 'no odometry yet: every frame is localized by itself'
UNKNOWN_MOTION = 'no odometry reaches up to the images: the belief spreads meanwhile'
REMEMBERED = 'the start is where the robot was before the node ended, widened by the time since'
SURPRISED = (
    'frames move the belief more than its covariance and the odometry allow: fixes are less sure '
    'than they say (another place, camera or season than the weights were calibrated on?)'
)
STEADY_S = 10.0
"""After so many seconds of samples in order a clock that jumped back is steady again."""
ODOMETRY_KEPT = 60_000
"""Samples that wait for a frame: a minute at 1 kHz, which is as far back as odometry counts."""
GNSS_KEPT = 1000
"""Positions of a receiver that wait for a frame."""

Prior = tuple[float, float, np.ndarray]
"""Latitude and longitude in degrees, covariance (2, 2) in square metres, ENU."""


class FrameProcessor:
    """Localizes frames on a `Localizer`, in motion as MOTIONS says. `report(text)` is called once
    for each kind of trouble. `state` is what was known of the camera at the latest frame that was
    registered, None before. `memory` is where positions are kept over a crash,
    `alignment` learns the offset of the map. `increment` is what was new in the latest fix, None
    where there was none or frames are localized by themselves."""

    def __init__(
        self,
        localizer: Localizer,
        motion: str = 'auto',
        config: TrackerConfig | None = None,
        report: Callable[[str], None] = lambda text: None,
        sensors: CameraSensors | None = None,
        memory: BeliefMemory | None = None,
        alignment: MapAlignment | None = None,
    ) -> None:
        self.localizer, self.motion = localizer, motion
        self.memory, self._recalls = memory, False
        self.alignment = alignment
        self.increment: Fix | None = None
        self.sensors = sensors
        self.state: CameraState | None = None
        self.tracker = None if motion == 'never' else Tracker(localizer, config)
        self.increments = self.tracker and FixIncrements(
            localizer.region, self.tracker.covariance_scale
        )
        # Of headings and restarts only the latest counts.
        self.events = EventQueue(
            {'odometry': ODOMETRY_KEPT, 'heading': 1, 'restart': 1, 'gnss': GNSS_KEPT}
        )
        self._tracking = motion == 'always'
        self._clock_jumped = False
        self._report, self._reported = report, set[str]()

    # --- the executor's thread -----------------------------------------------------------------

    def add_odometry(self, message: Any) -> None:
        """A `nav_msgs/Odometry`."""
        self.events.add('odometry', self._take_odometry, pose_from_message(message))

    def add_imu(self, message: Any) -> None:
        """A `sensor_msgs/Imu` with an orientation."""
        if measured := heading_from_message(message):
            self.events.add('heading', self._take_heading, measured)

    def add_gnss(self, message: Any) -> None:
        """A `sensor_msgs/NavSatFix` of a trusted receiver, which says how far the map is off."""
        if self.alignment:
            self.events.add('gnss', self.alignment.add_position, message)

    @property
    def group(self) -> str:
        """What fixes are at present, as promises have it: 'tracking' or 'single'."""
        return 'tracking' if self.tracker and self._tracking else 'single'

    @property
    def doubt(self) -> str:
        """What is wrong at present though frames are localized: a clock that jumped back, or
        covariances that should not be trusted; '' where nothing is."""
        if self._clock_jumped:
            return JUMPED_BACK
        if self.tracker and self._tracking and self.tracker.adaptation.is_surprised:
            return SURPRISED
        return ''

    def begin(self, prior: Prior | None = None) -> None:
        """Forget what was seen so far; `prior` says where the robot is, otherwise it may be
        anywhere."""
        self.events.add('restart', self._take_restart, prior)

    def resume(self) -> None:
        """As `begin`, from where the robot was when a node before this one ended, if that is
        remembered."""
        self.events.add('restart', self._take_resume, None)

    # --- the worker's thread -------------------------------------------------------------------

    def locate(
        self,
        images: Sequence[np.ndarray],
        mounts: Sequence[Mount],
        stamp_ns: int,
        criteria: FixCriteria,
        arrived_s: float | None = None,
    ) -> Fix:
        """The `Fix` of the images of a rig, uint8 (H, W, 3) RGB, with their `Mount`s, which
        arrived at `arrived_s` on the monotonic clock, now unless given. Where an image cannot be
        registered, for want of a height, a lens or a view of the ground, odometry alone speaks, or
        there is no fix. Raises ImageError."""
        self.events.take_all()
        moment = Moment(stamp_ns, time.monotonic() if arrived_s is None else arrived_s)
        if self._recalls:
            self._recall(stamp_ns)
        self.increment = None
        if not (self.tracker and self._tracking):
            if self.motion == 'auto':
                self._report_once(WITHOUT_ODOMETRY)
            return self._locate_alone(images, mounts, moment, criteria)
        fix = self._follow(self.tracker, images, mounts, moment, criteria)
        if self.tracker.motion.unknown_s > 0:
            self._report_once(UNKNOWN_MOTION)
        self._watch_clock(self.tracker, stamp_ns)
        if self.increments:
            self.increment = self.increments.add(fix, self.tracker.motion, self.tracker.noise)
        if self.memory:
            self.memory.remember(fix, stamp_ns, self.tracker.motion.speed_m_s)
        if self.alignment:
            self.alignment.add_fix(self.tracker.fix_on_map(criteria), stamp_ns)
        return fix

    def _locate_alone(
        self,
        images: Sequence[np.ndarray],
        mounts: Sequence[Mount],
        moment: Moment,
        criteria: FixCriteria,
    ) -> Fix:
        """The `Fix` of the images by themselves; its heading is that of the robot."""
        if self.localizer.registrar is None:
            return self.localizer.locate_rig(images, mounts, criteria)
        try:
            return self._register(images, mounts, self._state_at(moment), criteria)
        except ViewError as error:
            return make_no_fix(self.localizer.region, self._reason(error))

    def _follow(
        self,
        tracker: Tracker,
        images: Sequence[np.ndarray],
        mounts: Sequence[Mount],
        moment: Moment,
        criteria: FixCriteria,
    ) -> Fix:
        """The `Fix` of the images in the light of those before."""
        stamp_ns = moment.stamp_ns or 0
        if self.localizer.registrar is None:
            return tracker.locate(images, stamp_ns, mounts, criteria)
        try:
            state = self._state_at(moment)
        except ViewError as error:
            return self._explain(tracker.pass_by(stamp_ns, criteria), error)
        if state.yaw_rad is not None and state.yaw_std_rad is not None:
            tracker.add_heading(state.yaw_rad - state.mount_yaw_rad, state.yaw_std_rad)
        try:
            return tracker.locate(images, stamp_ns, mounts, criteria, state)
        except (ConfigError, ImageError) as error:
            # The robot has moved on all the same.
            return self._explain(tracker.fix(criteria), _unfit(error))

    def _state_at(self, moment: Moment) -> CameraState:
        """What is known of the camera. Raises ViewError where that is not enough."""
        self.state = None
        known = CameraState(self.localizer.camera)
        self.state = self.sensors.state_at(moment) if self.sensors else known
        return self.state

    def _register(
        self,
        images: Sequence[np.ndarray],
        mounts: Sequence[Mount],
        state: CameraState,
        criteria: FixCriteria,
    ) -> Fix:
        """The `Fix` of the images of a rig, registered. Raises ViewError where it does not fit the
        map."""
        try:
            fix = self.localizer.locate_rig(images, mounts, criteria, state)
        except (ConfigError, ImageError) as error:
            raise _unfit(error) from error
        if fix.yaw_rad is None:
            return fix
        yaw_rad = math.remainder(fix.yaw_rad - state.mount_yaw_rad, 2 * math.pi)
        return replace(fix, yaw_rad=yaw_rad)

    def _explain(self, fix: Fix, error: ViewError) -> Fix:
        """A fix of odometry alone; where it is none, with the reason for which nobody looked."""
        reason = self._reason(error)
        return replace(fix, reason=reason) if fix.reason else fix

    def _reason(self, error: ViewError) -> str:
        """The text of an error, which is reported once for each kind."""
        text = str(error)
        self._report_once(text, kind=text.partition(':')[0])
        return text

    def _take_odometry(self, pose: Pose) -> None:
        if self.tracker:
            self._tracking = True
            problem = self.tracker.add_odometry(pose)
            self._clock_jumped = self._clock_jumped or problem == JUMPED_BACK
            self._report_once(problem)

    def _watch_clock(self, tracker: Tracker, stamp_ns: int) -> None:
        """A clock of the odometry that jumped back is well again once it is steady and reaches up
        to the images; the next jump is told again."""
        odometry = tracker.odometry
        if self._clock_jumped and odometry.steady_s >= STEADY_S and odometry.covers(stamp_ns):
            self._clock_jumped = False
            self._reported.discard(JUMPED_BACK)

    def _take_heading(self, measured: tuple[float, float]) -> None:
        if self.tracker:
            self.tracker.add_heading(*measured)

    def _take_restart(self, prior: Prior | None) -> None:
        self._reported.clear()
        self._recalls = False
        if self.memory:
            self.memory.forget()
        if self.tracker is None:
            return
        self._reset(self.tracker)
        if prior:
            self._tracking = True
            self.tracker.start_near(*prior)

    def _take_resume(self, nothing: None) -> None:
        self._reported.clear()
        if self.tracker is not None:
            self._reset(self.tracker)
            self._recalls = self.memory is not None

    def _reset(self, tracker: Tracker) -> None:
        tracker.reset()
        self._clock_jumped = False
        if self.increments:
            self.increments.reset()

    def _recall(self, stamp_ns: int) -> None:
        """Start where the robot was, as far as that is remembered at the time of a frame."""
        self._recalls = False
        last = self.memory.recall(stamp_ns) if self.memory else None
        if last is None or self.tracker is None:
            return
        place = last.latitude, last.longitude, last.covariance_m2
        try:
            self.tracker.start_near(*place, last.yaw_rad, last.yaw_std_rad)
        except ConfigError as error:
            self._reset(self.tracker)
            return self._report_once(str(error))
        self._tracking = True
        self._report_once(REMEMBERED)

    def _report_once(self, text: str, kind: str = '') -> None:
        """Report a text, if none of its kind was reported yet."""
        if text and (kind or text) not in self._reported:
            self._reported.add(kind or text)
            self._report(text)


def _unfit(error: Exception) -> ViewError:
    """What registration says of an image that does not fit, as a ViewError of its kind."""
    return ViewError(f'no view to register: {error}')
