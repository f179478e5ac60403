"""The pieces that blocks are filled with: areas, buildings, car parks, trees, hedges."""

import numpy as np

from justzoom_ros.worlds.aliases import Color, Points
from justzoom_ros.worlds.town.geometry import Bend, Block, Ground, grid, rectangle
from justzoom_ros.worlds.town.plan import Area, Building, Plan, Road, Tree

ROOFS_RGB = (
    (150, 78, 58), (168, 92, 66), (128, 66, 52), (104, 72, 62), (98, 98, 102),
    (78, 80, 88), (122, 116, 112), (142, 104, 78), (176, 112, 84), (88, 62, 54),
)  # fmt: skip
FLAT_RGB = (
    (176, 174, 170), (150, 150, 152), (122, 122, 126), (196, 194, 190),
    (108, 112, 104), (140, 128, 116), (92, 94, 100), (208, 208, 206),
)  # fmt: skip


class Lots:
    """Puts pieces into a `Plan`, `out`, where the ground is free. Positions are given as they
    are before the bending, unless a name says `bent`."""

    def __init__(self, seed: int, side_m: float) -> None:
        self.rng = np.random.default_rng([seed, 1])
        self.bend = Bend(np.random.default_rng([seed, 2]))
        self.ground = Ground(side_m * 1.3)
        self.out = Plan(side_m)

    def area(
        self, outline: np.ndarray, use: str, yaw_rad: float = 0.0, take: bool = False
    ) -> None:
        bent = self.bend.path(outline, closed=True)
        yaw_rad = self.bend.pose(outline.mean(axis=0), yaw_rad)[2]
        self.out.areas.append(Area(bent, use, yaw_rad, float(self.rng.uniform())))
        if take:
            self.ground.take(bent)

    def fill(self, block: Block | None, use: str, yaw_rad: float = 0.0) -> None:
        """Put what is left of a block to one use."""
        if block is not None:
            self.area(block.outline, use, yaw_rad)

    def patch(
        self, middle: np.ndarray, yaw_rad: float, length_m: float, width_m: float, use: str
    ) -> None:
        """A small turned rectangle of ground, where there is room for it."""
        east, north, yaw_rad = self.bend.pose(middle, yaw_rad)
        outline = rectangle(east, north, yaw_rad, length_m, width_m)
        if self.ground.is_free(outline):
            self.out.areas.append(Area(outline, use, yaw_rad, float(self.rng.uniform())))
            if use in ('pool', 'rubber', 'beds'):
                self.ground.take(outline)

    def blob(self, middle: np.ndarray, radius_m: float) -> np.ndarray:
        """A round outline with bays, not yet bent."""
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        bays = (self.rng.normal(0, 0.16 / k) * np.sin(k * turn + k) for k in (2, 3, 5))
        waves = sum(bays, start=np.zeros_like(turn))
        ring = np.stack([np.cos(turn), 0.8 * np.sin(turn)], axis=1)
        return middle + radius_m * (1 + waves)[:, None] * ring

    def road(self, points: Points, width_m: float, kind: str) -> None:
        path = self.bend.path(points)
        self.ground.take_road(path, width_m)
        self.out.roads.append(Road(path, width_m, kind, float(self.rng.uniform())))

    def build(
        self,
        middle: np.ndarray,
        yaw_rad: float,
        length_m: float,
        width_m: float,
        roof: str,
        rgb: Color | None = None,
        eave_m: float | None = None,
        gap_m: float = 1.2,
        check: bool = True,
    ) -> bool:
        """Put up a building if it has room, `gap_m` round it; True if so."""
        east, north, yaw_rad = self.bend.pose(middle, yaw_rad)
        if width_m > length_m:
            length_m, width_m, yaw_rad = width_m, length_m, yaw_rad + np.pi / 2
        room = rectangle(east, north, yaw_rad, length_m + 2 * gap_m, width_m + 2 * gap_m)
        if check and not self.ground.is_free(room):
            return False
        self.ground.take(rectangle(east, north, yaw_rad, length_m, width_m))
        palette = FLAT_RGB if roof == 'flat' else ROOFS_RGB
        rgb = palette[int(self.rng.integers(len(palette)))] if rgb is None else rgb
        eave_m = float(self.rng.uniform(3.5, 6.0)) if eave_m is None else eave_m
        rise_m = 0.0 if roof == 'flat' else width_m * float(self.rng.uniform(0.28, 0.42))
        self.out.buildings.append(
            Building(east, north, yaw_rad, length_m, width_m, roof, eave_m, rise_m, rgb)
        )
        return True

    def slot(self, point: np.ndarray, yaw_rad: float) -> None:
        self.out.slots.append(self.bend.pose(point, yaw_rad))

    def car_park(self, inner: Block | None, share: float) -> None:
        """Rows of slots wherever there is room for pairs of rows with a lane between."""
        if inner is None:
            return
        yaw_rad = inner.long_yaw_rad
        u = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
        v = np.array([-u[1], u[0]])
        for point in grid(inner, 2.6, yaw_rad, 8.2):
            east, north, bent_rad = self.bend.pose(point, yaw_rad + np.pi / 2)
            place = rectangle(east, north, bent_rad, 6.5, 2.6)
            if self.rng.random() > share or not self.ground.is_free(place):
                continue
            self.out.slots.append((east, north, bent_rad))
            for side in (-1.3, 1.3):
                ends = self.bend(point + u * side + v * np.array([[-2.5], [2.5]]))
                self.out.lines.append(Road(ends, 0.15, 'line'))

    def plant(
        self,
        block: Block | None,
        spacing_m: float,
        share: float,
        radii_m: tuple[float, float],
        kind: str,
        regular: bool = False,
    ) -> None:
        """Trees about every `spacing_m`, a `share` of them grown, where the ground is free."""
        if block is None:
            return
        points = grid(block, spacing_m, block.long_yaw_rad)
        if not regular:
            points = points + self.rng.uniform(-0.48, 0.48, points.shape) * spacing_m
        points = points[self.rng.random(len(points)) < share]
        if len(points):
            bent = self.bend(points)
            self.trees(bent[self.ground.is_free_at(bent)], radii_m, kind)

    def trees(self, points: np.ndarray, radii_m: tuple[float, float], kind: str) -> None:
        slender = {'conifer': 4.2, 'broadleaf': 2.5, 'fruit': 2.0, 'bush': 1.3}[kind]
        for east, north in points:
            radius_m = float(self.rng.uniform(*radii_m))
            height_m = radius_m * slender * float(self.rng.uniform(0.8, 1.2))
            tint = float(self.rng.uniform())
            self.out.trees.append(Tree(float(east), float(north), radius_m, height_m, kind, tint))

    def hedge(self, path: np.ndarray) -> None:
        along = np.linspace(0, len(path) - 1, max(int(len(path) * 2.2), 2))
        points = np.stack([np.interp(along, np.arange(len(path)), c) for c in path.T], axis=1)
        points = points + self.rng.normal(0, 0.25, points.shape)
        points = points[self.rng.random(len(points)) < self.rng.uniform(0.5, 1.0)]
        self.trees(points[self.ground.is_free_at(points)], (0.8, 1.5), 'bush')
