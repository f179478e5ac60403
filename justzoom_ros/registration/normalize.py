"""Pixels made comparable before a network sees them: local brightness and contrast removed."""

import cv2
import numpy as np
import torch

LEAST_STD = 0.03
"""Standard deviation, of 1.0 being white, below which a neighbourhood counts as bland: its noise
is not enlarged further."""


def normalize_pixels(pixels: np.ndarray, mask: np.ndarray, side_px: int) -> np.ndarray:
    """Bring every neighbourhood to zero mean and unit standard deviation, each channel by itself.

    `pixels` uint8, or float with 1.0 white, (H, W, 3); `mask` bool (H, W), True where there is
    something to see; neighbourhoods are squares of `side_px` pixels (odd), and only what can be
    seen counts. Returns float32 (4, H, W): three channels, 0 where nothing can be seen, and the
    mask. A pixel depends on its neighbourhood alone and not on how far the picture extends.
    """
    scale = 1 / 255 if pixels.dtype == np.uint8 else 1.0
    x = pixels.astype(np.float32) * scale
    cover = mask.astype(np.float32)
    x *= cover[..., None]
    share = np.maximum(_box(cover, side_px), 1e-6)[..., None]
    mean = _box(x, side_px) / share
    variance = _box(x * x, side_px) / share - mean * mean
    std = np.sqrt(np.maximum(variance, LEAST_STD**2))
    normal = (x - mean) / std * cover[..., None]
    return np.concatenate([normal.transpose(2, 0, 1), cover[None]])


def _box(values, side_px):
    """Mean over a square, zeros beyond the border."""
    size = (side_px, side_px)
    return cv2.boxFilter(values, cv2.CV_32F, size, borderType=cv2.BORDER_CONSTANT)


def normalize_batch(pixels: torch.Tensor, masks: torch.Tensor, side_px: int) -> torch.Tensor:
    """What `normalize_pixels` does, of float pictures (B, 3, H, W) and masks bool (B, H, W), on
    their device: (B, 4, H, W)."""
    cover = masks[:, None].float()
    x = pixels.float() * cover
    sums = _box_sums(torch.cat([cover, x, x * x], 1), side_px)
    share = sums[:, :1].clamp(min=1e-6 * side_px**2)
    mean, square = sums[:, 1:4] / share, sums[:, 4:] / share
    std = (square - mean * mean).clamp(min=LEAST_STD**2).sqrt()
    return torch.cat([(x - mean) / std * cover, cover], 1)


def _box_sums(values, side_px):
    """Sums over squares, zeros beyond the border, of (B, C, H, W)."""
    for axis in (2, 3):
        size, reach = values.shape[axis], side_px // 2
        total = values.cumsum(axis)
        ends = torch.arange(size, device=values.device)
        upper = total.index_select(axis, (ends + reach).clamp(max=size - 1))
        before = (ends - reach - 1).clamp(min=0)
        lower = total.index_select(axis, before)
        shape = [1, 1, 1, 1]
        shape[axis] = size
        values = upper - lower * (ends > reach).view(shape)
    return values
