"""An aerial photograph of a `Plan` on a certain day.

Two rasters are painted, the colour of the ground as it is (albedo) and the height of what stands
on it; then the sun lights both, so that every shadow and every shaded roof agrees with it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

SHIFT = 4
"""cv2 takes coordinates in 1/16 of a pixel."""


@dataclass(frozen=True)
class Day:
    """When the photograph was taken.

    `sun_yaw_rad` is the direction towards the sun, counter-clockwise from east; `autumn` 0..1
    turns leaves and crops; `seed` draws what moves (cars, wear, noise); `exposure` and `contrast`
    multiply, `warmth` shifts from blue to red, `haze` 0..1 veils.
    """

    sun_yaw_rad: float
    sun_elevation_rad: float
    autumn: float
    seed: int
    exposure: float = 1.0
    contrast: float = 1.0
    warmth: float = 0.0
    haze: float = 0.05


# Colours in early summer and in autumn; where there are more than two rows, an area's tint
# chooses between neighbours.
USES_RGB = {
    'garden': [
        ((132, 128, 86), (130, 122, 82)),
        ((104, 118, 72), (110, 114, 70)),
        ((84, 102, 60), (94, 102, 62)),
        ((112, 124, 70), (114, 116, 68)),
    ],
    'lawn': [((98, 118, 68), (106, 114, 68)), ((88, 108, 62), (98, 108, 64))],
    'meadow': [((120, 122, 80), (128, 120, 82)), ((104, 114, 70), (114, 114, 74))],
    'grass': [((94, 116, 66), (98, 112, 66)), ((112, 128, 78), (114, 120, 76))],
    'wheat': [((186, 166, 108), (180, 164, 116)), ((170, 158, 96), (170, 156, 106))],
    'rape': [((176, 170, 62), (150, 144, 84)), ((166, 164, 70), (146, 138, 84))],
    'maize': [((72, 94, 52), (100, 100, 60)), ((86, 106, 62), (108, 106, 66))],
    'beet': [((70, 100, 62), (76, 98, 62)), ((86, 112, 74), (88, 106, 70))],
    'soil': [((126, 102, 80), (114, 96, 76)), ((146, 122, 98), (128, 110, 88))],
    'stubble': [((172, 150, 112), (158, 140, 106)), ((156, 136, 98), (146, 130, 98))],
    'forest_floor': [((62, 72, 42), (88, 76, 48))],
    'paving': [((150, 146, 140), (146, 142, 138)), ((122, 120, 118), (120, 118, 118))],
    'plaza': [((186, 172, 152), (178, 166, 150))],
    'yard': [((152, 146, 136), (146, 142, 134)), ((130, 126, 122), (128, 124, 122))],
    'terrace': [((176, 164, 150), (168, 160, 150)), ((150, 144, 140), (146, 142, 138))],
    'court': [((172, 92, 66), (164, 92, 70)), ((72, 118, 96), (74, 114, 96))],
    'track_field': [((170, 84, 62), (160, 84, 64))],
    'pitch': [((88, 122, 66), (94, 118, 66))],
    'pool': [((78, 176, 196), (84, 160, 172))],
    'pond': [((54, 74, 74), (58, 70, 64))],
    'beds': [((112, 92, 70), (104, 92, 70)), ((92, 104, 62), (100, 96, 64))],
    'rubber': [((46, 50, 60), (50, 52, 60))],
}
ROADS_RGB = {
    'arterial': (102, 102, 106), 'street': (120, 118, 118), 'lane': (128, 126, 124),
    'track': (168, 150, 122), 'path': (192, 178, 152), 'driveway': (158, 152, 146),
}  # fmt: skip
LEAVES_RGB = {
    'broadleaf': [((58, 86, 38), (84, 92, 40)), ((84, 110, 50), (150, 118, 52)),
                  ((68, 92, 52), (126, 88, 46))],
    'conifer': [((40, 64, 42), (42, 64, 42)), ((52, 76, 52), (52, 74, 50))],
    'fruit': [((88, 114, 60), (112, 110, 56)), ((106, 124, 70), (130, 110, 58))],
    'bush': [((66, 92, 44), (84, 94, 46)), ((86, 108, 54), (112, 104, 54))],
}  # fmt: skip
ROWS_M = {
    'maize': (0.9, 0.10), 'beet': (1.2, 0.10), 'soil': (2.6, 0.06), 'wheat': (3.0, 0.03),
    'stubble': (6.0, 0.09), 'rape': (3.0, 0.02), 'grass': (7.0, 0.05), 'pitch': (9.0, 0.07),
    'beds': (1.5, 0.22),
}  # fmt: skip
TRAMLINES = ('wheat', 'rape', 'beet', 'maize')
CARS_RGB = (
    (226, 226, 228), (200, 202, 206), (48, 50, 54), (92, 94, 98), (146, 40, 38),
    (44, 70, 118), (150, 152, 156), (28, 30, 34), (190, 176, 150), (60, 92, 76),
)  # fmt: skip


def paint(plan, day, resolution_m):
    """The photograph of `plan` on `day`: uint8 (side, side, 3) RGB, row 0 north."""
    canvas = _Canvas(plan.side_m, resolution_m, day)
    for area in plan.areas:
        _paint_area(canvas, area)
    for stream in plan.water:
        canvas.line(stream.path, stream.width_m + 4, (92, 104, 58))
        canvas.line(stream.path, stream.width_m, (66, 82, 78))
    _paint_roads(canvas, plan)
    for rails in plan.rails:
        _paint_rails(canvas, rails)
    canvas.weather()
    for building in plan.buildings:
        _stamp_building(canvas, building)
    _stamp_cars(canvas, plan)
    for tree in plan.trees:
        _stamp_tree(canvas, tree)
    return _photograph(canvas)


class _Canvas:
    """Albedo (side, side, 3) and height in metres (side, side) of the scene."""

    def __init__(self, side_m, resolution_m, day):
        self.day, self.resolution_m, self.half_m = day, resolution_m, side_m / 2
        self.side = int(round(side_m / resolution_m))
        self.rng = np.random.default_rng([day.seed, 3])
        meadow = self.color(USES_RGB['meadow'], 0.5)
        self.rgb = np.full((self.side, self.side, 3), meadow, np.uint8)
        self.height_m = np.zeros((self.side, self.side), np.float32)

    def color(self, palette, tint):
        """One colour of a palette of (summer, autumn) pairs."""
        pairs = np.asarray(palette, float)
        pair = pairs[0]
        if len(pairs) > 1:
            at = tint * (len(pairs) - 1)
            low = min(int(at), len(pairs) - 2)
            pair = pairs[low] + (at - low) * (pairs[low + 1] - pairs[low])
        return pair[0] + self.day.autumn * (pair[1] - pair[0])

    def pixels(self, points):
        """Positions (N, 2) in metres as (column, row), pixel centres being whole numbers."""
        points = np.asarray(points, float)
        scale = np.array([1, -1]) / self.resolution_m
        return (points - np.array([-self.half_m, self.half_m])) * scale - 0.5

    def _fixed(self, points):
        return np.round(self.pixels(points) * 2**SHIFT).astype(np.int32)

    def line(self, path, width_m, rgb):
        thickness = max(int(round(width_m / self.resolution_m)), 1)
        cv2.polylines(
            self.rgb, [self._fixed(path)], False, _ints(rgb), thickness, cv2.LINE_AA, SHIFT
        )

    def disc(self, east_m, north_m, radius_m, rgb):
        middle = tuple(int(v) for v in self._fixed([[east_m, north_m]])[0])
        radius = int(radius_m / self.resolution_m * 2**SHIFT)
        cv2.circle(self.rgb, middle, radius, _ints(rgb), -1, cv2.LINE_AA, SHIFT)

    def window(self, points):
        """Slices (rows, columns) of the part of the canvas round `points`; None if outside."""
        pixels = self.pixels(points)
        low = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 2, self.side)
        if (high <= low).any():
            return None
        return slice(low[1], high[1]), slice(low[0], high[0])

    def metres(self, window):
        """(east, north) of the window's pixel centres, float32 (1, W) and (H, 1)."""
        rows, columns = window
        column = np.arange(columns.start, columns.stop, dtype=np.float32)
        row = np.arange(rows.start, rows.stop, dtype=np.float32)
        east = (column + 0.5) * self.resolution_m - self.half_m
        north = self.half_m - (row + 0.5) * self.resolution_m
        return east[None, :], north[:, None]

    def stencil(self, outline, window):
        """Cover of a polygon in a window, float32 0..1."""
        rows, columns = window
        offset = np.array([columns.start, rows.start]) * 2**SHIFT
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        corners = self._fixed(outline) - offset.astype(np.int32)
        cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, SHIFT)
        return mask.astype(np.float32) / 255

    def blend(self, window, rgb, cover):
        """Lay `rgb` (3,) or (H, W, 3) over a window where `cover` (H, W) says."""
        under = self.rgb[window].astype(np.float32)
        mixed = under + cover[..., None] * (np.asarray(rgb, np.float32) - under)
        self.rgb[window] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)

    def raise_to(self, window, height_m, cover):
        """Lift the window to `height_m` where it is higher and covered more than half."""
        now = self.height_m[window]
        np.copyto(now, np.maximum(now, height_m), where=cover > 0.5, casting='same_kind')

    def weather(self):
        """Stains and grain of the ground, the same everywhere on earth and asphalt."""
        stains = _noise(self.rng, self.side, (160, 45, 14, 5, 2)) * 0.055
        grain = self.rng.normal(0, 0.02, (self.side, self.side)).astype(np.float32)
        worn = self.rgb * (1 + stains + grain)[..., None]
        self.rgb = np.clip(worn, 0, 255).astype(np.uint8)


