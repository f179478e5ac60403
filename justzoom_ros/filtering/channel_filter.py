"""What is new in a fix: a belief less what another filter was told of it before.

The belief holds every frame so far. Whoever fuses two of its fixes counts what they share twice,
and becomes surer than it is right. So this filter keeps what was told, carried along by the same
odometry, and takes it out of the belief: information, the inverse of a covariance, adds up where
errors are independent, and what the belief has more of it than was told is what is new. The
channel filter of decentralized fusion: Grime, Durrant-Whyte, Data fusion in decentralized sensor
networks, Control Engineering Practice 2 (1994), doi 10.1016/0967-0661(94)90349-2.
"""

from dataclasses import dataclass

import numpy as np

from justzoom_ros.filtering.motion_model import Motion, MotionNoise
from justzoom_ros.ranges import check_ranges, ranged

MOST_EXPLAINED = 0.98
"""Share of the heading's variance that the place may explain."""


@dataclass(frozen=True)
class ChannelConfig:
    """When telling begins, and begins anew. Raises ConfigError for values out of range."""

    max_heading_std_rad: float = ranged(0.3, above=0)
    """Greatest standard deviation in radians of a heading to begin with: what was told cannot be
    carried along a way of which nobody knows where it leads."""

    useless_std_m: float = ranged(1000.0, above=0)
    """An increment has no greater standard deviation, metres: nothing is new in that direction."""

    reset_squared: float = ranged(25.0, above=0)
    """Squared Mahalanobis distance between the belief and what was told above which they cannot
    both be right: the belief has changed its mind, and all of it is told again."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class Increment:
    """A measurement of the position that is independent of those told before."""

    place_m: np.ndarray
    """(2,) metres east and north of the region's centre."""

    covariance_m2: np.ndarray
    """Covariance (2, 2) of east and north."""

    is_start: bool
    """True where it is the whole belief: the first, and after a change of mind."""


class ChannelFilter:
    """What one consumer knows from us. It is told positions, and the heading once at the start."""

    def __init__(self, config: ChannelConfig | None = None) -> None:
        self.config = config or ChannelConfig()
        self.mean = np.zeros(3)
        """East, north (metres) and yaw (radians) as the consumer has it from us."""
        self.covariance: np.ndarray | None = None
        """Covariance (3, 3) of that; None before anything was told."""

    def reset(self) -> None:
        """Nothing was told."""
        self.covariance = None

    def predict(self, motion: Motion, noise: MotionNoise, scale: float = 1.0) -> None:
        """Carry what was told along a `Motion`; its `MotionNoise` counts times `scale`, as the
        covariances of the belief do."""
        if self.covariance is None:
            return
        cos, sin = np.cos(self.mean[2]), np.sin(self.mean[2])
        east = cos * motion.forward_m - sin * motion.left_m
        north = sin * motion.forward_m + cos * motion.left_m
        self.mean = self.mean + [east, north, motion.turn_rad]
        carry = np.array([[1, 0, -north], [0, 1, east], [0, 0, 1.0]])
        place, yaw = noise.position_variance_m2(motion), noise.yaw_variance_rad2(motion)
        own = scale * np.diag([place, place, yaw])
        self.covariance = carry @ self.covariance @ carry.T + own

    def tell(self, mean: np.ndarray, covariance: np.ndarray) -> Increment | None:
        """What is new in a belief, east, north and yaw (3,) with covariance (3, 3); from now on it
        was told. None as long as the heading is not known well enough to begin."""
        if self.covariance is None or self._contradicts(mean, covariance):
            return self._start(mean, covariance)
        precision = np.linalg.inv(_positive(covariance))
        more = precision - np.linalg.inv(self.covariance)
        off = mean - self.mean
        off[2] = np.remainder(off[2] + np.pi, 2 * np.pi) - np.pi
        information, vector = _of_position(more, precision @ off)
        place, spread = self._invert(information, vector)
        self._correct(place, spread)
        return Increment(place, spread, False)

    def _start(self, mean: np.ndarray, covariance: np.ndarray) -> Increment | None:
        self.covariance = None
        if covariance[2, 2] > self.config.max_heading_std_rad**2:
            return None
        # Messages of a position and of a heading do not say how their errors go together.
        self.mean, self.covariance = np.array(mean, float), np.zeros((3, 3))
        self.covariance[:2, :2], self.covariance[2, 2] = covariance[:2, :2], covariance[2, 2]
        return Increment(mean[:2].copy(), covariance[:2, :2].copy(), True)

    def _contradicts(self, mean: np.ndarray, covariance: np.ndarray) -> bool:
        """Whether the belief is where what was told says that the robot cannot be."""
        assert self.covariance is not None
        off = mean[:2] - self.mean[:2]
        spread = self.covariance[:2, :2] + covariance[:2, :2]
        return bool(off @ np.linalg.solve(spread, off) > self.config.reset_squared)

    def _invert(
        self, information: np.ndarray, vector: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Place (2,) and covariance (2, 2) of information about the place, relative to what was
        told; where a direction has none, the place told with a covariance that means nothing."""
        values, directions = np.linalg.eigh((information + information.T) / 2)
        least = 1 / self.config.useless_std_m**2
        off = np.where(values > least, directions.T @ vector / np.maximum(values, least), 0.0)
        spread = directions @ np.diag(1 / np.maximum(values, least)) @ directions.T
        return self.mean[:2] + directions @ off, (spread + spread.T) / 2

    def _correct(self, place: np.ndarray, spread: np.ndarray) -> None:
        """What the consumer does with an increment."""
        assert self.covariance is not None
        before = self.covariance
        gain = before[:, :2] @ np.linalg.inv(before[:2, :2] + spread)
        self.mean = self.mean + gain @ (place - self.mean[:2])
        self.covariance = before - gain @ before[:2]
        self.covariance = (self.covariance + self.covariance.T) / 2


def _positive(covariance: np.ndarray) -> np.ndarray:
    """The covariance (3, 3) of a pose with less correlation of place and heading where rounding or
    a scale made it impossible."""
    place, cross, yaw = covariance[:2, :2], covariance[:2, 2], covariance[2, 2]
    explained = float(cross @ np.linalg.solve(place, cross)) / yaw
    if explained < MOST_EXPLAINED:
        return covariance
    less = np.sqrt(MOST_EXPLAINED / explained)
    found = covariance.copy()
    found[:2, 2] *= less
    found[2, :2] *= less
    return found


def _of_position(information: np.ndarray, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of information about a pose that is about the place alone, whatever the heading:
    the Schur complement; all of it where there is none about the heading."""
    heading = information[2, 2]
    if heading <= 1e-9:
        return information[:2, :2], vector[:2]
    across = information[:2, 2] / heading
    place = information[:2, :2] - np.outer(across, information[2, :2])
    return place, vector[:2] - across * vector[2]
