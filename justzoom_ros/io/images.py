"""Picture files as arrays, and arrays of another size: uint8 (H, W, 3) RGB."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from justzoom_ros.errors import ImageError, first_line
from justzoom_ros.io.image_message import FULL_16_BITS, UsedDepth, to_8_bits

HEIC_SUFFIXES = ('.heic', '.heif', '.avif')
HEIC_BRANDS = tuple(b'ftyp' + brand for brand in (b'heic', b'heix', b'hevc', b'mif1', b'avif'))
"""What such files have from their fifth byte on, whatever their names."""


def read_picture(path: str | Path, depth: UsedDepth | None = None) -> np.ndarray:
    """The pixels of a picture file, uint8 (H, W, 3) RGB, turned upright as its EXIF says. Greys
    of 16 bits are scaled by what `depth`, default a new one, says of the camera.

    Raises ImageError where it is missing, truncated or no picture.
    """
    try:
        with open_picture(path) as picture:
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith('I'):  # Pillow would make all above 255 white
                samples = np.asarray(upright).clip(0, FULL_16_BITS).astype(np.uint16)
                grey = to_8_bits(samples, depth or UsedDepth())
                return np.repeat(grey[..., None], 3, axis=2)
            return np.array(upright.convert('RGB'))
    except FileNotFoundError as error:
        raise ImageError(f'{path}: no such picture') from error
    except IsADirectoryError as error:
        raise ImageError(f'{path} is a folder; name the pictures in it') from error
    except PermissionError as error:
        raise ImageError(f'{path} cannot be read: permission denied') from error
    except Image.DecompressionBombError as error:
        raise ImageError(f'{path} is too large: {first_line(error)}') from error
    except UnidentifiedImageError as error:
        raise ImageError(f'{path}: {_kind_of(Path(path))}') from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f'{path} is corrupt: {first_line(error)}') from error


def open_picture(path: str | Path) -> Image.Image:
    """Pillow's image of a file, not read yet. Raises OSError; of a pipe too, which may wait for
    ever."""
    if Path(path).is_fifo():
        raise OSError('it is a pipe and no file')
    return Image.open(path)


def _kind_of(path: Path) -> str:
    """What a file is that Pillow does not know."""
    with path.open('rb') as file:
        begin = file.read(12)
    if not begin:
        return 'the file is empty'
    if path.suffix.lower() in HEIC_SUFFIXES or begin[4:] in HEIC_BRANDS:
        return 'HEIC is not read; save it as JPEG or PNG'
    return 'it is no picture of a kind that is read; save it as JPEG or PNG'


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize without aliasing: area averages downwards, bicubic upwards."""
    if image.shape[:2] == (height, width):
        return image
    smaller = width * height < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=method)
