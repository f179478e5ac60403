"""What cameras do to pictures: the pieces that every model of a camera here is put together from.

Pictures are float arrays (H, W, 3) RGB of any scale, 0..1 or 0..255, unless said otherwise.
Nothing is drawn at random but noise: how strong an effect is, and how strengths are distributed,
is each model's own (`training/appearance.py`, `worlds/city/photo.py`, `worlds/flight.py`).
"""

import io

import cv2
import numpy as np
from PIL import Image

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Shares of red, green and blue in the brightness of a colour (ITU-R BT.601)."""

LEAST_BLUR_PX = 0.2
"""A Gaussian narrower than this changes nothing that can be seen."""


DRIVER_QUALITY = 85
"""Of JPEG, as a camera's driver sends it."""


def scale_contrast(picture: np.ndarray, factor: float) -> np.ndarray:
    """The picture with every colour `factor` times as far from the mean colour."""
    mean = np.array(cv2.mean(picture)[:3], np.float32)
    return (picture - mean) * np.float32(factor) + mean


def scale_saturation(picture: np.ndarray, factor: float) -> np.ndarray:
    """The picture with every pixel `factor` times as far from its own mean over the channels."""
    grey = picture.mean(axis=-1, keepdims=True)
    return grey + factor * (picture - grey)


def corner_distance(
    shape: tuple[int, ...], middle: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """How far out pixels are, (h, w, 1) float32: half the squared distance from a point, given as
    x and y in -1..1 of the half sides. About the middle of the picture 0 there, 1 in the corners.
    A vignette is 1 - strength * this."""
    y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    squared = ((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / 2
    return squared[..., None].astype(np.float32)


def smooth_field(knots: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values at knots (n, m[, 3]), spread evenly, as a smooth field (h, w[, 3]) float32: soft
    patches of light, haze."""
    size_px = shape[1], shape[0]
    return cv2.resize(knots.astype(np.float32), size_px, interpolation=cv2.INTER_CUBIC)


def blur(picture: np.ndarray, sigma_px: float) -> np.ndarray:
    """The picture out of focus, by a Gaussian; as it is below LEAST_BLUR_PX."""
    return cv2.GaussianBlur(picture, (0, 0), sigma_px) if sigma_px > LEAST_BLUR_PX else picture


def draw_noise(shape: tuple[int, ...], std: float, rng: np.random.Generator) -> np.ndarray:
    """White noise (h, w, 3) float32, drawn by OpenCV, which takes a tenth of numpy's time."""
    cv2.setRNGSeed(int(rng.integers(2**31)))
    return cv2.randn(np.empty(shape, np.float32), np.zeros(3), np.full(3, std))


def encode_jpeg(pixels: np.ndarray, quality: int = DRIVER_QUALITY) -> bytes:
    """Pixels, uint8 (H, W, 3) RGB, as a file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'JPEG', quality=quality)
    return buffer.getvalue()


def compress(pixels: np.ndarray, quality: int) -> np.ndarray:
    """What JPEG leaves of pixels, uint8 (H, W, 3) RGB."""
    _, coded = cv2.imencode('.jpg', pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[..., ::-1])
