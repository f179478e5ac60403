"""What registration is trained to do: say where in a tile a view is, or that it is not there.

Shapes: B pairs and K pictures of nothing are V views; M tiles a view, C channels, R headings,
T template cells and n tile cells along a side, W = n - T + 1 places along a side.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.training.registration.batches import Batch
from justzoom_ros.training.registration.views import STRIDE

TOGETHER = {'cpu': 1, 'cuda': 64}
"""So many views are correlated at once: one at a time stays in a processor's cache."""
NOWHERE = -1e4
"""Log ratio of places that count for nothing."""


@dataclass(frozen=True)
class Scores:
    """Sums of products over visible cells, of views on tiles that show them and on others."""

    sums: torch.Tensor
    """(V, M, R, W, W): on each view's own tile, then on M - 1 foreign ones."""
    area: torch.Tensor
    """(V, R) visible cells."""
    valid: torch.Tensor
    """bool (V, M, W, W): places that lie on imagery; nowhere where there is no tile."""


def scores_of(network: RegistrationNetwork, batch: Batch) -> Scores:
    """Correlate the views of a batch with its tiles."""
    tile_mask = F.avg_pool2d(batch.tiles[:, 3:], STRIDE)[:, 0] >= 0.5
    view_mask = F.avg_pool2d(batch.views[:, 3:], STRIDE)[:, 0] >= 0.5
    kind = batch.tiles.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=kind == 'cuda'):
        tiles, views = network.encode_map(batch.tiles), network.encode_view(batch.views)
    tiles = tiles * tile_mask[:, None]
    templates, seen = turn_templates(views, view_mask, batch.headings)
    own = torch.arange(len(views))
    own[len(tiles) :] = -1
    which = torch.cat([own[:, None], batch.foreign], 1)
    sums = Correlation.apply(tiles, templates, which)
    there = covered_places(tile_mask, view_mask.shape[-1])[which.clamp(min=0).to(tiles.device)]
    valid = there & (which >= 0).to(tiles.device)[..., None, None]
    return Scores(sums, seen.sum((2, 3)).clamp(min=1).float(), valid)


@dataclass(frozen=True)
class Losses:
    """What a batch costs, in nats, and why."""

    here: torch.Tensor
    """(B,) -log p(true place, true heading, here) on a map of all tiles of a view."""
    absent: torch.Tensor
    """(B + K,) -log p(somewhere else) on a map of the foreign tiles."""
    here_ratio: torch.Tensor
    """(B, M R, W, W) log ratios; the first R are those of the view's own tile."""
    absent_ratio: torch.Tensor
    """(B + K, (M - 1) R, W, W)."""


def losses_of(network: RegistrationNetwork, batch: Batch) -> Losses:
    """Losses of a batch: the tiles of a view, its own and foreign ones, count as one map."""
    scores, count = scores_of(network, batch), len(batch.tiles)
    here = _of_tiles(network, scores, slice(0, count), slice(0, None))
    elsewhere = _of_tiles(network, scores, slice(0, None), slice(1, None))
    absent = elsewhere_loss(elsewhere)
    return Losses(here_loss(here, batch.rows, batch.columns), absent, here, elsewhere)


def _of_tiles(network, scores, views, tiles):
    """Log ratios of some views on some of their tiles, which count as one map."""
    sums, valid = scores.sums[views, tiles], scores.valid[views, tiles]
    count, headings = sums.shape[1:3]
    valid = valid[:, :, None].expand(-1, -1, headings, -1, -1).flatten(1, 2)
    area = scores.area[views].repeat(1, count)
    return log_ratios(network, sums.flatten(1, 2), area, valid)


