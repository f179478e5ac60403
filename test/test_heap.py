"""One heap for all threads of the node, told by glibc itself."""

import subprocess
import sys

import pytest

from justzoom_ros.live import heap

COUNT_HEAPS = """
import ctypes, sys, threading
from justzoom_ros.live.heap import share_heap
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
if sys.argv[1] == 'shared':
    share_heap()
together = threading.Barrier(4)
def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b'w'))
libc.malloc_info(0, file)
libc.fclose(file)
"""


def heaps(how, folder):
    path = folder / f'{how}.xml'
    subprocess.run([sys.executable, '-c', COUNT_HEAPS, how, path], check=True)
    return path.read_text().count('<heap nr=')


GROWTH = """
import threading
from pathlib import Path
import numpy as np
from justzoom_ros.live.latest_worker import LatestWorker
kept, over = [], threading.Event()
def resident_mb():
    return int(Path('/proc/self/statm').read_text().split()[1]) * 4096 / 2**20
def handle(done):
    parts = []
    for _ in range(400):
        parts.append(np.ones(12_500))  # 0.1 MB
        kept.append(np.ones(8))
    parts.clear()
    done.set()
def work():
    worker, done = LatestWorker(handle, 'test'), threading.Event()
    worker.offer(done)
    done.wait()
    worker.stop()
    other = threading.Thread(target=lambda: (kept.append(np.ones(8)), over.wait()), daemon=True)
    other.start()
work()
before = resident_mb()
for _ in range(5):
    work()
print(resident_mb() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='glibc is on Linux')
def test_threads_that_ended_keep_no_memory():
    """Each activation of a node has a thread of its own, and the C library keeps what one freed
    for the next, unless another has taken its place. In a process of its own, for what others
    allocated before decides too."""
    done = subprocess.run([sys.executable, '-c', GROWTH], check=True, capture_output=True)
    assert float(done.stdout) < 40


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='glibc is on Linux')
def test_threads_have_one_heap_where_they_share_it_and_several_else(tmp_path):
    assert heaps('shared', tmp_path) == 1
    assert heaps('apart', tmp_path) > 1


def test_where_there_is_no_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(heap.ctypes, 'CDLL', lambda name: object())
    heap.share_heap()
    heap.return_memory()
