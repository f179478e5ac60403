"""When and where crowd-sourced pictures are taken."""

import calendar
from dataclasses import dataclass, field, replace
from threading import Lock

import numpy as np

from justzoom_ros.io.camera_effects import encode_jpeg
from justzoom_ros.region import Region
from justzoom_ros.worlds.city.camera import Camera
from justzoom_ros.worlds.city.caster import GROUND, trace
from justzoom_ros.worlds.city.city import LANES_M, City
from justzoom_ros.worlds.city.jit import kernel
from justzoom_ros.worlds.city.light import WEATHERS, Moment, light, sun_direction
from justzoom_ros.worlds.city.photo import Lens, random_lens, take
from justzoom_ros.worlds.city.render import see
from justzoom_ros.worlds.city.scene import Scene
from justzoom_ros.worlds.town.geometry import Block

SPLITS = ('train', 'val', 'blocks', 'other_city')
TRAIN_DAYS, OTHER_DAYS = 12, 4
WEATHER_SHARES = (0.35, 0.3, 0.2, 0.1, 0.05)
BUFFER_M = 27.0
"""Streets this near to a block that is kept back are kept back with it."""

TURNS = (0.0, np.pi, np.pi / 2, -np.pi / 2)
"""Headings of a rig's cameras relative to the first: opposite, left, right."""

CONDITIONS = ('mixed', 'night', 'rain', 'traffic')
FOV_DEG = (60.0, 110.0)


@dataclass(frozen=True)
class Day:
    """A day on which pictures are taken: its first second (UTC), its weather, and the seed and
    density of its traffic."""

    midnight_s: int
    weather: str
    traffic_seed: int
    fullness: float


@dataclass(frozen=True)
class Shot:
    """One picture to be taken."""

    id: str
    split: str
    camera: Camera
    day: Day
    moment: Moment
    lens: Lens = field(repr=False)
    place: int = 0
    number: int = 0
    """Which place of the split, and which of the cameras there."""


def make_days(seed: int, condition: str = 'mixed') -> dict[str, list[Day]]:
    """({split: [Day]}): train has other days than the rest."""
    rng = np.random.default_rng([seed, 20])
    new_year = calendar.timegm((2025, 1, 1, 0, 0, 0))
    days = []
    for number in range(TRAIN_DAYS + OTHER_DAYS):
        weather = str(rng.choice(WEATHERS, p=WEATHER_SHARES))
        weather = 'rain' if condition == 'rain' else weather
        # Spread over the year, so that every season has its days.
        date = int((number * 0.618034 % 1) * 365)
        full = 1.0 if condition == 'traffic' else float(rng.uniform(0.35, 0.9))
        days.append(Day(new_year + 86400 * date, weather, number + 1, full))
    return {
        split: days[:TRAIN_DAYS] if split == 'train' else days[TRAIN_DAYS:] for split in SPLITS
    }


def choose_kept_back(city: City, share: float) -> list[int]:
    """Numbers of the plots that are kept back for the split 'blocks', about `share` of all within
    the square."""
    rng = np.random.default_rng([city.seed, 21])
    inner = [
        number for number, plot in enumerate(city.plots)
        if np.abs(plot.middle).max() < city.side_m / 2 - 20
    ]  # fmt: skip
    count = max(1, round(share * len(inner))) if share else 0
    return sorted(int(n) for n in rng.permutation(inner)[:count])


def is_kept_back(point: np.ndarray, plots: list[Block]) -> bool:
    """True where a point lies in one of the plots or within BUFFER_M of it."""
    return any(_distance(point, plot.outline) < BUFFER_M for plot in plots)


def _distance(point, outline):
    """Metres from a point to a convex counter-clockwise polygon, 0 inside."""
    after = np.roll(outline, -1, axis=0)
    edge, offset = after - outline, point - outline
    if (edge[:, 0] * offset[:, 1] - edge[:, 1] * offset[:, 0] >= 0).all():
        return 0.0
    share = np.clip((offset * edge).sum(axis=1) / (edge**2).sum(axis=1), 0, 1)
    return float(np.linalg.norm(offset - share[:, None] * edge, axis=1).min())


