"""Batches of photos: pieces of map turned and mirrored together with the view, colours changed."""

import math

import torch

from justzoom_ros.registration.forward_config import ForwardConfig
from justzoom_ros.training.street_registration.draw import (
    TRAINED,
    Draw,
    Variation,
    candidates,
)
from justzoom_ros.training.street_registration.photos import PhotoBank
from justzoom_ros.training.street_registration.views import (
    LabelNoise,
    StreetBatch,
    normalize_strips,
)

LEAST_WINDOW_CELLS = 9
"""Side of the smallest square in which the label of a photo is drawn."""


def draw_photos(
    bank: PhotoBank,
    config: ForwardConfig,
    numbers: torch.Tensor,
    headings: int,
    tile_px: int,
    generator: torch.Generator,
    variation: Variation = TRAINED,
) -> StreetBatch:
    """A batch of the photos `numbers` (P,), one view each. The labelled place is anywhere among
    all places of a tile at which a template fits, two deviations from their border."""
    draw = _PhotoDraw(bank, config, numbers, tile_px, generator, variation)
    fits = tile_px // config.stride - 2 * config.reach_cells
    std_m, std_rad = bank.stds[numbers].to(generator.device).T
    margin = math.ceil(2 * float(std_m.max()) / config.cell_m)
    middle, target = draw.tile_place(fits, max(LEAST_WINDOW_CELLS, fits - 2 * margin))
    tiles = draw.tiles(middle, tile_px)
    yaws, off = candidates(draw, draw.yaws_of(draw.pose[:, 2]), headings)
    noise = LabelNoise(std_m / config.cell_m, std_rad, off)
    return StreetBatch(
        draw.strips(), tiles, yaws, target, noise=noise, apart=_apart(bank, numbers, draw.reach_m)
    )


class _PhotoDraw(Draw):
    """One draw of photos and of how the map is turned."""

    def __init__(self, bank, config, numbers, tile_px, generator, variation):
        self.bank, self.numbers = bank, numbers
        shift_m = (tile_px - 2 * config.reach_cells * config.stride) / 2 * config.metres_per_px
        self.reach_m = math.sqrt(2) * (tile_px / 2 * config.metres_per_px + shift_m)
        self.pieces, poses = zip(*(self._piece(int(n)) for n in numbers), strict=True)
        pose = torch.tensor(poses, device=generator.device)
        super().__init__(config, pose, 1, generator, variation)

    def _piece(self, number):
        """Half (4, m, m) of the map round a photo, zero beyond it, and the photo's pose in it."""
        area = self.bank.maps[int(self.bank.map_numbers[number])]
        east_m, north_m, yaw = self.bank.poses[number].tolist()
        px, side = area.metres_per_px, area.pixels.shape[1]
        half = math.ceil(self.reach_m / self._finest_px()) + 2
        row, column = (math.floor(side / 2 + v / px) for v in (-north_m, east_m))
        piece = area.pixels.new_zeros((4, 2 * half, 2 * half))
        rows, columns = (slice(max(0, at - half), min(side, at + half)) for at in (row, column))
        top, left = rows.start - (row - half), columns.start - (column - half)
        found = area.pixels[:, rows, columns]
        piece[:, top : top + found.shape[1], left : left + found.shape[2]] = found
        middle_m = (column - side / 2) * px, (side / 2 - row) * px
        return (piece, px), (east_m - middle_m[0], north_m - middle_m[1], yaw)

    def _finest_px(self):
        """So that the pieces of maps of slightly different pixels are alike in number."""
        return min(area.metres_per_px for area in self.bank.maps)

    def map_pieces(self):
        pieces = torch.stack([piece for piece, _ in self.pieces]).to(self.device).float()
        sides = torch.tensor([px for _, px in self.pieces], device=self.device)
        return pieces[:, :3], pieces[:, 3:], sides[:, None, None]

    def strips(self):
        """Levelled strips (B, 4, H, W), normalized; of mirrored places mirrored."""
        pixels = self.bank.strips[self.numbers].to(self.device).float() / 255
        seen = self.bank.seen[self.numbers].to(self.device).float()
        mirrored = (self.mirror < 0).view(-1, 1, 1, 1)
        pixels = torch.where(mirrored, pixels.flip(3), pixels)
        seen = torch.where(mirrored, seen.flip(3), seen)
        if self.variation.colour:
            pixels = self.vary(pixels)
        return normalize_strips(pixels, seen)


def _apart(bank, numbers, reach_m):
    """bool (P,): whether the photo before is on another map, or so far away that its piece of map
    does not hold this one's place."""
    before = numbers.roll(1)
    away = (bank.poses[numbers, :2] - bank.poses[before, :2]).norm(dim=1)
    return (bank.map_numbers[numbers] != bank.map_numbers[before]) | (away > reach_m)
