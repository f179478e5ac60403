"""Light of one moment: where the sun is, what the sky looks like, how far one sees."""

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import NamedTuple

import numpy as np

from justzoom_ros.worlds.city.caster import value_noise
from justzoom_ros.worlds.city.jit import kernel

WEATHERS = ('clear', 'fair', 'overcast', 'rain', 'mist')


class Light(NamedTuple):
    """What a kernel needs of it; colours are linear RGB."""

    sun: np.ndarray  # (3,) unit vector towards the sun, or the moon
    sun_rgb: np.ndarray
    zenith_rgb: np.ndarray
    horizon_rgb: np.ndarray
    cloud_rgb: np.ndarray
    clouds: float  # share of the sky
    cloud_shift: float
    sight_m: float  # e-folding distance of the haze
    autumn: float  # leaves turned, 0..1
    bare: float  # leaves fallen, 0..1
    wet: float  # 0..1
    night: float  # 0..1
    grain: float  # shifts the patterns of what is drawn at random


@dataclass(frozen=True)
class Moment:
    """A time (seconds since 1970, UTC), a place (degrees) and the weather, one of WEATHERS; `seed`
    draws the clouds. The season follows from the date and the hemisphere."""

    stamp_s: float
    latitude: float
    longitude: float
    weather: str = 'clear'
    seed: int = 0


def sun_direction(stamp_s: float, latitude: float, longitude: float) -> np.ndarray:
    """Unit vector (east, north, up) towards the sun, good to about a degree (the declination by
    a cosine of the day, no equation of time)."""
    moment = datetime.fromtimestamp(stamp_s, timezone.utc)
    day = moment.timetuple().tm_yday
    declination = np.radians(-23.44) * np.cos(2 * np.pi * (day + 10) / 365.25)
    hour = moment.hour + moment.minute / 60 + moment.second / 3600 + longitude / 15
    angle, lat = np.radians(15 * (hour - 12)), np.radians(latitude)
    east = -np.cos(declination) * np.sin(angle)
    north = np.sin(declination) * np.cos(lat) - np.cos(declination) * np.sin(lat) * np.cos(angle)
    up = np.sin(declination) * np.sin(lat) + np.cos(declination) * np.cos(lat) * np.cos(angle)
    return np.array([east, north, up])


def seasons(stamp_s: float, latitude: float) -> tuple[float, float]:
    """(autumn, bare) of the leaves, each 0..1, by the day of the year."""
    day = datetime.fromtimestamp(stamp_s, timezone.utc).timetuple().tm_yday
    day = (day + (182 if latitude < 0 else 0)) % 365
    autumn = float(np.interp(day, [0, 100, 245, 290, 330, 365], [1, 0, 0, 0.9, 1, 1]))
    bare = float(np.interp(day, [0, 85, 125, 290, 335, 365], [1, 0.9, 0, 0.1, 0.9, 1]))
    return autumn, bare


def light(moment: Moment) -> Light:
    """The Light of a Moment. Below the horizon the sun gives way to a weak moon at 40 degrees."""
    rng = np.random.default_rng([moment.seed, 5])
    sun = sun_direction(moment.stamp_s, moment.latitude, moment.longitude)
    night = float(np.clip(-sun[2] / 0.1 + 0.3, 0, 1))
    if sun[2] < 0.07:
        level = sun[:2] / max(np.hypot(*sun[:2]), 1e-9)
        sun = np.append(level * np.cos(0.7), np.sin(0.7)) if night > 0.5 else np.append(level, 0.1)
    sun = sun / np.linalg.norm(sun)
    low = float(np.exp(-sun[2] / 0.18)) * (1 - night)
    strength, clouds, sight_m, wet = {
        'clear': (3.1, rng.uniform(0.0, 0.25), rng.uniform(2500, 6000), 0.0),
        'fair': (2.9, rng.uniform(0.35, 0.6), rng.uniform(1500, 4000), 0.0),
        'overcast': (0.25, 1.0, rng.uniform(900, 2500), 0.0),
        'rain': (0.1, 1.0, rng.uniform(350, 800), 1.0),
        'mist': (0.5, 0.9, rng.uniform(130, 350), 0.3),
    }[moment.weather]
    grey = float(moment.weather in ('overcast', 'rain', 'mist'))
    sun_rgb = strength * np.array([1.0, 0.93 - 0.22 * low, 0.82 - 0.45 * low])
    zenith = np.array([0.24, 0.46, 0.95]) * (1 - grey) + np.array([0.62, 0.66, 0.72]) * grey
    horizon = np.array([0.78, 0.90, 1.04]) * (1 - grey) + np.array([0.80, 0.83, 0.87]) * grey
    horizon = horizon * (1 - 0.5 * low) + np.array([0.95, 0.66, 0.42]) * 0.5 * low * (1 - grey)
    cloud = np.array([1.35, 1.33, 1.31]) * (1 - 0.3 * grey)
    if moment.weather == 'rain':
        zenith, horizon, cloud = 0.55 * zenith, 0.6 * horizon, 0.55 * cloud
    dim = 1 - 0.985 * night
    blue = np.array([0.75, 0.85, 1.2]) if night > 0.5 else np.ones(3)
    autumn, bare = seasons(moment.stamp_s, moment.latitude)
    return Light(
        sun, sun_rgb * dim * blue, zenith * dim * blue, horizon * dim * blue, cloud * dim * blue,
        float(clouds), float(rng.uniform(0, 200)), float(sight_m), autumn, bare, wet, night,
        float(rng.uniform(0, 100)),
    )  # fmt: skip


@kernel
def sky(light, tile, dx, dy, dz):
    """Linear RGB of the sky in a direction."""
    up = max(dz, 0.0)
    blend = np.exp(-up * 4.5)
    facing = max(dx * light.sun[0] + dy * light.sun[1] + dz * light.sun[2], 0.0)
    glow = 0.35 * facing**24 + (6.0 * facing**1800 if light.clouds < 0.8 else 0.0)
    r = light.zenith_rgb[0] + (light.horizon_rgb[0] - light.zenith_rgb[0]) * blend
    g = light.zenith_rgb[1] + (light.horizon_rgb[1] - light.zenith_rgb[1]) * blend
    b = light.zenith_rgb[2] + (light.horizon_rgb[2] - light.zenith_rgb[2]) * blend
    if light.clouds > 0.01:
        x = dx / (up + 0.12) + light.cloud_shift
        y = dy / (up + 0.12) + light.cloud_shift
        density = (
            0.50 * value_noise(tile, 0.9 * x, 0.9 * y)
            + 0.27 * value_noise(tile, 2.3 * x + 7.0, 2.3 * y)
            + 0.15 * value_noise(tile, 5.1 * x, 5.1 * y + 3.0)
            + 0.08 * value_noise(tile, 11.0 * x, 11.0 * y)
        )
        edge = 0.72 - 0.42 * light.clouds
        cover = min(max((density - edge) / 0.16, 0.0), 1.0) * min(max(up / 0.12, 0.0), 1.0)
        cover *= 0.92
        # The thick middle of a cloud is darker than its rim.
        shade = 1.0 - 0.45 * min(max((density - edge - 0.06) / 0.3, 0.0), 1.0)
        r += (light.cloud_rgb[0] * shade - r) * cover
        g += (light.cloud_rgb[1] * shade - g) * cover
        b += (light.cloud_rgb[2] * shade - b) * cover
        glow *= 1.0 - cover
    return r + glow * light.sun_rgb[0], g + glow * light.sun_rgb[1], b + glow * light.sun_rgb[2]
