"""How the same ground looks in two pictures: other light, season, sensor, sharpness.

Every function takes and returns float32 (H, W, 3) with 1.0 white and draws from `rng`
(`numpy.random.Generator`). Map and view are changed independently, so that a network can only
rely on what survives.
"""

from collections.abc import Callable

import cv2
import numpy as np

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def change_view(
    x: np.ndarray, segments: np.ndarray, rng: np.random.Generator, strength: float = 1.0
) -> np.ndarray:
    """A camera's picture of ground on another day than the map's; `segments` int32 (H, W).

    `strength` 0..1 multiplies the probabilities of the greater changes.
    """
    if rng.random() < 0.6 * strength:
        x = recolor_segments(x, segments, rng, spread=rng.uniform(0.03, 0.2))
    if rng.random() < 0.45 * strength:
        x = cast_shadows(x, rng)
    x = change_colors(x, rng, VIEW_COLORS, strength)
    x = expose(x, rng, 0.35)
    x = shade(x, rng, 0.3 * strength)
    x = apply_some(x, rng, VIEW_CHANGES, strength)
    return np.clip(x, 0, 1)


def change_map(
    x: np.ndarray, segments: np.ndarray, rng: np.random.Generator, strength: float = 1.0
) -> np.ndarray:
    """A satellite's or aeroplane's picture; arguments as `change_view` has them."""
    if rng.random() < 0.35 * strength:
        x = recolor_segments(x, segments, rng, spread=rng.uniform(0.03, 0.15))
    x = change_colors(x, rng, MAP_COLORS, strength)
    x = expose(x, rng, 0.25)
    x = apply_some(x, rng, MAP_CHANGES, strength)
    return np.clip(x, 0, 1)


# --- colours -------------------------------------------------------------------------------------


def change_colors(
    x: np.ndarray,
    rng: np.random.Generator,
    kinds: tuple[tuple[float, Change], ...],
    strength: float = 1.0,
) -> np.ndarray:
    """Channels mixed a little, then at most one of the greater changes of `kinds`."""
    mix = np.eye(3) + rng.normal(0, 0.04 + 0.1 * strength, (3, 3))
    x = x @ mix.T.astype(np.float32)
    draw = rng.random()
    for probability, change in kinds:
        draw -= probability * strength
        if draw < 0:
            return np.clip(change(x, rng), 0, 1.5)
    return np.clip(x, 0, 1.5)


