"""Stamps of messages: as nanoseconds, in order, and when time has jumped back."""

from typing import Literal, Protocol

NS_PER_S = 1_000_000_000

JUMP_BACK_NS = NS_PER_S
"""A stamp this much older than the newest is not late: time has jumped, a bag loops."""

Verdict = Literal['new', 'late', 'jump', 'unset']


class Stamp(Protocol):
    """The fields of a `builtin_interfaces/Time`."""

    sec: int
    """Whole seconds since 1970."""

    nanosec: int
    """Nanoseconds beside them, 0 .. 999,999,999."""


def to_nanoseconds(stamp: Stamp) -> int:
    """A stamp in nanoseconds since 1970."""
    return stamp.sec * NS_PER_S + stamp.nanosec


def from_nanoseconds(stamp_ns: int) -> tuple[int, int]:
    """(sec, nanosec) of a stamp of so many nanoseconds since 1970."""
    return divmod(stamp_ns, NS_PER_S)


def has_jumped_back(newest_ns: int, stamp_ns: int) -> bool:
    """Whether a stamp after the newest one means that time itself has jumped back."""
    return newest_ns - stamp_ns >= JUMP_BACK_NS


class StampGate:
    """Judges the stamps of frames in the order of their arrival."""

    def __init__(self) -> None:
        self._newest_ns: int | None = None

    def judge(self, stamp_ns: int) -> Verdict:
        """'new'; 'late', not after the newest one; 'jump', so much older that time has jumped
        back and counting starts again from it; or 'unset' for the stamp zero and those before."""
        if stamp_ns <= 0:
            return 'unset'
        if self._newest_ns is None or stamp_ns > self._newest_ns:
            self._newest_ns = stamp_ns
            return 'new'
        if has_jumped_back(self._newest_ns, stamp_ns):
            self._newest_ns = stamp_ns
            return 'jump'
        return 'late'

    def reset(self) -> None:
        """Forget the newest stamp."""
        self._newest_ns = None
