"""Imagery as tensors on one device, from which pairs are sampled by the thousand.

All layers of all pictures lie one after another in two flat tensors, so that one indexed read
serves pairs of any places, dates and resolutions at once.

Shapes: P pictures, L layers, N pixels of all layers together, B places that are sampled at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from justzoom_ros.training.registration.imagery import Picture

MASK_BIT = 24
"""Red, green and blue are the lower bytes of a packed pixel; this bit says there is imagery."""


@dataclass(frozen=True)
class PictureBank:
    """Pictures packed for sampling; make one with `pack`."""

    pixels: torch.Tensor
    """int32 (N,), packed."""
    segments: torch.Tensor
    """int16 (N,): which segment of similar colour a pixel belongs to, its lower 15 bits."""
    offsets: np.ndarray
    """int64 (L,): where a layer begins."""
    shapes: np.ndarray
    """int64 (L, 2): rows and columns of a layer."""
    layer_m: np.ndarray
    """float64 (L,): metres per pixel of a layer."""
    first_layer: np.ndarray
    """int64 (P,): a picture's finest layer; the others follow it, each half as fine."""
    layer_count: np.ndarray
    """int64 (P,)."""

    @property
    def device(self) -> torch.device:
        """Where the pixels are."""
        return self.pixels.device

    def layers_for(self, pictures: np.ndarray, metres_per_px: np.ndarray) -> np.ndarray:
        """Of each picture (B,) the coarsest layer that is finer than (B,) metres, else the finest:
        indices of layers (B,)."""
        first = self.first_layer[pictures]
        level = np.floor(np.log2(metres_per_px * 1.01 / self.layer_m[first]))
        return first + np.clip(level, 0, self.layer_count[pictures] - 1).astype(np.int64)

    def sample(
        self, layers: np.ndarray, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pixels float (B, 3, n, n), 1.0 white, bilinear; mask bool and segments int64 (B, n, n).

        `layers` (B,); `places` (B, n, n, 2): x, y in pixels of the layer, 0 the centre of the
        first. Beyond a picture's edge its last pixels go on, and the mask is False.
        """
        shape = self._on_device(self.shapes[layers])[:, :, None, None]
        begin = self._on_device(self.offsets[layers])[:, None, None]
        rows, columns = shape[:, 0], shape[:, 1]
        x, y = places[..., 0], places[..., 1]
        left, top = x.floor(), y.floor()

        def at(down, right):
            row = (top.long() + down).clamp(min=0).minimum(rows - 1)
            column = (left.long() + right).clamp(min=0).minimum(columns - 1)
            return begin + row * columns + column

        right, down = (x - left)[:, None], (y - top)[:, None]
        upper = torch.lerp(unpack(self.pixels[at(0, 0)]), unpack(self.pixels[at(0, 1)]), right)
        lower = torch.lerp(unpack(self.pixels[at(1, 0)]), unpack(self.pixels[at(1, 1)]), right)
        nearest = at((y - top).round().long(), (x - left).round().long())
        inside = (x > -0.5) & (y > -0.5) & (x < columns - 0.5) & (y < rows - 0.5)
        mask = inside & (self.pixels[nearest] >> MASK_BIT > 0)
        segments = self.segments[nearest].long() & 0x7FFF
        return torch.lerp(upper, lower, down), mask, segments

    def _on_device(self, values):
        return torch.from_numpy(values).to(self.device)


def pack(pictures: Iterable[Picture], device: torch.device | str = 'cpu') -> PictureBank:
    """The bank of pictures, in their order, on a device: 6 bytes per pixel of all layers."""
    pictures = list(pictures)
    layers = [layer for picture in pictures for layer in picture.layers]
    sizes = np.array([layer.mask.size for layer in layers])
    counts = np.array([len(picture.layers) for picture in pictures])
    pixels = torch.empty(int(sizes.sum()), dtype=torch.int32, device=device)
    segments = torch.empty(int(sizes.sum()), dtype=torch.int16, device=device)
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for layer, begin, size in zip(layers, offsets.tolist(), sizes.tolist(), strict=True):
        pixels[begin : begin + size] = torch.from_numpy(_packed(layer).ravel())
        segment = (layer.segments & 0x7FFF).astype(np.int16)
        segments[begin : begin + size] = torch.from_numpy(segment.ravel())
    return PictureBank(
        pixels,
        segments,
        offsets,
        np.array([layer.mask.shape for layer in layers], np.int64),
        np.array([layer.metres_per_px for layer in layers]),
        np.concatenate([[0], np.cumsum(counts)[:-1]]),
        counts,
    )


def unpack(packed: torch.Tensor) -> torch.Tensor:
    """Colours float (B, 3, n, n), 1.0 white, of packed pixels int32 (B, n, n)."""
    bytes_ = torch.stack([packed & 255, packed >> 8 & 255, packed >> 16 & 255], 1)
    return bytes_.float() / 255


def _packed(layer):
    red, green, blue = (layer.pixels[..., c].astype(np.int32) for c in range(3))
    return red | green << 8 | blue << 16 | (layer.mask > 0).astype(np.int32) << MASK_BIT
