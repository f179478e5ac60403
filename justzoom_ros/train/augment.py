"""What else the light, the lens and the street could have made of a view.

A photograph differs from its neighbour on the map in exposure, colour and haze, in what stands in
the way and in the car that carries the camera. Training varies all of these, so that a policy
learns the place and not the picture.
"""

from dataclasses import dataclass

import numpy as np

from justzoom_ros.errors import ConfigError

GREY = np.float32([0.299, 0.587, 0.114])


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
    halves = views.shape[1]
    wide = np.concatenate(list(views.transpose(1, 0, 2, 3, 4)), axis=2).astype(np.float32)
    wide = _tones(wide, config, rng)
    wide *= _vignettes(wide.shape, config, rng)
    for view in wide:
        _obstruct(view, config, rng)
    levels = rng.uniform(0, config.noise, (len(wide), 1, 1, 1)).astype(np.float32)
    wide += levels * rng.standard_normal(wide.shape, dtype=np.float32)
    wide = np.clip(wide + 0.5, 0, 255, out=wide).astype(np.uint8)
    return np.stack(np.split(wide, halves, axis=2), axis=1)


def _tones(views, config, rng):
    """Exposure, colour, contrast about the mean, saturation."""
    count = len(views)
    gain = rng.normal(0, config.exposure, (count, 1, 1, 1))
    gain = np.exp(gain + rng.normal(0, config.colour, (count, 1, 1, 3))).astype(np.float32)
    keep = 1 + rng.uniform(-config.saturation, config.saturation / 2, (count, 1, 1, 1))
    keep = keep.astype(np.float32)
    contrast = np.exp(rng.normal(0, config.contrast, (count, 1, 1, 1))).astype(np.float32)
    grey = np.einsum('nhwc,nc->nhw', views, gain[:, 0, 0] * GREY)[..., None]
    mean = grey.mean(axis=(1, 2), keepdims=True)
    # mean + contrast * (grey + keep * (gain * views - grey) - mean), the grey parts put together.
    views *= contrast * keep * gain
    views += contrast * (1 - keep) * grey + (1 - contrast) * mean
    return views


def _vignettes(shape, config, rng):
    """Factors (N, h, w, 1): 1 in the middle, less towards the corners."""
    count, height, width, _ = shape
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    strength = rng.uniform(0, config.vignette, (count, 1, 1)).astype(np.float32)
    return (1 - strength * (x**2 + y**2) / 2)[..., None]


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
