"""The real node for a long time at the rate of a camera, while what goes wrong on robots does:
resets, deactivations, recordings that loop, sensors that fall silent, pictures that are damaged or
black. Latency and memory have to stay as they were, fixes have to be right, and answers must not
fall silent."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from justzoom_ros.bench.node import TOPIC
from justzoom_ros.bench.soak_figures import (
    ProcessState,
    SentFrame,
    change_per_hour,
    count_lost,
    flat_part,
    frame_figures,
    longest_silence_s,
    minute_rows,
    recoveries_s,
)
from justzoom_ros.bench.soak_flight import CAMERA, PARAMETERS, RATE_HZ, CirclingFlight
from justzoom_ros.io.camera_effects import encode_jpeg

if TYPE_CHECKING:
    from justzoom_ros.ros.flight_generator import FlightGenerator
    from justzoom_ros.ros.transitions import LifecycleClient

SILENT = ('camera silent', 'odometry silent', 'heights silent', 'all silent')
FORGETS = ('reset', 'deactivate', 'loop')
"""After these the node knows nothing of where it is."""
EVENTS = (*FORGETS, *SILENT, 'damaged', 'black')
EVERY_S = 15.0
"""Mean time between two events."""
LASTS = 20
"""Frames that a sensor is silent for, or that pictures are damaged or black."""
LOOP_FRAMES = 300
"""How far a recording that loops goes back."""
WAIT_S = 5.0
"""So long the last answers are waited for."""
STATE_S = 60.0
"""Time between two looks at the process."""
SETTLED = 0.1
"""Share of the time in which buffers find their sizes."""


def measure_soak(
    out: Path,
    map_path: Path,
    weights: Path | None,
    minutes: float,
    seed: int = 0,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, Any]:
    """The node over the demo's town for so many minutes at RATE_HZ, with a policy's weights alone
    or, without, by registration. Figures of all frames and of each minute: latency (ms), errors
    of the fixes (m), processor time a frame (ms), resident memory (MB), open files and threads of
    its process; frames lost; events, and how soon a fix came again after each. The same seed gives
    the same events. Raises LiveError where the node stops or does not answer."""
    count = max(20, round(60 * minutes * RATE_HZ))
    flight = CirclingFlight(time.time_ns())
    flight.take_pictures(count)
    with _driven_node(out, map_path, weights) as (generator, driver, pid):
        soak = Soak(generator, driver, flight, pid, np.random.default_rng(seed))
        with suppress(KeyboardInterrupt):  # figures of what was run by then
            for _ in progress(range(count)):
                soak.step()
        generator.receive(WAIT_S)
        soak.look()
        return soak.figures()


@contextmanager
def _driven_node(
    out: Path, map_path: Path, weights: Path | None
) -> Iterator[tuple['FlightGenerator', 'LifecycleClient', int]]:
    """(flight generator, its driver, pid) of an active node."""
    from justzoom_ros.live.node_process import own_domain, running_node
    from justzoom_ros.ros.flight_generator import FlightGenerator
    from justzoom_ros.ros.transitions import LifecycleClient

    pids: list[int] = []
    given: dict[str, Any] = {} if weights else dict(PARAMETERS)
    given['memory_file'] = str((out / 'memory.json').resolve())
    node = running_node(out, map_path, weights, pids.append, **given)
    with own_domain(), node as alive, LifecycleClient('/justzoom', alive) as driver:
        driver.change('configure')
        driver.change('activate')
        with FlightGenerator(TOPIC) as generator:
            generator.wait_until_there()
            yield generator, driver, pids[0]


@dataclass
class Soak:
    """What was sent, and what is to go wrong next."""

    generator: 'FlightGenerator'
    """Sends what sensors say, hears fixes."""

    driver: 'LifecycleClient'
    """Deactivates and activates the node."""

    flight: CirclingFlight
    """What sensors say."""

    pid: int
    """Process of the node."""

    rng: np.random.Generator
    """Decides what goes wrong, and when."""

    ended_s: dict[str, list[float]] = field(default_factory=lambda: {e: [] for e in EVENTS})
    """When each of EVENTS was over, by the monotonic clock."""

    states: list[ProcessState] = field(default_factory=list)
    """The node's process, every STATE_S."""

    _sent: dict[int, tuple[int, float]] = field(default_factory=dict)
    _coming: list[str] = field(default_factory=list)
    _number: int = 0
    _loops: int = 0
    _fault: str = ''
    _left: int = 0
    _next_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        width, height = CAMERA.size_px
        self._black = encode_jpeg(np.zeros((height, width, 3), np.uint8))
        self.look()

    def step(self) -> None:
        """What sensors say of one frame, and the answers until it is time for the next."""
        self._left -= 1
        if self._fault and self._left <= 0:
            self.ended_s[self._fault].append(time.monotonic())
            self._fault = ''
        if not self._fault and self.rng.random() < 1 / (EVERY_S * RATE_HZ):
            self._begin(self._next_event())
        if time.monotonic() >= self.states[-1].at_s + STATE_S:
            self.look()
        self._send()
        self._number += 1
        self._next_s = max(self._next_s + 1 / RATE_HZ, time.monotonic())
        self.generator.receive_arrivals(self._next_s)

    def look(self) -> None:
        """Note what the process holds."""
        self.states.append(ProcessState.of(self.pid, time.monotonic()))

    def _next_event(self) -> str:
        """Each of EVENTS once before any comes again."""
        if not self._coming:
            self._coming = [EVENTS[number] for number in self.rng.permutation(len(EVENTS))]
        return self._coming.pop()

    def _begin(self, event: str) -> None:
        if event not in FORGETS:
            self._fault, self._left = event, LASTS
            return
        if event == 'reset':
            self.generator.reset()
        elif event == 'deactivate':
            self._deactivate()
        else:
            # What is on its way is of another time.
            self.generator.receive_arrivals(time.monotonic() + 1.0)
            self._number -= LOOP_FRAMES
            self._loops += 1
        self.ended_s[event].append(time.monotonic())

    def _deactivate(self) -> None:
        """The drone flies on meanwhile."""
        begun_s = time.monotonic()
        # What is on its way is not answered any more.
        self.generator.receive_arrivals(begun_s + 1.0)
        self.driver.change('deactivate')
        self.driver.change('activate')
        self.generator.wait_until_there()
        self._number += round((time.monotonic() - begun_s) * RATE_HZ)

    def _send(self) -> None:
        silent, number = self._fault, self._number
        # No stamp comes twice.
        stamp_ns = self.flight.stamp_ns(number) + self._loops
        if silent not in ('odometry silent', 'all silent'):
            self.generator.send_odometry(self.flight.odometry(number))
        if silent not in ('heights silent', 'all silent'):
            self.generator.send_height(stamp_ns, self.flight.height_m(number))
        if silent not in ('camera silent', 'all silent'):
            self._send_picture(number, stamp_ns)

    def _send_picture(self, number: int, stamp_ns: int) -> None:
        jpeg = self.flight.jpeg(number)
        jpeg = {'damaged': jpeg[:500], 'black': self._black}.get(self._fault, jpeg)
        if self._fault != 'damaged':
            self._sent[stamp_ns] = number, time.monotonic()
        self.generator.send_frame(stamp_ns, jpeg)

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        frames = [self._frame(stamp_ns) for stamp_ns in self._sent]
        rows = minute_rows(frames, self.states)
        flat = flat_part(rows, SETTLED)
        kept = 'resident MB', 'latency median ms', 'latency 95 % ms', 'cpu ms a frame'
        return {
            **frame_figures(frames),
            'lost': count_lost(frames, [s for event in FORGETS for s in self.ended_s[event]]),
            'longest silence s': round(longest_silence_s(frames), 2),
            'change in an hour': {
                name: change_per_hour([row[name] for row in flat]) for name in kept
            },
            'events': {event: recoveries_s(frames, ends) for event, ends in self.ended_s.items()},
            'minutes': {str(row['minute']): row for row in rows},
        }

    def _frame(self, stamp_ns: int) -> SentFrame:
        number, sent_s = self._sent[stamp_ns]
        arrived_s, fix = self.generator.arrivals.get(stamp_ns), self.generator.fixes.get(stamp_ns)
        if fix is None or fix.status.status < 0:
            return SentFrame(sent_s, arrived_s, None)
        error_m = self.flight.error_m(number, fix.latitude, fix.longitude)
        return SentFrame(sent_s, arrived_s, error_m)
