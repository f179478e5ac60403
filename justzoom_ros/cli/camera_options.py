"""Options of several commands: what is known of the camera."""

import argparse
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from justzoom_ros.evaluation.image_camera import CameraKnowledge
    from justzoom_ros.io.image_message import UsedDepth
    from justzoom_ros.registration.camera import Camera


def add_camera_options(parser: argparse.ArgumentParser, of_dataset: bool = False) -> None:
    """Add --ahead, --footprint, --height, --height-std, --fov, --heading and --heading-std to a
    command; with `of_dataset`, whose images have columns of their own, --ignore-heading too."""
    add = parser.add_argument_group('the camera').add_argument
    add('--ahead', action='store_true', help="it looks ahead, as a vehicle's does, and not down; "
        'needs --fov or a camera info')  # fmt: skip
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
    if of_dataset:
        add('--ignore-heading', action='store_true', help='search every heading, whatever the '
            'column heading_deg of the CSV says')  # fmt: skip


def add_image_range(parser: argparse.ArgumentParser) -> None:
    """Add --image-range to a command."""
    parser.add_argument(
        '--image-range',
        nargs=2,
        type=float,
        metavar=('LOW', 'HIGH'),
        help='values of 16-bit pictures that are black and white, as of a thermal camera '
        '(default: 0, and what the camera uses)',
    )


def add_bag_camera_options(parser: argparse.ArgumentParser) -> None:
    """Add what a bag may tell of its camera to a command that replays one."""
    add = parser.add_argument_group('the camera, as the bag tells it').add_argument
    add('--camera-info', metavar='TOPIC', help='CameraInfo topic of the lens, where there are '
        'several; not used with --fov')  # fmt: skip
    add('--height-topic', metavar='TOPIC', help='heights above ground, metres: Range or Float64')
    add('--attitude-topic', metavar='TOPIC', help="the tilt: a gimbal's QuaternionStamped (x "
        'along the view, z up), or the Imu of a body whose camera looks down')  # fmt: skip
    add_image_range(parser)
    add('--undistort', action='store_true', help='undistort images by the camera info, as the '
        "node's parameter does")  # fmt: skip


def depth_of(args: argparse.Namespace) -> 'UsedDepth':
    """How pictures of 16 bits are scaled by --image-range. Raises ConfigError."""
    from justzoom_ros.io.image_message import UsedDepth

    return UsedDepth(args.image_range and tuple(args.image_range))


def camera_of(args: argparse.Namespace, lens_alone: bool = False) -> 'Camera | None':
    """The `Camera` that the options tell of, None where they tell nothing. With `lens_alone` a
    field of view is enough: heights come from elsewhere. Raises ConfigError where options
    contradict each other or are not enough."""
    from justzoom_ros.errors import ConfigError
    from justzoom_ros.registration.camera import Camera
    from justzoom_ros.registration.camera_state import HEIGHT_SHARE

    if getattr(args, 'ahead', False):
        return _ahead(args, lens_alone)
    if args.footprint and args.height is not None:
        raise ConfigError('give --footprint or --height, not both')
    if args.footprint:
        camera = Camera.from_fov(math.radians(args.fov)) if args.fov else Camera()
        return camera.with_footprint(*args.footprint)
    if args.height is None:
        if args.fov is None:
            return None
        if not lens_alone:
            raise ConfigError('--fov alone says nothing of the scale: give --height too')
        return Camera.from_fov(math.radians(args.fov))
    if args.fov is None and not lens_alone:
        raise ConfigError('--height needs --fov, the horizontal field of view in degrees')
    std_m = args.height * HEIGHT_SHARE if args.height_std is None else args.height_std
    camera = Camera() if args.fov is None else Camera.from_fov(math.radians(args.fov))
    return camera.with_height(args.height, std_m)


def _ahead(args: argparse.Namespace, lens_alone: bool) -> 'Camera':
    """The camera of --ahead; with `lens_alone` the lens may come from elsewhere."""
    from justzoom_ros.errors import ConfigError
    from justzoom_ros.registration.camera import Camera

    if args.footprint or args.height is not None:
        raise ConfigError('--footprint and --height are of cameras that look down, not --ahead')
    if args.fov is None:
        if lens_alone:
            return Camera(ahead=True)
        raise ConfigError('--ahead needs --fov, the horizontal field of view in degrees')
    return Camera.from_fov(math.radians(args.fov), ahead=True)


def knowledge_of(args: argparse.Namespace) -> 'CameraKnowledge':
    """The `CameraKnowledge` that the options tell of images whose columns may say more. Raises
    ConfigError where they contradict each other."""
    from justzoom_ros.evaluation.image_camera import CameraKnowledge

    yaw_rad, _ = heading_of(args)
    return CameraKnowledge(
        camera_of(args, lens_alone=True),
        args.height_std,
        yaw_rad,
        math.radians(args.heading_std),
        getattr(args, 'ignore_heading', False),
    )


def heading_of(args: argparse.Namespace) -> tuple[float | None, float | None]:
    """Yaw (counter-clockwise from east) and its deviation, radians, None where it is unknown."""
    if args.heading is None:
        return None, None
    return math.radians(90.0 - args.heading), math.radians(args.heading_std)
