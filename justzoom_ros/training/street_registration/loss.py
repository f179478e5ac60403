"""What the forward network is trained to do: say where on a piece of map a view is, or that it is
not there, and what it shows."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from justzoom_ros.registration.forward_network import ForwardNetwork, lay_on_ground
from justzoom_ros.training.street_registration.views import LabelNoise, StreetBatch


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
        foreign = torch.roll(cells, 1, 0)[:some]
        absent = F.softplus(log_evidence(ratios_of(network, correlate(foreign, templates[:some]))))
        absent = _mean_of(absent, batch.apart)
    classes = ratio.new_zeros(())
    if batch.shown:
        shown = batch.shown
        classes = _class_loss(map_logits, shown.tile_labels, tile_mask)
        classes = classes + _class_loss(view_logits, shown.polar_labels, shown.polar_seen)
    return StreetLosses(here_loss(ratio, batch.target, batch.noise), absent, classes, ratio)


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


def here_loss(
    ratio: torch.Tensor, target: torch.Tensor, noise: LabelNoise | None = None
) -> torch.Tensor:
    """-log p(label, here) (P,), in nats, where here and elsewhere are as likely beforehand.

    The label is the true pose, or with `noise` a measurement of it: p(label) is then the mean of
    the ratios under what the label leaves possible, see `label_log_weights`.
    """
    count = math.log(ratio[0].numel())
    return F.softplus(log_evidence(ratio)) + count - label_log_ratio(ratio, target, noise)


def label_log_ratio(
    ratio: torch.Tensor, target: torch.Tensor, noise: LabelNoise | None = None
) -> torch.Tensor:
    """Log ratio (P,) of the label, given log ratios (P, R, W, W) of all poses."""
    if noise is None:
        return interpolate(ratio[:, 0], target)
    weights = label_log_weights(ratio.shape[-1], target, noise)
    return (ratio + weights).flatten(1).logsumexp(1)


def label_log_weights(side: int, target: torch.Tensor, noise: LabelNoise) -> torch.Tensor:
    """Logs (P, R, W, W) of the soft target: of how probable each pose of a lattice of W = `side`
    cells is by its noisy label alone.

    A Gaussian over positions times a von Mises over headings, round the label at row y0, column
    x0 and heading t0,

        q(t, y, x) = exp(-((x - x0)^2 + (y - y0)^2) / (2 s^2)) exp(k cos(t - t0)) / Z,

    Z making the sum over the lattice one, s^2 = std^2 + 1 / 12 in cells and 1 / k = std^2 +
    step^2 / 12 in radians: what lies between the lattice's points is added to what the receiver
    and the compass are wrong by. The loss is -log sum(q p), the probability of the label, and not
    the cross-entropy -sum(q log p): the one is least where p is as sharp as the truth can be
    known, the other where p is as blurred as the labels.
    """
    step = 2 * math.pi / noise.heading_off_rad.shape[1]
    kappa = 1 / (noise.heading_std_rad.square() + step**2 / 12)
    heading = (kappa[:, None] * noise.heading_off_rad.cos()).log_softmax(1)
    variance = (noise.position_std.square() + 1 / 12)[:, None, None]
    away = torch.arange(side, device=target.device) - target[..., None]
    row, column = (-away.square() / (2 * variance)).log_softmax(2).unbind(1)
    place = row[:, :, None] + column[:, None, :]
    return heading[:, :, None, None] + place[:, None]


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


def _mean_of(values, flags):
    """Mean of the first values (P,) whose flags are set; of all where there are no flags."""
    if flags is None:
        return values.mean()
    weights = flags[: len(values)].to(values)
    return (values * weights).sum() / weights.sum().clamp(min=1)


def _class_loss(logits, labels, weights):
    loss = F.binary_cross_entropy_with_logits(logits, labels, reduction='none')
    return (loss * weights).sum() / (weights.sum() * labels.shape[1]).clamp(min=1)
