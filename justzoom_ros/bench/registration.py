"""What registration costs: a cold start over a whole map, and tracking from a known place."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from justzoom_ros.bench.timing import ratio, time_in_turns, to_rows
from justzoom_ros.maps.nadir_camera import NadirPose, look_down
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.registrar import Registrar
from justzoom_ros.registration.camera import Camera

RUNS = 9
HEIGHT_M, FOV_RAD = 120.0, 1.2
SIZE_PX = (1280, 720)
TRACKED_M, TRACKED_RAD = 100.0, np.radians(20.0)
"""How well a tracked place is known: to either side."""


def measure_registration(map_path: str | Path) -> dict[str, Any]:
    """Times of registering a frame of 720 lines on a map of 640 m: over all of it in 36 headings,
    and within 100 m and 20 degrees, also on a GPU where there is one; what the map's features
    take."""
    satellite_map = SatelliteMap.open(map_path)
    camera = Camera.from_fov(FOV_RAD).with_height(HEIGHT_M)
    registrar = Registrar.open(satellite_map, camera=camera, progress=False, device='cpu')
    image, pose = _frame(satellite_map)
    work = _work(registrar, image, camera, pose)
    if torch.cuda.is_available():
        faster = Registrar.open(satellite_map, camera=camera, progress=False, device='cuda')
        more = _work(faster, image, camera, pose)
        work |= {f'{name}, cuda': measure for name, measure in more.items()}
    timings = time_in_turns(work, RUNS)
    cells = registrar.features.shape[0] * registrar.features.shape[1]
    area_km2 = (satellite_map.region.side_m / 1000) ** 2
    kept = registrar.features.features
    return {
        'map m': satellite_map.region.side_m,
        'metres per cell': round(registrar.features.cell_m, 3),
        'cells': cells,
        'features MB per km2': round(kept.numel() * kept.element_size() / 1e6 / area_km2, 2),
        'spectrum MB': round(registrar.features.spectrum_bytes / 1e6, 1),
        **to_rows(timings),
        'cold start / tracking': ratio(timings, 'cold start', 'tracking'),
    }


def _work(
    registrar: Registrar, image: np.ndarray, camera: Camera, pose: NadirPose
) -> dict[str, Callable[[], None]]:
    """What is timed, by name."""
    return {
        'view': partial(_features_of_view, registrar, image, camera),
        'cold start': partial(_cold_start, registrar, image, camera),
        'tracking': partial(_track, registrar, image, camera, pose),
    }


def _frame(satellite_map: SatelliteMap) -> tuple[np.ndarray, NadirPose]:
    """What the camera sees over a place of the map."""
    footprint_m = 2 * HEIGHT_M * float(np.tan(FOV_RAD / 2))
    pose = NadirPose(60.0, -40.0, 0.7, footprint_m)
    side_m = satellite_map.region.side_m
    return look_down(satellite_map.pixels, side_m, pose, SIZE_PX, FOV_RAD), pose


def _features_of_view(registrar: Registrar, image: np.ndarray, camera: Camera) -> None:
    features = registrar.view(image, camera).features(0, registrar.features.cell_m)[0]
    features.cpu()  # a GPU has answered when the numbers are here


def _cold_start(registrar: Registrar, image: np.ndarray, camera: Camera) -> None:
    view = registrar.view(image, camera)
    registrar.fix(view, registrar.posterior(view))


def _track(registrar: Registrar, image: np.ndarray, camera: Camera, pose: NadirPose) -> None:
    view = registrar.view(image, camera, None, pose.yaw_rad, TRACKED_RAD / 2)
    window = registrar.features.window_around(pose.east_m, pose.north_m, TRACKED_M)
    registrar.likelihood(view, window).to('cpu')
