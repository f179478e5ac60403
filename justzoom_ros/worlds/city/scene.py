"""The city as arrays that the ray caster reads: three kinds of solids, roads, a ground raster.

All positions are metres east, north and up of the middle of the square; the ground is flat.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from justzoom_ros.worlds.aliases import Color

BOX, CONE, BALL = range(3)
"""Solids. A BOX is turned about the vertical and cut by up to five roof planes: no point of it is
above `top`, nor above `eave + kx * (a - |x|)`, nor above `eave + ky * (b - |y|)`, so that one
formula gives flat, gabled, hipped and mansard roofs, spires and windscreens. A CONE stands upright
with radius `a` at its foot and `b` at its top. A BALL has radii `a` (level) and `b` (upright) and
its middle at `base`."""

X, Y, BASE, COS, SIN, A, B, EAVE, KX, KY, TOP = range(11)
"""Columns of `Scene.shape`. A KX or KY of 0 means that there is no such plane."""

(PLAIN, BUILDING, GLASS, CAR, CABIN, LEAF, BARK, STRIPES, TRUCK, LAMP, SIGN, HEDGE, ROOFTOP) = (
    range(13)
)
"""Materials: column 0 of `Scene.look`; column 1 is a seed."""

STOREY_M, BAY_M, WIDE, HIGH, GROUND_FLOOR, TEXTURE, BALCONY, FLAT_KIND = range(8)
"""Columns of `Scene.style`: how facades are divided (WIDE and HIGH are shares of a bay and a
storey that are window), what is at street level, the wall's texture, roof finish."""

NO_SHOP, SHOP = range(2)
PLASTER, BRICK, PANELS, RIBBON = range(4)

R_X, R_Y, R_COS, R_SIN, R_LENGTH, R_HALF, R_FOOTWAY, R_KIND, R_FROM, R_TO, R_TONE = range(11)
"""Columns of `Scene.roads`: start, direction, length, half width of the carriageway, width of a
footway, kind, where the markings begin and end along it, tone of the asphalt."""

STREET, AVENUE, CANAL, LANE = range(4)

(
    GRASS, GARDEN, PAVED, PLAZA, PARKING, GRAVEL, WATER, PITCH, TRACK, CONCRETE, DRIVE, MEADOW,
    SAND, LINE,
) = range(14)  # fmt: skip
"""Classes of the ground raster, what lies between the roads."""

CELL_M = 8.0
GROUND_M = 0.25
SHADE_M = 1.0


class Scene(NamedTuple):
    """What a kernel needs of a city on one day. N solids, R roads, C x C cells."""

    shape: np.ndarray  # (N, 11) float32
    kind: np.ndarray  # (N,) uint8
    look: np.ndarray  # (N, 2) int32
    style: np.ndarray  # (N, 8) float32
    rgb: np.ndarray  # (N, 9) float32, linear: walls, roof, trim
    cell_start: np.ndarray  # (C * C + 1,) int32 into cell_item
    cell_item: np.ndarray  # int32 numbers of solids
    cell_top: np.ndarray  # (C, C) float32, the highest point
    coarse_top: np.ndarray  # the same for squares of 8 x 8 cells
    roads: np.ndarray  # (R, 11) float32
    road_start: np.ndarray  # (C * C + 1,) int32 into road_item
    road_item: np.ndarray  # int32 numbers of roads
    ground: np.ndarray  # (G, G) uint8, row 0 south, GROUND_M a pixel
    openness: np.ndarray  # (S, S) uint8, share of the sky seen from the ground, SHADE_M a pixel
    noise: np.ndarray  # (256, 256) float32, 0..1, repeating
    half_m: float  # half the side of the square of cells


def linear(rgb: Color) -> np.ndarray:
    """sRGB 0..255 to linear 0..1."""
    return (np.asarray(rgb, float) / 255.0) ** 2.2


