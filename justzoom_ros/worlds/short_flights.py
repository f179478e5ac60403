"""Many short flights over several generated towns, followed by registration: evidence in numbers.

    python -m justzoom_ros.worlds.short_flights runs/fit --towns 100 101 102 --flights 150
    python -m justzoom_ros.worlds.short_flights runs/judged --towns 200 201 202 --flights 150

Every flight begins anywhere on the map of its town, with an unknown heading, on another day than
the map shows. Its odometry has a wrong scale, a drifting heading and noise; its rangefinder and
gimbal are a little off. What comes of it is a `fixes.csv` per flight, as of `justzoom replay`,
which `justzoom calibrate --fixes` reads; with `--singles` a `single.csv` of some of its pictures,
each by itself, too. Flights that are there already are not flown again.
"""

import argparse
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from justzoom_ros.inference.fix import Fix
from justzoom_ros.io.stamps import NS_PER_S
from justzoom_ros.localizer import Localizer
from justzoom_ros.maps.nadir_camera import NadirPose
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.pose import Pose
from justzoom_ros.registration.attitude import Attitude
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.camera_state import CameraState
from justzoom_ros.tracker import Tracker, TrackerConfig
from justzoom_ros.worlds.flight import FlightConfig, take_picture
from justzoom_ros.worlds.short_sequences import START_NS, write_sequence
from justzoom_ros.worlds.town import DEMO_REGION, SURVEY_DAY, landscape, write_geotiff
from justzoom_ros.worlds.town.canvas import Day

INSIDE = 0.36
"""Flights turn back at this share of the side from the middle."""


@dataclass(frozen=True)
class ShortFlightConfig:
    """How flights go, and what their sensors are off by (standard deviations)."""

    frames: int = 12
    """Images of a flight, one a second."""

    step_m: float = 8.0
    """Way from one image to the next."""

    size_px: tuple[int, int] = (320, 240)
    """Width and height of an image."""

    footprint_m: tuple[float, float] = (80.0, 130.0)
    """Ground widths in view; each flight has one, which changes slowly by a tenth."""

    tilt_rad: float = 0.05
    """Tilt of the camera about either axis."""

    height_noise: float = 0.01
    """Of the rangefinder, as a share of the height."""

    attitude_noise_rad: float = 0.004
    """Of the gimbal, about either axis."""

    scale: float = 0.02
    """Of the odometry's length, as a share: one value for each flight."""

    length_noise: float = 0.03
    """Of the length of each step, as a share."""

    yaw_rate_rad_s: float = 0.002
    """Of the gyro: one value for each flight."""

    yaw_noise_rad: float = 0.004
    """Of the turn of each step."""

    resolution_m: float = 0.5
    """Pixel of map and ground."""

    side_m: float = 384.0
    """Side of a town."""


def make_town(folder: Path, seed: int, config: ShortFlightConfig) -> SatelliteMap:
    """The map of the town of a seed, made in `folder` where it is not there yet."""
    if (folder / 'map.yaml').is_file():
        return SatelliteMap.open(folder)
    region = replace(DEMO_REGION, side_m=config.side_m)
    pixels = _ground(seed, config, SURVEY_DAY)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / f'town-{seed}.tif'
        write_geotiff(pixels, region, source)
        return SatelliteMap.build(
            source,
            region,
            folder,
            crop_px=80,
            resolution_m=config.resolution_m,
            attribution='An invented town, drawn by justzoom_ros; no real place',
        )


def _ground(seed: int, config: ShortFlightConfig, day: Day) -> np.ndarray:
    """A photograph of a town, uint8 (n, n, 3)."""
    side_px = round(config.side_m / config.resolution_m)
    pixels = landscape(seed, config.side_m, config.resolution_m / 2, day)
    return cv2.resize(pixels, (side_px, side_px), interpolation=cv2.INTER_AREA)


def flight_day(seed: int) -> Day:
    """Another day than the map's: sun, season and light drawn by a seed."""
    rng = np.random.default_rng([seed, 5])
    return Day(
        sun_yaw_rad=rng.uniform(0, 2 * np.pi),
        sun_elevation_rad=np.radians(rng.uniform(30, 60)),
        autumn=rng.uniform(0, 0.6),
        seed=1000 + seed,
        exposure=rng.uniform(0.85, 1.1),
        contrast=rng.uniform(0.9, 1.1),
        warmth=rng.uniform(-0.3, 0.5),
        haze=rng.uniform(0.02, 0.12),
    )


