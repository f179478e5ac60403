"""The real node for a long time at the rate of a camera, while what goes wrong on robots does:
resets, deactivations, recordings that loop, sensors that fall silent, pictures that are damaged or
black. Latency and memory have to stay as they were, and answers must not fall silent."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from justzoom_ros.bench.inputs import picture
from justzoom_ros.bench.memory import SETTLED, growth, resident_mb
from justzoom_ros.bench.node import ODOMETRY, SMALL_PX, TOPIC, encode_jpeg

if TYPE_CHECKING:
    from justzoom_ros.ros.load_generator import LoadGenerator
    from justzoom_ros.ros.transitions import LifecycleClient

RATE_HZ = 10
EVENTS = ('reset', 'deactivate', 'loop', 'camera silent', 'odometry silent', 'damaged', 'black')
EVERY_S = 8.0
"""Mean time between two events."""
LASTS = 20
"""Frames that a sensor is silent for, or that pictures are damaged or black."""
LOOP_FRAMES = 300
"""How far a recording that loops goes back."""
WAIT_S = 5.0
"""So long the last answers are waited for."""
PART = 0.2
"""Share of the frames, at either end, whose latencies are compared."""


def measure_soak(
    out: Path,
    map_path: Path,
    weights: Path,
    minutes: float,
    seed: int = 0,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, Any]:
    """Frames sent, answered and dropped, events, latency (ms) at the beginning and at the end, and
    resident memory (MB) of the node's process over so many minutes at RATE_HZ, with odometry.
    The same seed gives the same events. Raises LiveError where the node stops or does not
    answer."""
    count = max(20, round(60 * minutes * RATE_HZ))
    with _driven_node(out, map_path, weights) as (generator, driver, pid):
        soak = Soak(generator, driver, np.random.default_rng(seed))
        settled_mb = resident_mb(pid)
        for number in progress(range(count)):
            soak.step()
            if number == int(SETTLED * count):
                settled_mb = resident_mb(pid)
        generator.receive(WAIT_S)
        return soak.figures() | growth(settled_mb, resident_mb(pid))


@contextmanager
def _driven_node(
    out: Path, map_path: Path, weights: Path
) -> Iterator[tuple['LoadGenerator', 'LifecycleClient', int]]:
    """(load generator, its driver, pid) of an active node."""
    from justzoom_ros.live.node_process import own_domain, running_node
    from justzoom_ros.ros.load_generator import LoadGenerator
    from justzoom_ros.ros.transitions import LifecycleClient

    pids: list[int] = []
    node = running_node(out, map_path, weights, pids.append)
    with own_domain(), node as alive, LifecycleClient('/justzoom', alive) as driver:
        driver.change('configure')
        driver.change('activate')
        with LoadGenerator(TOPIC, ODOMETRY) as generator:
            generator.wait_until_there()
            yield generator, driver, pids[0]


@dataclass
class Soak:
    """What was sent, and what is to go wrong next."""

    generator: 'LoadGenerator'
    """Sends frames and odometry, hears fixes."""

    driver: 'LifecycleClient'
    """Deactivates and activates the node."""

    rng: np.random.Generator
    """Decides what goes wrong, and when."""

    events: Counter[str] = field(default_factory=Counter)
    """How often each of EVENTS happened."""

    sent_s: dict[int, float] = field(default_factory=dict)
    """{stamp (ns): when it was sent} of the frames that have to be answered."""

    _coming: list[str] = field(default_factory=list)
    _fault: str = ''
    _left: int = 0
    _next_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._good = encode_jpeg(picture(*SMALL_PX))
        self._black = encode_jpeg(np.zeros((*SMALL_PX, 3), np.uint8))

    def step(self) -> None:
        """One frame, or what is in its place, and the answers until it is time for the next."""
        self._left -= 1
        if self._left <= 0:
            self._fault = ''
            if self.rng.random() < 1 / (EVERY_S * RATE_HZ):
                self._begin(self._next_event())
        self._send()
        self._next_s = max(self._next_s + 1 / RATE_HZ, time.monotonic())
        self.generator.receive_arrivals(self._next_s)

    def _next_event(self) -> str:
        """Each of EVENTS once before any comes again."""
        if not self._coming:
            self._coming = [EVENTS[number] for number in self.rng.permutation(len(EVENTS))]
        return self._coming.pop()

    def _begin(self, event: str) -> None:
        self.events[event] += 1
        if event == 'reset':
            self.generator.reset()
        elif event == 'deactivate':
            # What is on its way is not answered any more.
            self.generator.receive_arrivals(time.monotonic() + 1.0)
            self.driver.change('deactivate')
            self.driver.change('activate')
            self.generator.wait_until_there()
        elif event == 'loop':
            self.generator.receive_arrivals(time.monotonic() + 1.0)
            self.generator.jump_back(LOOP_FRAMES)
        else:
            self._fault, self._left = event, LASTS

    def _send(self) -> None:
        if self._fault == 'camera silent':
            self.generator.send_odometry()
            return
        jpeg = {'damaged': self._good[:500], 'black': self._black}.get(self._fault, self._good)
        stamp_ns = self.generator.send_frame(jpeg, self._fault != 'odometry silent')
        if self._fault != 'damaged':
            self.sent_s[stamp_ns] = time.monotonic()

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        arrivals = self.generator.arrivals
        late_s = [arrivals[s] - at for s, at in self.sent_s.items() if s in arrivals]
        part = max(1, int(PART * len(late_s)))
        return {
            'frames': len(self.sent_s),
            'answered': len(late_s),
            # The node takes the newest frame; older ones that wait are dropped.
            'dropped': round(1 - len(late_s) / len(self.sent_s), 4),
            'longest silence s': round(self._longest_silence_s(), 2),
            'latency at first ms': _median_ms(late_s[:part]),
            'latency at last ms': _median_ms(late_s[-part:]),
            **{f'{event} (times)': self.events[event] for event in EVENTS},
        }

    def _longest_silence_s(self) -> float:
        """Longest time for which frame after frame was sent and none answered."""
        longest_s, begun_s = 0.0, None
        for stamp_ns, at_s in self.sent_s.items():
            if stamp_ns in self.generator.arrivals:
                begun_s = None
            else:
                begun_s = at_s if begun_s is None else begun_s
                longest_s = max(longest_s, at_s - begun_s)
        return longest_s


def _median_ms(seconds: list[float]) -> float:
    return round(1000 * float(np.median(seconds)), 2) if seconds else float('nan')
