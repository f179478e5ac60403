"""What fills the blocks of the invented town: houses, shops, parks, woods, fields.

`make_plan` is the whole of it; the other functions each fill one kind of block.
"""

import numpy as np

from justzoom_ros.benchmark.landscape_plan import (
    FOOTWAY_M,
    ROAD_WIDTH_M,
    TOWN_SHARE,
    Area,
    Bend,
    Block,
    Building,
    Ground,
    Plan,
    Road,
    Tree,
    clip,
    cut_blocks,
    rectangle,
)

ROOFS_RGB = (
    (150, 78, 58), (168, 92, 66), (128, 66, 52), (104, 72, 62), (98, 98, 102),
    (78, 80, 88), (122, 116, 112), (142, 104, 78), (176, 112, 84), (88, 62, 54),
)  # fmt: skip
FLAT_RGB = (
    (176, 174, 170), (150, 150, 152), (122, 122, 126), (196, 194, 190),
    (108, 112, 104), (140, 128, 116), (92, 94, 100), (208, 208, 206),
)  # fmt: skip
CROPS = ('wheat', 'maize', 'grass', 'soil', 'beet', 'rape', 'stubble')


def make_plan(seed, side_m):
    """The `Plan` of a town and its countryside on a square of `side_m` metres."""
    return _Planner(seed, side_m).plan()


