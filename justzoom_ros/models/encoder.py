"""The shared vision encoder: images of the camera and of the map -> embeddings.

Two kinds. 'dinov2' is a Hugging Face `Dinov2Model`, as published: the embedding is its CLS token
after the final layer norm. 'conv' is a small convolutional network that trains on a CPU within
minutes, for single maps and for robots without a GPU.
"""

from dataclasses import asdict, dataclass, field

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import nn

from justzoom_ros.errors import ConfigError, WeightsError


@dataclass(frozen=True)
class ConvConfig:
    """Shape of the 'conv' encoder.

    `channels` of the stages, each halving the resolution after a stem that quarters it;
    `blocks` residual blocks per stage; `pooled` x `pooled` cells are kept of the last feature map,
    so that the embedding knows what lies where; `width` of the embedding.
    """

    channels: tuple[int, ...] = (32, 64, 128)
    blocks: int = 1
    pooled: int = 3
    width: int = 192


@dataclass(frozen=True)
class EncoderConfig:
    """`kind` 'conv' with its `conv` shape, or 'dinov2' with `dinov2`, the keyword arguments of
    `transformers.Dinov2Config`. Raises ConfigError for another kind."""

    kind: str = 'conv'
    conv: ConvConfig = field(default_factory=ConvConfig)
    dinov2: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.kind not in ('conv', 'dinov2'):
            raise ConfigError(f"encoder kind is {self.kind!r}; it must be 'conv' or 'dinov2'")

    def to_dict(self):
        """The kind and what belongs to it, as plain JSON types."""
        return {'kind': self.kind, self.kind: asdict(self)[self.kind]}

    @classmethod
    def from_dict(cls, values):
        """Inverse of `to_dict`."""
        if values['kind'] != 'conv':
            return cls(**values)
        conv = dict(values['conv'], channels=tuple(values['conv']['channels']))
        return cls('conv', ConvConfig(**conv))

    @classmethod
    def from_dinov2(cls, source):
        """The configuration of a local folder or hub name of a DINOv2 model, or of a dict.

        Raises WeightsError where `source` holds no such configuration.
        """
        if isinstance(source, dict):
            return cls('dinov2', dinov2=dict(source))
        from transformers import Dinov2Config

        try:
            return cls('dinov2', dinov2=Dinov2Config.from_pretrained(source).to_diff_dict())
        except (OSError, ValueError) as error:
            raise WeightsError(f'{source}: no DINOv2 configuration there ({error})') from error


def build_encoder(config: EncoderConfig) -> nn.Module:
    """An encoder (N, 3, H, W) -> (N, width), with its `width` as an attribute."""
    return ConvEncoder(config.conv) if config.kind == 'conv' else DinoEncoder(config.dinov2)


class DinoEncoder(nn.Module):
    """DINOv2 (arXiv 2304.07193): images (N, 3, H, W), normalised, H and W multiples of the patch
    or cut to them -> CLS embedding (N, width)."""

    def __init__(self, config: dict):
        super().__init__()
        from transformers import Dinov2Config, Dinov2Model

        self.backbone = Dinov2Model(Dinov2Config(**config))
        self.width = self.backbone.config.hidden_size

    def load_pretrained(self, source):
        """Take over the weights of a local folder or hub name. Raises WeightsError."""
        from transformers import Dinov2Model

        try:
            trained = Dinov2Model.from_pretrained(source)
            self.backbone.load_state_dict(trained.state_dict())
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise WeightsError(f'{source}: no DINOv2 weights there ({error})') from error

    def freeze_but(self, blocks):
        """Keep all as it is but the last so many blocks and the final norm, as published."""
        kept = self.backbone.config.num_hidden_layers - blocks
        self.backbone.requires_grad_(False)
        for block in self.backbone.encoder.layer[max(0, kept) :]:
            block.requires_grad_(True)
        self.backbone.layernorm.requires_grad_(True)

    def forward(self, images):
        return self.backbone(pixel_values=images).last_hidden_state[:, 0]


class ConvEncoder(nn.Module):
    """Residual network without batch statistics, so that a sample's embedding and gradient do
    not depend on the rest of its batch. Images (N, 3, H, W), H and W at least 4 * 2 ** stages."""

    def __init__(self, config: ConvConfig):
        super().__init__()
        self.pooled, self.width = config.pooled, config.width
        layers, previous = [], 3
        for stage, channels in enumerate(config.channels):
            step = 4 if stage == 0 else 2
            layers.append(nn.Conv2d(previous, channels, step + 1, step, step // 2))
            layers.append(nn.GroupNorm(channels // 16, channels))
            layers += [ResidualBlock(channels) for _ in range(config.blocks)]
            previous = channels
        self.features = nn.Sequential(*layers)
        self.project = nn.Linear(previous * self.pooled**2, self.width)
        self.norm = nn.LayerNorm(self.width)

    def forward(self, images):
        features = self.features(images.contiguous(memory_format=torch.channels_last))
        pooled = F.adaptive_avg_pool2d(features, self.pooled).flatten(1)
        return self.norm(self.project(pooled))


class ResidualBlock(nn.Module):
    """Two convolutions without normalisation; the branch starts silent (SkipInit, arXiv
    2002.10444), which trains as well here and costs a third less on a CPU."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return F.relu(x + self.gain * self.conv2(F.relu(self.conv1(x), inplace=True)))
