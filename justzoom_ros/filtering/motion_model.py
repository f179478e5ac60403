"""What is known of a robot's movement between two frames, and how far that can be wrong."""

from dataclasses import dataclass

import numpy as np

from justzoom_ros.errors import ConfigError


@dataclass(frozen=True)
class Motion:
    """A movement as the robot sees it: `forward_m`, `left_m` in the frame that it started in
    (REP-103), `turn_rad` counter-clockwise, `distance_m` the length of the way, `duration_s`.

    For `unknown_s` of that time nothing was measured. `position_variance_m2` (per axis) and
    `yaw_variance_rad2` are what the odometry itself says of its error.
    """

    forward_m: float = 0.0
    left_m: float = 0.0
    turn_rad: float = 0.0
    distance_m: float = 0.0
    duration_s: float = 0.0
    unknown_s: float = 0.0
    position_variance_m2: float = 0.0
    yaw_variance_rad2: float = 0.0

    @classmethod
    def unknown(cls, duration_s):
        """A movement of which nothing was measured."""
        return cls(duration_s=duration_s, unknown_s=duration_s)


@dataclass(frozen=True)
class MotionNoise:
    """How far odometry can be wrong: standard deviations, and one rate. Raises ConfigError where
    one is negative."""

    position_m: float = 0.5
    """Metres per root metre travelled, each axis."""

    yaw_rad: float = 0.01
    """Radians per root metre travelled."""

    yaw_share: float = 0.05
    """Share of each turn."""

    unknown_m_s: float = 3.0
    """Speed that the robot may have while nothing is measured."""

    unknown_rad_s: float = 0.3
    """Turn rate that the robot may have while nothing is measured."""

    kidnap_rate_per_s: float = 1e-4
    """Rate at which anything at all may happen: the robot is carried off, the belief was wrong."""

    def __post_init__(self):
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value >= 0):
                raise ConfigError(f'motion noise {name} is {value}; it must be 0 or more')

    def position_variance_m2(self, motion):
        """Variance of the displacement of a `Motion`, each axis."""
        return (
            motion.position_variance_m2
            + self.position_m**2 * motion.distance_m
            + (self.unknown_m_s * motion.unknown_s) ** 2
        )

    def yaw_variance_rad2(self, motion):
        """Variance of the turn of a `Motion`."""
        return (
            motion.yaw_variance_rad2
            + self.yaw_rad**2 * motion.distance_m
            + (self.yaw_share * motion.turn_rad) ** 2
            + (self.unknown_rad_s * motion.unknown_s) ** 2
        )

    def kidnap_probability(self, motion):
        """Probability (0..1) that during a `Motion` anything at all happened."""
        return float(-np.expm1(-self.kidnap_rate_per_s * motion.duration_s))
