"""A drone's flight over the invented town, as a bag of camera images with true positions.

It sees the town on another day than the map shows it, through a camera of its own: turning and
climbing, a little tilted, with vignetting, drifting exposure, noise and JPEG.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from justzoom_ros.io.bag_writing import SensorSample, orientation_sample, range_sample, write_bag
from justzoom_ros.io.camera_effects import blur, corner_distance, encode_jpeg
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.io.dead_reckoning import DriftConfig, dead_reckon
from justzoom_ros.io.stamps import NS_PER_S
from justzoom_ros.io.static_transform import LOOKS_DOWN, StaticTransform
from justzoom_ros.maps.nadir_camera import NadirPose, look_down
from justzoom_ros.pose import Pose
from justzoom_ros.registration.attitude import Attitude
from justzoom_ros.worlds.town import DEMO_REGION, FLIGHT_DAY, landscape

IMAGE_TOPIC = '/camera/image/compressed'
TRUTH_TOPIC = '/gps/fix'
HEIGHT_TOPIC, GIMBAL_TOPIC = '/height', '/gimbal'
CAMERA = StaticTransform('camera', LOOKS_DOWN)
START_NS = 1_790_000_000 * NS_PER_S
"""The flight's first stamp: an afternoon of September 2026."""


WAYPOINTS = (
    (-0.37, 0.36), (-0.31, 0.04), (-0.20, -0.20), (-0.02, -0.14), (0.07, 0.10), (0.06, 0.26),
    (0.17, 0.36), (0.30, 0.29), (0.36, 0.08), (0.28, -0.16), (0.10, -0.34), (-0.12, -0.35),
)  # fmt: skip
"""Shares of the side, east and north of the middle."""

ODOMETRY_HZ = 10

WHOLE_FLIGHT = 90
"""Frames from the first waypoint to the last; a flight of fewer is the beginning of it."""


@dataclass(frozen=True)
class FlightConfig:
    """How the drone flies, and its camera."""

    frames: int = WHOLE_FLIGHT
    """Number of images."""

    period_s: float = 1.0
    """Seconds from one to the next."""

    size_px: tuple[int, int] = (640, 480)
    """Width and height of an image."""

    footprint_m: tuple[float, float] = (95.0, 140.0)
    """Least and greatest width of the ground in view."""

    tilt_rad: float = 0.05
    """Amplitude of pitch and roll."""

    fov_rad: float = 1.2
    """Horizontal field of view."""

    jpeg_quality: int = 85
    """Of the images, 1 to 95."""

    height_noise: float = 0.01
    """Share that the rangefinder is off by, standard deviation."""

    attitude_noise_rad: float = 0.004
    """What the gimbal's angles are off by, standard deviation."""

    seed: int = 3
    """Draws noise and swaying."""


def flight_poses(
    config: FlightConfig, side_m: float, numbers: np.ndarray | None = None
) -> list[NadirPose]:
    """The `NadirPose` of every frame, or at `numbers` of frames with fractions: a curve through
    the waypoints, nose first, at one speed."""
    track = _smooth(np.array(WAYPOINTS) * side_m)
    steps_m = np.hypot(*np.diff(track, axis=0).T)
    along_m = np.concatenate([[0], np.cumsum(steps_m)])
    numbers = np.arange(config.frames) if numbers is None else numbers
    share = numbers / (WHOLE_FLIGHT - 1)
    east, north = (np.interp(share * along_m[-1], along_m, values) for values in track.T)
    ahead = np.gradient(track, axis=0)
    yaw = np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0]))
    yaw = np.interp(share * along_m[-1], along_m, yaw)
    low, high = config.footprint_m
    footprint = low + (high - low) * (0.5 - 0.5 * np.cos(19 * share + 1))
    phase = np.random.default_rng([config.seed, 0]).uniform(0, 2 * np.pi, 2)
    pitch = config.tilt_rad * np.sin(70 * share + phase[0])
    roll = config.tilt_rad * np.sin(45 * share + phase[1])
    columns = (east, north, yaw, footprint, pitch, roll)
    return [NadirPose(*map(float, row)) for row in zip(*columns, strict=True)]


def _smooth(points, per_piece=50):
    """A Catmull-Rom curve (M, 2) through points (N, 2)."""
    before, after = 2 * points[:1] - points[1:2], 2 * points[-1:] - points[-2:-1]
    padded = np.concatenate([before, points, after])
    t = np.linspace(0, 1, per_piece, endpoint=False)[:, None]
    pieces = []
    for before, start, end, after in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        slope = (end - before) / 2, (after - start) / 2
        pieces.append(
            (2 * t**3 - 3 * t**2 + 1) * start
            + (t**3 - 2 * t**2 + t) * slope[0]
            + (3 * t**2 - 2 * t**3) * end
            + (t**3 - t**2) * slope[1]
        )
    return np.concatenate([*pieces, points[-1:]])


