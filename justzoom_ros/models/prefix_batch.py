"""A batch of prefixes: beginnings of sequences of tokens that the decoder extends all at once.

Many of them share what came before: the children of one cell have all tokens but their own two in
common. So prefixes with a common past are put into groups, and attention looks at that past once.

Shapes: B prefixes in the cache, N that go on from them, P tokens on each so far, D width; G groups
with room for S prefixes each. A prefix goes on by two tokens, (2, N, D): the actions that were
taken, then the map embeddings of the cells that they led to.
"""

import numpy as np
import torch

from justzoom_ros.models.kv_cache import KeysValues, KVCache

GROUP_SIZE = 8
"""Most prefixes of a group: the larger the groups, the fewer there are, but the more of their
scores are masked."""


class PrefixBatch:
    """N prefixes that go on from `rows` (N,) int64 of a cache, which may repeat and come in any
    order; or N that begin, where there is no cache.

    Prefixes that go on from the same row are put into one group, or several of at most GROUP_SIZE.
    The queries of a group are the rows of one matrix, and a mask keeps its prefixes apart.
    """

    def __init__(self, rows: torch.Tensor, cache: KVCache | None = None) -> None:
        numbers = rows.cpu().numpy()
        self._cache, self.count = cache, len(numbers)
        shared, group, place = _group_rows(numbers)
        self._groups, self._size = len(shared), int(place.max(initial=0)) + 1
        places = group * self._size + place
        filled = self._groups * self._size == self.count and bool((np.diff(places) == 1).all())
        self._shared, self._group = torch.from_numpy(shared), torch.from_numpy(group)
        self._places = None if filled else torch.from_numpy(places)

    @property
    def length(self) -> int:
        """P, the number of tokens on each prefix so far."""
        return self._cache.length if self._cache else 0

    def past(self, layer: int) -> KeysValues | tuple[None, None]:
        """Keys and values (G, P, D) of a layer that the prefixes of a group have in common, None
        where they only begin."""
        if self._cache is None:
            return None, None
        keys, values = self._cache.pairs[layer]
        shared = self._shared.to(keys.device)
        return keys.index_select(0, shared), values.index_select(0, shared)

    def group(self, new: torch.Tensor, past: torch.Tensor | None = None) -> torch.Tensor:
        """T tokens of each prefix (T, N, D), put behind the past of its group: (G, P + T S, D)."""
        parts = [self._spread(token) for token in new.unbind()]
        return torch.cat(parts if past is None else [past, *parts], dim=1)

    def ungroup(self, grouped: torch.Tensor) -> torch.Tensor:
        """Inverse of `group` without a past: (G, T S, D) -> (T, N, D)."""
        tokens = grouped.unflatten(1, (-1, self._size)).transpose(0, 1).flatten(1, 2)
        return tokens if self._places is None else tokens[:, self._places.to(tokens.device)]

    def mask(self, like: torch.Tensor) -> torch.Tensor:
        """(2 S, P + 2 S), added to the scores of a group's tokens: each token sees the past of its
        group, and of the new tokens those of its own prefix that do not come after it. Of the type
        and device of `like`."""
        place = torch.arange(2 * self._size) % self._size
        second = torch.arange(2 * self._size) >= self._size
        own = (place[:, None] == place) & (second[:, None] >= second)
        mask = torch.zeros(len(place), self.length + len(place))
        mask[:, self.length :].masked_fill_(~own, float('-inf'))
        return mask.to(like)

    def extend_cache(self, new: list[KeysValues]) -> KVCache:
        """The cache of the prefixes with two tokens more, from the keys and values (2, N, D) of
        these in each layer."""
        return KVCache(lambda: [self._extend(layer, pair) for layer, pair in enumerate(new)])

    def _extend(self, layer: int, new: KeysValues) -> KeysValues:
        keys, values = self.past(layer)
        return self._append(keys, new[0]), self._append(values, new[1])

    def _append(self, past: torch.Tensor | None, new: torch.Tensor) -> torch.Tensor:
        """The past (G, P, D) of each prefix and its new tokens (2, N, D): (N, P + 2, D)."""
        new = new.transpose(0, 1)
        return new if past is None else torch.cat([past[self._group.to(past.device)], new], dim=1)

    def _spread(self, token: torch.Tensor) -> torch.Tensor:
        """One token of each prefix (N, D) at its place in its group: (G, S, D)."""
        if self._places is not None:
            room = token.new_zeros(self._groups * self._size, token.shape[-1])
            token = room.index_copy_(0, self._places.to(token.device), token)
        return token.unflatten(0, (self._groups, self._size))


def _group_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prefixes put into groups of one row and up to GROUP_SIZE members: the row (G,) of each
    group, the group (N,) of each prefix and its place (N,) in there."""
    order = np.argsort(rows, kind='stable')
    ordered = rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    begins = rank % GROUP_SIZE == 0
    group, place = np.empty((2, len(rows)), np.int64)
    group[order], place[order] = np.cumsum(begins) - 1, rank % GROUP_SIZE
    return ordered[begins], group, place
