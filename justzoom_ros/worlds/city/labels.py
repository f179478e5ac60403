"""What the generator knows beside the picture: classes seen from above, and how far walls are.

For training only: a network that learns to place a camera learns faster if it is also asked what
it sees.
"""

import numpy as np

from justzoom_ros.worlds.city.caster import SKY, trace
from justzoom_ros.worlds.city.ground import BRIDGE_EVERY_M, BRIDGE_M
from justzoom_ros.worlds.city.jit import inline_kernel, kernel
from justzoom_ros.worlds.city.scene import (
    BARK,
    BUILDING,
    CANAL,
    CELL_M,
    GARDEN,
    GLASS,
    GRASS,
    GROUND_M,
    HEDGE,
    LEAF,
    MEADOW,
    PITCH,
    R_COS,
    R_FOOTWAY,
    R_HALF,
    R_KIND,
    R_LENGTH,
    R_SIN,
    R_X,
    R_Y,
    ROOFTOP,
    WATER,
    Scene,
)  # fmt: skip

ROAD_LABEL, FOOTWAY_LABEL, GREEN_LABEL, PAVED_LABEL, WATER_LABEL = 1, 2, 3, 4, 5
"""Classes of the ground in the lowest three bits of a label."""

BUILDING_BIT, TREE_BIT = 8, 16
"""Set where a building or a plant stands on that ground."""

WALL_Z_M = 3.0
"""Height at which walls are looked for: above most cars."""


@inline_kernel
def _ground_label(scene, x, y):
    cells = scene.cell_top.shape[0]
    column, row = int((x + scene.half_m) / CELL_M), int((y + scene.half_m) / CELL_M)
    if 0 <= column < cells and 0 <= row < cells:
        cell, beside, count, canal = row * cells + column, False, 0, False
        for k in range(scene.road_start[cell], scene.road_start[cell + 1]):
            road = scene.roads[scene.road_item[k]]
            px, py = x - road[R_X], y - road[R_Y]
            u, v = road[R_COS] * px + road[R_SIN] * py, road[R_COS] * py - road[R_SIN] * px
            if not 0.0 <= u <= road[R_LENGTH]:
                continue
            outside = abs(v) - road[R_HALF]
            if outside <= 0.0:
                bridge = abs(u - round(u / BRIDGE_EVERY_M) * BRIDGE_EVERY_M) < BRIDGE_M / 2
                canal = canal or (road[R_KIND] == CANAL and abs(v) < 6.4 and not bridge)
                count += 1
            elif outside < road[R_FOOTWAY]:
                beside = True
        if count > 0:
            return WATER_LABEL if canal and count == 1 else ROAD_LABEL
        if beside:
            return FOOTWAY_LABEL
    side = scene.ground.shape[0]
    i, j = int((x + scene.half_m) / GROUND_M), int((y + scene.half_m) / GROUND_M)
    kind = MEADOW
    if 0 <= i < side and 0 <= j < side:
        kind = scene.ground[j, i]
    if kind in (GRASS, GARDEN, MEADOW, PITCH):
        return GREEN_LABEL
    return WATER_LABEL if kind == WATER else PAVED_LABEL


@kernel
def _label_down(scene, west, north, pixel_m, out):
    for row in range(out.shape[0]):
        y = north - (row + 0.5) * pixel_m
        for column in range(out.shape[1]):
            x = west + (column + 0.5) * pixel_m
            label = _ground_label(scene, x, y)
            number = trace(scene, 0.0, x, y, 300.0, 0.0, 0.0, -1.0)[1]
            if number >= 0:
                material = scene.look[number, 0]
                if material in (BUILDING, GLASS, ROOFTOP):
                    label += BUILDING_BIT
                elif material in (LEAF, HEDGE, BARK):
                    label += TREE_BIT
            out[row, column] = label


@kernel
def _walls(scene, x, y, z, bearings, far_m, out):
    for k in range(len(bearings)):
        dx, dy = np.cos(bearings[k]), np.sin(bearings[k])
        gone = 0.0
        out[k] = far_m
        for _ in range(12):
            t, number, _face = trace(scene, 0.0, x + gone * dx, y + gone * dy, z, dx, dy, 0.0)
            gone += t
            if number == SKY or gone >= far_m:
                break
            material = scene.look[number, 0]
            if material in (BUILDING, GLASS):
                out[k] = gone
                break
            gone += 0.3


def label_map(scene: Scene, side_m: float, resolution_m: float) -> np.ndarray:
    """Labels uint8 (n, n) of the square of `side_m` round the middle, row 0 in the north."""
    count = round(side_m / resolution_m)
    out = np.zeros((count, count), np.uint8)
    _label_down(scene, -side_m / 2, side_m / 2, resolution_m, out)
    return out


def wall_distances(
    scene: Scene, eye_m: np.ndarray, bearings_rad: np.ndarray, far_m: float = 100.0
) -> np.ndarray:
    """Metres float32 (N,) from an eye (3,) to the first wall along bearings (N,), radians
    counter-clockwise from east; `far_m` where there is none nearer. Plants and cars do not
    count."""
    out = np.empty(len(bearings_rad), np.float32)
    _walls(scene, float(eye_m[0]), float(eye_m[1]), WALL_Z_M, bearings_rad, float(far_m), out)
    return out