class _Planner:
    def __init__(self, seed, side_m):
        self.rng = np.random.default_rng([seed, 1])
        self.bend = Bend(np.random.default_rng([seed, 2]))
        self.ground = Ground(side_m * 1.3)
        self.out = Plan(side_m)
        self.town_middle = np.array([-0.07, 0.06]) * side_m
        self.town_radius_m = TOWN_SHARE * side_m

    def plan(self):
        side = self.out.side_m
        blocks, cuts = cut_blocks(self.rng, side, self.town_middle, self.town_radius_m)
        self.lay_water_and_rails()
        for kind, start, end in cuts:
            self.lay_cut(kind, start, end)
        uses = self.uses(blocks)
        for block, use in sorted(zip(blocks, uses, strict=True), key=lambda b: b[1] == 'houses'):
            getattr(self, use)(block)
        self.plant_streets()
        return self.out

    # --- roads, rails, water ---------------------------------------------------------------

    def lay_water_and_rails(self):
        half = self.out.side_m * 0.6
        t = np.linspace(-1, 1, 90)
        meander = 0.07 * half * np.sin(t * 9 + 1) + 0.03 * half * np.sin(t * 23)
        stream = np.stack([0.56 * half + 0.18 * half * t + meander, -t * half], axis=1)
        self.out.water.append(Road(self.bend.path(stream), 5.0, 'stream'))
        ends = np.array([[-half, -0.50 * half], [half, -0.30 * half]])
        self.out.rails.append(Road(self.bend.path(ends), 8.5, 'rails'))
        for road in self.out.water + self.out.rails:
            self.ground.take_road(road.path, road.width_m + 4)
        self.stream_trees(self.out.water[0].path)

    def lay_cut(self, kind, start, end):
        path = self.bend.path([start, end])
        width_m, tone = ROAD_WIDTH_M[kind], float(self.rng.uniform())
        if kind == 'hedge':
            self.hedge(path)
            return
        self.ground.take_road(path, width_m + 2 * FOOTWAY_M.get(kind, 0.6))
        self.out.roads.append(Road(path, width_m, kind, tone))
        if kind == 'arterial' and np.linalg.norm(end - start) < self.out.side_m * 1.05:
            # The second greatest road ends at the greatest one: they meet in a roundabout.
            east, north = min(self.bend([start, end]), key=lambda p: float(np.hypot(*p)))
            self.out.rings.append((float(east), float(north), 15.0))
            self.ground.take(rectangle(east, north, 0.0, 36.0, 36.0))

    # --- land use --------------------------------------------------------------------------

    def uses(self, blocks):
        """One method name per block."""
        near = [np.linalg.norm(b.middle - self.town_middle) / self.town_radius_m for b in blocks]
        uses = [self.use(n) for n in near]
        order = np.argsort(near)
        uses[order[0]] = 'square'
        town = [i for i in order if 0.35 < near[i] < 1.0]
        by_size = sorted(town, key=lambda i: -blocks[i].area_m2)
        wanted = ('sports', 'park', 'shops', 'school', 'works', 'shops', 'park', 'works')
        for i, use in zip(by_size, wanted, strict=False):
            uses[i] = use
        country = [i for i in order if near[i] >= 1.08]
        wanted = ('wood', 'orchard', 'allotments', 'farm', 'wood', 'farm', 'meadow', 'orchard')
        for i, use in zip(self.rng.permutation(country), wanted, strict=False):
            uses[i] = use
        return uses

    def use(self, nearness):
        if nearness < 0.36:
            return 'core'
        return 'houses' if nearness < 1.08 else 'fields'

    # --- the town --------------------------------------------------------------------------

    def houses(self, block):
        inner = block.inset(5.2)
        if inner is None:
            return
        self.area(inner.outline, 'garden')
        pitch_m, style = self.rng.uniform(14.5, 21), int(self.rng.integers(len(ROOFS_RGB)))
        for start, along, inward, length_m in _edges(inner):
            count = int(length_m // pitch_m)
            for k in range(count):
                corner = start + along * (length_m * k / count)
                self.house(inner, corner, along, inward, length_m / count, style)
        self.plant(inner, 8.5, 0.5, (1.2, 3.6), 'broadleaf')
        self.plant(inner, 7.0, 0.35, (0.6, 1.3), 'bush')

    def house(self, block, corner, along, inward, lot_m, style):
        rng = self.rng
        depth_m = min(26.0, 0.42 * np.sqrt(block.area_m2))
        lot = np.array([[0, 0], [lot_m, 0], [lot_m, depth_m], [0, depth_m]])
        outline = _within(corner + lot[:, :1] * along + lot[:, 1:] * inward, block)
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

    def backyard(self, door, along, inward):
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

    def core(self, block):
        """A ring of joined town houses round a paved yard with cars."""
        inner = block.inset(6.4)
        if inner is None:
            return
        self.area(block.inset(4).outline, 'paving')
        for start, along, inward, length_m in _edges(inner):
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

    def town_house(self, middle, yaw_rad, front_m, deep_m):
        roof = str(self.rng.choice(['gable', 'flat', 'hip'], p=[0.55, 0.35, 0.1]))
        eave_m = float(self.rng.uniform(7, 12))
        ahead = np.array([-np.sin(yaw_rad), np.cos(yaw_rad)])
        for back_m in (0.0, 1.6, 3.2):
            place = middle + ahead * back_m
            if self.build(place, yaw_rad, front_m, deep_m, roof, eave_m=eave_m, gap_m=-0.3):
                return

    def square(self, block):
        """The church on its square."""
        self.area(block.inset(5).outline, 'plaza')
        yaw_rad = block.long_yaw_rad
        along = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
        grey, middle = (92, 96, 104), block.middle
        self.build(middle, yaw_rad, 27, 11, 'gable', grey, eave_m=11)
        self.build(middle + along * 4, yaw_rad + np.pi / 2, 20, 8, 'gable', grey, 10, check=False)
        self.build(middle - along * 16, yaw_rad, 7, 7, 'hip', (70, 104, 92), 17, check=False)
        self.plant(block.inset(7), 8, 0.5, (2.2, 3.4), 'broadleaf')

    def shops(self, block):
        """A supermarket with its car park."""
        self.area(block.inset(5).outline, 'paving')
        self.big_halls(block.inset(8), 1, (26, 38), (18, 26))
        self.car_park(block.inset(7), 1.0)
        self.plant(block.inset(6.5), 9, 0.25, (1.3, 2.4), 'broadleaf')

    def works(self, block):
        """Halls of a small industry, yards between them."""
        self.area(block.inset(5).outline, 'yard')
        self.big_halls(block.inset(8), 5, (18, 34), (13, 20))
        self.car_park(block.inset(7), 0.5)
        self.plant(block.inset(6), 9, 0.2, (1.5, 3), 'broadleaf')

    def school(self, block):
        self.area(block.inset(5).outline, 'garden')
        self.patch(block.middle, block.long_yaw_rad, 34, 24, 'terrace')
        self.patch(block.middle, block.long_yaw_rad, 24, 13, 'court')
        self.big_halls(block.inset(8), 3, (26, 36), (10, 13))
        self.plant(block.inset(6), 9, 0.5, (1.8, 3.8), 'broadleaf')

    def big_halls(self, inner, count, lengths_m, widths_m):
        for _ in range(count * 12):
            if inner is None or count == 0:
                return
            point = _random_points(self.rng, inner, 1)[0]
            yaw_rad = inner.long_yaw_rad + (np.pi / 2 if self.rng.random() < 0.4 else 0)
            size = self.rng.uniform(*lengths_m), self.rng.uniform(*widths_m)
            rgb = FLAT_RGB[int(self.rng.integers(len(FLAT_RGB)))]
            roof = 'flat' if self.rng.random() < 0.75 else 'gable'
            count -= self.build(point, yaw_rad, *size, roof, rgb, eave_m=7.0, gap_m=4.0)

    def sports(self, block):
        self.area(block.inset(5).outline, 'garden')
        east, north, yaw_rad = self.bend.pose(block.middle, block.long_yaw_rad)
        size = 0.78 * np.sqrt(block.area_m2)
        for use, more_m in (('track_field', 9.0), ('pitch', 0.0)):
            outline = rectangle(east, north, yaw_rad, size + more_m, size * 0.62 + more_m)
            self.out.areas.append(Area(outline, use, yaw_rad))
        self.pitch_lines(east, north, yaw_rad, size, size * 0.62)
        self.ground.take(rectangle(east, north, yaw_rad, size + 10, size * 0.62 + 10))
        self.big_halls(block.inset(7), 1, (14, 22), (8, 10))
        self.plant(block.inset(6), 7, 0.5, (1.8, 3.6), 'broadleaf')

    def pitch_lines(self, east, north, yaw_rad, length_m, width_m):
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

    def park(self, block):
        inner = block.inset(5)
        self.area(inner.outline, 'lawn')
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

    # --- the country -----------------------------------------------------------------------

    def fields(self, block):
        inner = block.inset(1.8)
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

    def meadow(self, block):
        inner = block.inset(1.8)
        self.area(inner.outline, 'meadow')
        self.plant(inner, 17, 0.4, (1.5, 4.5), 'broadleaf')
        self.plant(inner, 12, 0.3, (0.7, 1.6), 'bush')

    def wood(self, block):
        inner = block.inset(3)
        self.area(inner.outline, 'forest_floor')
        kind = 'conifer' if self.rng.random() < 0.4 else 'broadleaf'
        self.plant(inner, 4.6, 0.75, (2, 4.2), kind)
        self.plant(inner, 7, 0.5, (2.2, 3.6), 'broadleaf')

    def orchard(self, block):
        inner = block.inset(5)
        self.area(block.inset(1.8).outline, 'meadow')
        self.plant(inner, 5.5, 0.93, (1.4, 2.1), 'fruit', regular=True)

    def allotments(self, block):
        inner = block.inset(2)
        self.area(inner.outline, 'lawn')
        yaw_rad = block.long_yaw_rad
        for point in _grid(inner, 13.0, yaw_rad):
            self.patch(point, yaw_rad, 10.5, 10.5, 'garden')
            self.patch(point + self.rng.normal(0, 0.6, 2), yaw_rad, 6.5, 4.5, 'beds')
            rgb = ROOFS_RGB[int(self.rng.integers(len(ROOFS_RGB)))]
            corner = point + self.rng.choice([-1, 1], 2) * 3.4
            self.build(corner, yaw_rad, 3.4, 2.6, 'gable', rgb, eave_m=2.0)
        self.plant(inner, 8, 0.4, (0.8, 2.2), 'fruit')

    def farm(self, block):
        yaw_rad = block.long_yaw_rad
        middle = block.middle + self.rng.normal(0, 8, 2)
        self.area(block.inset(1.8).outline, 'grass', yaw_rad)
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

    # --- pieces ----------------------------------------------------------------------------

    def area(self, outline, use, yaw_rad=0.0, take=False):
        bent = self.bend.path(outline, closed=True)
        yaw_rad = self.bend.pose(outline.mean(axis=0), yaw_rad)[2]
        self.out.areas.append(Area(bent, use, yaw_rad, float(self.rng.uniform())))
        if take:
            self.ground.take(bent)

    def patch(self, middle, yaw_rad, length_m, width_m, use):
        """A small turned rectangle of ground, where there is room for it."""
        east, north, yaw_rad = self.bend.pose(middle, yaw_rad)
        outline = rectangle(east, north, yaw_rad, length_m, width_m)
        if self.ground.is_free(outline):
            self.out.areas.append(Area(outline, use, yaw_rad, float(self.rng.uniform())))
            if use in ('pool', 'rubber', 'beds'):
                self.ground.take(outline)

    def blob(self, middle, radius_m):
        """A round outline with bays, not yet bent."""
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        waves = sum(self.rng.normal(0, 0.16 / k) * np.sin(k * turn + k) for k in (2, 3, 5))
        ring = np.stack([np.cos(turn), 0.8 * np.sin(turn)], axis=1)
        return middle + radius_m * (1 + waves)[:, None] * ring

    def road(self, points, width_m, kind):
        path = self.bend.path(points)
        self.ground.take_road(path, width_m)
        self.out.roads.append(Road(path, width_m, kind, float(self.rng.uniform())))

    def build(self, middle, yaw_rad, length_m, width_m, roof, rgb=None, eave_m=None, gap_m=1.2,
              check=True):  # fmt: skip
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

    def slot(self, point, yaw_rad):
        self.out.slots.append(self.bend.pose(point, yaw_rad))

    def car_park(self, inner, share):
        """Rows of slots wherever there is room for pairs of rows with a lane between."""
        if inner is None:
            return
        yaw_rad = inner.long_yaw_rad
        u = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
        v = np.array([-u[1], u[0]])
        for point in _grid(inner, 2.6, yaw_rad, 8.2):
            east, north, bent_rad = self.bend.pose(point, yaw_rad + np.pi / 2)
            place = rectangle(east, north, bent_rad, 6.5, 2.6)
            if self.rng.random() > share or not self.ground.is_free(place):
                continue
            self.out.slots.append((east, north, bent_rad))
            for side in (-1.3, 1.3):
                ends = self.bend(point + u * side + v * np.array([[-2.5], [2.5]]))
                self.out.lines.append(Road(ends, 0.15, 'line'))

    def plant(self, block, spacing_m, share, radii_m, kind, regular=False):
        """Trees about every `spacing_m`, a `share` of them grown, where the ground is free."""
        if block is None:
            return
        points = _grid(block, spacing_m, block.long_yaw_rad)
        if not regular:
            points = points + self.rng.uniform(-0.48, 0.48, points.shape) * spacing_m
        points = points[self.rng.random(len(points)) < share]
        if len(points):
            bent = self.bend(points)
            self.trees(bent[self.ground.is_free_at(bent)], radii_m, kind)

    def trees(self, points, radii_m, kind):
        slender = {'conifer': 4.2, 'broadleaf': 2.5, 'fruit': 2.0, 'bush': 1.3}[kind]
        for east, north in points:
            radius_m = float(self.rng.uniform(*radii_m))
            height_m = radius_m * slender * float(self.rng.uniform(0.8, 1.2))
            tint = float(self.rng.uniform())
            self.out.trees.append(Tree(float(east), float(north), radius_m, height_m, kind, tint))

    def hedge(self, path):
        along = np.linspace(0, len(path) - 1, max(int(len(path) * 2.2), 2))
        points = np.stack([np.interp(along, np.arange(len(path)), c) for c in path.T], axis=1)
        points = points + self.rng.normal(0, 0.25, points.shape)
        points = points[self.rng.random(len(points)) < self.rng.uniform(0.5, 1.0)]
        self.trees(points[self.ground.is_free_at(points)], (0.8, 1.5), 'bush')

    def stream_trees(self, path):
        for side in (-6.0, 6.0):
            along = np.gradient(path, axis=0)
            along /= np.linalg.norm(along, axis=1, keepdims=True)
            bank = path + side * along[:, ::-1] * [-1, 1] + self.rng.normal(0, 1.2, path.shape)
            self.trees(bank[self.rng.random(len(bank)) < 0.28], (1.6, 4.0), 'broadleaf')

    def plant_streets(self):
        """Rows of trees along some streets, and cars parked at the kerb of others."""
        for road in self.out.roads:
            if road.kind not in FOOTWAY_M:
                continue
            along = np.gradient(road.path, axis=0)
            along /= np.linalg.norm(along, axis=1, keepdims=True)
            across = along[:, ::-1] * [-1, 1]
            verge_m = road.width_m / 2 + FOOTWAY_M[road.kind] + 1.0
            for side in (-1, 1):
                if self.rng.random() < 0.45:
                    row = (road.path + side * verge_m * across)[1::4]
                    self.trees(row[self.ground.is_free_at(row)], (1.6, 3.0), 'broadleaf')
                if road.kind == 'street':
                    kerb = road.path + side * (road.width_m / 2 - 1.1) * across
                    for i in range(4, len(kerb) - 4, 2):
                        if self.rng.random() < 0.5:
                            yaw_rad = float(np.arctan2(along[i, 1], along[i, 0]))
                            self.out.slots.append((*map(float, kerb[i]), yaw_rad))


def _edges(block):
    """(start, along, inward, length) of every edge of a counter-clockwise block."""
    for start, end in zip(block.outline, np.roll(block.outline, -1, axis=0), strict=True):
        length_m = float(np.linalg.norm(end - start))
        if length_m > 1.0:
            along = (end - start) / length_m
            yield start, along, np.array([-along[1], along[0]]), length_m


def _within(outline, block):
    """The part of a convex outline inside a block."""
    for start, _, inward, _ in _edges(block):
        if len(outline) < 3:
            break
        outline = clip(outline, start, inward)
    return outline


def _inside(points, block):
    inside = np.ones(len(points), bool)
    for start, _, inward, _ in _edges(block):
        inside &= (points - start) @ inward > 0
    return inside


def _random_points(rng, block, count):
    weights = rng.dirichlet(np.ones(len(block.outline)), count)
    return weights @ block.outline


def _grid(block, spacing_m, yaw_rad, across_m=None):
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
    return points[_inside(points, block)]
