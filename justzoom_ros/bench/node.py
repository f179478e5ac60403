"""The whole node over DDS: from an image published to its fix received, what of it is the policy's
part, what gets dropped, and whether the process grows."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from justzoom_ros.bench.inputs import picture
from justzoom_ros.bench.memory import SETTLED, growth, resident_mb
from justzoom_ros.io.camera_effects import encode_jpeg
from justzoom_ros.live.diagnostics import STAGES

if TYPE_CHECKING:
    from justzoom_ros.ros.load_generator import LoadGenerator

RATES_HZ = (10, 30, 60)
SECONDS = 10.0
TOPIC = '/camera/image/compressed'
ODOMETRY = '/odom'
SMALL_PX = (240, 320)
"""Height and width of the frames that are only there to be many."""


def measure_node(
    out: Path, map_path: Path, weights: Path, seconds: float = SECONDS
) -> dict[str, Any]:
    """{threads: {rate: figures of `_measure_rate`}} of the real node in a process of its own,
    fed with compressed images of 720 lines and odometry; in one thread, and in as many as torch
    takes."""
    frame = encode_jpeg(picture())
    found: dict[str, Any] = {'image kB': round(len(frame) / 1000, 1)}
    for threads in sorted({1, torch.get_num_threads()}):
        with loaded_node(out, map_path, weights, threads=threads) as (generator, _):
            found[f'threads {threads}'] = {
                f'{rate_hz} Hz': _measure_rate(generator, frame, rate_hz, seconds)
                for rate_hz in RATES_HZ
            }
    return found


def measure_node_memory(
    out: Path,
    map_path: Path,
    weights: Path,
    frames: int,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, Any]:
    """Resident memory (MB) of the node's process over so many frames, sent as fast as it
    answers: as `measure_memory`."""
    frame = encode_jpeg(picture(*SMALL_PX))
    with loaded_node(out, map_path, weights) as (generator, pid):
        settled_mb = resident_mb(pid)
        for number in progress(range(frames)):
            generator.ask_frame(frame)
            if number == int(SETTLED * frames):
                settled_mb = resident_mb(pid)
        answered = {'frames': frames, 'fixes': len(generator.arrivals)}
        return answered | growth(settled_mb, resident_mb(pid))


@contextmanager
def loaded_node(
    out: Path, map_path: Path, weights: Path, **parameters: int
) -> Iterator[tuple['LoadGenerator', int]]:
    """(load generator, pid) of an active node that takes compressed images."""
    from justzoom_ros.live.node_process import own_domain, running_node
    from justzoom_ros.ros.load_generator import LoadGenerator
    from justzoom_ros.ros.transitions import LifecycleClient

    pids: list[int] = []
    node = running_node(out, map_path, weights, pids.append, **parameters)
    with own_domain(), node as alive:
        with LifecycleClient('/justzoom', alive) as driver:
            driver.change('configure')
            driver.change('activate')
        with LoadGenerator(TOPIC, ODOMETRY) as generator:
            generator.wait_until_there()
            yield generator, pids[0]


def _measure_rate(
    generator: 'LoadGenerator', frame: bytes, rate_hz: float, seconds: float
) -> dict[str, Any]:
    """Publish at a rate and see what comes back: latency from publication to reception, how it is
    made up according to the node's diagnostics (medians, ms), and the share of frames dropped.

    What is not 'localizing', the policy's part with resizing, is the node's: DDS, waiting for
    the worker, decoding, publishing."""
    count, sent_s = round(seconds * rate_hz), dict[int, float]()
    generator.diagnoses.clear()
    started_s = time.monotonic()
    for number in range(count):
        generator.receive_arrivals(started_s + number / rate_hz)
        stamp_ns = generator.send_frame(frame)
        sent_s[stamp_ns] = time.monotonic()
    generator.receive_arrivals(time.monotonic() + 2.0)
    latencies_s = [generator.arrivals[s] - sent_s[s] for s in sent_s if s in generator.arrivals]
    latency_ms = 1000 * np.array(latencies_s)
    stages = _stages_ms(generator.diagnoses)
    median_ms = float(np.median(latency_ms))
    return {
        'sent': count,
        'fixes': len(latencies_s),
        'dropped': round(1 - len(latencies_s) / count, 4),
        'latency median ms': round(median_ms, 2),
        'latency 95 % ms': round(float(np.quantile(latency_ms, 0.95)), 2),
        **{f'{stage} ms': round(ms, 2) for stage, ms in stages.items()},
        'not the policy ms': round(median_ms - stages['localizing'], 2),
    }


def _stages_ms(diagnoses: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Medians of the stages over diagnostics, each of which tells medians of its last frames."""
    told = [d for d in diagnoses if d.get(f'{STAGES[0]} (s)')]
    return {s: 1000 * float(np.median([float(d[f'{s} (s)']) for d in told])) for s in STAGES}
