"""What the node's worker does with frames, odometry and priors. No ROS in here.

The executor's thread hands over what it hears; the worker takes all of it in, in the order in
which it came, before it looks at a frame.
"""

from collections import deque

from justzoom_ros.io.motion_message import compass_of, pose_of
from justzoom_ros.tracker import Tracker

MOTIONS = ('auto', 'always', 'never')
"""When frames are seen in the light of those before them: where odometry was heard; always, even
if without odometry the belief only spreads; never."""

WITHOUT_ODOMETRY = 'no odometry yet: every frame is localized by itself'
UNKNOWN_MOTION = 'no odometry reaches up to the images: the belief spreads meanwhile'
ODOMETRY_KEPT = 10_000


class FrameProcessor:
    """Localizes frames on a `Localizer`, in motion as MOTIONS says. `report(text)` is called once
    for each kind of trouble."""

    def __init__(self, localizer, motion='auto', config=None, report=lambda text: None):
        self.localizer, self.motion = localizer, motion
        self.tracker = None if motion == 'never' else Tracker(localizer, config)
        self._tracking = motion == 'always'
        self._heard, self._report, self._said = deque(maxlen=ODOMETRY_KEPT), report, set()

    # --- the executor's thread -----------------------------------------------------------------

    def add_odometry(self, message):
        """A `nav_msgs/Odometry`."""
        self._heard.append((self._take_odometry, message))

    def add_imu(self, message):
        """A `sensor_msgs/Imu` with an orientation."""
        self._heard.append((self._take_imu, message))

    def begin(self, prior=None):
        """Forget what was seen so far; `prior` (latitude, longitude, covariance) says where the
        robot is, otherwise it may be anywhere."""
        self._heard.append((self._take_begin, prior))

    # --- the worker's thread -------------------------------------------------------------------

    def locate(self, images, mounts, stamp_ns, criteria):
        """The `Fix` of the images of a rig with their `Mount`s. Raises ImageError."""
        while self._heard:
            take, message = self._heard.popleft()
            take(message)
        if not self._tracking:
            if self.motion == 'auto':
                self._say(WITHOUT_ODOMETRY)
            return self.localizer.locate_rig(images, mounts, criteria)
        fix = self.tracker.locate(images, stamp_ns, mounts, criteria)
        if self.tracker.motion.unknown_s > 0:
            self._say(UNKNOWN_MOTION)
        return fix

    def _take_odometry(self, message):
        if self.tracker:
            self._tracking = True
            self._say(self.tracker.add_odometry(pose_of(message)))

    def _take_imu(self, message):
        measured = self.tracker and compass_of(message)
        if measured:
            self.tracker.add_heading(*measured)

    def _take_begin(self, prior):
        self._said.clear()
        if self.tracker is None:
            return
        self.tracker.reset()
        if prior:
            self._tracking = True
            self.tracker.start_near(*prior)

    def _say(self, text):
        if text and text not in self._said:
            self._said.add(text)
            self._report(text)
