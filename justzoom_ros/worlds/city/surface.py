"""Colour, normal and light of what a ray has met."""

import numpy as np

from justzoom_ros.worlds.city.caster import (
    GROUND,
    LID,
    ROOF,
    SKY,
    SLOPE_X,
    SLOPE_Y,
    WALL_X,
    WALL_Y,
    foliage,
    sunlight,
    trace,
    value_noise,
)  # fmt: skip
from justzoom_ros.worlds.city.facade import chance, glass_wall, roof, wall
from justzoom_ros.worlds.city.ground import cover, cover_stripes, ground
from justzoom_ros.worlds.city.jit import inline_kernel, kernel
from justzoom_ros.worlds.city.light import sky
from justzoom_ros.worlds.city.scene import (
    BALL,
    BARK,
    BASE,
    BOX,
    BUILDING,
    CABIN,
    CAR,
    COS,
    EAVE,
    GLASS,
    HEDGE,
    KX,
    KY,
    LAMP,
    LEAF,
    ROOFTOP,
    SHADE_M,
    SIGN,
    SIN,
    STRIPES,
    TOP,
    TRUCK,
    A,
    B,
    X,
    Y,
)  # fmt: skip


@inline_kernel
def normal(scene, number, face, lx, ly, z):
    """Outward unit normal of a solid at a point given in its own frame."""
    s = scene.shape[number]
    nx = ny = nz = 0.0
    if scene.kind[number] == BALL:
        nx, ny, nz = lx / s[A] ** 2, ly / s[A] ** 2, (z - s[BASE]) / s[B] ** 2
    elif face == WALL_X:
        nx = 1.0 if lx > 0 else -1.0
    elif face == WALL_Y:
        ny = 1.0 if ly > 0 else -1.0
    elif face == ROOF:
        nz = 1.0
    elif face == SLOPE_X:
        nx, nz = (s[KX] if lx > 0 else -s[KX]), 1.0
    elif face == SLOPE_Y:
        ny, nz = (s[KY] if ly > 0 else -s[KY]), 1.0
    elif face == LID:
        nz = -1.0 if scene.kind[number] == BOX else 1.0
    else:
        nx, ny = lx, ly
        nz = np.hypot(lx, ly) * (s[A] - s[B]) / (s[TOP] - s[BASE])
    length = np.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx / length, ny / length, nz / length
    return s[COS] * nx - s[SIN] * ny, s[SIN] * nx + s[COS] * ny, nz


@inline_kernel
def leaves(scene, light, number, x, y, z, foot):
    """Linear RGB of a crown or hedge and how deep the point seems to lie between leaves."""
    color, seed = scene.rgb[number], scene.look[number, 1]
    k = 0.30 + 0.70 * foliage(scene.noise, 1.4 * x, 1.4 * y, 1.4 * z)
    k += 0.85 * foliage(scene.noise, 4.3 * x, 4.3 * y, 4.3 * z) if foot < 0.5 else 0.43
    if foot < 0.06:
        k *= 0.3 + 1.4 * foliage(scene.noise, 14.0 * x, 14.0 * y, 14.0 * z)
    r, g, b = color[0], color[1], color[2]
    if color[3] > 0.0:  # broadleaved: its own autumn colour
        turn = min(max(light.autumn * 1.5 - 0.5 * chance(seed, 3, 1), 0.0), 1.0)
        r, g, b = r + (color[3] - r) * turn, g + (color[4] - g) * turn, b + (color[5] - b) * turn
        twigs = 0.9 * light.bare if scene.kind[number] == BALL else 0.0
        r, g, b = r + (0.11 - r) * twigs, g + (0.09 - g) * twigs, b + (0.07 - b) * twigs
    return r * k, g * k, b * k


