"""Draw the sheet of docs/city.md and measure: `python -m justzoom_ros.worlds.city city.jpg`."""

import argparse
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from PIL import Image

from justzoom_ros.worlds.city.city import City, make_city
from justzoom_ros.worlds.city.config import CityConfig
from justzoom_ros.worlds.city.dataset import orthophoto
from justzoom_ros.worlds.city.light import light
from justzoom_ros.worlds.city.render import see
from justzoom_ros.worlds.city.shots import Photographer, jpeg

Result = TypeVar('Result')
CONFIG = CityConfig()
COLUMNS, FRAMES = 4, 20
TILE_PX = (384, 216)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog='python -m justzoom_ros.worlds.city')
    parser.add_argument('sheet', type=Path, help='JPEG to write')
    parser.add_argument('--seed', type=int, default=CONFIG.seed)
    args = parser.parse_args(arguments)
    city, seconds = time_job(lambda: make_city(args.seed, CONFIG.side_m))
    print(f'city of {city.side_m:g} m: {seconds:.1f} s, {len(city.builder.solids)} solids')
    photographer = Photographer(city, CONFIG.region, CONFIG.size_px)
    measure(photographer)
    map_pixels = measure_orthophoto(city)
    sheet(photographer, map_pixels).save(args.sheet, quality=80)


def time_job(job: Callable[[], Result]) -> tuple[Result, float]:
    """(result, CPU seconds) of a job."""
    started_s = time.process_time()
    return job(), time.process_time() - started_s


def measure(photographer: Photographer, frames: int = 20) -> None:
    """Print what a frame costs on one thread, once everything is compiled."""
    shots = [photographer.shot('train', number) for number in range(frames)]
    jpeg(photographer.scene(shots[0].day), shots[0])
    lights = [light(shot.moment) for shot in shots]
    scenes = [photographer.scene(shot.day) for shot in shots]
    for name, job in (
        ('rays', lambda i: see(scenes[i], lights[i], shots[i].camera)),
        ('whole picture with JPEG', lambda i: jpeg(scenes[i], shots[i])),
    ):
        spent = [time_job(lambda i=i, job=job: job(i))[1] for i in range(frames)]
        size = 'x'.join(str(v) for v in photographer.size_px)
        print(f'{size} {name}: median {1000 * np.median(spent):.0f} ms')


def measure_orthophoto(city: City) -> np.ndarray:
    """Print what the orthophoto costs; returns it."""
    pixels, seconds = time_job(lambda: orthophoto(city, CONFIG.region, CONFIG.resolution_m))
    print(f'orthophoto {len(pixels)}x{len(pixels)}: {seconds:.1f} s')
    return pixels


def sheet(photographer: Photographer, map_pixels: np.ndarray) -> Image.Image:
    """Frames of all days with, in the last row, pieces of the orthophoto."""
    tiles = []
    for number in range(FRAMES):
        shot = photographer.shot('train', number)
        frame = np.asarray(Image.open(io.BytesIO(jpeg(photographer.scene(shot.day), shot))))
        tiles.append(cv2.resize(frame, TILE_PX, interpolation=cv2.INTER_AREA))
    width, height = TILE_PX
    for place in (0.15, 0.4, 0.6, 0.8):
        corner = int(place * len(map_pixels))
        piece = map_pixels[corner : corner + 2 * height, corner : corner + 2 * width]
        tiles.append(cv2.resize(piece, TILE_PX, interpolation=cv2.INTER_AREA))
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    return Image.fromarray(np.vstack(rows))


if __name__ == '__main__':
    main()
