"""What the live page costs the node: its latency over DDS while nobody looks, and while ten
browsers do and one more takes nothing."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from justzoom_ros.bench.inputs import picture
from justzoom_ros.bench.node import loaded_node
from justzoom_ros.io.camera_effects import encode_jpeg

if TYPE_CHECKING:
    from justzoom_ros.ros.load_generator import LoadGenerator

BROWSERS = 10
RATE_HZ, TURN_S, TURNS = 10, 4.0, 8
CALM_S = 1.0
"""For browsers to come and go."""


def measure_browsers(out: Path, map_path: Path, weights: Path) -> dict[str, Any]:
    """{'nobody', 'browsers': median and 95 % of the latency and processor time of the node's
    process per frame, ms; 'frames': how many each browser got of those sent} of the real node at
    RATE_HZ, in turns of TURN_S with and without."""
    frame, port = encode_jpeg(picture()), _free_port()
    nobody, browsers, seen = _Turns(), _Turns(), 0
    with loaded_node(out, map_path, weights, view_port=port) as (generator, pid):
        _latencies_ms(generator, frame)  # the first frames take longer
        for _ in range(TURNS):
            nobody.take(generator, frame, pid)
            with _browsers(port) as shown:
                browsers.take(generator, frame, pid)
            seen += shown[0]
            time.sleep(CALM_S)
    sent = round(TURNS * RATE_HZ * TURN_S)
    return {
        'nobody': nobody.figures(),
        'browsers': browsers.figures(),
        'frames': {'sent': sent, 'shown per browser': seen / BROWSERS},
    }


class _Turns:
    """What was measured in the turns of one kind."""

    def __init__(self) -> None:
        self._latencies_ms: list[float] = []
        self._processor_s = 0.0

    def take(self, generator: 'LoadGenerator', frame: bytes, pid: int) -> None:
        before_s = processor_s(pid)
        self._latencies_ms += _latencies_ms(generator, frame)
        self._processor_s += processor_s(pid) - before_s

    def figures(self) -> dict[str, float]:
        median, most = np.quantile(self._latencies_ms, (0.5, 0.95))
        per_frame_ms = 1000 * self._processor_s / len(self._latencies_ms)
        return {
            'latency median ms': round(float(median), 2),
            'latency 95 % ms': round(float(most), 2),
            'processor ms per frame': round(per_frame_ms, 2),
        }


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has taken, all its threads together."""
    # Behind the name, which may hold anything: user and system time are fields 14 and 15.
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def _latencies_ms(generator: 'LoadGenerator', frame: bytes) -> list[float]:
    """From publication to reception, of one turn."""
    sent_s, started_s = dict[int, float](), time.monotonic()
    for number in range(round(RATE_HZ * TURN_S)):
        generator.receive_arrivals(started_s + number / RATE_HZ)
        stamp_ns = generator.send_frame(frame)
        sent_s[stamp_ns] = time.monotonic()
    generator.receive_arrivals(time.monotonic() + CALM_S)
    arrivals = generator.arrivals
    return [1000 * (arrivals[s] - sent) for s, sent in sent_s.items() if s in arrivals]


@contextmanager
def _browsers(port: int) -> Iterator[list[int]]:
    """Browsers that look while the block runs, in a process of their own: here they would hold up
    who measures. After it the list holds the number of frames that they got together."""
    shown: list[int] = []
    command = [sys.executable, '-m', 'justzoom_ros.bench.browser_load', str(port), str(BROWSERS)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()  # all look
        yield shown
        process.stdin.close()
        shown.append(int(process.stdout.readline()))
