"""Expanding the zoom tree: from a ground embedding to a `CellPosterior`.

The product of the policy's action probabilities down the tree is the probability of a cell. Each
search expands the tree level by level, all nodes of a level in one batch, sharing the decoder's
cache of the way there. They differ only in which nodes of a level they go on from:

    exact       all: the true posterior
    best_first  the heaviest, so that what stays unexplored is below a bound
    beam        the `width` heaviest
    greedy      the heaviest one, as in the published method

Cells without imagery are impossible: they are left out, and the rest is the distribution given
that the camera is over the map.
"""

from dataclasses import dataclass

import numpy as np
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.posterior import CellPosterior

SEARCHES = ('exact', 'best_first', 'beam', 'greedy')
CHUNK = 512
"""Nodes expanded in one call of the decoder: enough for its matrices, and little enough for what
is made of them to stay in a processor's cache."""

_ROOT = np.zeros(1, np.int64)


@dataclass(frozen=True)
class SearchConfig:
    """`method` one of SEARCHES; `unexplored` the greatest share that best_first leaves unexplored
    (it can come out greater where the policy believes in ground without imagery; the posterior's
    `explored_mass` tells); `width` of the beam; `temperature` that logits are divided by."""

    method: str = 'exact'
    unexplored: float = 0.01
    width: int = 16
    temperature: float = 1.0

    def __post_init__(self):
        if self.method not in SEARCHES:
            raise ConfigError(
                f'search is {self.method!r}; it must be one of {", ".join(SEARCHES)}'
            )
        if not (0 <= self.unexplored < 1 and self.width >= 1 and self.temperature > 0):
            raise ConfigError('unexplored must lie in 0..1, width and temperature be positive')


def search(policy, embeddings, ground, config=None, expand_mask=None):
    """The posterior of one ground embedding (D,).

    `policy` offers `start` and `step` as `ZoomPolicy`, `embeddings` is a `MapEmbeddings`.
    `expand_mask[k]` (branching ** k,) bool, k = 1 .. depth - 1, says which cells alone are
    expanded; the others stay leaves, with the mass that the policy gives them.
    """
    config = config or SearchConfig()
    region = embeddings.region
    leaves, unexplored = [], 0.0
    nodes, cache = _first_step(policy, embeddings, ground, config.temperature)
    for level in range(1, region.depth):
        # What may still stay unexplored, of all that is known to have imagery, is shared evenly
        # among the levels left.
        bound = config.unexplored * (nodes.masses.sum() + unexplored)
        allowed = (bound - unexplored) / (region.depth - level)
        chosen = _chosen(nodes.masses, allowed, config)
        if expand_mask is not None:
            chosen = _masked(chosen, expand_mask[level][nodes.indices[chosen]])
        chosen = np.sort(chosen)  # siblings together: the decoder shares what they have in common
        leaves.append(nodes.without(chosen))
        unexplored += leaves[-1].masses.sum()
        nodes, cache = _next_step(policy, embeddings, nodes.only(chosen), cache, config)
    return _posterior(region, [*leaves, nodes])


@dataclass(frozen=True)
class _Nodes:
    """Cells of one level: path `indices` (N,), `masses` (N,) and the `parents` (N,) they have in
    the decoder's cache."""

    level: int
    indices: np.ndarray
    masses: np.ndarray
    parents: np.ndarray

    def only(self, chosen):
        return _Nodes(self.level, self.indices[chosen], self.masses[chosen], self.parents[chosen])

    def without(self, chosen):
        rest = np.ones(len(self.masses), bool)
        rest[chosen] = False
        return self.only(rest)


def _first_step(policy, embeddings, ground, temperature):
    root = embeddings.at(0, _ROOT)
    logits, cache = policy.start(ground[None].to(root), root, embeddings.ahead(0, _ROOT))
    masses = _probabilities(logits, temperature)
    parents = _Nodes(0, _ROOT, np.ones(1), np.zeros(1, np.int64))
    return _children(embeddings, parents, masses), cache


def _next_step(policy, embeddings, nodes, cache, config):
    """Expand all `nodes`, chunk by chunk; the last level's cache is never made."""
    last = nodes.level + 1 == embeddings.region.depth
    masses, caches = [], []
    for start in range(0, len(nodes.indices), CHUNK):
        part = nodes.only(slice(start, start + CHUNK))
        actions = torch.from_numpy(part.indices % embeddings.region.branching)
        maps = embeddings.at(nodes.level, part.indices)
        prefixes = cache.select(torch.from_numpy(part.parents))
        ahead = embeddings.ahead(nodes.level, part.indices)
        logits, chunk = policy.step(actions.to(maps.device), maps, prefixes, ahead)
        masses.append(_probabilities(logits, config.temperature))
        caches += [] if last else [chunk]
    children = _children(embeddings, nodes, np.concatenate(masses))
    return children, type(cache).join(caches) if caches else None


def _children(embeddings, nodes, probabilities):
    """The children with imagery of `nodes` (N,), from their probabilities (N, A)."""
    indices = embeddings.region.children(nodes.indices).ravel()
    masses = (nodes.masses[:, None] * probabilities).ravel()
    parents = np.repeat(np.arange(len(nodes.indices)), embeddings.region.branching)
    every = _Nodes(nodes.level + 1, indices, masses, parents)
    return every.only(np.flatnonzero(embeddings.covered[nodes.level + 1][indices]))


def _chosen(masses, allowed, config):
    """Which nodes of a level to expand; best_first may leave a mass `allowed` behind."""
    if config.method == 'exact':
        return np.arange(len(masses))
    order = np.argsort(-masses, kind='stable')
    if config.method == 'best_first':
        dropped = np.cumsum(masses[order[::-1]])
        return order[: len(order) - int(np.searchsorted(dropped, allowed, side='right'))]
    return order[: 1 if config.method == 'greedy' else config.width]


def _masked(chosen, flags):
    """Those of the chosen nodes that are expand_mask it; if none is, the first."""
    return chosen[flags] if flags.any() else chosen[:1]


def _posterior(region, leaves):
    levels = np.concatenate([np.full(len(n.indices), n.level) for n in leaves])
    indices = np.concatenate([n.indices for n in leaves])
    masses = np.concatenate([n.masses for n in leaves])
    some = masses > 0
    masses = masses[some] / masses.sum()
    return CellPosterior(region, levels[some], indices[some], masses)


def _probabilities(logits, temperature):
    return (logits.double() / temperature).softmax(dim=-1).cpu().numpy()
