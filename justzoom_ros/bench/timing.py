"""Times of things that are to be compared: taken in turns, so that all of them meet the same
neighbours on the machine."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """How long one thing took, run by run: arrays (runs,)."""

    wall_s: np.ndarray
    """Seconds on the clock."""

    cpu_s: np.ndarray
    """Seconds that processors worked on it, all threads together: other work stretches it less."""

    @property
    def median_s(self) -> float:
        """The median on the clock."""
        return float(np.median(self.wall_s))

    def to_dict(self) -> dict[str, float]:
        """Milliseconds, for JSON: medians, and the quartiles on the clock."""
        low, high = np.quantile(self.wall_s, [0.25, 0.75])
        seconds = {'median': self.median_s, 'low': low, 'high': high, 'cpu': np.median(self.cpu_s)}
        made = {f'{name}_ms': round(1000 * float(s), 4) for name, s in seconds.items()}
        return {**made, 'runs': len(self.wall_s)}


def time_in_turns(
    things: Mapping[str, Callable[[], object]],
    runs: int,
    clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] = time.process_time,
) -> dict[str, Timing]:
    """{name: Timing} of {name: function}: each is called once to warm up, then all of them in
    turn, `runs` times."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in things}
    for function in things.values():
        function()
    for _ in range(runs):
        for name, function in things.items():
            started_s, cpu_started_s = clock(), cpu_clock()
            function()
            seconds[name].append((clock() - started_s, cpu_clock() - cpu_started_s))
    return {name: Timing(*np.array(values).T) for name, values in seconds.items()}


def ratio(timings: Mapping[str, Timing], slow: str, fast: str) -> float:
    """How many times longer one takes than another: the median over the turns, in each of which
    both met the same neighbours."""
    return round(float(np.median(timings[slow].wall_s / timings[fast].wall_s)), 3)


def to_rows(timings: Mapping[str, Timing]) -> dict[str, dict[str, float]]:
    """{name: figures} for JSON."""
    return {name: timing.to_dict() for name, timing in timings.items()}