def _ints(rgb):
    return tuple(int(round(float(v))) for v in rgb)


def _noise(rng, side, scales_px):
    """Smooth noise (side, side) float32 of unit variance or so, a sum of several scales, each
    turned another way, so that no grid shows."""
    total = np.zeros((side, side), np.float32)
    for scale in scales_px:
        coarse = rng.normal(size=(int(1.5 * side / scale) + 4,) * 2).astype(np.float32)
        middle, turn = coarse.shape[0] / 2, rng.uniform(0, 2 * np.pi)
        u, v = np.array([np.cos(turn), np.sin(turn)]) / scale
        to_coarse = np.array([[u, -v, 0], [v, u, 0]])
        to_coarse[:, 2] = middle - to_coarse[:, :2] @ [side / 2, side / 2]
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        total += cv2.warpAffine(coarse, to_coarse, (side, side), flags=flags)
    return total / np.sqrt(len(scales_px) / 2)


# --- the ground ----------------------------------------------------------------------------------


def _paint_area(canvas, area):
    window = canvas.window(area.outline)
    if window is None:
        return
    cover = canvas.stencil(area.outline, window)
    light = _rows(canvas, area, window)
    if area.use in ('garden', 'lawn', 'meadow', 'forest_floor', 'yard', *ROWS_M):
        light = light + _blotches(area, cover.shape, canvas.resolution_m)
    if area.use in TRAMLINES or area.use in ('soil', 'stubble', 'grass'):
        light = light + _headland(cover, canvas.resolution_m)
    rgb = canvas.color(USES_RGB[area.use], area.tint)
    canvas.blend(window, rgb * light[..., None], cover)


