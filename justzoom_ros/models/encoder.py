"""What a policy needs of a vision encoder, and which encoders there are.

One encoder sees images of the camera and of the map. To add one, write a subclass of `Encoder` in
a file of its own and name it in ENCODERS: whatever trains, runs or exports a policy asks the
encoder and knows no kind by name.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from justzoom_ros.errors import ConfigError
from justzoom_ros.registry import Registry

ATTENTIONS = ('explicit', 'fused')
"""How attention is written down in a graph: matrix products and a softmax, or one operation."""


class Encoder(nn.Module):
    """Images (N, 3, H, W) float32, normalised -> embeddings (N, width).

    Subclasses are built from their options alone, with random weights, set `width` and name their
    `STEM`. What follows their `__init__` here has defaults that suit a network of its own design.
    """

    STEM: ClassVar[tuple[str, ...]] = ()
    """How the names of the parameters begin that pixels go into. Muon is not for them."""

    width: int
    """D, the length of an embedding."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, H, W) -> (N, width)."""
        raise NotImplementedError

    @classmethod
    def read_options(cls, stored: Mapping[str, Any]) -> Any:
        """The options, which `__init__` takes, from keyword arguments as a weights file holds
        them: plain JSON types. A dataclass or a dictionary; {} gives the defaults. Raises
        TypeError for keys that it does not know."""
        return dict(stored)

    @classmethod
    def pretrained_options(cls, source: str | Path) -> Any:
        """The options of the pretrained model in a folder or of a hub name. Raises WeightsError
        where there is none, ConfigError for an encoder that knows no pretrained models."""
        raise ConfigError(f'{cls.__name__} has no pretrained models; train it from the start')

    def load_pretrained(self, source: str | Path) -> None:
        """Take over the weights of that model. Raises as `pretrained_options`."""
        raise ConfigError(f'{type(self).__name__} has no pretrained models')

    def freeze_but(self, blocks: int) -> None:
        """Keep all parameters as they are but those of the last so many blocks. Raises ConfigError
        for an encoder that cannot."""
        raise ConfigError(f'{type(self).__name__} cannot be trained in part')

    def use_attention(self, form: str) -> None:
        """Write attention down in one of ATTENTIONS, for compilers that miscompute the other.
        Encoders without attention have nothing to do."""


ENCODERS: Registry[type[Encoder]] = Registry(
    'encoder kind',
    {
        'conv': 'justzoom_ros.models.conv_encoder:ConvEncoder',
        'dinov2': 'justzoom_ros.models.dino_encoder:DinoEncoder',
    },
)
"""The encoders by `EncoderConfig.kind`."""


@dataclass(frozen=True)
class EncoderConfig:
    """Which encoder. Raises ConfigError for a kind that is not in ENCODERS."""

    kind: str = 'conv'
    """Its name in ENCODERS."""

    options: Any = None
    """What that encoder is built from, as its `read_options` gives it: a `ConvConfig` for 'conv',
    keyword arguments of `transformers.Dinov2Config` for 'dinov2'. Its defaults unless given."""

    def __post_init__(self) -> None:
        ENCODERS.check(self.kind)
        if self.options is None:
            object.__setattr__(self, 'options', ENCODERS.get(self.kind).read_options({}))

    def to_dict(self) -> dict[str, Any]:
        """The kind and its options, as plain JSON types."""
        plain = is_dataclass(self.options) and not isinstance(self.options, type)
        options = asdict(self.options) if plain else dict(self.options)
        return {'kind': self.kind, self.kind: options}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> 'EncoderConfig':
        """Inverse of `to_dict`. Raises ConfigError for another kind, KeyError and TypeError for
        other keys than its."""
        kind = stored['kind']
        encoder = ENCODERS.get(kind)
        if unknown := set(stored) - {'kind', kind}:
            raise TypeError(f'unknown keys of an encoder: {", ".join(sorted(unknown))}')
        return cls(kind, encoder.read_options(stored[kind]))

    @classmethod
    def from_pretrained(cls, source: str | Path, kind: str = 'dinov2') -> 'EncoderConfig':
        """The configuration of the pretrained model in a local folder or of a hub name. Raises
        WeightsError where there is none, ConfigError for a kind without such models."""
        return cls(kind, ENCODERS.get(kind).pretrained_options(source))


def build_encoder(config: EncoderConfig) -> Encoder:
    """The encoder of a configuration, with random weights."""
    return ENCODERS.get(config.kind)(config.options)