def flight_poses(rng: np.random.Generator, config: ShortFlightConfig) -> list[NadirPose]:
    """The true poses of one flight: a way that bends at random and turns back at the border."""
    limit = INSIDE * config.side_m
    place, yaw, bend = rng.uniform(-limit, limit, 2), rng.uniform(-np.pi, np.pi), 0.0
    low, high = config.footprint_m
    width, phase = rng.uniform(low, high), rng.uniform(0, 2 * np.pi, 3)
    poses = []
    for number in range(config.frames):
        pitch, roll = config.tilt_rad * np.sin(number * np.array([0.7, 0.45]) + phase[:2])
        footprint = width * (1 + 0.1 * np.sin(0.3 * number + phase[2]))
        poses.append(NadirPose(*map(float, (*place, yaw, footprint, pitch, roll))))
        bend = 0.8 * bend + rng.normal(0, 0.05)
        ahead = place + 3 * config.step_m * np.array([np.cos(yaw), np.sin(yaw)])
        if np.abs(ahead).max() > limit:
            home = np.arctan2(-place[1], -place[0])
            bend = 0.4 * np.sign(np.remainder(home - yaw + np.pi, 2 * np.pi) - np.pi)
        yaw += bend
        place = place + config.step_m * np.array([np.cos(yaw), np.sin(yaw)])
    return poses


def odometry_of(
    poses: Sequence[NadirPose], rng: np.random.Generator, config: ShortFlightConfig
) -> list[Pose]:
    """What the odometry says at the time of each image, from (0, 0) and heading 0 on."""
    scale, bias = 1 + rng.normal(0, config.scale), rng.normal(0, config.yaw_rate_rad_s)
    place, yaw, found = 0j, 0.0, [Pose(START_NS, 0.0, 0.0, 0.0)]
    for number, (before, after) in enumerate(zip(poses, poses[1:], strict=False), 1):
        step = complex(after.east_m - before.east_m, after.north_m - before.north_m)
        step *= np.exp(-1j * before.yaw_rad) * scale * (1 + rng.normal(0, config.length_noise))
        place += step * np.exp(1j * yaw)
        yaw += after.yaw_rad - before.yaw_rad + bias + rng.normal(0, config.yaw_noise_rad)
        found.append(Pose(START_NS + number * NS_PER_S, place.real, place.imag, yaw))
    return found


def states_of(
    poses: Sequence[NadirPose], rng: np.random.Generator, config: ShortFlightConfig
) -> list[CameraState]:
    """What rangefinder and gimbal say at each image."""
    fov_rad, found = FlightConfig().fov_rad, []
    for pose in poses:
        height_m = pose.footprint_m / 2 / np.tan(fov_rad / 2)
        measured_m = float(height_m * (1 + rng.normal(0, config.height_noise)))
        camera = Camera.from_fov(fov_rad).with_height(measured_m, config.height_noise * measured_m)
        noise = rng.normal(0, config.attitude_noise_rad, 2)
        pitch, roll = float(pose.pitch_rad + noise[0]), float(pose.roll_rad + noise[1])
        found.append(CameraState(camera, Attitude(pitch, roll)))
    return found


@dataclass(frozen=True)
class FlownFrame:
    """One image of a flight and what the sensors say with it."""

    pose: NadirPose
    """The truth."""

    odometry: Pose
    """Of the time of the image."""

    state: CameraState
    """What rangefinder and gimbal say."""

    image_rgb: np.ndarray
    """uint8 (H, W, 3)."""


