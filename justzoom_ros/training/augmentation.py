"""What else the light, the lens and the street could have made of a view.

A photograph differs from its neighbour on the map in exposure, colour and haze, in what stands in
the way and in the car that carries the camera. Training varies all of these, so that a policy
learns the place and not the picture.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from justzoom_ros.errors import ConfigError

GREY = np.float32([0.299, 0.587, 0.114])
NOISES = 16
"""Views' worth of noise that are drawn for the views of a batch."""


@dataclass(frozen=True)
class Augmentation:
    """How strongly views are varied; 0 leaves that out.

    `exposure` and `contrast`: standard deviation of the logarithm of their factors; `colour`: of
    each channel's; `saturation`: greatest change, 0..1; `vignette`: greatest darkening of the
    corners, 0..1; `noise`: greatest standard deviation, 0..255; `patches`: greatest number of grey
    boxes in the way; `bonnet`: share of views with a car's bonnet or dashboard at the lower edge.
    """

    exposure: float = 0.15
    contrast: float = 0.1
    colour: float = 0.05
    saturation: float = 0.3
    vignette: float = 0.5
    noise: float = 10.0
    patches: int = 2
    bonnet: float = 0.3

    def __post_init__(self):
        for name in ('exposure', 'contrast', 'colour', 'noise', 'patches'):
            if getattr(self, name) < 0:
                raise ConfigError(f'{name} of the augmentation must not be negative')
        for name in ('saturation', 'vignette', 'bonnet'):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f'{name} of the augmentation must lie in 0..1')


def augment(views, config, rng):
    """Views (N, V, h, w, 3) uint8 -> the same, varied; the V halves of one view alike."""
    count, halves, height, width, _ = views.shape
    wide = np.concatenate(list(views.transpose(1, 0, 2, 3, 4)), axis=2)
    tones = _tones(wide, config, rng)
    vignettes = rng.uniform(0, config.vignette, count).astype(np.float32)
    corners = _corners(height, halves * width)
    # One view at a time, which fits the processor's cache; all of them together do not.
    bright = [
        cv2.transform(view, tone) * (1 - vignette * corners)
        for view, tone, vignette in zip(wide.astype(np.float32), tones, vignettes, strict=True)
    ]
    for view in bright:
        _obstruct(view, config, rng)
    levels = rng.uniform(0, config.noise, count).astype(np.float32)
    for number, noise in enumerate(_noises(wide.shape, rng)):
        wide[number] = np.clip(bright[number] + levels[number] * noise + 0.5, 0, 255)
    return np.stack(np.split(wide, halves, axis=2), axis=1)


def _noises(shape, rng):
    """Normal noise (h, w, 3) for each of N views: stretches of one that is NOISES times as long,
    for drawing it takes longer than all the rest."""
    count, *view = shape
    size = math.prod(view)
    noise = rng.standard_normal(NOISES * size, dtype=np.float32)
    for start in rng.integers(0, (NOISES - 1) * size, count):
        yield noise[start : start + size].reshape(view)


def _tones(views, config, rng):
    """Exposure, colour, contrast about the mean and saturation of each view, as affine maps
    (N, 3, 4) float32 of its colours."""
    count = len(views)
    gain = rng.normal(0, config.exposure, (count, 1))
    gain = np.exp(gain + rng.normal(0, config.colour, (count, 3)))
    keep = 1 + rng.uniform(-config.saturation, config.saturation / 2, (count, 1, 1))
    contrast = np.exp(rng.normal(0, config.contrast, (count, 1, 1)))
    grey = (gain * GREY)[:, None, :]
    mean = grey @ np.array([cv2.mean(view)[:3] for view in views])[..., None]
    # mean + contrast * (grey + keep * (gain * colour - grey) - mean), by colour and constant.
    matrix = contrast * (keep * gain[:, :, None] * np.eye(3) + (1 - keep) * grey)
    constant = np.broadcast_to((1 - contrast) * mean, (count, 3, 1))
    return np.concatenate([matrix, constant], axis=2).astype(np.float32)


def _corners(height, width):
    """How far out (h, w, 1) is: 0 in the middle, 1 in the corners."""
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    return ((x**2 + y**2) / 2)[..., None]


def _obstruct(view, config, rng):
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
