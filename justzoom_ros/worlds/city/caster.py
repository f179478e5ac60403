"""Rays and what they meet: exact hits of boxes, cones and balls, found by a march over cells."""

import numpy as np

from justzoom_ros.worlds.city.jit import inline_kernel, kernel
from justzoom_ros.worlds.city.scene import (
    BASE,
    BOX,
    CELL_M,
    CONE,
    COS,
    EAVE,
    HEDGE,
    KX,
    KY,
    LEAF,
    SIN,
    TOP,
    A,
    B,
    X,
    Y,
)  # fmt: skip

SKY, GROUND = -1, -2
"""What a ray meets instead of a solid's number."""

WALL_X, WALL_Y, ROOF, SLOPE_X, SLOPE_Y, ROUND, LID = range(7)
"""Faces. A solid's own x or y tells on which of two opposite faces a hit is."""

NEVER = np.float64(1e9)


@kernel
def value_noise(tile, x, y):
    """Bilinear noise 0..1 at a point; features are about one unit large."""
    fx, fy = np.floor(x), np.floor(y)
    u, v = x - fx, y - fy
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    i, j = int(fx) & 255, int(fy) & 255
    i1, j1 = (i + 1) & 255, (j + 1) & 255
    low = tile[j, i] + (tile[j, i1] - tile[j, i]) * u
    high = tile[j1, i] + (tile[j1, i1] - tile[j1, i]) * u
    return low + (high - low) * v


@kernel
def foliage(tile, x, y, z):
    """Noise 0..1 in space: the mean of two upright planes' noise."""
    side = value_noise(tile, x + 0.31 * y, z)
    return 0.5 * side + 0.5 * value_noise(tile, y - 0.31 * x + 91.7, z + 0.4 * x)


@kernel
def hit_box(s, ox, oy, oz, dx, dy, dz, best):
    """(distance, face) where a ray enters a box before `best`, else (NEVER, 0)."""
    px, py = ox - s[X], oy - s[Y]
    lx, ly = s[COS] * px + s[SIN] * py, s[COS] * py - s[SIN] * px
    ux, uy = s[COS] * dx + s[SIN] * dy, s[COS] * dy - s[SIN] * dx
    near, far, face = 0.0, best, -1
    inverse = 1.0 / ux
    enter, leave = (-s[A] - lx) * inverse, (s[A] - lx) * inverse
    if enter > leave:
        enter, leave = leave, enter
    if enter > near:
        near, face = enter, WALL_X
    far = min(far, leave)
    if near > far:
        return NEVER, 0
    inverse = 1.0 / uy
    enter, leave = (-s[B] - ly) * inverse, (s[B] - ly) * inverse
    if enter > leave:
        enter, leave = leave, enter
    if enter > near:
        near, face = enter, WALL_Y
    far = min(far, leave)
    if near > far:
        return NEVER, 0
    # The roof's planes, each as height above it (negative inside) and its growth along the ray.
    for plane in range(6):
        if plane == 0:
            over, slope, which = oz - s[TOP], dz, ROOF
        elif plane == 1:
            over, slope, which = s[BASE] - oz, -dz, LID
        elif plane < 4:
            if s[KX] == 0.0:
                continue
            k = s[KX] if plane == 2 else -s[KX]
            over, slope, which = oz + k * lx - s[EAVE] - s[KX] * s[A], dz + k * ux, SLOPE_X
        else:
            if s[KY] == 0.0:
                continue
            k = s[KY] if plane == 4 else -s[KY]
            over, slope, which = oz + k * ly - s[EAVE] - s[KY] * s[B], dz + k * uy, SLOPE_Y
        if slope < 0.0:
            if over > 0.0:
                enter = -over / slope
                if enter > near:
                    near, face = enter, which
        elif over > 0.0:
            return NEVER, 0
        elif slope > 0.0:
            far = min(far, -over / slope)
        if near > far:
            return NEVER, 0
    if face < 0:
        return NEVER, 0
    return near, face


