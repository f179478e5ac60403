"""How much a frame may say to a belief: one exponent, fitted on sequences whose truth is known.

Frames of one sequence share their errors: the same wrong corner fools the policy ten times.
Multiplying their likelihoods as if they were independent makes a belief surer than it is right, so
each is raised to an exponent (a power likelihood, as in Bissiri, Holmes, Walker 2016,
doi 10.1111/rssb.12158) under which the belief, frame by frame, gives the truth most mass.
"""

from dataclasses import dataclass, replace

import numpy as np

from justzoom_ros.errors import BagError
from justzoom_ros.evaluation.dead_reckoning import dead_reckoned
from justzoom_ros.evaluation.replay import usable_image
from justzoom_ros.evaluation.sequence_metrics import NEAR_M
from justzoom_ros.filtering import Motion, Odometry
from justzoom_ros.inference.posterior import CHI2_2DOF, CellPosterior
from justzoom_ros.io.motion_message import pose_of
from justzoom_ros.io.stamps import StampGate
from justzoom_ros.tracker import Tracker

EXPONENTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
LEAST_MASS = 1e-9
ENOUGH = 100
"""Fixes that a factor on covariances is fitted on at least."""


@dataclass(frozen=True)
class Observation:
    """One frame of a sequence: the `Motion` since the one before, what the policy says of it, and
    the true position (2,) in metres."""

    motion: Motion
    posterior: CellPosterior
    truth_m: tuple[float, float]


@dataclass(frozen=True)
class ExponentFit:
    """A fitted `likelihood_exponent`, on how many frames of how many `sequences`, and the mean
    negative logarithm of the mass within 50 m of the truth, in nats, with exponent 1 and with the
    fitted one."""

    likelihood_exponent: float
    sequences: int
    frames: int
    nll_before: float
    nll_after: float

    def added_to(self, calibration):
        """The `Calibration` with this exponent."""
        return replace(
            calibration,
            likelihood_exponent=self.likelihood_exponent,
            exponent_sequences=self.sequences,
            exponent_frames=self.frames,
            exponent_nll_before=self.nll_before,
            exponent_nll_after=self.nll_after,
        )


def observations_of_bag(bag, topic, odom_topic, track, localizer, progress=iter):
    """The Observations of the images on a topic of an open `Bag`, with odometry from another and
    the `Track` of true positions. Raises ImageError, BagError for a frame whose truth is
    unknown."""
    gate, odometry, before_ns, found = StampGate(), Odometry(), None, []
    for item in progress(bag.messages([topic, odom_topic])):
        if item.topic == odom_topic:
            odometry.add(pose_of(item.message))
            continue
        truth = track.at(item.stamp_ns)
        if truth is None:
            raise BagError(f'bag {bag.path} has no true position at the image {item.stamp_ns}')
        motion = odometry.motion(before_ns, item.stamp_ns) if before_ns else Motion()
        before_ns = item.stamp_ns
        posterior = localizer.posterior(usable_image(item, gate))
        found.append(Observation(motion, posterior, localizer.region.to_enu(*truth)))
    return found


def observations_of_images(images, localizer, drift=None, progress=iter):
    """The Observations of GeoImages in the order of their times, with odometry made from their own
    positions (`dead_reckoned`)."""
    places_m = [localizer.region.to_enu(image.latitude, image.longitude) for image in images]
    odometry, before_ns, found = Odometry(), None, []
    poses = dead_reckoned([image.stamp_ns for image in images], places_m, drift)
    for image, pose, place_m in zip(progress(images), poses, places_m, strict=True):
        odometry.add(pose)
        motion = odometry.motion(before_ns, pose.stamp_ns) if before_ns else Motion()
        before_ns = pose.stamp_ns
        found.append(Observation(motion, localizer.posterior(image.load()), place_m))
    return found


def fit_exponent(sequences, localizer, config, exponents=EXPONENTS, progress=iter):
    """The `ExponentFit` of sequences, lists of Observations, for trackers of a `TrackerConfig`.

    Of several exponents that do about as well the smallest is taken, the most careful one: whose
    mean over the sequences is within one standard error of the best (Breiman et al. 1984, section
    3.4.3).
    """
    tried = sorted({*exponents, 1.0})
    scores = {e: _scores(sequences, localizer, config, e) for e in progress(tried)}
    means = {e: scores[e].mean() for e in tried}
    best = min(exponents, key=means.get)
    chosen = next(e for e in sorted(exponents) if _as_good(scores[e] - scores[best]))
    frames = sum(map(len, sequences))
    return ExponentFit(chosen, len(sequences), frames, float(means[1.0]), float(means[chosen]))


def fit_covariance(sequences, localizer, config):
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


def _squared_errors(sequence, tracker):
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


def _as_good(worse):
    """True where the sequences' losses (W,) against the best are 0 within a standard error."""
    error = worse.std(ddof=1) / np.sqrt(len(worse)) if len(worse) > 1 else 0.0
    return worse.mean() <= error


def _scores(sequences, localizer, config, exponent):
    """For each sequence (W,) the mean over its frames of - ln (mass within 50 m of the truth)."""
    tracker = Tracker(localizer, replace(config, likelihood_exponent=exponent))
    near = (np.array(list(_masses_near(sequence, tracker))) for sequence in sequences)
    return np.array([-np.log(np.maximum(masses, LEAST_MASS)).mean() for masses in near])


def _masses_near(sequence, tracker):
    tracker.reset()
    for observation in sequence:
        tracker.predict(observation.motion)
        tracker.update(observation.posterior)
        yield tracker.belief.mass_within(*observation.truth_m, NEAR_M)