@inline_kernel
def car(scene, light, number, face, lx, ly, z, foot):
    """Linear RGB, gloss and glow of a car's body, cabin, or a truck."""
    s, color, material = scene.shape[number], scene.rgb[number], scene.look[number, 0]
    r, g, b = color[0], color[1], color[2]
    if material == CABIN:
        if face == ROOF:
            return r, g, b, 0.35, 0.0
        pillar = cover(abs(lx) - 0.1, 0.12, foot) if face in (WALL_Y, SLOPE_Y) else 0.0
        glass = 1.0 - min(1.0, pillar)
        if abs(lx) > s[A] - 0.08 and abs(ly) > s[B] - 0.08:
            glass = 0.0
        return r + (0.03 - r) * glass, g + (0.035 - g) * glass, b + (0.04 - b) * glass, 0.55, 0.0
    low = s[BASE]
    side = face == WALL_Y
    if side:
        # Wheels: black discs with a lighter hub, in dark arches.
        wheel = 0.33 if material == CAR else 0.45
        from_axle = abs(abs(lx) - 0.62 * s[A])
        radius = np.hypot(from_axle, z - wheel)
        if radius < wheel:
            tone = 0.22 if radius < 0.6 * wheel else 0.02
            return tone, tone, tone, 0.1, 0.0
        if radius < wheel + 0.07:
            return 0.02, 0.02, 0.02, 0.0, 0.0
        if material == TRUCK and 1.3 < z < 2.4 and s[A] > 4.5:
            window = cover_stripes(lx, 1.4, 1.2, foot)  # a bus
            return (r + (0.03 - r) * window, g + (0.03 - g) * window, b + (0.04 - b) * window,
                    0.5 * window, 0.4 * light.night)  # fmt: skip
        if abs(z - low - 0.45) < 0.015 and foot < 0.1:
            return 0.5 * r, 0.5 * g, 0.5 * b, 0.2, 0.0
    if z < low + 0.12:
        return 0.03, 0.03, 0.03, 0.0, 0.0
    if face == WALL_X:
        high = s[EAVE] - low
        if abs(z - low - 0.62 * high) < 0.09 and abs(ly) > 0.55 * s[B]:
            if lx > 0:
                return 0.75, 0.75, 0.7, 0.4, 1.2 * light.night
            return 0.45, 0.02, 0.02, 0.3, 0.8 * light.night
        if abs(z - low - 0.33 * high) < 0.06 and abs(ly) < 0.26:
            return 0.7, 0.7, 0.66, 0.1, 0.0
        if material == TRUCK and lx > 0 and 1.2 < z < 2.1:
            return 0.03, 0.035, 0.04, 0.55, 0.0
    return r, g, b, 0.3, 0.0


@inline_kernel
def material(scene, light, number, face, x, y, z, foot):
    """Linear RGB, gloss, glow and normal of a solid where a ray has met it."""
    s, color, kind = scene.shape[number], scene.rgb[number], scene.look[number, 0]
    px, py = x - s[X], y - s[Y]
    lx, ly = s[COS] * px + s[SIN] * py, s[COS] * py - s[SIN] * px
    nx, ny, nz = normal(scene, number, face, lx, ly, z)
    r, g, b, gloss, glow = color[0], color[1], color[2], 0.0, 0.0
    if kind in (BUILDING, GLASS):
        if face in (WALL_X, WALL_Y):
            along = ly + s[B] if face == WALL_X else lx + s[A]
            length = 2 * s[B] if face == WALL_X else 2 * s[A]
            if kind == GLASS:
                r, g, b, gloss, glow = glass_wall(scene, light, number, along, z, foot)
            else:
                r, g, b, gloss, glow = wall(scene, light, number, along, z, length, foot)
        else:
            r, g, b, gloss = roof(scene, number, face, lx, ly, x, y, foot)
    elif kind in (LEAF, HEDGE):
        r, g, b = leaves(scene, light, number, x, y, z, foot)
        bump = 1.1 * (value_noise(scene.noise, 2.9 * x + z, 2.9 * y - z) - 0.5)
        tilt = 1.1 * (value_noise(scene.noise, 2.9 * y + z, 2.9 * x + 40 - z) - 0.5)
        nx, ny, nz = nx + bump, ny + tilt, nz + 0.25
        length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-6
        nx, ny, nz = nx / length, ny / length, nz / length
    elif kind in (CAR, CABIN, TRUCK):
        r, g, b, gloss, glow = car(scene, light, number, face, lx, ly, z, foot)
    elif kind == STRIPES:
        if int(z / 6.0) % 2 == 1:
            r, g, b = 0.7, 0.7, 0.68
    elif kind == BARK:
        k = 0.7 + 0.6 * value_noise(scene.noise, 9.0 * np.arctan2(ly, lx), 2.0 * z)
        r, g, b = r * k, g * k, b * k
    elif kind == LAMP:
        glow = 1.6 * light.night
    elif kind == SIGN:
        gloss = 0.1
        if face == WALL_X and foot < 0.2:
            glyph = value_noise(scene.noise, 7.0 * ly + s[X], 9.0 * z)
            rim = min(s[B] - abs(ly), min(z - s[BASE], s[TOP] - z))
            if rim < 0.06 or glyph > 0.62:
                r, g, b = 0.7, 0.7, 0.7
    elif kind == ROOFTOP:
        k = 1.0 - 0.3 * cover_stripes(z, 0.3, 0.1, foot) * (face < ROOF)
        r, g, b = r * k, g * k, b * k
    return r, g, b, gloss, glow, nx, ny, nz


