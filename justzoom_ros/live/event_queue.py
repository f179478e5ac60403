"""What comes between two frames, handed from the thread that hears it to the one that works."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

Event = tuple[Callable[[Any], None], Any]
"""What takes it, and what is taken."""


class EventQueue:
    """Samples and restarts, in the order in which they came.

    Of samples (odometry, headings) only the newest `capacity` stay: they come whether or not there
    are frames. A restart is never lost, however many samples follow it. Only the latest counts,
    since it makes those before it void.
    """

    def __init__(self, capacity: int) -> None:
        self._samples: deque[tuple[int, Event]] = deque(maxlen=capacity)
        self._restarts: deque[tuple[int, Event]] = deque(maxlen=1)
        self._added, self._lock = 0, threading.Lock()

    def add_sample(self, take: Callable[[Any], None], sample: Any) -> None:
        """One more measurement, from any thread."""
        self._add(self._samples, (take, sample))

    def add_restart(self, take: Callable[[Any], None], start: Any) -> None:
        """What came before is void, from any thread."""
        self._add(self._restarts, (take, start))

    def _add(self, queue: deque[tuple[int, Event]], event: Event) -> None:
        with self._lock:
            self._added += 1
            queue.append((self._added, event))

    def __len__(self) -> int:
        return len(self._samples) + len(self._restarts)

    def take_all(self) -> None:
        """Hand over everything that waits, oldest first. Where that raises an error the rest goes
        on waiting."""
        while event := self._pop():
            take, what = event
            take(what)

    def _pop(self) -> Event | None:
        with self._lock:
            waiting = [queue for queue in (self._samples, self._restarts) if queue]
            return min(waiting, key=lambda queue: queue[0][0]).popleft()[1] if waiting else None
