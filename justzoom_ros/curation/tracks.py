"""What a track of positions says: where it breaks, how fast it goes, and which way."""

import math

import numpy as np

REACH = 1.5
"""A step is possible up to so many times the greatest speed; what is slower but still too fast
is told as such, not as a jump."""

LEAST_SEGMENT = 3
"""Fewer positions than this, apart from the rest of their track, are jumps."""

ACCELERATION_M_S2 = 5.0
"""Vehicles brake and turn at less than this; a line between neighbours is off by no more."""

NEIGHBOUR_S = 5.0
"""Neighbours farther away in time say nothing about where a position should be."""

COURSE_BASELINE_M, COURSE_BASELINE_STDS = 5.0, 1.5
"""The direction of travel is that between two positions round a photo, at least so far apart in
metres and in their standard deviations."""

COURSE_STEPS, COURSE_SPAN_S = 30, 30.0
"""They are looked for within so many neighbours to either side and so many seconds in all."""

SHARED_ERROR = 1 / 3
"""Share of a receiver's error that differs between neighbouring positions: most of it, due to the
satellites and the air, they have in common. An assumption."""


def split_at_gaps(
    seconds: np.ndarray, places_m: np.ndarray, max_speed_m_s: float, jump_m: float
) -> np.ndarray:
    """Numbers (N,) of the pieces that positions (N, 2) in the order of their times (N,) belong to:
    each joins the latest piece from whose last position it can be reached, those that are too
    short to be trusted coming last, or begins another."""
    numbers, ends, sizes = np.zeros(len(seconds), int), list[int](), list[int]()
    for index, (time_s, place_m) in enumerate(zip(seconds, places_m, strict=True)):
        order = sorted(
            range(len(ends)), key=lambda n: (sizes[n] >= LEAST_SEGMENT, ends[n]), reverse=True
        )
        for number in order:
            since_s = time_s - seconds[ends[number]]
            reach_m = REACH * max_speed_m_s * since_s + jump_m
            if math.dist(place_m, places_m[ends[number]]) <= reach_m:
                break
        else:
            number = len(ends)
            ends.append(index)
            sizes.append(0)
        numbers[index], ends[number] = number, index
        sizes[number] += 1
    return numbers


def find_jumps(seconds: np.ndarray, places_m: np.ndarray, jump_m: float) -> dict[int, float]:
    """{index: metres} of positions (N, 2) that lie off the line between their neighbours by more
    than `jump_m` and what a vehicle can do; the worst first, each judged without those before."""
    left, found = np.arange(len(seconds)), {}
    while len(left) >= 3:
        off_m, allowed_m = _off_line(seconds[left], places_m[left], jump_m)
        excess = off_m - allowed_m
        worst = int(np.argmax(excess))
        if not excess[worst] > 0:
            break
        found[int(left[worst])] = float(off_m[worst])
        left = np.delete(left, worst)
    return found


def _off_line(
    seconds: np.ndarray, places_m: np.ndarray, jump_m: float
) -> tuple[np.ndarray, np.ndarray]:
    """How far positions lie from the line between their neighbours, and how far they may; the
    first and the last, which have but one, lie on it."""
    off_m, allowed_m = np.zeros(len(seconds)), np.full(len(seconds), math.inf)
    before_s, after_s = np.diff(seconds)[:-1], np.diff(seconds)[1:]
    share = before_s / np.maximum(before_s + after_s, 1e-9)
    expected_m = places_m[:-2] + share[:, None] * (places_m[2:] - places_m[:-2])
    off_m[1:-1] = np.linalg.norm(places_m[1:-1] - expected_m, axis=1)
    near = np.maximum(before_s, after_s) <= NEIGHBOUR_S
    bend_m = ACCELERATION_M_S2 * before_s * after_s / 2
    allowed_m[1:-1] = np.where(near, jump_m + bend_m, math.inf)
    return off_m, allowed_m


def speeds_m_s(seconds: np.ndarray, places_m: np.ndarray) -> np.ndarray:
    """Speed (N,) at each of the positions (N, 2), over its neighbours; NaN where there are
    none."""
    if len(seconds) < 2:
        return np.full(len(seconds), math.nan)
    index = np.arange(len(seconds))
    low, high = np.maximum(index - 1, 0), np.minimum(index + 1, len(seconds) - 1)
    gone_m = np.linalg.norm(places_m[high] - places_m[low], axis=1)
    return gone_m / np.maximum(seconds[high] - seconds[low], 1e-9)


def courses(
    seconds: np.ndarray, places_m: np.ndarray, stds_m: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Directions of travel (N,) at positions (N, 2) with standard deviations (N,), degrees
    clockwise from north, and their own standard deviations in degrees; NaN where the camera
    hardly moves."""
    count = len(seconds)
    course_deg, std_deg = np.full(count, math.nan), np.full(count, math.nan)
    index, baseline_m = (
        np.arange(count),
        np.maximum(COURSE_BASELINE_M, COURSE_BASELINE_STDS * stds_m),
    )
    for step in range(1, min(COURSE_STEPS, count - 1) + 1 if count > 1 else 0):
        low, high = np.maximum(index - step, 0), np.minimum(index + step, count - 1)
        gone = places_m[high] - places_m[low]
        length_m = np.hypot(*gone.T)
        soon = seconds[high] - seconds[low] <= COURSE_SPAN_S
        new = np.isnan(course_deg) & (length_m >= baseline_m) & soon
        course_deg[new] = np.degrees(np.arctan2(gone[new, 0], gone[new, 1])) % 360.0
        apart_m = math.sqrt(2.0) * SHARED_ERROR * stds_m[new]
        error_deg = np.degrees(np.arctan2(apart_m, length_m[new]))
        bend_deg = _bend_deg(places_m, low[new], index[new], high[new]) / 4
        std_deg[new] = np.hypot(error_deg, bend_deg)
    return course_deg, std_deg


def _bend_deg(
    places_m: np.ndarray, low: np.ndarray, middle: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """By how many degrees the way in and the way out of positions differ, 0 at the ends."""
    way_in, way_out = places_m[middle] - places_m[low], places_m[high] - places_m[middle]
    cross = way_in[:, 0] * way_out[:, 1] - way_in[:, 1] * way_out[:, 0]
    return np.abs(np.degrees(np.arctan2(cross, (way_in * way_out).sum(axis=1))))


def wrap_deg(angle_deg: np.ndarray) -> np.ndarray:
    """The same angles within -180..180."""
    return (np.asarray(angle_deg, float) + 180.0) % 360.0 - 180.0


def circular_mean_deg(angle_deg: np.ndarray) -> tuple[float, float]:
    """Mean of angles (N,) in degrees, and how alike they are: 1 all the same, 0 anyhow."""
    mean = np.exp(1j * np.radians(angle_deg)).mean()
    return float(np.degrees(np.angle(mean))), float(abs(mean))
