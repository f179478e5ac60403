"""Training: the recipe, the same whatever the processes and interruptions, and that it learns."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny import REGION, make_map, make_weights, tiny_policy_config, tiny_trainer

from justzoom_ros.errors import ConfigError, WeightsError
from justzoom_ros.inference.preprocess import normalize
from justzoom_ros.localizer import Localizer
from justzoom_ros.models import ZoomPolicy
from justzoom_ros.training import TrainConfig
from justzoom_ros.training.batches import (
    CALIBRATION,
    TRAINING,
    VALIDATION,
    MapCrops,
    Rank,
    ViewBatches,
)
from justzoom_ros.training.recipe import Objective, is_hidden, learning_rate
from justzoom_ros.training.trainer import check_fits


@pytest.fixture(scope='module')
def tiny_map(tmp_path_factory):
    return make_map(tmp_path_factory.mktemp('train'))


@pytest.fixture(scope='module')
def other_map(tmp_path_factory):
    return make_map(tmp_path_factory.mktemp('other'), seed=8)


def test_learning_rate_warms_up_and_falls_to_its_final_share():
    config = TrainConfig(steps=1000, learning_rate=1.0, warmup=0.1, final=0.1)
    rates = [learning_rate(step, config) for step in range(1000)]
    assert rates[0] < 0.02 and rates[100] == pytest.approx(1.0)
    assert np.argmax(rates) == 100 and rates[-1] == pytest.approx(0.1)
    middle = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 0.5))
    assert learning_rate(549.5, config) == pytest.approx(middle, abs=1e-6)


def test_every_crop_of_a_batch_is_there_once_and_found(tiny_map):
    sequence = torch.tensor([[3, 5], [3, 7], [2, 5]])
    crops, rows = MapCrops(tiny_map, 16)(sequence)
    assert len(crops) == 3  # the whole map, cell 2 and cell 3
    assert torch.equal(rows[:, 0], rows[0, 0].repeat(3)) and rows[0, 1] == rows[1, 1]
    assert np.array_equal(crops[rows[2, 1]], tiny_map.crop((2,), 16))


def test_the_objective_is_published_cross_entropy_over_crops_seen_on_the_way(tiny_map):
    policy = ZoomPolicy(tiny_policy_config(tiny_map, dropout=0.0))
    objective = Objective(policy, label_smoothing=0.1).train()
    views = torch.randint(0, 256, (3, 1, 16, 16, 3), dtype=torch.uint8)
    sequence = torch.tensor([[3, 5], [3, 7], [2, 5]])
    crops, rows = MapCrops(tiny_map, 16)(sequence)
    whole = normalize(crops)[rows]  # (B, S, 3, h, w): every crop of every sequence
    logits = policy(normalize(views), whole, sequence)
    expected = F.cross_entropy(logits.flatten(0, 1), sequence.flatten(), label_smoothing=0.1)
    losses = objective(views, sequence, crops, rows)
    assert losses.shape == (2,)
    assert float(losses.detach().mean()) == pytest.approx(float(expected.detach()), rel=1e-5)


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one_with_the_joined_batch(tiny_map, tmp_path):
    script = Path(__file__).with_name('ddp_gradients.py')
    launcher = [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2']
    launcher += ['--master-port', str(20_000 + os.getpid() % 10_000)]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(script.parents[1])}
    environment['CUDA_VISIBLE_DEVICES'] = ''  # two processes cannot share one GPU
    for name, command in {'one': [sys.executable], 'two': launcher}.items():
        arguments = [*command, script, tiny_map.path, tmp_path / f'{name}.safetensors']
        run = subprocess.run(
            arguments, env=environment, capture_output=True, text=True, timeout=900
        )
        assert run.returncode == 0, run.stderr[-2000:]
    one, two = load_file(tmp_path / 'one.safetensors'), load_file(tmp_path / 'two.safetensors')
    assert len(one.pop('share')) == 8 and len(two.pop('share')) == 4
    one.pop('losses'), two.pop('losses')
    assert all(gradient.abs().max() < 1e3 for gradient in one.values())
    assert max(gradient.abs().max() for gradient in one.values()) > 1e-3
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], gradient, atol=1e-6, rtol=1e-4)


def test_muon_turns_every_hidden_matrix_by_steps_of_even_size(tiny_map, tmp_path):
    """A step of Muon is nearly orthogonal: all singular values of a change are near the one that
    gives AdamW's root mean square (arXiv 2502.16982), for convolutions too."""
    trainer = tiny_trainer(
        tiny_map, tmp_path, steps=2, optimizer='muon', learning_rate=0.01, weight_decay=0.0,
        warmup=0.0, batch=32,
    )  # fmt: skip
    for name, parameter in trainer.policy.named_parameters():
        if name.endswith('gain'):
            parameter.data.fill_(1.0)  # or nothing behind it would be learned yet
    before = {name: p.detach().clone() for name, p in trainer.policy.named_parameters()}
    trainer.advance(*next(iter(trainer._batches())))
    for name, parameter in trainer.policy.named_parameters():
        assert not torch.equal(parameter, before[name]), name
        if is_hidden(name, parameter, trainer.policy.outer_layers) and 'features' in name:
            change = (parameter.detach() - before[name]).flatten(1)
            size = torch.linalg.svdvals(change) / (0.01 * 0.2 * max(change.shape) ** 0.5)
            # Directions in which hardly anything was learned may come out smaller.
            assert 0.6 < size.median() < 1.3 and size.max() < 1.3, name


