"""A city from a seed: everything that stays, and the traffic of a day."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from justzoom_ros.worlds.aliases import Place
from justzoom_ros.worlds.city import palette
from justzoom_ros.worlds.city.landmarks import Landmarks
from justzoom_ros.worlds.city.plan import (
    BRIDGE_REACH_M,
    MARGIN_M,
    Road,
    choose_uses,
    make_roads,
    plots,
    road_rows,
)  # fmt: skip
from justzoom_ros.worlds.city.scene import (
    AVENUE,
    BASE,
    BUILDING,
    CABIN,
    CANAL,
    CAR,
    CELL_M,
    COS,
    EAVE,
    GLASS,
    LANE,
    R_COS,
    R_FROM,
    R_HALF,
    R_LENGTH,
    R_SIN,
    R_TO,
    R_X,
    R_Y,
    SHADE_M,
    SIN,
    STREET,
    TRUCK,
    A,
    B,
    Scene,
    Solids,
    X,
    Y,
    index_solids,
    noise_tile,
)  # fmt: skip
from justzoom_ros.worlds.city.style import CityStyle
from justzoom_ros.worlds.town.geometry import Block, rectangle

LANES_M = {STREET: (1.6,), LANE: (1.5,), AVENUE: (1.75, 4.9), CANAL: (9.8, 13.0)}
"""Middles of the lanes on one side of each kind of road, metres from its middle."""
TRUCKS_M = ((5.2, 2.0, 2.5), (7.4, 2.4, 3.2), (11.5, 2.5, 3.1))
"""Length, width and height of a van, a lorry and a bus; only vans are parked."""
KEEP_CLEAR_M = 2.3
"""From the middle line of a way that is to be free to the middle line of any vehicle."""


@dataclass
class City:
    """What stays where it is; `scene` adds the traffic of a day.

    `half_m` is half the side of the whole scene, `side_m` the square that was asked for.
    `landmarks` are (name, east_m, north_m, top_m).
    """

    seed: int
    side_m: float
    half_m: float
    roads: list[Road]
    road_rows: np.ndarray
    plots: list[Block]
    uses: list[str]
    builder: Landmarks
    kerb_slots: list[Place] = field(default_factory=list)

    @property
    def landmarks(self) -> list[tuple[str, float, float, float]]:
        return self.builder.landmarks

    def scene(
        self, traffic_seed: int, fullness: float = 0.6, keep_clear: np.ndarray | None = None
    ) -> Scene:
        """The `Scene` of a day; `fullness` 0..1 is the share of parking places taken. No vehicle
        is near the points `keep_clear` (N, 2), east and north."""
        rng = np.random.default_rng([self.seed, 3, traffic_seed])
        traffic = Traffic(rng, keep_clear)
        for slot in (*self.kerb_slots, *self.builder.slots):
            if rng.random() < fullness:
                traffic.park(*slot)
        for number in range(len(self.roads)):
            traffic.follow(self, number, fullness)
        return self._assemble(traffic)

    def _assemble(self, cars):
        still = self.builder.solids.table()
        tables = [still] if not len(cars) else [still, cars.table()]
        shape, kind, look, style, rgb = (
            np.concatenate(part) for part in zip(*tables, strict=True)
        )
        cells = int(2 * self.half_m / CELL_M)
        start, item = bin_roads(self.roads, self.half_m, cells)
        cells_of_solids = index_solids(shape, kind, self.half_m)
        return Scene(
            shape, kind, look, style, rgb, *cells_of_solids, self.road_rows, start, item,
            self.builder.ground, openness(shape, look, self.half_m), noise_tile(self.seed),
            float(self.half_m),
        )  # fmt: skip


def make_city(
    seed: int, side_m: float, changed: float = 0.0, style: CityStyle | None = None
) -> City:
    """The City of `seed` on a square of `side_m` metres. `changed` 0..1 is the share of blocks
    that are built anew, for a map that is out of date. Same arguments, same city."""
    half_m = np.ceil((side_m / 2 + MARGIN_M) / (8 * CELL_M)) * 8 * CELL_M
    roads, blocks = make_roads(np.random.default_rng([seed, 1]), half_m, style)
    land = plots(blocks, roads)
    pairs = [(block, plot) for block, plot in zip(blocks, land, strict=True) if plot is not None]
    rng = np.random.default_rng([seed, 2])
    uses = choose_uses(rng, [block for block, _ in pairs], half_m, style)
    builder = Landmarks(np.random.default_rng(0), half_m)
    renewed = np.random.default_rng([seed, 4]).permutation(len(pairs))[
        : round(changed * len(pairs))
    ]
    for number, ((_, plot), use) in enumerate(zip(pairs, uses, strict=True)):
        # A generator per block, so that a block built anew leaves the others as they are.
        builder.rng = np.random.default_rng([seed, 5, number, int(number in renewed)])
        getattr(builder, use)(plot)
    rows = road_rows(roads)
    city = City(seed, side_m, half_m, roads, rows, [plot for _, plot in pairs], uses, builder)
    builder.rng = np.random.default_rng([seed, 6])
    for number in range(len(roads)):
        furnish(city, number)
    return city


def furnish(city: City, number: int) -> None:
    """Lamps, signs, trees and parking places along a road."""
    road, builder, rng = city.roads[number], city.builder, city.builder.rng
    if road.kind == LANE or road.length_m < 40:
        return
    trees, yaw_rad = rng.random() < 0.55, float(np.arctan2(road.along[1], road.along[0]))
    spacing_m, crown_m = rng.uniform(9, 14), rng.uniform(1.9, 3.0)
    for side in (-1, 1):
        kerb = side * (road.half_m + 0.55)
        places = np.arange(14, road.length_m - 14, spacing_m)
        points = np.array([road.at(at, kerb) for at in places])
        free = free_of_roads(city.road_rows, number, points)
        for k in np.flatnonzero(free):
            if k % 3 == 0:
                builder.lamp(points[k], yaw_rad - side * np.pi / 2)
            elif trees and road.footway_m > 2:
                point = road.at(places[k], side * (road.half_m + 0.8))
                builder.tree(point, crown_m * rng.uniform(0.8, 1.1))
            if rng.random() < 0.10:
                facing = yaw_rad + (np.pi if side > 0 else 0)
                builder.sign(road.at(places[k] + 2, kerb), facing)
        row = city.road_rows[number]
        posts = [row[R_FROM] + 5.5 + 1.4 * k for k in range(4)]
        posts += [row[R_TO] - 5.5 - 1.4 * k for k in range(4)]
        points = np.array([road.at(at, side * (road.half_m + 0.4)) for at in posts])
        for point in points[free_of_roads(city.road_rows, number, points)]:
            builder.bollard(point)
        if road.kind == STREET:
            bays = [road.at(at, side * (road.half_m - 1.08))
                    for at in np.arange(17, road.length_m - 17, 6.0)]  # fmt: skip
            for point in np.array(bays)[free_of_roads(city.road_rows, number, np.array(bays))]:
                city.kerb_slots.append((*point, yaw_rad + (np.pi if side > 0 else 0)))


def free_of_roads(rows: np.ndarray, number: int, points: np.ndarray) -> np.ndarray:
    """Bool (N,) for points (N, 2) on road `number`: does no other road's carriageway, a little
    widened, cover them? `rows` are `Scene.roads`."""
    others = np.delete(rows, number, axis=0)
    offset = points[:, None] - others[:, [R_X, R_Y]]
    cosine, sine = others[:, R_COS], others[:, R_SIN]
    u = offset[..., 0] * cosine + offset[..., 1] * sine
    v = offset[..., 1] * cosine - offset[..., 0] * sine
    covered = (u > -3) & (u < others[:, R_LENGTH] + 3) & (np.abs(v) < others[:, R_HALF] + 2.5)
    return ~covered.any(axis=1)


# --- traffic -------------------------------------------------------------------------------------


class Traffic(Solids):
    """The cars of a day. None is put within KEEP_CLEAR_M of the points `keep_clear` (N, 2)."""

    def __init__(self, rng: np.random.Generator, keep_clear: np.ndarray | None = None) -> None:
        super().__init__()
        self.rng, self.keep_clear = rng, keep_clear

    def park(self, east_m: float, north_m: float, yaw_rad: float) -> None:
        """A car on a parking place, a little askew, nose either way."""
        rng = self.rng
        yaw_rad += rng.normal(0, 0.02) + (np.pi if rng.random() < 0.2 else 0.0)
        east_m, north_m = rng.normal((east_m, north_m), 0.12)
        self.vehicle(east_m, north_m, yaw_rad, 0.06, TRUCKS_M[:1])

    def follow(self, city: City, number: int, fullness: float) -> None:
        """Cars and lorries in the lanes of a road, on the right, but not in junctions."""
        rng, road = self.rng, city.roads[number]
        gap_m = (75 if road.kind != LANE else 200) / (0.4 + fullness)
        for side in (-1, 1):
            heading = np.arctan2(road.along[1], road.along[0]) + (np.pi if side > 0 else 0.0)
            for lane_m in LANES_M[road.kind]:
                count = int(road.length_m / 9) + 1
                along = rng.uniform(5, 60) + np.cumsum(rng.exponential(gap_m, count) + 13)
                along = along[along < road.length_m - 8]
                if not len(along):
                    continue
                points = np.array([road.at(at, side * lane_m) for at in along])
                for point in points[free_of_roads(city.road_rows, number, points)]:
                    self.vehicle(*point, heading + rng.normal(0, 0.01), 0.12)

    def vehicle(
        self,
        east_m: float,
        north_m: float,
        yaw_rad: float,
        trucks: float,
        sizes_m: Sequence[tuple[float, float, float]] = TRUCKS_M,
    ) -> None:
        """One car, or, at the rate `trucks`, something of one of the sizes."""
        rng = self.rng
        seed, truck = int(rng.integers(1, 2**20)), rng.random() < trucks
        length, width = rng.uniform(3.9, 4.8), rng.uniform(1.7, 1.86)
        tall, hatch = rng.choice([1.42, 1.48, 1.66]), rng.uniform(0.0, 0.12)
        place = (float(east_m), float(north_m), float(yaw_rad))
        if truck:
            length, width, height = sizes_m[seed % len(sizes_m)]
        if not self.may_stand(place, length):
            return
        if truck:
            color = palette.TRUCKS[seed % len(palette.TRUCKS)]
            self.box(*place, length, width, height, TRUCK, color, base_m=0.3, seed=seed)
            return
        color = palette.CARS[seed % len(palette.CARS)]
        self.box(*place, length, width, 0.86, CAR, color, base_m=0.22, kx=0.18, ky=0.9, top_m=0.92,
                 seed=seed)  # fmt: skip
        back = length * (0.06 + hatch)
        cabin = (place[0] - back * np.cos(yaw_rad), place[1] - back * np.sin(yaw_rad), yaw_rad)
        self.box(*cabin, length * 0.60, width - 0.12, 0.94, CABIN, color, base_m=0.84, kx=0.9,
                 ky=3.2, top_m=tall, seed=seed)  # fmt: skip

    def may_stand(self, place: Place, length_m: float) -> bool:
        """False where a vehicle, whichever way it stands, would block what is kept clear."""
        if self.keep_clear is None:
            return True
        ahead = np.array([np.cos(place[2]), np.sin(place[2])])
        offset = self.keep_clear - place[:2]
        along = np.clip(offset @ ahead, -length_m / 2, length_m / 2)
        gaps = np.hypot(*(offset - along[:, None] * ahead).T)
        return bool(gaps.min() > KEEP_CLEAR_M)


# --- tables --------------------------------------------------------------------------------------


def bin_roads(roads: list[Road], half_m: float, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """(road_start, road_item) of a Scene: which roads may be in each cell, the greatest first."""
    middle = (np.arange(cells) + 0.5) * CELL_M - half_m
    points = np.stack(np.meshgrid(middle, middle), axis=-1)  # [row, column] = (east, north)
    pairs = []
    for number, road in enumerate(roads):
        u, v = road.local(points)
        near = np.abs(v) < road.half_m + road.footway_m + 0.71 * CELL_M
        reach_m = 0.71 * CELL_M + BRIDGE_REACH_M
        near &= (u > -reach_m) & (u < road.length_m + reach_m)
        cell = np.flatnonzero(near)
        pairs.append(np.stack([cell, np.full_like(cell, number)]))
    cell, item = np.concatenate(pairs, axis=1)
    order = np.argsort(cell, kind='stable')
    start = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=cells**2))])
    return start.astype(np.int32), item[order].astype(np.int32)


def openness(shape: np.ndarray, look: np.ndarray, half_m: float) -> np.ndarray:
    """`Scene.openness`: how much of the sky the ground sees, from the heights round about."""
    side = int(2 * half_m / SHADE_M)
    height = np.zeros((side, side), np.float32)
    low = np.zeros((side, side), np.float32)
    tall = np.isin(look[:, 0], (BUILDING, GLASS))
    for row in shape[tall & (shape[:, BASE] < 1)]:
        cv2.fillConvexPoly(height, _footprint(row, half_m), float(row[EAVE]))
    for row in shape[look[:, 0] == CAR]:
        cv2.fillConvexPoly(low, _footprint(row, half_m), 1.0)
    near = np.minimum(cv2.blur(height, (9, 9)), 14) / 14
    far = np.minimum(cv2.blur(height, (41, 41)), 16) / 16
    car = cv2.GaussianBlur(low, (0, 0), 0.7)
    open_share = (1 - 0.45 * near) * (1 - 0.4 * far) * (1 - 0.75 * car)
    return np.clip(255 * open_share, 0, 255).astype(np.uint8)


def _footprint(row, half_m):
    yaw_rad = float(np.arctan2(row[SIN], row[COS]))
    outline = rectangle(float(row[X]), float(row[Y]), yaw_rad, 2 * row[A], 2 * row[B])
    return np.round((outline + half_m) / SHADE_M - 0.5).astype(np.int32)
