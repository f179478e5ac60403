"""Stamps of messages: as nanoseconds, in order, and when time has jumped back."""

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


def stamp_ns_of(message):
    """The stamp of a message's header in nanoseconds."""
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
