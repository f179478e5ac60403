"""How far a map is off: aerial imagery is georeferenced to metres, and all of it errs alike.

An offset that was measured is kept in the map's folder and added to every fix, with its
covariance. One that was not is an error that all fixes share: their covariance must not be
smaller, however many of them are averaged.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.errors import MapError
from justzoom_ros.files import write_json

OFFSET_NAME = 'offset.json'
"""A measured offset lies in the map's folder under this name."""

FORMAT = 1


@dataclass(frozen=True)
class MapOffset:
    """What must be added to a position on the map to get the true one. The default: the map is
    where it says that it is."""

    east_m: float = 0.0
    """Metres east."""

    north_m: float = 0.0
    """Metres north."""

    covariance_m2: np.ndarray = field(default_factory=lambda: np.zeros((2, 2)))
    """Covariance (2, 2) of east and north: an error that all fixes on the map share."""

    source: str = ''
    """What it was measured by: 'bag' or 'gnss'; '' where it was not measured."""

    samples: int = 0
    """Number of independent measurements."""

    @classmethod
    def unknown(cls, std_m: float) -> 'MapOffset':
        """A map that may be off by so much along each axis, nobody knows which way."""
        return cls(covariance_m2=std_m**2 * np.eye(2))

    @property
    def known(self) -> bool:
        """True where it was measured."""
        return bool(self.source)

    @property
    def std_m(self) -> float:
        """Standard deviation along the direction in which it is greatest, metres."""
        return float(np.sqrt(np.linalg.eigvalsh(self.covariance_m2)[-1].clip(0)))

    @property
    def mean_m(self) -> np.ndarray:
        """East and north (2,) in metres."""
        return np.array([self.east_m, self.north_m])

    def __str__(self) -> str:
        """For people: how far, which way, how surely."""
        if not self.known:
            return f'not measured, taken to be 0 +- {self.std_m:.1f} m'
        place = f'{self.east_m:+.1f} m east, {self.north_m:+.1f} m north'
        return f'{place}, +- {self.std_m:.1f} m, by {self.samples:g} measurements ({self.source})'


def write_offset(folder: str | Path, checksum: str, offset: MapOffset) -> None:
    """Keep an offset in a map's folder; the `checksum` says of which map. Raises OutputError."""
    covariance = offset.covariance_m2.tolist()
    values = {
        'format': FORMAT,
        'map': checksum,
        'east_m': offset.east_m,
        'north_m': offset.north_m,
        'covariance_m2': covariance,
        'source': offset.source,
        'samples': offset.samples,
    }
    write_json(Path(folder) / OFFSET_NAME, values)


def read_offset(folder: str | Path, checksum: str) -> MapOffset | None:
    """The offset kept in a map's folder, None where there is none. Raises MapError for one that
    is damaged, or of other imagery than the `checksum` says."""
    path = Path(folder) / OFFSET_NAME
    try:
        values = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise MapError(f'{path} cannot be read ({error}); {_AGAIN}') from None
    if not isinstance(values, dict) or values.get('format') != FORMAT:
        raise MapError(f'{path} holds no offset of this version; {_AGAIN}')
    if values.get('map') != checksum:
        raise MapError(f'{path} is of other imagery than the map beside it; {_AGAIN}')
    try:
        return _offset_from(values)
    except (KeyError, TypeError, ValueError) as error:
        raise MapError(f'{path} holds a wrong value ({error}); {_AGAIN}') from None


_AGAIN = 'remove it, or measure it again with `justzoom map align`'


def _offset_from(values: dict[str, Any]) -> MapOffset:
    """Raises KeyError, TypeError, ValueError where a value is missing or impossible."""
    covariance = np.array(values['covariance_m2'], float)
    offset = MapOffset(
        float(values['east_m']),
        float(values['north_m']),
        covariance,
        str(values['source']),
        int(values['samples']),
    )
    if covariance.shape != (2, 2) or not np.isfinite([*offset.mean_m, *covariance.ravel()]).all():
        raise ValueError('a number that is not finite')
    if np.linalg.eigvalsh(covariance)[0] < 0:
        raise ValueError('a covariance that is not positive')
    return replace(offset, covariance_m2=(covariance + covariance.T) / 2)
