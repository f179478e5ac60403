"""All that is random in a batch: numbers drawn on the processor, noise drawn where the pixels are.

Shapes: B pictures of n x n pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Dice:
    """Two generators of one seed. Choices and strengths are drawn by `numbers`, so that no step
    waits for the device to say what was drawn."""

    numbers: np.random.Generator
    """For what is decided per picture."""
    noise: torch.Generator
    """For what is drawn per pixel; on the pixels' device."""

    @classmethod
    def of(cls, seed: tuple[int, ...], device: torch.device | str = 'cpu') -> 'Dice':
        """The dice of a seed; the same numbers on every device, other noise."""
        numbers = np.random.default_rng(seed)
        noise = torch.Generator(device=device).manual_seed(int(numbers.integers(1 << 62)))
        return cls(numbers, noise)

    @property
    def device(self) -> torch.device:
        """Where tensors are made."""
        return self.noise.device

    def tensor(self, values: np.ndarray | list) -> torch.Tensor:
        """Values as float32 on the device."""
        array = np.ascontiguousarray(values, np.float32)
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """Uniform numbers, decided on the processor: float32 (shape) on the device."""
        return self.tensor(self.numbers.uniform(low, high, shape))

    def normal(self, *shape: int) -> torch.Tensor:
        """Normal noise, float32 (shape), drawn on the device."""
        return torch.randn(shape, generator=self.noise, device=self.device)


Change = Callable[[torch.Tensor, Dice], torch.Tensor]
"""Takes pictures (B, 3, n, n), 1.0 white, and returns them changed, each in its own way."""


def change_some(
    x: torch.Tensor, probability: np.ndarray | float, change: Change, dice: Dice
) -> torch.Tensor:
    """Change each picture with its probability (B,); the others stay as they are."""
    picked = np.flatnonzero(dice.numbers.random(len(x)) < probability)
    if not len(picked):
        return x
    index = torch.from_numpy(picked).to(x.device)
    return x.index_copy(0, index, change(x[index], dice).to(x.dtype))


def smooth_fields(count: int, side: int, knots: int, dice: Dice) -> torch.Tensor:
    """Smooth noise of about unit variance, float32 (count, side, side), from knots x knots."""
    coarse = dice.normal(count, 1, knots, knots)
    fine = F.interpolate(coarse, size=(side, side), mode='bicubic', align_corners=False)
    return fine[:, 0]


def per_picture(values: torch.Tensor) -> torch.Tensor:
    """Numbers (B,) so that they broadcast over (B, 3, n, n)."""
    return values[:, None, None, None]
