"""Which camera frames are worked on: stamps in order, the newest first. No ROS in here."""

import threading
from collections import deque

JUMP_BACK_NS = 1_000_000_000
"""A stamp this much older than the newest is no late frame: time has jumped, a bag loops."""


class StampGate:
    """Judges the stamps of frames in the order of their arrival."""

    def __init__(self):
        self._newest_ns = None

    def judge(self, stamp_ns):
        """'new'; 'late', not after the newest one; 'jump', so much older that time has jumped
        back and counting starts again from it; or 'unset' for the stamp zero."""
        if stamp_ns == 0:
            return 'unset'
        if self._newest_ns is None or stamp_ns > self._newest_ns:
            self._newest_ns = stamp_ns
            return 'new'
        if self._newest_ns - stamp_ns >= JUMP_BACK_NS:
            self._newest_ns = stamp_ns
            return 'jump'
        return 'late'

    def reset(self):
        """Forget the newest stamp."""
        self._newest_ns = None


class LatestWorker:
    """One thread that handles what it is offered. While it is busy only the latest offer waits;
    a newer one replaces it. `handle(item)` must not raise."""

    def __init__(self, handle, name):
        self._handle = handle
        self._waiting = deque(maxlen=1)
        self._condition = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, item):
        """Hand over the newest item; True where it replaces one that was still waiting."""
        with self._condition:
            replaces = bool(self._waiting)
            self._waiting.append(item)
            self._condition.notify()
        return replaces

    def drop(self):
        """Forget what waits."""
        with self._condition:
            self._waiting.clear()

    def stop(self):
        """End the thread: what waits is dropped, what is being handled is finished."""
        with self._condition:
            self._stopping = True
            self._waiting.clear()
            self._condition.notify()
        self._thread.join()

    def _run(self):
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or self._stopping)
                if self._stopping:
                    return
                item = self._waiting.popleft()
            self._handle(item)
