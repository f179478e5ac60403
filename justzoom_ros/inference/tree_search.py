"""Expanding the zoom tree: from a ground embedding to a `CellPosterior`.

The product of the policy's action probabilities down the tree is the probability of a cell. Each
search expands the tree level by level, all nodes of a level in one batch, sharing the decoder's
cache of what leads there. They differ only in which nodes of a level they go on from:

    exact       all: the true posterior
    best_first  the heaviest, so that what stays unexplored is below a bound
    beam        the `width` heaviest
    greedy      the heaviest one, as in the published method

Cells without imagery are impossible: they are left out, and the rest is the distribution given
that the camera is over the map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.ranges import check_ranges, ranged
from justzoom_ros.region import Region

SEARCHES = ('exact', 'best_first', 'beam', 'greedy')
CHUNK = 512
"""Nodes expanded in one call of the decoder: enough for its matrices, and little enough for what
is made of them to stay in a processor's cache."""

_ROOT = np.zeros(1, np.int64)


class Cache(Protocol):
    """What a policy remembers of the prefixes of actions that it was taken down. Each policy has
    its own kind, which a search only hands back to it."""

    @classmethod
    def join(cls, caches: Sequence[Any]) -> Any:
        """One cache of the prefixes of several, in their order."""


class SearchPolicy(Protocol):
    """What a search asks of a policy. Shapes: N prefixes, D width, A actions."""

    def start(
        self, ground: torch.Tensor, root: torch.Tensor, children: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Any]:
        """First step: ground (N, D), root (N, D) the whole map, children (N, A, D) its cells
        where the policy looks ahead -> (logits (N, A), `Cache`)."""

    def step(
        self,
        actions: torch.Tensor,
        maps: torch.Tensor,
        cache: Any,
        children: torch.Tensor | None = None,
        rows: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, Any]:
        """One zoom further: actions (N,) int64 just taken, maps (N, D) and children (N, A, D) of
        the cells that they led to -> (logits (N, A), `Cache` of the longer prefixes). `rows` (N,)
        int64 says which prefix of `cache` each was taken from: all in order unless given."""


class SearchEmbeddings(Protocol):
    """What a search asks of a map: embeddings of cells by level and cell index."""

    @property
    def region(self) -> Region:
        """The region of the map."""

    @property
    def covered(self) -> Sequence[np.ndarray]:
        """Of each level 0 .. depth, bool (branching ** level,): whether there is imagery."""

    def at(self, level: int, indices: np.ndarray) -> torch.Tensor:
        """Embeddings (N, D) of cells (N,) of a level."""

    def ahead(self, level: int, indices: np.ndarray) -> torch.Tensor | None:
        """Embeddings (N, A, D) of the children of cells (N,) of a level, None where the policy
        does not look ahead."""


@dataclass(frozen=True)
class SearchConfig:
    """How the tree is searched. Raises ConfigError for values out of range."""

    method: str = 'exact'
    """One of SEARCHES."""

    unexplored: float = ranged(0.01, at_least=0, below=1)
    """Greatest share of the mass that best_first leaves unexplored. It can come out greater where
    the policy believes in ground without imagery; the posterior's `explored_mass` tells."""

    width: int = ranged(16, at_least=1)
    """Nodes of a level that beam goes on from."""

    temperature: float = ranged(1.0, above=0)
    """What logits are divided by, on top of the temperature of the weights."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.method not in SEARCHES:
            raise ConfigError(
                f'search is {self.method!r}; it must be one of {", ".join(SEARCHES)}'
            )


def search(
    policy: SearchPolicy,
    embeddings: SearchEmbeddings,
    ground: torch.Tensor,
    config: SearchConfig | None = None,
    expand_mask: Sequence[np.ndarray] | None = None,
) -> CellPosterior:
    """The posterior of one ground embedding (D,).

    `expand_mask[k]` (branching ** k,) bool, k = 1 .. depth - 1, says which cells alone are
    expanded; the others stay leaves, with the mass that the policy gives them.
    """
    config = config or SearchConfig()
    region = embeddings.region
    leaves: list[_Nodes] = []
    unexplored = 0.0
    nodes, cache = _first_step(policy, embeddings, ground, config.temperature)
    for level in range(1, region.depth):
        # What may still stay unexplored, of all that is known to have imagery, is shared evenly
        # among the levels left.
        bound = config.unexplored * (nodes.masses.sum() + unexplored)
        allowed = (bound - unexplored) / (region.depth - level)
        chosen = _choose(nodes.masses, allowed, config)
        if expand_mask is not None:
            chosen = _keep_flagged(chosen, expand_mask[level][nodes.indices[chosen]])
        chosen = np.sort(chosen)  # siblings together: the decoder shares what they have in common
        leaves.append(nodes.without(chosen))
        unexplored += leaves[-1].masses.sum()
        nodes, cache = _next_step(policy, embeddings, nodes.only(chosen), cache, config)
    return _posterior(region, [*leaves, nodes])


@dataclass(frozen=True)
class _Nodes:
    """Cells of one level."""

    level: int
    """Number of actions that lead to them."""

    indices: np.ndarray
    """Cell indices (N,)."""

    masses: np.ndarray
    """Probabilities (N,)."""

    parents: np.ndarray
    """Rows (N,) of their parents in the decoder's cache."""

    def only(self, chosen: np.ndarray | slice) -> '_Nodes':
        return _Nodes(self.level, self.indices[chosen], self.masses[chosen], self.parents[chosen])

    def without(self, chosen: np.ndarray) -> '_Nodes':
        rest = np.ones(len(self.masses), bool)
        rest[chosen] = False
        return self.only(rest)