def take_picture(
    pixels: np.ndarray, side_m: float, pose: NadirPose, config: FlightConfig, number: int
) -> bytes:
    """The JPEG (bytes) that the camera makes at `pose` of a ground `pixels` (n, n, 3)."""
    rng = np.random.default_rng([config.seed, 1, number])
    view = look_down(pixels, side_m, pose, config.size_px, config.fov_rad).astype(np.float32)
    exposure = 1 + 0.08 * np.sin(0.5 * number)
    view *= exposure * (1 - 0.32 * corner_distance(view.shape))
    noisy = blur(view, 0.7) + rng.normal(0, 4.0, view.shape)
    return encode_jpeg(np.clip(noisy + 0.5, 0, 255).astype(np.uint8), config.jpeg_quality)


def make_flight(
    out: Path,
    config: FlightConfig | None = None,
    progress: Callable[[list[NadirPose]], Iterable[NadirPose]] = iter,
    ground: np.ndarray | None = None,
) -> None:
    """Fly, and make the folder `out`: `frames/` the JPEGs, `bag/` the rosbag2 made of them.

    `ground` is a photograph of the demo's region, uint8 (n, n, 3), the town on the day of the
    flight unless given. `progress` wraps the list of poses, as tqdm does. Raises OSError where it
    cannot be written.
    """
    config = config or FlightConfig()
    region, images = DEMO_REGION, []
    ground = landscape(day=FLIGHT_DAY) if ground is None else ground
    frames = out / 'frames'
    frames.mkdir(parents=True)
    for number, pose in enumerate(progress(flight_poses(config, region.side_m))):
        path = frames / f'{number:04d}.jpg'
        path.write_bytes(take_picture(ground, region.side_m, pose, config, number))
        position = region.to_latlon(pose.east_m, pose.north_m)
        stamp_ns = START_NS + round(number * config.period_s * 1e9)
        images.append(GeoImage(path.stem, path, *position, stamp_ns, path.name))
    odometry, sensors = flight_odometry(config), flight_sensors(config)
    write_bag(
        images,
        out / 'bag',
        IMAGE_TOPIC,
        TRUTH_TOPIC,
        poses=odometry,
        samples=sensors,
        camera=CAMERA,
    )


def flight_sensors(config: FlightConfig) -> list[SensorSample]:
    """What a rangefinder and the camera's gimbal say at the time of each frame."""
    rng = np.random.default_rng([config.seed, 2])
    samples = []
    for number, pose in enumerate(flight_poses(config, DEMO_REGION.side_m)):
        stamp_ns = START_NS + round(number * config.period_s * NS_PER_S)
        height_m = pose.footprint_m / 2 / np.tan(config.fov_rad / 2)
        height_m *= 1 + rng.normal(0, config.height_noise)
        pitch, roll = rng.normal((pose.pitch_rad, pose.roll_rad), config.attitude_noise_rad)
        samples.append(range_sample(HEIGHT_TOPIC, stamp_ns, float(height_m)))
        turn = camera_quaternion(Attitude(float(pitch), float(roll)), pose.yaw_rad)
        samples.append(orientation_sample(GIMBAL_TOPIC, stamp_ns, turn))
    return samples


def camera_quaternion(attitude: Attitude, yaw_rad: float) -> tuple[float, float, float, float]:
    """The rotation (x, y, z, w) of a camera in ENU, x along its view and z up its image, from its
    tilt and where the top of its image points."""
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    world_from_level = np.array([[sin, -cos, 0.0], [-cos, -sin, 0.0], [0.0, 0.0, -1.0]])
    optical_from_body = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    matrix = world_from_level @ attitude.level_from_camera() @ optical_from_body
    vector = cv2.Rodrigues(matrix)[0].ravel()
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / max(angle, 1e-12) * np.sin(angle / 2)
    return float(x), float(y), float(z), float(np.cos(angle / 2))


def flight_odometry(config: FlightConfig) -> list[Pose]:
    """`Pose`s of the flight as its visual odometry measures them, with the errors of
    `DriftConfig`."""
    numbers = np.arange(0, config.frames - 1 + 1e-9, 1 / (ODOMETRY_HZ * config.period_s))
    track = flight_poses(config, DEMO_REGION.side_m, numbers)
    stamps_ns = [START_NS + round(number * config.period_s * 1e9) for number in numbers]
    positions = [(pose.east_m, pose.north_m) for pose in track]
    if len(track) < 2:
        return []
    return dead_reckon(stamps_ns, positions, DriftConfig(seed=config.seed))
