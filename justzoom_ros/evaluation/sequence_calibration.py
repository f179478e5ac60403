"""How much a frame may say to a belief: one exponent, fitted on sequences whose truth is known.

Frames of one sequence share their errors: the same wrong corner fools the policy ten times.
Multiplying their likelihoods as if they were independent makes a belief surer than it is right, so
each is raised to an exponent (a power likelihood, as in Bissiri, Holmes, Walker 2016,
doi 10.1111/rssb.12158) under which the belief, frame by frame, gives the truth most mass.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.errors import BagError
from justzoom_ros.filtering import Motion, Odometry
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.inference.posterior import CHI2_2DOF, CellPosterior
from justzoom_ros.io.bags import IMAGE_TYPES, ODOMETRY_TYPES, TRUTH_TYPES, Bag, read_track
from justzoom_ros.io.sequences import (
    ClockJumpEvent,
    Event,
    FrameEvent,
    OdometryEvent,
    SequenceTopics,
    events_of_bag,
)
from justzoom_ros.localizer import Localizer
from justzoom_ros.radii import NEAR_M
from justzoom_ros.tracker import Tracker, TrackerConfig

EXPONENTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
LEAST_MASS = 1e-9
ENOUGH = 100
"""Fixes that a factor on covariances is fitted on at least."""


@dataclass(frozen=True)
class Observation:
    """One frame of a sequence."""

    motion: Motion
    """The movement since the frame before, by the odometry."""

    posterior: CellPosterior
    """What the policy says of the frame alone."""

    truth_m: tuple[float, float]
    """The true position, metres east and north of the region's centre."""


@dataclass(frozen=True)
class ExponentFit:
    """A fitted exponent and what it is from."""

    likelihood_exponent: float
    """Power (0..1] of each frame's likelihood."""

    sequences: int
    """How many it was fitted on."""

    frames: int
    """How many the sequences have together."""

    nll_before: float
    """Mean negative logarithm of the mass within NEAR_M of the truth with exponent 1, nats."""

    nll_after: float
    """The same with the fitted exponent."""

    def added_to(self, calibration: Calibration) -> Calibration:
        """The `Calibration` with this exponent."""
        return replace(
            calibration,
            likelihood_exponent=self.likelihood_exponent,
            exponent_sequences=self.sequences,
            exponent_frames=self.frames,
            exponent_nll_before=self.nll_before,
            exponent_nll_after=self.nll_after,
        )


def observe_bag(path: str | Path, localizer: Localizer) -> list[Observation]:
    """The Observations of a bag with images, odometry and true positions, one topic of each.
    Raises BagError, ImageError."""
    with Bag(path) as bag:
        track = read_track(bag, bag.topic(TRUTH_TYPES))
        topics = SequenceTopics(bag.topic(IMAGE_TYPES), bag.topic(ODOMETRY_TYPES))
        return observe(events_of_bag(bag, topics, track), localizer, f'bag {path}')


def observe(
    events: Iterable[Event], localizer: Localizer, name: str = 'the sequence'
) -> list[Observation]:
    """The Observations of the frames among events, each with the motion of the odometry since the
    one before. Raises ImageError or DatasetError for a frame that cannot be used, BagError with
    the `name` of the sequence for one whose truth is not known or outside the map, and where the
    robot does not move."""
    odometry, before_ns, found = Odometry(), None, []
    for event in events:
        match event:
            case OdometryEvent():
                odometry.add(event.pose)
            case ClockJumpEvent():
                before_ns = None
            case FrameEvent():
                motion = odometry.motion(before_ns, event.stamp_ns) if before_ns else Motion()
                before_ns = event.stamp_ns
                if event.truth is None:
                    raise BagError(f'{name} has no true position at the image {event.stamp_ns}')
                if not localizer.region.contains(*event.truth):
                    raise BagError(
                        f'{name} has the true position {event.truth[0]:.6f}, '
                        f'{event.truth[1]:.6f}, outside the map; leave it out, or see whether '
                        'latitude and longitude are swapped'
                    )
                posterior = localizer.posterior(event.load())
                truth_m = localizer.region.to_enu(*event.truth)
                found.append(Observation(motion, posterior, truth_m))
    _check_moves(found, name)
    return found


