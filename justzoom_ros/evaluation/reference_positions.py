"""Where pictures were taken, told by the map itself: a truth better than a camera's GPS.

    python -m justzoom_ros.evaluation.reference_positions --map MAP --images FRAMES.csv -o OUT.csv

Every picture is placed by SIFT at the map's full resolution (`sift.py`); what its middle shows is
written as a CSV that `justzoom evaluate` reads. It has nothing in common with registration or a
policy. A place counts where many matches agree, where two random halves of them give the same
place, and where that is within reach of the position that the picture came with.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from justzoom_ros.evaluation.sift import SiftBaseline, SiftConfig, SiftMatch
from justzoom_ros.files import writing
from justzoom_ros.io.datasets import GeoImage, parse_select, read_images
from justzoom_ros.maps.satellite_map import SatelliteMap

COLUMNS = ('file', 'lat', 'lon', 'heading_deg', 'inliers', 'disagreement_m', 'moved_m')
MIN_INLIERS = 15
MAX_DISAGREEMENT_M = 2.0
REACH_M = 60.0
"""A place further from the position that a picture came with is taken for a wrong one."""


def reference_positions(
    satellite_map: SatelliteMap, images: Sequence[GeoImage], width_m: float | None = None
) -> list[tuple[GeoImage, SiftMatch]]:
    """The pictures that can be placed beyond doubt, with their places. `width_m`: ground width in
    view, as `SiftBaseline.match` takes it."""
    config = SiftConfig(metres_per_px=satellite_map.resolution_m, min_inliers=MIN_INLIERS)
    baseline = SiftBaseline(satellite_map, config)
    found = []
    for image in images:
        match = baseline.match(image.load(), width_m)
        sure = match is not None and match.disagreement_m <= MAX_DISAGREEMENT_M
        if match and sure and _moved_m(satellite_map, image, match) <= REACH_M:
            found.append((image, match))
    return found


def _moved_m(satellite_map: SatelliteMap, image: GeoImage, match: SiftMatch) -> float:
    east_m, north_m = satellite_map.region.to_enu(image.latitude, image.longitude)
    return float(np.hypot(match.east_m - east_m, match.north_m - north_m))


def main(arguments: Sequence[str] | None = None) -> None:
    """Place, write, say how many."""
    parser = argparse.ArgumentParser(prog='python -m justzoom_ros.evaluation.reference_positions')
    parser.add_argument('--map', required=True, help='map folder')
    parser.add_argument('--images', required=True, help='CSV or folder of pictures')
    parser.add_argument('--select', action='append', help='COLUMN=VALUE')
    parser.add_argument('--width', type=float, help='ground width in view, metres')
    parser.add_argument('-o', '--out', required=True, type=Path, help='CSV to write')
    args = parser.parse_args(arguments)
    satellite_map = SatelliteMap.open(args.map)
    images = read_images(args.images, parse_select(args.select), satellite_map.region)
    found = reference_positions(satellite_map, images, args.width)
    with writing(args.out) as temporary, temporary.open('w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(COLUMNS)
        for image, match in found:
            lat, lon = satellite_map.region.to_latlon(match.east_m, match.north_m)
            heading = (90 - np.degrees(match.yaw_rad)) % 360
            row = [image.path.resolve(), f'{lat:.7f}', f'{lon:.7f}', f'{heading:.1f}']
            moved = _moved_m(satellite_map, image, match)
            writer.writerow([*row, match.inliers, f'{match.disagreement_m:.2f}', f'{moved:.1f}'])
    print(f'{args.out}: {len(found)} of {len(images)} pictures placed')


if __name__ == '__main__':
    main()
