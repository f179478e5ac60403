"""What a node remembers over a crash: where it last was, in a small file of JSON.

A node that comes back starts from there instead of from nowhere. In the time that passed the robot
may have moved, so the position is widened by as much. What is damaged, of another map or too old
is not believed, and said once.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.errors import OutputError
from justzoom_ros.files import write_json
from justzoom_ros.filtering.motion_model import MotionNoise
from justzoom_ros.inference.fix import Fix, FixStatus
from justzoom_ros.io.stamps import NS_PER_S, has_jumped_back
from justzoom_ros.ranges import check_ranges, ranged

FORMAT = 1


@dataclass(frozen=True)
class MemoryConfig:
    """How often a position is written, and how long it counts. Raises ConfigError for values out
    of range."""

    period_s: float = ranged(1.0, at_least=0)
    """Least time in seconds between two writings, by the stamps of the images."""

    max_age_s: float = ranged(300.0, above=0)
    """Age in seconds above which a position is not believed."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class LastPosition:
    """Where a robot was."""

    stamp_ns: int
    """When: the stamp of the image, nanoseconds since 1970."""

    latitude: float
    """Degrees (WGS84)."""

    longitude: float
    """Degrees (WGS84)."""

    covariance_m2: np.ndarray
    """Covariance (2, 2) of east and north."""

    yaw_rad: float | None
    """Heading of the robot, counter-clockwise from east; None where it is not known."""

    yaw_std_rad: float
    """Standard deviation of the heading; 0 where it is not known."""

    speed_m_s: float
    """How fast it was."""

    def after(self, seconds: float, noise: MotionNoise) -> 'LastPosition':
        """What is still known after so many seconds, in which it may have moved by the speed that
        it had, or by that of the `MotionNoise` where that is more, in any direction."""
        reach_m = max(self.speed_m_s, noise.unknown_m_s) * seconds
        yaw_std_rad = math.hypot(self.yaw_std_rad, noise.unknown_rad_s * seconds)
        known = self.yaw_rad is not None and yaw_std_rad < math.pi / 2
        return LastPosition(
            self.stamp_ns + round(seconds * NS_PER_S),
            self.latitude,
            self.longitude,
            self.covariance_m2 + reach_m**2 * np.eye(2),
            self.yaw_rad if known else None,
            yaw_std_rad if known else 0.0,
            self.speed_m_s,
        )


class BeliefMemory:
    """The file of one node on one map. `map_checksum` names the map; `report(text)` is told what
    cannot be read, believed or written. From one thread at a time."""

    def __init__(
        self,
        path: str | Path,
        map_checksum: str,
        noise: MotionNoise,
        report: Callable[[str], None] = lambda text: None,
        config: MemoryConfig | None = None,
    ) -> None:
        self.path, self.map_checksum = Path(path).expanduser(), map_checksum
        self.config, self._noise, self._report = config or MemoryConfig(), noise, report
        self._written_ns: int | None = None

    def remember(self, fix: Fix, stamp_ns: int, speed_m_s: float) -> None:
        """Write where the robot is, if there is a fix and the last writing is long enough ago. A
        file that cannot be written is reported, and does not stop anything."""
        if fix.status is not FixStatus.FIX or not self._is_due(stamp_ns):
            return
        self._written_ns = stamp_ns
        known = LastPosition(
            stamp_ns,
            fix.latitude,
            fix.longitude,
            np.asarray(fix.covariance_m2),
            fix.yaw_rad,
            fix.yaw_std_rad or 0.0,
            speed_m_s,
        )
        values = {**asdict(known), 'covariance_m2': known.covariance_m2.tolist()}
        try:
            write_json(self.path, {'format': FORMAT, 'map': self.map_checksum, **values})
        except OutputError as error:
            self._report(f'the position is not remembered: {error}')

    def recall(self, stamp_ns: int) -> LastPosition | None:
        """What is known at the time of an image of where the robot was; None, with a report, where
        the file cannot be believed, and without one where there is none."""
        try:
            last = self._read()
            if last is None:
                return None
            age_s = (stamp_ns - last.stamp_ns) / NS_PER_S
            if not 0 <= age_s <= self.config.max_age_s:
                raise ValueError(f'it is {age_s:.0f} s old')
        except (OSError, ValueError) as error:
            self._report(f'{self.path} is not believed, the start is anywhere: {error}')
            return None
        return last.after(age_s, self._noise)

    def forget(self) -> None:
        """Remove the file: where the robot was counts no more."""
        self._written_ns = None
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            self._report(f'{self.path} cannot be removed: {error.strerror or error}')

    def _is_due(self, stamp_ns: int) -> bool:
        last_ns = self._written_ns
        if last_ns is None or has_jumped_back(last_ns, stamp_ns):
            return True
        return stamp_ns - last_ns >= self.config.period_s * NS_PER_S

    def _read(self) -> LastPosition | None:
        """Raises OSError, ValueError for a file that is not one of ours, or of another map."""
        try:
            values = json.loads(self.path.read_text(encoding='utf-8'))
        except FileNotFoundError:
            return None
        if not isinstance(values, dict) or values.get('format') != FORMAT:
            raise ValueError('it holds no position of this version')
        if values.get('map') != self.map_checksum:
            raise ValueError('it is of another map')
        try:
            return _position_from(values)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f'a value is missing or of the wrong type ({error})') from None


def _position_from(values: dict[str, Any]) -> LastPosition:
    """Raises KeyError, TypeError, ValueError where a value is missing, of the wrong type or
    impossible."""
    covariance = np.array(values['covariance_m2'], float)
    names = ('latitude', 'longitude', 'yaw_std_rad', 'speed_m_s')
    latitude, longitude, yaw_std_rad, speed_m_s = (float(values[name]) for name in names)
    yaw_rad = None if values['yaw_rad'] is None else float(values['yaw_rad'])
    numbers = [latitude, longitude, yaw_std_rad, speed_m_s, yaw_rad or 0.0, *covariance.ravel()]
    if covariance.shape != (2, 2) or not np.isfinite(numbers).all():
        raise ValueError('its numbers are not finite')
    if np.linalg.eigvalsh(covariance)[0] <= 0 or min(yaw_std_rad, speed_m_s) < 0:
        raise ValueError('its covariance or speed is not positive')
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise ValueError('its position is not on the earth')
    return LastPosition(
        int(values['stamp_ns']), latitude, longitude, covariance, yaw_rad, yaw_std_rad, speed_m_s
    )
