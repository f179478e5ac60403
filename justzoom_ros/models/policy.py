"""The zoom policy: camera image + what the map shows at each step -> which cell to zoom into.

    ground (B, V, 3, H, W) --encoder, mean over views--> ground embedding (B, D) --+
    satellite (B, S, 3, h, w) ----------encoder--------> map embeddings (B, S, D) -+-> decoder
    sequence (B, S) -------------------------------------------------------- actions -+    |
                                                             logits (B, S, A) <-----------+

B batch, V views of one place, S steps, D width, A = grid * grid actions. The policy knows actions,
not geography.

A policy that looks ahead sees more than the cell it stands in: the decoder's state at each step is
matched with what the map shows of each child cell, and the match added to the published logits.
The children's embeddings are those of the next level, so that they cost no further encoding.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from justzoom_ros.errors import ConfigError
from justzoom_ros.models.config import PolicyConfig
from justzoom_ros.models.decoder import Decoder
from justzoom_ros.models.embedder import Embedder
from justzoom_ros.models.encoder import EncoderConfig
from justzoom_ros.models.kv_cache import KVCache
from justzoom_ros.models.prefix_batch import PrefixBatch


class ZoomPolicy(Embedder):
    """Shared encoder and causal decoder. Built from a `PolicyConfig` with random weights; see
    `load` and `from_published` for trained ones."""

    FORMAT = 'justzoom_policy_1'

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__(config)
        if self.encoder.width % (2 * config.decoder.heads):
            raise ConfigError(
                f'width {self.encoder.width} does not divide into {config.decoder.heads} heads '
                'of even size'
            )
        self.decoder = Decoder(config.decoder, self.encoder.width, config.branching)
        self.lookahead = LookaheadHead(self.encoder.width) if config.look_ahead else None

    @property
    def outer_layers(self) -> tuple[str, ...]:
        """As `Embedder.outer_layers`, those of the decoder too."""
        return *super().outer_layers, *(f'decoder.{name}' for name in self.decoder.OUTER)

    # --- logits -----------------------------------------------------------------------------

    def forward(
        self,
        ground: torch.Tensor,
        satellite: torch.Tensor,
        sequence: torch.Tensor,
        children: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Teacher forcing: logits (B, S, A) of each action, given the true ones before it.

        ground (B, V, 3, H, W) and satellite (B, S, 3, h, w) normalised, sequence (B, S) int64;
        children (B, S, A, 3, h, w) of each step for a policy that looks ahead.
        """
        maps = self._embed(satellite)
        ahead = None if children is None else self._embed(children)
        return self.logits(self.encode_ground(ground), maps, sequence, ahead)

    def logits(
        self,
        ground: torch.Tensor,
        maps: torch.Tensor,
        sequence: torch.Tensor,
        children: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """As `forward`, from embeddings: ground (B, D), maps (B, S, D), sequence (B, S),
        children (B, S, A, D)."""
        actions = self.decoder.action_embed(sequence[:, :-1])
        # map_0, action_0, map_1, action_1, ..., map_S-1
        pairs = torch.stack([maps[:, :-1], actions], dim=2).flatten(1, 2)
        tokens = torch.cat([ground[:, None], pairs, maps[:, -1:]], dim=1)
        return self._logits(self.decoder(tokens)[:, 1::2], children)

    def start(
        self, ground: torch.Tensor, root: torch.Tensor, children: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, KVCache]:
        """First step: ground (B, D), root (B, D) the whole map, children (B, A, D) its cells
        -> (logits (B, A), cache)."""
        prefixes = PrefixBatch(torch.arange(len(ground)))
        states, cache = self.decoder.extend(torch.stack([ground, root]), prefixes)
        return self._logits(states, children), cache

    def step(
        self,
        actions: torch.Tensor,
        maps: torch.Tensor,
        cache: KVCache,
        children: torch.Tensor | None = None,
        rows: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, KVCache]:
        """One zoom further: actions (N,) just taken, maps (N, D) of the cells that they led to,
        children (N, A, D) of those cells -> (logits (N, A), cache of the N longer prefixes).

        `cache` is that of the prefixes before; `rows` (N,) int64 says which of them each action
        was taken from, all of them in their order unless given.
        """
        prefixes = PrefixBatch(torch.arange(len(actions)) if rows is None else rows, cache)
        tokens = torch.stack([self.decoder.action_embed(actions), maps])
        states, cache = self.decoder.extend(tokens, prefixes)
        return self._logits(states, children), cache

    def _logits(self, states: torch.Tensor, children: torch.Tensor | None) -> torch.Tensor:
        """Logits (..., A) of states (..., D), with children (..., A, D) where it looks ahead."""
        logits = self.decoder.output_head(states)
        return logits if self.lookahead is None else logits + self.lookahead(states, children)

    def _embed(self, crops: torch.Tensor) -> torch.Tensor:
        """Crops (B, ..., 3, h, w) -> (B, ..., D)."""
        return self.encode_satellite(crops.flatten(0, -4)).unflatten(0, crops.shape[:-3])

    # --- trained by others -----------------------------------------------------------------------

    @classmethod
    def from_dinov2(cls, source: str | Path, **config: Any) -> 'ZoomPolicy':
        """A policy with the pretrained DINOv2 of a local folder or hub name as its encoder and an
        untrained decoder. `config`: further fields of `PolicyConfig`. Raises WeightsError."""
        policy = cls(PolicyConfig(encoder=EncoderConfig.from_pretrained(source), **config))
        policy.encoder.load_pretrained(source)
        return policy.eval()

    @classmethod
    def from_published(
        cls,
        source: str | Path | Mapping[str, Any],
        encoder_config: str | Path | Mapping[str, Any] | None = None,
        num_heads: int = 8,
        **config: Any,
    ) -> 'ZoomPolicy':
        """A policy from a checkpoint with the published names.

        `source`: a .pth path (read with `weights_only=True`), a .safetensors path or a state
        dict. `encoder_config`: keyword arguments of `transformers.Dinov2Config`, a folder or hub
        name; DINOv2-base by default. `config`: further fields of `PolicyConfig`; grid, layers
        and width follow from the tensors. Raises WeightsError.
        """
        from justzoom_ros.models.published import published_policy

        return published_policy(cls, source, encoder_config, num_heads, config)


class LookaheadHead(nn.Module):
    """How well each child cell matches what the decoder expects: a scaled dot product after one
    matrix."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expect = nn.Linear(width, width, bias=False)

    def forward(self, states: torch.Tensor, children: torch.Tensor) -> torch.Tensor:
        """States (..., D) and children (..., A, D) -> (..., A)."""
        return (children @ self.expect(states)[..., None])[..., 0] / states.shape[-1] ** 0.5
