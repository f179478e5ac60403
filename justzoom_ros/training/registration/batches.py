"""Batches of pairs for the network: pixels normalized, headings drawn, negatives added.

Shapes: B pairs, K pictures of nothing, R headings.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from justzoom_ros.registration.normalize import normalize_pixels
from justzoom_ros.training.registration.negatives import draw_negative
from justzoom_ros.training.registration.views import STRIDE, Pair, PairSource


@dataclass(frozen=True)
class Batch:
    """What a step learns from. Views B .. B + K - 1 are pictures of nothing."""

    tiles: torch.Tensor
    """(B, 4, n, n)."""
    views: torch.Tensor
    """(B + K, 4, t, t)."""
    headings: torch.Tensor
    """(B + K, R) radians; the first of a pair's is the true one, to half a step of a search."""
    rows: torch.Tensor
    """(B,) true place, cells."""
    columns: torch.Tensor
    """(B,)."""
    elsewhere: torch.Tensor
    """(B + K,) for each view, the index of a tile that does not show it."""


def draw_batch(
    source: PairSource, rng: np.random.Generator, pairs: int, negatives: float, headings: int,
    heading_error_rad: float, normalization_px: int,
) -> Batch:  # fmt: skip
    """Draw a batch; everything random comes from `rng`."""
    drawn = [source.draw(rng) for _ in range(pairs)]
    tiles = [normalize_pixels(p.tile, p.tile_mask, normalization_px) for p in drawn]
    views = [normalize_pixels(p.view, p.view_mask, normalization_px) for p in drawn]
    negatives = int(negatives + rng.random())
    for k in range(negatives):
        picture = draw_negative(source.config.template_cells * STRIDE, rng)
        mask = drawn[k % pairs].view_mask
        views.append(normalize_pixels(picture, mask, normalization_px))
    true = [p.heading_rad + rng.uniform(-1, 1) * heading_error_rad for p in drawn]
    first = np.array(true + [0.0] * negatives) % (2 * math.pi)
    others = np.arange(headings) + rng.uniform(-0.3, 0.3, (len(first), headings))
    others[:, 0] = 0
    turns = first[:, None] + others * 2 * math.pi / headings
    return Batch(
        torch.from_numpy(np.stack(tiles)),
        torch.from_numpy(np.stack(views)),
        torch.tensor(turns, dtype=torch.float32),
        torch.tensor([p.row for p in drawn], dtype=torch.float32),
        torch.tensor([p.column for p in drawn], dtype=torch.float32),
        torch.tensor(_elsewhere(drawn, negatives, rng)),
    )


def _elsewhere(drawn: list[Pair], negatives, rng):
    """For each view a tile of another place; of its own where there is no other."""
    tiles = []
    for pair in drawn:
        foreign = [j for j, other in enumerate(drawn) if other.place != pair.place]
        tiles.append(int(rng.choice(foreign)) if foreign else -1)
    return tiles + [int(rng.integers(len(drawn))) for _ in range(negatives)]
