"""Blocks of the town: houses with gardens, the core, shops, works, a school, sports, parks."""

import numpy as np

from justzoom_ros.worlds.town.geometry import Block, edges, random_points, rectangle, within
from justzoom_ros.worlds.town.lots import FLAT_RGB, ROOFS_RGB, Lots
from justzoom_ros.worlds.town.plan import Area, Road


class Town(Lots):
    """One method per use of a block."""

    def houses(self, block: Block) -> None:
        inner = block.inset(5.2)
        if inner is None:
            return
        self.fill(inner, 'garden')
        pitch_m, style = self.rng.uniform(14.5, 21), int(self.rng.integers(len(ROOFS_RGB)))
        for start, along, inward, length_m in edges(inner):
            count = int(length_m // pitch_m)
            for k in range(count):
                corner = start + along * (length_m * k / count)
                self.house(inner, corner, along, inward, length_m / count, style)
        self.plant(inner, 8.5, 0.5, (1.2, 3.6), 'broadleaf')
        self.plant(inner, 7.0, 0.35, (0.6, 1.3), 'bush')

    def house(
        self,
        block: Block,
        corner: np.ndarray,
        along: np.ndarray,
        inward: np.ndarray,
        lot_m: float,
        style: int,
    ) -> None:
        rng = self.rng
        depth_m = min(26.0, 0.42 * np.sqrt(block.area_m2))
        lot = np.array([[0, 0], [lot_m, 0], [lot_m, depth_m], [0, depth_m]])
        outline = within(corner + lot[:, :1] * along + lot[:, 1:] * inward, block)
        if len(outline) < 3:
            return
        self.area(outline, 'garden')
        length_m, width_m = rng.uniform(8.5, 13), rng.uniform(7.5, 10)
        length_m = min(length_m, lot_m - 3.5)
        setback_m = rng.uniform(3, 7)
        middle = corner + along * (lot_m * rng.uniform(0.42, 0.54))
        middle = middle + inward * (setback_m + width_m / 2)
        yaw_rad = np.arctan2(along[1], along[0]) + (np.pi / 2 if rng.random() < 0.3 else 0)
        roof = str(rng.choice(['gable', 'hip', 'flat'], p=[0.62, 0.26, 0.12]))
        near_style = (style + int(rng.integers(0, 3))) % len(ROOFS_RGB)
        rgb = ROOFS_RGB[near_style]
        if not self.build(middle, yaw_rad, length_m, width_m, roof, rgb):
            # Along the greater roads the footway takes some of the lot.
            middle, setback_m = middle + inward * 3, setback_m + 3
            if not self.build(middle, yaw_rad, length_m, width_m, roof, rgb):
                return
        if rng.random() < 0.35:
            wing = middle + along * rng.uniform(-2, 2) + inward * (width_m / 2)
            self.build(wing, yaw_rad + np.pi / 2, 8, 6, roof, rgb, check=False)
        drive = corner + along * (lot_m - 2.2)
        self.road([drive - inward * 2.0, drive + inward * (setback_m + 4)], 2.8, 'driveway')
        if rng.random() < 0.7:
            self.slot(drive + inward * (setback_m - 0.5), np.arctan2(inward[1], inward[0]))
        if rng.random() < 0.6:
            self.hedge(self.bend.path([corner + inward * 2, corner + inward * depth_m]))
        self.backyard(corner + along * lot_m / 2 + inward * (setback_m + width_m), along, inward)

    def backyard(self, door: np.ndarray, along: np.ndarray, inward: np.ndarray) -> None:
        rng = self.rng
        yaw_rad = np.arctan2(along[1], along[0])
        self.patch(door + inward * 1.6, yaw_rad, rng.uniform(3, 7), 3.2, 'terrace')
        kind = rng.choice(
            ['pool', 'shed', 'beds', 'trampoline', ''], p=[0.13, 0.3, 0.2, 0.1, 0.27]
        )
        there = door + inward * rng.uniform(5.5, 8) + along * rng.uniform(-4, 4)
        if kind == 'pool':
            self.patch(there, yaw_rad, 9.5, 5.6, 'terrace')
            self.patch(there, yaw_rad, 7.5, 3.6, 'pool')
        elif kind == 'beds':
            self.patch(there, yaw_rad, 5.5, 4, 'beds')
        elif kind == 'trampoline':
            self.patch(there, 0.3, 3.2, 3.2, 'rubber')
        elif kind == 'shed':
            rgb = ROOFS_RGB[int(rng.integers(len(ROOFS_RGB)))]
            self.build(there, yaw_rad, 3.6, 2.8, 'gable', rgb, eave_m=2.0)

    def core(self, block: Block) -> None:
        """A ring of joined town houses round a paved yard with cars."""
        inner = block.inset(6.4)
        if inner is None:
            return
        self.fill(block.inset(4), 'paving')
        for start, along, inward, length_m in edges(inner):
            at_m = self.rng.uniform(0, 3)
            while at_m + 8 < length_m:
                front_m = min(self.rng.uniform(9, 19), length_m - at_m)
                deep_m = self.rng.uniform(9.5, 12.5)
                middle = start + along * (at_m + front_m / 2) + inward * (0.8 + deep_m / 2)
                yaw_rad = np.arctan2(along[1], along[0])
                self.town_house(middle, yaw_rad, front_m - 0.4, deep_m)
                at_m += front_m if self.rng.random() < 0.8 else front_m + 5
        self.car_park(block.inset(18), 0.8)
        self.plant(inner, 11, 0.3, (1.5, 3), 'broadleaf')

    def town_house(
        self, middle: np.ndarray, yaw_rad: float, front_m: float, deep_m: float
    ) -> None:
        roof = str(self.rng.choice(['gable', 'flat', 'hip'], p=[0.55, 0.35, 0.1]))
        eave_m = float(self.rng.uniform(7, 12))
        ahead = np.array([-np.sin(yaw_rad), np.cos(yaw_rad)])
        for back_m in (0.0, 1.6, 3.2):
            place = middle + ahead * back_m
            if self.build(place, yaw_rad, front_m, deep_m, roof, eave_m=eave_m, gap_m=-0.3):
                return

    def square(self, block: Block) -> None:
        """The church on its square."""
        self.fill(block.inset(5), 'plaza')
        yaw_rad = block.long_yaw_rad
        along = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
        grey, middle = (92, 96, 104), block.middle
        self.build(middle, yaw_rad, 27, 11, 'gable', grey, eave_m=11)
        self.build(middle + along * 4, yaw_rad + np.pi / 2, 20, 8, 'gable', grey, 10, check=False)
        self.build(middle - along * 16, yaw_rad, 7, 7, 'hip', (70, 104, 92), 17, check=False)
        self.plant(block.inset(7), 8, 0.5, (2.2, 3.4), 'broadleaf')

    def shops(self, block: Block) -> None:
        """A supermarket with its car park."""
        self.fill(block.inset(5), 'paving')
        self.big_halls(block.inset(8), 1, (26, 38), (18, 26))
        self.car_park(block.inset(7), 1.0)
        self.plant(block.inset(6.5), 9, 0.25, (1.3, 2.4), 'broadleaf')

    def works(self, block: Block) -> None:
        """Halls of a small industry, yards between them."""
        self.fill(block.inset(5), 'yard')
        self.big_halls(block.inset(8), 5, (18, 34), (13, 20))
        self.car_park(block.inset(7), 0.5)
        self.plant(block.inset(6), 9, 0.2, (1.5, 3), 'broadleaf')

    def school(self, block: Block) -> None:
        self.fill(block.inset(5), 'garden')
        self.patch(block.middle, block.long_yaw_rad, 34, 24, 'terrace')
        self.patch(block.middle, block.long_yaw_rad, 24, 13, 'court')
        self.big_halls(block.inset(8), 3, (26, 36), (10, 13))
        self.plant(block.inset(6), 9, 0.5, (1.8, 3.8), 'broadleaf')

    def big_halls(
        self,
        inner: Block | None,
        count: int,
        lengths_m: tuple[float, float],
        widths_m: tuple[float, float],
    ) -> None:
        for _ in range(count * 12):
            if inner is None or count == 0:
                return
            point = random_points(self.rng, inner, 1)[0]
            yaw_rad = inner.long_yaw_rad + (np.pi / 2 if self.rng.random() < 0.4 else 0)
            size = self.rng.uniform(*lengths_m), self.rng.uniform(*widths_m)
            rgb = FLAT_RGB[int(self.rng.integers(len(FLAT_RGB)))]
            roof = 'flat' if self.rng.random() < 0.75 else 'gable'
            count -= self.build(point, yaw_rad, *size, roof, rgb, eave_m=7.0, gap_m=4.0)

    def sports(self, block: Block) -> None:
        self.fill(block.inset(5), 'garden')
        east, north, yaw_rad = self.bend.pose(block.middle, block.long_yaw_rad)
        size = 0.78 * np.sqrt(block.area_m2)
        for use, more_m in (('track_field', 9.0), ('pitch', 0.0)):
            outline = rectangle(east, north, yaw_rad, size + more_m, size * 0.62 + more_m)
            self.out.areas.append(Area(outline, use, yaw_rad))
        self.pitch_lines(east, north, yaw_rad, size, size * 0.62)
        self.ground.take(rectangle(east, north, yaw_rad, size + 10, size * 0.62 + 10))
        self.big_halls(block.inset(7), 1, (14, 22), (8, 10))
        self.plant(block.inset(6), 7, 0.5, (1.8, 3.6), 'broadleaf')

    def pitch_lines(
        self, east: float, north: float, yaw_rad: float, length_m: float, width_m: float
    ) -> None:
        u = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
        v = np.array([-u[1], u[0]])
        middle = np.array([east, north])
        for offset_m, long_m, wide_m in (
            (0, length_m - 3, width_m - 3),
            (length_m / 2 - 7, 11, width_m * 0.55),
            (7 - length_m / 2, 11, width_m * 0.55),
            (length_m / 4, length_m / 2 - 3, width_m - 3),
        ):
            box = rectangle(*(middle + u * offset_m), yaw_rad, long_m, wide_m)
            self.out.lines.append(Road(np.concatenate([box, box[:1]]), 0.25, 'line'))
        turn = np.linspace(0, 2 * np.pi, 40)[:, None]
        circle = middle + 6 * (np.cos(turn) * u + np.sin(turn) * v)
        self.out.lines.append(Road(circle, 0.25, 'line'))

    def park(self, block: Block) -> None:
        inner = block.inset(5)
        if inner is None:
            return
        self.fill(inner, 'lawn')
        size_m, turn = np.sqrt(block.area_m2), self.rng.uniform(0, 2 * np.pi)
        pond = block.middle + 0.22 * size_m * np.array([np.cos(turn), np.sin(turn)])
        self.area(self.blob(pond, 0.14 * size_m), 'pond', take=True)
        for point in (inner.outline + np.roll(inner.outline, -1, axis=0)) / 2:
            bow = (point + block.middle) / 2 + self.rng.normal(0, 5, 2)
            path = [point, bow, block.middle]
            if all(
                np.linalg.norm(self.bend.path(path) - self.bend([pond]), axis=1) > 0.2 * size_m
            ):
                self.road(path, 2.2, 'path')
        self.plant(inner, 7.0, 0.5, (2, 4.8), 'broadleaf')
        self.plant(inner, 11, 0.2, (1.6, 2.6), 'conifer')
