"""An aerial photograph of a `Plan` on a certain day, and all that stands on the ground in it."""

import numpy as np

from justzoom_ros.worlds.town.canvas import Canvas, Day, photograph
from justzoom_ros.worlds.town.ground import paint_ground
from justzoom_ros.worlds.town.plan import Plan

LEAVES_RGB = {
    'broadleaf': [((58, 86, 38), (84, 92, 40)), ((84, 110, 50), (150, 118, 52)),
                  ((68, 92, 52), (126, 88, 46))],
    'conifer': [((40, 64, 42), (42, 64, 42)), ((52, 76, 52), (52, 74, 50))],
    'fruit': [((88, 114, 60), (112, 110, 56)), ((106, 124, 70), (130, 110, 58))],
    'bush': [((66, 92, 44), (84, 94, 46)), ((86, 108, 54), (112, 104, 54))],
}  # fmt: skip
CARS_RGB = (
    (226, 226, 228), (200, 202, 206), (48, 50, 54), (92, 94, 98), (146, 40, 38),
    (44, 70, 118), (150, 152, 156), (28, 30, 34), (190, 176, 150), (60, 92, 76),
)  # fmt: skip


def paint(plan: Plan, day: Day, resolution_m: float) -> np.ndarray:
    """The photograph of `plan` on `day`: uint8 (side, side, 3) RGB, row 0 north."""
    canvas = Canvas(plan.side_m, resolution_m, day)
    paint_ground(canvas, plan)
    canvas.weather()
    for building in plan.buildings:
        _stamp_building(canvas, building)
    _stamp_cars(canvas, plan)
    for tree in plan.trees:
        _stamp_tree(canvas, tree)
    return photograph(canvas)


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
