"""How wrong the odometry really is, told by how far frames move the belief.

A frame moves the mean of a belief, and makes its covariance smaller. Where the noise of the
odometry is what is assumed, the square of the one is on average the other (Mehra, Approaches to
adaptive filtering, IEEE Transactions on Automatic Control 17 (1972), doi
10.1109/TAC.1972.1100100). Where frames move it by less, odometry is better than assumed, and worse
where they move it by more.
"""

from dataclasses import dataclass, replace

import numpy as np

from justzoom_ros.filtering.core_moments import CoreMoments
from justzoom_ros.filtering.motion_model import MotionNoise
from justzoom_ros.ranges import check_ranges, ranged

SURPRISE_SHARE = 0.05
"""Of a frame in the running mean of moves: it remembers about twenty."""


@dataclass(frozen=True)
class AdaptationConfig:
    """How fast and how far the noise follows. Raises ConfigError for values out of range."""

    rate: float = ranged(0.1, at_least=0, below=1)
    """Share by which the logarithm of the factor follows a frame; 0: the noise stays."""

    least: float = ranged(0.05, above=0, at_most=1)
    """Least factor on the variances of the odometry."""

    most: float = ranged(4.0, at_least=1)
    """Greatest factor on them."""

    least_gain: float = ranged(0.05, above=0, below=1)
    """Share of its variance that a belief must lose by a frame for the frame to say anything."""

    outlier: float = ranged(9.0, above=1)
    """A move counts as no more than so many times what was expected: frames can be wrong."""

    most_surprise: float = ranged(2.5, above=1)
    """Mean of such moves, in parts of what was expected, above which something is wrong: another
    place, camera or season than the covariances were made for."""

    def __post_init__(self) -> None:
        check_ranges(self)


class NoiseAdaptation:
    """The factor on the variances of a `MotionNoise`, from one frame to the next."""

    def __init__(self, config: AdaptationConfig | None = None) -> None:
        self.config, self.factor = config or AdaptationConfig(), 1.0
        self.surprise = 1.0

    def reset(self) -> None:
        """Nothing was learned."""
        self.factor = self.surprise = 1.0

    @property
    def is_surprised(self) -> bool:
        """Whether frames move the belief by far more than it allows for, and go on to, with the
        noise as large as it may be: frames, odometry and covariance do not fit together."""
        most = self.factor >= 0.99 * self.config.most
        return most and self.surprise > self.config.most_surprise

    def apply(self, noise: MotionNoise) -> MotionNoise:
        """The noise as it is by now; what is not measured at all stays as unknown as it was."""
        root = float(np.sqrt(self.factor))
        return replace(
            noise,
            position_m=noise.position_m * root,
            yaw_rad=noise.yaw_rad * root,
            yaw_share=noise.yaw_share * root,
        )

    def learn(self, before: CoreMoments, after: CoreMoments) -> None:
        """Take the moments of one mode before and after a frame."""
        gained = before.covariance_m2 - after.covariance_m2
        least = self.config.least_gain * np.linalg.eigvalsh(before.covariance_m2)[0]
        if np.linalg.eigvalsh(gained)[0] <= least:
            return
        moved = after.mean_m - before.mean_m
        ratio = float(moved @ np.linalg.solve(gained, moved)) / 2
        self.surprise += SURPRISE_SHARE * (min(ratio, self.config.outlier) - self.surprise)
        step = self.config.rate * (min(ratio, self.config.outlier) - 1)
        low, high = self.config.least, self.config.most
        self.factor = float(np.clip(self.factor * np.exp(step), low, high))
