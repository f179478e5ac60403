"""Runs Python as a process that ends when the one that started it does, however that ends.

    python -m justzoom_ros.live.end_with_parent PARENT_PID -m some.module ARGUMENTS

The process asks the kernel for it itself, before it becomes what it is to run: what is called
between fork and exec in a parent with threads may hang. Linux alone can do it; elsewhere only a
parent that ends in order stops its child.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Of linux/prctl.h; what it sets outlives exec."""


def command(*words: str) -> list[str]:
    """The command line of a Python that runs `words` and ends with this process, or with the
    thread that starts it. It is sent SIGTERM, so that it can end in order."""
    return [sys.executable, '-m', __name__, str(os.getpid()), *words]


def main() -> None:
    """Become Python with the arguments behind the first, which is the parent's process id."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != int(sys.argv[1]):  # it has ended already
            return
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])


if __name__ == '__main__':
    main()
