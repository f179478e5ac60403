"""Batches of pairs for the network: pixels normalized, headings drawn, negatives added.

Shapes: B pairs, K pictures of nothing, R headings, F foreign tiles per view.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from justzoom_ros.registration.normalize import normalize_batch
from justzoom_ros.training.registration.dice import Dice
from justzoom_ros.training.registration.negatives import draw_negatives
from justzoom_ros.training.registration.views import STRIDE, PairSource

ALIKE = 0.5
"""Share of the foreign tiles that are of the view's own kind of ground, where there are some."""


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
    usable: torch.Tensor
    """bool (B,): pairs that show enough to learn from."""
    foreign: torch.Tensor
    """int64 (B + K, F): for each view, tiles that do not show it; -1 where there are too few."""


def draw_batch(
    source: PairSource, dice: Dice, pairs: int, negatives: float, headings: int,
    heading_error_rad: float, normalization_px: int, foreign: int = 1,
) -> Batch:  # fmt: skip
    """Draw a batch; everything random comes from `dice`."""
    drawn, rng = source.draw(pairs, dice), dice.numbers
    count = int(negatives + rng.random())
    nothing = draw_negatives(count, source.config.template_cells * STRIDE, dice)
    frames = drawn.view_masks[[k % pairs for k in range(count)]]
    tiles = normalize_batch(drawn.tiles, drawn.tile_masks, normalization_px)
    views = torch.cat([drawn.views, nothing]), torch.cat([drawn.view_masks, frames])
    true = drawn.headings_rad + rng.uniform(-1, 1, pairs) * heading_error_rad
    first = np.concatenate([true, np.zeros(count)]) % (2 * math.pi)
    others = np.arange(headings) + rng.uniform(-0.3, 0.3, (len(first), headings))
    others[:, 0] = 0
    return Batch(
        tiles,
        normalize_batch(*views, normalization_px),
        dice.tensor(first[:, None] + others * 2 * math.pi / headings),
        dice.tensor(drawn.rows),
        dice.tensor(drawn.columns),
        drawn.usable,
        torch.from_numpy(foreign_tiles(drawn.places, drawn.kinds, count, foreign, rng)),
    )


def foreign_tiles(
    places: np.ndarray, kinds: np.ndarray, negatives: int, count: int, rng: np.random.Generator
) -> np.ndarray:
    """For each view, `count` tiles of other places (B + negatives, count), about half of them of
    the same kind of ground; -1 where there are too few. `places`, `kinds` (B,)."""
    pairs = len(places)
    order = rng.random((pairs + negatives, pairs))
    alike = (kinds[:, None] == kinds) & (kinds >= 0)
    order[:pairs] -= alike * (rng.random((pairs, pairs)) < ALIKE)
    order[:pairs][places[:, None] == places] = math.inf
    nearest = np.argsort(order, 1)[:, :count]
    found = np.where(np.isfinite(np.take_along_axis(order, nearest, 1)), nearest, -1)
    return np.pad(found, ((0, 0), (0, count - found.shape[1])), constant_values=-1)
