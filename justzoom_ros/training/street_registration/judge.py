"""How well a forward network places cameras in cities that it never saw."""

import math

import torch

from justzoom_ros.registration.forward_network import ForwardNetwork
from justzoom_ros.training.street_registration.draw import JUDGED
from justzoom_ros.training.street_registration.lesson_cache import LessonCache
from justzoom_ros.training.street_registration.loss import losses_of
from justzoom_ros.training.street_registration.views import StreetBatch, draw_batch

WINDOW_CELLS, WINDOW_HEADINGS = 32, 16
"""The window of an early prototype, to compare with: 64 m, chance is 9.70 nats."""

WITHIN_M = 10.0


@torch.no_grad()
def judge(
    network: ForwardNetwork, cache: LessonCache, places: int = 192, at_once: int = 32
) -> dict[str, float]:
    """Figures of kept-back cities, always of the same views: for 1, 2 and 4 views the negative log
    likelihood in the window, and the same with another place's picture; the share of places whose
    most probable pose is within 10 m; the loss over the whole tile and all headings."""
    network.eval()
    at_once = min(at_once, places)
    found: dict[str, float] = {}
    for views in (1, 2, 4):
        generator = torch.Generator(cache.device).manual_seed(views)
        rows = []
        for _ in range(places // at_once):
            batch = draw_batch(
                cache, network.config, at_once, views, WINDOW_HEADINGS, 256, generator, JUDGED,
                WINDOW_CELLS,
            )  # fmt: skip
            rows.append(_window_figures(network, batch))
        nll, within, other = torch.stack(rows).mean(0).tolist()
        found |= {f'nll_{views}': nll, f'within_10m_{views}': within, f'other_{views}': other}
    found |= _whole_tiles(network, cache, places, at_once)
    network.train()
    return {name: round(value, 4) for name, value in found.items()}


def _window_figures(network, batch: StreetBatch) -> torch.Tensor:
    ratio, target = _window(losses_of(network, batch, 0).ratio, batch.target)
    swapped = StreetBatch(**{**vars(batch), 'strips': batch.strips.roll(
        len(batch.strips) // len(batch.tiles), 0)})  # fmt: skip
    other, _ = _window(losses_of(network, swapped, 0).ratio, batch.target)
    return torch.stack([_nll(ratio, target), _within(ratio, target, network), _nll(other, target)])


def _window(ratio, target):
    """The middle of the ratios, and the targets there as whole cells."""
    first = (ratio.shape[-1] - WINDOW_CELLS) // 2
    inner = slice(first, first + WINDOW_CELLS)
    return ratio[..., inner, inner], (target - first).round().long().clamp(0, WINDOW_CELLS - 1)


def _nll(ratio, target):
    found = ratio[torch.arange(len(ratio)), 0, target[:, 0], target[:, 1]]
    return (ratio.flatten(1).logsumexp(1) - found).mean()


def _within(ratio, target, network):
    best = ratio.logsumexp(1).flatten(1).argmax(1)
    rows, columns = best // ratio.shape[-1], best % ratio.shape[-1]
    away = torch.hypot((rows - target[:, 0]).float(), (columns - target[:, 1]).float())
    return (away * network.config.cell_m <= WITHIN_M).float().mean()


def _whole_tiles(network, cache, places, at_once):
    generator = torch.Generator(cache.device).manual_seed(9)
    here, absent, classes = [], [], []
    for _ in range(places // at_once):
        batch = draw_batch(cache, network.config, at_once, 1, 36, 256, generator, JUDGED)
        losses = losses_of(network, batch, 1.0)
        here.append(losses.here.mean())
        absent.append(losses.elsewhere)
        classes.append(losses.classes)
    means = (float(torch.stack(each).mean()) for each in (here, absent, classes))
    chance = math.log(36 * (128 - 2 * network.config.reach_cells) ** 2)
    return dict(zip(('here', 'elsewhere', 'classes'), means, strict=True)) | {'chance': chance}
