"""The last seconds of wheel or visual odometry, and the movement between any two moments of them.

Odometry comes at its own rate and with its own faults. Between samples it is interpolated; what
cannot be trusted (a jump, a silence) is time in which nothing was measured, never a movement.
"""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

import numpy as np

from justzoom_ros.filtering.motion_model import Motion
from justzoom_ros.io.stamps import has_jumped_back
from justzoom_ros.pose import Pose
from justzoom_ros.ranges import check_ranges, ranged

KEPT_S = 60.0
"""Frames are never later than this behind the odometry."""

LATE = 'a stamp of the odometry is not later than the one before; it is left out'
NOT_FINITE = 'a pose of the odometry is not finite; it is left out'
NO_ROTATION = (
    'a pose of the odometry is not finite: its orientation is no rotation (a quaternion of '
    'zeros?); it is left out'
)
UNSET = 'the odometry has no stamps (header.stamp is zero); it is left out'
REFUSED = (LATE, NOT_FINITE, NO_ROTATION, UNSET)
"""What is wrong with samples that are left out."""

JUMPED = 'the odometry jumps, faster than the robot can move'
JUMPED_BACK = (
    'stamps of the odometry jumped back, so it begins anew: keep the clocks of camera and '
    'odometry in step, and one source on its topic (a bag that loops does this, too)'
)
FROZEN = 'the odometry is frozen: its pose stands while its twist moves'


