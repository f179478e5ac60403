"""One thread that handles the newest of what it is offered."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from justzoom_ros.live.heap import return_memory

Item = TypeVar('Item')


class LatestWorker(Generic[Item]):
    """One thread that handles what it is offered. While it is busy only the latest offer waits;
    a newer one replaces it. `handle(item)` must not raise."""

    def __init__(self, handle: Callable[[Item], None], name: str) -> None:
        self._handle = handle
        self._waiting: deque[Item] = deque(maxlen=1)
        self._condition = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, item: Item) -> bool:
        """Hand over the newest item; True where it replaces one that was still waiting."""
        with self._condition:
            replaces = bool(self._waiting)
            self._waiting.append(item)
            self._condition.notify()
        return replaces

    def drop(self) -> None:
        """Forget what waits."""
        with self._condition:
            self._waiting.clear()

    def stop(self) -> None:
        """End the thread: what waits is dropped, what is being handled is finished, and memory
        that it freed goes back to the system."""
        with self._condition:
            self._stopping = True
            self._waiting.clear()
            self._condition.notify()
        self._thread.join()
        return_memory()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or self._stopping)
                if self._stopping:
                    return
                item = self._waiting.popleft()
            self._handle(item)
