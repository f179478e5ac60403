"""Whether the odometry of a sequence can be used, and what to say where it cannot.

A robot whose odometry has no orientation, no stamps or another clock is worse off with it than
without: the time between its frames would be one in which it may have gone anywhere.
"""

import logging
from collections import Counter

from justzoom_ros.filtering.odometry import JUMPED_BACK, REFUSED, Odometry
from justzoom_ros.pose import Pose
from justzoom_ros.tracker import Tracker

log = logging.getLogger(__name__)


class OdometryWatch:
    """Follows the odometry that a `Tracker` hears along one sequence."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._heard = self._jumps = 0
        self._refused: Counter[str] = Counter()
        self._usable = False
        self._alone = 0
        self._frames, self._beyond = 0, 0
        self._apart_s: float | None = None

    def add(self, pose: Pose) -> None:
        """Pass a sample on to the tracker."""
        self._heard += 1
        problem = self._tracker.add_odometry(pose)
        self._jumps += problem == JUMPED_BACK
        if problem in REFUSED:
            self._refused[problem] += 1

    def is_alone(self, stamp_ns: int) -> bool:
        """Whether a frame must be localized by itself: odometry was heard, and none of it is of
        the time of this frame or of one before."""
        odometry: Odometry = self._tracker.odometry
        covered = odometry.covers(stamp_ns)
        self._usable = self._usable or covered
        self._frames += 1
        if self._usable or not self._heard:
            self._beyond += self._usable and not covered
            return False
        self._alone += 1
        self._apart_s = odometry.seconds_from(stamp_ns)
        return True

    def report(self) -> None:
        """Say, once and with the reason, what was not used, and that time jumped back."""
        if self._jumps:
            log.warning(f'{self._jumps} of {self._heard} times {JUMPED_BACK}')
        reasons = '; '.join(f'{count}: {reason}' for reason, count in self._refused.most_common())
        if self._heard and not self._usable:
            why = reasons or f'images and odometry are {self._apart_s or 0:.1f} s apart'
            log.warning(
                f'no odometry could be used ({self._heard} samples; {why}); each of '
                f'{self._alone} images was localized by itself'
            )
        elif self._beyond:
            why = f' ({self._heard} samples; {reasons})' if reasons else ''
            log.warning(
                f'the odometry does not reach up to {self._beyond} of {self._frames} images{why}: '
                'the belief spread meanwhile'
            )
        elif reasons:
            log.warning(f'of {self._heard} samples of the odometry some were not used: {reasons}')
