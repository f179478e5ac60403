"""A training run in one safetensors file: weights, state of the optimizer, how far it got."""

import json
from pathlib import Path

import torch
from torch import nn

from justzoom_ros.errors import WeightsError
from justzoom_ros.files import load_tensors, save_tensors, writing

FORMAT = 'justzoom-registration-checkpoint'


def save_checkpoint(
    path: Path, networks: dict[str, nn.Module], optimizer: torch.optim.Optimizer, progress: dict
) -> None:
    """Write everything to go on from, whole or not at all: networks by name, the optimizer, and
    `progress`, which is anything JSON can hold.

    Raises OutputError.
    """
    tensors = {
        f'{role}.{name}': tensor
        for role, network in networks.items()
        for name, tensor in network.state_dict().items()
    }
    for index, state in optimizer.state_dict()['state'].items():
        tensors |= {f'optimizer.{index}.{name}': torch.as_tensor(t) for name, t in state.items()}
    tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    metadata = {'format': FORMAT, 'progress': json.dumps(progress)}
    with writing(path) as temporary:
        save_tensors(tensors, temporary, metadata=metadata)


def load_checkpoint(
    path: Path, networks: dict[str, nn.Module], optimizer: torch.optim.Optimizer, identity: str
) -> dict:
    """Take weights and optimizer state of a file; returns its progress.

    Raises WeightsError where it cannot be read or its progress has another 'identity'.
    """
    metadata, tensors = load_tensors(path)
    progress = json.loads(metadata.get('progress', '{}'))
    if metadata.get('format') != FORMAT or progress.get('identity') != identity:
        raise WeightsError(
            f'{path}: checkpoint of a run with other imagery or another recipe; give another '
            'output folder'
        )
    for role, network in networks.items():
        head = f'{role}.'
        network.load_state_dict(
            {n.removeprefix(head): t for n, t in tensors.items() if n.startswith(head)}
        )
    state: dict[int, dict] = {}
    for name, tensor in tensors.items():
        if name.startswith('optimizer.'):
            _, index, key = name.split('.', 2)
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), 'state': state})
    return progress
