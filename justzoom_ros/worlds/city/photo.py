"""From the light that falls into a lens to the JPEG that somebody uploads."""

from dataclasses import dataclass

import cv2
import numpy as np

from justzoom_ros.io.camera_effects import blur, scale_saturation
from justzoom_ros.worlds.city.camera import Camera
from justzoom_ros.worlds.city.caster import SKY
from justzoom_ros.worlds.city.light import Light


@dataclass(frozen=True)
class Lens:
    """What a camera and its owner do to a picture."""

    exposure: float = 1.0
    """Factor on what is metered."""

    warmth: float = 0.0
    """Shifts white from blue to red."""

    saturation: float = 1.0
    """Factor on the distance from grey."""

    noise: float = 1.5
    """Standard deviation in 8-bit steps."""

    blur_px: float = 0.45
    """Sigma of a Gaussian."""

    vignette: float = 0.15
    """Share of the light that is lost in the corners."""

    flare: float = 0.0
    """Strength (0..1) where the sun is in the picture."""

    bonnet: float = 0.0
    """Share of the height that a bonnet or dashboard hides."""

    drops: int = 0
    """Drops of rain on the glass."""

    quality: int = 88
    """Of the JPEG, 1 to 95."""

    seed: int = 0
    """Draws what is random."""


def random_lens(rng: np.random.Generator, light: Light, in_car: bool) -> Lens:
    """A Lens as crowd-sourced pictures have them."""
    wet = light.wet > 0.5
    return Lens(
        exposure=float(np.exp(rng.normal(0, 0.22))),
        warmth=float(rng.normal(0, 0.03)),
        saturation=float(rng.uniform(0.75, 1.15)),
        noise=float(rng.uniform(0.8, 4.0) + 5 * light.night),
        blur_px=float(rng.uniform(0.3, 0.8)),
        vignette=float(rng.uniform(0.0, 0.35)),
        flare=float(rng.uniform(0.2, 1.0)),
        bonnet=float(rng.uniform(0.06, 0.2)) if in_car and rng.random() < 0.4 else 0.0,
        drops=int(rng.integers(4, 26)) if wet and rng.random() < 0.6 else 0,
        quality=int(rng.integers(70, 95)),
        seed=int(rng.integers(2**31)),
    )


def develop(radiance: np.ndarray, lens: Lens | None = None) -> np.ndarray:
    """Linear RGB (H, W, 3) to uint8 by a film-like curve; metering as cameras do with a `lens`.

    Without one the exposure is fixed, as over all strips of an orthophoto.
    """
    gain = 1.0
    if lens is not None:
        level = float(np.exp(np.mean(np.log(radiance.mean(axis=-1) + 0.004))))
        gain = lens.exposure * np.clip((0.36 / level) ** 0.75, 0.5, 4.5)
    mapped = np.clip(radiance * np.float32(1.12 * gain), 0, None)
    # A shoulder for what is bright, then the display's gamma.
    mapped = mapped * (1 + mapped / 9.0) / (1 + mapped)
    mapped = cv2.pow(np.clip(1.12 * mapped, 0, 1).astype(np.float32), 1 / 2.2)
    # A little contrast round the middle.
    mapped += 0.10 * mapped * (1 - mapped) * (2 * mapped - 1) * 4
    return mapped * 255.0


def take(
    radiance: np.ndarray, met: np.ndarray, camera: Camera, light: Light, lens: Lens
) -> np.ndarray:
    """The picture, uint8 (H, W, 3) RGB, that a camera makes of what it sees."""
    rng = np.random.default_rng([lens.seed, 8])
    view = radiance.copy()
    if lens.flare > 0:
        add_flare(view, met, camera, light, lens.flare)
    bloom = cv2.GaussianBlur(np.clip(view - 1.2, 0, 3), (0, 0), view.shape[1] / 60)
    view += 0.25 * bloom
    picture = develop(view, lens)
    if lens.drops:
        add_drops(picture, rng, lens.drops)
    if lens.bonnet > 0:
        add_bonnet(picture, rng, lens.bonnet)
    picture = scale_saturation(picture, lens.saturation)
    picture *= np.array([1 + lens.warmth, 1.0, 1 - lens.warmth], np.float32)
    height, width = picture.shape[:2]
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    picture *= (1 - lens.vignette * (0.6 * x**2 + 0.4 * y**2) ** 1.5)[..., None]
    picture = blur(picture, lens.blur_px)
    picture += lens.noise * rng.standard_normal(picture.shape, np.float32)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def add_flare(
    view: np.ndarray, met: np.ndarray, camera: Camera, light: Light, strength: float
) -> None:
    """A veil and a row of ghosts where the sun stands in the picture and nothing hides it."""
    right, down, ahead = camera.axes @ light.sun
    height, width = view.shape[:2]
    if ahead < 0.1 or light.clouds > 0.7 or light.night > 0.5:
        return
    sun = np.array([right, down]) / ahead * camera.focal_px + [(width - 1) / 2, (height - 1) / 2]
    column, row = np.round(sun).astype(int)
    if not (0 <= column < width and 0 <= row < height) or met[row, column] != SKY:
        return
    y, x = np.mgrid[:height, :width].astype(np.float32)
    reach = width / 9
    veil = np.exp(-np.hypot(x - sun[0], y - sun[1]) / reach)
    view += strength * 0.55 * veil[..., None] * light.sun_rgb.astype(np.float32) / 3
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    for share, size, tint in ((-0.4, 0.05, (0.5, 1, 0.6)), (-0.9, 0.09, (0.6, 0.6, 1)),
                              (0.45, 0.03, (1, 0.8, 0.5))):  # fmt: skip
        ghost = middle + share * (sun - middle)
        disc = np.clip(1.5 - np.hypot(x - ghost[0], y - ghost[1]) / (size * width), 0, 0.5)
        view += strength * 0.10 * disc[..., None] * np.array(tint, np.float32)


def add_bonnet(picture: np.ndarray, rng: np.random.Generator, share: float) -> None:
    """The car's own bonnet or dashboard over the lower edge."""
    height, width = picture.shape[:2]
    tone = rng.uniform(8, 70) * np.array([1.0, rng.uniform(0.85, 1.05), rng.uniform(0.8, 1.1)])
    lean, x = rng.uniform(-0.15, 0.15), np.linspace(-1, 1, width)
    edge = height * (1 - share * (1 - 0.55 * np.abs(x - lean) ** 2.2))
    y = np.arange(height)[:, None]
    cover = np.clip(y - edge[None, :] + 0.5, 0, 1)[..., None]
    # It mirrors what is above it, the more the nearer to its far edge.
    mirror = cv2.GaussianBlur(picture[::-1], (0, 0), width / 50)
    gloss = 0.35 * np.exp(-np.clip(y - edge[None, :], 0, None) / (0.25 * share * height))
    picture += cover * (tone + gloss[..., None] * mirror - picture)


def add_drops(picture: np.ndarray, rng: np.random.Generator, count: int) -> None:
    """Drops on the glass: small discs that show the picture upside down and blurred."""
    height, width = picture.shape[:2]
    soft = cv2.GaussianBlur(picture, (0, 0), width / 70)
    y, x = np.mgrid[:height, :width]
    for _ in range(count):
        column, row = rng.uniform(0, width), rng.uniform(0, height)
        radius = rng.uniform(0.004, 0.016) * width
        disc = np.clip(radius - np.hypot(x - column, 0.8 * (y - row)), 0, 1.0)[..., None]
        picture += 0.5 * disc * (1.08 * soft[::-1] - picture)