@pytest.mark.slow
@pytest.mark.parametrize('optimizer', ['adamw', 'muon'])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tiny_map, tmp_path, optimizer):
    whole = tiny_trainer(tiny_map, tmp_path / 'whole', optimizer=optimizer)
    whole.run()
    first = tiny_trainer(tiny_map, tmp_path / 'parts', optimizer=optimizer)
    for step, batch in zip(range(15), first._batches(), strict=False):
        first.advance(*batch)
        first.step = step + 1
    first.out.mkdir()
    first.save_checkpoint()
    second = tiny_trainer(tiny_map, tmp_path / 'parts', optimizer=optimizer)
    second.resume()
    assert second.step == 15
    second.run()
    for name, tensor in whole.policy.state_dict().items():
        torch.testing.assert_close(second.policy.state_dict()[name], tensor, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_a_policy_learns_a_map_from_the_map_alone(tiny_map, tmp_path):
    trainer = tiny_trainer(tiny_map, tmp_path, steps=300, batch=32, learning_rate=3e-3)
    before = trainer.validate()
    weights = trainer.run()
    chance = 2 * math.log(16)
    assert before == pytest.approx(chance, abs=0.3)
    assert trainer.validate() < chance - 0.6
    policy = ZoomPolicy.load(weights)
    assert policy.provenance['maps'] == [tiny_map.checksum]
    localizer = Localizer.open(tiny_map.path, weights, progress=False)
    near = []
    for seed in range(30):
        view, pose = trainer.area.source.args[0].draw(np.random.default_rng((99, seed)))
        near.append(localizer.posterior(view).mass_within(pose.east_m, pose.north_m, 48.0))
    evenly = math.pi * 48**2 / 256**2
    assert np.mean(near) > 2 * evenly
    assert list(tmp_path.glob('events.out.tfevents*'))


def test_each_step_learns_from_the_map_whose_turn_it_is(tiny_map, other_map, tmp_path):
    trainer = tiny_trainer([tiny_map, other_map], tmp_path, steps=4, batch=4)
    single = [tiny_trainer(map, tmp_path, steps=4, batch=4) for map in (tiny_map, other_map)]
    own = [list(trainer._batches()) for trainer in single]
    for step, (views, actions) in enumerate(trainer._batches()):
        assert trainer.area.map is (tiny_map, other_map)[step % 2]
        assert torch.equal(views, own[step % 2][step][0])
        crops, _ = trainer.area.crops(actions)
        assert np.array_equal(crops[0], trainer.area.map.crop((), 16))
        trainer.step += 1


@pytest.mark.slow
def test_a_run_is_validated_on_maps_that_it_never_learns_from(tiny_map, other_map, tmp_path):
    """Half of the views of two validation maps come from each; a map for validation is not one of
    those that the weights know."""
    trainer = tiny_trainer(tiny_map, tmp_path, validation_maps=[other_map], steps=2)
    assert trainer.validate() == tiny_trainer(other_map, tmp_path).validate()
    assert ZoomPolicy.load(trainer.run()).provenance['maps'] == [tiny_map.checksum]
    both = tiny_trainer([tiny_map, other_map], tmp_path)
    alone = [
        tiny_trainer(map, tmp_path, validate_views=256).validate() for map in (tiny_map, other_map)
    ]
    assert alone[0] != alone[1]
    assert both.validate() == pytest.approx(sum(alone) / 2, rel=1e-6)


def test_a_map_for_validation_has_the_zoom_tree_of_the_policy(tiny_map, tmp_path):
    flat = make_map(tmp_path, replace(REGION, depth=1), 'flat')
    with pytest.raises(ConfigError, match='flat.*depth 1'):
        tiny_trainer(tiny_map, tmp_path, validation_maps=[flat])


@pytest.mark.slow
def test_validation_views_are_always_the_same_and_never_trained_on(tiny_map, tmp_path):
    trainer = tiny_trainer(tiny_map, tmp_path)
    assert trainer.validate() == trainer.validate()
    streams = [
        ViewBatches(trainer.area.source.args[0], trainer.config, Rank(), stream)[0][0]
        for stream in (TRAINING, VALIDATION, CALIBRATION)
    ]
    assert not any(torch.equal(a, b) for a, b in combinations(streams, 2))


@pytest.mark.slow
def test_training_ends_with_a_calibration(tiny_map, tmp_path):
    weights = tiny_trainer(tiny_map, tmp_path, steps=2).run()
    calibration = ZoomPolicy.load(weights).provenance['calibration']
    assert calibration['source'] == 'views' and calibration['temperature_samples'] >= 512
    assert calibration['temperature_nll_after'] <= calibration['temperature_nll_before']


@pytest.mark.slow
def test_training_goes_on_from_weights(tiny_map, tmp_path):
    first = tiny_trainer(tiny_map, tmp_path / 'first', steps=1)
    weights = first.run()
    second = tiny_trainer(tiny_map, tmp_path / 'second', seed=5)
    second.policy.take(weights)
    for name, tensor in ZoomPolicy.load(weights).state_dict().items():
        assert torch.equal(second.policy.state_dict()[name], tensor)
    other = make_weights(tmp_path, tiny_map)
    with pytest.raises(WeightsError, match='another configuration'):
        second.policy.take(other)


def test_a_foreign_or_damaged_checkpoint_is_refused(tiny_map, tmp_path):
    trainer = tiny_trainer(tiny_map, tmp_path)
    trainer.save_checkpoint()
    with pytest.raises(WeightsError, match='another map or configuration'):
        tiny_trainer(tiny_map, tmp_path, batch=16).resume()
    checkpoint = tmp_path / 'checkpoint.pt'
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(WeightsError, match=r'checkpoint\.pt'):
        trainer.resume()


def test_a_policy_for_another_tree_is_refused(tiny_map):
    config = tiny_policy_config(tiny_map)
    check_fits(tiny_map, config)
    with pytest.raises(ConfigError, match='depth'):
        check_fits(tiny_map, json_changed(config, depth=3))


def json_changed(config, **changes):
    values = {**json.loads(config.to_json()), **changes}
    return type(config).from_json(json.dumps(values))


def test_impossible_recipes_are_named():
    for wrong in (
        {'steps': 0}, {'learning_rate': 0.0}, {'precision': 'float8'}, {'optimizer': 'sgd'},
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            TrainConfig(**wrong)
    assert REGION.depth == 2
