"""A map of your own from an orthophoto: GeoTIFF, COG, VRT or a folder of tiles.

python examples/own_map.py out/examples/ortho.tif out/examples/farm
"""

import sys

from justzoom_ros import SatelliteMap
from justzoom_ros.maps.build import enclosing_region, open_source
from justzoom_ros.plots.map_picture import draw_map


def main(imagery: str, out: str) -> SatelliteMap:
    """Build the map `out` of all that the imagery shows, cut twice into 4 x 4 cells; draw it."""
    with open_source(imagery) as source:
        region = enclosing_region(source, grid=4, depth=2)
    satellite_map = SatelliteMap.build(imagery, region, out, crop_px=64, overwrite=True)
    draw_map(satellite_map, f'{out}.png')
    middle = region.encode(region.latitude, region.longitude)
    crop = satellite_map.crop(middle[:1])  # uint8 (64, 64, 3): what a policy sees of a cell
    print(f'{out}: {region.side_m:.0f} m wide, cells of {region.terminal_side_m:.0f} m')
    print(f'its middle is in cell {middle}; the first step there shows {crop.shape} pixels')
    print(f'next: justzoom train --map {out} --footprint 60 120 -o runs/farm')
    return satellite_map


if __name__ == '__main__':
    main(*sys.argv[1:])
