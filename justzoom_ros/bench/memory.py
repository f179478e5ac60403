"""Does a localizer grow? Resident memory over thousands of frames."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.localizer import Localizer
from justzoom_ros.pose import Pose
from justzoom_ros.tracker import Tracker

SETTLED = 0.1
"""Share of the frames after which buffers have found their sizes."""


def measure_memory(
    map_path: str | Path,
    weights: str | Path,
    frames: int = 10_000,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, Any]:
    """Resident memory (MB) of this process while a tracker localizes `frames` frames of 720
    lines: after the first tenth, at the end, and the growth between."""
    localizer = Localizer.open(map=map_path, weights=weights, runtime='auto')
    tracker = Tracker(localizer)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 720, 1280, 3), np.uint8)
    settled_mb = resident_mb()
    for number in progress(range(frames)):
        stamp_ns = (number + 1) * 100_000_000
        tracker.add_odometry(Pose(stamp_ns, 0.2 * number, 0.0, 0.0))
        tracker.locate(images[number % len(images)], stamp_ns)
        if number == int(SETTLED * frames):
            settled_mb = resident_mb()
    return {
        'frames': frames,
        'map MB': round(Path(map_path, 'map.tif').stat().st_size / 1e6, 1),
        'embeddings MB': round(localizer.map_bytes / 1e6, 2),
        'belief MB': round(tracker.belief.nbytes / 1e6, 2),
        **growth(settled_mb, resident_mb()),
    }


def growth(settled_mb: float, end_mb: float) -> dict[str, float]:
    """The three figures, for JSON."""
    return {
        'resident after a tenth MB': round(settled_mb, 1),
        'resident at the end MB': round(end_mb, 1),
        'growth MB': round(end_mb - settled_mb, 1),
    }


def resident_mb(pid: int | str = 'self') -> float:
    """Resident memory of a process, this one unless its id is given (Linux)."""
    for line in Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) / 1024
    return float('nan')
