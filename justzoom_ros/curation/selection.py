"""Which photos are kept, and of each other one why not: nothing is left out silently."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from justzoom_ros.errors import DatasetError
from justzoom_ros.io.photos.source import Fault, FaultKind, Photo

OFF_MAP, NO_IMAGERY = 'off the map', 'no imagery there'
JUMP, TOO_FAST, STANDING = 'position jump', 'too fast', 'standing still'
DUPLICATE, BLURRED = 'duplicate', 'blurred'
BUFFER = 'too near another split'


Key = tuple[int, int]
"""What tells a photo from all others: the number of its source, its own number there."""


@dataclass(frozen=True)
class Entry:
    """A photo on the map."""

    photo: Photo
    """What its source tells."""

    source: int
    """The number of the source that it is from."""

    number: int = 0
    """Its number within that source."""

    east_m: float = float('nan')
    """Metres east of the map's centre."""

    north_m: float = float('nan')
    """Metres north of the map's centre."""

    heading_deg: float | None = None
    """Where the optical axis points, clockwise from north, as the dataset will say."""

    heading_std_deg: float | None = None
    """Its standard deviation."""

    heading_source: str = ''
    """What it is from."""

    segment: int = 0
    """The piece of its track that it is part of: a track breaks where positions do not connect."""

    split: str = ''
    """The split that its place belongs to."""

    @property
    def key(self) -> Key:
        """What tells it from all others."""
        return self.source, self.number

    @property
    def track(self) -> tuple[int, str]:
        """What names its track among all sources."""
        return self.source, self.photo.track


@dataclass(frozen=True)
class Dropped:
    """A photo that is left out."""

    entry: Entry
    """The photo."""

    reason: str
    """Which kind of reason, for counting."""

    says: str
    """More, for reading."""


@dataclass
class Selection:
    """Photos in the order of their sources."""

    kept: list[Entry]
    """Those that are still in."""

    dropped: list[Dropped] = field(default_factory=list)
    """Those that are out, in the order of dropping."""

    def drop(self, reasons: Mapping[int, tuple[str, str]]) -> None:
        """Leave out what has a number, among those kept, in {number: (reason, more)}."""
        self.dropped += [Dropped(self.kept[i], *why) for i, why in sorted(reasons.items())]
        self.kept = [entry for i, entry in enumerate(self.kept) if i not in reasons]

    def update(self, changes: Mapping[int, Entry]) -> None:
        """Put others in the place of what has a number."""
        self.kept = [changes.get(i, entry) for i, entry in enumerate(self.kept)]

    def tracks(self) -> list[np.ndarray]:
        """Numbers of the photos of each piece of a track, in the order of their times; those
        without a time are in none."""
        groups: dict[tuple[int, str, int], list[int]] = {}
        for number, entry in enumerate(self.kept):
            if entry.photo.stamp_ns is not None:
                groups.setdefault((*entry.track, entry.segment), []).append(number)
        stamps = [entry.photo.stamp_ns or 0 for entry in self.kept]
        return [np.array(sorted(group, key=stamps.__getitem__)) for group in groups.values()]

    def counts(self) -> dict[str, int]:
        """{reason: how many photos were left out for it}."""
        found: dict[str, int] = {}
        for one in self.dropped:
            found[one.reason] = found.get(one.reason, 0) + 1
        return found

    def positions_m(self) -> np.ndarray:
        """Metres east and north (N, 2) of those kept."""
        return np.array([(e.east_m, e.north_m) for e in self.kept], float).reshape(-1, 2)


REMEDIES = {
    FaultKind.NO_LENS: 'give --fov DEG, the horizontal field of view, or for a bag a CameraInfo '
    'topic (--camera-info)',
    FaultKind.PANORAMA: 'cut plain views of it first',
    FaultKind.NO_HEADING: 'give --heading none for a dataset without headings',
    FaultKind.HEADING: 'give --heading track to take the direction of travel instead',
    FaultKind.NO_FILE: 'put the pictures beside the table',
    FaultKind.NO_POSITION: 'give a CSV with positions',
    FaultKind.NO_STAMP: 'correct it',
    FaultKind.UNREADABLE: 'repair it',
}


def settle(selection: Selection, faults: Mapping[int, Fault], drop: Sequence[str]) -> None:
    """Leave out the photos, by number among those kept, whose fault is of a kind to `drop`.
    Raises DatasetError that names the first of any other kind, says how many there are and what
    to do."""
    grave = {i: fault for i, fault in faults.items() if fault.kind.value not in drop}
    if grave:
        first = grave[min(grave)]
        count = sum(fault.kind is first.kind for fault in grave.values())
        raise DatasetError(
            f'{first.says} ({count} of {len(selection.kept)} photos like this); '
            f'{REMEDIES[first.kind]}, or leave such photos out: --drop {first.kind}'
        )
    selection.drop({i: (fault.kind.value, fault.says) for i, fault in faults.items()})
