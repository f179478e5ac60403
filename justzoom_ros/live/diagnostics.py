"""How the node is doing: counters and the one line that diagnostics show. No ROS in here."""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from statistics import median

from justzoom_ros.inference.fix import Fix, FixStatus
from justzoom_ros.io.stamps import Verdict
from justzoom_ros.registration.camera_state import CameraState

STAGES = ('waiting', 'decoding', 'localizing', 'publishing')
"""What becomes of a frame's latency: until the worker takes it up; from message to pixels; the
policy's part, resizing included; making and publishing messages."""
RECENT = 10
"""Frames of which the stages' medians are told."""

STAMP, REASON = 'stamp of the latest frame (ns)', 'reason'
"""Keys of the latest frame that was localized, and why there was no fix; '' where there was."""

SILENCE_S = 5.0
"""Without an image for so long, an active node complains."""

JUMP_SHOWN_S = 10.0
"""So long diagnostics tell that time jumped back."""
TIME_JUMPED = (
    'stamps of the images jumped back, so everything begins anew: keep the clock of the camera '
    'steady, and one camera on the topic (a bag that loops does this, too)'
)


def kind_of(reason: str) -> str:
    """What a reason is about, without the figures of the one frame."""
    return reason.partition(':')[0]


class StageTimer:
    """Takes the time of a frame's STAGES, one after the other, from its arrival on."""

    def __init__(self, started_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._started_s, self._last_s = clock, started_s, started_s
        self.seconds: dict[str, float] = {}

    def end(self, stage: str) -> None:
        """A stage is over."""
        now_s = self._clock()
        self.seconds[stage], self._last_s = now_s - self._last_s, now_s

    @property
    def total_s(self) -> float:
        """Of all stages so far."""
        return self._last_s - self._started_s


class NodeDiagnostics:
    """Counts what happens to frames, from any thread, and tells the state of the node. `state` is
    what was known of the camera at the latest frame, None where it was not registered; `distrust`
    what is wrong at present though frames are localized, '' where nothing is; `reason` why the
    latest frame gave no fix, '' where it did."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.refusal = ''
        self.restart()

    def restart(self) -> None:
        """Begin anew with an activation: all counters zero, nothing wrong."""
        with self._lock:
            self.counts = dict.fromkeys(
                ('received', 'localized', 'fixes', 'replaced', 'late', 'bad'), 0
            )
            self.doubts: Counter[str] = Counter()
            self.state: CameraState | None = None
            self.distrust = ''
            self.last_error = self.notice = self._problem = self.reason = ''
            self.stamp_ns = 0
            self.latency_s: float | None = None
            self.age_s: float | None = None
            self._recent: deque[dict[str, float]] = deque(maxlen=RECENT)
            self._last_image_s = self._last_new_s = self._clock()
            self._jumped_s = -math.inf

    def receive(self, verdict: Verdict) -> None:
        """One more frame, by what its stamp says."""
        with self._lock:
            self._last_image_s = self._clock()
            self.counts['received'] += 1
            self.counts['late'] += verdict == 'late'
            if verdict != 'late':
                self._last_new_s = self._last_image_s
            if verdict == 'jump':
                self._jumped_s = self._last_image_s

    def count_replaced(self) -> None:
        """One more frame that waited until a newer one took its place."""
        with self._lock:
            self.counts['replaced'] += 1

    def add_error(self, error: str) -> None:
        """A frame could not be used."""
        with self._lock:
            self.counts['bad'] += 1
            self.last_error = self._problem = error

    def add_fix(self, fix: Fix, timer: StageTimer, age_s: float, stamp_ns: int = 0) -> bool:
        """A frame was localized: its `StageTimer` since its arrival, `age_s` since its stamp.
        Returns whether there is another kind of reason than at the frame before."""
        with self._lock:
            self.counts['localized'] += 1
            sure = fix.status is FixStatus.FIX
            self.counts['fixes'] += sure
            before, self.reason = self.reason, '' if sure else fix.reason
            self.stamp_ns = stamp_ns
            if not sure:
                self.doubts[kind_of(fix.reason)] += 1
            self._problem = ''
            self.latency_s, self.age_s = timer.total_s, age_s
            self._recent.append(timer.seconds)
            return kind_of(before) != kind_of(self.reason)

    def verdict(self, state: str, source: str) -> tuple[str, str]:
        """(level, text) of a lifecycle state; `source` says in words what is known
        of the images' origin.

        'error': a transition was refused, or the latest frame could not be used. 'warn': no
        images, or none with a later stamp; time jumped back; the latest image gave no fix, or its
        fix is in doubt. 'ok' otherwise.
        """
        with self._lock:
            if state != 'active' and self.refusal:
                return 'error', self.refusal
            if state != 'active':
                return 'ok', state
            now_s = self._clock()
            if now_s - self._last_image_s > SILENCE_S:
                return 'warn', f'no image for {now_s - self._last_image_s:.0f} s: {source}'
            if now_s - self._last_new_s > SILENCE_S:
                return 'warn', (
                    f'for {now_s - self._last_new_s:.0f} s no image had a later stamp than those '
                    f'before it: does the clock of the camera stand, or do several share {source}?'
                )
            if self._problem:
                return 'error', self._problem
            if now_s - self._jumped_s < JUMP_SHOWN_S:
                return 'warn', TIME_JUMPED
            wrong = [f'no fix: {self.reason}'] if self.reason else []
            wrong += [self.distrust] if self.distrust else []
            return ('warn', '; '.join(wrong)) if wrong else ('ok', 'localizing')

    def values(self) -> dict[str, str | int]:
        """Everything countable, for the key-value list of diagnostics. Frames without a fix are
        counted by what their reasons begin with."""
        with self._lock:
            return {
                **{f'frames {what}': number for what, number in self.counts.items()},
                **{f'no fix, {kind}': number for kind, number in self.doubts.items()},
                **_camera_values(self.state),
                STAMP: self.stamp_ns,
                REASON: self.reason,
                'latency (s)': _seconds(self.latency_s),
                'age (s)': _seconds(self.age_s),
                **{f'{stage} (s)': _seconds(self._median_s(stage), 5) for stage in STAGES},
                'last error': self.last_error,
                'motion': self.notice,
            }

    def _median_s(self, stage: str) -> float | None:
        return median(frame[stage] for frame in self._recent) if self._recent else None


def _camera_values(state: CameraState | None) -> dict[str, str]:
    """Height and tilt in use, '' where they are not known."""
    camera, attitude = (state.camera, state.attitude) if state else (None, None)
    height_m = camera.height_m if camera else None
    return {
        'height (m)': '' if height_m is None else f'{height_m:.1f}',
        'tilt (degrees)': f'{math.degrees(attitude.off_nadir_rad):.1f}' if attitude else '',
    }


def _seconds(value: float | None, digits: int = 3) -> str:
    return '' if value is None else f'{value:.{digits}f}'
