"""Where odometry says that a robot is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pose:
    """One sample of odometry, in the frame `odom`, whose origin and direction mean nothing."""

    stamp_ns: int
    """When, nanoseconds since 1970."""

    x_m: float
    """Position along the frame's first axis."""

    y_m: float
    """Position along the frame's second axis, to the left of the first."""

    yaw_rad: float
    """Where the robot points, counter-clockwise from the first axis."""

    speed_variance: float = 0.0
    """Variance of the measured speed, m2/s2; 0 where not known."""

    yaw_rate_variance: float = 0.0
    """Variance of the measured turn rate, rad2/s2; 0 where not known."""

    moving: bool = False
    """The sensor says, beside the pose, that the robot moves."""
