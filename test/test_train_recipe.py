"""Training from Python: one call does what the command does."""

from dataclasses import replace

import pytest
import torch
from tiny import make_map

from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError, DatasetError, MapError
from justzoom_ros.models import ConvConfig, ZoomPolicy
from justzoom_ros.training import AreaFolders, TrainRecipe, train
from justzoom_ros.training.train_recipe import METHODS


@pytest.fixture(scope='module')
def map_folder(tmp_path_factory):
    return make_map(tmp_path_factory.mktemp('recipe')).path


def small(steps=2, **changes):
    """A recipe for a downward camera that takes a second."""
    recipe = TrainRecipe.of_view('nadir')
    learning = replace(recipe.train, steps=steps, batch=4, workers=0, **changes)
    conv = ConvConfig(channels=(16, 32))
    return replace(recipe, train=learning, conv=conv, ground_px=32, crop_px=32)


@pytest.mark.slow
def test_python_and_the_command_make_the_same_weights(map_folder, tmp_path, capsys):
    weights = train(small(), [map_folder], tmp_path / 'python', progress=False)
    said = capsys.readouterr()
    assert said.out == said.err == ''
    arguments = ['--map', str(map_folder), '-o', str(tmp_path / 'command'), '--steps', '2']
    arguments += ['--batch', '4', '--workers', '0', '--ground-px', '32', '--crop-px', '32']
    assert main(['train', *arguments, '--set', 'conv.channels=16,32']) == 0
    ours, theirs = (ZoomPolicy.load(path) for path in (weights, capsys.readouterr().out.strip()))
    assert ours.config == theirs.config and ours.provenance == theirs.provenance
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name


@pytest.mark.slow
def test_a_run_goes_on_where_it_was(map_folder, tmp_path):
    train(small(steps=3), [map_folder], tmp_path, progress=False)
    again = train(small(steps=3), [map_folder], tmp_path, resume=True, progress=False)
    assert again == tmp_path / 'weights.safetensors'
    assert len((tmp_path / 'history.csv').read_text().splitlines()) == 2  # no step was taken


def test_settings_are_those_of_the_parts(map_folder):
    recipe = TrainRecipe.of_view('nadir')
    changed = recipe.with_setting('nadir.footprint_m=60,70').with_setting('train.seed=7')
    assert changed.nadir.footprint_m == (60.0, 70.0) and changed.train.seed == 7
    assert replace(changed, nadir=recipe.nadir, train=recipe.train) == recipe
    assert {'decoder.layers', 'retrieval.similar', 'street.views'} <= set(recipe.settings())
    for wrong, says in (('train.sted=1', 'no such setting'), ('train.seed=x', "'x' is not like")):
        with pytest.raises(ConfigError, match=says):
            recipe.with_setting(wrong)


def test_each_camera_and_optimizer_has_its_own_defaults():
    street, nadir = TrainRecipe.of_view('street'), TrainRecipe.of_view('nadir')
    assert (street.train.optimizer, street.train.learning_rate) == ('muon', 3e-3)
    assert (nadir.train.optimizer, nadir.train.learning_rate) == ('adamw', 1.5e-3)
    assert TrainRecipe.of_view('nadir', 'muon').train.learning_rate == 3e-3
    assert street.ground_aspect == 2 and nadir.ground_aspect == pytest.approx(4 / 3)


def test_what_cannot_be_trained_is_named(map_folder, tmp_path):
    with pytest.raises(ConfigError, match='view'):
        TrainRecipe.of_view('sideways')
    with pytest.raises(ConfigError, match=', '.join(METHODS)):
        TrainRecipe(method='guess')
    with pytest.raises(ConfigError, match='no area'):
        train(small(), [], tmp_path, progress=False)
    with pytest.raises(MapError, match='nowhere'):
        train(small(), [tmp_path / 'nowhere'], tmp_path, progress=False)
    street = TrainRecipe.of_view('street')
    with pytest.raises(ConfigError, match='learns from pictures'):
        train(street, [AreaFolders(map_folder)], tmp_path, progress=False)
    with pytest.raises(DatasetError, match='0 places'):
        train(street, [AreaFolders(map_folder, tmp_path)], tmp_path, progress=False)
