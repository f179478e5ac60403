"""Views and pieces of maps, drawn on the device that trains: no two are alike.

Each place is seen anew: another heading, field of view, tilt and exposure; the map is turned to
any angle and mirrored together with the view, so that no direction is known by heart.

Shapes: P places with V views each, B = P * V, H x W pixels of a levelled strip, D depths,
A azimuths. Positions are metres in the *turned frame*, whose origin is the camera of the place and
whose axes are those of the piece of map.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from justzoom_ros.registration.forward_config import ForwardConfig
from justzoom_ros.training.street_registration.draw import (
    TRAINED,
    Draw,
    Variation,
    candidates,
)
from justzoom_ros.training.street_registration.lesson_cache import LessonCache

WIDTH = 160
"""Columns of the strips: 120 degrees."""

FOV_RAD = (math.radians(55), math.radians(115))
ASPECTS = (4 / 3, 16 / 9)
CLASS_BITS = 8, 16
"""Bits of buildings and plants in labels; the lowest three bits are the class of the ground."""


@dataclass(frozen=True)
class Shown:
    """What a batch shows, which a generator knows."""

    tile_labels: torch.Tensor
    """(P, L, n / 2, n / 2): share of each class in the cells."""

    polar_labels: torch.Tensor
    """(B, L + 1, D, A): classes, and whether no wall is nearer."""

    polar_seen: torch.Tensor
    """(B, 1, D, A): weights, 0 where nothing can be said."""


@dataclass(frozen=True)
class LabelNoise:
    """How wrong the labels of a batch may be."""

    position_std: torch.Tensor
    """(P,): standard deviation along either axis, cells."""

    heading_std_rad: torch.Tensor
    """(P,): standard deviation of the heading."""

    heading_off_rad: torch.Tensor
    """(P, R): of the candidate headings, from the labelled one."""


@dataclass(frozen=True)
class StreetBatch:
    """What one step learns from."""

    strips: torch.Tensor
    """(B, 4, H, W): normalized pixels and mask."""

    tiles: torch.Tensor
    """(P, 4, n, n): normalized pieces of map and mask."""

    yaws_rad: torch.Tensor
    """(B, R): candidate headings of each view; the first is the true one, to half a step."""

    target: torch.Tensor
    """(P, 2): row and column, in cells and continuous, of the true place among all places of a
    tile at which a template fits."""

    shown: Shown | None = None
    """What they show, where that is known."""

    noise: LabelNoise | None = None
    """How wrong places and headings may be; None where they are exact."""

    apart: torch.Tensor | None = None
    """bool (P,): the piece of map of the place before shows nothing of this one; None where that
    is always so."""


def draw_batch(
    cache: LessonCache,
    config: ForwardConfig,
    places: int,
    views: int,
    headings: int,
    tile_px: int,
    generator: torch.Generator,
    variation: Variation = TRAINED,
    window_cells: int | None = None,
) -> StreetBatch:
    """A batch of `places` with `views` each. `window_cells`: side of the square, about the
    middle of a tile, in which the true place is; all that fits unless given."""
    draw = _Draw(cache, config, places, views, generator, variation)
    fits = tile_px // config.stride - 2 * config.reach_cells
    middle, target = draw.tile_place(fits, window_cells or fits)
    tiles = draw.tiles(middle, tile_px)
    yaws, _ = candidates(draw, draw.yaws(), headings)
    strips, visible = draw.strips()
    labels, seen = draw.polar_labels(visible)
    shown = Shown(draw.tile_labels(middle, tile_px), labels, seen)
    return StreetBatch(strips, tiles, yaws, target, shown)


class _Draw(Draw):
    """One draw of places of lessons and of how they are seen."""

    def __init__(self, cache, config, places, views, generator, variation):
        self.cache, self.generator, self.device = cache, generator, cache.device
        self.city = self.randint(cache.count, places)
        self.number = self.randint(cache.poses.shape[1], places)
        pose = cache.poses[self.city, self.number]
        super().__init__(config, pose, views, generator, variation)
        self._look()

    def _look(self):
        """Where the views look: azimuth of their middle against that of the panorama,
        counter-clockwise; fields of view; tilts."""
        b = self.places * self.views
        first = self.rand(self.places) * 2 * math.pi
        order = torch.arange(self.views, device=self.device) * (2 * math.pi / max(self.views, 1))
        if self.views == 2:  # opposite, or side by side
            order = order * (0.5 + 0.5 * (self.rand(self.places, 1) < 0.5).float())
        jitter = (self.rand(self.places, self.views) - 0.5) * 0.2 * (self.views > 1)
        self.look = (first[:, None] + order + jitter).flatten()
        self.fov = FOV_RAD[0] + self.rand(b) * (FOV_RAD[1] - FOV_RAD[0])
        if self.views > 1:  # a rig has one kind of camera
            self.fov = self.fov.view(self.places, -1)[:, :1].expand(-1, self.views).flatten()
        self.aspect = ASPECTS[0] + self.rand(b) * (ASPECTS[1] - ASPECTS[0])
        known = (self.rand(b) < 0.5).float() * (self.variation.colour > 0)
        share = 1 - 0.85 * known
        pitch, roll = self.variation.tilt_std_rad
        self.pitch, self.roll = self.randn(b) * pitch * share, self.randn(b) * roll * share

    def randint(self, high, count):
        return torch.randint(high, (count,), generator=self.generator, device=self.device)

    def map_pieces(self):
        return self.cache.maps[self.city].float(), None, self.config.metres_per_px

    def tile_labels(self, middle, tile_px):
        """Shares (P, L, n / 2, n / 2) of classes."""
        labels = self._labels_at(self.city, *self.tile_points(middle, tile_px))
        return F.avg_pool2d(one_hot(labels), self.config.stride)

    def _labels_at(self, city, east, north):
        n = self.cache.labels.shape[-1]
        half = n / 2
        column = (east / self.config.metres_per_px + half).long().clamp(0, n - 1)
        row = (half - north / self.config.metres_per_px).long().clamp(0, n - 1)
        return self.cache.labels[city.view(-1, 1, 1), row, column]

    # --- the views ---------------------------------------------------------------------------

    def yaws(self):
        """Headings (B,) of the views in the turned frame."""
        return self.yaws_of(self.each_view(self.pose[:, 2]) + self.look)

    def strips(self):
        """Levelled strips (B, 4, H, W), and which columns and rows show something (B, 1, H, W)."""
        config = self.config
        azimuth, slope = strip_directions(config, WIDTH, self.device)
        mirror = self.each_view(self.mirror)[:, None]
        own = mirror * azimuth  # a mirrored view looks the other way round
        pitch, roll = self.pitch[:, None, None], self.roll[:, None, None]
        elevation = slope[:, None].atan() + pitch * azimuth.cos() + roll * azimuth.sin()
        pixels = self._panorama_at(self.look[:, None] + own, elevation)
        visible = self._visible(azimuth, slope)
        if self.variation.colour:
            pixels = self.vary(self._cover(pixels, slope))
        return normalize_strips(pixels, visible), visible

    def _panorama_at(self, bearing, elevation):
        """Pixels (B, 3, H, W), 0..1, at bearings (B, W) counter-clockwise from the panorama's
        middle and elevations (B, H, W)."""
        city, number = self.each_view(self.city), self.each_view(self.number)
        panorama = self.cache.panoramas[city, number].permute(0, 3, 1, 2).float() / 255
        high, wide = panorama.shape[2:]
        wrapped = torch.cat([panorama, panorama[..., :1]], 3)
        column = ((wide - 1) / 2 - bearing * (wide / (2 * math.pi))) % wide
        row = (high - 1) / 2 - elevation * (wide / (2 * math.pi))
        u = (column + 0.5) / (wide + 1) * 2 - 1
        v = (row + 0.5) / high * 2 - 1
        grid = torch.stack([u[:, None].expand_as(v), v], -1)
        return F.grid_sample(wrapped, grid, align_corners=False, padding_mode='border')

    def _visible(self, azimuth, slope):
        """Mask (B, 1, H, W) of what a pinhole camera sees whose pitch may be known."""
        half = (self.fov / 2)[:, None, None]
        high = half.tan() / self.aspect[:, None, None] * azimuth.cos().clamp(min=0.05)
        shift = 0.05 * self.randn(len(self.look), 1, 1)
        rows = (slope[:, None] - shift).abs() < high
        return (rows & (azimuth.abs() < half))[:, None].float()

    def _cover(self, pixels, slope):
        """The vehicle's own bonnet over the lower edge of some views."""
        b = len(pixels)
        share = 0.22 * self.rand(b, 1, 1, 1) * (self.rand(b, 1, 1, 1) < 0.3)
        high = (self.fov / 2).tan() / self.aspect
        edge = -high.view(b, 1, 1, 1) * (1 - 2 * share)
        tone = 0.3 * self.rand(b, 1, 1, 1)
        return torch.where(slope.view(1, 1, -1, 1) < edge, tone, pixels)

    def polar_labels(self, visible):
        """Classes along the columns and free ways (B, L + 1, D, A), and weights (B, 1, D, A)."""
        config, columns = self.config, WIDTH // 2
        azimuth, _ = strip_directions(config, WIDTH, self.device)
        azimuth = azimuth.view(columns, 2).mean(1)
        distance = depths_m(config, self.device)
        angle = self.yaws()[:, None, None] + azimuth
        x, y = distance[:, None] * angle.cos(), distance[:, None] * angle.sin()
        city = self.each_view(self.city)
        labels = one_hot(self._labels_at(city, *self.world(x, y, each=True)))
        wall_m = self._walls(azimuth)
        free = (distance[:, None] < wall_m[:, None]).float()[:, None]
        in_view = visible.amax(2, keepdim=True).view(len(labels), 1, 1, columns, 2).amin(-1)
        near = (distance[:, None] < wall_m[:, None] + 8.0).float()[:, None]
        return torch.cat([labels, free], 1), in_view * (0.05 + 0.95 * near)

    def _walls(self, azimuth):
        """Metres (B, A) to the first wall along the columns of the views."""
        city, number = self.each_view(self.city), self.each_view(self.number)
        walls = self.cache.walls_m[city, number]
        count = walls.shape[1]
        bearing = self.look[:, None] + self.each_view(self.mirror)[:, None] * azimuth
        column = (count / 2 - bearing * (count / (2 * math.pi))).floor().long() % count
        return walls.gather(1, column)


