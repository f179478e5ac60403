"""The policy against the published implementation's own numbers, and its files."""

import json
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from justzoom_ros.errors import ConfigError, WeightsError
from justzoom_ros.models import ConvConfig, DecoderConfig, EncoderConfig, PolicyConfig, ZoomPolicy


@pytest.fixture(scope='module')
def reference(shared):
    folder = shared / 'reference'
    return {
        'config': json.loads((folder / 'tiny.json').read_text()),
        'weights': load_file(folder / 'tiny_weights.safetensors'),
        'io': load_file(folder / 'tiny_io.safetensors'),
    }


@pytest.fixture(scope='module')
def published(reference):
    config = reference['config']
    return ZoomPolicy.from_published(
        reference['weights'], config['encoder'], config['decoder']['num_heads']
    )


def tiny_config(**changes):
    conv = ConvConfig(channels=(16, 16), blocks=1, pooled=2, width=32)
    encoder, decoder = EncoderConfig('conv', conv), DecoderConfig(2, 2, 0.0)
    return replace(
        PolicyConfig(2, 3, 'nadir', 16, 1.0, 16, encoder=encoder, decoder=decoder), **changes
    )


def tiny_policy(seed=0, **changes):
    torch.manual_seed(seed)
    return ZoomPolicy(tiny_config(**changes)).eval()