def turn_templates(
    features: torch.Tensor, mask: torch.Tensor, headings: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn view features (B, C, T, T) with masks (B, T, T) to headings (B, R).

    Returns templates (B, R, C, T, T), zero where nothing is seen, and masks (B, R, T, T).
    """
    b, c, t, _ = features.shape
    r = headings.shape[1]
    axis = (torch.arange(t, device=features.device) - (t - 1) / 2) / (t / 2)
    y, x = torch.meshgrid(axis, axis, indexing='ij')
    cos, sin = headings.cos()[..., None, None], headings.sin()[..., None, None]
    grid = torch.stack([cos * x + sin * y, cos * y - sin * x], -1).view(b, r * t, t, 2)
    both = torch.cat([features * mask[:, None], mask[:, None].to(features)], 1)
    turned = F.grid_sample(both, grid, align_corners=False).view(b, c + 1, r, t, t)
    seen = turned[:, -1] > 0.5
    return turned[:, :-1].transpose(1, 2) * seen[:, :, None], seen


class Correlation(torch.autograd.Function):
    """Sums of products of templates and tiles at all places, on several tiles each.

    The spectra of a template serve all its tiles and the gradient, and few templates at a time
    stay in the processor's cache: faster than automatic differentiation of the same.
    """

    @staticmethod
    def forward(ctx, tiles, templates, which):
        """`tiles` (B, C, n, n), `templates` (V, R, C, T, T); `which` int64 (V, M), on the CPU:
        indices of tiles, -1 for none. Returns (V, M, R, W, W), 0 where there is no tile."""
        side, small = tiles.shape[-1], templates.shape[-1]
        places, (views, tries) = side - small + 1, which.shape
        spectra = torch.fft.rfft2(tiles)
        sums = templates.new_zeros(views, tries, templates.shape[1], places, places)
        for part in _parts(tiles, views):
            spectrum = torch.fft.rfft2(templates[part], s=(side, side)).conj()
            for k, index, there in _tries(which[part], tiles.device):
                product = (spectra[index][:, None] * spectrum).sum(2)
                full = torch.fft.irfft2(product, s=(side, side))[..., :places, :places]
                sums[part, k] = full * there
        ctx.save_for_backward(spectra, templates)
        ctx.which = which
        return sums

    @staticmethod
    def backward(ctx, gradient):
        """Correlations again: of the gradient with tiles, and with templates."""
        spectra, templates = ctx.saved_tensors
        side, small = spectra.shape[-2], templates.shape[-1]
        to_tiles, to_templates = torch.zeros_like(spectra), torch.zeros_like(templates)
        for part in _parts(spectra, len(templates)):
            spectrum, total = torch.fft.rfft2(templates[part], s=(side, side)), None
            for k, index, there in _tries(ctx.which[part], spectra.device):
                slope = torch.fft.rfft2(gradient[part, k] * there, s=(side, side))[:, :, None]
                _add_at(to_tiles, index, (slope * spectrum).sum(1))
                more = slope.conj() * spectra[index][:, None]
                total = more if total is None else total + more
            if total is not None:
                full = torch.fft.irfft2(total, s=(side, side))
                to_templates[part] = full[..., :small, :small]
        return torch.fft.irfft2(to_tiles, s=(side, side)), to_templates, None


def _parts(tensor, count):
    """Slices of views that are correlated at once."""
    size = TOGETHER[tensor.device.type]
    return [slice(first, first + size) for first in range(0, count, size)]


def _tries(which, device):
    """For each column of `which` (v, M) that names a tile: its number, indices of tiles (v,), and
    1 or 0 (v, 1, 1, 1) where there is one or none."""
    for k in range(which.shape[1]):
        index = which[:, k]
        if (index >= 0).any():
            there = (index >= 0).float()[:, None, None, None]
            yield k, index.clamp(min=0).to(device), there.to(device)


def _add_at(target, index, values):
    """target[index] += values, of complex tensors, where indices may repeat."""
    torch.view_as_real(target).index_add_(0, index, torch.view_as_real(values))


def covered_places(tile_mask: torch.Tensor, template: int) -> torch.Tensor:
    """bool (B, W, W): places where at least half of the view's square lies on imagery, from cell
    masks (B, n, n)."""
    return F.avg_pool2d(tile_mask[:, None].float(), template, stride=1)[:, 0] >= 0.5


def log_ratios(
    network: RegistrationNetwork, scores: torch.Tensor, area: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """Log likelihood ratios (B, R, W, W), NOWHERE where not `valid`, bool (B, R, W, W).

    `scores` are sums of products, `area` (B, R) visible cells.
    """
    cosine, mean, std = spread(scores, area, valid)
    ratio = network.log_ratio(cosine, area[..., None, None], mean, std)
    return ratio.masked_fill(~valid, NOWHERE)


def spread(
    scores: torch.Tensor, area: torch.Tensor, valid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean cosines (B, R, W, W), and their mean and standard deviation (B, 1, 1, 1) over all valid
    poses of a view."""
    cosine = scores / area[..., None, None]
    weight = valid.to(cosine)
    count = weight.sum((1, 2, 3), keepdim=True).clamp(min=1)
    mean = (cosine * weight).sum((1, 2, 3), keepdim=True) / count
    variance = ((cosine - mean).square() * weight).sum((1, 2, 3), keepdim=True) / count
    return cosine, mean, (variance + 1e-8).sqrt()


def log_evidence(ratio: torch.Tensor) -> torch.Tensor:
    """log of the mean likelihood ratio over all places and headings (B,)."""
    return ratio.flatten(1).logsumexp(1) - _count(ratio).log()


def here_loss(ratio: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """-log p(place, first heading, here) in nats (B,), where 'here' and 'somewhere else' are as
    likely beforehand. The true place (B,), in cells, may lie between cells."""
    found = interpolate(ratio[:, 0], row, column)
    return F.softplus(log_evidence(ratio)) + _count(ratio).log() - found


def elsewhere_loss(ratio: torch.Tensor) -> torch.Tensor:
    """-log p(somewhere else) in nats (B,)."""
    return F.softplus(log_evidence(ratio))


def _count(ratio):
    """Places and headings that count (B,)."""
    return (ratio > NOWHERE).sum((1, 2, 3)).clamp(min=1)


def interpolate(values: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """Bilinear interpolation of (B, W, W), as NOWHERE does not count: (B,)."""
    side, batch = values.shape[1], torch.arange(len(values), device=values.device)
    total, weights = torch.zeros_like(row), torch.zeros_like(row)
    for down in (0, 1):
        for right in (0, 1):
            r = (row.floor().long() + down).clamp(0, side - 1)
            c = (column.floor().long() + right).clamp(0, side - 1)
            weight = (1 - (row - row.floor() - down).abs()) * (
                1 - (column - column.floor() - right).abs()
            )
            value = values[batch, r, c]
            weight = weight * (value > NOWHERE)
            total, weights = total + weight * value, weights + weight
    return total / weights.clamp(min=1e-6)
