"""What CONTRIBUTING.md says of adding a runtime or an encoder, done: one new file, one line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import make_map, make_weights, tiny_policy_config

from justzoom_ros import ZoomPolicy
from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError, WeightsError
from justzoom_ros.models import ENCODERS, EncoderConfig
from justzoom_ros.runtimes import RUNTIMES, open_runtime
from justzoom_ros.runtimes.parity import parity
from justzoom_ros.training.recipe import is_hidden

TOY_RUNTIME = '''
from justzoom_ros.runtimes.torch_runtime import TorchRuntime


class ToyRuntime(TorchRuntime):
    """Encodes one view at a time."""

    def __init__(self, policy):
        super().__init__(policy, 'cpu')
        self.name = 'toy'

    def _encode_views(self, views):
        import torch

        return torch.cat([super(ToyRuntime, self)._encode_views(view[None]) for view in views])
'''

TOY_ENCODER = '''
from dataclasses import dataclass

from torch import nn

from justzoom_ros.models.encoder import Encoder


@dataclass(frozen=True)
class ToyConfig:
    width: int = 8


class ToyEncoder(Encoder):
    """The mean colour of an image, through two matrices."""

    STEM = ('colours.',)

    def __init__(self, config):
        super().__init__()
        self.width = config.width
        self.colours, self.mix = nn.Linear(3, self.width), nn.Linear(self.width, self.width)

    @classmethod
    def read_options(cls, stored):
        return ToyConfig(**stored)

    def forward(self, images):
        return self.mix(self.colours(images.mean(dim=(-2, -1))))
'''


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """A folder that modules are found in, and tables that forget what a test adds."""
    (tmp_path / 'toy_runtime.py').write_text(TOY_RUNTIME)
    (tmp_path / 'toy_encoder.py').write_text(TOY_ENCODER)
    monkeypatch.syspath_prepend(tmp_path)
    for registry in (RUNTIMES, ENCODERS):
        monkeypatch.setattr(registry, 'entries', dict(registry.entries))


def test_a_new_runtime_is_listed_by_the_command_line_and_runs_a_policy(toys, tmp_path, capsys):
    RUNTIMES.register('toy', 'toy_runtime:ToyRuntime')
    map = make_map(tmp_path)
    weights = make_weights(tmp_path, map)
    with pytest.raises(SystemExit):
        main(['localize', '--help'])
    assert ', tensorrt, toy' in ' '.join(capsys.readouterr().out.split())
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / 'frame.png')
    where = ['--map', str(map.path), '--weights', str(weights), '--runtime', 'toy']
    assert main(['localize', str(tmp_path / 'frame.png'), *where, '--json']) == 0
    assert json.loads(capsys.readouterr().out)['runtime'] == 'toy'


def test_a_new_runtime_says_what_torch_says(toys, tmp_path):
    RUNTIMES.register('toy', 'toy_runtime:ToyRuntime')
    policy = ZoomPolicy.load(make_weights(tmp_path, make_map(tmp_path)))
    assert parity(open_runtime(policy, 'toy'), open_runtime(policy, 'cpu')).holds


def test_a_new_encoder_is_built_saved_read_and_run(toys, tmp_path):
    ENCODERS.register('toy', 'toy_encoder:ToyEncoder')
    map = make_map(tmp_path)
    policy = ZoomPolicy(replace(tiny_policy_config(map), encoder=EncoderConfig('toy'))).eval()
    policy.save(tmp_path / 'toy.safetensors')
    again = ZoomPolicy.load(tmp_path / 'toy.safetensors')
    assert again.config == policy.config and again.width == 8
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(again.encode_satellite(images), policy.encode_satellite(images))
    runtime = open_runtime(again, 'cpu')
    assert runtime.encode_ground(torch.randn(1, 1, 3, 16, 16)).shape == (1, 8)


def test_the_recipe_asks_a_new_encoder_for_its_stem(toys, tmp_path):
    ENCODERS.register('toy', 'toy_encoder:ToyEncoder')
    config = replace(tiny_policy_config(make_map(tmp_path)), encoder=EncoderConfig('toy'))
    policy = ZoomPolicy(config)
    hidden = {
        name for name, parameter in policy.named_parameters()
        if is_hidden(name, parameter, policy.outer_layers)
    }  # fmt: skip
    assert 'encoder.mix.weight' in hidden and 'decoder.blocks.0.ffn.w1.weight' in hidden
    outer = {'encoder.colours.weight', 'decoder.action_embed.weight', 'decoder.output_head.weight'}
    assert not hidden & outer


def test_an_encoder_without_pretrained_models_says_so(toys, tmp_path):
    ENCODERS.register('toy', 'toy_encoder:ToyEncoder')
    with pytest.raises(ConfigError, match='ToyEncoder has no pretrained models'):
        EncoderConfig.from_pretrained(tmp_path, 'toy')


def test_weights_of_an_encoder_that_is_not_there_are_named(toys, tmp_path):
    ENCODERS.register('toy', 'toy_encoder:ToyEncoder')
    config = replace(tiny_policy_config(make_map(tmp_path)), encoder=EncoderConfig('toy'))
    ZoomPolicy(config).save(tmp_path / 'toy.safetensors')
    del ENCODERS.entries['toy']
    with pytest.raises(WeightsError, match="toy.safetensors: encoder kind 'toy' is not known"):
        ZoomPolicy.load(tmp_path / 'toy.safetensors')
