"""Where the roads of the invented town run, and what each block between them is used for.

A square is cut again and again by straight lines; the cuts become roads, the pieces blocks. Then
everything is bent by one smooth displacement, so that roads curve and blocks follow them.
"""

import numpy as np

from justzoom_ros.worlds.town.country import Country
from justzoom_ros.worlds.town.geometry import Block, clip, rectangle
from justzoom_ros.worlds.town.plan import FOOTWAY_M, ROAD_WIDTH_M, Plan, Road
from justzoom_ros.worlds.town.town import Town

TOWN_SHARE = 0.34
"""Radius of the built-up part as a share of the side."""


def make_plan(seed: int, side_m: float) -> Plan:
    """The `Plan` of a town and its countryside on a square of `side_m` metres."""
    return Planner(seed, side_m).plan()


class Planner(Town, Country):
    """Lays the roads, then fills the blocks."""

    def __init__(self, seed: int, side_m: float) -> None:
        super().__init__(seed, side_m)
        self.town_middle = np.array([-0.07, 0.06]) * side_m
        self.town_radius_m = TOWN_SHARE * side_m

    def plan(self) -> Plan:
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

    def lay_water_and_rails(self) -> None:
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

    def lay_cut(self, kind: str, start: np.ndarray, end: np.ndarray) -> None:
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

    def uses(self, blocks: list[Block]) -> list[str]:
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

    def use(self, nearness: float) -> str:
        if nearness < 0.36:
            return 'core'
        return 'houses' if nearness < 1.08 else 'fields'

    def stream_trees(self, path: np.ndarray) -> None:
        for side in (-6.0, 6.0):
            along = np.gradient(path, axis=0)
            along /= np.linalg.norm(along, axis=1, keepdims=True)
            bank = path + side * along[:, ::-1] * [-1, 1] + self.rng.normal(0, 1.2, path.shape)
            self.trees(bank[self.rng.random(len(bank)) < 0.28], (1.6, 4.0), 'broadleaf')

    def plant_streets(self) -> None:
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
                            east, north = map(float, kerb[i])
                            self.out.slots.append((east, north, yaw_rad))


def cut_blocks(
    rng: np.random.Generator, side_m: float, town_middle: np.ndarray, town_radius_m: float
) -> tuple[list[Block], list[tuple[str, np.ndarray, np.ndarray]]]:
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
