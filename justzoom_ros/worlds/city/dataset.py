"""A city as a dataset: a map, street pictures with their cameras, and drives.

    DIR/city.yaml                                 what it was made from
    DIR/ortho.tif, DIR/map/                       the orthophoto, and the map built of it
    DIR/metadata.csv                              splits train, val, blocks
    DIR/streetview/images/<image_id>_undistorted.jpg
    DIR/panoramas.csv, DIR/streetview/panoramas/<image_id>.jpg
    DIR/drives/<name>/bag                         rosbag2
    DIR/other_city/...                            the same of another seed

A run that was interrupted goes on where it stopped: pictures that are there whole are kept.
"""

import calendar
import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from justzoom_ros.errors import DatasetError
from justzoom_ros.files import output_folder, writing
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.region import Region
from justzoom_ros.worlds.aliases import Progress
from justzoom_ros.worlds.city.city import City, make_city
from justzoom_ros.worlds.city.config import CityConfig, make_photographer
from justzoom_ros.worlds.city.drives import write_drives
from justzoom_ros.worlds.city.light import Moment, light
from justzoom_ros.worlds.city.panoramas import panorama, panorama_jpeg, panorama_row
from justzoom_ros.worlds.city.photo import develop
from justzoom_ros.worlds.city.render import see_from_above
from justzoom_ros.worlds.city.shots import Photographer, Shot, jpeg
from justzoom_ros.worlds.city.threads import in_order
from justzoom_ros.worlds.town import write_geotiff

OTHER_SEED, OTHER_LONGITUDE = 1_000_003, -39.0
MAP_DAY_S = calendar.timegm((2024, 6, 20, 13, 10, 0))
"""The aircraft's day: a morning in June, about eleven by the sun."""
MAP_TRAFFIC = 0
PANORAMAS = 'panoramas.csv'

COLUMNS = (
    'image_id', 'latitude', 'longitude', 'sequence', 'split', 'stamp', 'heading_deg', 'pitch_deg',
    'roll_deg', 'camera_height_m', 'fov_deg', 'width_px', 'height_px', 'fx_px', 'fy_px', 'cx_px',
    'cy_px', 'weather', 'sun_elevation_deg', 'traffic_seed', 'place', 'camera',
)  # fmt: skip
Row = dict[str, Any]

ATTRIBUTION = 'A generated city, drawn by justzoom_ros; no real place'


def make_dataset(
    out: str | Path, config: CityConfig, workers: int = 1, progress: Progress | None = None
) -> dict[str, int]:
    """Make or complete the dataset `out`; returns {split: number of pictures, 'drives': ...}.

    `workers` threads render side by side; `progress(items, name, total)` wraps what takes long.
    Raises DatasetError where `out` holds another dataset, ConfigError, OutputError.
    """
    progress = progress or (lambda items, name, total: items)
    folder = output_folder(out)
    _claim(folder, config)
    made = _make_one(folder, config, config.region, ('train', 'val', 'blocks'), workers, progress)
    made['drives'] = config.drives
    if config.other_city:
        region = replace(config.region, longitude=OTHER_LONGITUDE)
        other = replace(
            config, seed=config.seed + OTHER_SEED, held_share=0.0, drives=0, blocks=0, panoramas=0
        )
        elsewhere = output_folder(folder / 'other_city')
        made |= _make_one(elsewhere, other, region, ('other_city',), workers, progress)
    return made


def _claim(out, config):
    """Write city.yaml, or check that the one there says the same."""
    path, said = out / 'city.yaml', asdict(config)
    said |= {name: list(said[name]) for name in ('size_px', 'fov_deg')}
    if path.exists():
        try:
            there = yaml.safe_load(path.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise DatasetError(f'{path} cannot be read: {error}; choose another folder') from None
        if there != said:
            there = there if isinstance(there, dict) else {}
            names = [name for name in said if said[name] != there.get(name)]
            raise DatasetError(
                f'{out} holds a city made with another {", ".join(names) or "configuration"}; '
                'repeat those options to complete it, or choose another folder'
            )
        return
    if any(out.iterdir()):
        raise DatasetError(f'{out} is not empty and holds no city.yaml; choose another folder')
    with writing(path) as temporary:
        temporary.write_text(yaml.safe_dump(said, sort_keys=False))


def _make_one(out, config, region, splits, workers, progress):
    city = make_city(config.seed, config.side_m)
    if not (out / 'map' / 'map.yaml').is_file():
        before = make_city(config.seed, config.side_m, config.changed) if config.changed else city
        make_map(out, before, config, region, workers, progress)
    photographer = make_photographer(city, region, config)
    rows = []
    for split in splits:
        cameras = 1 if split == 'train' else config.cameras
        count = getattr(config, split)
        rows += take_pictures(out, photographer, split, count, workers, progress, cameras)
    _write_rows(out / 'metadata.csv', COLUMNS, rows)
    if config.panoramas:
        rows = take_panoramas(out, photographer, config.panoramas, workers, progress)
        _write_rows(out / PANORAMAS, rows[0].keys(), rows)
    write_drives(out / 'drives', photographer, config, progress)
    return {split: getattr(config, split) for split in splits}


# --- the map -----------------------------------------------------------------------------------


def orthophoto(
    city: City,
    region: Region,
    resolution_m: float,
    workers: int = 1,
    progress: Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]] = iter,
) -> np.ndarray:
    """The city from straight above on the map's day: uint8 (n, n, 3) RGB, row 0 north.

    `progress` wraps its strips.
    """
    scene = city.scene(MAP_TRAFFIC)
    day = light(Moment(MAP_DAY_S, region.latitude, region.longitude, 'clear', city.seed))
    rng = np.random.default_rng([city.seed, 30])
    strips = []
    for strip in progress(see_from_above(scene, day, city.side_m, resolution_m, workers)):
        grain = rng.integers(0, 256, strip.shape, np.uint8).astype(np.float32)
        pixels = develop(strip) + grain * np.float32(7 / 255) - 3.0
        strips.append(np.clip(pixels, 0, 255).astype(np.uint8))
    return np.concatenate(strips)