class Photographer:
    """Chooses the shots of a city; `scenes` are made once per day and kept."""

    def __init__(
        self,
        city: City,
        region: Region,
        size_px: tuple[int, int],
        held_share: float = 0.1,
        condition: str = 'mixed',
        fov_deg: tuple[float, float] = FOV_DEG,
    ) -> None:
        self.city, self.region, self.size_px = city, region, size_px
        self.condition, self.fov_deg = condition, fov_deg
        self.days = make_days(city.seed, condition)
        self.kept_back = [city.plots[n] for n in choose_kept_back(city, held_share)]
        half = city.side_m / 2
        self.roads = [r for r in city.roads if _passes(r, half)]
        lengths = np.array([road.length_m for road in self.roads])
        self.weights = lengths / lengths.sum()
        self._scenes: dict[Day, Scene] = {}
        self._lock = Lock()

    def scene(self, day: Day) -> Scene:
        with self._lock:  # or each thread would make it
            if day not in self._scenes:
                self._scenes[day] = self.city.scene(day.traffic_seed, day.fullness)
            return self._scenes[day]

    def shot(self, split: str, place: int) -> Shot:
        """The Shot of a split at its `place`-th place, the same however many others are taken."""
        rng = np.random.default_rng([self.city.seed, 22, SPLITS.index(split), place])
        day, moment, camera, in_car = self.scenery(rng, split)
        lens = random_lens(rng, light(moment), in_car)
        return Shot(f'{split}_{place:06d}', split, camera, day, moment, lens, place)

    def rig(self, split: str, place: int, cameras: int) -> list[Shot]:
        """The Shots of so many cameras at one place at one moment: the first as by `shot`, the
        others turned by TURNS, each with a lens of its own."""
        first = self.shot(split, place)
        shots = [first]
        for number in range(1, cameras):
            rng = np.random.default_rng([self.city.seed, 23, SPLITS.index(split), place, number])
            yaw_rad = _wrap_angle(first.camera.yaw_rad + TURNS[number])
            camera = replace(first.camera, yaw_rad=yaw_rad, pitch_rad=float(rng.normal(0, 0.045)))
            lens = random_lens(rng, light(first.moment), in_car=False)
            name = f'{first.id}_{number}'
            shots.append(replace(first, id=name, camera=camera, lens=lens, number=number))
        return shots

    def scenery(self, rng: np.random.Generator, split: str) -> tuple[Day, Moment, Camera, bool]:
        """A day, a Moment of it, a clear Camera where the split may see, whether in a car."""
        days = self.days[split]
        day = days[int(rng.integers(len(days)))]
        moment = self.moment(rng, day)
        while True:
            camera, in_car = self.stand(rng)
            if not self.allowed(split, camera.eye_m[:2]):
                continue
            if is_clear(self.scene(day), camera.eye_m, camera.axes[2]):
                return day, moment, camera, in_car

    def allowed(self, split: str, point: np.ndarray) -> bool:
        if np.abs(point).max() > self.city.side_m / 2 - 1.0:
            return False
        if split == 'other_city' or not self.kept_back:
            return True
        return is_kept_back(point, self.kept_back) == (split == 'blocks')

    def moment(self, rng: np.random.Generator, day: Day) -> Moment:
        """A time of that day with enough light, or a dark one."""
        dark = self.condition == 'night' or (self.condition == 'mixed' and rng.random() < 0.03)
        place = self.region.latitude, self.region.longitude
        while True:
            stamp_s = day.midnight_s + int(rng.integers(86400))
            up = sun_direction(stamp_s, *place)[2]
            if (up < -0.12) if dark else (up > 0.12):
                return Moment(stamp_s, *place, day.weather, day.traffic_seed)

    def stand(self, rng: np.random.Generator) -> tuple[Camera, bool]:
        """A random Camera on a road, and whether it is in a car."""
        road = self.roads[int(rng.choice(len(self.roads), p=self.weights))]
        side = int(rng.choice([-1, 1]))
        in_car = rng.random() < 0.75
        if in_car:
            left_m = side * (float(rng.choice(LANES_M[road.kind])) + rng.normal(0, 0.25))
            up_m = rng.uniform(1.2, 1.7) if rng.random() < 0.7 else rng.uniform(1.9, 2.7)
        else:
            left_m = side * (road.half_m + rng.uniform(0.9, road.footway_m - 0.3))
            up_m = rng.uniform(1.45, 1.85)
        eye = np.append(road.at(rng.uniform(0, road.length_m), left_m), up_m)
        ahead = np.arctan2(road.along[1], road.along[0]) + (np.pi if side > 0 else 0.0)
        yaw_rad = ahead + rng.normal(0, 0.10) if rng.random() < 0.5 else rng.uniform(-np.pi, np.pi)
        camera = Camera(
            eye,
            _wrap_angle(yaw_rad),
            float(rng.normal(0, 0.045)),
            float(rng.normal(0, 0.02)),
            self.size_px,
            float(np.radians(rng.uniform(*self.fov_deg))),
        )
        return camera, in_car


def _wrap_angle(yaw_rad):
    return float((yaw_rad + np.pi) % (2 * np.pi) - np.pi)


def _passes(road, half_m):
    t = np.linspace(0, 1, 50)[:, None]
    return bool((np.abs(road.start + t * (road.end - road.start)).max(axis=1) < half_m).any())


def is_clear(scene: Scene, eye: np.ndarray, ahead: np.ndarray) -> bool:
    """True where an eye is in no solid, a metre from any, and has some view ahead."""
    return bool(_is_clear(scene, *(float(v) for v in (*eye, *ahead))))


@kernel
def _is_clear(scene, x, y, z, ax, ay, az):
    if trace(scene, 0.0, x, y, 300.0, 0.0, 0.0, -1.0)[1] != GROUND:
        return False
    for k in range(16):
        angle = k * 2 * np.pi / 16
        if trace(scene, 0.0, x, y, z, np.cos(angle), np.sin(angle), 0.0)[0] < 0.9:
            return False
        if trace(scene, 0.0, x, y, 0.6, np.cos(angle), np.sin(angle), 0.0)[0] < 0.9:
            return False
    return trace(scene, 0.0, x, y, z, ax, ay, az)[0] > 2.5


def jpeg(scene: Scene, shot: Shot) -> bytes:
    """The bytes of a Shot."""
    now = light(shot.moment)
    radiance, met = see(scene, now, shot.camera)
    return encode_jpeg(take(radiance, met, shot.camera, now, shot.lens), shot.lens.quality)
