"""The causal decoder over zoom steps.

Tokens alternate: [ground, map_0, action_0, map_1, action_1, ...]. Reading the decoder at map token
k gives the distribution of action k. Pre-norm blocks of causal attention with rotary position
embedding and a SwiGLU feed-forward, RMSNorm throughout, no biases (Just Zoom In, arXiv 2603.25686;
the parameters carry the names of the published checkpoints).

Shapes: B batch, T tokens, P tokens in the cache, D width, H heads, A actions.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

ROTARY_THETA = 10_000.0
NORM_EPS = 1e-6


@dataclass(frozen=True)
class DecoderConfig:
    """Size of the decoder: `layers` blocks of `heads` heads, `dropout` while training."""

    layers: int = 6
    heads: int = 8
    dropout: float = 0.1


class Cache:
    """Keys and values (B, H, P, D / H) of the tokens seen so far, one pair per layer.

    `select` shares one prefix among many continuations, which is what makes a tree search cheap.
    """

    def __init__(self, pairs):
        self.pairs = pairs

    @property
    def length(self):
        return self.pairs[0][0].shape[2]

    def select(self, rows):
        """The cache of `rows` (N,) of the batch, repeated and reordered as they come."""
        return Cache([(k[rows], v[rows]) for k, v in self.pairs])

    @staticmethod
    def join(caches):
        """One cache of the rows of several."""
        layers = zip(*(cache.pairs for cache in caches), strict=True)
        return Cache([tuple(torch.cat(part) for part in zip(*la, strict=True)) for la in layers])


class Decoder(nn.Module):
    """Tokens (B, T, D) -> states (B, T, D), with or without a cache of earlier tokens. The
    `output_head` makes logits (B, T, A) of states."""

    def __init__(self, config: DecoderConfig, width: int, branching: int):
        super().__init__()
        self.action_embed = nn.Embedding(branching, width)
        self.blocks = nn.ModuleList(Block(config, width) for _ in range(config.layers))
        self.final_norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.output_head = nn.Linear(width, branching, bias=False)
        exponent = torch.arange(0, width // config.heads, 2).float() / (width // config.heads)
        self.register_buffer('freqs', ROTARY_THETA**-exponent)  # (D / H / 2,)
        self.apply(_initialise)

    def forward(self, tokens, cache=None):
        """Returns (states (B, T, D), cache of all P + T tokens)."""
        start = cache.length if cache else 0
        rotation = self._rotation(start, tokens.shape[1])
        pairs = []
        for layer, block in enumerate(self.blocks):
            tokens, pair = block(tokens, rotation, cache.pairs[layer] if cache else None)
            pairs.append(pair)
        return self.final_norm(tokens), Cache(pairs)

    def _rotation(self, start, count):
        """Cosine and sine (T, D / H) of the rotary angles of token positions start.. ."""
        position = torch.arange(start, start + count, device=self.freqs.device).float()
        angle = torch.outer(position, self.freqs.float()).repeat(1, 2)
        return angle.cos(), angle.sin()


class Block(nn.Module):
    def __init__(self, config, width):
        super().__init__()
        self.norm1 = nn.RMSNorm(width, eps=NORM_EPS)
        self.self_attn = Attention(config, width)
        self.norm2 = nn.RMSNorm(width, eps=NORM_EPS)
        self.ffn = FeedForward(width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x, rotation, past):
        attended, pair = self.self_attn(self.norm1(x), rotation, past)
        x = x + self.dropout(attended)
        return x + self.dropout(self.ffn(self.norm2(x))), pair


class Attention(nn.Module):
    def __init__(self, config, width):
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, x, rotation, past):
        q, k, v = (self._split(p(x)) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k = rotate(q, rotation), rotate(k, rotation)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        dropout = self.dropout if self.training else 0.0
        mask = causal_mask(q.shape[2], k.shape[2], x.device)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        return self.out_proj(y.transpose(1, 2).flatten(2)), (k, v)

    def _split(self, x):
        """(B, T, D) -> (B, H, T, D / H)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """SwiGLU: w2(silu(w1 x) * w3 x), hidden width 2 D / 3 rounded up to a multiple of 256."""

    def __init__(self, width):
        super().__init__()
        hidden = -(-int(2 * width / 3) // 256) * 256
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, width, bias=False)
        self.w3 = nn.Linear(width, hidden, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


def rotate(x, rotation):
    """Rotary position embedding, rotate-half convention (RoFormer, arXiv 2104.09864)."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return (x * cos + turned * sin).to(x.dtype)


def causal_mask(queries, keys, device):
    """(T, P + T) bool: which keys the last T tokens may look at."""
    key = torch.arange(keys, device=device)
    return key[None] <= key[keys - queries :, None]


def _initialise(module):
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
