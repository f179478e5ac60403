"""The offset of the map, learned while a trusted receiver is heard. No ROS in here.

Positions of the receiver come before a frame and after it, fixes late; both wait for each other.
What was learned is applied to every fix once it is good enough, and kept in the map's folder.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from justzoom_ros.errors import JustZoomError, MotionError
from justzoom_ros.filtering.offset_filter import OffsetConfig, OffsetFilter
from justzoom_ros.inference.fix import Fix, FixStatus
from justzoom_ros.io.motion_message import prior_from_message
from justzoom_ros.io.stamps import NS_PER_S, to_nanoseconds
from justzoom_ros.localizer import Localizer
from justzoom_ros.maps.map_offset import write_offset
from justzoom_ros.ranges import check_ranges, ranged

KEPT = 1000
"""Positions of a receiver that stay: 100 s at 10 Hz."""


@dataclass(frozen=True)
class AlignmentConfig:
    """When what was learned is used. Raises ConfigError for values out of range."""

    good_std_m: float = ranged(2.0, above=0)
    """Standard deviation in metres from which on an offset is applied and kept."""

    keep_gain: float = ranged(0.8, above=0, at_most=1)
    """An offset is written again when its deviation is below this share of the one written."""

    max_gap_s: float = ranged(1.0, above=0)
    """Greatest time in seconds between the two positions that a frame lies between."""

    offset: OffsetConfig = field(default_factory=OffsetConfig)
    """What is assumed of the offset."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class _Position:
    stamp_ns: int
    place_m: np.ndarray
    covariance_m2: np.ndarray


class MapAlignment:
    """Learns the offset of a localizer's map. `report(text)` is told what goes wrong, and what was
    found. From one thread at a time."""

    def __init__(
        self,
        localizer: Localizer,
        report: Callable[[str], None] = lambda text: None,
        config: AlignmentConfig | None = None,
    ) -> None:
        self.localizer, self.config = localizer, config or AlignmentConfig()
        self.filter = OffsetFilter(self.config.offset)
        self._report, self._reported = report, set[str]()
        self._heard: deque[_Position] = deque(maxlen=KEPT)
        self._waiting: deque[tuple[int, Fix]] = deque(maxlen=KEPT)
        self._kept_std_m = localizer.map_offset.std_m if localizer.map_offset.known else np.inf

    def add_position(self, message: Any) -> None:
        """A `sensor_msgs/NavSatFix` of the trusted receiver; without a fix or a covariance it is
        left out."""
        try:
            latitude, longitude, covariance = prior_from_message(message)
        except MotionError as error:
            return self._tell(str(error).replace('initial_fix', 'gnss'))
        place = np.array(self.localizer.region.to_enu(latitude, longitude))
        position = _Position(to_nanoseconds(message.header.stamp), place, covariance)
        if self._heard and position.stamp_ns < self._heard[-1].stamp_ns:  # a bag loops
            self._heard.clear()
            self._waiting.clear()
        self._heard.append(position)
        self._match()

    def add_fix(self, on_map: Fix, stamp_ns: int) -> None:
        """A fix on the map, without any offset, and the time of its image."""
        if on_map.status is FixStatus.FIX:
            self._waiting.append((stamp_ns, on_map))
            self._match()

    def _match(self) -> None:
        """Learn from the fixes up to which positions were heard."""
        while self._heard and self._waiting and self._waiting[0][0] <= self._heard[-1].stamp_ns:
            stamp_ns, fix = self._waiting.popleft()
            truth = self._at(stamp_ns)
            if truth is None:
                continue
            place = np.array([fix.east_m, fix.north_m])
            self.filter.add(place, fix.covariance_m2, truth.place_m, truth.covariance_m2)
        self._use()

    def _at(self, stamp_ns: int) -> _Position | None:
        """Where the receiver was, between two of its positions; None where they are too far."""
        before = [each for each in self._heard if each.stamp_ns <= stamp_ns]
        after = [each for each in self._heard if each.stamp_ns >= stamp_ns]
        if not before or not after:
            return None
        first, last = before[-1], after[0]
        span_ns = last.stamp_ns - first.stamp_ns
        if span_ns > self.config.max_gap_s * NS_PER_S:
            return None
        share = (stamp_ns - first.stamp_ns) / span_ns if span_ns else 0.0
        place = first.place_m + share * (last.place_m - first.place_m)
        return _Position(stamp_ns, place, last.covariance_m2)

    def _use(self) -> None:
        """Apply what is good enough, and keep it where it is better than what was kept."""
        offset = self.filter.offset('gnss')
        if offset.std_m > self.config.good_std_m or not self.filter.samples:
            return
        if offset.std_m < self.localizer.map_offset.std_m or not self.localizer.map_offset.known:
            self.localizer.map_offset = offset
        if offset.std_m > self.config.keep_gain * self._kept_std_m:
            return
        self._kept_std_m = offset.std_m
        map = self.localizer.map
        try:
            write_offset(map.path, map.checksum, offset)
            self._report(f'the map is off by {offset}; kept in {map.path}')
        except JustZoomError as error:
            self._tell(f'the offset of the map is not kept: {error}')

    def _tell(self, text: str) -> None:
        if text not in self._reported:
            self._reported.add(text)
            self._report(text)
