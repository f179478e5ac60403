"""Bags read: messages, and the true positions of what was seen.

Takes mcap and sqlite3 bags, a bag's folder or one of its files, through `rosbags`, so that
no ROS installation is needed. Everything that is wrong with a bag is a BagError naming it.
"""

import logging
import math
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from justzoom_ros.errors import BagError, JustZoomError
from justzoom_ros.io.bag_reader import StorageReader, open_reader
from justzoom_ros.io.stamps import to_nanoseconds

log = logging.getLogger(__name__)

IMAGE_TYPES = ('sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/Image')
ODOMETRY_TYPES = ('nav_msgs/msg/Odometry',)
TRUTH_TYPES = ('sensor_msgs/msg/NavSatFix',)
NO_FIX = -1
"""sensor_msgs/NavSatStatus.STATUS_NO_FIX. UNKNOWN, -2, is what a message says by itself since
Jazzy: its position may well be valid."""

MAX_GAP_S = 5.0
"""A truth that is farther than this in time from an image says nothing about it."""


# --- reading -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class BagMessage:
    """One message of a bag."""

    topic: str
    """Name of its topic."""

    type: str
    """Its type, such as 'sensor_msgs/msg/Image'."""

    stamp_ns: int
    """Stamp of its header in nanoseconds, the time of the recording where it has none."""

    raw: bytes
    """Its bytes as recorded (CDR)."""

    message: Any
    """The message itself, deserialised."""


class Bag:
    """An open bag; use as a context manager: `with Bag(path) as bag`.

    Raises BagError for a path that is missing, empty, truncated or no rosbag2.
    """

    topics: dict[str, str]
    """{name: type} of its topics."""

    counts: dict[str, int]
    """{name: number of messages} of its topics."""

    _reader: StorageReader
    _stack: ExitStack

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __enter__(self) -> 'Bag':
        self._stack = ExitStack()
        with _errors_naming(self.path), _closing_on_error(self._stack):
            reader = self._reader = open_reader(self.path, self._stack)
            self.topics = {name: str(info.msgtype) for name, info in reader.topics.items()}
            self.counts = {name: info.msgcount for name, info in reader.topics.items()}
        if not sum(self.counts.values()):
            self._stack.close()
            raise BagError(f'bag {self.path} holds no messages')
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def topic(
        self, types: Collection[str], wanted: str | None = None, may_be_empty: bool = False
    ) -> str:
        """The name of the topic `wanted`, or of the only one that has one of `types`.

        Raises BagError, listing the topics there are, where there is none or a choice of them,
        and, unless it `may_be_empty`, where it has no messages.
        """
        if wanted is not None:
            if wanted not in self.topics:
                raise BagError(f'bag {self.path} has no topic {wanted}; {self._topics_text()}')
            if self.topics[wanted] not in types:
                raise BagError(
                    f'topic {wanted} of bag {self.path} is a {self.topics[wanted]}, not a '
                    f'{" or ".join(types)}; {self._topics_text()}'
                )
            candidates = [wanted]
        else:
            candidates = self.candidates(types)
        if len(candidates) != 1:
            found = 'no topic' if not candidates else 'more than one topic'
            raise BagError(
                f'bag {self.path} has {found} of type {" or ".join(types)}; {self._topics_text()}'
            )
        if not (may_be_empty or self.counts[candidates[0]]):
            raise BagError(f'topic {candidates[0]} of bag {self.path} has no messages')
        return candidates[0]

    def candidates(self, types: Collection[str]) -> list[str]:
        """The names of the topics of some types: those that have messages, where any has."""
        names = [name for name, kind in self.topics.items() if kind in types]
        return [name for name in names if self.counts[name]] or names

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """Yield a BagMessage for each message on `topics`, in the order of the recording. Topics
        of types that are not known are left out, with a warning. Raises BagError."""
        wanted = [c for c in self._reader.connections if c.topic in topics]
        for connection in [c for c in wanted if not self._reader.knows(c)]:
            log.warning(
                f'topic {connection.topic} of bag {self.path} is left out: its type '
                f'{connection.msgtype} is not known'
            )
            wanted.remove(connection)
        if not wanted:
            return
        left = sum(c.msgcount for c in wanted)
        with _errors_naming(self.path):
            for connection, recorded_ns, raw in self._reader.messages(wanted):
                message = self._reader.deserialize(raw, connection.msgtype)
                stamp_ns = _stamp_ns(message) or recorded_ns
                left -= 1
                yield BagMessage(connection.topic, connection.msgtype, stamp_ns, raw, message)
        if left > 0:
            log.warning(f'bag {self.path} is truncated: {left} messages are missing')

    def _topics_text(self) -> str:
        listed = (f'{name} ({kind}, {self.counts[name]})' for name, kind in self.topics.items())
        return 'it has ' + ', '.join(listed)


