"""Pictures that show no place on any map: what a camera sees with a cap on, in fog, in the sky."""

import cv2
import numpy as np

from justzoom_ros.training.registration.appearance import (
    add_noise,
    compress,
    darken_corners,
    smooth_field,
)


def draw_negative(side_px: int, rng: np.random.Generator) -> np.ndarray:
    """float32 (side_px, side_px, 3), 1.0 white: of one of the kinds below."""
    kinds = (lens_cap, overexposed, one_color, gradient, clouds, noise_only, shapes)
    x = kinds[rng.integers(len(kinds))]((side_px, side_px), rng)
    if rng.random() < 0.3:
        x = darken_corners(x, rng)
    if rng.random() < 0.7:
        x = add_noise(x, rng) if rng.random() < 0.5 else x + rng.normal(0, 0.008, x.shape)
    if rng.random() < 0.3:
        x = compress(x, rng)
    if rng.random() < 0.25:
        x = np.repeat(x.mean(axis=2, keepdims=True), 3, axis=2)
    return np.clip(x, 0, 1).astype(np.float32)


def lens_cap(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Dark, with a little noise."""
    return np.abs(rng.normal(rng.uniform(0, 0.06), rng.uniform(0.002, 0.03), (*shape, 3)))


def overexposed(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """White, with a few things left."""
    return np.clip(1.1 + rng.uniform(0, 0.2) * smooth_field(shape, rng, 5), 0, 1)[..., None] + (
        np.zeros(3)
    )


def one_color(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A wall, or a hand over the lens."""
    return np.ones((*shape, 1)) * rng.uniform(0, 1, 3)


def gradient(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A clear sky, a lamp, the edge of something near."""
    y, x = np.mgrid[: shape[0], : shape[1]] / shape[0] - 0.5
    a = rng.uniform(0, 2 * np.pi)
    ramp = x * np.cos(a) + y * np.sin(a)
    if rng.random() < 0.4:
        ramp = np.tanh(ramp * rng.uniform(2, 30)) / 2
    return rng.uniform(0.2, 0.8, 3) + ramp[..., None] * rng.uniform(-0.8, 0.8, 3)


def clouds(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Smooth shapes: clouds, fog, water, a picture out of all focus."""
    field = np.sum([smooth_field(shape, rng, knots) / knots for knots in (3, 6, 12, 24)], axis=0)
    return rng.uniform(0.2, 0.8, 3) + field[..., None] * rng.uniform(0.05, 0.5, 3)


def noise_only(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise of any grain."""
    grain = smooth_field(shape, rng, int(rng.integers(16, max(shape))))
    return rng.uniform(0.2, 0.7, 3) + grain[..., None] * rng.uniform(0.02, 0.3, 3)


def shapes(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Foreign things: coloured boxes and discs on some ground."""
    x = np.ones((*shape, 3), np.float32) * rng.uniform(0, 1, 3).astype(np.float32)
    for _ in range(int(rng.integers(1, 25))):
        middle = tuple(int(v) for v in rng.uniform(0, shape[0], 2))
        size = int(np.exp(rng.uniform(np.log(2), np.log(shape[0] / 2))))
        color = rng.uniform(0, 1, 3).tolist()
        if rng.random() < 0.5:
            cv2.circle(x, middle, size, color, -1, cv2.LINE_AA)
        else:
            far = (middle[0] + size, middle[1] + int(rng.integers(1, 2 * size)))
            cv2.rectangle(x, middle, far, color, -1)
    return x
