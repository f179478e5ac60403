"""Camera messages to RGB arrays, without cv_bridge and without rclpy.

Works on anything that has the fields of `sensor_msgs/Image` or `sensor_msgs/CompressedImage`:
messages of rclpy, of rosbags, or stand-ins. The meaning of the encodings is that of
`sensor_msgs/image_encodings.hpp`; where `cv_bridge` knows an encoding, the result is the same.
"""

import io
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from justzoom_ros.errors import ConfigError, ImageError

FULL_16_BITS = 65_535
COMPRESSED_FORMATS = ('JPEG', 'PNG', 'TIFF')
"""What image_transport's compressed plugin writes."""

CHANNELS = {'mono': 1, 'rgb': 3, 'bgr': 3, 'rgba': 4, 'bgra': 4}
PLAIN = {f'{name}{bits}': (count, bits) for name, count in CHANNELS.items() for bits in (8, 16)}
"""Encoding -> (channels, bits of each), rows of whole pixels."""
PLAIN |= {'8UC1': (1, 8), '8UC3': (3, 8), '8UC4': (4, 8), '16UC1': (1, 16), '16UC3': (3, 16)}

# OpenCV names a Bayer pattern after the second row's second and third pixel, ROS after the
# first row's first two and the second row's first two.
BAYER = {
    f'bayer_{pattern}{bits}': (code, bits)
    for pattern, code in {
        'rggb': cv2.COLOR_BayerBG2RGB,
        'bggr': cv2.COLOR_BayerRG2RGB,
        'gbrg': cv2.COLOR_BayerGR2RGB,
        'grbg': cv2.COLOR_BayerGB2RGB,
    }.items()
    for bits in (8, 16)
}
YUV422 = {
    'yuv422': cv2.COLOR_YUV2RGB_UYVY,
    'uyvy': cv2.COLOR_YUV2RGB_UYVY,
    'yuv422_yuy2': cv2.COLOR_YUV2RGB_YUY2,
    'yuyv': cv2.COLOR_YUV2RGB_YUY2,
}
YUV420 = {'nv21': cv2.COLOR_YUV2RGB_NV21, 'nv12': cv2.COLOR_YUV2RGB_NV12}
"""nv12 is in no list of ROS, but what drivers of phones' and depth cameras publish."""