def _rows(canvas, area, window):
    """Brightness (H, W) of the rows of a crop and of the lanes of the tractor."""
    east, north = canvas.metres(window)
    across = north * np.cos(area.yaw_rad) - east * np.sin(area.yaw_rad)
    light = np.ones(across.shape, np.float32)
    if area.use in ROWS_M:
        spacing_m, depth = ROWS_M[area.use]
        light += depth * np.sin(across * (2 * np.pi / spacing_m))
        if area.use in ('pitch', 'grass', 'stubble'):
            light += 0.5 * depth * np.sign(np.sin(across * (np.pi / spacing_m)))
    if area.use in TRAMLINES:
        lane_m = 15 + 6 * area.tint
        to_wheel_m = np.abs(np.abs((across % lane_m) - lane_m / 2) - 0.9)
        light -= 0.16 * np.clip(1.2 - to_wheel_m / 0.4, 0, 1)
    return light


def _blotches(area, shape, resolution_m):
    """Patches of dry and wet, rich and poor ground, (H, W); they belong to the place."""
    rng = np.random.default_rng([int(area.tint * 2**30), 5])
    scales_px = [max(int(m / resolution_m), 1) for m in (34, 15, 6)]
    strength = {'pitch': 0.035, 'beds': 0.035, 'yard': 0.035, 'soil': 0.085}.get(area.use, 0.065)
    return strength * _noise(rng, max(shape), scales_px)[: shape[0], : shape[1]]


def _headland(cover, resolution_m):
    """Where the tractor turns, along the border, the field looks different, (H, W)."""
    inside = (cover > 0.5).astype(np.uint8)
    inside = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    to_border = cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1] * resolution_m
    return -0.07 * np.clip((9 - to_border) * 2, 0, 1) - 0.12 * np.clip(1.6 - to_border, 0, 1)


