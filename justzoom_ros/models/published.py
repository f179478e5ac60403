"""Checkpoints of the published implementation: their names, and the traps in them.

Prefixes `_orig_mod.` (torch.compile) and `module.` (DDP) may stand before any name, the state may
lie under `model_state_dict`, and transformers 5 renamed the attention tensors of DINOv2.
"""

import re
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError

import torch

from justzoom_ros.errors import ConfigError, WeightsError
from justzoom_ros.models.config import PolicyConfig
from justzoom_ros.models.decoder import DecoderConfig
from justzoom_ros.models.embedder import read_safetensors
from justzoom_ros.models.encoder import EncoderConfig

DINOV2_BASE = {'hidden_size': 768, 'num_attention_heads': 12, 'num_hidden_layers': 12}
DINOV2_BASE |= {'patch_size': 14, 'image_size': 518}

_ATTENTION = {
    'attention.attention.query': 'attention.q_proj',
    'attention.attention.key': 'attention.k_proj',
    'attention.attention.value': 'attention.v_proj',
    'attention.output.dense': 'attention.o_proj',
}


def published_policy(policy_class, source, encoder_config, num_heads, config):
    """What `ZoomPolicy.from_published` does."""
    origin = source if isinstance(source, str | Path) else 'the given state dict'
    tensors = {_plain_name(n): t for n, t in _state_dict(source).items()}
    shape = _shape(tensors, origin)
    encoder = EncoderConfig.from_dinov2(encoder_config or DINOV2_BASE)
    decoder = DecoderConfig(layers=shape['layers'], heads=num_heads)
    try:
        config = replace(
            PolicyConfig(encoder=encoder, decoder=decoder), grid=shape['grid'], **config
        )
        policy = policy_class(config)
    except (ConfigError, TypeError) as error:
        raise WeightsError(f'{origin}: {error}') from error
    return policy._filled(_named_as_in(policy, tensors), origin)


def _state_dict(source):
    if not isinstance(source, str | Path):
        state = source
    elif Path(source).suffix == '.safetensors':
        state = read_safetensors(source)[1]
    else:
        state = _read_pth(source)
    return state.get('model_state_dict', state)


def _read_pth(path):
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


def _plain_name(name):
    return re.sub(r'^((_orig_mod|module)\.)+', '', name)


def _shape(tensors, origin):
    """Grid and number of layers, read off the decoder's tensors."""
    actions = tensors.get('decoder.action_embed.weight')
    grid = round(actions.shape[0] ** 0.5) if actions is not None else 0
    if grid < 2 or grid * grid != actions.shape[0]:
        raise WeightsError(f'{origin}: no published checkpoint (decoder.action_embed.weight)')
    blocks = {n.split('.')[2] for n in tensors if n.startswith('decoder.blocks.')}
    return {'grid': grid, 'layers': len(blocks)}


def _named_as_in(policy, tensors):
    """Rename DINOv2's attention tensors where the installed transformers calls them otherwise."""
    ours = policy.state_dict()
    renames = dict(_ATTENTION)
    if any('attention.attention.query' in name for name in ours):
        renames = {new: old for old, new in _ATTENTION.items()}
    return {name if name in ours else _renamed(name, renames): t for name, t in tensors.items()}


def _renamed(name, renames):
    for old, new in renames.items():
        if f'.{old}.' in name:
            return name.replace(f'.{old}.', f'.{new}.')
    return name
