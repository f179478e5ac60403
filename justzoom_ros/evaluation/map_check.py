"""How far two maps of one place are apart: parts of one are registered on the other.

Providers georeference to metres, each in its own way, and so do the dates of one provider. What
lies at a place on the first map lies at that place plus the shift on the second.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import pi, radians, sqrt

import numpy as np

from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.maps.layers import BASE
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.region import Region
from justzoom_ros.registrar import VIEW_CELLS, Registrar
from justzoom_ros.registration.attitude import Attitude
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.search import View

Progress = Callable[[Iterable, str, int], Iterable]

PARTS = 7
"""At most so many parts along a side of the first map."""

LARGEST_SHARE = 0.25
"""A part is at most so much of the map's side wide."""

LEAST_IMAGERY = 0.9
"""Share of a part that must be covered."""

LEAST_EVIDENCE = 2.0
"""A part counts where the second map is e^2 times as probable as another place."""

LEAST_PARTS = 3
YAW_STD_RAD = radians(1.0)
"""North is up on both maps."""

MAD_TO_STD = 1.4826
MEDIAN_TO_MEAN = 1.2533
"""Standard error of a median of normal values against that of their mean."""


@dataclass(frozen=True)
class PartShift:
    """One part of the first map, found on the second."""

    east_m: float
    """Where its middle is on the first map, east of the region's centre."""

    north_m: float
    """North of it."""

    shift_m: tuple[float, float]
    """How much further east and north it is on the second map."""

    evidence: float
    """Log of the likelihood ratio of the second map here against another place."""


@dataclass(frozen=True)
class MapCheck:
    """How far two maps are apart."""

    parts: tuple[PartShift, ...]
    """The parts that were found."""

    looked_at: int
    """How many parts were looked for."""

    reach_m: float
    """How far away along each axis they were looked for."""

    shift_m: tuple[float, float]
    """Median shift east and north."""

    std_m: float
    """Robust standard deviation of one part's shift along an axis: how much it varies."""

    @property
    def distance_m(self) -> float:
        """Length of the shift."""
        return float(np.hypot(*self.shift_m))

    @property
    def error_m(self) -> float:
        """Standard error of the shift along an axis, the parts being independent."""
        return MEDIAN_TO_MEAN * self.std_m / sqrt(len(self.parts))

    def __str__(self) -> str:
        """One line for people."""
        east, north = self.shift_m
        return (
            f'{self.distance_m:.2f} m apart: what is here on the first map is {east:+.2f} m east, '
            f'{north:+.2f} m north of it on the second (+- {self.error_m:.2f} m); from part to '
            f'part it varies by {self.std_m:.2f} m; {len(self.parts)} of {self.looked_at} parts '
            'found'
        )


def check_maps(
    first: SatelliteMap,
    second: SatelliteMap,
    reach_m: float = 30.0,
    weights: str | None = None,
    progress: Progress | None = None,
) -> MapCheck:
    """Measure the shift of `second` against `first`, up to `reach_m` along each axis, with a
    registration network, the shipped one unless `weights` are given.

    Raises MapError where the maps share too little ground, or too few parts are found; ConfigError
    for maps that are coarser than the network takes, or a reach that is none; WeightsError.
    """
    if not 1.0 <= reach_m <= 500.0:
        raise ConfigError(f'reach_m is {reach_m:g}; it must be 1 to 500 metres')
    part_m = _part_side_m(first, second)
    places = _places(first, second.region, part_m, reach_m)
    if len(places) < LEAST_PARTS:
        raise MapError(
            f'{first.path} and {second.path} share too little ground to be compared: '
            f'{len(places)} parts of {part_m:.0f} m'
        )
    camera = Camera.from_footprint(part_m, part_m)
    registrar = Registrar.open(second, weights, camera, progress=False)
    looked = progress(places, 'parts', len(places)) if progress else places
    found = [_find(first, second, registrar, camera, at, part_m, reach_m) for at in looked]
    parts = tuple(part for part in found if part is not None)
    if len(parts) < LEAST_PARTS:
        raise MapError(
            f'{len(parts)} of {len(places)} parts of {first.path} are found on {second.path} '
            f'within {reach_m:g} m: they look too different, or are further apart (--reach)'
        )
    return summarize(parts, len(places), reach_m)


