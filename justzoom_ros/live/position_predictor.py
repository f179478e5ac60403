"""The latest fix, carried on by odometry to now: what an autopilot wants several times a second.

Works on anything that has the fields of `sensor_msgs/NavSatFix`, `nav_msgs/Odometry` and
`geometry_msgs/PoseWithCovarianceStamped`. What was said once is never said again as new.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyproj import Geod

from justzoom_ros.filtering.motion_model import Motion, MotionNoise
from justzoom_ros.filtering.odometry import Odometry
from justzoom_ros.io.motion_message import NO_FIX, pose_from_message, yaw_from_quaternion
from justzoom_ros.io.stamps import NS_PER_S, has_jumped_back, to_nanoseconds
from justzoom_ros.ranges import check_ranges, ranged

GEOD = Geod(ellps='WGS84')
YAW_VARIANCE = 35
"""Where the variance of yaw stands in a pose's covariance (6, 6), row by row."""


@dataclass(frozen=True)
class PredictorConfig:
    """How long a fix may be carried on. Raises ConfigError for values out of range."""

    max_age_s: float = ranged(10.0, above=0)
    """Seconds for which odometry carries a fix on."""

    silence_s: float = ranged(2.0, above=0)
    """Seconds without a position that is new after which there is none."""

    max_heading_std_rad: float = ranged(0.3, above=0)
    """Greatest standard deviation in radians of a heading that odometry is turned by."""

    noise: MotionNoise = MotionNoise()
    """How far odometry can be wrong."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class Position:
    """Where the robot is at a moment."""

    stamp_ns: int
    """The moment, nanoseconds since 1970: that of the image, or that of the prediction."""

    latitude: float
    """Degrees (WGS84)."""

    longitude: float
    """Degrees (WGS84)."""

    covariance_m2: np.ndarray
    """Covariance (2, 2) of east and north."""

    yaw_rad: float | None = None
    """Heading counter-clockwise from east; None where it is not known."""

    yaw_std_rad: float | None = None
    """Standard deviation of the heading; None where it is not known."""

    @property
    def std_m(self) -> float:
        """Standard deviation along the direction in which it is greatest, metres."""
        return float(np.sqrt(np.linalg.eigvalsh(self.covariance_m2)[-1]))


@dataclass(frozen=True)
class NoPosition:
    """At this moment it is not known where the robot is."""

    stamp_ns: int
    """The moment, nanoseconds since 1970."""


class PositionPredictor:
    """Takes messages as they come; `report` says what is new at a moment."""

    def __init__(self, config: PredictorConfig | None = None) -> None:
        self.config = config or PredictorConfig()
        self._odometry = Odometry()
        self._fix: Position | None = None
        self._heading: tuple[int, float, float] | None = None
        self._said_ns = self._stamp_ns = 0
        self._is_new = False

    def add_fix(self, message: Any) -> None:
        """A fix; NO_FIX ends what the one before has said."""
        if message.status.status == NO_FIX:
            self._fix = None
            self._said_ns = 0
            return
        stamp_ns = to_nanoseconds(message.header.stamp)
        covariance = np.reshape(message.position_covariance, (3, 3))[:2, :2].astype(float)
        self._fix = Position(stamp_ns, message.latitude, message.longitude, covariance)
        self._is_new = True

    def add_pose(self, message: Any) -> None:
        """The node's pose, for the heading of the fix with the same stamp."""
        std_rad = math.sqrt(max(0.0, message.pose.covariance[YAW_VARIANCE]))
        yaw_rad = yaw_from_quaternion(message.pose.pose.orientation)
        if 0 < std_rad <= self.config.max_heading_std_rad and math.isfinite(yaw_rad):
            self._heading = to_nanoseconds(message.header.stamp), yaw_rad, std_rad

    def add_odometry(self, message: Any) -> None:
        """Where the odometry says that the robot is."""
        self._odometry.add(pose_from_message(message))

    def report(self, now_ns: int) -> Position | NoPosition | None:
        """What is new at a moment (nanoseconds since 1970): the fix carried on to it by odometry;
        without odometry or heading the fix itself, once; `NoPosition` where there is none; None
        while the one before may still hold."""
        if has_jumped_back(self._said_ns, now_ns):  # a bag loops
            self._said_ns = self._stamp_ns = 0
        found = self._predicted(now_ns) or self._unsaid(now_ns)
        if found:
            self._said_ns, self._stamp_ns, self._is_new = now_ns, found.stamp_ns, False
            return found
        quiet_s = (now_ns - self._said_ns) / NS_PER_S
        return NoPosition(now_ns) if quiet_s > self.config.silence_s else None

    def _unsaid(self, now_ns: int) -> Position | None:
        fix = self._fix
        if fix is None or not self._is_new or fix.stamp_ns <= self._stamp_ns:
            return None
        return fix if self._age_s(fix, now_ns) <= self.config.max_age_s else None

    def _predicted(self, now_ns: int) -> Position | None:
        fix, heading = self._fix, self._heading
        if fix is None or heading is None or heading[0] != fix.stamp_ns:
            return None
        if not 0 <= self._age_s(fix, now_ns) <= self.config.max_age_s:
            return None
        motion = self._odometry.motion(fix.stamp_ns, now_ns)
        if motion.unknown_s > 0:
            return None
        return moved(fix, motion, now_ns, *heading[1:], self.config.noise)

    @staticmethod
    def _age_s(fix: Position, now_ns: int) -> float:
        return (now_ns - fix.stamp_ns) / NS_PER_S


def moved(
    fix: Position, motion: Motion, now_ns: int, yaw_rad: float, std_rad: float, noise: MotionNoise
) -> Position:
    """A `Position` after a `Motion` that began with a heading and its standard deviation."""
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    east = cos * motion.forward_m - sin * motion.left_m
    north = sin * motion.forward_m + cos * motion.left_m
    azimuth_deg = math.degrees(math.atan2(east, north))
    longitude, latitude, _ = GEOD.fwd(
        fix.longitude, fix.latitude, azimuth_deg, math.hypot(east, north)
    )
    yaw_variance = std_rad**2 + noise.yaw_rad**2 * motion.distance_m + motion.yaw_variance_rad2
    across = np.array([-north, east])
    own = noise.position_m**2 * motion.distance_m + motion.position_variance_m2
    covariance = fix.covariance_m2 + own * np.eye(2) + yaw_variance * np.outer(across, across)
    heading = yaw_rad + motion.turn_rad
    return Position(now_ns, latitude, longitude, covariance, heading, math.sqrt(yaw_variance))