def _first_step(
    policy: SearchPolicy, embeddings: SearchEmbeddings, ground: torch.Tensor, temperature: float
) -> tuple[_Nodes, Any]:
    root = embeddings.at(0, _ROOT)
    logits, cache = policy.start(ground[None].to(root), root, embeddings.ahead(0, _ROOT))
    masses = _probabilities(logits, temperature)
    parents = _Nodes(0, _ROOT, np.ones(1), np.zeros(1, np.int64))
    return _children(embeddings, parents, masses), cache


def _next_step(
    policy: SearchPolicy,
    embeddings: SearchEmbeddings,
    nodes: _Nodes,
    cache: Any,
    config: SearchConfig,
) -> tuple[_Nodes, Any]:
    """Expand all `nodes`, chunk by chunk; the last level's cache is never made."""
    last = nodes.level + 1 == embeddings.region.depth
    masses: list[np.ndarray] = []
    caches: list[Any] = []
    for start in range(0, len(nodes.indices), CHUNK):
        part = nodes.only(slice(start, start + CHUNK))
        actions = torch.from_numpy(part.indices % embeddings.region.branching)
        maps = embeddings.at(nodes.level, part.indices)
        ahead = embeddings.ahead(nodes.level, part.indices)
        rows = torch.from_numpy(part.parents)
        logits, chunk = policy.step(actions.to(maps.device), maps, cache, ahead, rows)
        masses.append(_probabilities(logits, config.temperature))
        caches += [] if last else [chunk]
    children = _children(embeddings, nodes, np.concatenate(masses))
    return children, type(cache).join(caches) if caches else None


def _children(embeddings: SearchEmbeddings, nodes: _Nodes, probabilities: np.ndarray) -> _Nodes:
    """The children with imagery of `nodes` (N,), from their probabilities (N, A)."""
    indices = embeddings.region.children(nodes.indices).ravel()
    masses = (nodes.masses[:, None] * probabilities).ravel()
    parents = np.repeat(np.arange(len(nodes.indices)), embeddings.region.branching)
    every = _Nodes(nodes.level + 1, indices, masses, parents)
    return every.only(np.flatnonzero(embeddings.covered[nodes.level + 1][indices]))


def _choose(masses: np.ndarray, allowed: float, config: SearchConfig) -> np.ndarray:
    """Which nodes of a level to expand; best_first may leave a mass `allowed` behind."""
    if config.method == 'exact':
        return np.arange(len(masses))
    order = np.argsort(-masses, kind='stable')
    if config.method == 'best_first':
        dropped = np.cumsum(masses[order[::-1]])
        return order[: len(order) - int(np.searchsorted(dropped, allowed, side='right'))]
    return order[: 1 if config.method == 'greedy' else config.width]


def _keep_flagged(chosen: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """Those of the chosen nodes that may be expanded; if none may, the first."""
    return chosen[flags] if flags.any() else chosen[:1]


def _posterior(region: Region, leaves: Sequence[_Nodes]) -> CellPosterior:
    levels = np.concatenate([np.full(len(n.indices), n.level) for n in leaves])
    indices = np.concatenate([n.indices for n in leaves])
    masses = np.concatenate([n.masses for n in leaves])
    some = masses > 0
    masses = masses[some] / masses.sum()
    return CellPosterior(region, levels[some], indices[some], masses)


def _probabilities(logits: torch.Tensor, temperature: float) -> np.ndarray:
    return (logits.double() / temperature).softmax(dim=-1).cpu().numpy()
