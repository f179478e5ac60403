"""Where the cameras look: their own headings against the direction of travel."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from justzoom_ros.curation.config import BuildConfig
from justzoom_ros.curation.selection import Entry, Selection, settle
from justzoom_ros.curation.tracks import circular_mean_deg, courses, wrap_deg
from justzoom_ros.io.photos.source import Fault, FaultKind

LEAST_TO_JUDGE = 8
"""With fewer headings on a moving track nothing can be said about how they fit it."""

LEAST_FITTING = 0.75
"""Share of a track's headings that must fit it, or all of them are in doubt."""

LIKELY = 0.9
"""How alike angles are (0..1) where another way of counting explains a track's headings."""

CONVENTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'counter-clockwise from east': lambda heading: 90.0 - heading,
    'counter-clockwise from north': lambda heading: -heading,
    'radians': lambda heading: np.degrees(heading),
}
"""Other ways of counting, and what they are clockwise from north."""


class Mount(NamedTuple):
    """How the camera of a track looks."""

    deg: float
    """Clockwise from the direction of travel."""

    measured: bool
    """Whether the track's own headings say so."""


def set_headings(selection: Selection, config: BuildConfig) -> dict[tuple[int, str], Mount]:
    """Give the photos that are kept their headings, and leave out those that have none or whose
    own contradicts the track, as `config` says; returns how the camera of each track is mounted.

    Raises DatasetError that names the first photo of a track whose headings do not fit it, and
    the first without any heading.
    """
    if config.heading == 'none':
        return {}
    course_deg, course_std_deg = _courses(selection, config)
    own_deg = np.array([_own_deg(entry, config) for entry in selection.kept])
    allowed_deg = config.max_heading_error_deg + 2 * course_std_deg
    mounts, doubtful = _mounts(selection, own_deg, course_deg, allowed_deg, config)
    if doubtful:
        settle(selection, doubtful, config.drop)
        return set_headings(selection, config)  # of what is left
    expected_deg = course_deg + [mounts[entry.track].deg for entry in selection.kept]
    from_track = _from_track(own_deg, config)
    off_deg = np.abs(wrap_deg(own_deg - expected_deg))
    faults = _faults(selection, off_deg, (off_deg > allowed_deg) & ~from_track)
    entries = [_own(e, deg, config) for e, deg in zip(selection.kept, own_deg, strict=True)]
    for i in np.flatnonzero(from_track):
        entries[i] = _travelling(entries[i], expected_deg[i], course_std_deg[i])
    selection.update(dict(enumerate(entries)))
    settle(selection, faults, (*config.drop, FaultKind.HEADING.value))
    settle(selection, _missing(selection, config), config.drop)
    return mounts


def _from_track(own_deg: np.ndarray, config: BuildConfig) -> np.ndarray:
    """Of which photos (N,) the heading is the track's."""
    if config.heading == 'auto':
        return np.isnan(own_deg)
    return np.full(len(own_deg), config.heading == 'track')


def _missing(selection: Selection, config: BuildConfig) -> dict[int, Fault]:
    return {
        i: Fault(FaultKind.NO_HEADING, f'{entry.photo.name} has no heading{_why(config)}')
        for i, entry in enumerate(selection.kept)
        if entry.heading_deg is None
    }


def _why(config: BuildConfig) -> str:
    return {
        'own': ' of its own',
        'auto': ' of its own, and does not move on a track',
        'track': ', since it does not move on a track',
    }[config.heading]


def _courses(selection: Selection, config: BuildConfig) -> tuple[np.ndarray, np.ndarray]:
    """Directions of travel (N,) of all photos and their deviations, degrees."""
    course_deg, std_deg = (np.full(len(selection.kept), math.nan) for _ in range(2))
    places_m = selection.positions_m()
    for numbers in selection.tracks():
        kept = [selection.kept[i] for i in numbers]
        seconds = seconds_of(kept)
        stds_m = np.array([e.photo.position_std_m or config.position_std_m for e in kept])
        course_deg[numbers], std_deg[numbers] = courses(seconds, places_m[numbers], stds_m)
    return course_deg, std_deg


def seconds_of(entries: Sequence[Entry]) -> np.ndarray:
    """Times (N,) of photos that have one, in seconds since the first."""
    stamps = np.array([entry.photo.stamp_ns for entry in entries], np.int64)
    return (stamps - stamps[0]) / 1e9


