"""Flights over a map with a simulated registration: a peak at the truth, clutter, outliers."""

from dataclasses import dataclass

import numpy as np
import torch

from justzoom_ros import Region
from justzoom_ros.filtering import Motion, MotionNoise
from justzoom_ros.inference.fix import FixStatus, make_fix_from_modes

REGION = Region(latitude=48.0, longitude=11.0, side_m=320.0, grid=2, depth=4)
"""Cells of 20 m."""
CELLS = REGION.branching**REGION.depth
NOISE = MotionNoise(position_m=0.3, yaw_rad=0.01, yaw_share=0.05)


@dataclass(frozen=True)
class Ratios:
    """A registration's likelihood, made up."""

    log_ratio: torch.Tensor
    yaws_rad: np.ndarray
    step_rad: float
    cell_m: float
    west_m: float
    north_m: float


@dataclass(frozen=True)
class Peak:
    """A Gaussian in likelihood ratios, `log_height` above 1."""

    east_m: float
    north_m: float
    yaw_rad: float
    log_height: float
    std_m: float = 1.5
    std_rad: float = 0.05


def ratios_of(peaks, area, log_floor=-1.0, cell_m=2.5):
    """Ratios over an area: a low ground, and peaks on it."""
    rows = np.arange(round(2 * area.reach_m / cell_m)) + 0.5
    west, north = area.east_m - area.reach_m, area.north_m + area.reach_m
    total = np.full((len(area.yaws_rad), len(rows), len(rows)), np.exp(log_floor), np.float32)
    for peak in peaks:
        turn = (area.yaws_rad - peak.yaw_rad + np.pi) % (2 * np.pi) - np.pi
        by_yaw = np.exp(peak.log_height - (turn / peak.std_rad) ** 2 / 2)
        by_east = np.exp(-(((west + rows * cell_m - peak.east_m) / peak.std_m) ** 2) / 2)
        by_north = np.exp(-(((north - rows * cell_m - peak.north_m) / peak.std_m) ** 2) / 2)
        k, r, c = (np.flatnonzero(line > 1e-12) for line in (by_yaw, by_north, by_east))
        if len(k) and len(r) and len(c):
            part = by_yaw[k, None, None] * by_north[r, None] * by_east[c]
            total[np.ix_(k, r, c)] += part.astype(np.float32)
    logs = torch.from_numpy(np.log(total))
    return Ratios(logs, area.yaws_rad, area.yaw_step_rad, cell_m, west, north)