@contextmanager
def _closing_on_error(stack: ExitStack) -> Iterator[None]:
    try:
        yield
    except BaseException:
        stack.close()
        raise


@contextmanager
def _errors_naming(path: Path) -> Iterator[None]:
    """Turn whatever the reader raises on a damaged bag into a BagError that names it."""
    try:
        yield
    except JustZoomError:
        raise
    # A damaged file reaches the parsers of four formats, which raise nearly everything there is.
    except Exception as error:
        says = ' '.join(str(error).split()).rstrip('.') or type(error).__name__
        raise BagError(f'bag {path} is damaged or truncated: {says:.300}') from error


def _stamp_ns(message: Any) -> int:
    """The stamp of a message's header in nanoseconds, 0 where it has none."""
    header = getattr(message, 'header', None)
    return to_nanoseconds(header.stamp) if header else 0


# --- truth -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Track:
    """True positions over time."""

    stamps_ns: np.ndarray
    """Their times in nanoseconds, ascending, int64 (N,)."""

    latitudes: np.ndarray
    """Degrees (WGS84), (N,)."""

    longitudes: np.ndarray
    """Degrees (WGS84), (N,)."""

    dropped: int = 0
    """Number of messages that had no position (no fix, or not a number)."""

    def at(self, stamp_ns: int, max_gap_s: float = MAX_GAP_S) -> tuple[float, float] | None:
        """(latitude, longitude) at a time, linear between the neighbours; None where the nearest
        of them is more than `max_gap_s` seconds away. Beyond the ends the end itself."""
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        pair = np.clip([after - 1, after], 0, len(self.stamps_ns) - 1)
        # Differences of int64 first: a float holds a stamp of today only to 0.2 microseconds.
        since_s = (np.int64(stamp_ns) - self.stamps_ns[pair]) / 1e9
        if np.abs(since_s).min() > max_gap_s:
            return None
        span_s = since_s[0] - since_s[1]
        share = since_s[0] / span_s if span_s > 0 else 0.0
        lat, lon = self.latitudes[pair], self.longitudes[pair]
        turn = (lon[1] - lon[0] + 180.0) % 360.0 - 180.0
        longitude = (lon[0] + share * turn + 180.0) % 360.0 - 180.0
        return float(lat[0] + share * (lat[1] - lat[0])), float(longitude)


class NoPositionError(BagError):
    """No message of a topic has a position."""


def read_track(bag: Bag, topic: str) -> Track:
    """The Track of a NavSatFix topic. Raises BagError where no message has a position."""
    samples: dict[int, tuple[float, float]] = {}
    dropped, no_degrees = 0, 0
    for item in bag.messages([topic]):
        fix = item.message
        valid = abs(fix.latitude) <= 90 and abs(fix.longitude) <= 180  # False for NaN
        no_degrees += not valid and math.isfinite(fix.latitude) and math.isfinite(fix.longitude)
        if valid and fix.status.status != NO_FIX:
            samples[item.stamp_ns] = fix.latitude, fix.longitude
        else:
            dropped += 1
    if not samples:
        hint = ': their latitudes and longitudes are no degrees' if no_degrees else ''
        raise NoPositionError(
            f'topic {topic} of bag {bag.path} has no message with a position{hint}'
        )
    stamps_ns = np.array(sorted(samples), np.int64)
    latitudes, longitudes = np.array([samples[stamp] for stamp in sorted(samples)]).T
    return Track(stamps_ns, latitudes, longitudes, dropped)


def find_track(bag: Bag, wanted: str | None = None) -> Track | None:
    """The Track of the topic `wanted`, or of the bag's only one of NavSatFix; None, with
    a warning, where that has no position: a robot whose GPS never had a fix. None, without one,
    where the bag has no such topic. Raises BagError for a wrong name and for a choice."""
    if wanted is None and not bag.candidates(TRUTH_TYPES):
        return None
    topic = bag.topic(TRUTH_TYPES, wanted, may_be_empty=True)
    try:
        return read_track(bag, topic)
    except NoPositionError as error:
        log.warning(f'{error}: there are no true positions to compare with')
        return None
