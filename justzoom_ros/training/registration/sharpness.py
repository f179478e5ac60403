"""What lenses, sensors and files do to a picture: blur, noise, coarse pixels, JPEG.

Pictures are float32 (B, 3, n, n) with 1.0 white; each is changed in its own way.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from justzoom_ros.training.registration.dice import Dice, per_picture

FACTORS = 4
"""So many resolutions do the pictures of a batch have when they are made coarser."""
LUMINANCE_STEPS = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
])  # fmt: skip
"""Steps of JPEG's coefficients at quality 50 (ITU-T T.81, table K.1)."""
YCC = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])


def blur(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Out of focus, or a coarser sensor."""
    return gaussian(x, dice.numbers.uniform(0.4, 1.6, len(x)), dice)


def sharpen(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Too much sharpening, or local contrast."""
    low = gaussian(x, dice.numbers.uniform(0.8, 5, len(x)), dice)
    return x + dice.uniform(0.3, 1.5, len(x), 1, 1, 1) * (x - low)


def smear(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Motion blur along a line of 3 to 8 pixels."""
    count, reach = len(x), 4
    axis = np.arange(-reach, reach + 1)
    angle, length = dice.numbers.uniform(0, math.pi, count), dice.numbers.uniform(3, 8, count)
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    along, across = cos * axis + sin * axis[:, None], cos * axis[:, None] - sin * axis
    on_line = np.clip(1 - np.abs(across), 0, 1) * (np.abs(along) <= length[:, None, None] / 2)
    return _filter(x, dice.tensor(on_line / on_line.sum((1, 2), keepdims=True)))


def coarsen(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Interpolated from coarser pixels, as many a map is."""
    side, group = x.shape[-1], dice.numbers.integers(0, FACTORS, len(x))
    done = x
    for number in range(FACTORS):
        picked = np.flatnonzero(group == number)
        factor, mode = dice.numbers.uniform(1.2, 3.2), dice.numbers.random()
        if not len(picked):
            continue
        index = torch.from_numpy(picked).to(x.device)
        small = F.interpolate(x[index], size=max(8, round(side / factor)), mode='area')
        how = 'bicubic' if mode < 0.7 else 'bilinear'
        done = done.index_copy(0, index, F.interpolate(small, size=side, mode=how))
    return done


def add_noise(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Sensor noise, the same in all channels or not."""
    noise = dice.normal(*x.shape)
    alike = dice.tensor(dice.numbers.random(len(x)) < 0.5)
    noise = torch.lerp(noise, noise[:, :1].expand_as(noise), per_picture(alike))
    return x + per_picture(dice.uniform(0.01, 0.07, len(x))) * noise


def compress(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """JPEG, but for the rounding of its pixels and with all of its colours: blocks of 8 x 8,
    their cosine transform rounded to steps."""
    side = x.shape[-1]
    quality = dice.numbers.uniform(15, 80, len(x))
    scale = np.where(quality < 50, 50 / quality, 2 - quality / 50)
    steps = dice.tensor(np.maximum(scale[:, None, None] * LUMINANCE_STEPS, 1) / 255)
    steps = torch.stack([steps, 1.4 * steps, 1.4 * steps], 1)[:, :, None, :, None]
    to_ycc, cosines = dice.tensor(YCC), dice.tensor(cosine_matrix())
    padded = F.pad(x.clamp(0, 1), (0, -side % 8, 0, -side % 8), mode='replicate')
    blocks = torch.einsum('kc,bchw->bkhw', to_ycc, padded)
    rows, columns = blocks.shape[2] // 8, blocks.shape[3] // 8
    blocks = blocks.view(len(x), 3, rows, 8, columns, 8)
    found = torch.einsum('ui,bkrisj,vj->bkrusv', cosines, blocks, cosines)
    rounded = (found / steps).round() * steps
    blocks = torch.einsum('ui,bkrusv,vj->bkrisj', cosines, rounded, cosines)
    colors = torch.einsum('kc,bchw->bkhw', torch.linalg.inv(to_ycc), blocks.reshape_as(padded))
    return colors[..., :side, :side].clamp(0, 1)


def cosine_matrix() -> np.ndarray:
    """The orthonormal cosine transform of 8 values, (8, 8)."""
    angle = math.pi / 8 * (np.arange(8) + 0.5) * np.arange(8)[:, None]
    return np.cos(angle) * np.where(np.arange(8) == 0, 8**-0.5, 0.5)[:, None]


def gaussian(x: torch.Tensor, std_px: np.ndarray, dice: Dice) -> torch.Tensor:
    """Pictures (B, C, n, n) blurred by normal distributions of deviations (B,)."""
    reach = max(1, math.ceil(2.5 * float(std_px.max())))
    axis = np.arange(-reach, reach + 1)
    kernels = np.exp(-0.5 * np.square(axis / std_px[:, None]))
    kernels = dice.tensor(kernels / kernels.sum(1, keepdims=True))
    return _filter(_filter(x, kernels[:, None]), kernels[:, :, None])


def _filter(x, kernels):
    """Each picture (B, C, n, n) through its own kernel (B, kh, kw)."""
    count, channels, height, width = x.shape
    down, right = (side // 2 for side in kernels.shape[1:])
    padded = F.pad(x, (right, right, down, down), mode='replicate')
    weights = kernels.repeat_interleave(channels, 0)[:, None]
    stacked = padded.reshape(1, count * channels, *padded.shape[2:])
    return F.conv2d(stacked, weights, groups=count * channels).view(count, channels, height, width)
