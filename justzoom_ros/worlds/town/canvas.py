"""The two rasters that a photograph is made from, and the light that makes it.

What is painted is the colour of things as they are (albedo) and the height of what stands on the
ground; then the sun lights both, so that every shadow and every shaded roof agrees with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from justzoom_ros.worlds.aliases import Color, Points

SHIFT = 4
"""cv2 takes coordinates in 1/16 of a pixel."""


@dataclass(frozen=True)
class Day:
    """When the photograph was taken.

    `sun_yaw_rad` is the direction towards the sun, counter-clockwise from east; `autumn` 0..1
    turns leaves and crops; `seed` draws what moves (cars, wear, noise); `exposure` and `contrast`
    multiply, `warmth` shifts from blue to red, `haze` 0..1 veils.
    """

    sun_yaw_rad: float
    sun_elevation_rad: float
    autumn: float
    seed: int
    exposure: float = 1.0
    contrast: float = 1.0
    warmth: float = 0.0
    haze: float = 0.05


class Canvas:
    """Albedo `rgb` (side, side, 3) and `height_m` (side, side) of the scene."""

    def __init__(self, side_m: float, resolution_m: float, day: Day) -> None:
        self.day, self.resolution_m, self.half_m = day, resolution_m, side_m / 2
        self.side = int(round(side_m / resolution_m))
        self.rng = np.random.default_rng([day.seed, 3])
        self.rgb = np.zeros((self.side, self.side, 3), np.uint8)
        self.height_m = np.zeros((self.side, self.side), np.float32)

    def color(self, palette: Sequence[Sequence[Color]], tint: float) -> np.ndarray:
        """One colour of a palette of (summer, autumn) pairs."""
        pairs = np.asarray(palette, float)
        pair = pairs[0]
        if len(pairs) > 1:
            at = tint * (len(pairs) - 1)
            low = min(int(at), len(pairs) - 2)
            pair = pairs[low] + (at - low) * (pairs[low + 1] - pairs[low])
        return pair[0] + self.day.autumn * (pair[1] - pair[0])

    def pixels(self, points: Points) -> np.ndarray:
        """Positions (N, 2) in metres as (column, row), pixel centres being whole numbers."""
        points = np.asarray(points, float)
        scale = np.array([1, -1]) / self.resolution_m
        return (points - np.array([-self.half_m, self.half_m])) * scale - 0.5

    def _fixed(self, points):
        return np.round(self.pixels(points) * 2**SHIFT).astype(np.int32)

    def line(self, path: np.ndarray, width_m: float, rgb: Color) -> None:
        thickness = max(int(round(width_m / self.resolution_m)), 1)
        cv2.polylines(
            self.rgb, [self._fixed(path)], False, _ints(rgb), thickness, cv2.LINE_AA, SHIFT
        )

    def disc(self, east_m: float, north_m: float, radius_m: float, rgb: Color) -> None:
        middle = tuple(int(v) for v in self._fixed([[east_m, north_m]])[0])
        radius = int(radius_m / self.resolution_m * 2**SHIFT)
        cv2.circle(self.rgb, middle, radius, _ints(rgb), -1, cv2.LINE_AA, SHIFT)

    def window(self, points: Points) -> tuple[slice, slice] | None:
        """Slices (rows, columns) of the part of the canvas round `points`; None if outside."""
        pixels = self.pixels(points)
        low = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 2, self.side)
        if (high <= low).any():
            return None
        return slice(low[1], high[1]), slice(low[0], high[0])

    def metres(self, window: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
        """(east, north) of the window's pixel centres, float32 (1, W) and (H, 1)."""
        rows, columns = window
        column = np.arange(columns.start, columns.stop, dtype=np.float32)
        row = np.arange(rows.start, rows.stop, dtype=np.float32)
        east = (column + 0.5) * self.resolution_m - self.half_m
        north = self.half_m - (row + 0.5) * self.resolution_m
        return east[None, :], north[:, None]

    def stencil(self, outline: np.ndarray, window: tuple[slice, slice]) -> np.ndarray:
        """Cover of a polygon in a window, float32 0..1."""
        rows, columns = window
        offset = np.array([columns.start, rows.start]) * 2**SHIFT
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        corners = self._fixed(outline) - offset.astype(np.int32)
        cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, SHIFT)
        return mask.astype(np.float32) / 255

    def blend(self, window: tuple[slice, slice], rgb: Color, cover: np.ndarray) -> None:
        """Lay `rgb` (3,) or (H, W, 3) over a window where `cover` (H, W) says."""
        under = self.rgb[window].astype(np.float32)
        mixed = under + cover[..., None] * (np.asarray(rgb, np.float32) - under)
        self.rgb[window] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)

    def raise_to(
        self, window: tuple[slice, slice], height_m: float | np.ndarray, cover: np.ndarray
    ) -> None:
        """Lift the window to `height_m` where it is higher and covered more than half."""
        now = self.height_m[window]
        np.copyto(now, np.maximum(now, height_m), where=cover > 0.5, casting='same_kind')

    def weather(self) -> None:
        """Stains and grain of the ground, the same everywhere on earth and asphalt."""
        stains = noise(self.rng, self.side, (160, 45, 14, 5, 2)) * 0.055
        grain = self.rng.normal(0, 0.02, (self.side, self.side)).astype(np.float32)
        worn = self.rgb * (1 + stains + grain)[..., None]
        self.rgb = np.clip(worn, 0, 255).astype(np.uint8)


