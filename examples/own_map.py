"""A map of your own from an orthophoto (GeoTIFF, COG, VRT or a folder of tiles), and a picture of
a downward camera located on it. Nothing is trained: registration works on any map.

python examples/own_map.py out/examples/ortho.tif out/examples/farm \\
    out/examples/flight/frames/0003.jpg 90 150
"""

import sys

from justzoom_ros import Fix, Localizer, SatelliteMap
from justzoom_ros.io.images import read_picture
from justzoom_ros.maps.build import enclosing_region, open_source
from justzoom_ros.plots.map_picture import draw_map


def main(imagery: str, out: str, image: str, least_m: str, most_m: str) -> Fix:
    """Build the map `out` of all that the imagery shows and draw it; say where the picture was
    taken, whose ground width in view lies between two numbers of metres."""
    with open_source(imagery) as source:
        region = enclosing_region(source, grid=4, depth=3)
    satellite_map = SatelliteMap.build(imagery, region, out, crop_px=64, overwrite=True)
    draw_map(satellite_map, f'{out}.png')
    print(f'{out}: {region.side_m:.0f} m wide, cells of {region.terminal_side_m:.0f} m')

    localizer = Localizer.open(satellite_map, footprint_m=(float(least_m), float(most_m)))
    fix = localizer.locate(read_picture(image))
    print(f'{fix.status}: {fix.latitude:.6f}, {fix.longitude:.6f}', fix.reason)
    return fix


if __name__ == '__main__':
    main(*sys.argv[1:])