def _paint_roads(canvas, plan):
    order = ('path', 'driveway', 'track', 'lane', 'street', 'arterial')
    roads = sorted(plan.roads, key=lambda road: order.index(road.kind))
    for road in roads:
        if road.kind in ('street', 'arterial'):
            canvas.line(road.path, road.width_m + 4.2, (168, 164, 158))
    for road in roads:
        tone = 0.9 + 0.2 * road.tone
        canvas.line(road.path, road.width_m, np.array(ROADS_RGB[road.kind]) * tone)
        if road.kind == 'track':
            canvas.line(road.path, 0.7, (124, 122, 78))
    for road in roads:
        if road.kind in ('arterial', 'lane'):
            _dashes(canvas, road.path, 0.2, 2, (222, 222, 216))
        if road.kind == 'arterial':
            _patches(canvas, road)
    for east, north, radius in plan.rings:
        _paint_ring(canvas, east, north, radius)
    for line in plan.lines:
        canvas.line(line.path, line.width_m, (224, 224, 218))


def _dashes(canvas, path, width_m, every, rgb):
    for i in range(0, len(path) - 1, every):
        canvas.line(path[i : i + 2], width_m, rgb)


def _patches(canvas, road):
    """Repairs of the asphalt, darker than the rest."""
    rng = np.random.default_rng([int(road.tone * 2**30), 6])
    for start in rng.integers(0, max(len(road.path) - 8, 1), 4):
        along = np.gradient(road.path, axis=0)
        across = along[:, ::-1] * [-1, 1] / np.linalg.norm(along, axis=1, keepdims=True)
        lane = road.path + across * float(rng.choice([-2.4, 2.4]))
        canvas.line(lane[start : start + int(rng.integers(3, 7))], 3.2, (86, 86, 92))


def _paint_ring(canvas, east, north, radius):
    canvas.disc(east, north, radius + 2.2, (168, 164, 158))
    canvas.disc(east, north, radius, ROADS_RGB['arterial'])
    canvas.disc(east, north, radius * 0.52, (190, 182, 172))
    canvas.disc(east, north, radius * 0.46, canvas.color(USES_RGB['lawn'], 0.5))
    canvas.disc(east, north, radius * 0.15, (170, 120, 110))


def _paint_rails(canvas, rails):
    canvas.line(rails.path, rails.width_m + 3, (124, 116, 88))
    canvas.line(rails.path, rails.width_m, (128, 116, 108))
    along = np.gradient(rails.path, axis=0)
    across = along[:, ::-1] * [-1, 1] / np.linalg.norm(along, axis=1, keepdims=True)
    for track_m in (-2.1, 2.1):
        canvas.line(rails.path + track_m * across, 2.4, (108, 98, 92))
        for rail_m in (-0.72, 0.72):
            canvas.line(rails.path + (track_m + rail_m) * across, 0.2, (186, 178, 172))


# --- what stands on it ---------------------------------------------------------------------------


def _box(canvas, east_m, north_m, yaw_rad, length_m, width_m):
    """Window, along and across offsets in metres, and cover of a turned rectangle."""
    reach = np.hypot(length_m, width_m) / 2
    window = canvas.window([[east_m - reach, north_m - reach], [east_m + reach, north_m + reach]])
    if window is None:
        return None
    east, north = canvas.metres(window)
    east, north = east - east_m, north - north_m
    u = east * np.cos(yaw_rad) + north * np.sin(yaw_rad)
    v = north * np.cos(yaw_rad) - east * np.sin(yaw_rad)
    cover_u = np.clip((length_m / 2 - np.abs(u)) / canvas.resolution_m + 0.5, 0, 1)
    cover_v = np.clip((width_m / 2 - np.abs(v)) / canvas.resolution_m + 0.5, 0, 1)
    return window, u, v, cover_u * cover_v


def _stamp_building(canvas, b):
    box = _box(canvas, b.east_m, b.north_m, b.yaw_rad, b.length_m, b.width_m)
    if box is None:
        return
    window, u, v, cover = box
    rng = np.random.default_rng([int(abs(b.east_m) * 1e4), int(abs(b.north_m) * 1e4)])
    to_side = b.width_m / 2 - np.abs(v)
    to_end = b.length_m / 2 - np.abs(u)
    slope = b.rise_m / (b.width_m / 2)
    from_eave = np.minimum(to_side, to_end) if b.roof == 'hip' else to_side
    height_m = b.eave_m + np.maximum(from_eave, 0) * slope
    light = 1 + 0.05 * np.sin(u * (2 * np.pi / 1.1)) * (b.roof != 'flat')
    light = light + rng.normal(0, 0.025, u.shape)
    border = np.minimum(to_side, to_end) < 0.5
    rgb = np.multiply.outer(light, np.array(b.rgb, np.float64))
    if b.roof == 'flat':
        rgb[border] *= 1.12
        height_m = height_m + 0.5 * border
    else:
        rgb[np.abs(v) < 0.3] *= 1.1
    canvas.blend(window, rgb, cover)
    canvas.raise_to(window, height_m, cover)
    _stamp_equipment(canvas, b, rng)


