"""Small inputs for building datasets: photos with EXIF along a track, and a map under them."""

import json

import numpy as np
from imagery import CENTER, grid_round, latlon_at, write_raster
from PIL import Image, TiffImagePlugin

from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.region import Region

SIDE_M = 640.0
START = '2024:05:01 10:00:'
"""The beginning of the EXIF times of a track; the seconds follow."""


def make_map(folder, covered_share=1.0):
    """A map of SIDE_M round CENTER; imagery in its western part only, if so wanted."""
    rng = np.random.default_rng(0)
    size_px = 400
    bands = rng.integers(0, 255, (3, size_px, size_px), np.uint8)
    mask = np.full((size_px, size_px), 255, np.uint8)
    mask[:, round(covered_share * size_px) :] = 0
    transform = grid_round(CENTER, size_px=size_px, pixel=2.0)
    write_raster(folder / 'ortho.tif', bands, transform, mask=mask)
    region = Region(*CENTER, SIDE_M, 4, 3)
    SatelliteMap.build(folder / 'ortho.tif', region, folder / 'map', crop_px=16)
    return folder / 'map'


def scene(seed, size_px=(64, 48)):
    """A picture with much detail, another one for each seed, uint8 (h, w, 3)."""
    return np.random.default_rng(seed).integers(0, 255, (size_px[1], size_px[0], 3), np.uint8)


def sexagesimal(degrees):
    """EXIF's three rationals of an angle."""
    degrees = abs(degrees)
    minutes = (degrees % 1) * 60
    parts = (int(degrees), 1), (int(minutes), 1), (round(minutes % 1 * 60 * 10000), 10000)
    return tuple(TiffImagePlugin.IFDRational(*part) for part in parts)


def rational(value):
    return TiffImagePlugin.IFDRational(round(value * 1000), 1000)


def gps_tags(lat, lon, heading=None, reference='T', accuracy_m=None):
    tags = {1: 'N' if lat >= 0 else 'S', 2: sexagesimal(lat),
            3: 'E' if lon >= 0 else 'W', 4: sexagesimal(lon)}  # fmt: skip
    if heading is not None:
        tags |= {16: reference, 17: rational(heading)}
    if accuracy_m is not None:
        tags[31] = rational(accuracy_m)
    return tags


def save_photo(path, pixels, gps=None, photo=None, orientation=None, **save):
    """A JPEG with the GPS and photo tags given."""
    exif = Image.Exif()
    if gps:
        exif[0x8825] = gps
    if photo:
        exif[0x8769] = photo
    if orientation:
        exif[274] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif, quality=95, **save)
    return path


def seconds(number, rate_hz=1.0):
    """EXIF tags of the time of a track's photo."""
    minute, second = divmod(number / rate_hz, 60)
    return {36867: f'2024:05:01 10:{int(minute):02d}:{int(second):02d}',
            37521: f'{round(second % 1 * 1000):03d}'}  # fmt: skip


def u_turn(count=41, step_m=8.0):
    """East and north (count, 2) in metres of a drive along three sides of a block."""
    leg = count // 3
    east = np.concatenate([np.arange(leg) * step_m, np.full(count - leg, (leg - 1) * step_m)])
    north = np.zeros(count)
    north[leg : 2 * leg] = np.arange(1, leg + 1) * step_m
    north[2 * leg :] = leg * step_m
    east[2 * leg :] -= np.arange(1, count - 2 * leg + 1) * step_m
    return np.stack([east - 100.0, north - 50.0], axis=1)


def directions(track_m):
    """Bearings (N,) clockwise from north of the way to the next position, by hand."""
    gone = np.diff(track_m, axis=0)
    bearings = np.degrees(np.arctan2(gone[:, 0], gone[:, 1])) % 360.0
    return np.append(bearings, bearings[-1])


def save_track(folder, track_m=None, headings=None, focal_35=28, rate_hz=1.0, first=0, **options):
    """Photos along a track; `headings` (N,) or None for none. Returns their paths."""
    track_m = u_turn() if track_m is None else track_m
    paths = []
    for i, (east, north) in enumerate(track_m):
        heading = None if headings is None else headings[i] % 360.0
        gps = gps_tags(*latlon_at(east, north), heading, **options)
        photo = seconds(first + i, rate_hz)
        if focal_35 is not None:
            photo[0xA405] = focal_35
        paths.append(save_photo(folder / f'IMG_{first + i:04d}.jpg', scene(first + i), gps, photo))
    return paths


def write_json(path, value):
    path.write_text(json.dumps(value))
    return path