class Solids:
    """A growing list of solids; `table` makes the arrays of a Scene."""

    def __init__(self) -> None:
        self.shapes: list[tuple[float, ...]] = []
        self.kinds: list[int] = []
        self.looks: list[tuple[int, int]] = []
        self.styles: list[list[float]] = []
        self.colors: list[list[float]] = []

    def __len__(self) -> int:
        return len(self.kinds)

    def box(
        self,
        east_m: float,
        north_m: float,
        yaw_rad: float,
        length_m: float,
        width_m: float,
        eave_m: float,
        material: int,
        walls: Color,
        roof: Color | None = None,
        trim: Color | None = None,
        base_m: float = 0.0,
        kx: float = 0.0,
        ky: float = 0.0,
        top_m: float | None = None,
        style: Sequence[float] = (),
        seed: int = 0,
    ) -> None:
        """An upright box, `length_m` along `yaw_rad`; colours are sRGB 0..255."""
        top_m = eave_m if top_m is None else top_m
        self.shapes.append((
            east_m, north_m, base_m, np.cos(yaw_rad), np.sin(yaw_rad), length_m / 2, width_m / 2,
            eave_m, kx, ky, top_m,
        ))  # fmt: skip
        self._finish(BOX, material, walls, roof, trim, style, seed)

    def cone(
        self,
        east_m: float,
        north_m: float,
        base_m: float,
        top_m: float,
        foot_m: float,
        head_m: float,
        material: int,
        walls: Color,
        seed: int = 0,
    ) -> None:
        """An upright cone or post with radii `foot_m` and `head_m`."""
        shape = (east_m, north_m, base_m, 1.0, 0.0, foot_m, head_m, top_m, 0.0, 0.0, top_m)
        self.shapes.append(shape)
        self._finish(CONE, material, walls, None, None, (), seed)

    def ball(
        self,
        east_m: float,
        north_m: float,
        up_m: float,
        radius_m: float,
        tall_m: float,
        material: int,
        walls: Color,
        seed: int = 0,
    ) -> None:
        """An ellipsoid, `tall_m` half its height."""
        top_m = up_m + tall_m
        shape = (east_m, north_m, up_m, 1.0, 0.0, radius_m, tall_m, top_m, 0.0, 0.0, top_m)
        self.shapes.append(shape)
        self._finish(BALL, material, walls, None, None, (), seed)

    def _finish(self, kind, material, walls, roof, trim, style, seed):
        self.kinds.append(kind)
        self.looks.append((material, seed))
        self.styles.append([*style, *(0.0,) * (8 - len(style))])
        self.colors.append([*walls, *(walls if roof is None else roof),
                            *(walls if trim is None else trim)])  # fmt: skip

    def table(self) -> tuple[np.ndarray, ...]:
        """(shape, kind, look, style, rgb) as in a Scene."""
        return (
            np.array(self.shapes, np.float32).reshape(-1, 11),
            np.array(self.kinds, np.uint8),
            np.array(self.looks, np.int32).reshape(-1, 2),
            np.array(self.styles, np.float32).reshape(-1, 8),
            linear(np.array(self.colors).reshape(-1, 9)).astype(np.float32),
        )


def outline_bounds(shape: np.ndarray) -> np.ndarray:
    """Bounds (N, 4) of solids seen from above: west, south, east, north."""
    turned = np.abs(shape[:, COS]) * shape[:, A] + np.abs(shape[:, SIN]) * shape[:, B]
    across = np.abs(shape[:, SIN]) * shape[:, A] + np.abs(shape[:, COS]) * shape[:, B]
    return np.stack([
        shape[:, X] - turned, shape[:, Y] - across, shape[:, X] + turned, shape[:, Y] + across,
    ], axis=1)  # fmt: skip


def bin_boxes(bounds: np.ndarray, half_m: float, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Sort boxes (N, 4) into square cells: (start (cells**2 + 1,), item) int32 arrays; cell
    (row from the south, column from the west) has number row * cells + column."""
    low = np.clip(np.floor((bounds[:, :2] + half_m) / CELL_M), 0, cells - 1).astype(np.int64)
    high = np.clip(np.floor((bounds[:, 2:] + half_m) / CELL_M), 0, cells - 1).astype(np.int64)
    columns, rows = (high - low + 1).T
    count = rows * columns
    item = np.repeat(np.arange(len(bounds)), count)
    rank = np.arange(len(item)) - np.repeat(np.cumsum(count) - count, count)
    row = low[item, 1] + rank // columns[item]
    cell = row * cells + low[item, 0] + rank % columns[item]
    order = np.argsort(cell, kind='stable')
    start = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=cells**2))])
    return start.astype(np.int32), item[order].astype(np.int32)


def index_solids(shape: np.ndarray, kind: np.ndarray, half_m: float) -> tuple[np.ndarray, ...]:
    """(cell_start, cell_item, cell_top, coarse_top) of a Scene."""
    cells = int(2 * half_m / CELL_M)
    bounds = outline_bounds(shape)
    round_ones = kind != BOX
    # A round solid is as wide at its widest radius in every direction.
    radius = np.where(kind == CONE, np.maximum(shape[:, A], shape[:, B]), shape[:, A])
    middle = shape[:, [X, Y, X, Y]]
    spread = radius[:, None] * np.array([-1, -1, 1, 1])
    bounds = np.where(round_ones[:, None], middle + spread, bounds)
    start, item = bin_boxes(bounds, half_m, cells)
    top = np.zeros(cells * cells, np.float32)
    cell = np.repeat(np.arange(cells * cells), np.diff(start))
    np.maximum.at(top, cell, shape[item, TOP])
    grid = top.reshape(cells, cells)
    coarse = grid.reshape(cells // 8, 8, cells // 8, 8).max(axis=(1, 3))
    return start, item, grid, coarse


def noise_tile(seed: int) -> np.ndarray:
    """Smooth-looking random values 0..1 (256, 256) float32."""
    return np.random.default_rng([seed, 77]).random((256, 256)).astype(np.float32)
