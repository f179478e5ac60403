"""What every network here shares: one vision encoder for both views, and its file."""

from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn

from justzoom_ros.errors import ConfigError, WeightsError
from justzoom_ros.models.checkpoint import Checkpoint, Tensors, read_checkpoint, write_checkpoint
from justzoom_ros.models.config import PolicyConfig
from justzoom_ros.models.encoder import build_encoder

E = TypeVar('E', bound='Embedder')


class Embedder(nn.Module):
    """An encoder shared by camera views and map crops, built from a `PolicyConfig` with random
    weights. Subclasses say what the embeddings are for, and name their `FORMAT`."""

    FORMAT: ClassVar[str] = ''
    """What weights files of such a network call themselves."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.provenance: dict[str, Any] = {}  # kept in the weights file
        self.encoder = build_encoder(config.encoder)

    @property
    def width(self) -> int:
        """D, the length of an embedding."""
        return self.encoder.width

    @property
    def outer_layers(self) -> tuple[str, ...]:
        """How the names of the parameters begin that pixels or actions go into or come out of;
        all others lead from features to features."""
        return tuple(f'encoder.{name}' for name in self.encoder.STEM)

    # --- embeddings ----------------------------------------------------------------------------

    def encode_ground(self, ground: torch.Tensor) -> torch.Tensor:
        """Camera views (B, V, 3, H, W) -> (B, D), the mean over the views' embeddings."""
        return self.encoder(ground.flatten(0, 1)).unflatten(0, ground.shape[:2]).mean(dim=1)

    def encode_satellite(self, crops: torch.Tensor) -> torch.Tensor:
        """Map crops (N, 3, h, w) -> (N, D)."""
        return self.encoder(crops)

    # --- files ---------------------------------------------------------------------------------

    def save(self, path: str | Path, half: bool = False) -> None:
        """Write one safetensors file with the configuration in its metadata, atomically.

        `half` stores the parameters as float16, for half the size; they are loaded as float32.
        Raises OutputError.
        """
        tensors = dict(self.state_dict())
        if half:
            tensors |= {name: value.half() for name, value in self.named_parameters()}
        write_checkpoint(path, self.FORMAT, Checkpoint(self.config, tensors, self.provenance))

    @classmethod
    def load(cls: type[E], path: str | Path) -> E:
        """A network in evaluation mode from a file of `save`. Raises WeightsError."""
        checkpoint = read_checkpoint(path, cls.FORMAT)
        try:
            network = cls(checkpoint.config)
        except (ConfigError, ValueError) as error:
            raise WeightsError(f'{path}: {error}') from error
        network.provenance = checkpoint.provenance
        return network.fill(checkpoint.tensors, path)

    def take(self, path: str | Path) -> None:
        """Take over the parameters of a file of `save`, of the same configuration. Raises
        WeightsError."""
        trained = type(self).load(path)
        if trained.config != self.config:
            raise WeightsError(f'{path}: weights of another configuration than is asked for')
        self.load_state_dict(trained.state_dict())

    def fill(self: E, tensors: Tensors, origin: str | Path) -> E:
        """Take over all `tensors`, none more and none less, and switch to evaluation mode; returns
        itself. Raises WeightsError, naming their `origin`, where they do not fit."""
        try:
            self.load_state_dict(tensors)
        except RuntimeError as error:
            detail = ' '.join(str(error).split())[:400]
            raise WeightsError(f'{origin}: weights do not fit the policy: {detail}') from error
        return self.eval()
