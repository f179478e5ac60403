"""From pixels to what the encoder sees, the same for training and running.

Images are uint8 (H, W, 3) RGB until `normalize`, float32 (..., 3, H, W) after it.
"""

import numpy as np
import torch

from justzoom_ros.errors import ImageError
from justzoom_ros.io.images import resize
from justzoom_ros.models.config import PolicyConfig

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Mean and standard deviation per channel that DINOv2 was trained with (ImageNet's)."""

ENOUGH = 5
"""Pixels of an image for each that the encoder sees, along either axis: with fewer its answers
would change by more than they do when a JPEG is saved again."""


def ground_views(image: np.ndarray, config: PolicyConfig) -> np.ndarray:
    """The views that the encoder sees of one camera image: uint8 (V, h, w, 3).

    A 'street' image is resized to 2 : 1 and cut into its left and
    right square (V = 2), as published; a 'nadir' image is cut to `ground_aspect` about its centre
    and resized (V = 1). Raises ImageError unless `image` is uint8 (H, W, 3).
    """
    check_image(image)
    height = config.ground_px
    width = round(height * config.ground_aspect)
    if config.view == 'nadir':
        image = _crop_to_aspect(image, config.ground_aspect)
    resized = resize(image, width, height)
    return np.stack(np.split(resized, 2, axis=1) if config.view == 'street' else [resized])


def enough_px(config: PolicyConfig) -> tuple[int, int]:
    """Width and height from which on the views of a camera image, reduced by an area average, are
    as good as those of a larger one."""
    height = config.ground_px
    return ENOUGH * round(height * config.ground_aspect), ENOUGH * height


def normalize(images: np.ndarray | torch.Tensor) -> torch.Tensor:
    """uint8 (..., H, W, 3) numpy or torch -> float32 tensor (..., 3, H, W), MEAN 0 and STD 1."""
    pixels = torch.as_tensor(images).movedim(-1, -3).float()
    mean, std = (torch.tensor(v, device=pixels.device).view(3, 1, 1) * 255 for v in (MEAN, STD))
    return (pixels - mean) / std


def check_image(image: np.ndarray) -> None:
    """Raise ImageError for what is no picture, uint8 (H, W, 3)."""
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        shape = getattr(image, 'shape', type(image).__name__)
        raise ImageError(f'camera image has shape {shape}; it must be (height, width, 3) RGB')
    if image.dtype != np.uint8 or 0 in image.shape:
        raise ImageError(
            f'camera image is {image.dtype} {image.shape}; it must be uint8 and not empty'
        )


def _crop_to_aspect(image: np.ndarray, aspect: float) -> np.ndarray:
    """The largest part about the centre with width / height = aspect."""
    height, width = image.shape[:2]
    keep_w, keep_h = min(width, round(height * aspect)), min(height, round(width / aspect))
    top, left = (height - keep_h) // 2, (width - keep_w) // 2
    return image[top : top + keep_h, left : left + keep_w]
