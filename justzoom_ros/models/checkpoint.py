"""The file of a network: one safetensors file that holds all that is needed to run it.

The metadata of its header are texts: `format` says which network it is, `policy` holds the
configuration and `provenance` what it was trained on and how, both as JSON.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from justzoom_ros.errors import ConfigError, WeightsError
from justzoom_ros.files import load_tensors, save_tensors, writing
from justzoom_ros.models.config import PolicyConfig

Tensors = dict[str, torch.Tensor]

FORMER_NAMES = {'glance.': 'lookahead.'}
"""How names of parameters began in files of earlier versions, and how they begin now."""


@dataclass(frozen=True)
class Checkpoint:
    """What a weights file holds."""

    config: PolicyConfig
    """The configuration that the network is built from."""

    tensors: Tensors
    """Its parameters and buffers by their present names."""

    provenance: dict[str, Any] = field(default_factory=dict)
    """What it was trained on and how, as plain JSON types."""


def write_checkpoint(path: str | Path, format: str, checkpoint: Checkpoint) -> None:
    """Write a weights file, atomically. Raises OutputError."""
    metadata = {
        'format': format,
        'policy': checkpoint.config.to_json(),
        'provenance': json.dumps(checkpoint.provenance, sort_keys=True),
    }
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    with writing(path) as temporary:
        save_tensors(tensors, temporary, metadata)


def read_checkpoint(path: str | Path, format: str) -> Checkpoint:
    """Read a weights file of a format, written by this version or an earlier one. Raises
    WeightsError."""
    metadata, tensors = load_tensors(path)
    if metadata.get('format') != format:
        raise WeightsError(
            f'{path}: not the weights asked for (format {metadata.get("format")!r}, expected '
            f'{format!r}); published checkpoints are read by ZoomPolicy.from_published'
        )
    try:
        config = PolicyConfig.from_json(metadata.get('policy', ''))
        provenance = json.loads(metadata.get('provenance', '{}'))
    except (ConfigError, ValueError) as error:
        raise WeightsError(f'{path}: {error}') from error
    return Checkpoint(config, rename_former(tensors), provenance)


def rename_former(tensors: Tensors) -> Tensors:
    """Tensors by their present names."""
    return {_present_name(name): tensor for name, tensor in tensors.items()}


def _present_name(name: str) -> str:
    for former, present in FORMER_NAMES.items():
        if name.startswith(former):
            return present + name.removeprefix(former)
    return name
