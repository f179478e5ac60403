"""Which fixes another filter may take as news: one in a while, of those it can live on.

Works on anything that has the fields of `sensor_msgs/NavSatFix` and
`geometry_msgs/PoseWithCovarianceStamped`. Time is that of the stamps, so it follows any clock.
"""

import math
from dataclasses import dataclass
from typing import Any

from justzoom_ros.io.motion_message import NO_FIX
from justzoom_ros.io.stamps import NS_PER_S, has_jumped_back, to_nanoseconds
from justzoom_ros.ranges import check_ranges, ranged

YAW_VARIANCE = 35
"""Where the variance of yaw stands in a pose's covariance (6, 6), row by row."""

Pair = tuple[Any, Any]
"""A fix and the pose with the same stamp."""


@dataclass(frozen=True)
class ThinnerConfig:
    """How often, and how well the heading must be known. Raises ConfigError for values out of
    range."""

    period_s: float = ranged(10.0, at_least=0)
    """Least time in seconds between two fixes: neighbouring ones share nearly all their error."""

    max_heading_std_rad: float = ranged(0.3, above=0)
    """Greatest standard deviation of the heading in radians. A filter that takes a heading which
    may be anything for a measurement soon believes that it knows it, and refuses later fixes."""

    increments: bool = False
    """Every `fix_increment` is passed on as a fix, and the heading once in a period."""

    def __post_init__(self) -> None:
        check_ranges(self)


class FixThinner:
    """Pairs fixes with poses and lets one pair through in a while."""

    def __init__(self, config: ThinnerConfig | None = None) -> None:
        self.config = config or ThinnerConfig()
        self._fix: Any = None
        self._pose: Any = None
        self._passed_ns: int | None = None

    def add_fix(self, message: Any) -> Pair | None:
        """A fix; returns the pair that may be passed on, None where there is none."""
        if message.status.status == NO_FIX:
            return None
        self._fix = message
        return self._pair()

    def add_pose(self, message: Any) -> Pair | None:
        """A pose, before its fix or after it; returns as `add_fix`."""
        variance = message.pose.covariance[YAW_VARIANCE]
        if not 0 < variance <= self.config.max_heading_std_rad**2 or not math.isfinite(variance):
            return None
        self._pose = message
        return self._pair()

    def _pair(self) -> Pair | None:
        if self._fix is None or self._pose is None:
            return None
        stamp_ns = to_nanoseconds(self._fix.header.stamp)
        if to_nanoseconds(self._pose.header.stamp) != stamp_ns or not self._is_due(stamp_ns):
            return None
        pair = self._fix, self._pose
        self._passed_ns, self._fix, self._pose = stamp_ns, None, None
        return pair

    def _is_due(self, stamp_ns: int) -> bool:
        last_ns = self._passed_ns
        if last_ns is None or has_jumped_back(last_ns, stamp_ns):
            return True
        return stamp_ns - last_ns >= self.config.period_s * NS_PER_S