@pytest.mark.slow
@torch.inference_mode()
def test_teacher_forcing_reproduces_the_published_implementation(published, reference):
    io = reference['io']
    ground = published.encode_ground(io['ground'])
    maps = published.encode_satellite(io['satellite'].flatten(0, 1)).unflatten(0, (2, 4))
    logits = published(io['ground'], io['satellite'], io['sequence'])
    torch.testing.assert_close(ground, io['ground_embedding'], atol=1e-5, rtol=0)
    torch.testing.assert_close(maps, io['satellite_embedding'], atol=1e-5, rtol=0)
    torch.testing.assert_close(logits, io['logits'], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_stepwise_with_the_cache_gives_the_published_logits(published, reference):
    io = reference['io']
    maps = io['satellite_embedding']
    logits, cache = published.start(io['ground_embedding'], maps[:, 0])
    steps = [logits]
    for k in range(1, 4):
        logits, cache = published.step(io['sequence'][:, k - 1], maps[:, k], cache)
        steps.append(logits)
    torch.testing.assert_close(torch.stack(steps, 1), io['logits'], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_selected_cache_continues_as_its_own_rows(published, reference):
    io = reference['io']
    maps = io['satellite_embedding']
    _, cache = published.start(io['ground_embedding'], maps[:, 0])
    rows = torch.tensor([1, 0, 1])
    actions = torch.tensor([3, 5, 7])
    shared, _ = published.step(actions, maps[rows, 1], cache, rows=rows)
    alone, _ = published.step(actions[2:], maps[1:2, 1], cache, rows=torch.tensor([1]))
    torch.testing.assert_close(shared[2:], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize('prefix', ['', '_orig_mod.', 'module.', 'module._orig_mod.'])
@pytest.mark.parametrize('nested', [True, False])
def test_published_checkpoints_are_read_whatever_their_prefix(
    published, reference, tmp_path, prefix, nested
):
    state = {prefix + name: t for name, t in reference['weights'].items()}
    path = tmp_path / 'best.pth'
    torch.save({'model_state_dict': state, 'epoch': 3} if nested else state, path)
    policy = ZoomPolicy.from_published(path, reference['config']['encoder'], num_heads=4)
    for name, tensor in published.state_dict().items():
        assert torch.equal(tensor, policy.state_dict()[name]), name


def test_attention_names_before_transformers_5_are_understood(published, reference):
    old = {
        name.replace('attention.q_proj', 'attention.attention.query')
        .replace('attention.k_proj', 'attention.attention.key')
        .replace('attention.v_proj', 'attention.attention.value')
        .replace('attention.o_proj', 'attention.output.dense'): t
        for name, t in reference['weights'].items()
    }
    policy = ZoomPolicy.from_published(old, reference['config']['encoder'], num_heads=4)
    for name, tensor in published.state_dict().items():
        assert torch.equal(tensor, policy.state_dict()[name]), name


def test_save_and_load_keep_the_answer_and_the_configuration(published, tmp_path, reference):
    published.save(tmp_path / 'w.safetensors')
    again = ZoomPolicy.load(tmp_path / 'w.safetensors')
    io = reference['io']
    with torch.inference_mode():
        logits = again(io['ground'], io['satellite'], io['sequence'])
    torch.testing.assert_close(logits, io['logits'], atol=1e-5, rtol=0)
    assert again.config == published.config
    assert not again.training


def test_the_conv_policy_survives_a_round_trip(tmp_path):
    policy = tiny_policy()
    policy.save(tmp_path / 'w.safetensors')
    again = ZoomPolicy.load(tmp_path / 'w.safetensors')
    assert again.config == policy.config
    images = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(again.encode_satellite(images), policy.encode_satellite(images))


def test_half_precision_weights_are_half_the_size_and_load_as_single(tmp_path):
    policy = tiny_policy()
    policy.save(tmp_path / 'whole.safetensors')
    policy.save(tmp_path / 'half.safetensors', half=True)
    sizes = [(tmp_path / f'{name}.safetensors').stat().st_size for name in ('half', 'whole')]
    assert sizes[0] < 0.6 * sizes[1]
    again = ZoomPolicy.load(tmp_path / 'half.safetensors')
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(again.get_parameter(name), parameter, rtol=1e-3, atol=1e-6)
    assert torch.equal(again.decoder.freqs, policy.decoder.freqs)


@torch.inference_mode()
def test_conv_stepwise_equals_teacher_forcing():
    policy = tiny_policy(grid=3)
    ground, maps = torch.randn(5, 32), torch.randn(5, 3, 32)
    sequence = torch.randint(0, 9, (5, 3))
    expected = policy.logits(ground, maps, sequence)
    logits, cache = policy.start(ground, maps[:, 0])
    torch.testing.assert_close(logits, expected[:, 0], atol=1e-5, rtol=0)
    for k in (1, 2):
        logits, cache = policy.step(sequence[:, k - 1], maps[:, k], cache)
        torch.testing.assert_close(logits, expected[:, k], atol=1e-5, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize('count', [1, 5, 40])
def test_prefixes_that_part_anywhere_each_equal_teacher_forcing(count):
    """Siblings share what they have in common and see nothing of each other, however many there
    are and in whatever order."""
    policy = tiny_policy(grid=3).double()
    generator = torch.Generator().manual_seed(count)

    def some(high, length=count):
        return torch.randint(0, high, (length,), generator=generator)

    ground, root, second, third = (
        torch.randn(n, 32, generator=generator).double() for n in (2, 2, 4, count)
    )
    first, then = torch.tensor([0, 1, 0, 0]), some(4)
    actions = some(9, 4), some(9)
    _, cache = policy.start(ground, root)
    middle, cache = policy.step(actions[0], second, cache, rows=first)
    end, _ = policy.step(actions[1], third, cache, rows=then)
    rows = first[then]
    maps = torch.stack([root[rows], second[then], third], 1)
    sequence = torch.stack([actions[0][then], actions[1], actions[1]], 1)
    expected = policy.logits(ground[rows], maps, sequence)
    torch.testing.assert_close(middle[then], expected[:, 1], atol=1e-6, rtol=0)
    torch.testing.assert_close(end, expected[:, 2], atol=1e-6, rtol=0)


@torch.inference_mode()
def test_later_actions_and_crops_do_not_reach_back():
    policy = tiny_policy()
    ground, maps = torch.randn(1, 32), torch.randn(1, 3, 32)
    before = policy.logits(ground, maps, torch.tensor([[1, 2, 3]]))
    maps[:, 2] += 1.0
    after = policy.logits(ground, maps, torch.tensor([[1, 0, 0]]))
    torch.testing.assert_close(before[:, :2], after[:, :2])


@pytest.fixture
def dinov2_folder(reference, tmp_path):
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(7)
    model = Dinov2Model(Dinov2Config(**reference['config']['encoder'])).eval()
    model.save_pretrained(tmp_path / 'dinov2')
    return model, tmp_path / 'dinov2'


@pytest.mark.slow
def test_a_pretrained_dinov2_of_a_folder_becomes_the_encoder(dinov2_folder):
    model, folder = dinov2_folder
    policy = ZoomPolicy.from_dinov2(folder, decoder=DecoderConfig(1, 4))
    images = torch.randn(2, 3, 70, 70)
    with torch.inference_mode():
        expected = model(pixel_values=images).last_hidden_state[:, 0]
        torch.testing.assert_close(policy.encode_satellite(images), expected)


def test_published_checkpoints_are_read_with_the_configuration_of_a_folder(
    dinov2_folder, reference, published
):
    policy = ZoomPolicy.from_published(reference['weights'], dinov2_folder[1], num_heads=4)
    images = torch.randn(1, 3, 70, 70)
    with torch.inference_mode():
        expected = published.encode_satellite(images)
        torch.testing.assert_close(policy.encode_satellite(images), expected)


def test_a_folder_without_dinov2_is_named(dinov2_folder, tmp_path):
    with pytest.raises(WeightsError, match='nowhere'):
        ZoomPolicy.from_dinov2(tmp_path / 'nowhere')
    folder = dinov2_folder[1]
    (folder / 'model.safetensors').write_bytes(b'cut')
    with pytest.raises(WeightsError, match='dinov2'):
        ZoomPolicy.from_dinov2(folder, decoder=DecoderConfig(1, 4))


class Malicious:
    def __reduce__(self):
        return (print, ('a pickle was executed',))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, capsys):
    path = tmp_path / 'evil.pth'
    path.write_bytes(pickle.dumps({'model_state_dict': Malicious()}))
    with pytest.raises(WeightsError, match='evil.pth'):
        ZoomPolicy.from_published(path)
    assert 'executed' not in capsys.readouterr().out


def test_bad_weights_files_are_named(tmp_path):
    with pytest.raises(WeightsError, match='no such weights file'):
        ZoomPolicy.load(tmp_path / 'absent.safetensors')
    policy = tiny_policy()
    path = tmp_path / 'w.safetensors'
    policy.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match='w.safetensors'):
        ZoomPolicy.load(path)
    (tmp_path / 'empty.safetensors').write_bytes(b'')
    with pytest.raises(WeightsError, match='empty.safetensors'):
        ZoomPolicy.load(tmp_path / 'empty.safetensors')
    save_file({'x': torch.zeros(1)}, tmp_path / 'other.safetensors')
    with pytest.raises(WeightsError, match='from_published'):
        ZoomPolicy.load(tmp_path / 'other.safetensors')
    with pytest.raises(WeightsError, match='action_embed'):
        ZoomPolicy.from_published(tmp_path / 'other.safetensors')


def test_weights_of_another_shape_are_named(tmp_path):
    policy = tiny_policy()
    tensors = dict(policy.state_dict())
    tensors['decoder.final_norm.weight'] = torch.ones(7)
    metadata = {'format': 'justzoom_policy_1', 'policy': policy.config.to_json()}
    save_file(tensors, tmp_path / 'w.safetensors', metadata)
    with pytest.raises(WeightsError, match='final_norm'):
        ZoomPolicy.load(tmp_path / 'w.safetensors')


def test_weights_with_the_former_names_load(tmp_path):
    """The look-ahead head was called `glance` once."""
    policy = tiny_policy(look_ahead=True)
    former = {n.replace('lookahead.', 'glance.'): t for n, t in policy.state_dict().items()}
    assert 'glance.expect.weight' in former
    metadata = {'format': 'justzoom_policy_1', 'policy': policy.config.to_json()}
    save_file(former, tmp_path / 'former.safetensors', metadata)
    again = ZoomPolicy.load(tmp_path / 'former.safetensors')
    for name, tensor in policy.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    again.save(tmp_path / 'now.safetensors')
    assert set(load_file(tmp_path / 'now.safetensors')) == set(policy.state_dict())


def test_the_configuration_of_an_encoder_is_kept_as_before():
    """What is stored is part of the checksum by which engines and embeddings are found."""
    stored = {'kind': 'conv', 'conv': {'channels': [16], 'blocks': 2, 'pooled': 1, 'width': 4}}
    config = EncoderConfig.from_dict(stored)
    assert config == EncoderConfig('conv', ConvConfig((16,), 2, 1, 4))
    assert json.loads(json.dumps(config.to_dict())) == stored
    assert EncoderConfig('dinov2', {'hidden_size': 32}).to_dict() == {
        'kind': 'dinov2',
        'dinov2': {'hidden_size': 32},
    }


def test_everything_that_pixels_and_actions_go_into_is_an_outer_layer(published):
    outer = {n for n, _ in published.named_parameters() if n.startswith(published.outer_layers)}
    assert {'.'.join(name.split('.')[:3]) for name in outer} == {
        'encoder.backbone.embeddings',
        'decoder.action_embed.weight',
        'decoder.output_head.weight',
    }
    assert {n for n in tiny_policy().state_dict() if n.startswith(tiny_policy().outer_layers)} == {
        'encoder.features.0.weight',
        'encoder.features.0.bias',
        'decoder.action_embed.weight',
        'decoder.output_head.weight',
    }


def test_wrong_configurations_are_named():
    with pytest.raises(ConfigError, match='view'):
        PolicyConfig(view='sideways')
    with pytest.raises(ConfigError, match='kind'):
        EncoderConfig(kind='resnet')
    with pytest.raises(ConfigError, match='heads'):
        ZoomPolicy(tiny_config(decoder=DecoderConfig(1, 5)))
    with pytest.raises(ConfigError, match='policy configuration'):
        PolicyConfig.from_json('{"grid": 4}')
    stored = json.loads(tiny_config().to_json())
    stored['encoder']['dinov2'] = {}
    with pytest.raises(ConfigError, match='unknown keys of an encoder: dinov2'):
        PolicyConfig.from_json(json.dumps(stored))
