"""How well registration places street cameras in generated cities that it never saw.

    python -m justzoom_ros.worlds.street_benchmark CITY... -o docs/results/streets.json

Each CITY is a folder that `justzoom city ... --cameras 4` made. For one, two and four views of a
place, the whole map searched at all headings: the negative log likelihood of the true cell of
20 m, and how far the most probable place is from the truth.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from justzoom_ros.evaluation.evaluate import rigs
from justzoom_ros.files import writing
from justzoom_ros.forward_registrar import ForwardRegistrar
from justzoom_ros.io.datasets import GeoImage, read_images
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.forward_search import Look
from justzoom_ros.registration.image_columns import camera_of, heading_of, tilt_of
from justzoom_ros.registration.likelihood import PoseLikelihood

CELL_M = 20.0
"""Side of the cells whose probability is judged."""

RADII_M = (5, 10, 25, 50)
HEADING_RAD = math.radians(12)
VIEWS = (1, 2, 4)


@dataclass(frozen=True)
class Placed:
    """What came of one place."""

    nll: float
    """-log p(true cell of 20 m), nats."""

    error_m: float
    """From the most probable place."""

    turn_rad: float
    """From its heading."""

    evidence: float
    """As of `PoseLikelihood`."""

    seconds: float
    """For features of the views and the search."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog='python -m justzoom_ros.worlds.street_benchmark')
    parser.add_argument('cities', nargs='+', type=Path)
    parser.add_argument('--registration', metavar='FILE', help='weights (default: shipped)')
    parser.add_argument('--tilt', action='store_true', help='the tilts of the cameras are known')
    parser.add_argument('-o', '--out', type=Path, help='JSON to write')
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = benchmark(args.cities, args.registration, args.tilt)
    print(describe(table))
    if args.out:
        with writing(args.out) as temporary:
            Path(temporary).write_text(json.dumps(table, indent=1) + '\n')


def benchmark(
    cities: Sequence[Path], weights: str | None = None, tilt_known: bool = False
) -> dict[str, Any]:
    """{number of views: figures} over all cities, and the figures of chance."""
    found: dict[int, list[Placed]] = {views: [] for views in VIEWS}
    sides: list[float] = []
    for city in cities:
        satellite_map = SatelliteMap.open(city / 'map')
        registrar = ForwardRegistrar.open(satellite_map, weights, progress=False)
        sides.append(satellite_map.region.side_m)
        images = read_images(city / 'metadata.csv', {'split': 'val'}, satellite_map.region)
        places = rigs(images, max(VIEWS))
        for place in tqdm(places, desc=city.name):
            for views in VIEWS:
                found[views].append(locate(registrar, place[:views], tilt_known))
    chance = {'nll': 2 * math.log(np.mean(sides) / CELL_M)}
    chance |= {f'within_{r}m': math.pi * r**2 / float(np.mean(sides)) ** 2 for r in RADII_M}
    rows = {str(views): summarize(placed) for views, placed in found.items()}
    return {
        'cities': [city.name for city in cities],
        'places': len(found[VIEWS[0]]),
        'tilt': 'known' if tilt_known else 'unknown',
        'chance': chance,
        'views': rows,
    }


def locate(
    registrar: ForwardRegistrar, place: Sequence[GeoImage], tilt_known: bool = False
) -> Placed:
    """The views of one place, registered on the whole map."""
    looks = list(_looks(place, tilt_known))
    began_s = time.perf_counter()
    likelihood = registrar.likelihood(registrar.rig_view(looks))
    seconds = time.perf_counter() - began_s
    truth_m = registrar.region.to_enu(place[0].latitude, place[0].longitude)
    east_m, north_m, yaw_rad = best_pose(likelihood)
    true_yaw = heading_of(place[0]) or 0.0
    return Placed(
        cell_nll(likelihood, *(float(v) for v in truth_m)),
        math.hypot(east_m - float(truth_m[0]), north_m - float(truth_m[1])),
        abs(math.remainder(yaw_rad - true_yaw, 2 * math.pi)),
        likelihood.evidence(),
        seconds,
    )


def _looks(place: Sequence[GeoImage], tilt_known: bool) -> Iterator[Look]:
    first = heading_of(place[0]) or 0.0
    for image in place:
        lens = camera_of(image, Camera(ahead=True))
        assert lens is not None
        tilt = tilt_of(image) if tilt_known else None
        yield Look(image.load(), lens, tilt, (heading_of(image) or 0.0) - first)


def cell_nll(likelihood: PoseLikelihood, east_m: float, north_m: float) -> float:
    """-log of the probability of the 20 m cell, of a grid from the north-west corner, that holds
    a position; every pose as probable beforehand."""
    plane = torch.logsumexp(likelihood.log_ratio, 0).double()
    plane = plane - torch.logsumexp(plane.flatten(), 0)
    step = CELL_M / likelihood.cell_m
    row = math.floor((likelihood.north_m - north_m) / CELL_M)
    column = math.floor((east_m - likelihood.west_m) / CELL_M)
    rows, columns = (slice(round(at * step), round((at + 1) * step)) for at in (row, column))
    return -float(torch.logsumexp(plane[rows, columns].flatten(), 0))


def best_pose(likelihood: PoseLikelihood) -> tuple[float, float, float]:
    """East and north in metres and heading of the highest peak."""
    peak = likelihood.peaks(1)[0]
    return peak.east_m, peak.north_m, peak.yaw_rad


def summarize(placed: Sequence[Placed]) -> dict[str, float]:
    """Means and shares."""
    errors = np.array([one.error_m for one in placed])
    figures = {'nll': float(np.mean([one.nll for one in placed]))}
    figures |= {f'within_{r}m': float((errors <= r).mean()) for r in RADII_M}
    turns = np.array([one.turn_rad for one in placed])
    figures['heading_12deg'] = float((turns <= HEADING_RAD).mean())
    figures['median_m'] = float(np.median(errors))
    figures['median_m_within_25m'] = _median(errors[errors <= 25])
    figures['seconds'] = float(np.median([one.seconds for one in placed]))
    return {name: round(value, 4) for name, value in figures.items()}


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else math.nan


def describe(table: dict[str, Any]) -> str:
    """The table in Markdown."""
    names = ['nll', *(f'within_{r}m' for r in RADII_M), 'heading_12deg', 'median_m', 'seconds']
    lines = [f'{table["places"]} places of {", ".join(table["cities"])}, tilt {table["tilt"]}', '']
    lines += ['| views | ' + ' | '.join(names) + ' |', '|---|' + '--:|' * len(names)]
    rows = {'chance': table['chance'], **table['views']}
    for views, row in rows.items():
        values = (f'{row[name]:.3g}' if name in row else '' for name in names)
        lines.append(f'| {views} | ' + ' | '.join(values) + ' |')
    return '\n'.join(lines)


if __name__ == '__main__':
    main()