def frames_of(
    ground: np.ndarray, seed: Sequence[int], config: ShortFlightConfig
) -> Iterator[FlownFrame]:
    """Yield each `FlownFrame` of the flight of a seed over the ground of a town."""
    rng = np.random.default_rng(seed)
    poses = flight_poses(rng, config)
    odometry, states = odometry_of(poses, rng, config), states_of(poses, rng, config)
    camera = FlightConfig(size_px=config.size_px, seed=int(rng.integers(2**31)))
    for number, (pose, sample, state) in enumerate(zip(poses, odometry, states, strict=True)):
        jpeg = take_picture(ground, config.side_m, pose, camera, number)
        yield FlownFrame(pose, sample, state, np.array(Image.open(BytesIO(jpeg))))


def follow(tracker: Tracker, frames: Iterable[FlownFrame]) -> Iterator[Fix]:
    """Yield the fix of each frame of a flight, from a cold start."""
    tracker.odometry.reset()
    tracker.reset()
    for frame in frames:
        tracker.add_odometry(frame.odometry)
        yield tracker.locate(frame.image_rgb, frame.odometry.stamp_ns, state=frame.state)


def place_singly(localizer: Localizer, frames: Sequence[FlownFrame]) -> list[Fix]:
    """The fix of each frame by itself, its heading unknown."""
    found = []
    for frame in frames:
        state = frame.state
        fix = localizer.locate(frame.image_rgb, state.camera, attitude=state.attitude)
        found.append(fix)
    return found


def places_m(frames: Sequence[FlownFrame], shift_m: Sequence[float] = (0.0, 0.0)) -> np.ndarray:
    """True places (N, 2) of frames, metres east and north, over a map that is off by `shift_m`:
    what is seen at a place on it is that much further east and north in truth."""
    return np.array([[one.pose.east_m, one.pose.north_m] for one in frames]) + shift_m


def write_flight(folder: Path, tracker: Tracker, frames: Sequence[FlownFrame], singles: int,
                 shift_m: Sequence[float]) -> None:  # fmt: skip
    """Write the `fixes.csv` of one flight, and the `single.csv` of some of its frames, each by
    itself. Raises OutputError."""
    region = tracker.localizer.region
    if singles:
        chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, singles).astype(int)]
        fixes = place_singly(tracker.localizer, chosen)
        write_sequence(folder / 'single.csv', fixes, places_m(chosen, shift_m), region)
    fixes = list(follow(tracker, frames))
    write_sequence(folder / 'fixes.csv', fixes, places_m(frames, shift_m), region)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fly, and write what came of it."""
    from tqdm import tqdm

    parser = argparse.ArgumentParser(description='Short flights over generated towns.')
    add = parser.add_argument
    add('out', type=Path, metavar='DIR', help='folder for maps and fixes')
    add('--towns', type=int, nargs='+', required=True, metavar='SEED', help='seeds of towns')
    add('--flights', type=int, default=50, help='number in all, evenly over the towns')
    add('--frames', type=int, default=ShortFlightConfig.frames, help='of each flight')
    add('--singles', type=int, default=0, help='pictures of each to place by themselves')
    add('--registration', metavar='FILE', help='weights (default: the shipped ones)')
    add('--shift', type=float, nargs=2, default=(0.0, 0.0), metavar='M', help='the map is off by '
        'so much, east and north')  # fmt: skip
    add('--map-offset-std', type=float, default=0.0, metavar='M', help='how far it may be off, as '
        "the node's map_offset_std_m")  # fmt: skip
    args = parser.parse_args(arguments)
    config = replace(ShortFlightConfig(), frames=args.frames)
    low, high = config.footprint_m
    camera = Camera.from_fov(FlightConfig().fov_rad).with_footprint(0.9 * low, 1.1 * high)
    for seed in args.towns:
        map = make_town(args.out / f'town_{seed}' / 'map', seed, config)
        ground = _ground(seed, config, flight_day(seed))
        localizer = Localizer.open(
            map,
            registration=args.registration,
            camera=camera,
            progress=False,
            map_offset_std_m=args.map_offset_std,
        )
        tracker = Tracker(localizer, TrackerConfig())
        for number in tqdm(range(args.flights // len(args.towns)), desc=f'town {seed}'):
            folder = args.out / f'town_{seed}' / f'{number:04d}'
            if not (folder / 'fixes.csv').is_file():
                frames = list(frames_of(ground, [seed, number], config))
                write_flight(folder, tracker, frames, args.singles, args.shift)


if __name__ == '__main__':
    main()
