"""Where the roads run and what each block between them is used for.

A square is cut again and again by straight lines at slightly varied angles; the cuts become roads,
the earlier ones the greater, and the pieces blocks.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from justzoom_ros.worlds.city.ground import CANAL_M
from justzoom_ros.worlds.city.scene import AVENUE, CANAL, LANE, STREET
from justzoom_ros.worlds.city.style import CityStyle
from justzoom_ros.worlds.town.geometry import Block, clip

MARGIN_M = 160.0
"""City beyond the square that is asked for, so that its border looks like any other street."""

HALF_M = {CANAL: CANAL_M + 6.8, AVENUE: 6.9, STREET: 5.3, LANE: 3.2}
BRIDGE_REACH_M = CANAL_M + 1.0
FOOTWAY_M = {CANAL: 3.6, AVENUE: 3.8, STREET: 2.6, LANE: 1.5}


@dataclass(frozen=True)
class Road:
    """A straight road from `start` to `end` (2,), of a kind of scene.py."""

    start: np.ndarray
    end: np.ndarray
    kind: int
    tone: float
    width: float = 1.0
    """Factor on the widths of its carriageway and footways; a canal's is always 1."""

    @cached_property
    def length_m(self) -> float:
        return float(np.linalg.norm(self.end - self.start))

    @cached_property
    def along(self) -> np.ndarray:
        return (self.end - self.start) / self.length_m

    @property
    def half_m(self) -> float:
        return HALF_M[self.kind] * self.width

    @property
    def footway_m(self) -> float:
        return FOOTWAY_M[self.kind] * self.width

    def local(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Metres along and to the left of the road, for points (..., 2)."""
        offset = np.asarray(points) - self.start
        ahead = self.along
        return offset @ ahead, offset @ np.array([-ahead[1], ahead[0]])

    def at(self, along_m: float, left_m: float) -> np.ndarray:
        """The point (2,) so far along and to the left."""
        ahead = self.along
        return self.start + along_m * ahead + left_m * np.array([-ahead[1], ahead[0]])


def make_roads(
    rng: np.random.Generator, half_m: float, style: CityStyle | None = None
) -> tuple[list[Road], list[Block]]:
    """(roads, greatest first, and the blocks between them) of a square of twice `half_m`."""
    style = style or CityStyle()
    pending = [(Block(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half_m), 0)]
    roads, blocks = [], []
    while pending:
        block, level = pending.pop()
        if block.area_m2 < rng.uniform(*style.block_m2):
            blocks.append(block)
            continue
        parts, ends = _cut(rng, block, level, style.crookedness)
        if parts is None:
            blocks.append(block)
            continue
        kind = _kind(rng, level, block.area_m2)
        width = 1.0 if kind == CANAL else style.road_width
        roads.append(Road(*ends, kind, float(rng.uniform()), width))
        pending += [(Block(part), level + 1) for part in parts]
    rank = {CANAL: 0, AVENUE: 1, STREET: 2, LANE: 3}
    roads.sort(key=lambda road: rank[road.kind])
    return roads, blocks


def _kind(rng, level, area_m2):
    if level < 3:
        return CANAL if level == 1 and rng.random() < 0.6 else AVENUE
    if area_m2 < 24000 and rng.random() < 0.3:
        return LANE
    return AVENUE if rng.random() < 0.1 else STREET


def _cut(rng, block, level, crookedness):
    """((part, part), (start, end)) of a cut across a block's long side; (None, None) if thin."""
    spread = crookedness * (0.14 if level < 4 else 0.07)
    yaw_rad = block.long_yaw_rad + np.pi / 2 + rng.normal(0, spread)
    point = block.middle + rng.normal(0, 0.07, 2) * np.sqrt(block.area_m2)
    normal = np.array([-np.sin(yaw_rad), np.cos(yaw_rad)])
    parts = [clip(block.outline, point, sign * normal) for sign in (1, -1)]
    if min(len(part) for part in parts) < 3 or min(Block(p).area_m2 for p in parts) < 2500:
        return None, None
    on_cut = parts[0][np.abs((parts[0] - point) @ normal) < 1e-6]
    return parts, (on_cut[0], on_cut[-1])


def road_rows(roads: list[Road]) -> np.ndarray:
    """`Scene.roads` (R, 11) of roads: markings begin behind the road that each one ends at, and
    those that end at a canal are led over it."""
    rows = []
    for road in roads:
        first, before = _ending(road, road.start, roads)
        last, after = _ending(road, road.end, roads)
        start, length_m = road.start - before * road.along, road.length_m + before + after
        rows.append((
            *start, *road.along, length_m, road.half_m, road.footway_m, road.kind, before + first,
            length_m - after - last, road.tone,
        ))  # fmt: skip
    return np.array(rows, np.float32)


def _ending(road, end, roads):
    """(metres from an end of a road to where it leaves the carriageway of the one it meets,
    metres that it is led beyond its end by a bridge)."""
    free_m = beyond_m = 0.0
    for other in roads:
        if other is road:
            continue
        u, v = other.local(end)
        if abs(v) < 0.5 and -0.5 < u < other.length_m + 0.5:
            sine = abs(road.along[0] * other.along[1] - road.along[1] * other.along[0])
            free_m = max(free_m, (other.half_m + 1.2) / max(sine, 0.3))
            if other.kind == CANAL:
                beyond_m = BRIDGE_REACH_M
    return free_m, beyond_m


def plots(blocks: list[Block], roads: list[Road]) -> list[Block | None]:
    """The blocks without roads and footways: a list of `Block`, None where nothing is left."""
    return [_inset(block, roads) for block in blocks]


def _inset(block, roads):
    outline = block.outline
    corners = block.outline
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        middle, edge = (start + end) / 2, end - start
        inward = np.array([-edge[1], edge[0]]) / max(np.linalg.norm(edge), 1e-9)
        distance_m = 0.0
        for road in roads:
            u, v = road.local(middle)
            if abs(v) < 0.1 and -0.1 < u < road.length_m + 0.1:
                distance_m = max(distance_m, road.half_m + road.footway_m)
        outline = clip(outline, middle + inward * distance_m, inward)
        if len(outline) < 3:
            return None
    inner = Block(outline)
    return inner if inner.area_m2 > 400 else None


USES = (
    ('core', 0.30), ('rows', 0.20), ('houses', 0.16), ('slabs', 0.10), ('offices', 0.07),
    ('park', 0.07), ('works', 0.05), ('mall', 0.03), ('pitch', 0.02),
)  # fmt: skip
LANDMARKS = ('church', 'tower', 'mast', 'dome', 'chimney', 'tank')


def choose_uses(
    rng: np.random.Generator,
    blocks: list[Block],
    half_m: float,
    style: CityStyle | None = None,
) -> list[str]:
    """One use per block: the dense ones near the middle, each landmark far from the others."""
    names, style = [name for name, _ in USES], style or CityStyle()
    shares = np.array([share for _, share in USES]) * style.factors(names)
    # Reach as a share of half the side at which a use is most likely.
    home = np.array([0.0, 0.5, 0.9, 0.7, 0.25, 0.5, 0.9, 0.8, 0.7])
    uses = []
    for block in blocks:
        reach = np.linalg.norm(block.middle) / half_m
        weights = shares * np.exp(-(((reach - home) / 0.4) ** 2))
        uses.append(str(rng.choice(names, p=weights / weights.sum())))
    count = max(3, round(len(blocks) / 14))
    for i, place in enumerate(_spread(blocks, half_m, count)):
        uses[place] = LANDMARKS[i % len(LANDMARKS)]
    return uses


def _spread(blocks, half_m, count):
    """Numbers of blocks that are far apart and not at the border."""
    middles = np.array([block.middle for block in blocks])
    inner = np.flatnonzero(np.abs(middles).max(axis=1) < max(half_m - MARGIN_M, half_m / 2))
    if not len(inner):
        inner = np.arange(len(blocks))
    chosen = [int(inner[np.argmin(np.linalg.norm(middles[inner], axis=1))])]
    while len(chosen) < min(count, len(inner)):
        gaps = np.linalg.norm(middles[inner, None] - middles[None, chosen], axis=2).min(axis=1)
        chosen.append(int(inner[np.argmax(gaps)]))
    return chosen