def to_grey(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A grey camera of random spectral sensitivity."""
    weights = LUMA + rng.uniform(-0.25, 0.35, 3).astype(np.float32)
    return np.repeat((x @ (weights / weights.sum()))[..., None], 3, axis=2)


def permute_channels(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another order of the channels."""
    return x[..., rng.permutation(3)]


def to_near_infrared(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """False colour: a channel in which vegetation is bright takes the place of red."""
    excess = 2 * x[..., 1] - x[..., 0] - x[..., 2]
    infrared = x[..., 1] * rng.uniform(0.6, 1.2) + excess * rng.uniform(1, 5) + rng.uniform(0, 0.1)
    return np.stack([infrared, x[..., 0], x[..., rng.integers(1, 3)]], axis=2)


def mix_through_network(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours through a small random network: any smooth change of every colour.

    After RandConv (arXiv 2007.13003), with pixels instead of patches.
    """
    hidden = np.maximum((x - 0.4) @ rng.normal(0, 2.0, (3, 8)).astype(np.float32) + 0.3, 0)
    new = hidden @ rng.normal(0, 0.5, (8, 3)).astype(np.float32)
    spread = np.maximum(new.std(axis=(0, 1)), 0.02)
    new = (new - new.mean(axis=(0, 1))) / spread * rng.uniform(0.08, 0.22) + rng.uniform(0.3, 0.6)
    keep = np.float32(rng.uniform(0, 0.8))
    return keep * x + (1 - keep) * new.astype(np.float32)


def bend_curves(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another tone curve for each channel, not always rising."""
    knots = np.linspace(0, 1.5, 6)
    curves = [np.cumsum(rng.uniform(-0.08, 0.5, 6)) for _ in range(3)]
    channels = [np.interp(x[..., c], knots, curves[c] * rng.uniform(0.6, 1.1)) for c in range(3)]
    return np.stack(channels, axis=2).astype(np.float32)


VIEW_COLORS = (
    (0.25, to_grey),
    (0.10, permute_channels),
    (0.16, to_near_infrared),
    (0.18, mix_through_network),
    (0.13, bend_curves),
)
MAP_COLORS = (
    (0.13, to_grey),
    (0.05, permute_channels),
    (0.13, to_near_infrared),
    (0.10, mix_through_network),
    (0.08, bend_curves),
)


def recolor_segments(
    x: np.ndarray, segments: np.ndarray, rng: np.random.Generator, spread: float
) -> np.ndarray:
    """Other crops, other leaves: each segment of similar colour changes in its own way."""
    first, last = int(segments.min()), int(segments.max())
    count = last - first + 1
    gains = np.exp(rng.normal(0, 2 * spread, (count, 1)) + rng.normal(0, spread, (count, 3)))
    shifts = rng.normal(0, 0.5 * spread, (count, 3))
    which = segments - first
    side = max(3, int(rng.integers(1, 4)) * 2 + 1)
    gain = cv2.blur(gains.astype(np.float32)[which], (side, side))
    shift = cv2.blur(shifts.astype(np.float32)[which], (side, side))
    return np.clip(x * gain + shift, 0, 1.5)


# --- light and air -------------------------------------------------------------------------------


def expose(x: np.ndarray, rng: np.random.Generator, spread: float) -> np.ndarray:
    """Another gamma and another exposure."""
    x = np.clip(x, 1e-3, None) ** np.float32(np.exp(rng.normal(0, spread)))
    return x * np.float32(0.42 * np.exp(rng.normal(0, spread)) / max(float(x.mean()), 1e-2))


def shade(x: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Slow changes of brightness: clouds, vignettes of mosaics."""
    field = smooth_field(x.shape[:2], rng, int(rng.integers(2, 6)))
    return x * np.exp(field * np.float32(rng.uniform(0, strength)))[..., None]


def add_haze(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A veil, thicker in some places."""
    veil = np.clip(rng.uniform(0.1, 0.5) + 0.1 * smooth_field(x.shape[:2], rng, 3), 0, 0.7)
    colour = np.array([0.68, 0.72, 0.78], np.float32) * np.float32(rng.uniform(0.8, 1.2))
    return x + veil[..., None] * (colour - x)


def cast_shadows(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shadows of things that are not there in the other picture, all falling the same way."""
    height, width = x.shape[:2]
    dark = np.zeros((height, width), np.float32)
    yaw, length = rng.uniform(0, 2 * np.pi), rng.uniform(3, 22)
    fall = length * np.array([np.cos(yaw), np.sin(yaw)])
    for _ in range(int(rng.integers(3, 25))):
        middle = rng.uniform(0, 1, 2) * [width, height]
        turn, size = rng.uniform(0, 2 * np.pi), rng.uniform(2, 14, 2)
        box = cv2.boxPoints((tuple(middle), tuple(size), np.degrees(turn)))
        hull = cv2.convexHull(np.concatenate([box, box + fall]).astype(np.float32))
        cv2.fillConvexPoly(dark, np.round(hull).astype(np.int32), 1.0)
    soft = cv2.GaussianBlur(dark, (0, 0), rng.uniform(0.5, 1.5))
    return x * (1 - np.float32(rng.uniform(0.3, 0.7)) * soft[..., None])


def darken_corners(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A lens's vignette."""
    height, width = x.shape[:2]
    y, x_axis = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    fall = 1 - rng.uniform(0.1, 0.6) * (y**2 + x_axis**2) / 2
    return x * fall.astype(np.float32)[..., None]


# --- sharpness, noise, things in the way ---------------------------------------------------------


def blur(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus, or a coarser sensor."""
    return cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 1.6))


def smear(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Motion blur."""
    length = int(rng.integers(3, 8))
    kernel = np.zeros((length, length), np.float32)
    ends = np.array([np.cos(a := rng.uniform(0, np.pi)), np.sin(a)]) * length / 2
    middle = np.array([length - 1, length - 1]) / 2
    start, end = (np.round(middle + s * ends).astype(int).tolist() for s in (-1, 1))
    cv2.line(kernel, start, end, 1.0)
    return cv2.filter2D(x, -1, kernel / max(kernel.sum(), 1))


def coarsen(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Interpolated from coarser pixels, as many a map is."""
    height, width = x.shape[:2]
    factor = rng.uniform(1.2, 3.2)
    size = max(8, round(width / factor)), max(8, round(height / factor))
    small = cv2.resize(x, size, interpolation=cv2.INTER_AREA)
    how = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_LINEAR
    return cv2.resize(small, (width, height), interpolation=how)


def sharpen(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Too much sharpening, or local contrast."""
    low = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.8, 8))
    return x + np.float32(rng.uniform(0.3, 1.5)) * (x - low)


def add_noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise, the same in all channels or not."""
    channels = 1 if rng.random() < 0.5 else 3
    return x + rng.normal(0, rng.uniform(0.01, 0.07), (*x.shape[:2], channels)).astype(np.float32)


def compress(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """JPEG."""
    pixels = np.clip(x * 255, 0, 255).astype(np.uint8)
    coded = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 80))])[1]
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded a moment ago
    return decoded.astype(np.float32) / 255


def cover_patches(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Things that only one of the pictures has: cars, roofs, pools, clouds, parts of the drone."""
    x = x.copy()
    height, width = x.shape[:2]
    for _ in range(int(rng.integers(1, 9))):
        box = (tuple(rng.uniform(0, 1, 2) * [width, height]),)
        size = np.exp(rng.uniform(np.log(2), np.log(min(height, width) / 3.5), 2))
        points = cv2.boxPoints((*box, tuple(size), rng.uniform(0, 180)))
        cv2.fillConvexPoly(x, np.round(points).astype(np.int32), rng.uniform(0, 1, 3).tolist())
    return x


VIEW_CHANGES = (
    (0.30, add_haze),
    (0.20, sharpen),
    (0.60, cover_patches),
    (0.30, darken_corners),
    (0.40, blur),
    (0.15, smear),
    (0.15, coarsen),
    (0.80, add_noise),
    (0.45, compress),
)
MAP_CHANGES = (
    (0.30, add_haze),
    (0.15, sharpen),
    (0.20, cover_patches),
    (0.75, coarsen),
    (0.40, blur),
    (0.45, add_noise),
    (0.50, compress),
)


def apply_some(
    x: np.ndarray,
    rng: np.random.Generator,
    changes: tuple[tuple[float, Change], ...],
    strength: float = 1.0,
) -> np.ndarray:
    """Each change in turn, with its own probability."""
    for probability, change in changes:
        if rng.random() < probability * strength:
            x = change(x, rng)
    return x


def smooth_field(shape: tuple[int, int], rng: np.random.Generator, knots: int) -> np.ndarray:
    """Smooth noise of about unit variance, float32 (H, W), from `knots` x `knots` values."""
    coarse = rng.normal(0, 1, (knots, knots)).astype(np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
