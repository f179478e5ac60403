"""Blocks of the country: fields, meadows, woods, orchards, allotments, farms."""

import numpy as np

from justzoom_ros.worlds.town.geometry import Block, clip, grid
from justzoom_ros.worlds.town.lots import ROOFS_RGB, Lots

CROPS = ('wheat', 'maize', 'grass', 'soil', 'beet', 'rape', 'stubble')


class Country(Lots):
    """One method per use of a block."""

    def fields(self, block: Block) -> None:
        inner = block.inset(1.8)
        if inner is None:
            return
        yaw_rad = block.long_yaw_rad
        normal = np.array([-np.sin(yaw_rad), np.cos(yaw_rad)])
        strips = [inner.outline]
        if self.rng.random() < 0.6:
            middle = block.middle + normal * self.rng.normal(0, 6)
            strips = [clip(inner.outline, middle + s * normal * 0.6, s * normal) for s in (1, -1)]
        for strip in strips:
            if len(strip) >= 3:
                crop = str(self.rng.choice(CROPS, p=[0.2, 0.17, 0.2, 0.16, 0.12, 0.06, 0.09]))
                turn = np.pi / 2 if self.rng.random() < 0.3 else 0.0
                self.area(strip, crop, yaw_rad + turn + self.rng.normal(0, 0.04))
        self.plant(inner, 45, 0.3, (2.5, 4.5), 'broadleaf')

    def meadow(self, block: Block) -> None:
        inner = block.inset(1.8)
        self.fill(inner, 'meadow')
        self.plant(inner, 17, 0.4, (1.5, 4.5), 'broadleaf')
        self.plant(inner, 12, 0.3, (0.7, 1.6), 'bush')

    def wood(self, block: Block) -> None:
        inner = block.inset(3)
        self.fill(inner, 'forest_floor')
        kind = 'conifer' if self.rng.random() < 0.4 else 'broadleaf'
        self.plant(inner, 4.6, 0.75, (2, 4.2), kind)
        self.plant(inner, 7, 0.5, (2.2, 3.6), 'broadleaf')

    def orchard(self, block: Block) -> None:
        inner = block.inset(5)
        self.fill(block.inset(1.8), 'meadow')
        self.plant(inner, 5.5, 0.93, (1.4, 2.1), 'fruit', regular=True)

    def allotments(self, block: Block) -> None:
        inner = block.inset(2)
        if inner is None:
            return
        self.fill(inner, 'lawn')
        yaw_rad = block.long_yaw_rad
        for point in grid(inner, 13.0, yaw_rad):
            self.patch(point, yaw_rad, 10.5, 10.5, 'garden')
            self.patch(point + self.rng.normal(0, 0.6, 2), yaw_rad, 6.5, 4.5, 'beds')
            rgb = ROOFS_RGB[int(self.rng.integers(len(ROOFS_RGB)))]
            corner = point + self.rng.choice([-1, 1], 2) * 3.4
            self.build(corner, yaw_rad, 3.4, 2.6, 'gable', rgb, eave_m=2.0)
        self.plant(inner, 8, 0.4, (0.8, 2.2), 'fruit')

    def farm(self, block: Block) -> None:
        yaw_rad = block.long_yaw_rad
        middle = block.middle + self.rng.normal(0, 8, 2)
        self.fill(block.inset(1.8), 'grass', yaw_rad)
        self.area(self.blob(middle, 25), 'yard')
        nearest = min(block.outline, key=lambda p: float(np.linalg.norm(p - middle)))
        self.road([middle, nearest], 3.2, 'track')
        along = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
        across = np.array([-along[1], along[0]])
        red, grey = (142, 66, 48), (138, 140, 142)
        self.build(middle - across * 15, yaw_rad, 28, 12, 'gable', red, eave_m=5)
        self.build(middle + along * 17 + across * 3, yaw_rad + np.pi / 2, 21, 10, 'gable', grey, 5)
        self.build(middle + across * 15 - along * 5, yaw_rad, 13, 9.5, 'hip', eave_m=5)
        for k in range(2):
            silo = middle - along * (16 + 5 * k) + across * 4
            self.build(silo, yaw_rad, 4, 4, 'hip', (196, 198, 200), eave_m=9)
        self.plant(Block(middle + (block.outline - middle) * 0.55), 9, 0.35, (2, 4), 'broadleaf')
        self.plant(block.inset(4), 30, 0.3, (2, 4), 'broadleaf')
