"""An invented small town seen from the air: a map and a flight that belong to nobody.

The same seed gives the same town; two `Day`s give two photographs of it, with other light, season
and cars, so that what is flown over one is not a copy of the other. `maps/demo` was made by

    python -m justzoom_ros.worlds.town maps/demo
"""

import tempfile
from math import radians
from pathlib import Path

import cv2
import numpy as np
import rasterio

from justzoom_ros.files import replacing
from justzoom_ros.maps.plane import plane_transform
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.region import Region
from justzoom_ros.worlds.town.canvas import Day
from justzoom_ros.worlds.town.paint import paint
from justzoom_ros.worlds.town.planner import make_plan

DEMO_SEED = 7
DEMO_REGION = Region(latitude=-41.3, longitude=-18.6, side_m=640.0, grid=4, depth=3)
"""In the empty South Atlantic, so that nobody takes the town for a real one."""

DEMO_RESOLUTION_M = 0.5

SURVEY_DAY = Day(radians(48), radians(54), autumn=0.0, seed=11)
"""The map's day: a morning in early summer, the sun in the north-east."""

FLIGHT_DAY = Day(
    radians(118), radians(41), autumn=0.5, seed=12,
    exposure=0.94, contrast=1.05, warmth=0.5, haze=0.09,
)  # fmt: skip
"""The flight's day: an afternoon in early autumn, the sun in the north-west."""


def landscape(
    seed: int = DEMO_SEED, side_m: float = 640.0, resolution_m: float = 0.25, day: Day = SURVEY_DAY
) -> np.ndarray:
    """A photograph of the town of `seed`: uint8 (n, n, 3) RGB, n = side_m / resolution_m, row 0
    north. Every argument counts: the town of a larger square is another one."""
    return paint(make_plan(seed, side_m), day, resolution_m)


def write_geotiff(pixels: np.ndarray, region: Region, path: Path) -> None:
    """Write a photograph (n, n, 3) that covers `region` exactly as a GeoTIFF in its plane."""
    profile = {'driver': 'GTiff', 'dtype': 'uint8', 'count': 3, 'compress': 'deflate'}
    height, width = pixels.shape[:2]
    place = {'crs': region.crs.to_wkt(), 'transform': plane_transform(region, width)}
    with (
        replacing(path) as temporary,
        rasterio.open(temporary, 'w', width=width, height=height, **profile, **place) as file,
    ):
        file.write(pixels.transpose(2, 0, 1))


def build_demo_map(out: Path) -> SatelliteMap:
    """Make the demo's map folder `out`, in place of an older one; returns the `SatelliteMap`."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f'landscape-{DEMO_SEED}.tif'
        # Painted finer than kept, and reduced here: whatever warps the map later leaves it alone.
        side_px = round(DEMO_REGION.side_m / DEMO_RESOLUTION_M)
        pixels = cv2.resize(landscape(), (side_px, side_px), interpolation=cv2.INTER_AREA)
        write_geotiff(pixels, DEMO_REGION, source)
        return SatelliteMap.build(
            source,
            DEMO_REGION,
            out,
            crop_px=80,
            resolution_m=DEMO_RESOLUTION_M,
            compression='jpeg',
            attribution='An invented town, drawn by justzoom_ros; no real place',
            overwrite=True,
        )
