"""What a sensor said lately, and which of it goes with a frame."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar('Value')

KEPT = 4000
"""Samples that stay: four seconds at 1 kHz, longer than a frame takes."""


@dataclass(frozen=True)
class Moment:
    """When something was measured, and when we heard of it."""

    stamp_ns: int | None
    """Its stamp in nanoseconds, None where the message has none."""

    arrived_s: float
    """Its arrival, on the monotonic clock."""

    def seconds_after(self, other: 'Moment') -> float:
        """Seconds by which this is later than another: by the stamps where both have one, else by
        the arrivals."""
        if self.stamp_ns is None or other.stamp_ns is None:
            return self.arrived_s - other.arrived_s
        return (self.stamp_ns - other.stamp_ns) / 1e9


class Samples(Generic[Value]):
    """The latest samples of one sensor. Added by one thread, looked up by another."""

    def __init__(self, slop_s: float, max_age_s: float) -> None:
        """`slop_s`: samples within so many seconds of a frame go with it, before or after;
        `max_age_s`: otherwise the last one before it does, up to this age."""
        self.slop_s, self.max_age_s = slop_s, max_age_s
        self._lock = threading.Lock()
        self._samples: deque[tuple[Moment, Value]] = deque(maxlen=KEPT)

    def add(self, moment: Moment, value: Value) -> None:
        """One more sample."""
        with self._lock:
            self._samples.append((moment, value))

    def __len__(self) -> int:
        return len(self._samples)

    def at(self, moment: Moment) -> Value | None:
        """What goes with a frame of some moment: the nearest sample within the slop, else the last
        one before it that is not too old, else None."""
        ages = self._ages(moment)
        near = [pair for pair in ages if abs(pair[0]) <= self.slop_s]
        before = [pair for pair in ages if 0 <= pair[0] <= self.max_age_s]
        found = near or before
        return min(found, key=lambda pair: abs(pair[0]))[1] if found else None

    def least_age_s(self, moment: Moment) -> float | None:
        """Seconds from the sample that is nearest to a frame to it, None where there is none."""
        return min((age for age, _ in self._ages(moment)), key=abs, default=None)

    def _ages(self, moment: Moment) -> list[tuple[float, Value]]:
        with self._lock:
            samples = list(self._samples)
        return [(moment.seconds_after(sample), value) for sample, value in samples]
