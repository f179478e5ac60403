"""A headless Chromium, told what to do over a pipe: its DevTools protocol, no driver between."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

PROGRAM = next(
    filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), ''
)
needs_browser = pytest.mark.skipif(not PROGRAM, reason='no Chromium on this machine')

FLAGS = (
    *('--headless=new', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe'),
    *('--no-first-run', '--disable-background-networking', '--disable-component-update'),
    *('--disable-dev-shm-usage', '--hide-scrollbars', '--force-prefers-reduced-motion'),
)
TIMEOUT_S = 60.0


class Browser:
    """One Chromium with one page. `problems`: errors of the console and of scripts; `requests`:
    addresses that were asked for."""

    BOX = """(async () => {
        const found = document.querySelector(%s);
        found.scrollIntoView({ block: 'center' });
        await new Promise((done) => setTimeout(done, 50));
        const box = found.getBoundingClientRect();
        return [box.left, box.top, box.width, box.height];
    })()"""

    def __init__(self, profile):
        self.problems, self.requests, self._last = [], [], 0
        self._buffer, self._session = b'', None
        (theirs_in, self._out), (self._in, theirs_out) = os.pipe(), os.pipe()

        def place():
            # The protocol's pipe is at 3 and 4, which may be taken by each other.
            spare = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]
            os.dup2(spare[0], 3)
            os.dup2(spare[1], 4)

        command = [PROGRAM, *FLAGS, f'--user-data-dir={profile}', 'about:blank']
        self._process = subprocess.Popen(
            command, close_fds=False, preexec_fn=place, stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        pages = self.call('Target.getTargets')['targetInfos']
        target = next(page['targetId'] for page in pages if page['type'] == 'page')
        attached = self.call('Target.attachToTarget', targetId=target, flatten=True)
        self._session = attached['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable')

    def close(self):
        self._process.terminate()
        self._process.wait(10)
        os.close(self._in)
        os.close(self._out)

    def call(self, method, **parameters):
        """The result of one command."""
        self._last += 1
        number = self._last
        message = {'id': number, 'method': method, 'params': parameters}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._out, json.dumps(message).encode() + b'\0')
        while (answer := self._read()).get('id') != number:
            self._hear(answer)
        assert 'error' not in answer, f'{method}: {answer["error"]}'
        return answer['result']

    def open(self, address, width=1280, height=900, mobile=False):
        """Show a page in a window of a size."""
        self.call(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )
        self.call('Page.navigate', url=str(address))
        self.until("document.readyState === 'complete'")

    def ask(self, expression):
        """The value of a JavaScript expression; a promise is waited for."""
        found = self.call(
            'Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True
        )
        assert 'exceptionDetails' not in found, found['exceptionDetails']
        return found['result'].get('value')

    def until(self, expression):
        """Wait until an expression holds."""
        end = time.monotonic() + TIMEOUT_S
        while not self.ask(expression):
            assert time.monotonic() < end, f'not within {TIMEOUT_S:g} s: {expression}'
            time.sleep(0.05)

    def click(self, selector, share=0.5):
        """A click of the mouse on an element, at a share of its width, once it lies still."""
        where, box = self.BOX % repr(selector), None
        while box != (box := self.ask(where)):
            pass
        x, y = box[0] + share * box[2], box[1] + box[3] / 2
        for kind in ('mousePressed', 'mouseReleased'):
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

    def screenshot(self, path, whole=False):
        """The window, or the `whole` page, as a PNG."""
        taken = self.call('Page.captureScreenshot', format='png', captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(taken['data']))

    def _read(self):
        end = time.monotonic() + TIMEOUT_S
        while b'\0' not in self._buffer:
            ready = select.select([self._in], [], [], max(0.0, end - time.monotonic()))[0]
            assert ready, f'the browser says nothing for {TIMEOUT_S:g} s'
            data = os.read(self._in, 1 << 20)
            assert data, 'the browser has ended'
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b'\0')
        return json.loads(line)

    def _hear(self, event):
        method, about = event.get('method'), event.get('params', {})
        if method == 'Runtime.exceptionThrown':
            self.problems.append(about['exceptionDetails'])
        elif method == 'Runtime.consoleAPICalled' and about['type'] in ('error', 'warning'):
            self.problems.append(about['args'])
        elif method == 'Log.entryAdded' and about['entry']['level'] in ('error', 'warning'):
            self.problems.append(about['entry'])
        elif method == 'Network.requestWillBeSent':
            self.requests.append(about['request']['url'])


@pytest.fixture(scope='session')
def browser(tmp_path_factory):
    """One for all tests."""
    started = Browser(tmp_path_factory.mktemp('browser'))
    yield started
    started.close()
