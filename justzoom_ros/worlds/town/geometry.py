"""Convex blocks of land, the displacement that bends them, and a raster of what is taken."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from justzoom_ros.worlds.aliases import Points


@dataclass(frozen=True)
class Block:
    """A convex piece of the cut square, `outline` (N, 2) not yet bent, counter-clockwise."""

    outline: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        return self.outline.mean(axis=0)

    @property
    def area_m2(self) -> float:
        x, y = self.outline.T
        return 0.5 * float(np.abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)))

    @property
    def long_yaw_rad(self) -> float:
        """Direction of the longest edge."""
        edges = np.roll(self.outline, -1, axis=0) - self.outline
        dx, dy = edges[np.argmax((edges**2).sum(axis=1))]
        return float(np.arctan2(dy, dx))

    def inset(self, distance_m: float) -> 'Block | None':
        """The block without a border of `distance_m`; None where nothing is left."""
        outline = self.outline
        for start, end in zip(self.outline, np.roll(self.outline, -1, axis=0), strict=True):
            along = (end - start) / max(np.linalg.norm(end - start), 1e-9)
            inward = np.array([-along[1], along[0]])
            outline = clip(outline, start + inward * distance_m, inward)
            if len(outline) < 3:
                return None
        return Block(outline)


def clip(outline: np.ndarray, point: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """The part of a convex polygon (N, 2) on the side of `point` that `normal` points to."""
    side = (outline - point) @ normal
    kept = []
    for i, (here, there) in enumerate(zip(side, np.roll(side, -1), strict=True)):
        if here >= 0:
            kept.append(outline[i])
        if (here >= 0) != (there >= 0):
            share = here / (here - there)
            kept.append(outline[i] + share * (outline[(i + 1) % len(outline)] - outline[i]))
    return np.array(kept).reshape(-1, 2)


class Bend:
    """A smooth displacement of the plane, up to about 15 m, by a few long waves."""

    def __init__(self, rng: np.random.Generator) -> None:
        heading = rng.uniform(0, 2 * np.pi, 5)
        length_m = rng.uniform(230, 520, 5)
        waves = np.stack([np.cos(heading), np.sin(heading)]) * (2 * np.pi / length_m)
        self._waves, self._phase = waves, rng.uniform(0, 2 * np.pi, 5)
        push = rng.normal(size=(5, 2))
        push /= np.linalg.norm(push, axis=1, keepdims=True)
        self._push = push * (length_m / 55)[:, None]

    def __call__(self, points: Points) -> np.ndarray:
        """Bent positions of `points` (N, 2)."""
        points = np.asarray(points, float)
        return points + np.sin(points @ self._waves + self._phase) @ self._push

    def pose(self, point: np.ndarray, yaw_rad: float) -> tuple[float, float, float]:
        """Bent position (east, north) and direction of something at `point`."""
        ahead = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
        here, there = self(np.array([point, point + ahead]))
        return here[0], here[1], float(np.arctan2(*(there - here)[::-1]))

    def path(self, points: Points, closed: bool = False) -> np.ndarray:
        """A bent line (M, 2) through `points` (N, 2), with a vertex about every 3 m."""
        points = np.asarray(points, float)
        ends = np.concatenate([points[1:], points[:1]]) if closed else points[1:]
        pieces = []
        for start, end in zip(points[: len(ends)], ends, strict=True):
            count = max(int(np.linalg.norm(end - start) / 3), 1)
            pieces.append(start + (end - start) * np.arange(count)[:, None] / count)
        if not closed:
            pieces.append(points[-1:])
        return self(np.concatenate(pieces))


class Ground:
    """What is already taken, as a raster of half metres, so that things do not overlap."""

    def __init__(self, side_m: float) -> None:
        self._half_m, self._per_m = side_m / 2, 2
        self._taken = np.zeros((int(side_m * 2) + 1,) * 2, np.uint8)

    def _pixels(self, points):
        return np.round((np.asarray(points) + self._half_m) * self._per_m).astype(np.int32)

    def take_road(self, path: np.ndarray, width_m: float) -> None:
        thickness = max(int(width_m * self._per_m), 1)
        cv2.polylines(self._taken, [self._pixels(path)], False, 1, thickness)

    def take(self, outline: np.ndarray) -> None:
        cv2.fillPoly(self._taken, [self._pixels(outline)], 1)

    def is_free(self, outline: np.ndarray) -> bool:
        """True where nothing lies on the polygon, which must be within the square."""
        pixels = self._pixels(outline)
        low, high = pixels.min(axis=0), pixels.max(axis=0) + 1
        if low.min() < 0 or high.max() > len(self._taken):
            return False
        window = self._taken[low[1] : high[1], low[0] : high[0]]
        stencil = np.zeros_like(window)
        cv2.fillPoly(stencil, [pixels - low.astype(np.int32)], 1)
        return not (window & stencil).any()

    def is_free_at(self, points: np.ndarray) -> np.ndarray:
        """Bool (N,) for points (N, 2); False outside the square."""
        column, row = self._pixels(points).T
        inside = (np.minimum(column, row) >= 0) & (np.maximum(column, row) < len(self._taken))
        last = len(self._taken) - 1
        return inside & (self._taken[row.clip(0, last), column.clip(0, last)] == 0)


def rectangle(
    east_m: float, north_m: float, yaw_rad: float, length_m: float, width_m: float
) -> np.ndarray:
    """Corners (4, 2) of a turned rectangle, counter-clockwise."""
    u = np.array([np.cos(yaw_rad), np.sin(yaw_rad)]) * length_m / 2
    v = np.array([-np.sin(yaw_rad), np.cos(yaw_rad)]) * width_m / 2
    return np.array([east_m, north_m]) + np.array([-u - v, u - v, u + v, v - u])


def edges(block: Block) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, float]]:
    """(start, along, inward, length) of every edge of a counter-clockwise block."""
    for start, end in zip(block.outline, np.roll(block.outline, -1, axis=0), strict=True):
        length_m = float(np.linalg.norm(end - start))
        if length_m > 1.0:
            along = (end - start) / length_m
            yield start, along, np.array([-along[1], along[0]]), length_m


def within(outline: np.ndarray, block: Block) -> np.ndarray:
    """The part of a convex outline inside a block."""
    for start, _, inward, _ in edges(block):
        if len(outline) < 3:
            break
        outline = clip(outline, start, inward)
    return outline


def inside(points: np.ndarray, block: Block) -> np.ndarray:
    inside = np.ones(len(points), bool)
    for start, _, inward, _ in edges(block):
        inside &= (points - start) @ inward > 0
    return inside


def random_points(rng: np.random.Generator, block: Block, count: int) -> np.ndarray:
    weights = rng.dirichlet(np.ones(len(block.outline)), count)
    return weights @ block.outline


def grid(
    block: Block, spacing_m: float, yaw_rad: float, across_m: float | None = None
) -> np.ndarray:
    """Points (N, 2) of a grid along `yaw_rad` inside the block."""
    across_m = across_m or spacing_m
    u = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
    v = np.array([-u[1], u[0]])
    local = (block.outline - block.middle) @ np.stack([u, v], axis=1)
    low, high = local.min(axis=0), local.max(axis=0)
    a = np.arange(low[0] + spacing_m / 2, high[0], spacing_m)
    b = np.arange(low[1] + across_m / 2, high[1], across_m)
    points = block.middle + a[:, None, None] * u + b[None, :, None] * v
    points = points.reshape(-1, 2)
    return points[inside(points, block)]
