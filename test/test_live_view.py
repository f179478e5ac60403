"""The live page: who publishes never waits, whoever looks; what a browser gets, and what not."""

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from itertools import islice

import numpy as np
import pytest
from browser import browser, needs_browser  # noqa: F401
from tiny import REGION, make_map

from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.fix import make_fix
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.live import view_server
from justzoom_ros.live.live_view import LiveView, ShownFrame
from justzoom_ros.live.view_server import EventLine, Pace, ViewServer
from justzoom_ros.report.content import FrameView, Page
from justzoom_ros.report.page import write_page
from justzoom_ros.report.saved import read_report

PICTURE = 'data:' + 'x' * 30_000
"""As long as the pictures of a frame are."""
PATIENCE_S = 60.0
"""So long is waited for what comes at once on a quiet machine."""


@pytest.fixture
def server():
    made = ViewServer(lambda: '<title>page</title>')
    yield made
    made.close()


def ask(server, path='/', **headers):
    """Status and body of one request."""
    request = urllib.request.Request(server.address.rstrip('/') + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ''


def listen(server):
    """A connection on which events come."""
    connection = socket.create_connection((server.host, server.port), PATIENCE_S)
    connection.sendall(b'GET /events HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n')
    return connection


def until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def events(connection):
    """Yield (kind, value) of the events."""
    file = connection.makefile('rb')
    while line := file.readline().decode():
        if line.startswith('event: '):
            yield line[7:].rstrip(), json.loads(file.readline().decode()[6:])


def frame(number, image=''):
    return FrameView(str(number), 'fix', image=image, latlon=(1.0, 2.0))


# --- the server --------------------------------------------------------------------------------


def test_the_page_is_read_only_and_lets_nothing_in(server):
    assert ask(server) == (200, '<title>page</title>')
    assert ask(server, '/etc/passwd')[0] == 404 and ask(server, '/../x')[0] == 404
    request = urllib.request.Request(server.address, b'x=1', method='POST')
    with pytest.raises(urllib.error.HTTPError, match='501'):
        urllib.request.urlopen(request, timeout=PATIENCE_S)
    with urllib.request.urlopen(server.address, timeout=PATIENCE_S) as answer:
        assert "default-src 'none'" in answer.headers['Content-Security-Policy']


def test_on_loopback_it_goes_by_local_names_alone(server):
    """Else a page of another would reach it under a name that leads here."""
    assert server.host == '127.0.0.1'
    assert ask(server, Host=f'localhost:{server.port}')[0] == 200
    assert ask(server, Host='evil.example')[0] == 403
    assert ask(server, '/events', Host=f'evil.example:{server.port}')[0] == 403


def test_a_taken_port_is_an_error_by_name(server):
    with pytest.raises(ConfigError, match=f'port {server.port}: .*in use.*0 for any'):
        ViewServer(lambda: '', port=server.port)
    with pytest.raises(ConfigError, match='choose another port'):
        ViewServer(lambda: '', port=70_000)
    with pytest.raises(ConfigError, match='no.such.host'):
        ViewServer(lambda: '', host='no.such.host')


def test_who_comes_late_hears_of_the_frames_before_with_the_last_one_whole(server):
    for number in range(5):
        server.publish(frame(number, PICTURE))
    connection = listen(server)
    (kind, history), (_, last) = islice(events(connection), 2)
    assert kind == 'history' and [f['name'] for f in history] == ['0', '1', '2', '3']
    assert not any(f['image'] for f in history)
    assert (last['name'], last['image']) == ('4', PICTURE)
    server.publish(frame(5))
    until(lambda: server.browsers == 1)
    connection.close()


def test_a_line_keeps_the_newest_events_and_never_blocks():
    line = EventLine()
    for number in range(100):
        line.put(str(number).encode())
    assert [line.get(0.0) for _ in range(4)] == [b'97', b'98', b'99', b'']
    line.close()
    assert line.get(5.0) is None


@pytest.mark.slow
def test_ten_browsers_and_one_that_reads_nothing_cost_who_publishes_nothing(server, monkeypatch):
    # Who waited for the one that reads nothing would wait so long.
    monkeypatch.setattr(view_server._Handler, 'timeout', 10 * PATIENCE_S)
    readers, heard = [listen(server) for _ in range(10)], [[] for _ in range(10)]
    stuck = [listen(server)]
    stuck[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    until(lambda: server.browsers == 11)

    def read(connection, into):
        for _, value in events(connection):
            if isinstance(value, dict):
                into.append(value['name'])
                if value['name'] == 'last':
                    return

    pairs = zip(readers, heard, strict=True)
    threads = [threading.Thread(target=read, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    started_s, seconds = time.monotonic(), []
    for number in range(100):
        begun_s = time.thread_time()
        server.publish(frame(number, PICTURE))
        seconds.append(time.thread_time() - begun_s)
        time.sleep(0.002)
    server.publish(frame('last'))
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    # Three megabytes in all: far more than the sockets of the stuck one hold.
    assert np.median(seconds) < 0.01
    assert server.browsers == 11
    server.close()
    assert time.monotonic() - started_s < 5 * PATIENCE_S
    for connection in readers + stuck:
        connection.close()


def test_only_so_many_browsers_are_let_in(server, monkeypatch):
    monkeypatch.setattr('justzoom_ros.live.view_server.MAX_BROWSERS', 4)
    connections = [listen(server) for _ in range(4)]
    until(lambda: server.browsers == 4)
    assert ask(server, '/events')[0] == 503
    connections[0].close()
    until(lambda: server.publish(frame(0)) or server.browsers < 4)
    for connection in connections:
        connection.close()


def test_the_pace_lets_one_through_in_a_period():
    now_s = [10.0]
    pace = Pace(0.2, lambda: now_s[0])
    assert pace.wait_s() == 0.0
    now_s[0] = 10.05
    assert pace.wait_s() == pytest.approx(0.15)
    now_s[0] = 11.0
    assert pace.wait_s() == 0.0


# --- the command -------------------------------------------------------------------------------


def test_a_saved_report_is_read_back_and_others_are_refused(tmp_path):
    write_page(tmp_path / 'report.html', Page('mine'))
    assert 'mine' in read_report(tmp_path) and 'mine' in read_report(tmp_path / 'report.html')
    text = (tmp_path / 'report.html').read_text()
    (tmp_path / 'old.html').write_text(text.replace('"format":1', '"format":99'))
    with pytest.raises(ConfigError, match='old.html is of another version .format 99'):
        read_report(tmp_path / 'old.html')
    (tmp_path / 'other.html').write_text('<p>hello')
    (tmp_path / 'picture.html').write_bytes(b'\xff\xd8\xff')
    for name in ('other.html', 'picture.html'):
        with pytest.raises(ConfigError, match=f'{name} is no report of justzoom_ros'):
            read_report(tmp_path / name)


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ('', 'give a REPORT to show, or the --map of a running node'),
        ('out --map m', 'give a REPORT to show, or the --map of a running node'),
        ('nowhere', 'nowhere cannot be read: No such file or directory'),
        ('--map nowhere', 'nowhere'),
        ('--map m --fix-topic 7', "'7' is no name of a topic"),
    ],
)
def test_what_cannot_be_shown_is_one_line(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['view', *words.split()]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count('\n') == 1


def test_a_taken_port_of_the_command_is_one_line(server, tmp_path, capsys):
    write_page(tmp_path / 'report.html', Page('mine'))
    assert main(['view', str(tmp_path), '--port', str(server.port)]) == 2
    assert f'port {server.port}' in capsys.readouterr().err


# --- what is shown -----------------------------------------------------------------------------


@pytest.fixture(scope='module')
def map(tmp_path_factory):
    return make_map(tmp_path_factory.mktemp('view'))


def shown(number, cell):
    """A frame whose posterior is one cell, three quarters of it."""
    region = REGION
    masses = np.full(region.cell_count(region.depth), 0.25 / (region.cell_count(region.depth) - 1))
    masses[cell] = 0.75
    levels = np.full(len(masses), region.depth)
    posterior = CellPosterior(region, levels, np.arange(len(masses)), masses)
    pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3), np.uint8)
    stamp_ns = 1_790_000_000_000_000_000 + number * 500_000_000
    return ShownFrame(stamp_ns, make_fix(posterior), pixels, None, 0.123)


def test_nobody_looks_so_nothing_is_drawn_but_the_way_is_kept(map):
    view = LiveView(map)
    try:
        view.offer(shown(0, 17))
        until(lambda: view.server._latest)
        latest = json.loads(view.server._latest.decode().split('data: ')[1])
        assert latest['image'] == '' and latest['belief'] is None
        assert latest['latency_ms'] == 123
    finally:
        view.close()


@pytest.mark.slow
@needs_browser
def test_a_browser_follows_what_is_offered(map, browser):  # noqa: F811
    view = LiveView(map, ('a test',))
    try:
        browser.problems.clear()
        browser.open(view.server.address)
        until(lambda: view.is_watched)
        for number in range(3):
            view.offer(shown(number, 17 + number))
            seen = f'{number + 1} / {number + 1}'
            browser.until(f"document.querySelector('#place').textContent === '{seen}'")
        browser.until("document.querySelector('#now').textContent.includes('frame 3')")
        tiles = browser.ask("document.querySelector('#tiles').textContent")
        assert 'No fix' in tiles and '123 ms' in tiles
        verdict = browser.ask("document.querySelector('#verdict').textContent")
        assert verdict.startswith('No fix: too wide')
        browser.until("document.querySelector('#camera img').naturalWidth === 80")
        browser.until("!document.querySelector('#belief').hidden")
        # Who looks back is not disturbed by what comes.
        browser.click('#back')
        browser.until("document.querySelector('#place').textContent === '2 / 3'")
        view.offer(shown(3, 40))
        browser.until("document.querySelector('#place').textContent === '2 / 4'")
        assert browser.problems == []
    finally:
        view.close()
    browser.until("document.querySelector('#verdict').textContent.includes('lost')")
