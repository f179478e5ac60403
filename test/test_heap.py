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


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='glibc is on Linux')
def test_threads_have_one_heap_where_they_share_it_and_several_else(tmp_path):
    assert heaps('shared', tmp_path) == 1
    assert heaps('apart', tmp_path) > 1


def test_where_there_is_no_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(heap.ctypes, 'CDLL', lambda name: object())
    heap.share_heap()
    heap.return_memory()