@kernel
def hit_cone(s, ox, oy, oz, dx, dy, dz, best):
    """As `hit_box`, for an upright cone or post."""
    px, py = ox - s[X], oy - s[Y]
    taper = (s[B] - s[A]) / (s[TOP] - s[BASE])
    radius, shrink = s[A] + taper * (oz - s[BASE]), taper * dz
    a = dx * dx + dy * dy - shrink * shrink
    b = px * dx + py * dy - radius * shrink
    c = px * px + py * py - radius * radius
    root = b * b - a * c
    if root >= 0.0 and a != 0.0:
        t = (-b - np.sqrt(root)) / a
        z = oz + t * dz
        if 0.0 < t < best and s[BASE] <= z <= s[TOP]:
            return t, ROUND
    if dz < 0.0 and s[B] > 0.0 and oz > s[TOP]:
        t = (s[TOP] - oz) / dz
        x, y = px + t * dx, py + t * dy
        if t < best and x * x + y * y <= s[B] * s[B]:
            return t, LID
    return NEVER, 0


@kernel
def hit_ball(s, leafy, bare, tile, ox, oy, oz, dx, dy, dz, best):
    """As `hit_box`, for a ball. Of leaves, more are missing the more the ball is grazed."""
    px, py, pz = (ox - s[X]) / s[A], (oy - s[Y]) / s[A], (oz - s[BASE]) / s[B]
    ux, uy, uz = dx / s[A], dy / s[A], dz / s[B]
    a, b = ux * ux + uy * uy + uz * uz, px * ux + py * uy + pz * uz
    root = b * b - a * (px * px + py * py + pz * pz - 1.0)
    if root < 0.0:
        return NEVER, 0
    root = np.sqrt(root)
    t = (-b - root) / a
    if t <= 0.0 or t >= best:
        return NEVER, 0
    if leafy:
        grazing = root / np.sqrt(a)  # 1 in the middle, 0 at the rim
        if grazing < 0.6 + bare:
            x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
            if bare > 0.5 and abs(foliage(tile, 2.6 * x, 2.6 * y, 2.6 * z) - 0.5) > 0.035:
                return NEVER, 0  # what is left between the lines of the noise are twigs
            leaf = 0.5 * foliage(tile, 3.3 * x, 3.3 * y, 3.3 * z)
            leaf += 0.5 * foliage(tile, 7.9 * x, 7.9 * y, 7.9 * z)
            if leaf > 0.30 + 0.75 * grazing - 0.3 * bare:
                return NEVER, 0
    return t, ROUND


@inline_kernel
def hit(scene, bare, number, ox, oy, oz, dx, dy, dz, best):
    """(distance, face) of solid `number`."""
    kind = scene.kind[number]
    if kind == BOX:
        return hit_box(scene.shape[number], ox, oy, oz, dx, dy, dz, best)
    if kind == CONE:
        return hit_cone(scene.shape[number], ox, oy, oz, dx, dy, dz, best)
    leafy = scene.look[number, 0] == LEAF
    thin = bare if leafy else 0.0
    return hit_ball(scene.shape[number], leafy, thin, scene.noise, ox, oy, oz, dx, dy, dz, best)


