"""What a long run of the node comes to: figures of each minute, how they change, what was lost and
how soon a fix comes again after each event."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.bench.memory import resident_mb

NEAR_M = 25.0
"""A fix that is further off is wrong."""


@dataclass(frozen=True)
class SentFrame:
    """A picture that has to be answered, and what came of it."""

    sent_s: float
    """When it was sent, by the monotonic clock."""

    arrived_s: float | None
    """When its answer came; None where none did."""

    error_m: float | None
    """How far its fix is off; None without an answer and where the answer is no fix."""


@dataclass(frozen=True)
class ProcessState:
    """What a process holds at some moment."""

    at_s: float
    """When, by the monotonic clock."""

    resident_mb: float
    """Resident memory, MB."""

    cpu_s: float
    """Processor time since it began."""

    open_files: int
    """File descriptors."""

    threads: int
    """Threads."""

    @classmethod
    def of(cls, pid: int, at_s: float) -> 'ProcessState':
        """Of a process, now (Linux)."""
        proc = Path(f'/proc/{pid}')
        ticks = sum(map(int, (proc / 'stat').read_text().rpartition(')')[2].split()[11:13]))
        files, threads = (len(list((proc / name).iterdir())) for name in ('fd', 'task'))
        return cls(at_s, resident_mb(pid), ticks / 100, files, threads)


def minute_rows(
    frames: Sequence[SentFrame], states: Sequence[ProcessState]
) -> list[dict[str, Any]]:
    """Figures of the time between each two `ProcessState`s."""
    rows = []
    for number, (before, after) in enumerate(zip(states, states[1:], strict=False), 1):
        part = [frame for frame in frames if before.at_s <= frame.sent_s < after.at_s]
        answered = sum(frame.arrived_s is not None for frame in part)
        cpu_ms = 1000 * (after.cpu_s - before.cpu_s)
        row = {
            'minute': number,
            'cpu ms a frame': round(cpu_ms / answered, 1) if answered else None,
            'resident MB': round(after.resident_mb, 1),
            'open files': after.open_files,
            'threads': after.threads,
        }
        rows.append(row | frame_figures(part))
    return rows


def frame_figures(frames: Sequence[SentFrame]) -> dict[str, Any]:
    """How many frames were answered, how fast (ms) and how well (m)."""
    late_ms = [1000 * (f.arrived_s - f.sent_s) for f in frames if f.arrived_s is not None]
    errors_m = [f.error_m for f in frames if f.error_m is not None]
    return {
        'frames': len(frames),
        'answered': len(late_ms),
        'latency median ms': _quantile(late_ms, 0.5),
        'latency 95 % ms': _quantile(late_ms, 0.95),
        'fixes': len(errors_m),
        'error median m': _quantile(errors_m, 0.5),
        f'fixes off by more than {NEAR_M:g} m': sum(error > NEAR_M for error in errors_m),
    }


def count_lost(frames: Sequence[SentFrame], forgotten_s: Sequence[float]) -> int:
    """Frames without an answer though nothing else was at work. The node takes the newest frame:
    those that come while it is at work may be passed over and are not lost. At `forgotten_s` what
    it was at work on was discarded by a reset or the like; so it is busy until its next answer."""
    arrivals = sorted(f.arrived_s for f in frames if f.arrived_s is not None)
    bounds = np.array([-np.inf, *arrivals, np.inf])
    after = np.searchsorted(bounds, forgotten_s)
    excused = [(bounds[number - 1], bounds[number]) for number in after]
    lost, busy_until_s = 0, 0.0
    for frame in frames:
        if frame.arrived_s is not None:
            busy_until_s = max(busy_until_s, frame.arrived_s)
        elif frame.sent_s > busy_until_s:
            lost += not any(begin <= frame.sent_s < end for begin, end in excused)
    return lost


def longest_silence_s(frames: Sequence[SentFrame]) -> float:
    """Longest time for which frame after frame was sent and none answered."""
    longest_s, begun_s = 0.0, None
    for frame in frames:
        if frame.arrived_s is not None:
            begun_s = None
        else:
            begun_s = frame.sent_s if begun_s is None else begun_s
            longest_s = max(longest_s, frame.sent_s - begun_s)
    return longest_s


def change_per_hour(values: Sequence[float | None]) -> float | None:
    """Slope of values of each minute, median of those between any two (Theil and Sen); None of
    fewer than two."""
    known = [(minute, value) for minute, value in enumerate(values) if value is not None]
    slopes = [
        60 * (later - value) / (after - minute)
        for number, (minute, value) in enumerate(known)
        for after, later in known[number + 1 :]
    ]
    return round(float(np.median(slopes)), 2) if slopes else None


def recoveries_s(frames: Sequence[SentFrame], ended_s: Sequence[float]) -> dict[str, Any]:
    """How long it takes from the first frame after each event until a fix near the truth:
    median, longest, and how often none came."""
    found: list[float] = []
    for end_s in ended_s:
        after = [frame for frame in frames if frame.sent_s >= end_s]
        good = [f.arrived_s for f in after if f.error_m is not None and f.error_m <= NEAR_M]
        if after and good and good[0] is not None:
            found.append(good[0] - after[0].sent_s)
    return {
        'times': len(ended_s),
        'fix again after s, median': _quantile(found, 0.5),
        'fix again after s, longest': _quantile(found, 1.0),
        'no fix again': len(ended_s) - len(found),
    }


def flat_part(rows: Sequence[dict[str, Any]], settled: float) -> Sequence[dict[str, Any]]:
    """Rows without the first share of them, in which buffers find their sizes."""
    return rows[int(np.ceil(settled * len(rows))) :]


def _quantile(values: Sequence[float], share: float) -> float | None:
    return round(float(np.quantile(values, share)), 2) if values else None
