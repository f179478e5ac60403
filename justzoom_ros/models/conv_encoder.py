"""The 'conv' encoder: a small convolutional network that trains on a CPU within minutes, for
single maps and for robots without a GPU."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from justzoom_ros.models.encoder import Encoder


@dataclass(frozen=True)
class ConvConfig:
    """Shape of the 'conv' encoder."""

    channels: tuple[int, ...] = (32, 64, 128)
    """Channels of each stage, multiples of 16. The first stage has a quarter of the image's
    resolution, each further one half of that before it."""

    blocks: int = 1
    """Residual blocks of a stage."""

    pooled: int = 3
    """So many by so many cells are kept of the last feature map, so that the embedding knows what
    lies where."""

    width: int = 192
    """Length of the embedding."""


class ConvEncoder(Encoder):
    """Residual network without batch statistics, so that a sample's embedding and gradient do
    not depend on the rest of its batch. Images (N, 3, H, W), H and W at least 4 * 2 ** stages."""

    STEM = ('features.0.',)

    def __init__(self, config: ConvConfig) -> None:
        super().__init__()
        self.pooled, self.width = config.pooled, config.width
        layers: list[nn.Module] = []
        previous = 3
        for stage, channels in enumerate(config.channels):
            step = 4 if stage == 0 else 2
            layers.append(nn.Conv2d(previous, channels, step + 1, step, step // 2))
            layers.append(nn.GroupNorm(channels // 16, channels))
            layers += [ResidualBlock(channels) for _ in range(config.blocks)]
            previous = channels
        self.features = nn.Sequential(*layers)
        self.project = nn.Linear(previous * self.pooled**2, self.width)
        self.norm = nn.LayerNorm(self.width)

    @classmethod
    def read_options(cls, stored: Mapping[str, Any]) -> ConvConfig:
        """Fields of a `ConvConfig`; JSON holds the channels as a list."""
        config = ConvConfig(**stored)
        return ConvConfig(tuple(config.channels), config.blocks, config.pooled, config.width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, H, W) -> (N, width)."""
        features = self.features(images.contiguous(memory_format=torch.channels_last))
        pooled = F.adaptive_avg_pool2d(features, self.pooled).flatten(1)
        return self.norm(self.project(pooled))


class ResidualBlock(nn.Module):
    """Two convolutions without normalisation; the branch starts silent (SkipInit, arXiv
    2002.10444), which trains as well here and costs a third less on a CPU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> the same shape."""
        return F.relu(x + self.gain * self.conv2(F.relu(self.conv1(x), inplace=True)))