def _stamp_equipment(canvas, b, rng):
    """Chimneys, roof windows and solar panels of a pitched roof, boxes and skylights of a flat."""
    small = b.length_m < 6
    count = 0 if small else int(rng.integers(2, 4 + int(b.length_m * b.width_m / 60)))
    top_m = b.eave_m + b.rise_m
    for _ in range(count):
        u = rng.uniform(-0.38, 0.38) * b.length_m
        v = rng.uniform(-0.36, 0.36) * b.width_m
        if b.roof == 'flat':
            size = rng.uniform(0.8, 3.2, 2)
            rgb, more_m = ((212, 214, 216), 1.2) if rng.random() < 0.6 else ((96, 108, 120), 0.2)
        elif rng.random() < 0.5:
            size, rgb, more_m = (0.9, 0.9), (118, 84, 72), 0.9
            v = np.sign(v) * 0.1 * b.width_m
        else:
            size, rgb, more_m = (1.0, 1.3), (70, 82, 96), 0.0
        _stamp_part(canvas, b, u, v, *size, rgb, top_m + more_m if more_m else 0.0)
    if not small and b.roof != 'flat' and rng.random() < 0.22:
        side = float(rng.choice([-1, 1]))
        size = 0.55 * b.length_m, 0.30 * b.width_m
        _stamp_part(canvas, b, 0.0, side * 0.25 * b.width_m, *size, (40, 46, 66), 0.0)


def _stamp_part(canvas, b, u, v, length_m, width_m, rgb, height_m):
    east = b.east_m + u * np.cos(b.yaw_rad) - v * np.sin(b.yaw_rad)
    north = b.north_m + u * np.sin(b.yaw_rad) + v * np.cos(b.yaw_rad)
    box = _box(canvas, east, north, b.yaw_rad, length_m, width_m)
    if box is not None:
        window, _, _, cover = box
        canvas.blend(window, rgb, cover)
        canvas.raise_to(window, height_m, cover)


def _stamp_cars(canvas, plan):
    """Cars in a share of the slots and on the roads, drawn by the day."""
    rng = np.random.default_rng([canvas.day.seed, 4])
    for slot in plan.slots:
        if rng.random() < 0.55:
            _stamp_car(canvas, rng, *slot)
    for road in plan.roads:
        if road.kind not in ('arterial', 'lane', 'street'):
            continue
        along = np.gradient(road.path, axis=0)
        yaw = np.arctan2(along[:, 1], along[:, 0])
        for i in range(2, len(road.path) - 2, 3):
            if rng.random() < (0.10 if road.kind == 'arterial' else 0.02):
                side = float(rng.choice([-1, 1])) * road.width_m / 4
                east, north = road.path[i] + side * np.array([np.sin(yaw[i]), -np.cos(yaw[i])])
                _stamp_car(canvas, rng, east, north, yaw[i])


def _stamp_car(canvas, rng, east_m, north_m, yaw_rad):
    yaw_rad = yaw_rad + rng.normal(0, 0.03) + np.pi * (rng.random() < 0.5)
    length_m, width_m = (4.4, 1.8) if rng.random() < 0.9 else (6.6, 2.2)
    rgb = np.array(CARS_RGB[int(rng.integers(len(CARS_RGB)))])
    box = _box(canvas, east_m, north_m, yaw_rad, length_m, width_m)
    if box is None:
        return
    window, u, _, cover = box
    glass = ((u > 0.15 * length_m) & (u < 0.27 * length_m)) | (
        (u < -0.30 * length_m) & (u > -0.38 * length_m)
    )
    roof = (u <= 0.15 * length_m) & (u >= -0.30 * length_m)
    canvas.blend(window, np.where(glass[..., None], (50, 58, 66), rgb), cover)
    canvas.raise_to(window, np.where(roof, 1.5, 0.9), cover)


