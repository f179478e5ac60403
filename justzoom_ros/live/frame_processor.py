"""What the node's worker does with frames, odometry and priors. No ROS in here.

The executor's thread hands over what it hears; the worker takes all of it, in the order in which
it came, before it looks at a frame.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from justzoom_ros.inference.fix import Fix, FixCriteria
from justzoom_ros.inference.multi_view import Mount
from justzoom_ros.io.motion_message import heading_from_message, pose_from_message
from justzoom_ros.live.event_queue import EventQueue
from justzoom_ros.localizer import Localizer
from justzoom_ros.pose import Pose
from justzoom_ros.tracker import Tracker, TrackerConfig

MOTIONS = ('auto', 'always', 'never')
"""When frames are seen in the light of those before them: where odometry was heard; always, even
if without odometry the belief only spreads; never."""

WITHOUT_ODOMETRY = 'no odometry yet: every frame is localized by itself'
UNKNOWN_MOTION = 'no odometry reaches up to the images: the belief spreads meanwhile'
ODOMETRY_KEPT = 60_000
"""Samples that wait for a frame: a minute at 1 kHz, which is as far back as odometry counts."""

Prior = tuple[float, float, np.ndarray]
"""Latitude and longitude in degrees, covariance (2, 2) in square metres, ENU."""


class FrameProcessor:
    """Localizes frames on a `Localizer`, in motion as MOTIONS says. `report(text)` is called once
    for each kind of trouble."""

    def __init__(
        self,
        localizer: Localizer,
        motion: str = 'auto',
        config: TrackerConfig | None = None,
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.localizer, self.motion = localizer, motion
        self.tracker = None if motion == 'never' else Tracker(localizer, config)
        # Of headings and restarts only the latest counts.
        self.events = EventQueue({'odometry': ODOMETRY_KEPT, 'heading': 1, 'restart': 1})
        self._tracking = motion == 'always'
        self._report, self._reported = report, set[str]()

    # --- the executor's thread -----------------------------------------------------------------

    def add_odometry(self, message: Any) -> None:
        """A `nav_msgs/Odometry`."""
        self.events.add('odometry', self._take_odometry, pose_from_message(message))

    def add_imu(self, message: Any) -> None:
        """A `sensor_msgs/Imu` with an orientation."""
        if measured := heading_from_message(message):
            self.events.add('heading', self._take_heading, measured)

    def begin(self, prior: Prior | None = None) -> None:
        """Forget what was seen so far; `prior` says where the robot is, otherwise it may be
        anywhere."""
        self.events.add('restart', self._take_restart, prior)

    # --- the worker's thread -------------------------------------------------------------------

    def locate(
        self,
        images: Sequence[np.ndarray],
        mounts: Sequence[Mount],
        stamp_ns: int,
        criteria: FixCriteria,
    ) -> Fix:
        """The `Fix` of the images of a rig, uint8 (H, W, 3) RGB, with their `Mount`s. Raises
        ImageError."""
        self.events.take_all()
        if not (self.tracker and self._tracking):
            if self.motion == 'auto':
                self._report_once(WITHOUT_ODOMETRY)
            return self.localizer.locate_rig(images, mounts, criteria)
        fix = self.tracker.locate(images, stamp_ns, mounts, criteria)
        if self.tracker.motion.unknown_s > 0:
            self._report_once(UNKNOWN_MOTION)
        return fix

    def _take_odometry(self, pose: Pose) -> None:
        if self.tracker:
            self._tracking = True
            self._report_once(self.tracker.add_odometry(pose))

    def _take_heading(self, measured: tuple[float, float]) -> None:
        if self.tracker:
            self.tracker.add_heading(*measured)

    def _take_restart(self, prior: Prior | None) -> None:
        self._reported.clear()
        if self.tracker is None:
            return
        self.tracker.reset()
        if prior:
            self._tracking = True
            self.tracker.start_near(*prior)

    def _report_once(self, text: str) -> None:
        if text and text not in self._reported:
            self._reported.add(text)
            self._report(text)
