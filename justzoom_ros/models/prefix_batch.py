"""PrefixBatch down the zoom tree: what the decoder remembers of them, and how they share it.

Shapes: B prefixes that are remembered, N that go on from them, P tokens on each so far, D width. A
prefix goes on by two tokens, (2, N, D): first all actions, then all map embeddings.
"""

from functools import cached_property

import numpy as np
import torch

ROOM = 8
"""Prefixes of a group at most: the larger the groups, the fewer there are, but the more of their
scores are masked."""


class KVCache:
    """Keys and values (B, P, D) of the tokens on B prefixes, one pair per layer. `make` returns
    them; it is called once they are needed, which those of the last step never are."""

    def __init__(self, make):
        self._make = make

    @cached_property
    def pairs(self):
        """[(keys, values)] of all layers."""
        made, self._make = self._make(), None  # what they were made of is no longer needed
        return made

    def select(self, rows):
        """The `PrefixBatch` that go on from `rows` (N,) of the batch, repeated and ordered as they
        come."""
        return PrefixBatch(rows, self)

    @staticmethod
    def join(caches):
        """One cache of the rows of several."""

        def make():
            layers = zip(*(cache.pairs for cache in caches), strict=True)
            return [tuple(torch.cat(part) for part in zip(*la, strict=True)) for la in layers]

        return caches[0] if len(caches) == 1 else KVCache(make)


class PrefixBatch:
    """N prefixes that go on from `rows` (N,) of a cache, or begin where there is none.

    Some that go on from the same row are a group, G groups in all, with room for S prefixes each.
    So attention looks at what a group has in common once, not once for each prefix: the queries of
    a group are the rows of one matrix, and a mask keeps its prefixes apart.
    """

    def __init__(self, rows, cache=None):
        rows = rows.cpu().numpy()
        self._cache, self.count = cache, len(rows)
        shared, group, place = _grouped(rows)
        self._groups, self._room = len(shared), int(place.max(initial=0)) + 1
        places = group * self._room + place
        filled = self._groups * self._room == self.count and (np.diff(places) == 1).all()
        self._shared, self._group = torch.from_numpy(shared), torch.from_numpy(group)
        self._places = None if filled else torch.from_numpy(places)

    @property
    def length(self):
        """P, the number of tokens on each prefix so far."""
        return self._cache.pairs[0][0].shape[1] if self._cache else 0

    def past(self, layer):
        """Keys and values (G, P, D) of a layer that the groups have in common, None where prefixes
        begin."""
        if self._cache is None:
            return None, None
        pair = self._cache.pairs[layer]
        shared = self._shared.to(pair[0].device)
        return tuple(part.index_select(0, shared) for part in pair)

    def grouped(self, new, past=None):
        """What T tokens of each prefix (T, N, D) add to what its group has: (G, P + T S, D)."""
        parts = [self._spread(token) for token in new.unbind()]
        return torch.cat(parts if past is None else [past, *parts], dim=1)

    def apart(self, grouped):
        """Inverse of `grouped` without a past: (G, T S, D) -> (T, N, D)."""
        tokens = grouped.unflatten(1, (-1, self._room)).transpose(0, 1).flatten(1, 2)
        return tokens if self._places is None else tokens[:, self._places.to(tokens.device)]

    def mask(self, like):
        """(2 S, P + 2 S), to be added to the scores of a group's tokens: each sees what the group
        has in common, and of its own prefix what is not after it."""
        place = torch.arange(2 * self._room) % self._room
        second = torch.arange(2 * self._room) >= self._room
        own = (place[:, None] == place) & (second[:, None] >= second)
        mask = torch.zeros(len(place), self.length + len(place))
        mask[:, self.length :].masked_fill_(~own, float('-inf'))
        return mask.to(like)

    def continued(self, new):
        """The `KVCache` of the longer prefixes, from the keys and values (2, N, D) of each
        layer."""

        def make():
            return [
                tuple(self._with_past(*part) for part in zip(self.past(layer), pair, strict=True))
                for layer, pair in enumerate(new)
            ]

        return KVCache(make)

    def _with_past(self, past, new):
        new = new.transpose(0, 1)
        return new if past is None else torch.cat([past[self._group.to(past.device)], new], dim=1)

    def _spread(self, token):
        """One token of each prefix (N, D) at its place in its group: (G, S, D)."""
        if self._places is not None:
            room = token.new_zeros(self._groups * self._room, token.shape[-1])
            token = room.index_copy_(0, self._places.to(token.device), token)
        return token.unflatten(0, (self._groups, self._room))


def _grouped(rows):
    """Prefixes put into groups of one row and up to ROOM members: the row (G,) of each group, the
    group (N,) of each prefix and its place (N,) in there."""
    order = np.argsort(rows, kind='stable')
    ordered = rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    begins = rank % ROOM == 0
    group, place = np.empty((2, len(rows)), np.int64)
    group[order], place[order] = np.cumsum(begins) - 1, rank % ROOM
    return ordered[begins], group, place
