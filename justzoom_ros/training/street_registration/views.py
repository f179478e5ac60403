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
from justzoom_ros.training.street_registration.lesson_cache import LessonCache

WIDTH = 160
"""Columns of the strips: 120 degrees."""

FOV_RAD = (math.radians(55), math.radians(115))
ASPECTS = (4 / 3, 16 / 9)
CLASS_BITS = 8, 16
"""Bits of buildings and plants in labels; the lowest three bits are the class of the ground."""


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

    tile_labels: torch.Tensor
    """(P, L, n / 2, n / 2): share of each class in the cells."""

    polar_labels: torch.Tensor
    """(B, L + 1, D, A): classes, and whether no wall is nearer."""

    polar_seen: torch.Tensor
    """(B, 1, D, A): weights, 0 where nothing can be said."""


@dataclass(frozen=True)
class Variation:
    """How much views and maps vary. All zero or one: to judge."""

    turned: bool = True
    """Whether maps are turned and mirrored."""

    tilt_std_rad: tuple[float, float] = (0.045, 0.02)
    """Standard deviation of the pitch and roll that are not known, of half of the views."""

    colour: float = 1.0
    """Strength of changes of colour."""


JUDGED = Variation(False, (0.045, 0.02), 0.0)


def draw_batch(
    cache: LessonCache,
    config: ForwardConfig,
    places: int,
    views: int,
    headings: int,
    tile_px: int,
    generator: torch.Generator,
    variation: Variation = Variation(),
    window_cells: int | None = None,
) -> StreetBatch:
    """A batch of `places` with `views` each. `window_cells`: side of the square, about the
    middle of a tile, in which the true place is; all that fits unless given."""
    draw = _Draw(cache, config, places, views, generator, variation)
    fits = tile_px // config.stride - 2 * config.reach_cells
    middle, target = draw.tile_place(fits, window_cells or fits, tile_px)
    tiles = draw.tiles(middle, tile_px)
    yaws = draw.yaws()
    step = 2 * math.pi / headings
    offsets = torch.arange(headings, device=cache.device) * step
    error = (draw.rand(places) - 0.5) * step
    candidates = yaws.view(places, views, 1) + error[:, None, None] + offsets
    strips, visible = draw.strips()
    labels, seen = draw.polar_labels(visible)
    return StreetBatch(
        strips, tiles, candidates.flatten(0, 1), target, draw.tile_labels(middle, tile_px),
        labels, seen,
    )  # fmt: skip


class _Draw:
    """One draw of places and of how they are seen."""

    def __init__(self, cache, config, places, views, generator, variation):
        self.cache, self.config, self.places, self.views = cache, config, places, views
        self.generator, self.variation, self.device = generator, variation, cache.device
        self.city = self.randint(cache.count, places)
        self.number = self.randint(cache.poses.shape[1], places)
        self.pose = cache.poses[self.city, self.number]
        self.turn, self.mirror = self.zeros(places), self.zeros(places) + 1
        if variation.turned:
            self.turn = self.rand(places) * 2 * math.pi
            self.mirror = (self.rand(places) < 0.5).float() * 2 - 1
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

    def rand(self, *shape):
        return torch.rand(shape, generator=self.generator, device=self.device)

    def randn(self, *shape):
        return torch.randn(shape, generator=self.generator, device=self.device)

    def randint(self, high, count):
        return torch.randint(high, (count,), generator=self.generator, device=self.device)

    def zeros(self, *shape):
        return torch.zeros(shape, device=self.device)

    def each_view(self, values):
        """Values (P, ...) of places as those of their views (B, ...)."""
        return values.repeat_interleave(self.views, 0)

    # --- the map -----------------------------------------------------------------------------

    def tile_place(self, fits, window_cells, tile_px):
        """Middles (P, 2) of tiles in the turned frame, and targets (P, 2), so that the camera is
        anywhere in the window."""
        away = (self.rand(self.places, 2) - 0.5) * (window_cells - 1)
        middle = torch.stack([-away[:, 1], away[:, 0]], 1) * self.config.cell_m
        return middle, away + (fits - 1) / 2

    def world(self, x, y, each=None):
        """Metres east and north of the map's middle of points (P, ...) of the turned frame."""
        turn, mirror, pose = self.turn, self.mirror, self.pose
        if each is not None:
            turn, mirror, pose = (self.each_view(v) for v in (turn, mirror, pose))
        extra = (1,) * (x.ndim - 1)
        cos, sin = turn.cos().view(-1, *extra), turn.sin().view(-1, *extra)
        y = y * mirror.view(-1, *extra)
        east = pose[:, 0].view(-1, *extra) + cos * x - sin * y
        north = pose[:, 1].view(-1, *extra) + sin * x + cos * y
        return east, north

    def _tile_points(self, middle, tile_px):
        along = torch.arange(tile_px, device=self.device) + 0.5 - tile_px / 2
        along = along * self.config.metres_per_px
        y, x = torch.meshgrid(-along, along, indexing='ij')
        return self.world(x + middle[:, 0, None, None], y + middle[:, 1, None, None])

    def tiles(self, middle, tile_px):
        """Pieces of map (P, 4, n, n) about points of the turned frame, their colours changed."""
        east, north = self._tile_points(middle, tile_px)
        half = self.cache.maps.shape[-1] / 2 * self.config.metres_per_px
        grid = torch.stack([east / half, -north / half], -1)
        maps = self.cache.maps[self.city].float()
        sampled = F.grid_sample(maps, grid, align_corners=False)
        mask = (grid.abs().amax(-1) < 1).float()[:, None]
        strength = self.variation.colour
        if strength:
            sampled = self._recolour(sampled, 0.15 * strength)
            sampled = sampled + 0.15 * strength * self.rand(self.places, 1, 1, 1) * torch.randn(
                sampled.shape, device=self.device, generator=self.generator
            )
        return torch.cat([sampled * mask, mask], 1)

    def _recolour(self, pixels, strength):
        """Mix the channels of pictures (N, 3, h, w), change gain and brightness."""
        n = len(pixels)
        mix = torch.eye(3, device=self.device) + strength * self.randn(n, 3, 3)
        grey = (self.rand(n, 1, 1) < 0.1).float()
        mix = mix * (1 - grey) + grey / 3
        gain = (strength * self.randn(n, 1, 1, 1)).exp()
        mixed = torch.einsum('nij,njhw->nihw', mix, pixels)
        return mixed * gain + strength * self.randn(n, 3, 1, 1)

    def tile_labels(self, middle, tile_px):
        """Shares (P, L, n / 2, n / 2) of classes."""
        labels = self._labels_at(self.city, *self._tile_points(middle, tile_px))
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
        yaw = self.each_view(self.pose[:, 2]) + self.look
        return self.each_view(self.mirror) * (yaw - self.each_view(self.turn))

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
            pixels = self._vary(self._cover(pixels, slope))
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

    def _vary(self, pixels):
        """Exposure, colour, noise and blur as cameras have them."""
        b = len(pixels)
        gamma = (0.25 * self.randn(b, 1, 1, 1)).exp()
        pixels = pixels.clamp(1e-3, 1) ** gamma
        pixels = self._recolour(pixels - 0.4, 0.12) + 0.4
        soft = F.avg_pool2d(pixels, 3, 1, 1, count_include_pad=False)
        share = self.rand(b, 1, 1, 1) * (self.rand(b, 1, 1, 1) < 0.4)
        pixels = pixels + share * (soft - pixels)
        return pixels + 0.03 * self.rand(b, 1, 1, 1) * torch.randn(
            pixels.shape, device=self.device, generator=self.generator
        )

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
