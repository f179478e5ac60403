"""What the forward network is trained to do: say where on a piece of map a view is, or that it is
not there, and what it shows."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from justzoom_ros.registration.forward_network import ForwardNetwork, lay_on_ground
from justzoom_ros.training.street_registration.views import StreetBatch


@dataclass(frozen=True)
class StreetLosses:
    """Losses in nats, and log ratios (P, R, W, W) of all poses."""

    here: torch.Tensor
    """(P,)"""
    elsewhere: torch.Tensor
    """Mean over the places that were also looked for elsewhere."""
    classes: torch.Tensor
    """Mean over the classes and cells of the map and along the columns."""
    ratio: torch.Tensor


def losses_of(
    network: ForwardNetwork, batch: StreetBatch, elsewhere_share: float = 0.25
) -> StreetLosses:
    """The losses of a batch."""
    device_type = batch.tiles.device.type
    with torch.autocast(device_type, torch.bfloat16, enabled=device_type == 'cuda'):
        # Tensor cores want the channels last.
        tiles, strips = (
            each.contiguous(memory_format=torch.channels_last)
            for each in (batch.tiles, batch.strips)
        )
        cells, map_logits = network.encode_map(tiles)
        polar, view_logits = network.encode_view(strips)
    tile_mask = F.avg_pool2d(batch.tiles[:, 3:], network.config.stride)
    cells = cells.float() * tile_mask
    templates = templates_of(network, polar.float(), batch)
    ratio = ratios_of(network, correlate(cells, templates))
    some = max(2, round(elsewhere_share * len(cells))) if elsewhere_share else 0
    absent = ratio.new_zeros(())
    if some:
        foreign = torch.roll(cells[:some], 1, 0)
        absent = F.softplus(log_evidence(ratios_of(network, correlate(foreign, templates[:some]))))
        absent = absent.mean()
    classes = _class_loss(map_logits, batch.tile_labels, tile_mask)
    classes = classes + _class_loss(view_logits, batch.polar_labels, batch.polar_seen)
    return StreetLosses(here_loss(ratio, batch.target), absent, classes, ratio)


def templates_of(network: ForwardNetwork, polar: torch.Tensor, batch: StreetBatch) -> torch.Tensor:
    """Templates (P, R, C, t, t): the sums over the views of each place."""
    laid = lay_on_ground(network.config, polar, batch.yaws_rad)
    places = len(batch.tiles)
    return laid if len(laid) == places else laid.unflatten(0, (places, -1)).sum(1)


def correlate(cells: torch.Tensor, templates: torch.Tensor) -> torch.Tensor:
    """Sums of products (P, R, W, W) of templates (P, R, C, t, t) at all places of (P, C, n, n) at
    which they fit."""
    n, t = cells.shape[-1], templates.shape[-1]
    spectrum = torch.fft.rfft2(cells)[:, None]
    product = (spectrum * torch.fft.rfft2(templates, s=(n, n)).conj()).sum(2)
    return torch.fft.irfft2(product, s=(n, n))[..., : n - t + 1, : n - t + 1]


def ratios_of(network: ForwardNetwork, sums: torch.Tensor) -> torch.Tensor:
    """Log ratios of sums (P, R, W, W)."""
    mean = sums.mean((1, 2, 3), keepdim=True)
    return network.match(sums, mean, (sums - mean).square().mean((1, 2, 3), keepdim=True).sqrt())


def log_evidence(ratio: torch.Tensor) -> torch.Tensor:
    """Log of the mean ratio over all poses (P,)."""
    flat = ratio.flatten(1)
    return flat.logsumexp(1) - math.log(flat.shape[1])


def here_loss(ratio: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """-log p(true place and heading, here) (P,) where here and elsewhere are as likely."""
    found = interpolate(ratio[:, 0], target)
    count = math.log(ratio[0].numel())
    return F.softplus(log_evidence(ratio)) + count - found


def interpolate(values: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Bilinear interpolation of (P, W, W) at rows and columns (P, 2): (P,)."""
    side = values.shape[1]
    low = target.floor().clamp(0, side - 2)
    share = target - low
    row, column = low.long().unbind(1)
    number = torch.arange(len(values), device=values.device)
    total = torch.zeros_like(share[:, 0])
    for down in (0, 1):
        for right in (0, 1):
            weight = (share[:, 0] if down else 1 - share[:, 0]) * (
                share[:, 1] if right else 1 - share[:, 1]
            )
            total = total + weight * values[number, row + down, column + right]
    return total


def _class_loss(logits, labels, weights):
    loss = F.binary_cross_entropy_with_logits(logits, labels, reduction='none')
    return (loss * weights).sum() / (weights.sum() * labels.shape[1]).clamp(min=1)
