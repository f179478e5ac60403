"""Inputs for the other examples, of the invented town of maps/demo: pictures of a downward camera,
a flight as a rosbag2, and an orthophoto.

    python examples/make_inputs.py out/examples
"""

import sys
from pathlib import Path

from justzoom_ros.worlds.flight import FlightConfig, make_flight
from justzoom_ros.worlds.town import DEMO_REGION, FLIGHT_DAY, landscape, write_geotiff


def main(out: str) -> None:
    """Make the folder `out` with flight/frames/, flight/bag/ and ortho.tif."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    # Half a metre per pixel instead of a quarter: coarser than the demo's flight, and quick.
    ground = landscape(day=FLIGHT_DAY, resolution_m=0.5)
    make_flight(folder / 'flight', FlightConfig(frames=6), ground=ground)
    write_geotiff(landscape(resolution_m=0.5), DEMO_REGION, folder / 'ortho.tif')
    print(f'made {folder}/flight/frames, {folder}/flight/bag and {folder}/ortho.tif')


if __name__ == '__main__':
    main(*sys.argv[1:])
