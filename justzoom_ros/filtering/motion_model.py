"""What is known of a robot's movement between two frames, and how far that can be wrong."""

from dataclasses import dataclass

import numpy as np

from justzoom_ros.ranges import check_ranges, ranged


@dataclass(frozen=True)
class Motion:
    """A movement as the robot sees it, in the frame that it started in (REP-103)."""

    forward_m: float = 0.0
    """Displacement along the heading at the start."""

    left_m: float = 0.0
    """Displacement to the left of the heading at the start."""

    turn_rad: float = 0.0
    """Change of the heading, counter-clockwise."""

    distance_m: float = 0.0
    """Length of the path."""

    duration_s: float = 0.0
    """Time that it took."""

    unknown_s: float = 0.0
    """Part of that time in which nothing was measured."""

    position_variance_m2: float = 0.0
    """What the odometry itself says of its error in position, per axis."""

    yaw_variance_rad2: float = 0.0
    """What the odometry itself says of its error in the turn."""

    @property
    def speed_m_s(self) -> float:
        """Mean speed where something was measured, 0 where nothing was."""
        measured_s = self.duration_s - self.unknown_s
        return self.distance_m / measured_s if measured_s > 0 else 0.0

    @classmethod
    def unknown(cls, duration_s: float) -> 'Motion':
        """A movement of which nothing was measured."""
        return cls(duration_s=duration_s, unknown_s=duration_s)

    def south_east_m(self, yaws_rad: np.ndarray) -> np.ndarray:
        """Displacement (K, 2) to the south and east of a robot that started with each of K
        headings."""
        cos, sin = np.cos(yaws_rad), np.sin(yaws_rad)
        south = -self.forward_m * sin - self.left_m * cos
        return np.stack([south, self.forward_m * cos - self.left_m * sin], axis=1)


@dataclass(frozen=True)
class MotionNoise:
    """How far odometry can be wrong: standard deviations, and one rate. Raises ConfigError where
    one is negative or not finite."""

    position_m: float = ranged(0.5, at_least=0)
    """Error of the position, metres per root metre travelled, each axis."""

    yaw_rad: float = ranged(0.01, at_least=0)
    """Error of the heading, radians per root metre travelled."""

    yaw_share: float = ranged(0.05, at_least=0)
    """Error of the heading, as a share of each turn."""

    unknown_m_s: float = ranged(3.0, at_least=0)
    """Speed in m/s that the robot may have while nothing is measured."""

    unknown_rad_s: float = ranged(0.3, at_least=0)
    """Turn rate in rad/s that the robot may have while nothing is measured."""

    kidnap_rate_per_s: float = ranged(1e-4, at_least=0)
    """Rate per second at which anything may happen: the robot is carried off, or the belief was
    wrong."""

    def __post_init__(self) -> None:
        check_ranges(self)

    def position_variance_m2(self, motion: Motion) -> float:
        """Variance of the displacement of a `Motion`, each axis."""
        return (
            motion.position_variance_m2
            + self.position_m**2 * motion.distance_m
            + (self.unknown_m_s * motion.unknown_s) ** 2
        )

    def yaw_variance_rad2(self, motion: Motion) -> float:
        """Variance of the turn of a `Motion`."""
        return (
            motion.yaw_variance_rad2
            + self.yaw_rad**2 * motion.distance_m
            + (self.yaw_share * motion.turn_rad) ** 2
            + (self.unknown_rad_s * motion.unknown_s) ** 2
        )

    def kidnap_probability(self, motion: Motion) -> float:
        """Probability (0..1) that during a `Motion` anything at all happened."""
        return float(-np.expm1(-self.kidnap_rate_per_s * motion.duration_s))
