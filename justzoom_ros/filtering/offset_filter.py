"""How far a map is off, from fixes on it and true positions of the same moments.

The difference between a fix and a trusted position is the map's offset and the fix's own error.
The first stays, the second changes as the robot moves on: fixes near to each other err alike, so
each counts by the distance travelled since the last. The error of the trusted position itself
changes slowly and is not averaged away: a plain receiver that is 2 m off finds the map to 2 m, not
better.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from justzoom_ros.maps.map_offset import MapOffset
from justzoom_ros.ranges import check_ranges, ranged

Pair = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Place on the map (2,) and its covariance (2, 2), true place (2,) and its covariance (2, 2);
metres east and north of the region's centre."""


@dataclass(frozen=True)
class OffsetConfig:
    """What is assumed of an offset. Raises ConfigError for values out of range."""

    prior_std_m: float = ranged(10.0, above=0)
    """Standard deviation of offsets before anything is measured, metres along each axis."""

    decorrelation_distance_m: float = ranged(40.0, above=0)
    """Distance in metres after which the error of a fix is a new one."""

    gate: float = ranged(13.8, above=0)
    """Squared Mahalanobis distance above which a pair is left out: it holds 99.9 % of those that
    belong together."""

    def __post_init__(self) -> None:
        check_ranges(self)


class OffsetFilter:
    """A Kalman filter of an offset that does not change."""

    def __init__(self, config: OffsetConfig | None = None) -> None:
        self.config = config or OffsetConfig()
        self.mean_m = np.zeros(2)
        self.covariance_m2 = self.config.prior_std_m**2 * np.eye(2)
        self.samples = 0.0
        self._truth_m2 = np.zeros((2, 2))
        self._last_m: np.ndarray | None = None

    def add(
        self,
        place_m: np.ndarray,
        covariance_m2: np.ndarray,
        truth_m: np.ndarray,
        truth_covariance_m2: np.ndarray,
    ) -> bool:
        """Take a `Pair`, in the order of time; returns whether it fits what was known."""
        share = self._share(truth_m)
        off = np.asarray(truth_m) - place_m - self.mean_m
        spread = self.covariance_m2 + covariance_m2 + truth_covariance_m2
        if off @ np.linalg.solve(spread, off) > self.config.gate:
            return False
        if share > 0:
            gain = self.covariance_m2 @ np.linalg.inv(self.covariance_m2 + covariance_m2 / share)
            self.mean_m = self.mean_m + gain @ off
            self.covariance_m2 = (np.eye(2) - gain) @ self.covariance_m2
            self.samples += share
            self._truth_m2 += share * (truth_covariance_m2 - self._truth_m2) / self.samples
            self._last_m = np.asarray(truth_m, float)
        return True

    def _share(self, truth_m: np.ndarray) -> float:
        """How much of a pair was not seen before (0..1)."""
        if self._last_m is None:
            return 1.0
        moved_m = float(np.hypot(*(truth_m - self._last_m)))
        return min(1.0, moved_m / self.config.decorrelation_distance_m)

    def offset(self, source: str) -> MapOffset:
        """What is known by now; `source` as in `MapOffset`."""
        covariance = self.covariance_m2 + self._truth_m2
        east_m, north_m = map(float, self.mean_m)
        return MapOffset(east_m, north_m, covariance, source, int(self.samples))


def estimate_offset(
    pairs: Sequence[Pair], source: str, config: OffsetConfig | None = None
) -> tuple[MapOffset, int]:
    """The `MapOffset` of pairs in the order of time, and how many of them fit it. Pairs far from
    the median are left out from the beginning, so that a false first fix does no harm."""
    config = config or OffsetConfig()
    found = OffsetFilter(config)
    if not pairs:
        return found.offset(source), 0
    off = np.array([truth - place for place, _, truth, _ in pairs])
    middle, own = np.median(off, axis=0), config.prior_std_m**2 / 4 * np.eye(2)
    fitting = 0
    for pair, each in zip(pairs, off - middle, strict=True):
        spread = own + pair[1] + pair[3]
        if each @ np.linalg.solve(spread, each) <= config.gate:
            fitting += found.add(*pair)
    return found.offset(source), fitting
