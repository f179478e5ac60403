"""Times of things that are to be compared: taken in turns, so that all of them meet the same
neighbours on the machine."""

import time
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Seconds of one thing: the median over its runs, and the quartiles; and the median of the
    time that processors worked on it, all threads together, which other work stretches less."""

    median_s: float
    low_s: float
    high_s: float
    cpu_s: float
    runs: int

    def to_dict(self):
        """Milliseconds, for JSON."""
        names = ('median', 'low', 'high', 'cpu')
        seconds = (self.median_s, self.low_s, self.high_s, self.cpu_s)
        made = {f'{n}_ms': round(1000 * s, 4) for n, s in zip(names, seconds, strict=True)}
        return {**made, 'runs': self.runs}


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
    return {name: _timing(values) for name, values in seconds.items()}


def _timing(seconds):
    wall, cpu = np.array(seconds).T
    low, median, high = np.quantile(wall, [0.25, 0.5, 0.75])
    return Timing(float(median), float(low), float(high), float(np.median(cpu)), len(seconds))


def ratio(timings, slow, fast):
    """How many times longer one takes than another."""
    return round(timings[slow].median_s / timings[fast].median_s, 3)


def rows(timings):
    """{name: figures} for JSON."""
    return {name: timing.to_dict() for name, timing in timings.items()}
