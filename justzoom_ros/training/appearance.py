"""What else the light, the lens and the world could have made of a view.

A photograph differs from its neighbour on the map in exposure, colour and haze, in what stands in
the way and in who carries the camera. Training varies all of these, so that a policy learns the
place and not the picture: `augment` does so for batches of a forward camera, `develop` for single
views of a downward one, both with the pieces of `io/camera_effects.py`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.io.camera_effects import (
    LUMA,
    blur,
    compress,
    corner_distance,
    draw_noise,
    scale_contrast,
    smooth_field,
)

NOISES = 16
"""Views' worth of noise that are drawn for the views of a batch."""


# --- a forward camera --------------------------------------------------------------------------


@dataclass(frozen=True)
class Augmentation:
    """How strongly views of a forward camera are varied; 0 leaves that out. Raises ConfigError for
    values out of range."""

    exposure: float = 0.15
    """Standard deviation of the logarithm of the factor on brightness."""

    contrast: float = 0.1
    """Standard deviation of the logarithm of the factor on contrast."""

    colour: float = 0.05
    """Standard deviation of the logarithm of the factor on each channel."""

    saturation: float = 0.3
    """Greatest loss of saturation (0..1); half as much is gained at most."""

    vignette: float = 0.5
    """Greatest loss of light in the corners (0..1)."""

    noise: float = 10.0
    """Greatest standard deviation of the noise, of 255."""

    patches: int = 2
    """Greatest number of boxes in the way."""

    bonnet: float = 0.3
    """Share of views (0..1) with a car's bonnet or dashboard at the lower edge."""

    def __post_init__(self) -> None:
        for name in ('exposure', 'contrast', 'colour', 'noise', 'patches'):
            if getattr(self, name) < 0:
                raise ConfigError(f'{name} of the augmentation must not be negative')
        for name in ('saturation', 'vignette', 'bonnet'):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f'{name} of the augmentation must lie in 0..1')