class Flight:
    """A robot on its way: `east_m`, `north_m`, `yaw_rad` are the truth."""

    def __init__(self, seed, step_m=8.0, outliers=0.2, correlated_m=1.0, ghosts_stay=0.5):
        self.random = np.random.default_rng(seed)
        self.east_m, self.north_m = self.random.uniform(-80, 80, 2)
        self.yaw_rad = self.random.uniform(-np.pi, np.pi)
        self.step_m, self.outliers = step_m, outliers
        self.ghosts_stay, self.ghost = ghosts_stay, None
        # Errors of registration that stay for a while: the map itself is off.
        self.correlated_m, self.bias_m = correlated_m, np.zeros(2)
        self.advance_bias(1e9)

    def advance_bias(self, distance_m, length_m=30.0):
        kept = np.exp(-distance_m / length_m)
        fresh = self.random.normal(0, self.correlated_m, 2)
        self.bias_m = kept * self.bias_m + np.sqrt(1 - kept**2) * fresh

    def fly(self):
        """Move on; returns the `Motion` that odometry makes of it."""
        turn = self.random.normal(0, 0.1)
        if max(abs(self.east_m), abs(self.north_m)) > 100:  # back to the middle
            home = np.arctan2(-self.north_m, -self.east_m)
            turn = np.clip((home - self.yaw_rad + np.pi) % (2 * np.pi) - np.pi, -0.5, 0.5)
        self.east_m += self.step_m * np.cos(self.yaw_rad)
        self.north_m += self.step_m * np.sin(self.yaw_rad)
        self.yaw_rad += turn
        self.advance_bias(self.step_m)
        slip = self.random.normal(0, NOISE.position_m * np.sqrt(self.step_m), 2)
        wrong = np.hypot(NOISE.yaw_rad * np.sqrt(self.step_m), NOISE.yaw_share * turn)
        heard = turn + self.random.normal(0, wrong)
        return Motion(self.step_m + slip[0], slip[1], heard, self.step_m, 1.0)

    def peaks(self, std_m=1.5, std_rad=0.05):
        """What the frame at hand shows: the truth, or with the probability of an outlier some
        other place; and clutter. An outlier may go along with the robot for a while."""
        random = self.random
        clutter = [self.false_peak(random.normal(6, 2)) for _ in range(3)]
        if random.random() < self.outliers:
            if self.ghost is None or random.random() > self.ghosts_stay:
                self.ghost = random.uniform(-120, 120, 2), random.uniform(-np.pi, np.pi)
            away, turn = self.ghost
            east, north = away + (self.east_m, self.north_m)
            return [*clutter, Peak(east, north, self.yaw_rad + turn, random.normal(12, 2.5))]
        east, north = random.normal(0, std_m, 2) + self.bias_m + (self.east_m, self.north_m)
        yaw = self.yaw_rad + random.normal(0, std_rad)
        return [*clutter, Peak(east, north, yaw, random.normal(15, 2.5), std_m, std_rad)]

    def false_peak(self, log_height):
        east, north = self.random.uniform(-160, 160, 2)
        return Peak(east, north, self.random.uniform(-np.pi, np.pi), log_height)


def fix_of(belief, criteria=None):
    """The fix of a belief, as a tracker makes it, and its yaw with its deviation."""
    posterior = belief.posterior()
    on_map = 1 - belief.off_map
    first, *others = [
        _replaced(mode, mass=mode.mass * on_map, mass_upper=mode.mass_upper * on_map)
        for mode in posterior.modes()
    ]
    mean, covariance, yaw, length = belief.moments(first.indices)
    first = _replaced(first, mean_m=mean, covariance_m2=covariance)
    fix = make_fix_from_modes(
        posterior, (first, *others), criteria, belief.off_map, belief.points()
    )
    std = float(np.sqrt(-2 * np.log(np.clip(length, 1e-12, 1))))
    return _replaced(fix, yaw_rad=yaw, yaw_std_rad=std)


def _replaced(value, **changes):
    return type(value)(**{**{n: getattr(value, n) for n in value.__dataclass_fields__}, **changes})


@dataclass(frozen=True)
class Scored:
    """One frame of a flight against the truth."""

    sure: bool
    error_m: float
    squared: float
    """Mahalanobis distance squared of the fix."""
    yaw_error_rad: float
    yaw_std_rad: float
    radius_90_m: float
    searched_m: float


def fly_and_score(belief, flight, frames, exponent, decorrelation_m, unexplored=0.01):
    """`Scored` frames of a flight, which a tracker would follow like this."""
    scored, novelty = [], 1.0
    for number in range(frames):
        if number:
            motion = flight.fly()
            belief.predict(motion, NOISE)
            novelty = min(1.0, motion.distance_m / decorrelation_m)
        area = belief.search_area(unexplored)
        belief.update_poses(ratios_of(flight.peaks(), area), exponent, novelty)
        fix = fix_of(belief)
        error = np.array([fix.east_m - flight.east_m, fix.north_m - flight.north_m])
        turn = (fix.yaw_rad - flight.yaw_rad + np.pi) % (2 * np.pi) - np.pi
        scored.append(
            Scored(
                fix.status is FixStatus.FIX,
                float(np.hypot(*error)),
                float(error @ np.linalg.solve(fix.covariance_m2, error)),
                float(turn), fix.yaw_std_rad, fix.radius_90_m, area.reach_m,
            )
        )  # fmt: skip
    return scored
