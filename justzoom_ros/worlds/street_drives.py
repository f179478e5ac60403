"""Drives through generated cities that registration never saw, from a cold start.

    python -m justzoom_ros.worlds.street_drives 860 861 862 --drives 20 -o docs/results/drives.json

Each drive has one camera that looks ahead and wheel odometry that drifts; nothing is known of the
place or the heading. Cities, maps and drives are those of `justzoom city DIR --seed N --side 1280
--drives 20 --drive-seconds 60 --drive-hz 2 --size 320 180 --held 0`, but a map at 1 m per pixel.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from justzoom_ros.evaluation.image_camera import CameraKnowledge
from justzoom_ros.evaluation.replay import track_frames
from justzoom_ros.evaluation.replay_results import sequence_figures
from justzoom_ros.evaluation.scored_fix import score_fix
from justzoom_ros.evaluation.sequence_camera import SequenceCamera
from justzoom_ros.evaluation.sequence_metrics import describe, summarize_sequences
from justzoom_ros.files import output_folder, writing
from justzoom_ros.io.bags import Bag, find_track
from justzoom_ros.io.sequences import SequenceTopics, events_of_bag
from justzoom_ros.localizer import Localizer
from justzoom_ros.registration.camera import Camera
from justzoom_ros.tracker import Tracker
from justzoom_ros.worlds.city.city import make_city
from justzoom_ros.worlds.city.config import CityConfig, make_photographer
from justzoom_ros.worlds.city.dataset import make_map
from justzoom_ros.worlds.city.drives import CAMERA_FOV_RAD, write_drive
from justzoom_ros.worlds.city.shots import Photographer

SOON_M, NEAR_M = 300.0, 25.0
"""A drive that is within `NEAR_M` for good after `SOON_M` has converged soon."""


def city_config(seed: int, drive_s: float) -> CityConfig:
    """The city of a seed, seen by drives alone."""
    return CityConfig(
        seed, resolution_m=1.0, crop_px=80, train=0, val=0, blocks=0, other_city=0,
        size_px=(320, 180), drive_s=drive_s, drive_hz=2.0, held_share=0.0,
    )  # fmt: skip


def make_one_map(seed: int, folder: Path, drive_s: float) -> None:
    """Make the map of a city that is not there yet."""
    config = city_config(seed, drive_s)
    out = output_folder(folder / str(seed))
    if not (out / 'map' / 'map.yaml').is_file():
        city = make_city(seed, config.side_m)
        make_map(out, city, config, config.region, 1, lambda items, name, total: items)


@lru_cache(1)
def photographer_of(config: CityConfig) -> Photographer:
    """That of a city, kept for the next drive through it."""
    return make_photographer(make_city(config.seed, config.side_m), config.region, config)


def drive_once(
    task: tuple[int, int], folder: Path, drive_s: float, weights: str | None
) -> dict[str, Any]:
    """Make one drive of a city, unless it is there, and follow it; its figures."""
    torch.set_num_threads(1)
    seed, number = task
    config, out = city_config(seed, drive_s), folder / str(seed)
    drive = out / f'drive_{number:03d}'
    if not drive.is_dir():
        photographer = photographer_of(config)
        with writing(drive) as temporary:
            temporary.mkdir()
            write_drive(
                temporary, photographer, number, drive_s, config.drive_hz,
                lambda items, name, total: items,
            )  # fmt: skip
    return {'seed': seed, 'drive': number, **follow(drive / 'bag', out / 'map', weights)}


def follow(bag_path: Path, map_path: Path, weights: str | None = None) -> dict[str, Any]:
    """The figures of a drive, followed from a cold start."""
    camera = Camera.from_fov(CAMERA_FOV_RAD, ahead=True)
    localizer = Localizer.open(map_path, camera=camera, registration=weights, progress=False)
    tracker = Tracker(localizer)
    with Bag(bag_path) as bag:
        track = find_track(bag, None)
        topics = SequenceTopics.find(bag)
        events = events_of_bag(bag, topics, track)
        known = SequenceCamera(CameraKnowledge(camera))
        fixes = list(track_frames(events, tracker, known))
    scored = [score_fix(fix, localizer.region, track) for fix in fixes]
    figures = sequence_figures(scored) or {}
    errors = [None if one.error_m is None else round(one.error_m, 2) for one in scored]
    return {**figures, 'errors_m': errors}


def summarize(drives: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of all drives together."""
    figures = summarize_sequences(drives)
    within = [one['convergence_25m_m'] for one in drives]
    soon = [one is not None and one <= SOON_M for one in within]
    figures['converged_25m_in_300m'] = float(np.mean(soon))
    return figures


def run(
    seeds: Sequence[int],
    drives: int,
    folder: Path,
    drive_s: float = 60.0,
    weights: str | None = None,
    workers: int = 1,
) -> Iterator[dict[str, Any]]:
    """Yield the figures of each drive of each city, as they come."""
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(partial(make_one_map, folder=folder, drive_s=drive_s), seeds))
        for seed in seeds:  # features are computed once
            Localizer.open(
                folder / str(seed) / 'map', camera=Camera(1.5, ahead=True), registration=weights
            )
        tasks = [(seed, number) for seed in seeds for number in range(drives)]
        job = partial(drive_once, folder=folder, drive_s=drive_s, weights=weights)
        yield from pool.map(job, tasks)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog='python -m justzoom_ros.worlds.street_drives')
    parser.add_argument('seeds', nargs='+', type=int, help='of the cities')
    parser.add_argument('--drives', type=int, default=20, help='in each (default 20)')
    parser.add_argument('--seconds', type=float, default=60.0, help='of each (default 60)')
    parser.add_argument('--folder', type=Path, default=Path('runs/street_drives'))
    parser.add_argument('--registration', metavar='FILE', help='weights (default: shipped)')
    parser.add_argument('--workers', type=int, default=1, help='processes')
    parser.add_argument('-o', '--out', type=Path, help='JSON to write')
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found: list[dict[str, Any]] = []
    for one in run(
        args.seeds, args.drives, args.folder, args.seconds, args.registration, args.workers
    ):
        found.append(one)
        print(one['seed'], one['drive'], one['convergence_25m_m'], one['after_median_m'],
              one['false_sure'], one['ends_sure_and_wrong'], flush=True)  # fmt: skip
        if args.out:
            with writing(args.out) as temporary:
                Path(temporary).write_text(json.dumps({'all': summarize(found), 'drives': found}))
    print(describe(summarize(found)))


if __name__ == '__main__':
    main()
