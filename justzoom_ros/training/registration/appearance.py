"""How the same ground looks in two pictures: other light, season, sensor, sharpness.

Every change takes and returns pictures float32 (B, 3, n, n) with 1.0 white, on any device, and
draws from `dice`; each picture is changed in its own way. Map and view are changed independently,
so that a network can only rely on what survives.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from justzoom_ros.training.registration.dice import (
    Change,
    Dice,
    change_some,
    per_picture,
    smooth_fields,
)
from justzoom_ros.training.registration.sharpness import (
    add_noise,
    blur,
    coarsen,
    compress,
    gaussian,
    sharpen,
    smear,
)

LUMA = np.array([0.299, 0.587, 0.114])
SEGMENT_COLORS = 1024
"""Segments are told apart by their numbers modulo this."""


def change_view(
    x: torch.Tensor, segments: torch.Tensor, dice: Dice, strength: np.ndarray
) -> torch.Tensor:
    """Cameras' pictures of ground on another day than the maps'; `segments` int64 (B, n, n).

    `strength` (B,) 0..1 multiplies the probabilities of the greater changes.
    """
    x = recolor_segments(x, segments, dice, 0.6 * strength, 0.2)
    x = change_some(x, 0.45 * strength, cast_shadows, dice)
    x = change_colors(x, dice, VIEW_COLORS, strength)
    x = expose(x, dice, 0.35)
    x = shade(x, dice, 0.3 * strength)
    for probability, change in VIEW_CHANGES:
        x = change_some(x, probability * strength, change, dice)
    return x.clamp(0, 1)


def change_map(
    x: torch.Tensor, segments: torch.Tensor, dice: Dice, strength: np.ndarray
) -> torch.Tensor:
    """Satellites' or aeroplanes' pictures; arguments as `change_view` has them."""
    x = recolor_segments(x, segments, dice, 0.35 * strength, 0.15)
    x = change_colors(x, dice, MAP_COLORS, strength)
    x = expose(x, dice, 0.25)
    for probability, change in MAP_CHANGES:
        x = change_some(x, probability * strength, change, dice)
    return x.clamp(0, 1)


# --- colours -------------------------------------------------------------------------------------


def change_colors(
    x: torch.Tensor, dice: Dice, kinds: tuple[tuple[float, Change], ...], strength: np.ndarray
) -> torch.Tensor:
    """Channels mixed a little, then at most one of the greater changes of `kinds`."""
    spread = (0.04 + 0.1 * strength)[:, None, None]
    mix = np.eye(3) + dice.numbers.normal(0, 1, (len(x), 3, 3)) * spread
    x = _multiply(x, dice.tensor(mix))
    draw = dice.numbers.random(len(x)) / np.maximum(strength, 1e-9)
    for probability, change in kinds:
        x = change_some(x, (draw >= 0) & (draw < probability), change, dice).clamp(0, 1.5)
        draw = draw - probability
    return x.clamp(0, 1.5)


def to_grey(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Grey cameras of random spectral sensitivity."""
    weights = LUMA + dice.numbers.uniform(-0.25, 0.35, (len(x), 3))
    grey = torch.einsum('bchw,bc->bhw', x, dice.tensor(weights / weights.sum(1, keepdims=True)))
    return grey[:, None].expand(-1, 3, -1, -1)