@kernel
def trace(scene, bare, ox, oy, oz, dx, dy, dz):
    """(distance, solid, face) of the first thing that a ray meets; the solid may be SKY, GROUND.

    `bare` 0..1 says how many leaves have fallen.
    """
    best, found, face = NEVER, SKY, 0
    if dz < 0.0:
        best, found = -oz / dz, GROUND
    cells = scene.cell_top.shape[0]
    if abs(dx) < 1e-7:
        dx = 1e-7
    if abs(dy) < 1e-7:
        dy = 1e-7
    column, row = int((ox + scene.half_m) / CELL_M), int((oy + scene.half_m) / CELL_M)
    step_x, step_y = (1 if dx > 0 else -1), (1 if dy > 0 else -1)
    per_x, per_y = CELL_M / abs(dx), CELL_M / abs(dy)
    next_x = ((column + (dx > 0)) * CELL_M - scene.half_m - ox) / dx
    next_y = ((row + (dy > 0)) * CELL_M - scene.half_m - oy) / dy
    t = 0.0
    while 0 <= column < cells and 0 <= row < cells and t < best:
        z = oz + t * dz
        coarse = scene.coarse_top[row >> 3, column >> 3]
        if z >= coarse:
            across = column & 7 if step_x < 0 else 7 - (column & 7)
            along = row & 7 if step_y < 0 else 7 - (row & 7)
            out_x, out_y = next_x + across * per_x, next_y + along * per_y
            if oz + min(out_x, out_y) * dz >= coarse:
                # Nothing in these 8 x 8 cells reaches up to the ray: leave them in one go.
                jumps = 0
                if out_x < out_y:
                    if out_x > next_y:
                        jumps = int((out_x - next_y) / per_y) + 1
                    t, next_x, next_y = out_x, out_x + per_x, next_y + jumps * per_y
                    column, row = column + step_x * (across + 1), row + step_y * jumps
                else:
                    if out_y > next_x:
                        jumps = int((out_y - next_x) / per_x) + 1
                    t, next_y, next_x = out_y, out_y + per_y, next_x + jumps * per_x
                    row, column = row + step_y * (along + 1), column + step_x * jumps
                continue
        leave = min(next_x, next_y)
        if min(z, oz + leave * dz) < scene.cell_top[row, column]:
            cell = row * cells + column
            for k in range(scene.cell_start[cell], scene.cell_start[cell + 1]):
                number = scene.cell_item[k]
                distance, side = hit(scene, bare, number, ox, oy, oz, dx, dy, dz, best)
                if distance < best:
                    best, found, face = distance, number, side
        if next_x < next_y:
            t, next_x, column = next_x, next_x + per_x, column + step_x
        else:
            t, next_y, row = next_y, next_y + per_y, row + step_y
    return best, found, face


@kernel
def sunlight(scene, bare, x, y, z, sx, sy, sz):
    """Share 0..1 of the sun that reaches a point; leaves let some of it through."""
    cells = scene.cell_top.shape[0]
    column, row = int((x + scene.half_m) / CELL_M), int((y + scene.half_m) / CELL_M)
    if abs(sx) < 1e-7:
        sx = 1e-7
    if abs(sy) < 1e-7:
        sy = 1e-7
    step_x, step_y = (1 if sx > 0 else -1), (1 if sy > 0 else -1)
    per_x, per_y = CELL_M / abs(sx), CELL_M / abs(sy)
    next_x = ((column + (sx > 0)) * CELL_M - scene.half_m - x) / sx
    next_y = ((row + (sy > 0)) * CELL_M - scene.half_m - y) / sy
    light, t = 1.0, 0.0
    while 0 <= column < cells and 0 <= row < cells and t < 400.0:
        height, leave = z + t * sz, min(next_x, next_y)
        if height < scene.cell_top[row, column]:
            cell = row * cells + column
            for k in range(scene.cell_start[cell], scene.cell_start[cell + 1]):
                number = scene.cell_item[k]
                if height > scene.shape[number, TOP]:
                    continue
                distance, _ = hit(scene, bare, number, x, y, z, sx, sy, sz, NEVER)
                if t <= distance < leave:
                    material = scene.look[number, 0]
                    if material != LEAF and material != HEDGE:
                        return 0.0
                    light *= 0.45
                    if light < 0.1:
                        return 0.0
        if next_x < next_y:
            t, next_x, column = next_x, next_x + per_x, column + step_x
        else:
            t, next_y, row = next_y, next_y + per_y, row + step_y
    return light
