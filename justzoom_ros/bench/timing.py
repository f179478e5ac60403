"""Times of things that are to be compared: taken in turns, so that all of them meet the same
neighbours on the machine."""

import time
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Seconds of one thing, run by run: on the clock, and of the time that processors worked on
    it, all threads together, which other work stretches less."""

    wall_s: np.ndarray
    cpu_s: np.ndarray

    @property
    def median_s(self):
        """The median on the clock."""
        return float(np.median(self.wall_s))

    def to_dict(self):
        """Milliseconds, for JSON: medians, and the quartiles on the clock."""
        low, high = np.quantile(self.wall_s, [0.25, 0.75])
        seconds = {'median': self.median_s, 'low': low, 'high': high, 'cpu': np.median(self.cpu_s)}
        made = {f'{name}_ms': round(1000 * float(s), 4) for name, s in seconds.items()}
        return {**made, 'runs': len(self.wall_s)}


def in_turns(things, runs, clock=time.perf_counter, cpu_clock=time.process_time):
    """{name: Timing} of {name: function}: each is called once to warm up, then all of them in
    turn, `runs` times."""
    seconds = {name: [] for name in things}
    for function in things.values():
        function()
    for _ in range(runs):
        for name, function in things.items():
            started_s, cpu_started_s = clock(), cpu_clock()
            function()
            seconds[name].append((clock() - started_s, cpu_clock() - cpu_started_s))
    return {name: Timing(*np.array(values).T) for name, values in seconds.items()}


def ratio(timings, slow, fast):
    """How many times longer one takes than another: the median over the turns, in each of which
    both met the same neighbours."""
    return round(float(np.median(timings[slow].wall_s / timings[fast].wall_s)), 3)


def rows(timings):
    """{name: figures} for JSON."""
    return {name: timing.to_dict() for name, timing in timings.items()}
