"""What a match is worth on a whole map: the likelihood ratio, fitted where it will be used.

Training sees some 10,000 places and headings at once, a search of a map some millions; what a
match is worth is decided by the tails. So the six numbers of `MatchModel` are fitted at last on
larger tiles of places that judge, with all headings of a search.
"""

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from justzoom_ros.registration.network import MatchModel, RegistrationNetwork
from justzoom_ros.training.registration.batches import Batch, draw_batch
from justzoom_ros.training.registration.dice import Dice
from justzoom_ros.training.registration.imagery import Place
from justzoom_ros.training.registration.loss import Scores, scores_of, spread
from justzoom_ros.training.registration.views import PairSource, ViewConfig

HEADINGS = 36
PAIRS = 4
"""Views that are searched for at once, each on its own tile and two of other places."""
LEAST_Z, MOST_Z, BINS = -8.0, 32.0, 800
NEAR = 3
"""So many cells round the true place, at the true heading and its neighbours, count as found."""
NOWHERE_Z = -1000.0
"""Stands for no pose at all: no match model gives it any worth."""
RATE = 0.05
"""Step size of the fit."""
CALIBRATION = 2
"""First number of the random seeds; training and validation have 0 and 1."""
VIEWS = ViewConfig(template_cells=80, tile_cells=256, smallest_cells=24, coarsest_m=1.2)


@dataclass(frozen=True)
class Search:
    """One search of a tile, as far as the match model is concerned."""

    area: float
    """Visible cells."""
    counts: torch.Tensor
    """(BINS,) how many poses stand out by so much."""
    truth: torch.Tensor | None
    """(P,) how far the true pose and its neighbours stand out; None where it is elsewhere."""


def calibrate(
    network: RegistrationNetwork,
    places: list[Place],
    pairs: int = 64,
    seed: int = 0,
    progress: Callable[[Iterable, str, int], Iterable] | None = None,
) -> RegistrationNetwork:
    """A copy of the network whose match model is fitted to searches of tiles of 256 x 256 cells,
    36 headings, drawn from `places` (not trained on). `progress(items, name, total)`."""
    source = PairSource(places, config=VIEWS)
    numbers, searches = range(max(1, pairs // PAIRS)), []
    for number in progress(numbers, 'calibrate', len(numbers)) if progress else numbers:
        searches += collect(network, source, Dice.of((CALIBRATION, seed, number)))
    fitted = copy.deepcopy(network)
    fit_match(fitted.match, searches)
    return fitted


@torch.no_grad()
def collect(network: RegistrationNetwork, source: PairSource, dice: Dice) -> list[Search]:
    """Searches of views on their own tiles and elsewhere, and of a picture of nothing."""
    batch = draw_batch(
        source,
        dice,
        PAIRS,
        PAIRS / 4,
        HEADINGS,
        math.pi / HEADINGS,
        network.config.normalization_px,
        foreign=2,
    )
    scores, found = scores_of(network, batch), []
    for v in range(len(batch.views)):
        if v < len(batch.tiles) and batch.usable[v]:
            found.append(_search(scores, v, 0, batch))
        found += [_search(scores, v, k + 1) for k in range(2) if batch.foreign[v, k] >= 0]
    return found


def _search(scores: Scores, view: int, tile: int, batch: Batch | None = None) -> Search:
    """The search of a view on its own tile (0), where `batch` holds the truth, or elsewhere."""
    sums = scores.sums[view : view + 1, tile]
    valid = scores.valid[view : view + 1, tile, None].expand_as(sums)
    area = scores.area[view : view + 1]
    cosine, mean, std = spread(sums, area, valid)
    z = ((cosine - mean) / std)[0]
    counts = torch.histc(z[valid[0]].clamp(LEAST_Z, MOST_Z), BINS, LEAST_Z, MOST_Z)
    truth = None
    if batch is not None:
        row, column = (round(float(at[view])) for at in (batch.rows, batch.columns))
        rows, columns = (slice(max(0, at - NEAR), at + NEAR + 1) for at in (row, column))
        truth = z[[-1, 0, 1], rows, columns].flatten()
    return Search(float(area.mean()), counts, truth)


def fit_match(match: MatchModel, searches: list[Search], steps: int = 300) -> float:
    """Fit the match model in place; returns the mean loss, in nats, that it ends with."""
    optimizer, stacked = torch.optim.Adam(match.parameters(), RATE), _stack(searches)
    loss = torch.zeros(())
    for step in range(steps):
        for group in optimizer.param_groups:
            group['lr'] = RATE * (1 - step / steps)
        loss = _loss(match, *stacked)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def match_loss(match: MatchModel, searches: list[Search]) -> float:
    """Mean of -log p(true cell or a neighbour, here) and mean of -log p(elsewhere), added."""
    return float(_loss(match, *_stack(searches)))


def _stack(searches):
    """Areas (S, 1), log counts (S, BINS), how far true poses stand out (S, P), padded with
    NOWHERE_Z, and which searches (S,) have one."""
    area = torch.tensor([[search.area] for search in searches])
    counts = torch.stack([search.counts for search in searches])
    nothing = torch.full((1,), NOWHERE_Z)
    truths = [nothing if search.truth is None else search.truth for search in searches]
    truth = nn.utils.rnn.pad_sequence(truths, batch_first=True, padding_value=NOWHERE_Z)
    here = torch.tensor([search.truth is not None for search in searches])
    return area, counts.log(), truth, here


def _loss(match, area, log_counts, truth, here):
    z = LEAST_Z + (MOST_Z - LEAST_Z) / BINS * (torch.arange(BINS) + 0.5)
    log_total = log_counts.logsumexp(1)
    ratios = match(z.expand(len(area), -1), area, 0.0, 1.0)
    evidence = (ratios + log_counts).logsumexp(1) - log_total
    true = match(truth, area, 0.0, 1.0).logsumexp(1)
    found = F.softplus(evidence) + log_total - true
    return found[here].mean() + F.softplus(evidence[~here]).mean()
