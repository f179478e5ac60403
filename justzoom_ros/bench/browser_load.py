"""Browsers on a live page, and one that takes nothing: a program of its own that loads no torch.

    python -m justzoom_ros.bench.browser_load PORT N

prints a line once all look, and the number of frames that all got together when stdin ends.
"""

import socket
import sys
import threading

REQUEST = b'GET /events HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n'


def look(port: int, browsers: int) -> None:
    """Look with so many readers and one more that never reads."""
    counts, ends = [0] * browsers, [_connect(port) for _ in range(browsers + 1)]

    def read(number: int) -> None:
        for line in ends[number].makefile('rb'):
            counts[number] += line == b'event: frame\n'

    for number in range(browsers):
        threading.Thread(target=read, args=(number,), daemon=True).start()
    print('all look', flush=True)
    sys.stdin.read()
    print(sum(counts), flush=True)


def _connect(port: int) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    connection.settimeout(20)
    connection.connect(('127.0.0.1', port))
    connection.sendall(REQUEST)
    connection.settimeout(None)
    return connection


if __name__ == '__main__':
    look(*map(int, sys.argv[1:3]))
