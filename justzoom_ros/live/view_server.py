"""A page that goes on: HTTP on one address, read only, with server-sent events of frames.

Who publishes never waits for who looks: each browser has a thread and a short queue of its own,
whose oldest event makes room for a new one, and one that takes nothing for a while is let go.
"""

import json
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from justzoom_ros.errors import ConfigError
from justzoom_ros.report.content import FrameView
from justzoom_ros.report.page import plain

log = logging.getLogger(__name__)

LOOPBACK = '127.0.0.1'
MAX_BROWSERS = 32
"""More are asked to come back later."""

QUEUE = 3
"""Events that wait for a browser at most."""

HISTORY = 300
"""Frames that a browser gets to know of when it comes, without pictures but for the last."""

SEND_S = 10.0
"""A browser that takes nothing for so long is let go; it comes back by itself."""

BEAT_S = 5.0
"""Between two signs of life where there are no frames."""

LOCAL_NAMES = ('localhost', LOOPBACK, '[::1]')
"""What a browser on this machine calls a server on it: any other name is a trick by which pages of
others reach what only this machine may see."""

HEADERS = {
    'Content-Security-Policy': "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; connect-src 'self'; frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-store',
}


class EventLine:
    """The events that wait for one browser, the newest few of them."""

    def __init__(self) -> None:
        self._events: deque[bytes] = deque(maxlen=QUEUE)
        self._condition, self._closed = threading.Condition(), False

    def put(self, event: bytes) -> None:
        """Add an event; never waits."""
        with self._condition:
            self._events.append(event)
            self._condition.notify()

    def get(self, timeout_s: float) -> bytes | None:
        """The oldest that waits; b'' after a time without any, None once closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._events or self._closed, timeout_s)
            if self._closed:
                return None
            return self._events.popleft() if self._events else b''

    def close(self) -> None:
        """No more events."""
        with self._condition:
            self._closed = True
            self._condition.notify()


class ViewServer:
    """Serves a page and its frames until `close`. `page` makes the text of the page when it is
    first asked for. Raises ConfigError where the address cannot be had."""

    def __init__(self, page: Callable[[], str], host: str = LOOPBACK, port: int = 0) -> None:
        self._make_page = page
        self._lock = threading.Lock()
        self._lines: dict[EventLine, socket.socket] = {}
        self._history: deque[dict[str, Any]] = deque(maxlen=HISTORY)
        self._latest = b''
        self._server = _listen(host, port, self)
        self.host, self.port = host, self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name='view', daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        return f'http://{self.host}:{self.port}/'

    @property
    def browsers(self) -> int:
        """How many look."""
        return len(self._lines)

    @cached_property
    def page(self) -> bytes:
        """The page as it is sent."""
        return self._make_page().encode()

    def publish(self, frame: FrameView) -> None:
        """Send a frame to all who look; never waits for any of them."""
        event = _event('frame', plain(asdict(frame)))
        light = replace(frame, image='', belief=None, evidence=None)
        with self._lock:
            self._history.append(plain(asdict(light)))
            self._latest = event
            lines = list(self._lines)
        for line in lines:
            line.put(event)

    def close(self) -> None:
        """Let everybody go and free the port."""
        self._server.shutdown()
        self._server.server_close()
        with self._lock:
            lines, self._lines = self._lines, {}
        for line, connection in lines.items():
            line.close()
            _hang_up(connection)
        self._thread.join()

    def admit(self, connection: socket.socket) -> tuple[EventLine, bytes] | None:
        """A line for one more browser and what it should know first; None where there are too
        many."""
        line = EventLine()
        with self._lock:
            if len(self._lines) >= MAX_BROWSERS:
                return None
            self._lines[line] = connection
            return line, _event('history', list(self._history)[:-1]) + self._latest

    def dismiss(self, line: EventLine) -> None:
        """A browser has gone."""
        with self._lock:
            self._lines.pop(line, None)

    def is_called(self, name: str) -> bool:
        """Whether a Host header may name this server: on loopback only by a local name."""
        if self.host not in (LOOPBACK, 'localhost', '::1'):
            return True
        return name.rpartition(':')[0] in LOCAL_NAMES or name in LOCAL_NAMES


def _listen(host: str, port: int, view: ViewServer) -> ThreadingHTTPServer:
    class Handler(_Handler):
        server_of_view = view

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except (OSError, OverflowError) as error:
        said = getattr(error, 'strerror', None) or error
        raise ConfigError(
            f'the page cannot be served on {host}, port {port}: {said}; choose another port, '
            '0 for any that is free'
        ) from error
    server.daemon_threads, server.block_on_close = True, False
    return server


def _event(kind: str, value: Any) -> bytes:
    text = json.dumps(value, allow_nan=False, separators=(',', ':'))
    return f'event: {kind}\ndata: {text}\n\n'.encode()


def _hang_up(connection: socket.socket) -> None:
    """End a connection whose thread may be stuck in sending."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        log.debug('a browser had gone already')


class _Handler(BaseHTTPRequestHandler):
    """One request. Everything but reading is refused by the base class."""

    server_of_view: ViewServer
    server_version, sys_version = 'justzoom_ros', ''
    timeout = SEND_S

    def do_GET(self) -> None:
        if not self.server_of_view.is_called(self.headers.get('Host', '')):
            self.send_error(403, 'this server goes by the names of this machine alone')
        elif self.path in ('/', '/index.html'):
            self._send_page()
        elif self.path == '/events':
            self._send_events()
        else:
            self.send_error(404)

    def _send_page(self) -> None:
        page = self.server_of_view.page
        self._begin('text/html; charset=utf-8', {'Content-Length': str(len(page))})
        self.wfile.write(page)

    def _send_events(self) -> None:
        view = self.server_of_view
        admitted = view.admit(self.connection)
        if admitted is None:
            return self.send_error(503, 'too many browsers look already')
        line, first = admitted
        try:
            self._begin('text/event-stream', {})
            self.wfile.write(b'retry: 2000\n\n' + first)
            while (event := line.get(BEAT_S)) is not None:
                self.wfile.write(event or b': alive\n\n')
        except OSError as error:  # gone, or takes nothing for too long
            log.debug('a browser is let go: %s', error)
        finally:
            view.dismiss(line)

    def _begin(self, kind: str, more: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {'Content-Type': kind, **HEADERS, **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


class Pace:
    """Lets through at most one in a period."""

    def __init__(self, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s, self._clock, self._due_s = period_s, clock, 0.0

    def wait_s(self) -> float:
        """How long to wait until the next may go; it counts as gone then."""
        now_s = self._clock()
        wait_s = max(0.0, self._due_s - now_s)
        self._due_s = now_s + wait_s + self._period_s
        return wait_s
