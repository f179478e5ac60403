"""Where odometry says that a robot is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pose:
    """One sample of odometry: nanoseconds, metres and radians in the frame `odom`, and the
    variances of the measured speed (m2/s2) and turn rate (rad2/s2), 0 where not known."""

    stamp_ns: int
    x_m: float
    y_m: float
    yaw_rad: float
    speed_variance: float = 0.0
    yaw_rate_variance: float = 0.0
    moving: bool = False
    """The sensor says, beside the pose, that the robot moves."""
