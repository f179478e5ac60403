"""Generated cities to learn streets from, each of another style, made in worker processes.

A *lesson* is one city: its map, what the map shows by class, and places seen all round.
"""

import calendar
from pathlib import Path

import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.region import Region
from justzoom_ros.training.street_registration.lesson import Lesson
from justzoom_ros.worlds.city.camera import Panorama
from justzoom_ros.worlds.city.city import make_city
from justzoom_ros.worlds.city.labels import label_map, wall_distances
from justzoom_ros.worlds.city.light import WEATHERS, Light, Moment, light, sun_direction
from justzoom_ros.worlds.city.photo import Lens, develop
from justzoom_ros.worlds.city.plan import USES
from justzoom_ros.worlds.city.render import see, see_from_above
from justzoom_ros.worlds.city.scene import BUILDING, GLASS, HEDGE, LEAF, Scene
from justzoom_ros.worlds.city.shots import WEATHER_SHARES, Photographer, is_clear
from justzoom_ros.worlds.city.style import CityStyle

SIDE_M = 400.0
"""Side of the square in which the places are."""

MAP_SIDE_M = 592.0
"""Side of the map, which goes on beyond it."""

RESOLUTION_M = 1.0
PANORAMA_PX = (480, 80)
"""Width and height of what a place sees: 30 degrees up and down."""

PLACES, DAYS = 48, 2
FORBIDDEN = range(900, 1000)
"""Seeds that are kept from all training and choosing."""


def make_lesson(seed: int, places: int = PLACES) -> Lesson:
    """The lesson of a seed, the same whenever it is made."""
    if seed in FORBIDDEN:
        raise ConfigError(f'the city of seed {seed} is kept back: take another --seed')
    rng = np.random.default_rng([seed, 50])
    style = CityStyle.draw(rng, [name for name, _ in USES])
    city = make_city(seed, SIDE_M, 0.0, style)
    latitude = float(rng.uniform(-58, 58))
    region = Region(latitude, -40.0, SIDE_M, 4, 2)
    tint = _Tint(rng)
    scene = tint.apply(city.scene(0, float(rng.uniform(0.3, 0.9))))
    pixels = _map_pixels(scene, light(_map_moment(rng, latitude)), rng)
    labels = label_map(scene, MAP_SIDE_M, RESOLUTION_M)
    return _see_places(city, region, tint, rng, places, pixels, labels)


def _see_places(city, region, tint, rng, places, pixels, labels):
    photographer = Photographer(city, region, PANORAMA_PX, 0.0)
    panoramas, poses, walls = [], [], []
    for number in range(DAYS):
        weather = str(rng.choice(WEATHERS, p=WEATHER_SHARES))
        scene = tint.apply(city.scene(number + 1, float(rng.uniform(0.3, 0.9))))
        for place in range(places // DAYS):
            moment = _day_moment(rng, region.latitude, weather)
            eye_m, yaw_rad = _stand(photographer, scene, rng)
            camera = Panorama(eye_m, yaw_rad, PANORAMA_PX)
            radiance, _ = see(scene, light(moment), camera, smooth=place % 2 == 0)
            picture = develop(radiance, Lens()) + rng.normal(0, 1.0)
            panoramas.append(np.clip(picture, 0, 255).astype(np.uint8))
            poses.append((*eye_m[:2], yaw_rad, eye_m[2]))
            columns = np.arange(0.5, PANORAMA_PX[0], 2.0) - (PANORAMA_PX[0] - 1) / 2
            walls.append(wall_distances(scene, eye_m, yaw_rad - columns / camera.focal_px))
    return Lesson(
        pixels, labels, np.stack(panoramas), np.array(poses, np.float32), np.stack(walls)
    )


def _stand(photographer, scene, rng):
    """A place on a street where nothing is in the way: eye (3,) and yaw of the road."""
    while True:
        camera, _ = photographer.stand(rng)
        inside = np.abs(camera.eye_m[:2]).max() < photographer.city.side_m / 2 - 1
        if inside and is_clear(scene, camera.eye_m, camera.axes[2]):
            return camera.eye_m, camera.yaw_rad


def _day_moment(rng, latitude, weather, lowest=0.12):
    """A moment of a random day at which the sun is up."""
    new_year = calendar.timegm((2025, 1, 1, 0, 0, 0))
    while True:
        stamp_s = new_year + int(rng.integers(365 * 86400))
        if sun_direction(stamp_s, latitude, -40.0)[2] > lowest:
            return Moment(stamp_s, latitude, -40.0, weather, int(rng.integers(2**20)))


def _map_moment(rng, latitude):
    """Aircraft fly on clear days with the sun well up, mostly."""
    weather = str(rng.choice(['clear', 'fair', 'overcast'], p=[0.6, 0.25, 0.15]))
    return _day_moment(rng, latitude, weather, 0.3)


def _map_pixels(scene: Scene, day: Light, rng: np.random.Generator) -> np.ndarray:
    strips = list(see_from_above(scene, day, MAP_SIDE_M, RESOLUTION_M))
    pixels = develop(np.concatenate(strips))
    pixels = pixels + rng.integers(0, 7, pixels.shape).astype(np.float32) - 3.0
    return np.clip(pixels, 0, 255).astype(np.uint8)


class _Tint:
    """Colours of walls, roofs and plants of one city, against those of the palettes."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.walls, self.roofs = self._mix(rng), self._mix(rng)
        self.plants = np.exp(rng.normal(0, 0.2, 3) + rng.normal(0, 0.2))

    def _mix(self, rng):
        """A matrix (3, 3) that shifts hues, and a gain."""
        share = rng.uniform(0, 0.6)
        swapped = np.eye(3)[rng.permutation(3)]
        mix = (1 - share) * np.eye(3) + share * swapped
        return mix * np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.12, 3))

    def apply(self, scene: Scene) -> Scene:
        """The scene in these colours."""
        rgb = scene.rgb.astype(float).copy()
        built = np.isin(scene.look[:, 0], (BUILDING, GLASS))
        rgb[built, 0:3] = rgb[built, 0:3] @ self.walls.T
        rgb[built, 3:6] = rgb[built, 3:6] @ self.roofs.T
        green = np.isin(scene.look[:, 0], (LEAF, HEDGE))
        rgb[green, 0:3] *= self.plants
        return scene._replace(rgb=np.clip(rgb, 0.003, 0.95).astype(np.float32))


def write_lessons(folder: str | Path, seeds: list[int], places: int = PLACES) -> None:
    """Write the lessons of seeds that are not there yet; what worker processes do."""
    for seed in seeds:
        path = Path(folder) / f'{seed}.npz'
        if not path.is_file():
            make_lesson(seed, places).save(path)
