"""Which photos lie on the map, whose positions are sound, and which place is in which split."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from justzoom_ros.curation.config import BuildConfig
from justzoom_ros.curation.headings import seconds_of
from justzoom_ros.curation.selection import (
    BUFFER,
    JUMP,
    NO_IMAGERY,
    OFF_MAP,
    STANDING,
    TOO_FAST,
    Selection,
)
from justzoom_ros.curation.tracks import (
    LEAST_SEGMENT,
    find_jumps,
    speeds_m_s,
    split_at_gaps,
    wrap_deg,
)
from justzoom_ros.errors import DatasetError
from justzoom_ros.maps.satellite_map import SatelliteMap

SAME_WAY_DEG = 10.0
"""A camera that has turned by more than this sees something else, even where it stands."""

SPLITS = ('train', 'val', 'test')

MIN_COVERAGE = 0.5
"""A terminal cell with less imagery than this share has none to compare with."""


# --- on the map ----------------------------------------------------------------------------------


def place_on_map(selection: Selection, satellite_map: SatelliteMap) -> None:
    """Give all photos their place, and leave out those off the map or where it has no imagery.
    Raises DatasetError where none lies on it."""
    region = satellite_map.region
    latitudes, longitudes = (
        np.array([getattr(entry.photo, name) for entry in selection.kept], float)
        for name in ('latitude', 'longitude')
    )
    east_m, north_m = region.to_enu(latitudes, longitudes)
    inside = np.asarray(region.contains(latitudes, longitudes))
    if not inside.any():
        raise DatasetError(_all_off(selection, satellite_map, latitudes, longitudes))
    far_m = np.hypot(east_m, north_m)
    off = {
        int(i): (OFF_MAP, f'{far_m[i]:.0f} m from the middle of the map')
        for i in np.flatnonzero(~inside)
    }
    places = zip(selection.kept, east_m, north_m, strict=True)
    selection.kept = [
        replace(entry, east_m=float(east), north_m=float(north)) for entry, east, north in places
    ]
    selection.drop(off)
    selection.drop(_uncovered(selection, satellite_map))
    if not selection.kept:
        raise DatasetError(f'map {satellite_map.path} has no imagery where the photos are')


def _uncovered(selection: Selection, satellite_map: SatelliteMap) -> dict[int, tuple[str, str]]:
    region = satellite_map.region
    cells = region.cell_index(region.encode_enu(*selection.positions_m().T))
    coverage = satellite_map.level_coverage(region.depth)[cells]
    return {
        int(i): (NO_IMAGERY, f'{coverage[i]:.0%} of its cell is covered')
        for i in np.flatnonzero(coverage < MIN_COVERAGE)
    }


def _all_off(
    selection: Selection,
    satellite_map: SatelliteMap,
    latitudes: np.ndarray,
    longitudes: np.ndarray,
) -> str:
    region, first = satellite_map.region, selection.kept[0].photo.name
    east_m, north_m = region.to_enu(float(latitudes[0]), float(longitudes[0]))
    far_km = math.hypot(east_m, north_m) / 1000
    where = f'{latitudes[0]:.6f}, {longitudes[0]:.6f}'
    where += f', {far_km:.1f} km' if math.isfinite(far_km) else ', far'
    says = (
        f'{first}: it was taken at {where} from the middle of the map {satellite_map.path} '
        f'({region.latitude:.6f}, {region.longitude:.6f}, {region.side_m:g} m), and none of '
        f'{len(selection.kept)} photos lies on it'
    )
    if np.any(region.contains(longitudes, latitudes)):
        return f'{says}; latitude and longitude are exchanged'
    return f'{says}; build a map of where the photos are: justzoom map build --center LAT LON'


# --- along the tracks ----------------------------------------------------------------------------


def check_motion(selection: Selection, config: BuildConfig) -> None:
    """Leave out photos whose position jumps or who go too fast, and cut tracks into the pieces
    that connect."""
    places_m = selection.positions_m()
    wrong: dict[int, tuple[str, str]] = {}
    changes = {}
    for numbers in selection.tracks():
        seconds = seconds_of([selection.kept[i] for i in numbers])
        pieces = split_at_gaps(seconds, places_m[numbers], config.max_speed_m_s, config.jump_m)
        for piece in range(pieces.max() + 1):
            within = pieces == piece
            wrong |= _check_piece(numbers[within], seconds[within], places_m, pieces, config)
        for number, piece in zip(numbers, pieces, strict=True):
            changes[int(number)] = replace(selection.kept[number], segment=int(piece))
    selection.update(changes)
    selection.drop(wrong)


def _check_piece(
    numbers: np.ndarray,
    seconds: np.ndarray,
    places_m: np.ndarray,
    pieces: np.ndarray,
    config: BuildConfig,
) -> dict[int, tuple[str, str]]:
    """What is wrong with the photos of one piece of a track, by number."""
    if len(numbers) < min(LEAST_SEGMENT, len(pieces)):
        return {int(i): (JUMP, 'no neighbour can be reached from it') for i in numbers}
    jumps = find_jumps(seconds, places_m[numbers], config.jump_m)
    wrong = {int(numbers[i]): (JUMP, f'{off_m:.0f} m off its track') for i, off_m in jumps.items()}
    sound = np.array([i not in jumps for i in range(len(numbers))])
    speeds = speeds_m_s(seconds[sound], places_m[numbers[sound]])
    for number, speed in zip(numbers[sound], speeds, strict=True):
        if speed > config.max_speed_m_s:
            wrong[int(number)] = (TOO_FAST, f'{speed:.0f} m/s')
    return wrong


def thin_out(selection: Selection, config: BuildConfig) -> None:
    """Leave out photos that show what the one before them in their track showed."""
    places_m, standing = selection.positions_m(), {}
    for numbers in selection.tracks():
        last = numbers[0]
        for number in numbers[1:]:
            gone_m = math.dist(places_m[number], places_m[last])
            if gone_m < config.min_spacing_m and _same_way(selection, last, number):
                standing[int(number)] = (STANDING, f'{gone_m:.2f} m from the photo before')
            else:
                last = number
    selection.drop(standing)


def _same_way(selection: Selection, one: int, other: int) -> bool:
    headings = (selection.kept[i].heading_deg for i in (one, other))
    first, second = headings
    if first is None or second is None:
        return True
    return abs(float(wrap_deg(np.array(second - first)))) <= SAME_WAY_DEG


# --- splits --------------------------------------------------------------------------------------


def split_by_place(selection: Selection, config: BuildConfig) -> None:
    """Give each photo the split of its square of the map, and leave out those too near a square of
    a split that is kept back more. Raises DatasetError where there are too few squares."""
    places_m = selection.positions_m()
    squares, of_square = np.unique(
        np.floor(places_m / config.block_m).astype(int), axis=0, return_inverse=True
    )
    of_square = of_square.reshape(-1)
    splits = _assign(np.bincount(of_square), config)
    selection.kept = [
        replace(entry, split=SPLITS[splits[square]])
        for entry, square in zip(selection.kept, of_square, strict=True)
    ]
    near = {}
    for split in (1, 2):
        held = squares[splits == split] * config.block_m
        gap_m = _distance_m(places_m, held, config.block_m)
        for i in np.flatnonzero((gap_m < config.buffer_m) & (splits[of_square] < split)):
            near[int(i)] = (BUFFER, f'{gap_m[i]:.0f} m from a place of {SPLITS[split]}')
    selection.drop(near)
    if not any(entry.split == 'train' for entry in selection.kept):
        raise DatasetError(
            f'no photo is left to train on, farther than {config.buffer_m:g} m from places that '
            'are kept back: give a smaller --buffer or --block, or more photos'
        )


def _assign(sizes: np.ndarray, config: BuildConfig) -> np.ndarray:
    """The number of the split (N,) of squares that hold so many photos (N,): squares drawn at
    random for test, then for val, each until its share is reached; the others are for train."""
    shares = {2: config.test, 1: config.val}
    wanted = [split for split, share in shares.items() if share > 0]
    if len(sizes) <= len(wanted):
        raise DatasetError(
            f'all photos lie in {len(sizes)} square{"s" * (len(sizes) > 1)} of '
            f'{config.block_m:g} m, too few to keep places back for '
            f'{" and ".join(SPLITS[s] for s in sorted(wanted))}: give a smaller --block, or '
            '--val 0 --test 0'
        )
    splits = np.zeros(len(sizes), int)
    order = np.random.default_rng(config.seed).permutation(len(sizes))
    for rest, split in enumerate(wanted):
        free = order[splits[order] == 0]
        most = len(free) - (len(wanted) - rest)  # the others and train need one each
        splits[_drawn(free, sizes, shares[split] * sizes.sum())[:most]] = split
    return splits


def _drawn(order: np.ndarray, sizes: np.ndarray, target: float) -> np.ndarray:
    """Squares in a given order whose sizes sum to about a target; at least the smallest."""
    taken: list[int] = []
    total = 0
    for square in order:
        if total + sizes[square] <= 1.25 * target:
            taken.append(int(square))
            total += sizes[square]
    if not taken:
        taken = [int(order[np.argmin(sizes[order])])]
    return np.array(taken)


def _distance_m(places_m: np.ndarray, corners_m: np.ndarray, side_m: float) -> np.ndarray:
    """Metres (N,) from places (N, 2) to the nearest of squares with south-west corners (M, 2)."""
    nearest = np.full(len(places_m), math.inf)
    for corner in corners_m:
        beyond = np.maximum(np.maximum(corner - places_m, places_m - corner - side_m), 0.0)
        nearest = np.minimum(nearest, np.hypot(*beyond.T))
    return nearest


def count_splits(splits: Sequence[str]) -> dict[str, int]:
    """{split: number of photos}, every split named."""
    return {split: sum(one == split for one in splits) for split in SPLITS}
