"""The weights file of a registration network: safetensors, with what is needed to run it.

The metadata of its header are texts: `format` says which network it is, `config` holds its
configuration and `card` what it was trained on and calibrated by, both as JSON.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from justzoom_ros.errors import WeightsError
from justzoom_ros.files import load_tensors, save_tensors, writing


@dataclass(frozen=True)
class WeightsFile:
    """What a weights file holds."""

    config: str
    """The network's configuration as JSON."""

    card: dict[str, Any]
    """What it was trained on and calibrated by, plain JSON types."""

    tensors: dict[str, torch.Tensor]
    """Parameters and buffers by name."""

    def write(self, path: str | Path, format: str) -> None:
        """Write it, whole or not at all. Raises OutputError."""
        card = json.dumps(self.card, sort_keys=True)
        metadata = {'format': format, 'config': self.config, 'card': card}
        tensors = {name: tensor.contiguous() for name, tensor in self.tensors.items()}
        with writing(path) as temporary:
            save_tensors(tensors, temporary, metadata)

    @classmethod
    def read(cls, path: str | Path, format: str, wanted: str) -> 'WeightsFile':
        """That of a path. Raises WeightsError where it is missing or damaged, or of another
        `format`; `wanted` says in words what is asked for."""
        metadata, tensors = load_tensors(path)
        if metadata.get('format') != format:
            raise WeightsError(f'{path}: not {wanted}')
        try:
            card = json.loads(metadata.get('card', '{}'))
        except ValueError as error:
            raise WeightsError(f'{path}: its card is damaged ({error})') from error
        if not isinstance(card, dict):
            raise WeightsError(f'{path}: its card is damaged (no table of names and values)')
        return cls(metadata.get('config', ''), card, tensors)