def permute_channels(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Another order of the channels."""
    order = np.stack([dice.numbers.permutation(3) for _ in range(len(x))])
    return _multiply(x, dice.tensor(np.eye(3)[order]))


def to_near_infrared(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """False colour: a channel in which vegetation is bright takes the place of red."""
    count, rng = len(x), dice.numbers
    excess = 2 * x[:, 1] - x[:, 0] - x[:, 2]
    green, more, level = (
        dice.uniform(*limits, count, 1, 1) for limits in ((0.6, 1.2), (1, 5), (0, 0.1))
    )
    infrared = x[:, 1] * green + excess * more + level
    third = torch.where(dice.tensor(rng.random(count) < 0.5)[:, None, None] > 0, x[:, 1], x[:, 2])
    return torch.stack([infrared, x[:, 0], third], 1)


def mix_through_network(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Colours through a small random network: any smooth change of every colour.

    After RandConv (arXiv 2007.13003), with pixels instead of patches.
    """
    count, rng = len(x), dice.numbers
    first, second = (
        dice.tensor(rng.normal(0, std, (count, *shape)))
        for std, shape in ((2.0, (8, 3)), (0.5, (3, 8)))
    )
    new = _multiply((_multiply(x - 0.4, first) + 0.3).relu(), second)
    spread = new.std((2, 3), keepdim=True).clamp(min=0.02)
    new = (
        (new - new.mean((2, 3), keepdim=True)) / spread * dice.uniform(0.08, 0.22, count, 3, 1, 1)
    )
    keep = dice.uniform(0, 0.8, count, 1, 1, 1)
    return keep * x + (1 - keep) * (new + dice.uniform(0.3, 0.6, count, 3, 1, 1))


def bend_curves(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Another tone curve for each channel, not always rising."""
    count, knots = len(x), 6
    rises = dice.numbers.uniform(-0.08, 0.5, (count, 3, knots))
    rises = rises * dice.numbers.uniform(0.6, 1.1, (count, 3, 1))
    curves = dice.tensor(rises.cumsum(2))
    at = (x / 1.5 * (knots - 1)).clamp(0, knots - 1 - 1e-4)
    index = at.long().flatten(2)
    low, high = curves.gather(2, index), curves.gather(2, index + 1)
    return torch.lerp(low, high, at.flatten(2) - index).view_as(x)


def _multiply(x, matrices):
    """Colours (B, 3, n, n) through matrices (B, K, 3)."""
    return torch.einsum('bkc,bchw->bkhw', matrices, x)


VIEW_COLORS = (
    (0.25, to_grey),
    (0.10, permute_channels),
    (0.16, to_near_infrared),
    (0.18, mix_through_network),
    (0.13, bend_curves),
)
MAP_COLORS = (
    (0.13, to_grey),
    (0.05, permute_channels),
    (0.13, to_near_infrared),
    (0.10, mix_through_network),
    (0.08, bend_curves),
)


def recolor_segments(
    x: torch.Tensor, segments: torch.Tensor, dice: Dice, probability: np.ndarray, most: float
) -> torch.Tensor:
    """Other crops, other leaves: with its `probability` (B,) each segment of similar colour of a
    picture changes in its own way, by up to `most`."""
    picked = np.flatnonzero(dice.numbers.random(len(x)) < probability)
    if not len(picked):
        return x
    index = torch.from_numpy(picked).to(x.device)
    spread = dice.uniform(0.03, most, len(picked), 1, 1)
    count = len(picked)
    gains = torch.exp(
        2 * spread * dice.normal(count, 1, SEGMENT_COLORS)
        + spread * dice.normal(count, 3, SEGMENT_COLORS)
    )
    shifts = 0.5 * spread * dice.normal(count, 3, SEGMENT_COLORS)
    which = (segments[index] % SEGMENT_COLORS).flatten(1)[:, None].expand(-1, 3, -1)
    reach = int(dice.numbers.integers(1, 4))
    gain, shift = (
        F.avg_pool2d(
            table.gather(2, which).view(count, 3, *x.shape[2:]),
            2 * reach + 1,
            stride=1,
            padding=reach,
            count_include_pad=False,
        )
        for table in (gains, shifts)
    )
    return x.index_copy(0, index, (x[index] * gain + shift).clamp(0, 1.5))


# --- light and air -------------------------------------------------------------------------------


def expose(x: torch.Tensor, dice: Dice, spread: float) -> torch.Tensor:
    """Another gamma and another exposure."""
    gamma, gain = (dice.tensor(np.exp(dice.numbers.normal(0, spread, len(x)))) for _ in range(2))
    x = x.clamp(min=1e-3) ** per_picture(gamma)
    return x * (0.42 * per_picture(gain) / x.mean((1, 2, 3), keepdim=True).clamp(min=1e-2))


def shade(x: torch.Tensor, dice: Dice, strength: np.ndarray) -> torch.Tensor:
    """Slow changes of brightness, up to `strength` (B,): clouds, vignettes of mosaics."""
    field = smooth_fields(len(x), x.shape[-1], int(dice.numbers.integers(2, 6)), dice)
    amount = dice.tensor(dice.numbers.uniform(0, 1, len(x)) * strength)
    return x * (field[:, None] * per_picture(amount)).exp()


def add_haze(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """A veil, thicker in some places."""
    count = len(x)
    veil = dice.uniform(0.1, 0.5, count, 1, 1) + 0.1 * smooth_fields(count, x.shape[-1], 3, dice)
    colour = dice.tensor([0.68, 0.72, 0.78])[:, None, None] * dice.uniform(
        0.8, 1.2, count, 1, 1, 1
    )
    return x + veil.clamp(0, 0.7)[:, None] * (colour - x)


def cast_shadows(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Shadows of boxes that are not there in the other picture, all falling the same way."""
    count, side, rng = len(x), x.shape[-1], dice.numbers
    dark = x.new_zeros(count, side, side)
    yaw, length = rng.uniform(0, 2 * math.pi, count), rng.uniform(3, 22, count)
    boxes = int(rng.integers(3, 25))
    shown = rng.random((boxes, count)) < 0.8
    for box in range(boxes):
        turn = rng.uniform(0, 2 * math.pi, count)
        along, across = _box_axes(rng.uniform(0, side, (count, 2)), turn, side, dice)
        half = rng.uniform(1, 7, (2, count)) * shown[box]
        fall = length * np.cos(yaw - turn), length * np.sin(yaw - turn)
        # The shadow is what a box covers on its way along the fall: where the line from a pixel
        # back against the fall meets the box.
        enter, leave = torch.zeros_like(along), torch.ones_like(along)
        for axis, size, way in zip((along, across), half, fall, strict=True):
            steps = dice.tensor(np.where(np.abs(way) < 1e-3, 1e-3, way))[:, None, None]
            reach = dice.tensor(size)[:, None, None]
            ends = (axis - reach) / steps, (axis + reach) / steps
            enter = enter.maximum(torch.minimum(*ends))
            leave = leave.minimum(torch.maximum(*ends))
        dark = dark.maximum((enter < leave).float() * dice.tensor(shown[box])[:, None, None])
    soft = gaussian(dark[:, None], rng.uniform(0.5, 1.5, count), dice)
    return x * (1 - dice.uniform(0.3, 0.7, count, 1, 1, 1) * soft)


def darken_corners(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """A lens's vignette."""
    axis = torch.linspace(-1, 1, x.shape[-1], device=x.device)
    far = (axis[:, None].square() + axis.square()) / 2
    return x * (1 - dice.uniform(0.1, 0.6, len(x), 1, 1, 1) * far)


def cover_patches(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Things that only one of the pictures has: cars, roofs, pools, clouds, parts of the drone."""
    count, side, rng = len(x), x.shape[-1], dice.numbers
    for _ in range(int(rng.integers(1, 9))):
        turn = rng.uniform(0, math.pi, count)
        along, across = _box_axes(rng.uniform(0, side, (count, 2)), turn, side, dice)
        size = np.exp(rng.uniform(np.log(2), np.log(side / 3.5), (2, count))) / 2
        size = size * (rng.random(count) < 0.8)
        wide, tall = dice.tensor(size)[:, :, None, None]
        inside = (along.abs() < wide) & (across.abs() < tall)
        x = torch.where(inside[:, None], dice.uniform(0, 1, count, 3, 1, 1), x)
    return x


def _box_axes(middles, turns_rad, side, dice):
    """Coordinates (B, n, n) of all pixels along and across boxes at (B, 2), turned by (B,)."""
    axis = torch.arange(side, device=dice.device)
    x, y = (axis - at for at in dice.tensor(middles.T)[:, :, None])
    cos, sin = dice.tensor(np.stack([np.cos(turns_rad), np.sin(turns_rad)]))[:, :, None, None]
    x, y = x[:, None], y[:, :, None]
    return cos * x + sin * y, cos * y - sin * x


VIEW_CHANGES: tuple[tuple[float, Change], ...] = (
    (0.30, add_haze),
    (0.20, sharpen),
    (0.60, cover_patches),
    (0.30, darken_corners),
    (0.40, blur),
    (0.15, smear),
    (0.15, coarsen),
    (0.80, add_noise),
    (0.45, compress),
)
MAP_CHANGES: tuple[tuple[float, Change], ...] = (
    (0.30, add_haze),
    (0.15, sharpen),
    (0.20, cover_patches),
    (0.75, coarsen),
    (0.40, blur),
    (0.45, add_noise),
    (0.50, compress),
)
