"""Driving across a country of overlapping regions: when does one take over from another, and what
must be loaded by then? `python -m justzoom_ros.worlds.handover` prints the table of
docs/scale.md.

Regions are squares whose centres lie on a square grid. A robot stays in its region until it is
nearer to the border than a margin; then that region takes over whose centre is nearest. Coming
from one side and going back, it has to cross the overlap less two margins: that is what keeps two
regions from taking turns.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STEP_M = 25.0
BACK_M = 1_000.0
"""A hand-over back to where one came from counts as back and forth within so many metres."""
KEPT = 4
"""Regions in memory at most: round a corner of the grid there are four to choose from."""


@dataclass(frozen=True)
class Tiling:
    """Squares that overlap their neighbours; region (i, j) has its centre at (i, j) times
    `pitch_m`, east and north."""

    side_m: float = 10_000.0
    """Side of a region."""

    overlap_m: float = 1_000.0
    """How far neighbours reach into each other."""

    @property
    def pitch_m(self) -> float:
        """Distance between the centres of neighbours."""
        return self.side_m - self.overlap_m

    def nearest(self, east_m: float, north_m: float) -> tuple[int, int]:
        """The region whose centre is nearest."""
        return round(east_m / self.pitch_m), round(north_m / self.pitch_m)

    def border_m(self, region: tuple[int, int], east_m: float, north_m: float) -> float:
        """Distance to the border of a region, negative outside."""
        i, j = region
        off = max(abs(east_m - i * self.pitch_m), abs(north_m - j * self.pitch_m))
        return self.side_m / 2 - off


@dataclass(frozen=True)
class Rule:
    """When a region takes over, and when it is loaded."""

    margin_m: float = 300.0
    """Distance to the border at which another region takes over."""

    ahead_m: float = 1_000.0
    """What may take over is loaded so much earlier."""


@dataclass(frozen=True)
class Crossing:
    """What a drive of `km` kilometres came to: hand-overs, those `back` and forth, regions loaded,
    the shortest way between the loading of a region and its taking over (`lead_m`), and how near
    the border of the region in use came (`border_m`)."""

    km: float
    handovers: int
    back: int
    loads: int
    lead_m: float
    border_m: float


def cross(tiling: Tiling, rule: Rule, places_m: np.ndarray) -> Crossing:
    """The `Crossing` of a drive through places (N, 2), metres east and north, N > 1."""
    travelled_m = np.concatenate(
        [[0.0], np.cumsum(np.linalg.norm(np.diff(places_m, axis=0), axis=1))]
    )
    region = tiling.nearest(*places_m[0])
    loaded, moves, borders, leads, loads = {region: -np.inf}, [], [], [], 0
    for at_m, (east, north) in zip(travelled_m, places_m.tolist(), strict=True):
        border = tiling.border_m(region, east, north)
        if border < rule.margin_m + rule.ahead_m:
            for other in _candidates(tiling, rule.ahead_m, east, north):
                loads += other not in loaded
                # The last is the most recently wanted. At the start there is time to load.
                loaded[other] = loaded.pop(other, at_m or -np.inf)
        loaded[region] = loaded.pop(region)
        loaded = dict(list(loaded.items())[-KEPT:])
        if border < rule.margin_m:
            before, region = region, tiling.nearest(east, north)
            moves.append((at_m, before, region))
            leads.append(at_m - loaded[region])
            border = tiling.border_m(region, east, north)
        borders.append(border)
    back = sum(
        there == back_to and at - was < BACK_M
        for (was, there, _), (at, _, back_to) in zip(moves, moves[1:], strict=False)
    )
    lead_m = min(leads, default=float('inf'))
    return Crossing(travelled_m[-1] / 1000, len(moves), back, loads, lead_m, min(borders))


def _candidates(tiling, ahead_m, east_m, north_m):
    """The regions that may be nearest within so many metres of driving, the nearest last."""
    corners = [(e, n) for e in (-ahead_m, ahead_m) for n in (-ahead_m, ahead_m)]
    found = {tiling.nearest(east_m + e, north_m + n) for e, n in corners}
    return [*sorted(found - {tiling.nearest(east_m, north_m)}), tiling.nearest(east_m, north_m)]


def far_route(rng: np.random.Generator, km: float, side_m: float = 300_000.0) -> np.ndarray:
    """Places of a drive between towns: straight to one random place after the other in a square,
    but for bends of 20 degrees and a kilometre or so."""
    steps = int(km * 1000 / STEP_M)
    bends = _wander(rng, steps, length_m=1_000.0, size=np.radians(20))
    place, goal, places = rng.uniform(0, side_m, 2), rng.uniform(0, side_m, 2), []
    for bend in bends:
        places.append(place)
        if np.linalg.norm(goal - place) < 1_000.0:
            goal = rng.uniform(0, side_m, 2)
        heading = np.arctan2(*(goal - place)[::-1]) + bend
        place = place + STEP_M * np.array([np.cos(heading), np.sin(heading)])
    return np.array(places)


def border_route(
    rng: np.random.Generator, km: float, tiling: Tiling, reach_m: float = 1_500.0
) -> np.ndarray:
    """Places of a van that works where two regions meet: to and fro across their middle line, each
    time to a random distance of at most `reach_m`."""
    turns = rng.uniform(0, reach_m, int(2 * km * 1000 / reach_m) + 2)
    turns[1::2] *= -1
    legs = [np.arange(a, b, np.copysign(STEP_M, b - a)) for a, b in zip(turns, turns[1:])]  # noqa: B905
    east_m = np.concatenate(legs)[: int(km * 1000 / STEP_M)] + tiling.pitch_m / 2
    return np.stack([east_m, np.zeros_like(east_m)], axis=1)


def _wander(rng, steps, length_m, size):
    """Numbers of a standard deviation `size` that forget themselves over a length."""
    keep = np.exp(-STEP_M / length_m)
    noise, value, values = rng.normal(0, size * np.sqrt(1 - keep**2), steps), 0.0, []
    for push in noise:
        value = keep * value + push
        values.append(value)
    return values


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row per overlap: what a country takes, and what driving there is like."""
    parser = argparse.ArgumentParser(prog='python -m justzoom_ros.worlds.handover')
    parser.add_argument('--km', type=float, default=5_000.0, help='length of each drive')
    parser.add_argument('--area', type=float, default=357_600.0, help='of the country, km2')
    args = parser.parse_args(arguments)
    rule = Rule()
    print('| overlap | regions | far: per 100 km | loads | lead | border | to and fro: back |')
    print('|--:|--:|--:|--:|--:|--:|--:|')
    for overlap_m in (500.0, 700.0, 1_000.0, 2_000.0, 3_000.0):
        tiling = Tiling(overlap_m=overlap_m)
        far = cross(tiling, rule, far_route(np.random.default_rng(0), args.km))
        near = cross(tiling, rule, border_route(np.random.default_rng(0), args.km, tiling))
        regions = args.area / (tiling.pitch_m / 1000) ** 2
        print(
            f'| {overlap_m:.0f} m | {regions:.0f} | {100 * far.handovers / far.km:.1f} '
            f'| {100 * far.loads / far.km:.1f} | {far.lead_m:.0f} m | {far.border_m:.0f} m '
            f'| {100 * near.handovers / near.km:.1f}, back {100 * near.back / near.km:.1f} |'
        )


if __name__ == '__main__':
    main()
