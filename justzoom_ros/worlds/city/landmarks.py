"""Things that are seen from far outside a terminal cell."""

import numpy as np

from justzoom_ros.worlds.city import palette
from justzoom_ros.worlds.city.blocks import Blocks
from justzoom_ros.worlds.city.scene import BUILDING, GLASS, GRASS, PLAIN, PLAZA, STRIPES
from justzoom_ros.worlds.town.geometry import Block, grid, random_points, rectangle


class Landmarks(Blocks):
    """Each fills a whole block; `landmarks` notes (name, east, north, top_m)."""

    def note(self, name: str, point: np.ndarray, top_m: float) -> None:
        self.landmarks.append((name, float(point[0]), float(point[1]), float(top_m)))

    def stand(self, plot: Block, ground: int, tree_m2: float) -> None:
        """Prepare a block whose middle is taken; trees come last, in `border`."""
        self.paint(plot.outline, ground)
        self.free.take(rectangle(*plot.middle, plot.long_yaw_rad, 34, 34))
        if tree_m2:
            for point in random_points(self.rng, plot, int(plot.area_m2 // tree_m2)):
                self.tree(point)

    def church(self, plot: Block) -> None:
        """A nave and a tower with a spire, on a square."""
        rng, point, yaw_rad = self.rng, plot.middle, plot.long_yaw_rad
        self.stand(plot, PLAZA, 0)
        walls, roof, trim = self.colors(palette.PITCHED)
        u = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
        style = (9.0, 4.5, 0.28, 0.6, 0, 1, 0, 0)
        seed = int(rng.integers(1, 2**20))
        self.solids.box(*(point - 3 * u), yaw_rad, 30, 14, 10.0, BUILDING, walls, roof, trim,
                        ky=1.2, top_m=18.4, style=style, seed=seed * 5 + 1)  # fmt: skip
        tower = point + 15 * u
        high, spire = rng.uniform(24, 32), rng.uniform(16, 26)
        slope = spire / 4
        copper = ((92, 138, 118), (70, 74, 84), roof)[int(rng.integers(3))]
        self.solids.box(*tower, yaw_rad, 8, 8, high, BUILDING, walls, copper, trim, kx=slope,
                        ky=slope, top_m=high + spire, style=(8.0, 4.0, 0.3, 0.45, 0, 1, 0, 0),
                        seed=seed * 5 + 1)  # fmt: skip
        self.note('church', tower, high + spire)
        self.avenue(plot)

    def avenue(self, plot: Block) -> None:
        """Trees round a square."""
        for point in grid(plot, 10, plot.long_yaw_rad):
            if self.rng.random() < 0.5:
                self.tree(point, self.rng.uniform(1.6, 2.6))
            elif self.rng.random() < 0.4:
                self.bench(point, plot.long_yaw_rad)

    def tower(self, plot: Block) -> None:
        """A tall office tower on a low base."""
        rng, point, yaw_rad = self.rng, plot.middle, plot.long_yaw_rad
        self.stand(plot, PLAZA, 0)
        colors = self.colors(palette.GLASS)
        seed, high = int(rng.integers(1, 2**20)), rng.uniform(75, 115)
        style = (3.7, 1.6, 0.9, 0.8, 0, 0, 0, 0)
        self.solids.box(*point, yaw_rad, 34, 34, 9, GLASS, *colors, style=style, seed=seed)
        self.solids.box(*point, yaw_rad, 22, 26, high, GLASS, *colors, style=style, seed=seed)
        self.solids.box(*point, yaw_rad, 12, 14, high + 6, PLAIN, colors[2], base_m=high)
        self.note('tower', point, high + 6)
        self.avenue(plot)

    def mast(self, plot: Block) -> None:
        """A television tower: shaft, ball and antenna."""
        point, high = plot.middle, self.rng.uniform(95, 130)
        self.stand(plot, GRASS, 110)
        self.solids.cone(*point, 0, 0.72 * high, 4.2, 2.4, PLAIN, (196, 192, 184))
        self.solids.ball(*point, 0.66 * high, 7.5, 6.0, PLAIN, (206, 208, 212))
        self.solids.cone(*point, 0.72 * high, high, 1.1, 0.3, STRIPES, (190, 40, 36))
        self.note('mast', point, high)

    def dome(self, plot: Block) -> None:
        """A domed hall with a colonnade's base."""
        point, yaw_rad = plot.middle, plot.long_yaw_rad
        self.stand(plot, PLAZA, 0)
        walls, roof, trim = self.colors(palette.FLAT)
        seed = int(self.rng.integers(1, 2**20))
        style = (7.0, 3.2, 0.35, 0.6, 0, 0, 0, 0)
        self.solids.box(*point, yaw_rad, 34, 30, 14.5, BUILDING, walls, roof, trim, style=style,
                        seed=seed)  # fmt: skip
        self.solids.cone(*point, 14.5, 22, 11, 11, PLAIN, walls)
        tint = ((96, 146, 128), (180, 150, 70), (120, 124, 132))[seed % 3]
        self.solids.ball(*point, 22, 11.4, 12.5, PLAIN, tint)
        self.solids.cone(*point, 34, 40, 1.6, 0.2, PLAIN, tint)
        self.note('dome', point, 40)
        self.avenue(plot)

    def chimney(self, plot: Block) -> None:
        """A power station with a striped stack."""
        self.free.take(rectangle(*plot.middle, 0, 12, 12))
        self.works(plot)
        high = self.rng.uniform(65, 95)
        self.solids.cone(*plot.middle, 0, high, 3.6, 2.2, STRIPES, (186, 44, 38))
        self.note('chimney', plot.middle, high)

    def tank(self, plot: Block) -> None:
        """A water tower."""
        point, high = plot.middle, self.rng.uniform(34, 46)
        self.stand(plot, GRASS, 90)
        color = ((222, 222, 216), (150, 190, 200), (188, 120, 92))[int(self.rng.integers(3))]
        self.solids.cone(*point, 0, high - 9, 3.2, 2.2, PLAIN, (190, 186, 178))
        self.solids.cone(*point, high - 12, high - 7, 2.4, 9.0, PLAIN, color)
        self.solids.cone(*point, high - 7, high - 1, 9.0, 9.0, PLAIN, color)
        self.solids.ball(*point, high - 1, 9.0, 2.6, PLAIN, color)
        self.note('tank', point, high + 1.6)
