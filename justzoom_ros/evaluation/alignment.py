"""How far a map is off, from replayed fixes on it and true positions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from justzoom_ros.errors import BagError
from justzoom_ros.evaluation.promise import read_fixes
from justzoom_ros.evaluation.replay import ReplayedFix
from justzoom_ros.filtering.offset_filter import Pair, estimate_offset
from justzoom_ros.io.bags import Track
from justzoom_ros.maps.map_offset import MapOffset
from justzoom_ros.region import Region

LEAST_SAMPLES = 3
"""Independent measurements that an offset is believed from on."""


@dataclass(frozen=True)
class Alignment:
    """An offset and how well it explains the fixes."""

    offset: MapOffset
    """How far the map is off."""

    fixes: int
    """Number of fixes with a true position."""

    fitting: int
    """How many of them agree with the offset."""

    median_before_m: float
    """Median distance of the fixes from the truth without the offset."""

    median_after_m: float
    """The same with it."""


def pairs_of(
    fixes: Iterable[ReplayedFix], track: Track, region: Region, truth_std_m: float
) -> list[Pair]:
    """The pairs of fixes, on a map without any offset, and true positions of the same moments."""
    found: list[Pair] = []
    own = truth_std_m**2 * np.eye(2)
    for fix in fixes:
        truth = track.at(fix.stamp_ns)
        if fix.status != 'fix' or truth is None or fix.covariance_m2 is None:
            continue
        place = region.to_enu(float(fix.latitude or 0.0), float(fix.longitude or 0.0))
        found.append((np.array(place), fix.covariance_m2, np.array(region.to_enu(*truth)), own))
    return found


def pairs_of_table(path: str | Path, region: Region, truth_std_m: float) -> list[Pair]:
    """The pairs of a `fixes.csv` of a map without any offset. Raises DatasetError."""
    table = read_fixes(path)
    places = np.stack(region.to_enu(table.latitude, table.longitude), 1)
    truths = np.stack(region.to_enu(table.true_latitude, table.true_longitude), 1)
    own = truth_std_m**2 * np.eye(2)
    rows = zip(places, table.covariance_m2, truths, strict=True)
    return [(place, covariance, truth, own) for place, covariance, truth in rows]


def align(pairs: Sequence[Pair]) -> Alignment:
    """The `Alignment` of pairs in the order of time. Raises BagError where they are too few."""
    offset, fitting = estimate_offset(pairs, 'bag')
    if offset.samples < LEAST_SAMPLES:
        raise BagError(
            f'{fitting} fixes of the bags agree with each other, from {offset.samples} places far '
            f'enough apart; at least {LEAST_SAMPLES} are needed to say how far the map is off'
        )
    off = np.array([truth - place for place, _, truth, _ in pairs])
    before, after = (np.median(np.hypot(*(off - m).T)) for m in (np.zeros(2), offset.mean_m))
    return Alignment(offset, len(pairs), fitting, float(before), float(after))