def _own_deg(entry: Entry, config: BuildConfig) -> float:
    heading_deg = entry.photo.heading_deg
    if heading_deg is None:
        return math.nan
    turn = config.declination_deg if entry.photo.heading_source == 'magnetic' else 0.0
    return (heading_deg + turn) % 360.0


# --- how a camera is mounted ---------------------------------------------------------------------


def _mounts(
    selection: Selection,
    own_deg: np.ndarray,
    course_deg: np.ndarray,
    allowed_deg: np.ndarray,
    config: BuildConfig,
) -> tuple[dict[tuple[int, str], Mount], dict[int, Fault]]:
    """{track: how its camera looks}, and the faults of photos whose track does not fit."""
    groups: dict[tuple[int, str], list[int]] = {}
    for i, entry in enumerate(selection.kept):
        groups.setdefault(entry.track, []).append(i)
    faults: dict[int, Fault] = {}
    mounts = {}
    for track, numbers in groups.items():
        both = [i for i in numbers if not math.isnan(own_deg[i] + course_deg[i])]
        enough = len(both) >= LEAST_TO_JUDGE and config.heading != 'track'
        offsets = own_deg[both] - course_deg[both]
        mounts[track] = _mount(offsets, enough, config)
        if enough and not _fits(offsets - mounts[track].deg, allowed_deg[both]):
            says = _contradiction(selection.kept[both[0]], own_deg[both], course_deg[both])
            faults |= {i: Fault(FaultKind.HEADING, says) for i in numbers}
    return mounts, faults


def _mount(offsets_deg: np.ndarray, enough: bool, config: BuildConfig) -> Mount:
    if config.mount_deg is not None:
        return Mount(config.mount_deg, False)
    if not enough:
        return Mount(0.0, False)
    # The mean, then the median of what is left about it: outliers turn the first, not the second.
    mean_deg, _ = circular_mean_deg(offsets_deg)
    return Mount(mean_deg + float(np.median(wrap_deg(offsets_deg - mean_deg))), True)


def _fits(errors_deg: np.ndarray, allowed_deg: np.ndarray) -> bool:
    return float((np.abs(wrap_deg(errors_deg)) <= allowed_deg).mean()) >= LEAST_FITTING


def _contradiction(first: Entry, own_deg: np.ndarray, course_deg: np.ndarray) -> str:
    """What is wrong with a track's headings, and how they may have been counted."""
    says = f'{first.photo.name}: the headings of its track contradict the direction of travel'
    alike = {
        name: circular_mean_deg(convert(own_deg) - course_deg)
        for name, convert in CONVENTIONS.items()
        if name != 'radians' or own_deg.max() <= 2 * math.pi
    }
    likely = [name for name, (_, how_alike) in alike.items() if how_alike > LIKELY]
    if not likely or circular_mean_deg(own_deg - course_deg)[1] > LIKELY:
        return says
    best = min(likely, key=lambda name: abs(float(wrap_deg(np.array(alike[name][0])))))
    counted = 'in radians' if best == 'radians' else f'counted {best}'
    return f'{says}; they would fit it if they were {counted}'


# --- one photo -----------------------------------------------------------------------------------


def _own(entry: Entry, own_deg: float, config: BuildConfig) -> Entry:
    if math.isnan(own_deg):
        return entry
    return replace(
        entry,
        heading_deg=own_deg,
        heading_std_deg=entry.photo.heading_std_deg or config.heading_std_deg,
        heading_source=entry.photo.heading_source,
    )


def _travelling(entry: Entry, expected_deg: float, std_deg: float) -> Entry:
    """The entry with the track's heading, or without any."""
    if math.isnan(expected_deg):
        return replace(entry, heading_deg=None, heading_std_deg=None, heading_source='')
    heading_deg, std_deg = float(expected_deg % 360.0), float(std_deg)
    return replace(entry, heading_deg=heading_deg, heading_std_deg=std_deg, heading_source='track')


def _faults(selection: Selection, off_deg: np.ndarray, wrong: np.ndarray) -> dict[int, Fault]:
    """Photos whose own heading is far from where the track says that the camera looks."""
    return {
        int(i): Fault(
            FaultKind.HEADING,
            f'{selection.kept[i].photo.name}: its heading is {off_deg[i]:.0f} degrees from where '
            'its track says that the camera looks',
        )
        for i in np.flatnonzero(wrong)
    }
