"""What the decoder remembers of the prefixes that it has read: keys and values."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch

KeysValues = tuple[torch.Tensor, torch.Tensor]


class KVCache:
    """Keys and values (B, P, D) of the P tokens on each of B prefixes, one pair per layer.

    They are computed by `make` when they are first asked for: those of the last step of a search
    never are.
    """

    def __init__(self, make: Callable[[], list[KeysValues]]) -> None:
        self._make: Callable[[], list[KeysValues]] | None = make

    @cached_property
    def pairs(self) -> list[KeysValues]:
        """(keys, values) of every layer."""
        assert self._make is not None
        pairs, self._make = self._make(), None  # what they were made of is no longer needed
        return pairs

    @property
    def length(self) -> int:
        """P, the number of tokens on each prefix."""
        return self.pairs[0][0].shape[1]

    @classmethod
    def join(cls, caches: Sequence['KVCache']) -> 'KVCache':
        """One cache of the rows of several, in their order."""
        return caches[0] if len(caches) == 1 else cls(lambda: _concatenate(caches))


def _concatenate(caches: Sequence[KVCache]) -> list[KeysValues]:
    layers = zip(*(cache.pairs for cache in caches), strict=True)
    joined = ([torch.cat(parts) for parts in zip(*layer, strict=True)] for layer in layers)
    return [(keys, values) for keys, values in joined]
