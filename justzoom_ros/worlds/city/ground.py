"""What the ground looks like: roads from their geometry, everything else from a raster."""

from justzoom_ros.worlds.city.caster import value_noise
from justzoom_ros.worlds.city.jit import inline_kernel
from justzoom_ros.worlds.city.scene import (
    AVENUE,
    CANAL,
    CELL_M,
    CONCRETE,
    DRIVE,
    GARDEN,
    GRASS,
    GRAVEL,
    GROUND_M,
    LANE,
    LINE,
    MEADOW,
    PARKING,
    PAVED,
    PITCH,
    PLAZA,
    R_COS,
    R_FOOTWAY,
    R_FROM,
    R_HALF,
    R_KIND,
    R_LENGTH,
    R_SIN,
    R_TO,
    R_TONE,
    R_X,
    R_Y,
    SAND,
    STREET,
    TRACK,
    WATER,
)  # fmt: skip

KERB_M = 0.22
LANE_M = 3.2
DASH_M, GAP_M = 3.0, 6.0
ZEBRA_M = 3.4
CANAL_M = 8.2
"""Half the width of a canal and its banks, where the lanes beside it begin."""
BRIDGE_EVERY_M, BRIDGE_M = 130.0, 11.0


@inline_kernel
def cover(distance, width, foot):
    """Share of a pixel `foot` wide that a stripe `width` wide at `distance` covers."""
    f = max(foot, 0.012)
    high, low = min(distance + f / 2, width / 2), max(distance - f / 2, -width / 2)
    return max(high - low, 0.0) / f


@inline_kernel
def cover_stripes(x, period, width, foot):
    """As `cover`, for stripes that repeat; far away their mean."""
    if foot > period:
        return width / period
    return cover((x / period - round(x / period)) * period, width, foot)


@inline_kernel
def markings(road, u, v, foot):
    """Share 0..1 of white paint at `u` along and `v` across a road."""
    half, kind = road[R_HALF], road[R_KIND]
    first, last = road[R_FROM], road[R_TO]
    if last - first < 12.0 or kind == LANE:
        return 0.0
    across = abs(v)
    # Pedestrian crossings at both ends, a stop line before each on the right-hand side.
    edge = min(u - first, last - u)
    if edge < 0.0:
        return 0.0
    if edge < ZEBRA_M:
        inset = cover(across, 2 * half - 0.6, foot)
        return inset * cover_stripes(v, 1.0, 0.5, foot)
    if edge < ZEBRA_M + 1.7:
        inbound = (v > 0.0) == (u - first < last - u)
        return cover(edge - ZEBRA_M - 1.3, 0.45, foot) if inbound and across < half - 0.3 else 0.0
    dashes = cover_stripes(u, DASH_M + GAP_M, DASH_M, 2 * foot)
    if kind == STREET:
        middle = cover(across, 0.13, foot) * dashes
        # Parking bays along the kerbs.
        bay = half - 2.1
        line = cover(across - bay, 0.1, foot)
        if across > bay:
            line = max(line, cover_stripes(u, 6.0, 0.1, foot))
        return max(middle, 0.8 * line)
    if kind == AVENUE:
        solid = max(cover(across - 0.14, 0.12, foot), cover(across - half + 0.35, 0.14, foot))
        return max(solid, cover(across - LANE_M - 0.1, 0.13, foot) * dashes)
    side = across - CANAL_M
    return max(cover(side - LANE_M, 0.13, foot) * dashes, cover(across - half + 0.3, 0.13, foot))


@inline_kernel
def asphalt(scene, light, road, x, y, u, v, foot):
    """Linear RGB and gloss of a carriageway with its markings."""
    tone = 0.085 + 0.06 * road[R_TONE]
    coarse = value_noise(scene.noise, 0.21 * x, 0.21 * y)
    tone *= 0.82 + 0.36 * coarse
    if foot < 0.25:
        tone *= 0.86 + 0.28 * value_noise(scene.noise, 9.0 * x, 9.0 * y)
    if foot < 0.03:
        tone *= 0.8 + 0.4 * value_noise(scene.noise, 47.0 * x, 47.0 * y)
    # Wheels polish two tracks in each lane, and repairs leave dark patches and tarred cracks.
    track = abs(abs(abs(v) - LANE_M / 2) - 0.75)
    tone *= 1.0 - 0.14 * max(0.0, 1.0 - track / 0.45)
    patch = value_noise(scene.noise, 0.13 * u + 17.0 * road[R_TONE], 0.31 * v)
    if patch > 0.80:
        tone *= 0.72
    crack = abs(value_noise(scene.noise, 0.5 * x, 0.5 * y) - 0.5)
    if foot < 0.3:
        tone *= 1.0 - 0.4 * max(0.0, 1.0 - crack / (0.012 + 0.1 * foot))
    paint = markings(road, u, v, foot) * (0.72 + 0.2 * value_noise(scene.noise, 5 * x, 5 * y))
    tone *= 1.0 - 0.45 * light.wet
    white = tone + (0.62 - tone) * paint
    return white * 1.0, white * 1.0, white * (1.03 - 0.06 * paint), 0.5 * light.wet


