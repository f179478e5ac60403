"""The causal decoder over zoom steps.

Tokens alternate: [ground, map_0, action_0, map_1, action_1, ...]. Reading the decoder at map token
k gives the distribution of action k. Pre-norm blocks of causal attention with rotary position
embedding and a SwiGLU feed-forward, RMSNorm throughout, no biases (Just Zoom In, arXiv 2603.25686;
the parameters carry the names of the published checkpoints).

Teacher forcing runs whole sequences through `forward`. A search goes down many branches of the
tree at once, two tokens at a time: `extend` (prefix_batch.py says what they share).

Shapes: B batch, T tokens, N prefixes, D width, H heads, A actions.
"""

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import nn

from justzoom_ros.models.kv_cache import KeysValues, KVCache
from justzoom_ros.models.prefix_batch import PrefixBatch

ROTARY_THETA = 10_000.0
NORM_EPS = 1e-6

Rotation = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine of rotary angles, broadcast to (T, D / H)."""


@dataclass(frozen=True)
class DecoderConfig:
    """Size of the decoder."""

    layers: int = 6
    """Blocks of attention and feed-forward."""

    heads: int = 8
    """Heads of each attention; the width divides into them, evenly by two."""

    dropout: float = 0.1
    """Share (0..1) of what a block adds that is dropped while training."""


class Decoder(nn.Module):
    """Tokens (B, T, D) -> states (B, T, D). The `output_head` makes logits (B, T, A) of states."""

    OUTER: ClassVar[tuple[str, ...]] = ('action_embed.', 'output_head.')
    """How the names of the parameters begin that actions go into or come out of."""

    freqs: torch.Tensor
    """Rotary angles (D / H / 2,) per token position, radians."""

    def __init__(self, config: DecoderConfig, width: int, branching: int) -> None:
        super().__init__()
        self.action_embed = nn.Embedding(branching, width)
        self.blocks = nn.ModuleList(Block(config, width) for _ in range(config.layers))
        self.final_norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.output_head = nn.Linear(width, branching, bias=False)
        exponent = torch.arange(0, width // config.heads, 2).float() / (width // config.heads)
        self.register_buffer('freqs', ROTARY_THETA**-exponent)  # (D / H / 2,)
        self.apply(_initialize)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """All positions of whole sequences."""
        rotation = self._rotation(0, tokens.shape[1])
        for block in self.blocks:
            tokens = block(tokens, rotation)
        return self.final_norm(tokens)

    def extend(self, tokens: torch.Tensor, prefixes: PrefixBatch) -> tuple[torch.Tensor, KVCache]:
        """Two tokens more on each of N prefixes, (2, N, D) -> (states (N, D) of the second ones,
        `KVCache` of the longer prefixes). Never drops out.

        Only the second states are read: of the last block the first tokens need no more than
        the keys and values that the second ones look at.
        """
        turns, mask = self._rotation_matrices(prefixes.length), prefixes.mask(tokens)
        new: list[KeysValues] = []
        for layer, block in enumerate(cast(list[Block], self.blocks)):
            read = 1 if layer + 1 == len(self.blocks) else 2
            tokens, pair = block.extend(tokens, turns, mask, prefixes, layer, read)
            new.append(pair)
        return self.final_norm(tokens[-1]), prefixes.extend_cache(new)

    def _rotation(self, start: int, count: int) -> Rotation:
        """Cosine and sine (T, D / H) of the rotary angles of token positions start.. ."""
        position = torch.arange(start, start + count, device=self.freqs.device).float()
        angle = torch.outer(position, self.freqs.float()).repeat(1, 2)
        return angle.cos(), angle.sin()

    def _rotation_matrices(self, start: int) -> torch.Tensor:
        """Two token positions' rotary embedding as matrices (2, D / H, D / H): one product is
        faster than the pieces of `rotate`."""
        cos, sin = self._rotation(start, 2)
        unit = torch.eye(cos.shape[-1], device=cos.device)
        matrices = rotate(unit, (cos[:, None], sin[:, None]))
        return matrices.to(self.action_embed.weight.dtype)


class Block(nn.Module):
    """Causal attention and feed-forward, each added to what comes in."""

    def __init__(self, config: DecoderConfig, width: int) -> None:
        super().__init__()
        self.norm1 = nn.RMSNorm(width, eps=NORM_EPS)
        self.self_attn = Attention(config, width)
        self.norm2 = nn.RMSNorm(width, eps=NORM_EPS)
        self.ffn = FeedForward(width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = x + self.dropout(self.self_attn(self.norm1(x), rotation))
        return x + self.dropout(self.ffn(self.norm2(x)))

    def extend(
        self,
        tokens: torch.Tensor,
        turns: torch.Tensor,
        mask: torch.Tensor,
        prefixes: PrefixBatch,
        layer: int,
        read: int,
    ) -> tuple[torch.Tensor, KeysValues]:
        """Tokens (2, N, D) -> (states (read, N, D) of the last ones, keys and values of both).
        `turns` are rotary matrices (2, D / H, D / H), `mask` is that of the `prefixes`."""
        attended, pair = self.self_attn.extend(
            self.norm1(tokens), turns, mask, prefixes, layer, read
        )
        x = tokens[-read:] + attended
        return x + self.ffn(self.norm2(x)), pair


class Attention(nn.Module):
    """Multi-head attention with rotary position embedding."""

    def __init__(self, config: DecoderConfig, width: int) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
        """Causal, (B, T, D) -> (B, T, D)."""
        q, k, v = (self._split(p(x)) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k = rotate(q, rotation), rotate(k, rotation)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        return self.out_proj(y.transpose(1, 2).flatten(2))

    def extend(
        self,
        x: torch.Tensor,
        turns: torch.Tensor,
        mask: torch.Tensor,
        prefixes: PrefixBatch,
        layer: int,
        read: int,
    ) -> tuple[torch.Tensor, KeysValues]:
        """As `Block.extend`, of normalised tokens."""
        past_keys, past_values = prefixes.past(layer)
        q = _multiply(self.q_proj(x[-read:]), turns[-read:])
        k, v = _multiply(self.k_proj(x), turns), self.v_proj(x)
        queries, keys = prefixes.group(q), prefixes.group(k, past_keys)
        y = F.scaled_dot_product_attention(
            self._split(queries),
            self._split(keys),
            self._split(prefixes.group(v, past_values)),
            attn_mask=mask[-queries.shape[1] :],
        )
        return self.out_proj(prefixes.ungroup(y.transpose(1, 2).flatten(2))), (k, v)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, D) -> (B, H, T, D / H)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) * w3 x), hidden width 2 D / 3 rounded up to a multiple of 256."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = -(-int(2 * width / 3) // 256) * 256
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, width, bias=False)
        self.w3 = nn.Linear(width, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., D) -> (..., D)."""
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


def rotate(x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """Rotary position embedding of tokens (..., T, D / H), rotate-half convention (RoFormer, arXiv
    2104.09864)."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    swapped = torch.cat([-second, first], dim=-1)
    return (x * cos + swapped * sin).to(x.dtype)


def _multiply(x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding of tokens (T, N, D) by matrices (T, D / H, D / H)."""
    return (x.reshape(len(turns), -1, turns.shape[-1]) @ turns).view_as(x)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