def strip_directions(
    config: ForwardConfig, columns: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Azimuths (W,) of the columns of a strip, counter-clockwise from its middle, and slopes
    (H,), tangents of the elevation, of its rows."""
    step = 2 * math.pi / config.strip_columns
    azimuth = (columns / 2 - 0.5 - torch.arange(columns, device=device)) * step
    rows = (torch.arange(config.strip_rows, device=device) + 0.5) / config.strip_rows
    return azimuth, config.strip_tan * (1 - 2 * rows)


def depths_m(config: ForwardConfig, device: torch.device) -> torch.Tensor:
    """Distances (D,) of the depths."""
    first, last = math.log(config.nearest_m), math.log(config.reach_m)
    return torch.linspace(first, last, config.depths, device=device).exp()


def normalize_strips(pixels: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """Strips (B, 3, H, W) of zero mean and unit deviation over what is visible (B, 1, H, W), with
    the mask: (B, 4, H, W)."""
    count = visible.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (pixels * visible).sum((2, 3), keepdim=True) / count
    spread = ((pixels - mean).square() * visible).sum((1, 2, 3), keepdim=True) / (3 * count)
    normal = (pixels - mean) / (spread + 1e-4).sqrt()
    return torch.cat([normal * visible, visible], 1)


def one_hot(labels: torch.Tensor) -> torch.Tensor:
    """Labels uint8 (N, h, w) as planes (N, L, h, w): road, footway, green, paved, water, building,
    plant."""
    ground = labels & 7
    planes = [ground == number for number in range(1, 6)]
    planes += [(labels & bit) > 0 for bit in CLASS_BITS]
    return torch.stack(planes, 1).float()
