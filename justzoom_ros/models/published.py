"""Checkpoints of the published implementation: their names, and the traps in them.

Prefixes `_orig_mod.` (torch.compile) and `module.` (DDP) may stand before any name, the state may
lie under `model_state_dict`, and transformers 5 renamed the attention tensors of DINOv2.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import torch
from torch import nn

from justzoom_ros.errors import ConfigError, WeightsError
from justzoom_ros.files import load_tensors
from justzoom_ros.models.checkpoint import Tensors
from justzoom_ros.models.config import PolicyConfig
from justzoom_ros.models.decoder import DecoderConfig
from justzoom_ros.models.embedder import Embedder
from justzoom_ros.models.encoder import EncoderConfig

DINOV2_BASE = {
    'hidden_size': 768,
    'num_attention_heads': 12,
    'num_hidden_layers': 12,
    'patch_size': 14,
    'image_size': 518,
}

P = TypeVar('P', bound=Embedder)

_ATTENTION = {
    'attention.attention.query': 'attention.q_proj',
    'attention.attention.key': 'attention.k_proj',
    'attention.attention.value': 'attention.v_proj',
    'attention.output.dense': 'attention.o_proj',
}


def published_policy(
    policy_class: type[P],
    source: str | Path | Mapping[str, Any],
    encoder_config: str | Path | Mapping[str, Any] | None,
    num_heads: int,
    config: dict[str, Any],
) -> P:
    """What `ZoomPolicy.from_published` does."""
    origin = source if isinstance(source, str | Path) else 'the given state dict'
    tensors = {_plain_name(n): t for n, t in _state_dict(source).items()}
    shape = _shape(tensors, origin)
    encoder = _encoder_config(encoder_config or DINOV2_BASE)
    decoder = DecoderConfig(layers=shape['layers'], heads=num_heads)
    try:
        base = PolicyConfig(encoder=encoder, decoder=decoder)
        policy = policy_class(replace(base, grid=shape['grid'], **config))
    except (ConfigError, TypeError) as error:
        raise WeightsError(f'{origin}: {error}') from error
    return policy.fill(_rename_for(policy, tensors), origin)


def _encoder_config(source: str | Path | Mapping[str, Any]) -> EncoderConfig:
    """From keyword arguments, or from a local folder or hub name."""
    if isinstance(source, Mapping):
        return EncoderConfig('dinov2', dict(source))
    return EncoderConfig.from_pretrained(source)


def _state_dict(source: str | Path | Mapping[str, Any]) -> Tensors:
    state: Mapping[str, Any]
    if not isinstance(source, str | Path):
        state = source
    elif Path(source).suffix == '.safetensors':
        state = load_tensors(source)[1]
    else:
        state = _read_pth(source)
    return dict(state.get('model_state_dict', state))


def _read_pth(path: str | Path) -> dict[str, Any]:
    if not Path(path).is_file():
        raise WeightsError(f'{path}: no such checkpoint')
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).split('\n')[0][:200]
        raise WeightsError(
            f'{path}: not readable as plain tensors ({reason}); only checkpoints that load with '
            'weights_only=True are accepted'
        ) from error
    if not isinstance(state, dict):
        raise WeightsError(f'{path}: holds a {type(state).__name__}, not a state dict')
    return state


def _plain_name(name: str) -> str:
    return re.sub(r'^((_orig_mod|module)\.)+', '', name)


def _shape(tensors: Tensors, origin: str | Path) -> dict[str, int]:
    """Grid and number of layers, read off the decoder's tensors."""
    actions = tensors.get('decoder.action_embed.weight')
    branching = 0 if actions is None else actions.shape[0]
    grid = round(branching**0.5)
    if grid < 2 or grid * grid != branching:
        raise WeightsError(f'{origin}: no published checkpoint (decoder.action_embed.weight)')
    blocks = {n.split('.')[2] for n in tensors if n.startswith('decoder.blocks.')}
    return {'grid': grid, 'layers': len(blocks)}


def _rename_for(policy: nn.Module, tensors: Tensors) -> Tensors:
    """Rename DINOv2's attention tensors where the installed transformers calls them otherwise."""
    ours = policy.state_dict()
    renames = dict(_ATTENTION)
    if any('attention.attention.query' in name for name in ours):
        renames = {new: old for old, new in _ATTENTION.items()}
    return {name if name in ours else _rename(name, renames): t for name, t in tensors.items()}


def _rename(name: str, renames: dict[str, str]) -> str:
    for old, new in renames.items():
        if f'.{old}.' in name:
            return name.replace(f'.{old}.', f'.{new}.')
    return name
