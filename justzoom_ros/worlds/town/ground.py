"""Painting the ground: areas with their rows and blotches, water, roads, rails."""

import cv2
import numpy as np

from justzoom_ros.worlds.town.canvas import Canvas, noise
from justzoom_ros.worlds.town.plan import Plan

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
ROWS_M = {
    'maize': (0.9, 0.10), 'beet': (1.2, 0.10), 'soil': (2.6, 0.06), 'wheat': (3.0, 0.03),
    'stubble': (6.0, 0.09), 'rape': (3.0, 0.02), 'grass': (7.0, 0.05), 'pitch': (9.0, 0.07),
    'beds': (1.5, 0.22),
}  # fmt: skip
TRAMLINES = ('wheat', 'rape', 'beet', 'maize')


def paint_ground(canvas: Canvas, plan: Plan) -> None:
    """Paint everything of `plan` that is flat."""
    canvas.rgb[:] = canvas.color(USES_RGB['meadow'], 0.5).astype(np.uint8)
    for area in plan.areas:
        _paint_area(canvas, area)
    for stream in plan.water:
        canvas.line(stream.path, stream.width_m + 4, (92, 104, 58))
        canvas.line(stream.path, stream.width_m, (66, 82, 78))
    _paint_roads(canvas, plan)
    for rails in plan.rails:
        _paint_rails(canvas, rails)


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
    return strength * noise(rng, max(shape), scales_px)[: shape[0], : shape[1]]


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
