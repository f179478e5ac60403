"""What comes between two frames, handed from the thread that hears it to the one that works."""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

Event = tuple[Callable[[Any], None], Any]
"""What takes it, and what is taken."""


class EventQueue:
    """Events of several kinds, in the order in which they came.

    Each kind has a lane of its own, of which the newest stay: those that come fast and for ever
    cannot push out those that come once. A kind of which only the latest counts has a lane of one.
    """

    def __init__(self, capacities: Mapping[str, int]) -> None:
        """`capacities`: {kind: how many of its events stay}."""
        self._lanes: dict[str, deque[tuple[int, Event]]] = {
            kind: deque(maxlen=capacity) for kind, capacity in capacities.items()
        }
        self._added, self._lock = 0, threading.Lock()

    def add(self, kind: str, take: Callable[[Any], None], what: Any) -> None:
        """One more event, from any thread; `take(what)` is what becomes of it."""
        with self._lock:
            self._added += 1
            self._lanes[kind].append((self._added, (take, what)))

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def take_all(self) -> None:
        """Hand over everything that waits, oldest first. Where that raises an error the rest goes
        on waiting."""
        while event := self._pop():
            take, what = event
            take(what)

    def _pop(self) -> Event | None:
        with self._lock:
            waiting = [lane for lane in self._lanes.values() if lane]
            return min(waiting, key=lambda lane: lane[0][0]).popleft()[1] if waiting else None
