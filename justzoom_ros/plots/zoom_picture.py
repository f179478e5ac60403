"""The debug picture: what the camera saw and how the policy zoomed in on the map."""

from typing import Any

import cv2
import numpy as np

from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.region import Region

TILE_PX = 256
YELLOW_RGB = (255, 220, 0)
DARK_RGB = (20, 20, 20)


def zoom_picture(
    image: np.ndarray, fix: Any, satellite_map: SatelliteMap, tile_px: int = TILE_PX
) -> np.ndarray:
    """A strip uint8 (tile_px, tile_px * (1 + depth), 3) RGB: the camera image, then the map at
    every level down to the most probable cell, the next choice outlined.

    `image` RGB uint8 (H, W, 3); `fix` a `Fix`, of which the position counts where it has no
    posterior; `satellite_map` a `SatelliteMap`.
    """
    actions = _actions(fix, satellite_map.region)
    tiles = [fit(image, tile_px)]
    for level, action in enumerate(actions):
        crop = satellite_map.crop(actions[:level])
        tile = cv2.resize(crop, (tile_px, tile_px), interpolation=cv2.INTER_AREA)
        tile[:, :2] = DARK_RGB
        tiles.append(_outline(tile, action, satellite_map.region.grid))
    write(tiles[0], f'{fix.status} {fix.confidence:.2f}')
    return np.concatenate(tiles, axis=1)


def _actions(fix: Any, region: Region) -> tuple[int, ...]:
    if fix.posterior is None:
        return tuple(region.encode_enu(fix.east_m, fix.north_m))
    return fix.posterior.best_cell.actions


def fit(image: np.ndarray, tile_px: int) -> np.ndarray:
    """The image in a dark square, not distorted."""
    height, width = image.shape[:2]
    scale = tile_px / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    tile = np.full((tile_px, tile_px, 3), DARK_RGB, np.uint8)
    top, left = (tile_px - size[1]) // 2, (tile_px - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    return tile


def _outline(tile: np.ndarray, action: int, grid: int) -> np.ndarray:
    row, column = divmod(action, grid)
    cell_px = len(tile) / grid
    first = round(column * cell_px), round(row * cell_px)
    last = round((column + 1) * cell_px) - 1, round((row + 1) * cell_px) - 1
    return cv2.rectangle(np.ascontiguousarray(tile), first, last, YELLOW_RGB, 2)


def write(tile: np.ndarray, text: str) -> None:
    """Write a line of text into a tile, at the top."""
    cv2.putText(tile, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, YELLOW_RGB, 1, cv2.LINE_AA)
