"""Routes through the streets: which roads a drive takes and how fast it goes."""

from dataclasses import dataclass

import numpy as np

from justzoom_ros.worlds.city.city import LANES_M
from justzoom_ros.worlds.city.plan import Road
from justzoom_ros.worlds.city.scene import LANE

CRUISE_M_S, TURN_M_S2, THROTTLE_M_S2 = 11.0, 2.0, 1.5
STEP_S = 0.02
"""Everything is sampled at 50 Hz."""


@dataclass(frozen=True)
class Ride:
    """The true motion (N,): seconds, metres, radians, m/s, rad/s, m/s2; east, north and yaw are
    those of the vehicle, whose origin is on the ground below the camera."""

    time_s: np.ndarray
    east_m: np.ndarray
    north_m: np.ndarray
    yaw_rad: np.ndarray
    speed_m_s: np.ndarray
    yaw_rate_rad_s: np.ndarray
    acceleration_m_s2: np.ndarray


def junctions(roads: list[Road]) -> dict[tuple[int, int, bool], np.ndarray]:
    """For each road the junctions on it, {(road, road): point (2,)} with the ending road first."""
    found = {}
    for number, road in enumerate(roads):
        for end in (road.start, road.end):
            for other_number, other in enumerate(roads):
                u, v = other.local(end)
                if other_number != number and abs(v) < 0.5 and -0.5 < u < other.length_m + 0.5:
                    found[number, other_number, bool(end is road.end)] = end
    return found


Junctions = dict[tuple[int, int, bool], np.ndarray]
"""As `junctions` finds them."""


def wander(
    rng: np.random.Generator,
    roads: list[Road],
    half_m: float,
    length_m: float,
    found: Junctions | None = None,
) -> np.ndarray | None:
    """A polyline (N, 2) along lanes, at least `length_m` long, that stays within `half_m`; None
    where it came to a dead end before that. `found`: the `junctions`, where they are known."""
    found = junctions(roads) if found is None else found
    meets = [(a, b, point) for (a, b, _), point in found.items()]
    inside = [i for i, road in enumerate(roads) if road.kind != LANE and road.length_m > 60]
    number = int(rng.choice(inside))
    road, forward = roads[number], bool(rng.random() < 0.5)
    at = float(rng.uniform(0.3, 0.7) * road.length_m)
    points, gone_m = [_lane_point(road, at, forward)], 0.0
    while gone_m < length_m:
        # Where the road ahead meets others, and which directions lead on from there.
        choices: list[tuple[float, int, float]] = []
        for a, b, point in meets:
            if number not in (a, b):
                continue
            there = float(road.local(point)[0])
            away = (there - at) if forward else (at - there)
            if away > 25 and np.abs(point).max() < half_m - 12:
                choices.append((away, b if a == number else a, there))
        choices = sorted(choices)[:3]
        if not choices:
            return None
        away, other, there = choices[int(rng.integers(len(choices)))]
        turn = roads[other]
        u, _ = turn.local(road.at(there, 0.0))
        room = {True: turn.length_m - u, False: u}
        directions = [ahead for ahead in (True, False) if room[ahead] > 60]
        if not directions:
            return None
        onward = directions[int(rng.integers(len(directions)))]
        corner = _crossing(road, forward, turn, onward)
        points.append(corner)
        gone_m += away
        number, road, forward = other, turn, onward
        at = float(turn.local(corner)[0])
    return np.array(points) if _within(points, half_m) else None


def _lane_point(road, at, forward):
    side = -1 if forward else 1
    return road.at(at, side * LANES_M[road.kind][0])


def _crossing(road, forward, turn, onward):
    """Where the lane along one road meets the lane along another."""
    start, end = _lane_point(road, 0.0, forward), _lane_point(turn, 0.0, onward)
    share = np.linalg.solve(np.stack([road.along, -turn.along], axis=1), end - start)
    return start + share[0] * road.along


def _within(points, half_m):
    return bool(np.abs(np.array(points)).max() < half_m - 4)


def ride(
    rng: np.random.Generator,
    roads: list[Road],
    half_m: float,
    duration_s: float,
    found: Junctions | None = None,
) -> Ride | None:
    """The `Ride` of a drive of `duration_s` seconds. None where no route was found. `found`: the
    `junctions`, where they are known."""
    found = junctions(roads) if found is None else found
    for _ in range(200):
        line = wander(rng, roads, half_m, duration_s * CRUISE_M_S, found)
        if line is not None:
            return _drive(_round_corners(line), duration_s)
    return None


def _round_corners(line, step_m=0.5, reach_m=13.0):
    """The polyline with a point every `step_m` and its corners rounded."""
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    at = np.arange(0, along[-1], step_m)
    fine = np.stack([np.interp(at, along, axis) for axis in line.T], axis=1)
    window = int(reach_m / step_m) | 1
    return np.stack([_smooth(axis, window) for axis in fine.T], axis=1)


def _smooth(values, window):
    """A running mean (N,) of `values` (N,) under a bell `window` samples wide, ends kept."""
    bell = np.hanning(window + 2)[1:-1]
    padded = np.pad(values, window // 2, mode='reflect', reflect_type='odd')
    return np.convolve(padded, bell / bell.sum(), 'valid')


def _drive(line, duration_s):
    """Go along a line: slower in bends, no faster up or down than the brakes allow."""
    step_m = np.hypot(*np.diff(line, axis=0).T)
    along = np.concatenate([[0], np.cumsum(step_m)])
    yaw = np.unwrap(np.arctan2(*np.gradient(line, axis=0).T[::-1]))
    bend = np.abs(np.gradient(yaw, along)) + 1e-6
    limit = np.minimum(CRUISE_M_S, np.sqrt(TURN_M_S2 / bend))
    for order in (range(1, len(limit)), range(len(limit) - 2, -1, -1)):
        step = 1 if order.step > 0 else -1
        for i in order:
            reachable = np.sqrt(limit[i - step] ** 2 + 2 * THROTTLE_M_S2 * 0.5)
            limit[i] = min(limit[i], reachable)
    clock = np.concatenate([[0], np.cumsum(step_m / ((limit[1:] + limit[:-1]) / 2))])
    time = np.arange(0, duration_s + STEP_S / 2, STEP_S)
    at = _smooth(np.interp(time, clock, along), round(0.8 / STEP_S) | 1)
    smooth_yaw = np.interp(at, along, yaw)
    speed = np.gradient(at, STEP_S)
    return Ride(
        time,
        np.interp(at, along, line[:, 0]),
        np.interp(at, along, line[:, 1]),
        smooth_yaw,
        speed,
        np.gradient(smooth_yaw, STEP_S),
        np.gradient(speed, STEP_S),
    )
