"""Pictures of a scene: through a camera in the street, and straight down for the orthophoto."""

from collections.abc import Iterator

import numpy as np

from justzoom_ros.worlds.city.camera import Camera, Panorama
from justzoom_ros.worlds.city.jit import kernel
from justzoom_ros.worlds.city.light import Light
from justzoom_ros.worlds.city.scene import Scene
from justzoom_ros.worlds.city.surface import look
from justzoom_ros.worlds.city.threads import in_order

FLIGHT_M = 2000.0
"""Height of the orthophoto's parallel rays; nothing in a city is higher."""


@kernel
def _cast(scene, light, eye, rays, spread, out, met):
    height, width = rays.shape[:2]
    for row in range(height):
        for column in range(width):
            ray = rays[row, column]
            r, g, b, number = look(
                scene, light, eye[0], eye[1], eye[2], ray[0], ray[1], ray[2], spread
            )
            out[row, column, 0], out[row, column, 1], out[row, column, 2] = r, g, b
            met[row, column] = number


@kernel
def _refine(scene, light, eye, rays, spread, rough, out):
    """Take two more rays where neighbouring pixels differ, and the mean of all three."""
    height, width = rays.shape[:2]
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            here = rough[row, column]
            tone = here[0] + here[1] + here[2] + 0.03
            worst = 0.0
            for k in range(4):
                there = rough[row + (k == 0) - (k == 1), column + (k == 2) - (k == 3)]
                other = there[0] + there[1] + there[2] + 0.03
                worst = max(worst, abs(other - tone) / (other + tone))
            if worst < 0.12:
                continue
            ray, right, below = rays[row, column], rays[row, column + 1], rays[row + 1, column]
            for k in range(2):
                u, v = (0.34, -0.16) if k == 0 else (-0.16, 0.34)
                x = ray[0] + u * (right[0] - ray[0]) + v * (below[0] - ray[0])
                y = ray[1] + u * (right[1] - ray[1]) + v * (below[1] - ray[1])
                z = ray[2] + u * (right[2] - ray[2]) + v * (below[2] - ray[2])
                norm = 1.0 / np.sqrt(x * x + y * y + z * z)
                r, g, b, _ = look(
                    scene, light, eye[0], eye[1], eye[2], x * norm, y * norm, z * norm, spread
                )
                # The sun in a pane must not drown the other rays of its pixel.
                out[row, column, 0] += min(r, 2.0)
                out[row, column, 1] += min(g, 2.0)
                out[row, column, 2] += min(b, 2.0)
            for k in range(3):
                out[row, column, k] /= 3.0


@kernel
def _look_down(scene, light, west, north, pixel_m, flight_m, out):
    height, width = out.shape[:2]
    spread = pixel_m / flight_m
    for row in range(height):
        y = north - (row + 0.5) * pixel_m
        for column in range(width):
            x = west + (column + 0.5) * pixel_m
            r, g, b, _ = look(scene, light, x, y, flight_m, 0.0, 0.0, -1.0, spread)
            out[row, column, 0], out[row, column, 1], out[row, column, 2] = r, g, b


def see(
    scene: Scene, light: Light, camera: Camera | Panorama, smooth: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """What `camera` sees: linear RGB float32 (H, W, 3) and the solids met, int32 (H, W).

    `smooth` refines edges with more rays.
    """
    rays = camera.rays()
    spread = 1.0 / camera.focal_px
    rough = np.empty(rays.shape, np.float32)
    met = np.empty(rays.shape[:2], np.int32)
    _cast(scene, light, camera.eye_m, rays, spread, rough, met)
    if not smooth:
        return rough, met
    out = rough.copy()
    _refine(scene, light, camera.eye_m, rays, spread, rough, out)
    return out, met


def see_from_above(
    scene: Scene,
    light: Light,
    side_m: float,
    resolution_m: float,
    workers: int = 1,
    strip_px: int = 256,
) -> Iterator[np.ndarray]:
    """The square of `side_m` round the middle straight from above: yields strips, linear RGB
    float32 (rows, n, 3), from north to south; `workers` threads cast them side by side."""
    side_px = round(side_m / resolution_m)
    # Haze between the ground and an aircraft is in the exposure already.
    light = light._replace(sight_m=1e9)

    def strip(row):
        out = np.empty((min(strip_px, side_px - row), side_px, 3), np.float32)
        north = side_m / 2 - row * resolution_m
        _look_down(scene, light, -side_m / 2, north, resolution_m, FLIGHT_M, out)
        return out

    yield from in_order(strip, range(0, side_px, strip_px), workers)
