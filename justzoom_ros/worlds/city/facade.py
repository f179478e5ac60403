"""Walls with windows, doors and shops, and roofs, drawn from a few numbers per building."""

import numpy as np

from justzoom_ros.worlds.city.caster import ROOF, SLOPE_Y, value_noise
from justzoom_ros.worlds.city.ground import cover, cover_stripes
from justzoom_ros.worlds.city.jit import inline_kernel
from justzoom_ros.worlds.city.scene import (
    BALCONY,
    BAY_M,
    BRICK,
    EAVE,
    FLAT_KIND,
    GROUND_FLOOR,
    HIGH,
    PANELS,
    RIBBON,
    SHOP,
    STOREY_M,
    TEXTURE,
    WIDE,
    A,
    B,
)  # fmt: skip

SHOP_M = 3.6
"""Height of a ground floor with shops, sign band included."""


@inline_kernel
def chance(i, j, k):
    """A repeatable value 0..1 for three whole numbers."""
    h = (int(i) * 73856093) ^ (int(j) * 19349663) ^ (int(k) * 83492791)
    h = ((h ^ (h >> 13)) * 1274126177) & 0x7FFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF) / 65536.0


@inline_kernel
def inside(x, low, high, foot):
    """Share of a pixel at `x` that lies between `low` and `high`."""
    return cover(x - (low + high) / 2, high - low, foot)


@inline_kernel
def masonry(scene, texture, u, z, foot):
    """Brightness of a wall's surface."""
    value = 0.86 + 0.28 * value_noise(scene.noise, 0.35 * u, 0.35 * z)
    if texture == BRICK and foot < 0.25:
        course = np.floor(z / 0.085)
        brick = np.floor(u / 0.25 + 0.5 * (course % 2))
        if foot < 0.06:
            joint = max(cover_stripes(z, 0.085, 0.014, foot),
                        cover_stripes(u + 0.125 * (course % 2), 0.25, 0.014, foot))  # fmt: skip
            value *= (0.88 + 0.24 * chance(brick, course, 3)) * (1 + 0.3 * joint)
        else:
            value *= 0.9 + 0.2 * value_noise(scene.noise, 7 * u, 11 * z)
    elif texture == PANELS and foot < 1.0:
        joint = max(cover_stripes(z, 2.9, 0.04, foot), cover_stripes(u, 3.0, 0.04, foot))
        value *= 1 - 0.4 * joint
    elif foot < 0.2:
        value *= 0.94 + 0.12 * value_noise(scene.noise, 8 * u, 8 * z)
    # Rain has left streaks below the eaves and dirt above the ground.
    value *= 0.92 + 0.12 * value_noise(scene.noise, 2.2 * u, 0.12 * z)
    return value * (1.0 - 0.28 * np.exp(-z / 0.5))


@inline_kernel
def pane(light, i, j, seed, tall):
    """Linear RGB, gloss and glow of a window's glass; `tall` 0..1 is how far up in it."""
    curtain = chance(i, j, seed + 7)
    r, g, b = 0.030, 0.036, 0.042
    if curtain < 0.42 and tall > 1.9 * curtain - 0.05:
        r, g, b = 0.30, 0.29, 0.26  # a blind, let down part of the way
    elif curtain > 0.86:
        r, g, b = 0.22, 0.20, 0.17
    lit = light.night * (chance(i, j, seed + 11) < 0.35)
    shade = 0.6 + 0.4 * min(1.0, (1.0 - tall) * 4.0)  # the reveal's shadow at the top
    return r * shade, g * shade, b * shade, 0.55, (0.10 + 0.25 * chance(j, i, seed + 2)) * lit


