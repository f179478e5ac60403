"""How a block of each use is filled."""

from collections.abc import Iterator

import numpy as np

from justzoom_ros.worlds.aliases import Place
from justzoom_ros.worlds.city import palette
from justzoom_ros.worlds.city.builder import Builder
from justzoom_ros.worlds.city.scene import (
    BUILDING,
    CONCRETE,
    DRIVE,
    GARDEN,
    GLASS,
    GRASS,
    GRAVEL,
    LINE,
    PARKING,
    PAVED,
    PITCH,
    PLAIN,
    PLAZA,
    SAND,
    TRACK,
    WATER,
)  # fmt: skip
from justzoom_ros.worlds.town.geometry import Block, edges, grid, inside, random_points, rectangle


class Blocks(Builder):
    """Fills plots, the blocks without their roads; one method per use."""

    def __init__(self, rng: np.random.Generator, half_m: float) -> None:
        super().__init__(rng, half_m)
        self.slots: list[Place] = []  # of car parks
        self.landmarks: list[tuple[str, float, float, float]] = []  # name, east, north, top_m

    def along(
        self, plot: Block, depth_m: float, width_range_m: tuple[float, float], gap_m: float = 0.0
    ) -> Iterator[tuple[np.ndarray, float, float]]:
        """Places for buildings along a plot's edges, set back by half of `depth_m`: yields
        (middle, yaw_rad, width_m), the yaw along the edge."""
        for start, ahead, inward, length_m in edges(plot):
            yaw_rad = float(np.arctan2(ahead[1], ahead[0]))
            at = gap_m
            while length_m - at > width_range_m[0] + gap_m:
                width_m = self.rng.uniform(*width_range_m)
                if length_m - at - width_m < width_range_m[0]:
                    width_m = min(length_m - at - gap_m, 1.6 * width_range_m[1])
                yield start + (at + width_m / 2) * ahead + depth_m / 2 * inward, yaw_rad, width_m
                at += width_m + gap_m

    # --- living and working ------------------------------------------------------------------

    def core(self, plot: Block) -> None:
        """Closed rows of tall houses round a courtyard."""
        rng = self.rng
        self.paint(plot.outline, PAVED)
        storeys, depth_m = int(rng.integers(3, 7)), rng.uniform(11, 14)
        for middle, yaw_rad, width_m in self.along(plot, depth_m, (11, 22)):
            roof = rng.choice(['flat', 'flat', 'gable', 'mansard'])
            floors = max(2, storeys + int(rng.integers(-1, 2)))
            self.building(middle, yaw_rad, width_m - 0.05, depth_m, floors, 'core', roof,
                          gap_m=-0.8)  # fmt: skip
        yard = plot.inset(depth_m + 3)
        if yard is not None:
            self.paint(yard.outline, rng.choice([GRASS, PAVED, GARDEN]))
            for point in random_points(rng, yard, int(yard.area_m2 // 110)):
                self.tree(point)

    def rows(self, plot: Block) -> None:
        """Terraces with narrow front gardens and long back ones."""
        rng = self.rng
        self.paint(plot.outline, GARDEN)
        front = plot.inset(2.5)
        if front is None:
            return
        depth_m, colors = rng.uniform(8.5, 10.5), None
        for k, (middle, yaw_rad, width_m) in enumerate(self.along(front, depth_m, (6, 8.5))):
            if k % 5 == 0:
                colors, style = self.colors(palette.PITCHED), self.style('rows')
                floors = int(rng.integers(2, 4))
            if k % 9 == 8:
                continue
            self.building(middle, yaw_rad, width_m - 0.02, depth_m, floors, 'rows', 'gable',
                          colors, gap_m=-0.8, style=style)  # fmt: skip
        yard = plot.inset(depth_m + 5)
        if yard is not None:
            for point in random_points(rng, yard, int(yard.area_m2 // 70)):
                self.tree(point, rng.uniform(1.2, 2.8), rng.random() < 0.15)

    def houses(self, plot: Block) -> None:
        """Detached houses with gardens, drives and hedges."""
        rng = self.rng
        self.paint(plot.outline, GARDEN)
        front = plot.inset(rng.uniform(4, 7))
        if front is None:
            return
        for middle, yaw_rad, width_m in self.along(front, 9.5, (13, 19), 1.0):
            u = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
            out = np.array([u[1], -u[0]])
            length_m = min(rng.uniform(8.5, 12.5), width_m - 3)
            roof = rng.choice(['gable', 'gable', 'hip'])
            turn = rng.choice([0.0, np.pi / 2]) if abs(length_m - 9) < 2 else 0.0
            storeys = int(rng.integers(1, 3))
            if self.building(middle, yaw_rad + turn, length_m, 8.5, storeys, 'houses', roof):
                drive = middle + (length_m / 2 + 1.6) * u + 4.5 * out
                self.paint(rectangle(*drive, yaw_rad, 2.9, 16), DRIVE)
                self.slots.append((*(drive + 1.0 * out), yaw_rad + np.pi / 2))
                walk = middle + 8 * out
                self.paint(rectangle(*walk, yaw_rad, 1.3, 9), PAVED)
        for start, ahead, inward, length_m in edges(plot):
            if rng.random() < 0.7:
                for at in np.arange(2, length_m - 12, 16):
                    a = start + at * ahead + 0.6 * inward
                    self.hedge(a, a + 9.5 * ahead, rng.uniform(0.9, 1.7))
        for point in random_points(rng, plot, int(plot.area_m2 // 90)):
            self.tree(point, rng.uniform(1.3, 3.4), rng.random() < 0.25)

    def slabs(self, plot: Block) -> None:
        """Tall slabs in a lawn with a car park."""
        rng = self.rng
        self.paint(plot.outline, GRASS)
        yaw_rad, storeys = plot.long_yaw_rad, int(rng.integers(6, 13))
        colors, style = self.colors(palette.FLAT), self.style('slabs', 2.8)
        for point in grid(plot, rng.uniform(50, 60), yaw_rad, 32):
            if self.fits(plot, point, yaw_rad, 42, 12.5):
                self.building(point, yaw_rad, 42, 12.5, storeys, 'slabs', 'flat', colors,
                              style=style)  # fmt: skip
                v = np.array([-np.sin(yaw_rad), np.cos(yaw_rad)])
                self.car_park(point + 14 * v, yaw_rad, 34, 1)
        for point in random_points(rng, plot, int(plot.area_m2 // 120)):
            self.tree(point)

    def offices(self, plot: Block) -> None:
        """Glass and concrete round a paved yard."""
        rng = self.rng
        self.paint(plot.outline, PLAZA)
        yaw_rad = plot.long_yaw_rad
        for point in grid(plot, 46, yaw_rad, 40):
            size = rng.uniform(22, 34, 2)
            if self.fits(plot, point, yaw_rad, *size):
                glass = rng.random() < 0.5
                colors = self.colors(palette.GLASS if glass else palette.FLAT)
                style = (3.6, 1.5, 0.9, 0.8, 0, 0, 0, 0) if glass else self.style('offices', 3.5)
                material = GLASS if glass else BUILDING
                self.building(point, yaw_rad, *size, int(rng.integers(5, 12)), 'offices', 'flat',
                              colors, material=material, style=style)  # fmt: skip
        for point in grid(plot, 11, yaw_rad):
            if rng.random() < 0.6:
                self.tree(point, rng.uniform(1.5, 2.4))
            else:
                self.bench(point, yaw_rad + rng.choice([0, np.pi / 2]))

    def works(self, plot: Block) -> None:
        """Halls in a yard of concrete."""
        rng = self.rng
        self.paint(plot.outline, CONCRETE)
        yaw_rad = plot.long_yaw_rad
        for point in grid(plot, 48, yaw_rad, 36):
            size = rng.uniform(24, 40), rng.uniform(16, 24)
            if self.fits(plot, point, yaw_rad, *size):
                style = (6.5, 6.0, 0.5, 0.25, 0, 2, 0, 1)
                self.building(point, yaw_rad, *size, 1, 'works', rng.choice(['flat', 'gable']),
                              self.colors(palette.HALLS), style=style)  # fmt: skip
        for point in random_points(rng, plot, int(plot.area_m2 // 300)):
            size = (12.2, 2.5)
            turn = yaw_rad + rng.choice([0, np.pi / 2])
            if self.free.is_free(rectangle(*point, turn, *size)):
                color = palette.TRUCKS[int(rng.integers(len(palette.TRUCKS)))]
                self.solids.box(*point, turn, *size, 2.6, PLAIN, color)
                self.free.take(rectangle(*point, turn, *size))

    def mall(self, plot: Block) -> None:
        """A great flat shed and its car park."""
        self.paint(plot.outline, PARKING)
        yaw_rad = plot.long_yaw_rad
        v = np.array([-np.sin(yaw_rad), np.cos(yaw_rad)])
        side = np.sqrt(plot.area_m2)
        middle = plot.middle + 0.16 * side * v
        size = (0.62 * side, 0.36 * side)
        self.building(middle, yaw_rad, *size, 2, 'shops', 'flat', self.colors(palette.HALLS),
                      style=(3.4, 5.0, 0.8, 0.5, 1, 2, 0, 1))  # fmt: skip
        for k in (-0.16, -0.27, -0.38):
            self.car_park(plot.middle + k * side * v, yaw_rad, 0.7 * side, 2)

    def fits(
        self, plot: Block, point: np.ndarray, yaw_rad: float, length_m: float, width_m: float
    ) -> bool:
        return bool(inside(rectangle(*point, yaw_rad, length_m, width_m), plot).all())

    def car_park(self, middle: np.ndarray, yaw_rad: float, length_m: float, rows: int) -> None:
        """`rows` of bays, a lane between them."""
        u = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
        v = np.array([-u[1], u[0]])
        outline = rectangle(*middle, yaw_rad, length_m, 5.4 * rows)
        if not self.free.is_free(outline):
            return
        self.paint(rectangle(*middle, yaw_rad, length_m, 5.4 * rows + 1), PARKING)
        for row in range(rows):
            across = (row - (rows - 1) / 2) * 5.2
            for at in np.arange(-length_m / 2 + 1.4, length_m / 2 - 1.4, 2.6):
                place = middle + at * u + across * v
                self.path([place - 1.3 * u - 2.3 * v, place - 1.3 * u + 2.3 * v], 0.15, LINE)
                self.slots.append((*place, yaw_rad + np.pi / 2))
        self.free.take(outline)

    # --- open land ---------------------------------------------------------------------------

    def park(self, plot: Block) -> None:
        """Lawns, winding paths, a pond and many trees."""
        rng = self.rng
        self.paint(plot.outline, GRASS)
        side = np.sqrt(plot.area_m2)
        pond = plot.middle + rng.normal(0, 0.1, 2) * side
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        wave = 1 + 0.2 * np.sin(3 * turn + rng.uniform(0, 6)) + 0.1 * np.sin(5 * turn)
        ring = np.stack([np.cos(turn), 0.7 * np.sin(turn)], axis=1) * wave[:, None]
        t = np.linspace(0, 1, 24)[:, None]
        for _ in range(3):
            a, b = random_points(rng, plot, 2)
            a, b = plot.middle + 1.6 * (a - plot.middle), plot.middle + 1.6 * (b - plot.middle)
            sway = np.sin(t * rng.uniform(4, 8)) * 0.1 * side * (b - a)[::-1] * [1, -1]
            path = a + t * (b - a) + sway / max(np.linalg.norm(b - a), 1)
            path = path[inside(path, plot)]
            if len(path) > 2:
                self.path(path, 2.6, GRAVEL)
                for point in path[2:-2:7]:
                    self.bench(point + rng.normal(0, 0.2, 2) + 1.9, rng.uniform(0, 2 * np.pi))
        self.paint(pond + ring * 0.2 * side, SAND)
        self.paint(pond + ring * (0.2 * side - 0.8), WATER)
        self.free.take(pond + ring * 0.2 * side)
        for point in random_points(rng, plot, int(plot.area_m2 // 75)):
            self.tree(point, rng.uniform(2.0, 4.6), rng.random() < 0.12)

    def pitch(self, plot: Block) -> None:
        """A football pitch in a running track."""
        self.paint(plot.outline, GRASS)
        yaw_rad = plot.long_yaw_rad
        scale = min(1.0, np.sqrt(plot.area_m2) / 135)
        u = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
        v = np.array([-u[1], u[0]])
        turn = np.linspace(0, 2 * np.pi, 60)
        oval = np.sign(np.cos(turn))[:, None] * 36 * u + 32 * (
            np.cos(turn)[:, None] * u + np.sin(turn)[:, None] * v
        )
        self.paint(plot.middle + scale * 1.18 * oval, TRACK)
        self.paint(plot.middle + scale * oval, GRASS)
        field = rectangle(*plot.middle, yaw_rad, 84 * scale, 54 * scale)
        self.paint(field, PITCH)
        self.path(np.concatenate([field, field[:1]]), 0.3, LINE)
        self.path([plot.middle - 27 * scale * v, plot.middle + 27 * scale * v], 0.3, LINE)
        circle = np.stack([np.cos(turn), np.sin(turn)], axis=1) * 9.1 * scale
        self.path(plot.middle + circle, 0.3, LINE)
        self.free.take(plot.middle + scale * 1.18 * oval)
        for point in random_points(self.rng, plot, int(plot.area_m2 // 150)):
            self.tree(point)
