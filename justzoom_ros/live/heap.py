"""The heap of a process that runs for days."""

import ctypes

M_ARENA_MAX = -8
"""Of mallopt(3)."""


def share_heap() -> None:
    """Let all threads of this process share one heap.

    Otherwise glibc gives every thread heaps of its own. Large tensors that a worker frees then
    stay with it in pieces: a node that looked at its whole map again and again, activated anew
    now and then, grew by 170 MB a minute. Threads that wait for each other hardly ever allocate at
    the same time, so one heap costs no time. Does nothing where there is no glibc.
    """
    try:
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
    except (AttributeError, OSError):
        return


def return_memory() -> None:
    """Give the system what was freed: after a search over a whole map glibc keeps hundreds of
    megabytes, which a node that was deactivated does not need, and in a process whose threads do
    not share a heap so much for each of them (malloc_trim(3)). Does nothing where there is no
    glibc."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        return
