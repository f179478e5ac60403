"""Frames and odometry in, fixes out: a `Localizer` for a robot that moves.

tracker = Tracker(localizer)
tracker.hear(Pose(stamp_ns, x_m, y_m, yaw_rad))       # odometry, whenever it comes
fix = tracker.locate(image_rgb, stamp_ns)
fix.latitude, fix.longitude, fix.covariance_m2, fix.yaw_rad, fix.status

Each frame's posterior is a likelihood for a `Belief` that odometry carries along. The search looks
only where the belief has mass, so that a robot that knows where it is needs little work per frame;
what it does not look into keeps the mass that the policy gives it, so frames that contradict the
belief are noticed and the search opens again.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.filtering import (
    Belief,
    BeliefConfig,
    Motion,
    MotionNoise,
    Odometry,
    OdometryConfig,
)
from justzoom_ros.inference.fix import decide_among
from justzoom_ros.inference.multi_view import combined, exponents


@dataclass(frozen=True)
class TrackerConfig:
    """`exponent` (0..1]: how much each frame says, None for what the weights were calibrated to
    (0.5 where they were not). A frame is news in proportion to the way since the last one,
    `news_m` metres or `news_rad` of turning for a whole one: what is seen twice from the same
    place is no second witness; a compass is news again after `compass_m` metres. `ignored`: mass
    of the belief (0..1) that a search may leave unexplored."""

    belief: BeliefConfig = field(default_factory=BeliefConfig)
    noise: MotionNoise = field(default_factory=MotionNoise)
    odometry: OdometryConfig = field(default_factory=OdometryConfig)
    exponent: float | None = None
    news_m: float = 20.0
    news_rad: float = 1.0
    compass_m: float = 100.0
    ignored: float = 1e-3

    def __post_init__(self):
        if self.exponent is not None and not 0 < self.exponent <= 1:
            raise ConfigError(f'exponent is {self.exponent:g}; it must lie in 0..1')
        if not (min(self.news_m, self.news_rad, self.compass_m) > 0 and 0 <= self.ignored < 1):
            raise ConfigError(
                'news_m, news_rad and compass_m must be positive, ignored lie in 0..1'
            )


UNCALIBRATED_EXPONENT = 0.5


class Tracker:
    """The belief of one robot. From one thread at a time."""

    def __init__(self, localizer, config=None):
        self.localizer, self.config = localizer, config or TrackerConfig()
        self.belief = Belief(localizer.region, localizer.covered, self.config.belief)
        fitted = localizer.calibration.get('exponent', UNCALIBRATED_EXPONENT)
        self.exponent = self.config.exponent or fitted
        self.covariance_scale = localizer.calibration.get('covariance_scale', 1.0)
        self.odometry = Odometry(self.config.odometry)
        self.reset()

    def reset(self):
        """Forget everything: the robot may be anywhere on the map."""
        self.belief.start()
        self._begin()

    def start_near(self, latitude, longitude, covariance_m2, yaw_rad=None, yaw_std_rad=0.0):
        """Begin anew round a position in degrees, covariance (2, 2) in m2, ENU. Raises ConfigError
        where that is nowhere near the map."""
        mean_m = self.localizer.region.to_enu(latitude, longitude)
        self.belief.start_near(mean_m, covariance_m2, yaw_rad, yaw_std_rad)
        self._begin()

    def _begin(self):
        # The odometry goes on: what it measured before says how the robot moves from now on.
        self.motion, self._news, self._compass = Motion(), 1.0, None
        self._seen_ns = self._seen_compass_m = None

    def hear(self, pose):
        """Take a `Pose` of the odometry; returns what was wrong with it, '' where nothing was."""
        return self.odometry.add(pose)

    def hear_compass(self, yaw_rad, std_rad):
        """A measured heading, counter-clockwise from east; it counts with the next frame."""
        self._compass = yaw_rad, std_rad

    def locate(self, images_rgb, stamp_ns, mounts=None, decision=None):
        """The `Fix` at the time of an image, uint8 (H, W, 3) RGB, or of those of a rig with their
        `Mount`s. Stamps must ascend. Raises ImageError; the robot has moved on all the same."""
        motion = Motion()
        if self._seen_ns is not None:
            motion = self.odometry.motion(self._seen_ns, stamp_ns)
        self._seen_ns = stamp_ns
        return self.update(images_rgb, motion, mounts, decision)

    def update(self, images_rgb, motion, mounts=None, decision=None):
        """As `locate`, with a `Motion` that is known already."""
        self.follow(motion)
        self._see_compass()
        images = images_rgb if mounts else [images_rgb]
        worth = self.worth()
        posteriors = [self.localizer.posterior(image, worth=worth) for image in images]
        return self.see(combined(posteriors, exponents(mounts) if mounts else None), decision)

    def follow(self, motion):
        """Move without looking."""
        self.motion, config = motion, self.config
        self.belief.move(motion, config.noise)
        moved = motion.distance_m + config.noise.unknown_m_s * motion.unknown_s
        if self._seen_compass_m is not None:
            self._seen_compass_m += moved
        self._news += moved / config.news_m + abs(motion.turn_rad) / config.news_rad

    def _see_compass(self):
        # Its error hardly changes: the first measurement counts in full, further ones slowly.
        if self._compass:
            first = self._seen_compass_m is None
            share = 1.0 if first else min(1.0, self._seen_compass_m / self.config.compass_m)
            self.belief.see_yaw(*self._compass, share)
            self._compass, self._seen_compass_m = None, 0.0

    def see(self, posterior, decision=None):
        """The `Fix` after weighing the belief by the `CellPosterior` of one frame."""
        self.weigh(posterior)
        return self.fix(decision)

    def weigh(self, posterior):
        """Weigh the belief by the `CellPosterior` of one frame."""
        self.belief.see(posterior, self.exponent, min(1.0, self._news))
        self._news = 0.0

    def fix(self, decision=None):
        """The `Fix` of the belief as it stands. Confidence and masses are of everything, off the
        map included; the first hypothesis is exact to less than a cell."""
        belief = self.belief
        posterior = belief.posterior()
        first, *others = [_scaled(mode, 1 - belief.off_map) for mode in posterior.modes()]
        mean, covariance, yaw, length = belief.moments(first.indices)
        first = replace(first, mean_m=mean, covariance_m2=covariance)
        decision = decision or self.localizer.decision
        modes, off_map = (first, *others), belief.off_map
        fix = decide_among(posterior, modes, decision, off_map, belief.points())
        fix = replace(fix, yaw_rad=yaw, yaw_std_rad=_circular_std(length))
        return _scaled_covariance(fix, self.covariance_scale) if fix.status == 'fix' else fix

    def worth(self):
        """For each level 0 .. depth - 1 which cells are worth looking into, for `search`."""
        region = self.localizer.region
        masses = self.belief.posterior().masses
        sums = (masses.reshape(region.branching**k, -1).sum(1) for k in range(region.depth))
        return [_heaviest(of_level, self.config.ignored) for of_level in sums]


def _scaled_covariance(fix, scale):
    """The fix with what calibration found its covariance to be; whether it is one stays as
    decided."""
    radius_m = fix.radius_90_m * np.sqrt(scale)
    return replace(fix, covariance_m2=fix.covariance_m2 * scale, radius_90_m=float(radius_m))


def _scaled(mode, share):
    return replace(mode, mass=mode.mass * share, mass_upper=mode.mass_upper * share)


def _circular_std(length):
    """Standard deviation (radians) of headings whose mean vector has this length (0..1)."""
    return float(np.sqrt(-2 * np.log(np.clip(length, 1e-12, 1.0))))


def _heaviest(masses, ignored):
    """Flags of the fewest masses that leave no more than `ignored` out."""
    order = np.argsort(masses)
    flags = np.ones(len(masses), bool)
    flags[order[: np.searchsorted(np.cumsum(masses[order]), ignored, side='right')]] = False
    return flags
