"""Many short drives through several generated cities, followed by registration: evidence in
numbers, as short_flights.py is for cameras that look down.

    python -m justzoom_ros.worlds.short_drives runs/fit --cities 700 701 702 703 --drives 120
    python -m justzoom_ros.worlds.short_drives runs/judged --cities 720 721 722 723 --drives 300

Every drive has one camera that looks ahead, wheels that drift, a cold start and an unknown
heading, on another day than the map shows. Its pictures are kept in `drive.npz`, so that other
weights and rules need no new ones; what comes of it is a `fixes.csv` of the drive, and with
`--singles` a `single.csv` of some of its pictures, each by itself, which `justzoom calibrate
--fixes` reads.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.files import output_folder, writing
from justzoom_ros.inference.fix import Fix
from justzoom_ros.io.stamps import NS_PER_S
from justzoom_ros.localizer import Localizer
from justzoom_ros.pose import Pose
from justzoom_ros.registration.camera import Camera
from justzoom_ros.tracker import Tracker
from justzoom_ros.worlds.city.camera import Camera as CityCamera
from justzoom_ros.worlds.city.city import City, make_city
from justzoom_ros.worlds.city.config import CityConfig, make_photographer
from justzoom_ros.worlds.city.dataset import make_map
from justzoom_ros.worlds.city.drives import (
    CAMERA_FOV_RAD,
    CAMERA_UP_M,
    draw_sensors,
    integrate_wheels,
    noon,
)
from justzoom_ros.worlds.city.photo import Lens
from justzoom_ros.worlds.city.route import STEP_S, Junctions, Ride, junctions, ride
from justzoom_ros.worlds.city.scene import Scene
from justzoom_ros.worlds.city.shots import Day, Photographer, Shot, jpeg
from justzoom_ros.worlds.short_sequences import START_NS, write_sequence
from justzoom_ros.worlds.street_lessons import FORBIDDEN

ODOMETRY_EVERY = 5
"""Of the 50 samples a second of a ride one in so many is told."""


@dataclass(frozen=True)
class ShortDriveConfig:
    """How drives go, and what is seen of them."""

    frames: int = 13
    """Images of a drive at most."""

    step_m: float = 10.0
    """Way from one image to the next."""

    duration_s: float = 20.0
    """Of a drive."""

    size_px: tuple[int, int] = (192, 108)
    """Width and height of an image: a pixel is as wide as an azimuth of the lift."""

    side_m: float = 960.0
    """Side of a city."""

    resolution_m: float = 1.0
    """Pixel of the map."""

    def city(self, seed: int) -> CityConfig:
        """The city of a seed. Raises ConfigError for one that is kept back."""
        if seed in FORBIDDEN:
            raise ConfigError(f'the city of seed {seed} is kept back: take another')
        return CityConfig(
            seed, self.side_m, resolution_m=self.resolution_m, crop_px=60, train=0, val=0,
            blocks=0, other_city=0, size_px=self.size_px, held_share=0.0,
        )  # fmt: skip


@dataclass(frozen=True)
class ShortDrive:
    """What a drive saw and felt, and the truth."""

    jpegs: list[np.ndarray]
    """Bytes of the images, uint8 each."""

    stamps_ns: np.ndarray
    """int64 (N,) of the images."""

    truth: np.ndarray
    """(N, 3) east, north (metres) and yaw (radians) at the images."""

    odometry: np.ndarray
    """(M, 4) seconds, x, y (metres) and yaw (radians)."""

    def save(self, path: Path) -> None:
        """Write an npz, whole or not at all. Raises OutputError."""
        ends = np.cumsum([len(one) for one in self.jpegs])
        with writing(path) as temporary, temporary.open('wb') as file:
            np.savez(file, jpegs=np.concatenate(self.jpegs), ends=ends, stamps_ns=self.stamps_ns,
                     truth=self.truth, odometry=self.odometry)  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> 'ShortDrive':
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            jpegs = np.split(file['jpegs'], file['ends'][:-1])
            return cls(jpegs, file['stamps_ns'], file['truth'], file['odometry'])


@dataclass
class DrivenCity:
    """A city with what its drives have in common, made when it is first asked for."""

    config: CityConfig
    _scenes: dict[Day, Scene] = field(default_factory=dict)

    @cached_property
    def city(self) -> City:
        return make_city(self.config.seed, self.config.side_m)

    @cached_property
    def junctions(self) -> Junctions:
        return junctions(self.city.roads)

    @cached_property
    def photographer(self) -> Photographer:
        return make_photographer(self.city, self.config.region, self.config)

    def scene(self, day: Day, rides: Sequence[Ride]) -> Scene:
        """The scene of a day on which rides take place, with no vehicle in their way."""
        if day not in self._scenes:
            ways = [np.stack([one.east_m, one.north_m], 1)[::25] for one in rides]
            self._scenes[day] = self.city.scene(
                day.traffic_seed, day.fullness, keep_clear=np.concatenate(ways)
            )
        return self._scenes[day]


def draw_ride(city: DrivenCity, number: int, config: ShortDriveConfig) -> Ride:
    """The ride of a number. Raises ConfigError for too small a city."""
    rng = np.random.default_rng([city.config.seed, 60, number])
    half_m = city.config.side_m / 2
    found = ride(rng, city.city.roads, half_m, config.duration_s, city.junctions)
    if found is None:
        raise ConfigError(f'a city of {2 * half_m:g} m has no route of {config.duration_s:g} s')
    return found


def frames_of(track: Ride, config: ShortDriveConfig) -> np.ndarray:
    """Samples (N,) of a ride at which there are images: one each `step_m`."""
    gone_m = np.cumsum(track.speed_m_s) * STEP_S
    at = np.searchsorted(gone_m, np.arange(config.frames) * config.step_m)
    return at[at < len(gone_m)]


def take_drive(
    city: DrivenCity, number: int, rides: Sequence[Ride], config: ShortDriveConfig
) -> ShortDrive:
    """The drive of a number among the `rides` of all numbers through its city."""
    rng = np.random.default_rng([city.config.seed, 61, number])
    days, track = city.photographer.days['val'], rides[number]
    day = days[number % len(days)]
    scene = city.scene(day, rides[number % len(days) :: len(days)])
    wheels = integrate_wheels(track, draw_sensors(rng), rng)
    lens = Lens(exposure=1.0, noise=2.0, flare=0.3, quality=85, seed=int(rng.integers(2**31)))
    moment, jpegs = noon(day, city.config.region), []
    samples = frames_of(track, config)
    for i in samples:
        eye = np.array([track.east_m[i], track.north_m[i], CAMERA_UP_M])
        camera = CityCamera(eye, track.yaw_rad[i], 0.0, 0.0, config.size_px, CAMERA_FOV_RAD)
        shot = Shot(str(i), 'drive', camera, day, moment, lens)
        jpegs.append(np.frombuffer(jpeg(scene, shot), np.uint8))
    truth = np.stack([track.east_m, track.north_m, track.yaw_rad], 1)[samples]
    told = np.concatenate([track.time_s[:, None], wheels[:, :3]], 1)[::ODOMETRY_EVERY]
    stamps_ns = START_NS + np.round(track.time_s[samples] * NS_PER_S).astype(np.int64)
    return ShortDrive(jpegs, stamps_ns, truth, told)


def follow(tracker: Tracker, drive: ShortDrive) -> Iterator[Fix]:
    """Yield the fix of each image of a drive, from a cold start."""
    tracker.odometry.reset()
    tracker.reset()
    told = iter(_poses(drive))
    pose = next(told, None)
    for data, stamp_ns in zip(drive.jpegs, drive.stamps_ns, strict=True):
        while pose is not None and pose.stamp_ns <= stamp_ns + NS_PER_S * ODOMETRY_EVERY * STEP_S:
            tracker.add_odometry(pose)
            pose = next(told, None)
        yield tracker.locate(decode(data), int(stamp_ns))


def _poses(drive: ShortDrive) -> Iterator[Pose]:
    for seconds, x_m, y_m, yaw_rad in drive.odometry:
        yield Pose(START_NS + round(seconds * NS_PER_S), float(x_m), float(y_m), float(yaw_rad))


def decode(data: np.ndarray) -> np.ndarray:
    """The image, uint8 (H, W, 3) RGB, of the bytes of a JPEG."""
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[:, :, ::-1])


def make_map_of(folder: Path, config: CityConfig) -> Path:
    """The map of a city, made in `folder` where it is not there yet."""
    if not (folder / 'map' / 'map.yaml').is_file():
        city = make_city(config.seed, config.side_m)
        make_map(
            output_folder(folder), city, config, config.region, 1, lambda items, name, total: items
        )
    return folder / 'map'


def make_drives(folder: Path, seed: int, count: int, config: ShortDriveConfig) -> None:
    """Make the map of a city and the drives through it that are not there yet."""
    from tqdm import tqdm

    city = DrivenCity(config.city(seed))
    make_map_of(folder, city.config)
    paths = [folder / f'{number:04d}' / 'drive.npz' for number in range(count)]
    if all(path.is_file() for path in paths):
        return
    rides = [draw_ride(city, number, config) for number in range(count)]
    for number, path in enumerate(tqdm(paths, desc=f'city {seed}')):
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            take_drive(city, number, rides, config).save(path)


def follow_drives(
    folder: Path, count: int, singles: int = 0, registration: str | None = None
) -> None:
    """Follow the drives in a folder that were not followed yet; `singles` of the pictures of each
    are placed by themselves, too."""
    from tqdm import tqdm

    camera = Camera.from_fov(CAMERA_FOV_RAD, ahead=True)
    localizer = Localizer.open(
        folder / 'map', camera=camera, registration=registration, progress=False
    )
    tracker = Tracker(localizer)
    for number in tqdm(range(count), desc=str(folder)):
        path = folder / f'{number:04d}'
        if (path / 'fixes.csv').is_file():
            continue
        drive = ShortDrive.load(path / 'drive.npz')
        if singles:
            chosen = np.linspace(0, len(drive.jpegs) - 1, singles).astype(int)
            fixes = [localizer.locate(decode(drive.jpegs[i])) for i in chosen]
            write_sequence(path / 'single.csv', fixes, drive.truth[chosen, :2], localizer.region)
        fixes = list(follow(tracker, drive))
        write_sequence(path / 'fixes.csv', fixes, drive.truth[:, :2], localizer.region)


def main(arguments: Sequence[str] | None = None) -> None:
    """Drive, and write what came of it."""
    import torch

    parser = argparse.ArgumentParser(description='Short drives through generated cities.')
    add = parser.add_argument
    add('out', type=Path, metavar='DIR', help='folder for maps, drives and fixes')
    add('--cities', type=int, nargs='+', required=True, metavar='SEED', help='seeds of cities')
    add('--drives', type=int, default=50, help='number in all, evenly over the cities')
    add('--singles', type=int, default=0, help='pictures of each drive to place by themselves')
    add('--registration', metavar='FILE', help='weights (default: the shipped ones)')
    add('--only-make', action='store_true', help='make the drives, do not follow them')
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    config, count = ShortDriveConfig(), args.drives // len(args.cities)
    for seed in args.cities:
        folder = args.out / f'city_{seed}'
        make_drives(folder, seed, count, config)
        if not args.only_make:
            follow_drives(folder, count, args.singles, args.registration)


if __name__ == '__main__':
    main()
