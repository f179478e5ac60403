"""How far the height that is told is from the true one, a slow state that frames tell.

    ratio = HeightRatio()
    camera = ratio.narrow(camera)            # search the heights that are still possible
    ratio.learn(camera_as_told, heights_m, best)     # at which of the searched ones a frame fitted

A barometer drifts and the ground rises, so a height above ground is known to a tenth or worse, and
every frame would be searched for at many heights. The ratio of the true height to what is told
hardly changes from one frame to the next: once a frame was found, the next ones need few heights.
Its logarithm walks at random with the way flown (a Kalman filter of one state).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt

from justzoom_ros.ranges import check_ranges, ranged
from justzoom_ros.registration.camera import Camera

REACH = 2.0
"""So many deviations to either side are searched."""

BEYOND_STD = 0.06
"""Deviation of the logarithm after a frame that fitted best at the border of what was searched."""


@dataclass(frozen=True)
class HeightRatioConfig:
    """How the ratio changes and how well a frame tells it. Raises ConfigError for values out of
    range."""

    walk: float = ranged(0.01, at_least=0)
    """Deviation of the logarithm of true to told height after a metre of way; it grows with the
    root of the way: 0.01 is a tenth after 100 m."""

    frame_std: float = ranged(0.03, above=0)
    """Deviation of the logarithm as one frame tells it."""

    least_std: float = ranged(0.036, above=0)
    """Deviation that is searched at least; 0.036 comes to three heights, each a twentieth above
    the one before."""

    def __post_init__(self) -> None:
        check_ranges(self)


class HeightRatio:
    """The ratio of true to told height. What is told is a camera's height, or the geometric mean
    of the heights that it may have."""

    def __init__(self, config: HeightRatioConfig | None = None) -> None:
        self.config = config or HeightRatioConfig()
        self.forget()

    def forget(self) -> None:
        """Nothing is known but what is told."""
        self.log_mean, self.variance = 0.0, inf

    @property
    def is_known(self) -> bool:
        """Whether a frame told it since it was forgotten."""
        return self.variance < inf

    def move(self, distance_m: float) -> None:
        """The robot has moved on, in metres."""
        self.variance += self.config.walk**2 * distance_m

    def narrow(self, camera: Camera) -> Camera:
        """The camera with those of its heights that are still possible; as it is where nothing is
        known, or where it knows better itself. Raises ConfigError for one without any height."""
        if not self.is_known:
            return camera
        low_m, high_m = camera.height_bounds()
        middle_m = sqrt(low_m * high_m) * exp(self.log_mean)
        reach = exp(REACH * max(sqrt(self.variance), self.config.least_std))
        near_m, far_m = max(low_m, middle_m / reach), min(high_m, middle_m * reach)
        if near_m >= far_m or (near_m, far_m) == (low_m, high_m):
            return camera
        return camera.with_height_range(near_m, far_m)

    def learn(self, camera: Camera, heights_m: Sequence[float], best: int) -> None:
        """A frame was searched for at ascending heights in metres, where the `camera` told a wider
        range, and fitted best at the one with the number `best`. Raises ConfigError for a camera
        without any height.

        Where that is the lowest or the highest of them, the true one may lie beyond: the next
        search starts from there and is wider.
        """
        low_m, high_m = camera.height_bounds()
        log_ratio = log(heights_m[best] / sqrt(low_m * high_m))
        if not self.is_known:
            self.log_mean, self.variance = log_ratio, self.config.frame_std**2
        elif best in (0, len(heights_m) - 1):
            self.log_mean, self.variance = log_ratio, max(self.variance, BEYOND_STD**2)
        else:
            gain = self.variance / (self.variance + self.config.frame_std**2)
            self.log_mean += gain * (log_ratio - self.log_mean)
            self.variance *= 1 - gain