class UsedDepth:
    """How many bits the 16-bit pictures of one camera use: sensors of 10, 12 or 14 bits leave the
    upper ones empty, so that their pictures would be black. Kept over frames, so that a dark
    frame among bright ones stays dark. From one thread at a time.

    `image_range`: the values (low, high) that are black and white instead, for cameras whose
    values lie far from zero, as those of thermal ones do. Raises ConfigError where they are not
    0 <= low < high <= 65535.
    """

    def __init__(self, image_range: tuple[float, float] | None = None) -> None:
        if image_range is not None and not 0 <= image_range[0] < image_range[1] <= FULL_16_BITS:
            low, high = image_range
            raise ConfigError(
                f'the image range is {low:g} .. {high:g}; its values must be ordered, in 0..65535'
            )
        self.bits = 8
        self._range = image_range

    def limits(self, samples: np.ndarray) -> tuple[float, float]:
        """What is black and what is white after one more picture, uint16 of any shape."""
        return self._range or (0, self.white(samples))

    def white(self, samples: np.ndarray) -> int:
        """What is white (255 .. 65535) after one more picture, uint16 of any shape: the
        greatest number of as many bits as its brightest pixels but one in a thousand take."""
        bright = np.percentile(samples[:: max(1, len(samples) // 256)], 99.9)
        self.bits = max(self.bits, int(bright).bit_length())
        return 2**self.bits - 1


def image_from_message(
    message: Any, enough_px: tuple[int, int] | None = None, depth: UsedDepth | None = None
) -> np.ndarray:
    """The picture of a `sensor_msgs/Image` or `CompressedImage` as RGB uint8 (height, width, 3).

    Depths of 16 bits, `16UC1` included, are scaled from 0..65535 to 0..255, or with `depth` from
    what the camera uses of them. An orientation tag
    inside a JPEG is ignored, as image_transport does: the pixels are the sensor's. A JPEG whose
    half is no smaller than `enough_px` (width, height) is decoded at half its size: three
    quarters of its cosines are then left out.
    Raises ImageError, naming the encoding, for anything that is not a whole picture.
    """
    if message is None:
        raise ImageError('there is no image message (None)')
    if hasattr(message, 'encoding'):
        return _decode_raw(message, depth)
    if hasattr(message, 'format'):
        return _decode_compressed(message, enough_px, depth)
    raise ImageError(
        f'a message of type {type(message).__name__} is neither sensor_msgs/Image nor '
        'sensor_msgs/CompressedImage'
    )


def _decode_raw(message: Any, depth: UsedDepth | None) -> np.ndarray:
    name = str(message.encoding)
    encoding = name if name in PLAIN else name.lower()
    if encoding in PLAIN:
        return _decode_plain(message, encoding, depth)
    if encoding in BAYER:
        return _decode_bayer(message, encoding, depth)
    if encoding in YUV422:
        return _decode_yuv422(message, encoding)
    if encoding in YUV420:
        return _decode_yuv420(message, encoding)
    known = sorted([*PLAIN, *BAYER, *YUV422, *YUV420])
    raise ImageError(f'image encoding {name!r} is not a known picture; use {", ".join(known)}')


def _decode_plain(message: Any, encoding: str, depth: UsedDepth | None) -> np.ndarray:
    channels, bits = PLAIN[encoding]
    pixels = to_8_bits(_rows(message, channels, bits), depth)
    pixels = pixels.reshape(len(pixels), -1, channels)
    if channels == 1:
        return np.repeat(pixels, 3, axis=2)
    # OpenCV's own types, such as 8UC3, are in its own order.
    order = [0, 1, 2] if encoding.startswith('rgb') else [2, 1, 0]
    return np.ascontiguousarray(pixels[..., order])


def _decode_bayer(message: Any, encoding: str, depth: UsedDepth | None) -> np.ndarray:
    code, bits = BAYER[encoding]
    mosaic = to_8_bits(_rows(message, 1, bits), depth)
    if min(mosaic.shape) < 3:
        raise _error(message, 'a Bayer mosaic needs at least 3 x 3 pixels')
    return cv2.cvtColor(mosaic, code)


def _decode_yuv422(message: Any, encoding: str) -> np.ndarray:
    if message.width % 2:
        raise _error(message, 'the width must be even, two pixels share their colour')
    pixels = _rows(message, 2, 8)
    return cv2.cvtColor(pixels.reshape(len(pixels), -1, 2), YUV422[encoding])


def _decode_yuv420(message: Any, encoding: str) -> np.ndarray:
    if message.width % 2 or message.height % 2:
        raise _error(message, 'width and height must be even, four pixels share their colour')
    # The rows of the half-resolution plane of both colours follow those of the Y plane.
    planes = _rows(message, 1, 8, rows=int(message.height) * 3 // 2)
    return cv2.cvtColor(planes, YUV420[encoding])


def _rows(message: Any, channels: int, bits: int, rows: int | None = None) -> np.ndarray:
    """The samples (rows, width * channels) as uint8 or uint16 of this machine's byte order,
    the padding at the end of each row cut off. A view of the message's data where possible."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    rows = height if rows is None else rows
    if height <= 0 or width <= 0:
        raise _error(message, 'it has no pixels')
    used = width * channels * bits // 8
    if step == 0 and len(message.data) == used * rows:
        step = used  # as drivers leave it that have no padding
    if step < used:
        raise _error(message, f'step is {step} bytes, but a row takes {used}')
    data = _bytes(message)
    # The padding of the last row may be missing: nobody needs it.
    needed = step * (rows - 1) + used
    if len(data) < needed:
        raise _error(message, f'the data is truncated: {len(data)} of {needed} bytes')
    strides = (step, 1)
    rows_of_bytes = np.lib.stride_tricks.as_strided(data, (rows, used), strides, writeable=False)
    rows_of_bytes = np.ascontiguousarray(rows_of_bytes)
    if bits == 8:
        return rows_of_bytes
    order = '>' if message.is_bigendian else '<'
    return rows_of_bytes.view(f'{order}u2').astype(np.uint16)


def to_8_bits(samples: np.ndarray, depth: UsedDepth | None = None) -> np.ndarray:
    """0..65535, or between the limits of `depth`, to 0..255, rounded to the nearest; uint8
    passes."""
    if samples.dtype == np.uint8:
        return samples
    low, high = (0, FULL_16_BITS) if depth is None else depth.limits(samples)
    if (low, high) != (0, FULL_16_BITS):
        share = (samples.clip(low, high) - np.float32(low)) * np.float32(255 / (high - low))
        return np.rint(share).astype(np.uint8)
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _bytes(message: Any) -> np.ndarray:
    """The message's data, whatever holds it, as a flat uint8 array without a copy."""
    data = message.data
    if isinstance(data, (bytes, bytearray, memoryview)) or hasattr(data, 'typecode'):
        return np.frombuffer(data, np.uint8)
    return np.ascontiguousarray(data, dtype=np.uint8).ravel()


def _decode_compressed(
    message: Any, enough_px: tuple[int, int] | None, depth: UsedDepth | None
) -> np.ndarray:
    data = _bytes(message)
    if data.size == 0:
        raise _error(message, 'it is empty')
    try:
        with Image.open(io.BytesIO(data.tobytes()), formats=COMPRESSED_FORMATS) as picture:
            if enough_px and _half_is_enough(picture.size, enough_px):
                picture.draft(None, [side // 2 for side in picture.size])
            return _picture_pixels(picture, depth)
    except UnidentifiedImageError:
        formats = ', '.join(COMPRESSED_FORMATS)
        raise _error(message, f'the data is not one of {formats}') from None
    # Pillow raises these, and its own DecompressionBombError, on damaged files.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise _error(message, f'it cannot be decoded: {error}') from error


def _half_is_enough(size: tuple[int, int], enough_px: tuple[int, int]) -> bool:
    return all(side // 2 >= enough for side, enough in zip(size, enough_px, strict=True))


def _picture_pixels(picture: Image.Image, depth: UsedDepth | None) -> np.ndarray:
    if picture.mode.startswith('I;16'):
        grey = to_8_bits(np.asarray(picture).astype(np.uint16), depth)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(picture if picture.mode == 'RGB' else picture.convert('RGB'))


def _error(message: Any, problem: str) -> ImageError:
    """An ImageError that names the message's encoding or format, and its size."""
    if hasattr(message, 'encoding'):
        size = f'{message.width} x {message.height}'
        return ImageError(f'image of encoding {message.encoding!r}, {size}: {problem}')
    return ImageError(f'compressed image of format {str(message.format)!r}: {problem}')
