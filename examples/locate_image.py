"""Where was this picture taken?

python examples/locate_image.py out/examples/flight/frames/0003.jpg maps/demo
"""

import sys

from justzoom_ros import Fix, Localizer
from justzoom_ros.io.images import read_picture


def main(image: str, map_path: str) -> Fix:
    """Print where the picture `image` was taken, with the weights that lie beside the map."""
    localizer = Localizer.open(map=map_path, weights=f'{map_path}/weights.safetensors')
    fix = localizer.locate(read_picture(image))  # uint8 (H, W, 3) RGB
    print(f'{fix.status}: {fix.latitude:.6f}, {fix.longitude:.6f}', fix.reason)
    print(f'90 % of the probability lies within {fix.radius_90_m:.0f} m')
    for place in fix.hypotheses[:3]:
        print(f'{place.mass:5.1%} {place.east_m:+6.0f} m east, {place.north_m:+6.0f} m north')
    return fix


if __name__ == '__main__':
    main(*sys.argv[1:])
