"""`justzoom map terrain`: the height of the ground, for the altitude of fixes."""

import argparse
import json
from typing import Any

EXAMPLE = """examples:
  justzoom map terrain maps/farm --dem srtm.tif --std 6 --geoid 46.5
  justzoom map terrain maps/farm --dem /vsizip/dgm1.zip/dgm1.tif --std 0.3 --geoid 46.5

Heights of most rasters are above the sea. A fix wants them above the WGS84 ellipsoid, which
--geoid makes of them: the height of the geoid there, as a geoid calculator gives it.
"""


def add_terrain(jobs: Any) -> None:
    """Add the job to `justzoom map`."""
    parser = jobs.add_parser(
        'terrain',
        help='keep the height of the ground',
        description="Sample a raster of heights in metres over a map and keep it in the map's "
        'folder: fixes then have the altitude of the ground, with its error.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('map', metavar='DIR', help='map folder')
    add('--dem', required=True, metavar='FILE', help='raster of heights, anything GDAL reads')
    add('--std', type=float, required=True, metavar='M', help='standard deviation of the heights, '
        'metres')  # fmt: skip
    add('--geoid', type=float, default=0.0, metavar='M', help='added to the heights: the height '
        'of the geoid above the ellipsoid, if they are above the sea (default 0)')  # fmt: skip
    add('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Sample, keep, say what it holds."""
    import numpy as np

    from justzoom_ros.maps.map_file import read_info
    from justzoom_ros.maps.terrain import TERRAIN_NAME, build_terrain, write_terrain

    info = read_info(args.map)
    terrain = build_terrain(args.dem, info.region, args.std, args.geoid)
    write_terrain(args.map, info.checksum, terrain)
    heights = terrain.heights_m
    found = {
        'terrain': f'{args.map}/{TERRAIN_NAME}',
        'cells': len(heights),
        'covered': float(np.isfinite(heights).mean()),
        'lowest_m': float(np.nanmin(heights)),
        'highest_m': float(np.nanmax(heights)),
        'std_m': terrain.std_m,
    }
    text = (
        f'{found["terrain"]}: {found["cells"]} x {found["cells"]} cells, {found["lowest_m"]:.1f} '
        f'to {found["highest_m"]:.1f} m above the ellipsoid, +- {terrain.std_m:g} m, '
        f'{found["covered"]:.0%} of the map'
    )
    print(json.dumps(found) if args.json else text)
