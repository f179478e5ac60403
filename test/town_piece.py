"""A piece of the demo's town with flights over it: a map that the shipped registration can work on
in little time."""

import csv

import numpy as np
import rasterio
from PIL import Image
from rasterio.transform import from_bounds

from justzoom_ros.maps.nadir_camera import NadirPose, look_down
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.region import Region
from justzoom_ros.worlds.demo import demo_map

SIDE_M, RESOLUTION_M = 256.0, 0.8
FOV_RAD = 1.2
FOOTPRINT_M = 90.0
HEIGHT_M = FOOTPRINT_M / 2 / np.tan(FOV_RAD / 2)
POSES = ((20.0, 30.0, 0.4), (-50.0, -20.0, -2.0), (40.0, -60.0, 2.9))
"""East and north in metres, yaw in radians."""


def make_town_map(folder, grid=4, depth=2):
    """Build a map of the middle of the demo's town in `folder`/town; returns it."""
    whole = SatelliteMap.open(demo_map())
    at = whole.region
    region = Region(at.latitude, at.longitude, SIDE_M, grid, depth)
    reach = round(SIDE_M / 2 / whole.resolution_m)
    middle = whole.pixels.shape[0] // 2
    piece = whole.pixels[middle - reach : middle + reach, middle - reach : middle + reach]
    half, side_px = SIDE_M / 2, len(piece)
    profile = {
        'driver': 'GTiff', 'width': side_px, 'height': side_px, 'count': 3, 'dtype': 'uint8',
        'crs': region.crs, 'transform': from_bounds(-half, -half, half, half, side_px, side_px),
    }  # fmt: skip
    with rasterio.open(folder / 'town.tif', 'w', **profile) as file:
        file.write(np.ascontiguousarray(piece.transpose(2, 0, 1)))
    return SatelliteMap.build(
        folder / 'town.tif', region, folder / 'town', resolution_m=RESOLUTION_M,
        attribution='invented',
    )  # fmt: skip


def take_view(satellite_map, east_m, north_m, yaw_rad, footprint_m=FOOTPRINT_M):
    """What a level camera sees, uint8 (96, 128, 3)."""
    pose = NadirPose(east_m, north_m, yaw_rad, footprint_m)
    return look_down(satellite_map.pixels, SIDE_M, pose, (128, 96), FOV_RAD)


def write_flight(
    folder, satellite_map, columns=('altitude', 'fov_deg', 'heading_deg'), poses=POSES
):
    """Views at some poses as PNGs in `folder` with a CSV, whose path is returned; `columns`
    besides positions. `stamp` is 10 s from one to the next."""
    rows = []
    for number, (east_m, north_m, yaw_rad) in enumerate(poses):
        name = f'view{number}.png'
        Image.fromarray(take_view(satellite_map, east_m, north_m, yaw_rad)).save(folder / name)
        latitude, longitude = satellite_map.region.to_latlon(east_m, north_m)
        known = {
            'altitude': HEIGHT_M,
            'fov_deg': np.degrees(FOV_RAD),
            'heading_deg': (90 - np.degrees(yaw_rad)) % 360,
            'stamp': 1_700_000_000.0 + 10 * number,
        }
        row = {'file': name, 'lat': repr(latitude), 'lon': repr(longitude)}
        rows.append(row | {column: f'{known[column]:.4f}' for column in columns})
    path = folder / 'flight.csv'
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path
