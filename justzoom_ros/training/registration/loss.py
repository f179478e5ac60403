"""What registration is trained to do: say where in a tile a view is, or that it is not there.

Shapes: B pairs, C channels, R headings, T template cells and n tile cells along a side,
W = n - T + 1 places along a side.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.training.registration.batches import Batch
from justzoom_ros.training.registration.views import STRIDE


@dataclass(frozen=True)
class Scores:
    """Sums of products over visible cells, of views on tiles that show them and others."""

    here: torch.Tensor
    """(B, R, W, W)."""
    elsewhere: torch.Tensor
    """(B + K, R, W, W)."""
    area: torch.Tensor
    """(B + K, R) visible cells."""
    valid: torch.Tensor
    """bool (B, W, W): places of a tile that lie on imagery."""
    foreign: torch.Tensor
    """(B + K,): the tiles of `elsewhere`."""


def scores_of(network: RegistrationNetwork, batch: Batch) -> Scores:
    """Correlate the views of a batch with its tiles."""
    tile_mask = F.avg_pool2d(batch.tiles[:, 3:], STRIDE)[:, 0] >= 0.5
    view_mask = F.avg_pool2d(batch.views[:, 3:], STRIDE)[:, 0] >= 0.5
    tiles = network.encode_map(batch.tiles) * tile_mask[:, None]
    templates, seen = turn_templates(network.encode_view(batch.views), view_mask, batch.headings)
    area, count = seen.sum((2, 3)).clamp(min=1).float(), len(batch.tiles)
    own = [v if v < count else -1 for v in range(len(templates))]
    here, elsewhere = Correlation.apply(tiles, templates, own, batch.elsewhere.tolist())
    valid = covered_places(tile_mask, view_mask.shape[-1])
    return Scores(here[:count], elsewhere, area, valid, batch.elsewhere.clamp(min=0))


def losses_of(
    network: RegistrationNetwork, batch: Batch
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """`here_loss` (B,), `elsewhere_loss` (B + K,) and the log ratios (B, R, W, W) of the pairs and
    (B + K, R, W, W) of views on tiles that do not show them."""
    scores, count = scores_of(network, batch), len(batch.tiles)
    here = log_ratios(network, scores.here, scores.area[:count], scores.valid)
    elsewhere = log_ratios(network, scores.elsewhere, scores.area, scores.valid[scores.foreign])
    absent = elsewhere_loss(elsewhere) * (batch.elsewhere >= 0)
    return here_loss(here, batch.rows, batch.columns), absent, here, elsewhere


def turn_templates(
    features: torch.Tensor, mask: torch.Tensor, headings: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn view features (B, C, T, T) with masks (B, T, T) to headings (B, R).

    Returns templates (B, R, C, T, T), zero where nothing is seen, and masks (B, R, T, T).
    """
    b, c, t, _ = features.shape
    r = headings.shape[1]
    axis = (torch.arange(t) - (t - 1) / 2) / (t / 2)
    y, x = torch.meshgrid(axis, axis, indexing='ij')
    cos, sin = headings.cos()[..., None, None], headings.sin()[..., None, None]
    grid = torch.stack([cos * x + sin * y, cos * y - sin * x], -1).view(b, r * t, t, 2)
    both = torch.cat([features * mask[:, None], mask[:, None].to(features)], 1)
    turned = F.grid_sample(both, grid, align_corners=False).view(b, c + 1, r, t, t)
    seen = turned[:, -1] > 0.5
    return turned[:, :-1].transpose(1, 2) * seen[:, :, None], seen


