"""Encoders in half precision: matrices and convolutions in float16, the rest in float32.

float16 and not bfloat16: with its 8 bits of mantissa the posteriors of maps/demo differ from
those in float32 by more than the parity gate allows, with float16's 11 bits by a sixth of that.
"""

import copy

import torch
from torch import nn

from justzoom_ros.models.encoder import Encoder

MATRICES = nn.Linear, nn.Conv2d


def with_half_weights(encoder: Encoder) -> Encoder:
    """A copy to run under torch.autocast, which would else convert the weights at every call."""
    half = copy.deepcopy(encoder)
    for module in half.modules():
        if isinstance(module, MATRICES):
            module.half()
    return half


def with_half_layers(encoder: Encoder) -> Encoder:
    """A copy whose graph says itself what is float16: only matrices and convolutions, never
    attention, softmax and norms. For compilers, which cannot be told otherwise."""
    half = copy.deepcopy(encoder)
    for module in list(half.modules()):
        for name, child in module.named_children():
            if isinstance(child, MATRICES):
                setattr(module, name, _Half(child))
    return half


class _Half(nn.Module):
    """A matrix or convolution in float16 that takes and gives float32."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer.half()

    @property
    def weight(self) -> torch.Tensor:
        """That of the layer: encoders look at its type."""
        return self.layer.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.half()).float()