def _check_moves(found: Sequence[Observation], name: str) -> None:
    """Frames of a robot that stands, or whose odometry says nothing, are one observation: there
    is nothing to learn from them about what several are worth. Raises BagError."""
    if len(found) > 1 and not any(item.motion.distance_m > 0 for item in found):
        raise BagError(
            f'{name} has no movement between its images by its odometry; calibrate on one in '
            'which the robot moves and its odometry can be used'
        )


def fit_exponent(
    sequences: Sequence[Sequence[Observation]],
    localizer: Localizer,
    config: TrackerConfig,
    exponents: Sequence[float] = EXPONENTS,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> ExponentFit:
    """The `ExponentFit` of sequences, lists of Observations, for trackers of a `TrackerConfig`.

    Of several exponents that do about as well the smallest is taken, the most careful one: whose
    mean over the sequences is within one standard error of the best (Breiman et al. 1984, section
    3.4.3).
    """
    tried = sorted({*exponents, 1.0})
    scores = {e: _scores(sequences, localizer, config, e) for e in progress(tried)}
    means = {e: scores[e].mean() for e in tried}
    best = min(exponents, key=means.__getitem__)
    chosen = next(e for e in sorted(exponents) if _as_good(scores[e] - scores[best]))
    frames = sum(map(len, sequences))
    return ExponentFit(chosen, len(sequences), frames, float(means[1.0]), float(means[chosen]))


def fit_covariance(
    sequences: Sequence[Sequence[Observation]], localizer: Localizer, config: TrackerConfig
) -> tuple[float, int]:
    """The factor on the covariances of fixes, and the number of fixes that it is from.

    An exponent that keeps a belief from being sure and wrong makes its covariances wider than its
    errors. The factor is the ANEES of the sequence on which it is worst, but never so small that
    one of the fixes would lie outside its own 99 % ellipse. 1 where there are fewer than ENOUGH
    fixes.
    """
    tracker = Tracker(localizer, config)
    tracker.covariance_scale = 1.0
    squared = [found for sequence in sequences if (found := _squared_errors(sequence, tracker))]
    count = sum(map(len, squared))
    if count < ENOUGH:
        return 1.0, count
    worst = max(np.mean(found) for found in squared) / 2
    return float(max(worst, np.max(np.concatenate(squared)) / CHI2_2DOF[0.99])), count


def _squared_errors(sequence: Sequence[Observation], tracker: Tracker) -> list[float]:
    """Squared Mahalanobis distances of the fixes of one sequence from the truth."""
    tracker.reset()
    found = []
    for observation in sequence:
        tracker.predict(observation.motion)
        tracker.update(observation.posterior)
        fix = tracker.fix()
        if fix.status == 'fix':
            off = np.array([fix.east_m, fix.north_m]) - observation.truth_m
            found.append(float(off @ np.linalg.inv(fix.covariance_m2) @ off))
    return found


def _as_good(worse: np.ndarray) -> bool:
    """True where the sequences' losses (N,) against the best are 0 within a standard error."""
    error = worse.std(ddof=1) / np.sqrt(len(worse)) if len(worse) > 1 else 0.0
    return bool(worse.mean() <= error)


def _scores(
    sequences: Sequence[Sequence[Observation]],
    localizer: Localizer,
    config: TrackerConfig,
    exponent: float,
) -> np.ndarray:
    """Means (N,) over the frames of each sequence of - ln (mass within NEAR_M of the truth)."""
    tracker = Tracker(localizer, replace(config, likelihood_exponent=exponent))
    near = (np.array(list(_masses_near(sequence, tracker))) for sequence in sequences)
    return np.array([-np.log(np.maximum(masses, LEAST_MASS)).mean() for masses in near])


def _masses_near(sequence: Sequence[Observation], tracker: Tracker) -> Iterator[float]:
    tracker.reset()
    for observation in sequence:
        tracker.predict(observation.motion)
        tracker.update(observation.posterior)
        yield tracker.belief.mass_within(*observation.truth_m, NEAR_M)