@inline_kernel
def footway(scene, light, x, y, u, outside, foot):
    """Linear RGB of slabs with a kerb stone at the carriageway, `outside` metres from it."""
    tone = 0.30 * (0.8 + 0.4 * value_noise(scene.noise, 0.6 * x, 0.6 * y))
    slab = value_noise(scene.noise, 13.7 * round(u / 0.6), 9.3 * round(outside / 0.6))
    if foot < 0.4:
        tone *= 0.92 + 0.16 * slab
        joint = max(cover_stripes(u, 0.6, 0.018, foot), cover_stripes(outside, 0.6, 0.018, foot))
        tone *= 1.0 - 0.5 * joint
    kerb = cover(outside - KERB_M / 2, KERB_M, foot)
    tone += (0.42 - tone) * kerb
    gutter = cover(outside, 0.05, foot)
    tone *= (1.0 - 0.55 * gutter) * (1.0 - 0.35 * light.wet)
    return tone * 1.02, tone * 0.98, tone * 0.93, 0.15 * light.wet


@inline_kernel
def canal(scene, light, x, y, u, v, foot):
    """Linear RGB and gloss of the middle of a canal road: water, quays and bridges."""
    if abs(u - round(u / BRIDGE_EVERY_M) * BRIDGE_EVERY_M) < BRIDGE_M / 2:
        tone = 0.12 * (0.85 + 0.3 * value_noise(scene.noise, 3 * x, 3 * y))
        return tone, tone, tone, 0.0
    if abs(v) > 6.4:
        tone = 0.27 * (0.8 + 0.4 * value_noise(scene.noise, 2.1 * x, 2.1 * y))
        tone += 0.16 * cover(abs(v) - 6.55, 0.3, foot)
        return 1.04 * tone, tone, 0.94 * tone, 0.0
    ripple = value_noise(scene.noise, 1.3 * x + light.grain, 1.3 * y)
    return 0.02 + 0.012 * ripple, 0.055 + 0.02 * ripple, 0.05 + 0.015 * ripple, 0.75


@inline_kernel
def lawn(scene, light, x, y, foot, r, g, b, rough):
    """Linear RGB of grass, yellower in autumn."""
    n = 0.6 * value_noise(scene.noise, 0.17 * x, 0.17 * y)
    n += 0.4 * value_noise(scene.noise, 0.9 * x, 0.9 * y)
    k = 1.0 - rough / 2 + rough * n
    if foot < 0.3:
        k *= 0.75 + 0.5 * value_noise(scene.noise, 6.5 * x, 6.5 * y)
    if foot < 0.05:
        k *= 0.7 + 0.6 * value_noise(scene.noise, 31.0 * x, 31.0 * y)
    dry = 0.35 * light.autumn + 0.25 * (n - 0.5)
    return k * (r + 0.12 * dry), k * (g + 0.02 * dry), k * b


@inline_kernel
def slabs(scene, x, y, foot, size, tone, spread):
    """Grey value of square paving."""
    i, j = round(x / size), round(y / size)
    value = tone * (1 - spread / 2 + spread * value_noise(scene.noise, 17.3 * i, 11.9 * j))
    if foot < size:
        value *= 1 - 0.35 * max(cover_stripes(x + size / 2, size, 0.04, foot),
                                cover_stripes(y + size / 2, size, 0.04, foot))  # fmt: skip
    return value * (0.88 + 0.24 * value_noise(scene.noise, 0.4 * x, 0.4 * y))


