"""The plan of an invented small town: what stands where, without light or season.

A square is cut again and again by straight lines; the cuts become roads, the pieces blocks. Then
everything is bent by one smooth displacement, so that roads curve and blocks follow them. What
fills a block is up to `landscape_lots`. All positions are metres east and north of the middle.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

TOWN_SHARE = 0.34
"""Radius of the built-up part as a share of the side."""

ROAD_WIDTH_M = {'arterial': 10.0, 'street': 6.6, 'lane': 4.6, 'track': 2.6, 'hedge': 0.0}
FOOTWAY_M = {'arterial': 2.4, 'street': 1.7}


@dataclass(frozen=True)
class Road:
    """A strip of one `kind` along `path` (N, 2), `width_m` wide; `tone` 0..1 varies its colour."""

    path: np.ndarray
    width_m: float
    kind: str
    tone: float = 0.5


@dataclass(frozen=True)
class Area:
    """A polygon `outline` (N, 2) put to one `use`; `yaw_rad` is the direction of its rows and
    `tint` (0..1) chooses among the colours of the use."""

    outline: np.ndarray
    use: str
    yaw_rad: float = 0.0
    tint: float = 0.5


@dataclass(frozen=True)
class Building:
    """A block with its middle at `east_m`, `north_m`, its ridge along `yaw_rad`."""

    east_m: float
    north_m: float
    yaw_rad: float
    length_m: float
    width_m: float
    roof: str
    eave_m: float
    rise_m: float
    rgb: tuple[float, float, float]


@dataclass(frozen=True)
class Tree:
    """A crown; `kind` is broadleaf, conifer, fruit or bush, `tint` (0..1) its own shade."""

    east_m: float
    north_m: float
    radius_m: float
    height_m: float
    kind: str
    tint: float


@dataclass
class Plan:
    """Everything that stays where it is. `slots` are places (east, north, yaw) for cars."""

    side_m: float
    areas: list[Area] = field(default_factory=list)
    roads: list[Road] = field(default_factory=list)
    water: list[Road] = field(default_factory=list)
    rails: list[Road] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    slots: list[tuple[float, float, float]] = field(default_factory=list)
    lines: list[Road] = field(default_factory=list)
    rings: list[tuple[float, float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Block:
    """A convex piece of the cut square, `outline` (N, 2) not yet bent, counter-clockwise."""

    outline: np.ndarray

    @property
    def middle(self):
        return self.outline.mean(axis=0)

    @property
    def area_m2(self):
        x, y = self.outline.T
        return 0.5 * float(np.abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)))

    @property
    def long_yaw_rad(self):
        """Direction of the longest edge."""
        edges = np.roll(self.outline, -1, axis=0) - self.outline
        dx, dy = edges[np.argmax((edges**2).sum(axis=1))]
        return float(np.arctan2(dy, dx))

    def inset(self, distance_m):
        """The block without a border of `distance_m`; None where nothing is left."""
        outline = self.outline
        for start, end in zip(self.outline, np.roll(self.outline, -1, axis=0), strict=True):
            along = (end - start) / max(np.linalg.norm(end - start), 1e-9)
            inward = np.array([-along[1], along[0]])
            outline = clip(outline, start + inward * distance_m, inward)
            if len(outline) < 3:
                return None
        return Block(outline)


def clip(outline, point, normal):
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

    def __init__(self, rng):
        heading = rng.uniform(0, 2 * np.pi, 5)
        length_m = rng.uniform(230, 520, 5)
        waves = np.stack([np.cos(heading), np.sin(heading)]) * (2 * np.pi / length_m)
        self._waves, self._phase = waves, rng.uniform(0, 2 * np.pi, 5)
        push = rng.normal(size=(5, 2))
        push /= np.linalg.norm(push, axis=1, keepdims=True)
        self._push = push * (length_m / 55)[:, None]

    def __call__(self, points):
        """Bent positions of `points` (N, 2)."""
        points = np.asarray(points, float)
        return points + np.sin(points @ self._waves + self._phase) @ self._push

    def pose(self, point, yaw_rad):
        """Bent position (east, north) and direction of something at `point`."""
        ahead = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
        here, there = self(np.array([point, point + ahead]))
        return here[0], here[1], float(np.arctan2(*(there - here)[::-1]))

    def path(self, points, closed=False):
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

    def __init__(self, side_m):
        self._half_m, self._per_m = side_m / 2, 2
        self._taken = np.zeros((int(side_m * 2) + 1,) * 2, np.uint8)

    def _pixels(self, points):
        return np.round((np.asarray(points) + self._half_m) * self._per_m).astype(np.int32)

    def take_road(self, path, width_m):
        thickness = max(int(width_m * self._per_m), 1)
        cv2.polylines(self._taken, [self._pixels(path)], False, 1, thickness)

    def take(self, outline):
        cv2.fillPoly(self._taken, [self._pixels(outline)], 1)

    def is_free(self, outline):
        """True where nothing lies on the polygon, which must be within the square."""
        pixels = self._pixels(outline)
        low, high = pixels.min(axis=0), pixels.max(axis=0) + 1
        if low.min() < 0 or high.max() > len(self._taken):
            return False
        window = self._taken[low[1] : high[1], low[0] : high[0]]
        stencil = np.zeros_like(window)
        cv2.fillPoly(stencil, [pixels - low.astype(np.int32)], 1)
        return not (window & stencil).any()

    def is_free_at(self, points):
        """Bool (N,) for points (N, 2); False outside the square."""
        column, row = self._pixels(points).T
        inside = (np.minimum(column, row) >= 0) & (np.maximum(column, row) < len(self._taken))
        last = len(self._taken) - 1
        return inside & (self._taken[row.clip(0, last), column.clip(0, last)] == 0)


def rectangle(east_m, north_m, yaw_rad, length_m, width_m):
    """Corners (4, 2) of a turned rectangle, counter-clockwise."""
    u = np.array([np.cos(yaw_rad), np.sin(yaw_rad)]) * length_m / 2
    v = np.array([-np.sin(yaw_rad), np.cos(yaw_rad)]) * width_m / 2
    return np.array([east_m, north_m]) + np.array([-u - v, u - v, u + v, v - u])


def cut_blocks(rng, side_m, town_middle, town_radius_m):
    """Cut the square into blocks.

    Returns the blocks and the cuts, each as (kind, start, end): 'arterial', 'street', 'lane',
    'track' or 'hedge', the earlier cuts being the greater roads.
    """
    half = side_m / 2 * 1.12
    pending = [(Block(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half), 0)]
    blocks, cuts = [], []
    while pending:
        block, level = pending.pop()
        nearness = np.linalg.norm(block.middle - town_middle) / town_radius_m
        wanted_m2 = np.interp(nearness, [0.3, 1.0, 1.3], [4300, 6200, 13500])
        if block.area_m2 < wanted_m2 * rng.uniform(0.85, 1.5):
            blocks.append(block)
            continue
        yaw_rad = block.long_yaw_rad + np.pi / 2 + rng.normal(0, 0.10)
        point = block.middle + rng.normal(0, 0.05, 2) * np.sqrt(block.area_m2)
        normal = np.array([-np.sin(yaw_rad), np.cos(yaw_rad)])
        parts = [clip(block.outline, point, sign * normal) for sign in (1, -1)]
        if min(len(part) for part in parts) < 3:
            blocks.append(block)
            continue
        shared = parts[0][np.abs((parts[0] - point) @ normal) < 1e-6]
        cuts.append((_cut_kind(rng, level, nearness), shared[0], shared[-1]))
        pending += [(Block(part), level + 1) for part in parts]
    return blocks, cuts


def _cut_kind(rng, level, nearness):
    if level < 2:
        return 'arterial'
    if nearness < 1.05:
        return 'street'
    if level == 2:
        return 'lane'
    return str(rng.choice(['lane', 'track', 'hedge'], p=[0.25, 0.4, 0.35]))