@inline_kernel
def street_level(scene, light, u, z, i, bay, seed, foot):
    """Shop windows, sign bands and doors: RGB, gloss, glow, and their share of the pixel."""
    fx = u - (i + 0.5) * bay
    hue = chance(seed, i // 3, 5)
    if z > 2.75:
        # Neighbouring shops share no colour; the letters are a blur of stripes.
        r, g, b = 0.08 + 0.5 * hue, 0.08 + 0.35 * chance(seed, i // 3, 6), 0.08 + 0.4 * (1 - hue)
        letter = value_noise(scene.noise, 6.0 * u + 31 * hue, 9.0 * z)
        if 2.95 < z < 3.3 and abs(fx) < bay * 0.42 and letter > 0.55 and foot < 0.3:
            r, g, b = 0.75, 0.74, 0.70
        return r, g, b, 0.1, 0.12 * light.night, inside(z, 2.75, 3.5, foot)
    if chance(i, seed, 9) < 0.25:
        door = inside(fx, -0.6, 0.6, foot) * inside(z, 0.0, 2.25, foot)
        tone = 0.05 + 0.12 * chance(seed, i, 12)
        return tone * (1 + hue), tone, tone * (2 - hue), 0.25, 0.0, door
    glass = inside(fx, -bay * 0.44, bay * 0.44, foot) * inside(z, 0.45, 2.7, foot)
    goods = value_noise(scene.noise, 2.1 * u, 2.4 * z + 9 * hue)
    tone = 0.04 + 0.10 * goods * goods
    return tone * 1.2, tone, tone * 0.85, 0.5, (0.1 + 0.5 * goods) * light.night, glass


@inline_kernel
def wall(scene, light, number, u, z, length, foot):
    """Linear RGB, gloss and glow of a facade `u` metres along and `z` metres up."""
    s, style = scene.shape[number], scene.style[number]
    color, seed = scene.rgb[number], scene.look[number, 1]
    shade = masonry(scene, style[TEXTURE], u, z, foot)
    r, g, b = color[0] * shade, color[1] * shade, color[2] * shade
    gloss = glow = 0.0
    bays = max(1.0, np.floor(length / style[BAY_M]))
    bay, storey = length / bays, style[STOREY_M]
    i = min(np.floor(u / bay), bays - 1)
    first = SHOP_M if style[GROUND_FLOOR] == SHOP else 0.0
    level = z - first
    if level < 0.0:
        if foot > 0.8:
            return 0.6 * r, 0.6 * g, 0.62 * b, 0.2, 0.15 * light.night
        cr, cg, cb, gloss, glow, share = street_level(scene, light, u, z, i, bay, seed, foot)
        return (r + (cr - r) * share, g + (cg - g) * share, b + (cb - b) * share,
                gloss * share, glow * share)  # fmt: skip
    j = np.floor(level / storey)
    fx, fz = u - (i + 0.5) * bay, level - j * storey
    top = first + (j + 1) * storey
    half, sill = style[WIDE] * bay / 2, 0.27 * storey
    lintel = sill + style[HIGH] * storey
    if j == 0.0 and first == 0.0 and chance(seed, i, 2) < 0.22 + 0.3 * (bays < 3):
        # A house door instead of a window, with a light surround.
        door = inside(fx, -0.55, 0.55, foot) * inside(fz, 0.0, 2.15, foot)
        frame = inside(fx, -0.7, 0.7, foot) * inside(fz, 0.0, 2.3, foot) - door
        tone = chance(seed, 1, 14)
        r += (color[6] - r) * frame + (0.05 + 0.25 * tone * tone - r) * door
        g += (color[7] - g) * frame + (0.05 + 0.08 * tone - g) * door
        b += (color[8] - b) * frame + (0.05 + 0.20 * (1 - tone) ** 2 - b) * door
        return r, g, b, 0.1 * door, 0.0
    if top <= s[EAVE] + 0.05:
        share = inside(fx, -half, half, foot) * inside(fz, sill, lintel, foot)
        if style[TEXTURE] == RIBBON:
            share = inside(fz, sill, lintel, foot)
        if foot > 0.7 * bay:
            share = min(share, style[WIDE])
        frame = inside(fx, -half - 0.14, half + 0.14, foot)
        frame *= inside(fz, sill - 0.16, lintel + 0.1, foot)
        frame = max(frame - share, 0.0)
        if foot < 0.25:
            bar = cover(fx, 0.07, foot) + cover(fz - sill - 0.66 * (lintel - sill), 0.06, foot)
            bar += cover(abs(fx) - half + 0.03, 0.06, foot)
            bar = min(bar, 1.0) * share
            share, frame = share - bar, frame + bar
        pr, pg, pb, pane_gloss, pane_glow = pane(light, i, j, seed, (fz - sill) / (lintel - sill))
        r += (color[6] - r) * frame + (pr - r) * share
        g += (color[7] - g) * frame + (pg - g) * share
        b += (color[8] - b) * frame + (pb - b) * share
        gloss, glow = pane_gloss * share, pane_glow * share
        if style[BALCONY] > 0.0 and j > 0.0 and chance(seed, i, 21) < style[BALCONY]:
            rail = inside(fz, 0.0, 1.05, foot) * inside(fx, -bay * 0.46, bay * 0.46, foot)
            bars = 0.55 + 0.45 * (foot < 0.06) * (cover_stripes(u, 0.12, 0.04, foot) - 0.3)
            r += (0.45 * color[6] * bars + 0.05 - r) * rail
            g += (0.45 * color[7] * bars + 0.05 - g) * rail
            b += (0.45 * color[8] * bars + 0.05 - b) * rail
            gloss *= 1 - rail
    return r, g, b, gloss, glow


@inline_kernel
def glass_wall(scene, light, number, u, z, foot):
    """Linear RGB, gloss and glow of a curtain wall."""
    color, seed = scene.rgb[number], scene.look[number, 1]
    style = scene.style[number]
    joint = max(
        cover_stripes(z, style[STOREY_M], 0.5, foot), cover_stripes(u, style[BAY_M], 0.12, foot)
    )
    i, j = np.floor(u / style[BAY_M]), np.floor(z / style[STOREY_M])
    tint = 0.75 + 0.5 * chance(i, j, seed)
    lit = light.night * (chance(i, j, seed + 3) < 0.3)
    r, g, b = 0.5 * color[0] * tint, 0.5 * color[1] * tint, 0.5 * color[2] * tint
    r, g, b = r + (color[6] - r) * joint, g + (color[7] - g) * joint, b + (color[8] - b) * joint
    return r, g, b, 0.75 * (1 - joint), 0.25 * lit


@inline_kernel
def roof(scene, number, face, lx, ly, x, y, foot):
    """Linear RGB and gloss of a roof; flat ones have a rim in the walls' colour."""
    s, style, color = scene.shape[number], scene.style[number], scene.rgb[number]
    seed = scene.look[number, 1]
    value = 0.78 + 0.44 * value_noise(scene.noise, 0.45 * x, 0.45 * y)
    r, g, b = color[3], color[4], color[5]
    if face == ROOF:
        rim = min(s[A] - abs(lx), s[B] - abs(ly))
        edge = 1.0 - inside(rim, 0.4, 1e3, foot)
        value *= 0.9 + 0.2 * value_noise(scene.noise, 2.3 * x, 2.3 * y)
        if style[FLAT_KIND] > 0.5:  # sheets of bitumen
            value *= 1.0 - 0.2 * cover_stripes(ly, 1.1, 0.08, foot)
        shadow = 1.0 - 0.35 * inside(rim, 0.4, 0.9, foot)
        value *= shadow
        r, g, b = r * value, g * value, b * value
        return (r + (color[0] - r) * edge, g + (color[1] - g) * edge,
                b + (color[2] - b) * edge, 0.0)  # fmt: skip
    across = abs(ly) if face == SLOPE_Y else abs(lx)
    along = lx if face == SLOPE_Y else ly
    if foot < 0.8:
        value *= 1.0 - 0.25 * cover_stripes(across, 0.38, 0.08, foot)
        value *= 0.9 + 0.2 * chance(np.floor(along / 0.3), np.floor(across / 0.38), seed)
    value *= 0.85 + 0.3 * value_noise(scene.noise, 1.7 * along, 0.5 * across + seed % 97)
    # Collectors on some roofs, seen from above and from the street alike.
    sunny = (ly > 0) == (seed % 2 == 0)
    there = abs(along) < 0.6 * s[A] and 0.25 < across / s[B] < 0.8
    if face == SLOPE_Y and seed % 5 == 0 and sunny and there:
        cell = max(cover_stripes(along, 1.0, 0.06, foot), cover_stripes(across, 1.6, 0.06, foot))
        return 0.02 + 0.12 * cell, 0.025 + 0.12 * cell, 0.06 + 0.12 * cell, 0.5
    return r * value, g * value, b * value, 0.0
