"""Pieces that blocks are filled with: buildings, trees, lawns, hedges, lamps."""

from collections.abc import Sequence

import cv2
import numpy as np

from justzoom_ros.worlds.aliases import Colors, Points
from justzoom_ros.worlds.city import palette
from justzoom_ros.worlds.city.scene import (
    BARK,
    BRICK,
    BUILDING,
    GRASS,
    GROUND_M,
    HEDGE,
    LAMP,
    LEAF,
    NO_SHOP,
    PANELS,
    PLAIN,
    PLASTER,
    RIBBON,
    ROOFTOP,
    SHOP,
    SIGN,
    Solids,
)  # fmt: skip
from justzoom_ros.worlds.town.geometry import Ground, rectangle


class Builder:
    """Puts solids into `solids` and paints the raster `ground`, where the land is free."""

    def __init__(self, rng: np.random.Generator, half_m: float) -> None:
        self.rng, self.half_m = rng, half_m
        self.solids = Solids()
        self.free = Ground(2 * half_m)
        self.ground = np.full((int(2 * half_m / GROUND_M),) * 2, GRASS, np.uint8)

    # --- ground ------------------------------------------------------------------------------

    def paint(self, outline: np.ndarray, kind: int) -> None:
        """Fill a polygon (N, 2) of the ground with a class."""
        pixels = (np.asarray(outline) + self.half_m) / GROUND_M - 0.5
        cv2.fillPoly(self.ground, [np.round(pixels * 16).astype(np.int32)], int(kind), 8, 4)

    def path(self, points: Points, width_m: float, kind: int) -> None:
        pixels = (np.asarray(points) + self.half_m) / GROUND_M - 0.5
        thickness = max(1, round(width_m / GROUND_M))
        line = [np.round(pixels * 16).astype(np.int32)]
        cv2.polylines(self.ground, line, False, int(kind), thickness, 8, 4)

    # --- plants ------------------------------------------------------------------------------

    def tree(
        self, point: np.ndarray, radius_m: float | None = None, conifer: bool = False
    ) -> None:
        """A trunk with a crown of some overlapping balls, or a fir, `radius_m` wide."""
        rng = self.rng
        radius_m = radius_m or rng.uniform(1.8, 3.6)
        if not self.free.is_free_at(np.array([point]))[0]:
            return
        seed = int(rng.integers(1, 2**20))
        if conifer:
            needles = palette.CONIFERS[seed % 3]
            tall_m = radius_m * rng.uniform(3.2, 4.4)
            self.solids.cone(*point, 0.0, 1.4, 0.2, 0.18, BARK, (88, 70, 56), seed)
            for k in range(3):
                foot, low = radius_m * (1 - 0.27 * k), 0.9 + 0.26 * k * tall_m
                high = low + tall_m * (0.48 - 0.04 * k)
                self.solids.cone(*point, low, high, foot, 0.05, HEDGE, needles, seed)
            return
        tone = rng.uniform(0.85, 1.15)
        color = np.clip(np.array(palette.LEAVES[seed % 5]) * tone, 0, 255)
        autumn = palette.AUTUMN[seed // 7 % 5]
        trunk_m = rng.uniform(1.9, 2.9) + 0.25 * radius_m
        self.solids.cone(*point, 0.0, trunk_m + 0.9 * radius_m, 0.055 * radius_m + 0.06, 0.05,
                         BARK, (92, 80, 66), seed)  # fmt: skip
        lobes = 4 if radius_m > 2.2 else 3
        turn = rng.uniform(0, 2 * np.pi)
        for k in range(lobes):
            angle = turn + 2 * np.pi * k / (lobes - 1)
            out = 0.0 if k == 0 else 0.48 * radius_m
            size = radius_m * (0.72 if k == 0 else rng.uniform(0.5, 0.64))
            up_m = trunk_m + (1.05 if k == 0 else rng.uniform(0.35, 0.8)) * radius_m
            x, y = point[0] + out * np.cos(angle), point[1] + out * np.sin(angle)
            self.solids.ball(x, y, up_m, size, 0.85 * size, LEAF, color, seed)
            self.solids.colors[-1][3:6] = autumn

    def hedge(self, start: np.ndarray, end: np.ndarray, height_m: float = 1.5) -> None:
        start, end = np.asarray(start), np.asarray(end)
        middle, edge = (start + end) / 2, end - start
        outline = rectangle(*middle, np.arctan2(edge[1], edge[0]), np.linalg.norm(edge), 0.8)
        if np.linalg.norm(edge) > 1.5 and self.free.is_free(outline):
            yaw_rad = float(np.arctan2(edge[1], edge[0]))
            self.solids.box(*middle, yaw_rad, np.linalg.norm(edge), 0.8, height_m, HEDGE,
                            palette.LEAVES[int(self.rng.integers(5))])  # fmt: skip

    # --- buildings ---------------------------------------------------------------------------

    def style(self, kind: str, storey_m: float | None = None) -> tuple[float, ...]:
        """One row of `Scene.style` for a kind of building."""
        rng = self.rng
        storey_m = storey_m or rng.uniform(2.7, 3.4)
        texture, shop, balcony = PLASTER, NO_SHOP, 0.0
        if kind in ('core', 'shops'):
            shop = SHOP if rng.random() < 0.7 else NO_SHOP
            texture = BRICK if rng.random() < 0.35 else PLASTER
            balcony = rng.choice([0.0, 0.0, 0.4, 0.9])
        elif kind == 'slabs':
            texture, balcony = PANELS, rng.choice([0.0, 0.5, 1.0])
        elif kind == 'offices':
            texture = rng.choice([RIBBON, PANELS])
        else:
            texture = BRICK if rng.random() < 0.5 else PLASTER
        bay_m = rng.uniform(1.9, 3.8)
        wide, high = rng.uniform(0.32, 0.62), rng.uniform(0.42, 0.58)
        return (storey_m, bay_m, wide, high, shop, texture, balcony, float(rng.random() < 0.5))

    def colors(self, palette_: Sequence[Colors]) -> Colors:
        """(walls, roof, trim) of a palette, with this building's own tone."""
        rng = self.rng
        row = palette_[int(rng.integers(len(palette_)))]
        tone = rng.uniform(0.86, 1.1) + rng.normal(0, 0.025, 3)
        return [tuple(np.clip(np.array(color) * tone, 8, 250)) for color in row]

    def building(
        self,
        middle: np.ndarray,
        yaw_rad: float,
        length_m: float,
        width_m: float,
        storeys: int,
        kind: str,
        roof: str = 'flat',
        colors: Colors | None = None,
        gap_m: float = 0.0,
        material: int = BUILDING,
        style: Sequence[float] | None = None,
    ) -> float | None:
        """Put up a building where there is room, `gap_m` round it; its eaves' height, or None.

        `roof` is flat, gable, hip or mansard, the ridge along `yaw_rad`.
        """
        outline = rectangle(*middle, yaw_rad, length_m + 2 * gap_m, width_m + 2 * gap_m)
        if min(length_m, width_m) < 3 or not self.free.is_free(outline):
            return None
        rng = self.rng
        style = style or self.style(kind)
        eave_m = storeys * style[0] + (3.6 if style[4] == SHOP else 0.35)
        colors = colors or self.colors(palette.FLAT if roof == 'flat' else palette.PITCHED)
        kx = ky = 0.0
        top_m = eave_m
        if roof in ('gable', 'hip'):
            ky = rng.uniform(0.55, 0.95)
            kx = ky if roof == 'hip' else 0.0
            top_m = eave_m + ky * width_m / 2
        elif roof == 'mansard':
            kx = ky = 2.2
            top_m = eave_m + 2.6
        seed = int(rng.integers(1, 2**24))
        self.solids.box(*middle, yaw_rad, length_m, width_m, eave_m, material, *colors, kx=kx,
                        ky=ky, top_m=top_m, style=style, seed=seed)  # fmt: skip
        self.on_roof(middle, yaw_rad, length_m, width_m, top_m, roof, ky)
        self.free.take(rectangle(*middle, yaw_rad, length_m, width_m))
        return top_m

    def on_roof(
        self,
        middle: np.ndarray,
        yaw_rad: float,
        length_m: float,
        width_m: float,
        top_m: float,
        roof: str,
        ky: float,
    ) -> None:
        """Chimneys on tiles, machines and stair heads on flat roofs."""
        rng = self.rng
        u = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
        v = np.array([-u[1], u[0]])
        if roof in ('gable', 'hip'):
            for _ in range(int(rng.integers(1, 3))):
                x, y = rng.uniform(-0.3, 0.3) * length_m, rng.uniform(-0.25, 0.25) * width_m
                place = np.asarray(middle) + x * u + y * v
                base = top_m - ky * abs(y) - 1.0
                self.solids.box(*place, yaw_rad, 0.9, 0.7, base + 2.0, PLAIN, (140, 84, 66),
                                base_m=base)  # fmt: skip
            return
        for _ in range(int(rng.integers(1, 2 + int(min(5, length_m * width_m // 90))))):
            x, y = rng.uniform(-0.36, 0.36) * length_m, rng.uniform(-0.33, 0.33) * width_m
            size = rng.uniform(1.2, min(4.0, 0.3 * width_m + 1.2), 2)
            tone = rng.uniform(110, 200)
            place = np.asarray(middle) + x * u + y * v
            self.solids.box(*place, yaw_rad, *size, top_m + rng.uniform(0.8, 2.4), ROOFTOP,
                            (tone, tone, tone * 0.98), base_m=top_m - 0.1)  # fmt: skip

    # --- street furniture --------------------------------------------------------------------

    def lamp(self, point: np.ndarray, toward_rad: float, height_m: float = 7.0) -> None:
        """A street lamp whose arm points to `toward_rad`."""
        x, y = point
        self.solids.cone(x, y, 0.0, height_m, 0.10, 0.06, PLAIN, (96, 100, 104))
        arm = np.array([np.cos(toward_rad), np.sin(toward_rad)])
        self.solids.box(*(point + 0.8 * arm), toward_rad, 1.7, 0.09, height_m + 0.05, PLAIN,
                        (96, 100, 104), base_m=height_m - 0.08)  # fmt: skip
        self.solids.box(*(point + 1.5 * arm), toward_rad, 0.7, 0.3, height_m + 0.02, LAMP,
                        (200, 200, 196), base_m=height_m - 0.1)  # fmt: skip

    def sign(self, point: np.ndarray, yaw_rad: float) -> None:
        """A traffic sign or a bus stop's flag on a post."""
        rng = self.rng
        self.solids.cone(*point, 0.0, 2.9, 0.04, 0.04, PLAIN, (150, 152, 154))
        color = ((30, 70, 160), (190, 30, 30), (224, 190, 40), (30, 110, 70))[int(rng.integers(4))]
        size = rng.uniform(0.5, 0.75)
        self.solids.box(*point, yaw_rad, 0.05, size, 2.95, SIGN, color, base_m=2.95 - size)

    def bollard(self, point: np.ndarray) -> None:
        self.solids.cone(*point, 0.0, 0.95, 0.09, 0.08, PLAIN, (70, 72, 74))

    def bench(self, point: np.ndarray, yaw_rad: float) -> None:
        self.solids.box(*point, yaw_rad, 1.7, 0.45, 0.47, PLAIN, (120, 84, 52), base_m=0.38)
        across = np.array([-np.sin(yaw_rad), np.cos(yaw_rad)])
        self.solids.box(*(np.asarray(point) + 0.2 * across), yaw_rad, 1.7, 0.06, 0.9, PLAIN,
                        (120, 84, 52), base_m=0.5)  # fmt: skip
