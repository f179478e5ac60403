"""The debug picture of a registration: what the camera saw, and where on the map that is."""

from typing import Any

import cv2
import numpy as np

from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.plots.zoom_picture import TILE_PX, YELLOW_RGB, fit, write

NEAR_M = 120.0
"""Least side of the ground round a fix that is shown."""


def registration_picture(
    image: np.ndarray, fix: Any, satellite_map: SatelliteMap, tile_px: int = TILE_PX
) -> np.ndarray:
    """A strip uint8 (tile_px, 3 * tile_px, 3) RGB: the camera image, uint8 (H, W, 3); the whole
    map with all hypotheses; and the ground round the first of them, with its 90 % radius and an
    arrow where the robot heads. `fix`: a `Fix`."""
    tiles = [fit(image, tile_px), _whole(fix, satellite_map, tile_px)]
    tiles.append(_near(fix, satellite_map, tile_px))
    write(tiles[0], f'{fix.status} {fix.confidence:.2f}')
    return np.concatenate(tiles, axis=1)


def _whole(fix: Any, satellite_map: SatelliteMap, tile_px: int) -> np.ndarray:
    """The map, with a circle at each hypothesis, the larger the more it weighs."""
    tile = satellite_map.picture(tile_px)
    tile = np.ascontiguousarray(cv2.resize(tile, (tile_px, tile_px)))
    side_m = satellite_map.region.side_m
    for hypothesis in fix.hypotheses:
        place = _pixel(hypothesis.east_m, hypothesis.north_m, (0.0, 0.0), side_m, tile_px)
        cv2.circle(tile, place, 2 + round(10 * hypothesis.mass), YELLOW_RGB, 1, cv2.LINE_AA)
    return tile


def _near(fix: Any, satellite_map: SatelliteMap, tile_px: int) -> np.ndarray:
    """The ground round the fix."""
    side_m = float(np.clip(4 * fix.radius_90_m, NEAR_M, satellite_map.region.side_m))
    centre = fix.east_m, fix.north_m
    tile = _crop(satellite_map, centre, side_m, tile_px)
    middle = _pixel(*centre, centre, side_m, tile_px)
    radius_px = max(1, round(fix.radius_90_m / side_m * tile_px))
    cv2.circle(tile, middle, radius_px, YELLOW_RGB, 1, cv2.LINE_AA)
    if fix.yaw_rad is not None:
        east_m = fix.east_m + side_m / 6 * float(np.cos(fix.yaw_rad))
        north_m = fix.north_m + side_m / 6 * float(np.sin(fix.yaw_rad))
        tip = _pixel(east_m, north_m, centre, side_m, tile_px)
        cv2.arrowedLine(tile, middle, tip, YELLOW_RGB, 2, cv2.LINE_AA, tipLength=0.3)
    return tile


def _crop(
    satellite_map: SatelliteMap, centre_m: tuple[float, float], side_m: float, tile_px: int
) -> np.ndarray:
    """A square of the map, dark beyond its border."""
    pixels, whole_m = satellite_map.pixels, satellite_map.region.side_m
    scale = len(pixels) / whole_m
    # Pixels of the tile to pixels of the map, both counted from the middle of the first.
    step = side_m * scale / tile_px
    left = (centre_m[0] - side_m / 2 + whole_m / 2) * scale + step / 2 - 0.5
    top = (whole_m / 2 - centre_m[1] - side_m / 2) * scale + step / 2 - 0.5
    matrix = np.array([[step, 0.0, left], [0.0, step, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(pixels, matrix, (tile_px, tile_px), flags=flags)


def _pixel(
    east_m: float, north_m: float, centre_m: tuple[float, float], side_m: float, tile_px: int
) -> tuple[int, int]:
    """Column and row of a point in a tile."""
    column = (east_m - centre_m[0]) / side_m + 0.5
    row = (centre_m[1] - north_m) / side_m + 0.5
    return round(column * tile_px), round(row * tile_px)