@inline_kernel
def open_sky(scene, x, y, z):
    """Share of the ambient light that reaches a point `z` above the ground."""
    side = scene.openness.shape[0]
    fx, fy = (x + scene.half_m) / SHADE_M - 0.5, (y + scene.half_m) / SHADE_M - 0.5
    i, j = int(fx), int(fy)
    if not (0 <= i < side - 1 and 0 <= j < side - 1):
        return 1.0
    u, v = fx - i, fy - j
    a = scene.openness
    low = a[j, i] * (1 - u) + a[j, i + 1] * u
    high = a[j + 1, i] * (1 - u) + a[j + 1, i + 1] * u
    share = (low * (1 - v) + high * v) / 255.0
    # Higher up there is less around to hide the sky.
    return share + (1 - share) * min(1.0, z / 28.0)


@inline_kernel
def illuminate(scene, light, number, r, g, b, gloss, glow, nx, ny, nz, x, y, z, dx, dy, dz):
    """Linear RGB towards the camera of a surface under sun and sky."""
    sun = light.sun
    facing = nx * sun[0] + ny * sun[1] + nz * sun[2]
    leafy = number >= 0 and (scene.look[number, 0] == LEAF or scene.look[number, 0] == HEDGE)
    if leafy:
        facing = 0.25 + 0.75 * facing  # light shines through leaves
    direct = 0.0
    if facing > 0.0 and light.sun_rgb[1] > 0.002:
        away = 0.02 if not leafy else 0.25
        direct = facing * sunlight(
            scene, light.bare, x + nx * away, y + ny * away, z + nz * away, sun[0], sun[1], sun[2]
        )
    ambient = open_sky(scene, x + 1.5 * nx, y + 1.5 * ny, z) * (0.62 + 0.38 * nz)
    if nz < 0.5:
        ambient *= 1.0 - 0.3 * np.exp(-z / 0.7)
    up = 0.62 * ambient
    bounce = (0.5 - 0.5 * nz) * 0.10 * (light.sun_rgb[1] * max(sun[2], 0.0) + 0.6)
    bounce *= light.zenith_rgb[1] * 1.5 if light.night > 0.5 else 1.0
    lamp = 0.05 * light.night * np.exp(-z / 6.0)
    a0 = light.zenith_rgb[0] * 0.55 + light.horizon_rgb[0] * 0.55
    a1 = light.zenith_rgb[1] * 0.55 + light.horizon_rgb[1] * 0.55
    a2 = light.zenith_rgb[2] * 0.55 + light.horizon_rgb[2] * 0.55
    r = r * (light.sun_rgb[0] * direct + a0 * up + bounce + 1.25 * lamp) + 1.0 * glow
    g = g * (light.sun_rgb[1] * direct + a1 * up + bounce * 0.95 + lamp) + 0.72 * glow
    b = b * (light.sun_rgb[2] * direct + a2 * up + bounce * 0.88 + 0.6 * lamp) + 0.38 * glow
    if gloss > 0.02:
        dot = dx * nx + dy * ny + dz * nz
        mx, my, mz = dx - 2 * dot * nx, dy - 2 * dot * ny, dz - 2 * dot * nz
        fresnel = gloss * (0.12 + 0.88 * (1.0 - min(abs(dot), 1.0)) ** 4)
        mr, mg, mb = reflect(scene, light, x, y, z, mx, my, abs(mz) + 0.01, nx, ny, nz)
        r, g, b = r + (mr - r) * fresnel, g + (mg - g) * fresnel, b + (mb - b) * fresnel
    return r, g, b


