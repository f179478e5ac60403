"""Options of several commands: what is known of the camera."""

import argparse
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from justzoom_ros.registration.camera import Camera


def add_camera_options(parser: argparse.ArgumentParser) -> None:
    """Add --footprint, --height, --height-std, --fov and --heading to a command."""
    add = parser.add_argument_group('the camera, which looks down').add_argument
    add('--footprint', nargs=2, type=float, metavar=('MIN', 'MAX'), help='ground width in view, '
        'metres: a range that holds it')  # fmt: skip
    add('--height', type=float, metavar='M', help='height above ground, metres; needs --fov')
    add('--height-std', type=float, metavar='M', help='standard deviation of the height (default '
        '10 %% of it)')  # fmt: skip
    add('--fov', type=float, metavar='DEG', help='horizontal field of view, degrees')
    add('--heading', type=float, metavar='DEG', help='where the top of the picture points, '
        'degrees clockwise from north, if it is known')  # fmt: skip
    add('--heading-std', type=float, default=10.0, metavar='DEG', help='standard deviation of the '
        'heading (default 10)')  # fmt: skip


def camera_of(args: argparse.Namespace) -> 'Camera | None':
    """The `Camera` that the options tell of, None where they tell nothing. Raises ConfigError
    where they contradict each other or are not enough."""
    from justzoom_ros.errors import ConfigError
    from justzoom_ros.registration.camera import Camera
    from justzoom_ros.registration.camera_state import HEIGHT_SHARE

    if args.footprint and args.height is not None:
        raise ConfigError('give --footprint or --height, not both')
    if args.footprint:
        camera = Camera.from_fov(math.radians(args.fov)) if args.fov else Camera()
        return camera.with_footprint(*args.footprint)
    if args.height is None:
        if args.fov is not None:
            raise ConfigError('--fov alone says nothing of the scale: give --height too')
        return None
    if args.fov is None:
        raise ConfigError('--height needs --fov, the horizontal field of view in degrees')
    std_m = args.height * HEIGHT_SHARE if args.height_std is None else args.height_std
    return Camera.from_fov(math.radians(args.fov)).with_height(args.height, std_m)


def heading_of(args: argparse.Namespace) -> tuple[float | None, float | None]:
    """Yaw (counter-clockwise from east) and its deviation, radians, None where it is unknown."""
    if args.heading is None:
        return None, None
    return math.radians(90.0 - args.heading), math.radians(args.heading_std)