@dataclass(frozen=True)
class OdometryConfig:
    """Which samples of the odometry are believed. Raises ConfigError where one is not positive."""

    max_gap_s: float = ranged(0.5, above=0)
    """Seconds after a sample for which its speed is taken to go on."""

    max_speed_m_s: float = ranged(60.0, above=0)
    """Speed in m/s above which a pose has jumped."""

    frozen_s: float = ranged(1.0, above=0)
    """Seconds after which a pose that does not change, while the twist moves, is frozen."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class _Sample:
    """A moment on the path so far, without jumps. `path` (7,) holds running sums: x, y, yaw
    (unwrapped), distance, variance of position, of yaw, unknown seconds."""

    stamp_ns: int
    path: np.ndarray


class Odometry:
    """A buffer of `Pose`s. Samples must come in the order of their stamps."""

    def __init__(self, config: OdometryConfig | None = None) -> None:
        self.config = config or OdometryConfig()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._samples: deque[_Sample] = deque()
        self._last: Pose | None = None
        self._still_since_ns: int | None = None
        self._told: tuple[int, np.ndarray] | None = None
        self._jumped_back_ns: int | None = None

    def add(self, pose: Pose) -> str:
        """Take one sample; returns what was wrong with it in words, '' where nothing was.

        A sample that is no later than the last, or not finite, is left out. A jump counts as a
        time without measurement, as does the time of a frozen pose. Where time jumps back (a
        clock that is set, a bag that loops) everything begins anew.
        """
        if not np.isfinite([pose.x_m, pose.y_m]).all():
            return NOT_FINITE
        if not np.isfinite(pose.yaw_rad):
            return NO_ROTATION
        if self._last is None:
            self._begin(pose)
            return ''
        if has_jumped_back(self._last.stamp_ns, pose.stamp_ns):
            self.reset()
            self._jumped_back_ns = pose.stamp_ns
            self._begin(pose)
            return JUMPED_BACK
        seconds = (pose.stamp_ns - self._last.stamp_ns) / 1e9
        if seconds <= 0:
            return UNSET if pose.stamp_ns <= 0 else LATE
        problem, step = self._step(self._last, pose, seconds)
        self._samples.append(_Sample(pose.stamp_ns, self._samples[-1].path + step))
        self._last = pose
        while (pose.stamp_ns - self._samples[0].stamp_ns) / 1e9 > KEPT_S:
            self._samples.popleft()
        return problem

    def motion(self, from_ns: int, to_ns: int) -> Motion:
        """The `Motion` from one moment to a later one. Where it goes on from the end of the last
        one, it makes up for what was only guessed there, since samples came later."""
        seconds = max(0.0, (to_ns - from_ns) / 1e9)
        if not self._samples or seconds == 0:
            return Motion.unknown(seconds)
        told = self._told
        start = told[1] if told and told[0] == from_ns else self._at(from_ns)
        end = self._at(to_ns)
        self._told = to_ns, end
        step = end - start
        step[3:] = step[3:].clip(0)  # a guess may have gone too far
        forward, left = _rotation(-start[2]) @ step[:2]
        return Motion(
            forward, left, step[2], step[3], seconds,
            unknown_s=min(seconds, step[6]),
            position_variance_m2=step[4], yaw_variance_rad2=step[5],
        )  # fmt: skip

    def covers(self, stamp_ns: int) -> bool:
        """Whether a moment lies among the samples, or no more than `max_gap_s` beside them."""
        return bool(self._samples) and self.seconds_from(stamp_ns) <= self.config.max_gap_s

    def seconds_from(self, stamp_ns: int) -> float:
        """Seconds from a moment to the samples that are kept; 0 among them, infinite where there
        are none."""
        if not self._samples:
            return np.inf
        first, last = self._samples[0].stamp_ns, self._samples[-1].stamp_ns
        return max(first - stamp_ns, stamp_ns - last, 0) / 1e9

    @property
    def steady_s(self) -> float:
        """Seconds of samples since their stamps jumped back; infinite where they did not."""
        if self._jumped_back_ns is None or self._last is None:
            return np.inf
        return (self._last.stamp_ns - self._jumped_back_ns) / 1e9

    def _begin(self, pose: Pose) -> None:
        self._samples.append(_Sample(pose.stamp_ns, np.zeros(7)))
        self._last = pose

    def _step(self, last: Pose, pose: Pose, seconds: float) -> tuple[str, np.ndarray]:
        """(what is wrong, the step (7,) along the path) from the last pose to this one."""
        moved = np.array([pose.x_m - last.x_m, pose.y_m - last.y_m])
        distance = float(np.hypot(*moved))
        turn = (pose.yaw_rad - last.yaw_rad + np.pi) % (2 * np.pi) - np.pi
        unknown = np.array([0, 0, 0, 0, 0, 0, seconds])
        if distance > self.config.max_speed_m_s * seconds:
            return JUMPED, unknown
        if self._is_frozen(last, pose, distance, turn):
            return FROZEN, unknown
        # The path so far may have another origin than the odometry: its start, and jumps.
        x, y = _rotation(self._samples[-1].path[2] - last.yaw_rad) @ moved
        noise = pose.speed_variance * seconds**2, pose.yaw_rate_variance * seconds**2
        return '', np.array([x, y, turn, distance, *noise, 0.0])

    def _is_frozen(self, last: Pose, pose: Pose, distance: float, turn: float) -> bool:
        if distance > 0 or turn != 0 or not pose.moving:
            self._still_since_ns = None
            return False
        if self._still_since_ns is None:
            self._still_since_ns = last.stamp_ns
        return (pose.stamp_ns - self._still_since_ns) / 1e9 > self.config.frozen_s

    def _at(self, stamp_ns: int) -> np.ndarray:
        """The path (7,) at a moment: between samples linear, beyond them going on for max_gap_s,
        after which time goes by unmeasured."""
        samples = self._samples
        number = bisect_left(samples, stamp_ns, key=lambda sample: sample.stamp_ns)
        if 0 < number < len(samples):
            return _between(samples[number - 1], samples[number], stamp_ns)
        end = samples[0] if number == 0 else samples[-1]
        beyond_s = (stamp_ns - end.stamp_ns) / 1e9
        if number == 0:
            return end.path + np.array([0, 0, 0, 0, 0, 0, beyond_s])
        known_s = min(beyond_s, self.config.max_gap_s)
        path = _between(*self._last_two(), end.stamp_ns + round(known_s * 1e9))
        return path + np.array([0, 0, 0, 0, 0, 0, beyond_s - known_s])

    def _last_two(self) -> tuple[_Sample, _Sample]:
        samples = self._samples
        return (samples[-2] if len(samples) > 1 else samples[-1]), samples[-1]


def _between(one: _Sample, other: _Sample, stamp_ns: int) -> np.ndarray:
    span_ns = other.stamp_ns - one.stamp_ns
    share = (stamp_ns - one.stamp_ns) / span_ns if span_ns else 1.0
    return one.path + share * (other.path - one.path)


def _rotation(angle_rad: float) -> np.ndarray:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cos, -sin], [sin, cos]])