@inline_kernel
def reflect(scene, light, x, y, z, mx, my, mz, nx, ny, nz):
    """A cheap mirror image: sky where the way is free, else a dull wall."""
    _, number, _ = trace(
        scene, light.bare, x + 0.05 * nx, y + 0.05 * ny, z + 0.05 * nz + 0.01, mx, my, mz
    )
    if number in (SKY, GROUND):
        return sky(light, scene.noise, mx, my, mz)
    color = scene.rgb[number]
    k = 0.75 * (light.zenith_rgb[1] * 0.6 + 0.3 * light.sun_rgb[1])
    return color[0] * k, color[1] * k, color[2] * k


@kernel
def look(scene, light, ox, oy, oz, dx, dy, dz, spread):
    """Linear RGB of a ray and the number of what it met; a pixel is `spread` radians wide."""
    t, number, face = trace(scene, light.bare, ox, oy, oz, dx, dy, dz)
    if number == SKY:
        r, g, b = sky(light, scene.noise, dx, dy, dz)
        return r, g, b, number
    x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
    foot = t * spread
    if number == GROUND:
        # Seen at a low angle a pixel is long; half of that is a fair mean.
        stretched = foot * min(1.0 / max(-dz, 0.05), 6.0) ** 0.5
        r, g, b, gloss = ground(scene, light, x, y, stretched)
        glow, nx, ny, nz = 0.0, 0.0, 0.0, 1.0
        if light.wet > 0.0 and gloss < 0.6:
            # Puddles between rough asphalt: the mirror is broken, and clearer here than there.
            gloss *= 0.25 + 0.9 * value_noise(scene.noise, 0.7 * x, 0.7 * y)
            nx = 0.09 * (value_noise(scene.noise, 6.1 * x, 6.1 * y) - 0.5)
            ny = 0.09 * (value_noise(scene.noise, 6.1 * x + 33, 6.1 * y) - 0.5)
        elif gloss > 0.6:
            nx = 0.05 * (value_noise(scene.noise, 1.9 * x, 1.9 * y + light.grain) - 0.5)
            ny = 0.05 * (value_noise(scene.noise, 1.9 * x + 70, 1.9 * y - light.grain) - 0.5)
        z = 0.0
    else:
        r, g, b, gloss, glow, nx, ny, nz = material(scene, light, number, face, x, y, z, foot)
    r, g, b = illuminate(
        scene, light, number, r, g, b, gloss, glow, nx, ny, nz, x, y, z, dx, dy, dz
    )
    clear = np.exp(-t / light.sight_m)
    return (
        light.horizon_rgb[0] * 0.95 + (r - light.horizon_rgb[0] * 0.95) * clear,
        light.horizon_rgb[1] * 0.95 + (g - light.horizon_rgb[1] * 0.95) * clear,
        light.horizon_rgb[2] * 0.95 + (b - light.horizon_rgb[2] * 0.95) * clear,
        number,
    )