def _ints(rgb):
    return tuple(int(round(float(v))) for v in rgb)


def noise(rng: np.random.Generator, side: int, scales_px: Sequence[int]) -> np.ndarray:
    """Smooth noise (side, side) float32 of unit variance or so, a sum of several scales, each
    turned another way, so that no grid shows."""
    total = np.zeros((side, side), np.float32)
    for scale in scales_px:
        coarse = rng.normal(size=(int(1.5 * side / scale) + 4,) * 2).astype(np.float32)
        middle, turn = coarse.shape[0] / 2, rng.uniform(0, 2 * np.pi)
        u, v = np.array([np.cos(turn), np.sin(turn)]) / scale
        to_coarse = np.array([[u, -v, 0], [v, u, 0]])
        to_coarse[:, 2] = middle - to_coarse[:, :2] @ [side / 2, side / 2]
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        total += cv2.warpAffine(coarse, to_coarse, (side, side), flags=flags)
    return total / np.sqrt(len(scales_px) / 2)


# --- light ---------------------------------------------------------------------------------------


def photograph(canvas: Canvas) -> np.ndarray:
    """Light the scene and expose it: uint8 (side, side, 3)."""
    day = canvas.day
    sun = _shading(canvas) * (1 - _shadow(canvas))
    sky = np.array([0.44, 0.47, 0.53], np.float32)
    beam = np.array([0.63, 0.61, 0.56], np.float32) + day.warmth * np.array(
        [0.05, 0.0, -0.06], np.float32
    )
    lit = canvas.rgb * (sky + sun[..., None] * beam) * day.exposure
    lit = 118 + (lit - 118) * day.contrast
    lit += day.haze * (np.array([176, 186, 200], np.float32) - lit)
    lit = cv2.GaussianBlur(lit, (0, 0), 0.55)
    lit += canvas.rng.normal(0, 1.6, lit.shape[:2]).astype(np.float32)[..., None]
    return np.clip(lit + 0.5, 0, 255).astype(np.uint8)


def _shading(canvas):
    """Sun on the slopes, 1 on level ground, (side, side)."""
    day = canvas.day
    smooth = cv2.GaussianBlur(canvas.height_m, (0, 0), 0.25 / canvas.resolution_m)
    east = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / (8 * canvas.resolution_m))
    south = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / (8 * canvas.resolution_m))
    # Walls seen from above would shade like cliffs; no roof or crown is steeper than 50 degrees.
    east, south = np.clip(east, -1.2, 1.2), np.clip(south, -1.2, 1.2)
    level = np.sin(day.sun_elevation_rad)
    reach = np.cos(day.sun_elevation_rad)
    towards = reach * (south * np.sin(day.sun_yaw_rad) - east * np.cos(day.sun_yaw_rad)) + level
    return np.clip(towards / np.sqrt(1 + east**2 + south**2) / level, 0, 1.45)


def _shadow(canvas):
    """0 in the sun, 1 in the shadow of something higher, (side, side)."""
    day, height_m = canvas.day, canvas.height_m
    fall_m = canvas.resolution_m * np.tan(day.sun_elevation_rad)
    steps = int(height_m.max() / fall_m)
    above = np.zeros_like(height_m)
    for step in range(1, steps + 1):
        columns = int(round(step * np.cos(day.sun_yaw_rad)))
        rows = int(round(-step * np.sin(day.sun_yaw_rad)))
        here, there = _overlap_slices(rows, columns)
        np.maximum(above[here], height_m[there] - step * fall_m, out=above[here])
    soft = np.clip((above - height_m) / 0.6, 0, 1)
    return cv2.GaussianBlur(soft, (0, 0), 0.15 / canvas.resolution_m)


def _overlap_slices(rows, columns):
    """Index pairs such that a[here] faces what lies `rows` down and `columns` right of it."""

    def one(offset):
        if offset >= 0:
            return slice(0, -offset or None), slice(offset, None)
        return slice(-offset, None), slice(0, offset)

    (row_here, row_there), (column_here, column_there) = one(rows), one(columns)
    return (row_here, column_here), (row_there, column_there)