def make_map(
    out: Path, city: City, config: CityConfig, region: Region, workers: int, progress: Progress
) -> None:
    """Write `out`/ortho.tif and build `out`/map of it."""
    strips = -(-round(config.side_m / config.resolution_m) // 256)
    pixels = orthophoto(
        city,
        region,
        config.resolution_m,
        workers,
        lambda parts: progress(parts, 'orthophoto', strips),
    )
    with writing(out / 'ortho.tif') as temporary:
        write_geotiff(pixels, region, temporary)
    SatelliteMap.build(
        out / 'ortho.tif', region, out / 'map', crop_px=config.crop_px, attribution=ATTRIBUTION
    )


# --- pictures ------------------------------------------------------------------------------------


def take_pictures(
    out: Path,
    photographer: Photographer,
    split: str,
    places: int,
    workers: int,
    progress: Progress,
    cameras: int = 1,
) -> list[Row]:
    """Take the pictures of a split that are not there yet; returns the rows of all."""
    folder = output_folder(out / 'streetview' / 'images')

    def one(place):
        shots = photographer.rig(split, place, cameras)
        for shot in shots:
            path = folder / f'{shot.id}_undistorted.jpg'
            keep(path, lambda shot=shot: jpeg(photographer.scene(shot.day), shot))
        return [row_of(shot, photographer.region) for shot in shots]

    return sum(progress(in_order(one, range(places), workers), split, places), [])


def take_panoramas(
    out: Path, photographer: Photographer, count: int, workers: int, progress: Progress
) -> list[Row]:
    """Take the panoramas that are not there yet; returns the rows of all."""
    folder = output_folder(out / 'streetview' / 'panoramas')

    def one(place):
        spot = panorama(photographer, place)
        path = folder / f'{spot.id}.jpg'
        keep(path, lambda: panorama_jpeg(photographer.scene(spot.day), spot))
        return panorama_row(spot, photographer.region)

    return list(progress(in_order(one, range(count), workers), 'panoramas', count))


def keep(path: Path, make: Callable[[], bytes]) -> None:
    """Write the JPEG that `make()` returns, unless it is there to its end."""
    if not is_whole(path):
        with writing(path) as temporary:
            temporary.write_bytes(make())


def is_whole(path: Path) -> bool:
    """True for a JPEG that is there to its end."""
    try:
        with path.open('rb') as file:
            file.seek(-2, io.SEEK_END)
            return file.read() == b'\xff\xd9'
    except OSError:
        return False


def row_of(shot: Shot, region: Region) -> Row:
    """{column: value} of a Shot. `heading_deg` is clockwise from north, `pitch_deg` up."""
    camera, matrix = shot.camera, shot.camera.matrix
    latitude, longitude = (round(v, 7) for v in region.to_latlon(*camera.eye_m[:2]))
    stamp = datetime.fromtimestamp(shot.moment.stamp_s, timezone.utc)
    elevation = np.degrees(np.arcsin(light(shot.moment).sun[2]))
    values = (
        shot.id, latitude, longitude, str(list(region.encode(latitude, longitude))), shot.split,
        stamp.strftime('%Y-%m-%dT%H:%M:%SZ'),
        round((90 - np.degrees(camera.yaw_rad)) % 360, 3), round(np.degrees(camera.pitch_rad), 3),
        round(np.degrees(camera.roll_rad), 3), round(camera.eye_m[2], 3),
        round(np.degrees(camera.fov_rad), 3), *camera.size_px,
        *(round(v, 3) for v in (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])),
        shot.moment.weather, round(elevation, 2), shot.day.traffic_seed, shot.place, shot.number,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _write_rows(path, columns, rows):
    with writing(path) as temporary, Path(temporary).open('w', newline='') as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
