"""Picture files as arrays, and arrays of another size: uint8 (H, W, 3) RGB."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from justzoom_ros.errors import ImageError


def read_picture(path: str | Path) -> np.ndarray:
    """The pixels of a picture file, uint8 (H, W, 3) RGB, turned upright as its EXIF says.

    Raises ImageError where it is missing, truncated or no picture.
    """
    try:
        with Image.open(path) as picture:
            return np.array(ImageOps.exif_transpose(picture).convert('RGB'))
    except FileNotFoundError as error:
        raise ImageError(f'{path}: no such picture') from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f'{path} is corrupt: {error}') from error


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize without aliasing: area averages downwards, bicubic upwards."""
    if image.shape[:2] == (height, width):
        return image
    smaller = width * height < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=method)
