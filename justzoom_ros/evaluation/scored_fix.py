"""One replayed fix beside the truth."""

from dataclasses import dataclass

import numpy as np

from justzoom_ros.evaluation import metrics
from justzoom_ros.evaluation.replay import ReplayedFix
from justzoom_ros.io.bags import MAX_GAP_S, Track
from justzoom_ros.region import Region


@dataclass(frozen=True)
class ScoredFix:
    """A ReplayedFix beside the truth. None is: the truth where it is not known, the position of an
    image without one, and what follows from these."""

    fix: ReplayedFix
    """What came of the image."""

    position_m: np.ndarray | None
    """Position (2,) of the fix, east and north of the region's centre."""

    truth: tuple[float, float] | None
    """Latitude and longitude of the true position, in degrees."""

    truth_m: np.ndarray | None
    """True position (2,), east and north of the region's centre."""

    error_m: float | None
    """Distance between the two."""

    in_ellipse: bool | None
    """The truth lies in the 90 % ellipse of the covariance."""


def score_fix(
    fix: ReplayedFix, region: Region, track: Track | None = None, max_gap_s: float = MAX_GAP_S
) -> ScoredFix:
    """The `ScoredFix` of a ReplayedFix by a Track of true positions."""
    truth = None if track is None else track.at(fix.stamp_ns, max_gap_s)
    truth_m = None if truth is None else np.array(region.to_enu(*truth))
    if fix.latitude is None or fix.longitude is None or fix.covariance_m2 is None:
        return ScoredFix(fix, None, truth, truth_m, None, None)
    position_m = np.array(region.to_enu(fix.latitude, fix.longitude))
    if truth is None or truth_m is None:
        return ScoredFix(fix, position_m, None, None, None, None)
    inside = metrics.in_ellipses(truth_m, position_m, fix.covariance_m2)
    error_m = float(np.hypot(*(position_m - truth_m)))
    return ScoredFix(fix, position_m, truth, truth_m, error_m, bool(inside[0]))