@inline_kernel
def plot(scene, light, x, y, foot):
    """Linear RGB and gloss of what the raster says lies at a point off the roads."""
    side = scene.ground.shape[0]
    # A little wobble hides the raster's steps from a camera close by.
    wobble = 0.5 * GROUND_M
    wx = x + wobble * (value_noise(scene.noise, 4.3 * x, 4.3 * y) - 0.5)
    wy = y + wobble * (value_noise(scene.noise, 4.3 * x + 50, 4.3 * y) - 0.5)
    i, j = int((wx + scene.half_m) / GROUND_M), int((wy + scene.half_m) / GROUND_M)
    kind = MEADOW
    if 0 <= i < side and 0 <= j < side:
        kind = scene.ground[j, i]
    speckle = value_noise(scene.noise, 5.1 * x, 5.1 * y)
    if kind == GRASS:
        return *lawn(scene, light, x, y, foot, 0.082, 0.132, 0.036, 0.6), 0.0
    if kind == GARDEN:
        r, g, b = lawn(scene, light, x, y, foot, 0.082, 0.118, 0.040, 0.9)
        return r, g, b, 0.0
    if kind == MEADOW:
        return *lawn(scene, light, x, y, foot, 0.135, 0.150, 0.055, 0.8), 0.0
    if kind == PITCH:
        stripe = 0.9 + 0.2 * (round(x / 5.5) % 2)
        r, g, b = lawn(scene, light, x, y, foot, 0.06, 0.17, 0.035, 0.25)
        return r * stripe, g * stripe, b * stripe, 0.0
    if kind == PLAZA:
        tone = slabs(scene, x, y, foot, 1.2, 0.36, 0.35)
        return 1.06 * tone, 0.97 * tone, 0.86 * tone, 0.1 * light.wet
    if kind == PAVED:
        tone = slabs(scene, x, y, foot, 0.5, 0.25, 0.3)
        return tone, 0.97 * tone, 0.92 * tone, 0.1 * light.wet
    if kind == CONCRETE:
        tone = slabs(scene, x, y, foot, 5.0, 0.27, 0.2)
        return tone, tone, 0.97 * tone, 0.1 * light.wet
    if kind == PARKING:
        tone = 0.12 * (0.8 + 0.25 * speckle + 0.3 * value_noise(scene.noise, 0.2 * x, 0.2 * y))
        return tone, tone, 1.03 * tone, 0.4 * light.wet
    if kind == DRIVE:
        tone = slabs(scene, x, y, foot, 0.4, 0.20, 0.4)
        return 1.1 * tone, 0.92 * tone, 0.82 * tone, 0.0
    if kind in (GRAVEL, SAND):
        tone = (0.36 if kind == GRAVEL else 0.48) * (0.75 + 0.5 * speckle)
        return 1.05 * tone, 0.93 * tone, 0.74 * tone, 0.0
    if kind == TRACK:
        tone = 0.85 + 0.3 * speckle
        return 0.36 * tone, 0.105 * tone, 0.07 * tone, 0.0
    if kind == WATER:
        ripple = value_noise(scene.noise, 1.1 * x + light.grain, 1.1 * y)
        return 0.02, 0.05 + 0.02 * ripple, 0.06 + 0.02 * ripple, 0.7
    if kind == LINE:
        return 0.6, 0.6, 0.58, 0.0
    return 0.2, 0.2, 0.2, 0.0


@inline_kernel
def ground(scene, light, x, y, foot):
    """Linear RGB and gloss of the ground at a point that a pixel `foot` metres wide shows."""
    cells = scene.cell_top.shape[0]
    column, row = int((x + scene.half_m) / CELL_M), int((y + scene.half_m) / CELL_M)
    if not (0 <= column < cells and 0 <= row < cells):
        return plot(scene, light, x, y, foot)
    cell = row * cells + column
    nearest, beside, count, first = 1e9, -1, 0, -1
    u_first = v_first = u_beside = 0.0
    for k in range(scene.road_start[cell], scene.road_start[cell + 1]):
        road = scene.roads[scene.road_item[k]]
        px, py = x - road[R_X], y - road[R_Y]
        u, v = road[R_COS] * px + road[R_SIN] * py, road[R_COS] * py - road[R_SIN] * px
        if not 0.0 <= u <= road[R_LENGTH]:
            continue
        outside = abs(v) - road[R_HALF]
        if outside <= 0.0:
            count += 1
            if first < 0:  # roads come with the greatest first
                first, u_first, v_first = scene.road_item[k], u, v
        elif outside < min(road[R_FOOTWAY], nearest):
            nearest, beside, u_beside = outside, scene.road_item[k], u
    if first >= 0:
        road = scene.roads[first]
        if road[R_KIND] == CANAL and abs(v_first) < CANAL_M and count == 1:
            return canal(scene, light, x, y, u_first, v_first, foot)
        if count > 1:
            u_first = -100.0  # no markings where roads meet
        return asphalt(scene, light, road, x, y, u_first, v_first, foot)
    if beside >= 0:
        return footway(scene, light, x, y, u_beside, nearest, foot)
    return plot(scene, light, x, y, foot)
