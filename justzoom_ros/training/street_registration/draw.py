"""What every draw of places has: random numbers, a map that is turned, and colours that change.

Shapes: P places with V views each, B = P * V. Positions are metres in the *turned frame*, whose
origin is the camera of the place and whose axes are those of the piece of map.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from justzoom_ros.registration.forward_config import ForwardConfig


@dataclass(frozen=True)
class Variation:
    """How much views and maps vary. All zero or one: to judge."""

    turned: bool = True
    """Whether maps are turned and mirrored."""

    tilt_std_rad: tuple[float, float] = (0.045, 0.02)
    """Standard deviation of the pitch and roll that are not known, of half of the views."""

    colour: float = 1.0
    """Strength of changes of colour."""


TRAINED = Variation()
JUDGED = Variation(False, (0.045, 0.02), 0.0)


class Draw:
    """Places on maps, each turned and mirrored in its own way.

    `pose` (P, 3 or more): metres east and north of the middle of what `map_pieces` has, and yaw.
    """

    def __init__(
        self,
        config: ForwardConfig,
        pose: torch.Tensor,
        views: int,
        generator: torch.Generator,
        variation: Variation,
    ) -> None:
        self.config, self.pose, self.views = config, pose, views
        self.generator, self.variation, self.device = generator, variation, pose.device
        self.places = len(pose)
        self.turn, self.mirror = self.zeros(self.places), self.zeros(self.places) + 1
        if variation.turned:
            self.turn = self.rand(self.places) * 2 * math.pi
            self.mirror = (self.rand(self.places) < 0.5).float() * 2 - 1

    def map_pieces(self) -> tuple[torch.Tensor, torch.Tensor | None, float | torch.Tensor]:
        """Normalized pieces of map (P, 3, n, n), masks (P, 1, n, n) of where they have imagery,
        None where that is everywhere, and the side of their pixels in metres, one or (P, 1, 1)."""
        raise NotImplementedError

    # --- random numbers --------------------------------------------------------------------------

    def rand(self, *shape: int) -> torch.Tensor:
        """Uniform, 0..1."""
        return torch.rand(shape, generator=self.generator, device=self.device)

    def randn(self, *shape: int) -> torch.Tensor:
        """Normal."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def zeros(self, *shape: int) -> torch.Tensor:
        """Zeros on the device."""
        return torch.zeros(shape, device=self.device)

    def each_view(self, values: torch.Tensor) -> torch.Tensor:
        """Values (P, ...) of places as those of their views (B, ...)."""
        return values.repeat_interleave(self.views, 0)

    # --- the map ---------------------------------------------------------------------------------

    def tile_place(self, fits: int, window_cells: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Middles (P, 2) of tiles in the turned frame, and targets (P, 2), so that the camera is
        anywhere in the window."""
        away = (self.rand(self.places, 2) - 0.5) * (window_cells - 1)
        middle = torch.stack([-away[:, 1], away[:, 0]], 1) * self.config.cell_m
        return middle, away + (fits - 1) / 2

    def world(
        self, x: torch.Tensor, y: torch.Tensor, each: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Metres east and north of the middle of the map's piece of points of the turned frame,
        (P, ...), or with `each` (B, ...)."""
        turn, mirror, pose = self.turn, self.mirror, self.pose
        if each:
            turn, mirror, pose = (self.each_view(v) for v in (turn, mirror, pose))
        extra = (1,) * (x.ndim - 1)
        cos, sin = turn.cos().view(-1, *extra), turn.sin().view(-1, *extra)
        y = y * mirror.view(-1, *extra)
        east = pose[:, 0].view(-1, *extra) + cos * x - sin * y
        north = pose[:, 1].view(-1, *extra) + sin * x + cos * y
        return east, north

    def tile_points(self, middle: torch.Tensor, tile_px: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the pixels of tiles about `middle` (P, 2) are: east and north (P, n, n)."""
        along = torch.arange(tile_px, device=self.device) + 0.5 - tile_px / 2
        along = along * self.config.metres_per_px
        y, x = torch.meshgrid(-along, along, indexing='ij')
        return self.world(x + middle[:, 0, None, None], y + middle[:, 1, None, None])

    def tiles(self, middle: torch.Tensor, tile_px: int) -> torch.Tensor:
        """Pieces of map (P, 4, n, n) about points of the turned frame, their colours changed."""
        east, north = self.tile_points(middle, tile_px)
        maps, masks, metres_per_px = self.map_pieces()
        half = maps.shape[-1] / 2 * metres_per_px
        grid = torch.stack([east / half, -north / half], -1)
        sampled = F.grid_sample(maps, grid, align_corners=False)
        mask = (grid.abs().amax(-1) < 1).float()[:, None]
        if masks is not None:
            mask = mask * (F.grid_sample(masks, grid, align_corners=False) > 0.5)
        strength = self.variation.colour
        if strength:
            sampled = self.recolour(sampled, 0.15 * strength)
            sampled = sampled + 0.15 * strength * self.rand(self.places, 1, 1, 1) * torch.randn(
                sampled.shape, device=self.device, generator=self.generator
            )
        return torch.cat([sampled * mask, mask], 1)

    def yaws_of(self, yaws_rad: torch.Tensor) -> torch.Tensor:
        """Headings (B,) of views, counter-clockwise from east, in the turned frame."""
        return self.each_view(self.mirror) * (yaws_rad - self.each_view(self.turn))

    # --- colours ---------------------------------------------------------------------------------

    def recolour(self, pixels: torch.Tensor, strength: float) -> torch.Tensor:
        """Mix the channels of pictures (N, 3, h, w), change gain and brightness."""
        n = len(pixels)
        mix = torch.eye(3, device=self.device) + strength * self.randn(n, 3, 3)
        grey = (self.rand(n, 1, 1) < 0.1).float()
        mix = mix * (1 - grey) + grey / 3
        gain = (strength * self.randn(n, 1, 1, 1)).exp()
        mixed = torch.einsum('nij,njhw->nihw', mix, pixels)
        return mixed * gain + strength * self.randn(n, 3, 1, 1)

    def vary(self, pixels: torch.Tensor) -> torch.Tensor:
        """Exposure, colour, noise and blur as cameras have them, of views (B, 3, H, W), 0..1."""
        b = len(pixels)
        gamma = (0.25 * self.randn(b, 1, 1, 1)).exp()
        pixels = pixels.clamp(1e-3, 1) ** gamma
        pixels = self.recolour(pixels - 0.4, 0.12) + 0.4
        soft = F.avg_pool2d(pixels, 3, 1, 1, count_include_pad=False)
        share = self.rand(b, 1, 1, 1) * (self.rand(b, 1, 1, 1) < 0.4)
        pixels = pixels + share * (soft - pixels)
        return pixels + 0.03 * self.rand(b, 1, 1, 1) * torch.randn(
            pixels.shape, device=self.device, generator=self.generator
        )


def candidates(
    draw: Draw, yaws_rad: torch.Tensor, headings: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Headings (B, R) that are compared for views at `yaws_rad` (B,), the first the true one to
    half a step, and how far each is from the true one (P, R)."""
    step = 2 * math.pi / headings
    offsets = torch.arange(headings, device=draw.device) * step
    error = (draw.rand(draw.places) - 0.5) * step
    off = error[:, None] + offsets
    return yaws_rad[:, None] + draw.each_view(off), off