def summarize(parts: tuple[PartShift, ...], looked_at: int, reach_m: float) -> MapCheck:
    """The `MapCheck` of some parts: medians, so that a few that are wrong do not matter."""
    shifts = np.array([part.shift_m for part in parts])
    median = np.median(shifts, axis=0)
    std_m = MAD_TO_STD * float(np.median(np.abs(shifts - median)))
    return MapCheck(parts, looked_at, reach_m, (float(median[0]), float(median[1])), std_m)


def _part_side_m(first: SatelliteMap, second: SatelliteMap) -> float:
    """So large that a part has `VIEW_CELLS` cells, at most a share of the smaller map."""
    finest_m = max(first.resolution_m, second.resolution_m, 0.3)
    side_m = min(first.region.side_m, second.region.side_m)
    return min(2 * VIEW_CELLS * finest_m, LARGEST_SHARE * side_m)


def _places(
    first: SatelliteMap, target: Region, part_m: float, reach_m: float
) -> list[tuple[int, int]]:
    """Top rows and left columns, in pixels of the first map, of parts that are covered and lie
    within the second map's region."""
    side_px, part_px = len(first.pixels), _part_px(first, part_m)
    count = min(PARTS, side_px // part_px)  # beside each other, so that they are independent
    steps = np.linspace(0, side_px - part_px, count).astype(int)
    return [
        (int(top), int(left))
        for top in steps
        for left in steps
        if first.mask[top : top + part_px, left : left + part_px].mean() >= LEAST_IMAGERY
        and _inside(target, *_on_other(first, target, (top, left), part_px), part_m, reach_m)
    ]


def _part_px(satellite_map: SatelliteMap, part_m: float) -> int:
    return round(part_m / satellite_map.resolution_m)


def _on_other(
    first: SatelliteMap, target: Region, at: tuple[int, int], part_px: int
) -> tuple[float, float]:
    """Where the middle of a part should be on the other map, east and north in metres."""
    east_m, north_m = _middle(first, at, part_px)
    return target.to_enu(*first.region.to_latlon(east_m, north_m))


def _middle(first: SatelliteMap, at: tuple[int, int], part_px: int) -> tuple[float, float]:
    half_m, size_m = first.region.side_m / 2, first.resolution_m
    return (
        (at[1] + part_px / 2) * size_m - half_m,
        half_m - (at[0] + part_px / 2) * size_m,
    )


def _inside(target: Region, east_m: float, north_m: float, part_m: float, reach_m: float) -> bool:
    """Whether most of a part, wherever it is found, lies on the other map."""
    return max(abs(east_m), abs(north_m)) <= target.side_m / 2 - min(part_m / 4, reach_m)


def _find(
    first: SatelliteMap,
    second: SatelliteMap,
    registrar: Registrar,
    camera: Camera,
    at: tuple[int, int],
    part_m: float,
    reach_m: float,
) -> PartShift | None:
    """The `PartShift` of one part; None where the second map does not show it."""
    px = _part_px(first, part_m)
    image = np.ascontiguousarray(first.pixels[at[0] : at[0] + px, at[1] : at[1] + px])
    view = registrar.view(image, camera, Attitude(), pi / 2, YAW_STD_RAD)
    expected = _on_other(first, second.region, at, px)
    found = _search(view, registrar, expected, reach_m)
    if found is None:
        return None
    (east_m, north_m), evidence = found
    shift = (east_m - expected[0], north_m - expected[1])
    return PartShift(*_middle(first, at, px), shift, evidence)


def _search(
    view: View, registrar: Registrar, expected: tuple[float, float], reach_m: float
) -> tuple[tuple[float, float], float] | None:
    """Where a view is on the second map, and the evidence for it."""
    features = registrar.layers[BASE]
    try:
        window = features.window_around(*expected, reach_m)
        likelihood = view.register(features, window)
    except ConfigError:  # no imagery there
        return None
    peaks, evidence = likelihood.peaks(1), likelihood.evidence()
    if not peaks or evidence < LEAST_EVIDENCE:
        return None
    peak = view.sharpen(features, peaks[0])
    return (peak.east_m, peak.north_m), evidence