def augment(views: np.ndarray, config: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Views (N, V, h, w, 3) uint8 -> the same, varied; the V halves of one view alike."""
    count, halves, height, width, _ = views.shape
    wide = np.concatenate(list(views.transpose(1, 0, 2, 3, 4)), axis=2)
    tones = _tones(wide, config, rng)
    vignettes = np.asarray(rng.uniform(0, config.vignette, count), np.float32)
    corners = corner_distance((height, halves * width))
    # One view at a time, which fits the processor's cache; all of them together do not.
    bright = [
        cv2.transform(view, tone) * (1 - vignette * corners)
        for view, tone, vignette in zip(wide.astype(np.float32), tones, vignettes, strict=True)
    ]
    for view in bright:
        _obstruct(view, config, rng)
    levels = np.asarray(rng.uniform(0, config.noise, count), np.float32)
    for number, noise in enumerate(_noises(wide.shape, rng)):
        wide[number] = np.clip(bright[number] + levels[number] * noise + 0.5, 0, 255)
    return np.stack(np.split(wide, halves, axis=2), axis=1)


def _noises(shape: tuple[int, ...], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Normal noise (h, w, 3) for each of N views: stretches of one that is NOISES times as long,
    for drawing it takes longer than all the rest."""
    count, *view = shape
    size = math.prod(view)
    noise = rng.standard_normal(NOISES * size, dtype=np.float32)
    for start in rng.integers(0, (NOISES - 1) * size, count):
        yield noise[start : start + size].reshape(view)


def _tones(views: np.ndarray, config: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Exposure, colour, contrast about the mean and saturation of each view, as affine maps
    (N, 3, 4) float32 of its colours."""
    count = len(views)
    gain = rng.normal(0, config.exposure, (count, 1))
    gain = np.exp(gain + rng.normal(0, config.colour, (count, 3)))
    keep = 1 + rng.uniform(-config.saturation, config.saturation / 2, (count, 1, 1))
    contrast = np.exp(rng.normal(0, config.contrast, (count, 1, 1)))
    grey = (gain * LUMA)[:, None, :]
    mean = grey @ np.array([cv2.mean(view)[:3] for view in views])[..., None]
    # mean + contrast * (grey + keep * (gain * colour - grey) - mean), by colour and constant.
    matrix = contrast * (keep * gain[:, :, None] * np.eye(3) + (1 - keep) * grey)
    constant = np.broadcast_to((1 - contrast) * mean, (count, 3, 1))
    return np.concatenate([matrix, constant], axis=2).astype(np.float32)


def _obstruct(view: np.ndarray, config: Augmentation, rng: np.random.Generator) -> None:
    """Draw what stands in the way into one view (h, w, 3), in place."""
    height, width, _ = view.shape
    for _ in range(rng.integers(config.patches + 1)):
        h, w = rng.integers(2, height // 2), rng.integers(2, width // 4)
        top, left = rng.integers(height - h), rng.integers(width - w)
        view[top : top + h, left : left + w] = rng.uniform(0, 220) + rng.normal(0, 15, 3)
    if rng.random() < config.bonnet:
        centre = width * rng.uniform(0.35, 0.65)
        reach, rise = width * rng.uniform(0.4, 0.9), height * rng.uniform(0.05, 0.25)
        across = 1 - ((np.arange(width) - centre) / reach) ** 2
        top = height - rise * np.sqrt(across.clip(0))
        hidden = np.arange(height)[:, None] >= top[None, :]
        view[hidden] = rng.uniform(5, 120) + rng.normal(0, 8, 3)


# --- a downward camera -------------------------------------------------------------------------


@dataclass(frozen=True)
class Appearance:
    """How far the picture of a downward camera departs from the map; 0 leaves that out."""

    gain: float = 0.25
    """Standard deviation of the logarithm of the factor on brightness."""

    colour: float = 0.08
    """Standard deviation of the logarithm of the factor on each channel."""

    contrast: float = 0.2
    """Standard deviation of the logarithm of the factor on contrast."""

    shade: float = 0.2
    """Greatest logarithm of the factor of soft patches of light."""

    vignette: float = 0.5
    """Greatest loss of light in the corners (0..1)."""

    blur_px: float = 1.0
    """Greatest standard deviation of a Gaussian."""

    noise: float = 0.03
    """Greatest standard deviation of the noise, of 1."""

    jpeg: int = 40
    """Lowest quality (1..95)."""

    patches: int = 2
    """Greatest number of rectangles that hide something."""


def develop(view: np.ndarray, appearance: Appearance, rng: np.random.Generator) -> np.ndarray:
    """Give a clean rendering (h, w, 3) uint8 the look of a camera's JPEG."""
    a = appearance
    x = view.astype(np.float32) / 255
    _hide_patches(x, a.patches, rng)
    x = scale_contrast(x, np.exp(rng.normal(0, a.contrast)))
    x *= np.exp(rng.normal(0, a.gain) + rng.normal(0, a.colour, 3)).astype(np.float32)
    x *= _shade(x.shape, a.shade, rng)
    x *= _vignette(x.shape, rng.uniform(0, a.vignette), rng)
    x = blur(x, rng.uniform(0, a.blur_px))
    x += draw_noise(x.shape, rng.uniform(0, a.noise), rng)
    pixels = (x.clip(0, 1) * 255).astype(np.uint8)
    return compress(pixels, int(rng.integers(a.jpeg, 96)))


def _shade(shape: tuple[int, ...], amplitude: float, rng: np.random.Generator) -> np.ndarray:
    """Soft patches of light, a little coloured: (h, w, 3) factors about 1."""
    knots = rng.normal(0, 1, (3, 4, 1)) + rng.normal(0, 0.25, (3, 4, 3))
    return np.exp(rng.uniform(0, amplitude) * smooth_field(knots, shape))


def _vignette(shape: tuple[int, ...], strength: float, rng: np.random.Generator) -> np.ndarray:
    """Loss of light away from a point near the middle: (h, w, 1) factors in 1 - strength .. 1."""
    y, x = rng.normal(0, 0.2, 2)
    return 1 - np.float32(strength) * np.minimum(corner_distance(shape, (x, y)), 1)


def _hide_patches(picture: np.ndarray, most: int, rng: np.random.Generator) -> None:
    """Cover up to `most` rectangles with one colour each, as vehicles and dirt do, in place."""
    height, width = picture.shape[:2]
    for _ in range(rng.integers(most + 1)):
        h, w = (rng.uniform(0.05, 0.3, 2) * (height, width)).astype(int) + 1
        top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
        picture[top : top + h, left : left + w] = rng.uniform(0, 1, 3)