def _stamp_tree(canvas, tree):
    reach = tree.radius_m * 1.25
    window = canvas.window(
        [[tree.east_m - reach, tree.north_m - reach], [tree.east_m + reach, tree.north_m + reach]]
    )
    if window is None:
        return
    east, north = canvas.metres(window)
    east, north = east - tree.east_m, north - tree.north_m
    turn, distance = np.arctan2(north, east), np.hypot(north, east)
    phase = tree.tint * 40
    lobes = 1 + 0.10 * np.sin(3 * turn + phase) + 0.07 * np.sin(5 * turn + 2.3 * phase)
    radius = tree.radius_m * lobes
    share = distance / radius
    if tree.kind == 'conifer':
        dome = np.clip(1 - share, 0, 1) * 0.8 + 0.2
    else:
        dome = np.sqrt(np.clip(1 - share**2, 0, 1)) * 0.55 + 0.45
        lump = np.sin(east * 2.6 + phase) * np.sin(north * 2.6 + 1.7 * phase)
        dome = dome + 0.05 * lump * np.sin((east + north) * 1.7 + phase)
    cover = np.clip((radius - distance) / (2 * canvas.resolution_m) + 0.5, 0, 1)
    rgb = canvas.color(LEAVES_RGB[tree.kind], tree.tint)
    canvas.blend(window, rgb * (0.80 + 0.25 * dome[..., None]), cover)
    canvas.raise_to(window, tree.height_m * dome, cover)


# --- light ---------------------------------------------------------------------------------------


def _photograph(canvas):
    """Light the scene and expose it: uint8 (side, side, 3)."""
    day = canvas.day
    sun = _shading(canvas) * (1 - _shadow(canvas))
    sky = np.array([0.44, 0.47, 0.53], np.float32)
    beam = np.array([0.63, 0.61, 0.56], np.float32) + day.warmth * np.array(
        [0.05, 0.0, -0.06], np.float32
    )
    lit = canvas.rgb * (sky + sun[..., None] * beam) * day.exposure
    lit = 118 + (lit - 118) * day.contrast
    lit += day.haze * (np.array([176, 186, 200], np.float32) - lit)
    lit = cv2.GaussianBlur(lit, (0, 0), 0.55)
    lit += canvas.rng.normal(0, 1.6, lit.shape[:2]).astype(np.float32)[..., None]
    return np.clip(lit + 0.5, 0, 255).astype(np.uint8)


def _shading(canvas):
    """Sun on the slopes, 1 on level ground, (side, side)."""
    day = canvas.day
    smooth = cv2.GaussianBlur(canvas.height_m, (0, 0), 0.25 / canvas.resolution_m)
    east = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / (8 * canvas.resolution_m))
    south = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / (8 * canvas.resolution_m))
    # Walls seen from above would shade like cliffs; no roof or crown is steeper than 50 degrees.
    east, south = np.clip(east, -1.2, 1.2), np.clip(south, -1.2, 1.2)
    level = np.sin(day.sun_elevation_rad)
    reach = np.cos(day.sun_elevation_rad)
    towards = reach * (south * np.sin(day.sun_yaw_rad) - east * np.cos(day.sun_yaw_rad)) + level
    return np.clip(towards / np.sqrt(1 + east**2 + south**2) / level, 0, 1.45)


def _shadow(canvas):
    """0 in the sun, 1 in the shadow of something higher, (side, side)."""
    day, height_m = canvas.day, canvas.height_m
    fall_m = canvas.resolution_m * np.tan(day.sun_elevation_rad)
    steps = int(height_m.max() / fall_m)
    above = np.zeros_like(height_m)
    for step in range(1, steps + 1):
        columns = int(round(step * np.cos(day.sun_yaw_rad)))
        rows = int(round(-step * np.sin(day.sun_yaw_rad)))
        here, there = _shifted(rows, columns)
        np.maximum(above[here], height_m[there] - step * fall_m, out=above[here])
    soft = np.clip((above - height_m) / 0.6, 0, 1)
    return cv2.GaussianBlur(soft, (0, 0), 0.15 / canvas.resolution_m)


def _shifted(rows, columns):
    """Index pairs such that a[here] faces what lies `rows` down and `columns` right of it."""

    def one(offset):
        if offset >= 0:
            return slice(0, -offset or None), slice(offset, None)
        return slice(-offset, None), slice(0, offset)

    (row_here, row_there), (column_here, column_there) = one(rows), one(columns)
    return (row_here, column_here), (row_there, column_there)