class Correlation(torch.autograd.Function):
    """Sums of products of templates and tiles at all places, twice for each template.

    The spectra of a template serve both tiles and the gradient, and one template at a time stays
    in the processor's cache: a third faster than automatic differentiation of the same.
    """

    @staticmethod
    def forward(ctx, tiles, templates, own, other):
        """`tiles` (B, C, n, n), `templates` (V, R, C, T, T); `own` and `other` lists of V tile
        indices, -1 for none. Returns two (V, R, W, W), 0 where there is no tile."""
        side, small = tiles.shape[-1], templates.shape[-1]
        places = side - small + 1
        tile_spectra = torch.fft.rfft2(tiles)
        sums = templates.new_zeros(2, *templates.shape[:2], places, places)
        for v, template in enumerate(templates):
            spectrum = torch.fft.rfft2(template, s=(side, side)).conj()
            for k, index in enumerate((own[v], other[v])):
                if index >= 0:
                    product = (tile_spectra[index] * spectrum).sum(1)
                    full = torch.fft.irfft2(product, s=(side, side))
                    sums[k, v] = full[:, :places, :places]
        ctx.save_for_backward(tile_spectra, templates)
        ctx.pairs = own, other
        return sums[0], sums[1]

    @staticmethod
    def backward(ctx, *gradients):
        """Correlations again: of the gradient with tiles, and with templates."""
        tile_spectra, templates = ctx.saved_tensors
        side, small = tile_spectra.shape[-2], templates.shape[-1]
        to_tiles, to_templates = torch.zeros_like(tile_spectra), torch.zeros_like(templates)
        for v, template in enumerate(templates):
            spectrum, total = torch.fft.rfft2(template, s=(side, side)), 0
            for gradient, indices in zip(gradients, ctx.pairs, strict=True):
                if (index := indices[v]) >= 0:
                    slope = torch.fft.rfft2(gradient[v], s=(side, side))[:, None]
                    to_tiles[index] += (slope * spectrum).sum(0)
                    total = total + slope.conj() * tile_spectra[index]
            if torch.is_tensor(total):
                full = torch.fft.irfft2(total, s=(side, side))
                to_templates[v] = full[..., :small, :small]
        return torch.fft.irfft2(to_tiles, s=(side, side)), to_templates, None, None


def covered_places(tile_mask: torch.Tensor, template: int) -> torch.Tensor:
    """bool (B, W, W): places where at least half of the view's square lies on imagery, from cell
    masks (B, n, n)."""
    return F.avg_pool2d(tile_mask[:, None].float(), template, stride=1)[:, 0] >= 0.5


def log_ratios(
    network: RegistrationNetwork, scores: torch.Tensor, area: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """Log likelihood ratios (B, R, W, W), -inf where not `valid` (B, W, W).

    `scores` are sums of products, `area` (B, R) visible cells.
    """
    cosine, mean, std = spread(scores, area, valid)
    ratio = network.log_ratio(cosine, area[..., None, None], mean, std)
    return ratio.masked_fill(~valid[:, None], -math.inf)


def spread(
    scores: torch.Tensor, area: torch.Tensor, valid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean cosines (B, R, W, W), and their mean and standard deviation (B, 1, 1, 1) over all valid
    poses of a view."""
    cosine = scores / area[..., None, None]
    weight = valid[:, None].expand_as(cosine).to(cosine)
    count = weight.sum((1, 2, 3), keepdim=True).clamp(min=1)
    mean = (cosine * weight).sum((1, 2, 3), keepdim=True) / count
    variance = ((cosine - mean).square() * weight).sum((1, 2, 3), keepdim=True) / count
    return cosine, mean, (variance + 1e-8).sqrt()


def log_evidence(ratio: torch.Tensor) -> torch.Tensor:
    """log of the mean likelihood ratio over all places and headings (B,)."""
    count = ratio.isfinite().sum((1, 2, 3))
    return ratio.flatten(1).logsumexp(1) - count.log()


def here_loss(ratio: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """-log p(place, first heading, here) in nats (B,), where 'here' and 'somewhere else' are as
    likely beforehand. The true place (B,), in cells, may lie between cells."""
    count = ratio.isfinite().sum((1, 2, 3))
    found = interpolate(ratio[:, 0], row, column)
    return F.softplus(log_evidence(ratio)) + count.log() - found


def elsewhere_loss(ratio: torch.Tensor) -> torch.Tensor:
    """-log p(somewhere else) in nats (B,)."""
    return F.softplus(log_evidence(ratio))


def interpolate(values: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """Bilinear interpolation of (B, W, W), as -inf does not count: (B,)."""
    side, batch = values.shape[1], torch.arange(len(values))
    total, weights = torch.zeros_like(row), torch.zeros_like(row)
    for down in (0, 1):
        for right in (0, 1):
            r = (row.floor().long() + down).clamp(0, side - 1)
            c = (column.floor().long() + right).clamp(0, side - 1)
            weight = (1 - (row - row.floor() - down).abs()) * (
                1 - (column - column.floor() - right).abs()
            )
            value = values[batch, r, c]
            finite = value.isfinite()
            weight = weight * finite
            total = total + weight * value.masked_fill(~finite, 0)
            weights = weights + weight
    return total / weights.clamp(min=1e-6)
