"""Generated towns photographed on several days: imagery that registration can be trained on."""

import csv
from collections.abc import Callable, Iterable
from math import radians
from pathlib import Path

import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.files import output_folder, writing
from justzoom_ros.region import Region
from justzoom_ros.worlds.town import DEMO_SEED, write_geotiff
from justzoom_ros.worlds.town.canvas import Day
from justzoom_ros.worlds.town.paint import paint
from justzoom_ros.worlds.town.planner import make_plan

SIDE_M, RESOLUTION_M = 640.0, 0.5
INDEX = 'index.csv'


def draw_day(rng: np.random.Generator) -> Day:
    """Any hour between low and high sun, any season, any camera's exposure."""
    return Day(
        sun_yaw_rad=rng.uniform(0, 2 * np.pi),
        sun_elevation_rad=radians(rng.uniform(25, 68)),
        autumn=float(np.clip(rng.uniform(-0.3, 1.3), 0, 1)),
        seed=int(rng.integers(1 << 20)),
        exposure=rng.uniform(0.75, 1.25),
        contrast=rng.uniform(0.8, 1.25),
        warmth=rng.uniform(-1, 1),
        haze=rng.uniform(0, 0.3),
    )


def write_towns(
    out: str | Path,
    seeds: Iterable[int],
    dates: int = 3,
    progress: Callable[[Iterable, str, int], Iterable] | None = None,
) -> Path:
    """Photograph the towns of `seeds` from above on `dates` days each, 640 m at 0.5 m per pixel.

    Writes a folder of GeoTIFFs per town and `out`/index.csv, as training reads it; returns the
    index's path. Raises ConfigError for the demo's town, which must stay unseen; OutputError.
    """
    seeds, out = list(seeds), output_folder(out)
    if DEMO_SEED in seeds:
        raise ConfigError(f'seed {DEMO_SEED} is the town of the demo; train on other seeds')
    rows = []
    for seed in progress(seeds, 'towns', len(seeds)) if progress else seeds:
        rows += _write_town(out, seed, dates)
    with writing(out / INDEX) as temporary, open(temporary, 'w', newline='') as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return out / INDEX


def _write_town(out, seed, dates):
    """The rows of the index for the pictures of one town."""
    rng, plan, rows = np.random.default_rng(seed), make_plan(seed, SIDE_M), []
    region = Region(latitude=-41.3, longitude=-18.6, side_m=SIDE_M, grid=4, depth=3)
    for date in range(dates):
        name = f'town_{seed}/{date}.tif'
        write_geotiff(paint(plan, draw_day(rng), RESOLUTION_M), region, out / name)
        rows.append({
            'file': name,
            'licence': 'Apache-2.0 (drawn by justzoom_ros)',
            'metres_per_px': RESOLUTION_M,
            'place': f'generated town {seed}',
            'kind': 'generated',
        })  # fmt: skip
    return rows
