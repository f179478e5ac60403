"""Pictures that show no place on any map: what a camera sees with a cap on, in fog, in the sky."""

import math

import torch

from justzoom_ros.training.registration.appearance import (
    Change,
    cover_patches,
    darken_corners,
)
from justzoom_ros.training.registration.dice import Dice, change_some, smooth_fields
from justzoom_ros.training.registration.sharpness import add_noise, compress, gaussian


def draw_negatives(count: int, side_px: int, dice: Dice) -> torch.Tensor:
    """float32 (count, 3, side_px, side_px), 1.0 white: each of one of the kinds below."""
    x = torch.zeros(count, 3, side_px, side_px, device=dice.device)
    kinds = dice.numbers.integers(0, len(KINDS), count)
    for number, kind in enumerate(KINDS):
        x = change_some(x, (kinds == number).astype(float), kind, dice)
    for probability, change in FAULTS:
        x = change_some(x, probability, change, dice)
    return x.clamp(0, 1)


def lens_cap(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Dark, with a little noise."""
    level, spread = (
        dice.uniform(0, 0.06, len(x), 1, 1, 1),
        dice.uniform(0.002, 0.03, len(x), 1, 1, 1),
    )
    return (level + spread * dice.normal(*x.shape)).abs()


def overexposed(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """White, with a few things left."""
    field = smooth_fields(len(x), x.shape[-1], 5, dice)[:, None].expand_as(x)
    return (1.1 + dice.uniform(0, 0.2, len(x), 1, 1, 1) * field).clamp(0, 1)


def one_color(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """A wall, or a hand over the lens."""
    return dice.uniform(0, 1, len(x), 3, 1, 1).expand_as(x)


def gradient(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """A clear sky, a lamp, the edge of something near."""
    count = len(x)
    axis = torch.linspace(-0.5, 0.5, x.shape[-1], device=x.device)
    angle = dice.uniform(0, 2 * math.pi, count, 1, 1)
    ramp = axis * angle.cos() + axis[:, None] * angle.sin()
    steep = (ramp * dice.uniform(2, 30, count, 1, 1)).tanh() / 2
    edge = dice.tensor(dice.numbers.random(count) < 0.4)[:, None, None]
    ramp = torch.lerp(ramp, steep, edge)[:, None]
    return dice.uniform(0.2, 0.8, count, 3, 1, 1) + ramp * dice.uniform(-0.8, 0.8, count, 3, 1, 1)


def clouds(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Smooth shapes: clouds, fog, water, a picture out of all focus."""
    side = x.shape[-1]
    field = sum(smooth_fields(len(x), side, knots, dice) / knots for knots in (3, 6, 12, 24))
    level = dice.uniform(0.2, 0.8, len(x), 3, 1, 1)
    return level + torch.as_tensor(field)[:, None] * dice.uniform(0.05, 0.5, len(x), 3, 1, 1)


def noise_only(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Noise of any grain."""
    grain = smooth_fields(len(x), x.shape[-1], int(dice.numbers.integers(16, x.shape[-1])), dice)
    level = dice.uniform(0.2, 0.7, len(x), 3, 1, 1)
    return level + grain[:, None] * dice.uniform(0.02, 0.3, len(x), 3, 1, 1)


def shapes(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """Foreign things: coloured boxes on some ground, sharp or not."""
    x = one_color(x, dice)
    for _ in range(int(dice.numbers.integers(1, 4))):
        x = cover_patches(x, dice)
    return gaussian(x, dice.numbers.uniform(0.2, 2, len(x)), dice)


def to_mean_grey(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """A grey camera."""
    return x.mean(1, keepdim=True).expand_as(x)


def add_faint_noise(x: torch.Tensor, dice: Dice) -> torch.Tensor:
    """As much noise as a good sensor has."""
    return x + 0.008 * dice.normal(*x.shape)


KINDS: tuple[Change, ...] = (
    lens_cap, overexposed, one_color, gradient, clouds, noise_only, shapes,
)  # fmt: skip
FAULTS: tuple[tuple[float, Change], ...] = (
    (0.30, darken_corners),
    (0.35, add_noise),
    (0.35, add_faint_noise),
    (0.30, compress),
    (0.25, to_mean_grey),
)
