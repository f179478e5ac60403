"""The command line as a user meets it: help, errors on one line, localize."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tiny import make_map, make_weights

from justzoom_ros.cli.main import COMMANDS, main
from justzoom_ros.models import ZoomPolicy


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cli')
    satellite_map = make_map(folder)
    return satellite_map, make_weights(folder, satellite_map)


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'frame.png')
    return str(tmp_path / 'frame.png')


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, '--help'])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert 'example' in shown or command == 'map'


def test_localize_prints_one_line_per_picture(installed, picture, capsys):
    satellite_map, weights = installed
    assert (
        main(['localize', picture, '--map', str(satellite_map.path), '--weights', str(weights)])
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and lines[0].startswith(picture)


def test_localize_prints_one_json_object_and_nothing_else(installed, picture, capsys):
    satellite_map, weights = installed
    arguments = ['--map', str(satellite_map.path), '--weights', str(weights), '--json']
    assert main(['localize', picture, picture, *arguments]) == 0
    answer = json.loads(capsys.readouterr().out)
    first, second = answer['images']
    assert first == second and first['image'] == picture
    assert satellite_map.region.contains(first['latitude'], first['longitude'])
    assert sum(h['mass'] for h in first['hypotheses']) <= 1 + 1e-9


@pytest.mark.parametrize(
    ('wrong', 'named'),
    [
        ({'image': 'absent.jpg'}, 'absent.jpg: no such picture'),
        ({'map': 'nowhere'}, 'nowhere'),
        ({'weights': 'none.safetensors'}, 'none.safetensors: no such weights file'),
        ({'runtime': 'abacus'}, 'abacus'),
        ({'search': 'dowsing'}, 'dowsing'),
    ],
)
def test_wrong_input_is_one_line_and_status_2(installed, picture, wrong, named, capsys):
    satellite_map, weights = installed
    given = {'image': picture, 'map': str(satellite_map.path), 'weights': str(weights), **wrong}
    options = [x for name, value in given.items() if name != 'image' for x in (f'--{name}', value)]
    assert main(['localize', given['image'], *options]) == 2
    out, err = capsys.readouterr()
    assert out == '' and len(err.splitlines()) == 1
    assert err.startswith('justzoom: error: ') and named in err


def test_a_misspelt_argument_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        main(['train', '--map', 'm', '-o', 'o', '--fotprint', '60', '80'])
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == '' and len(err.splitlines()) == 1
    assert '--fotprint' in err and '--help' in err


@pytest.mark.parametrize('wrong', ['--footprnt', '--footprnt=60'])
def test_an_option_that_is_nearly_right_is_told_with_the_right_one(wrong, capsys):
    with pytest.raises(SystemExit):
        main(['localize', 'a.jpg', '--map', 'm', wrong])
    (line,) = capsys.readouterr().err.splitlines()
    assert f'unrecognized arguments: {wrong}; did you mean --footprint?' in line


def test_weights_for_another_tree_are_refused(installed, tmp_path, picture, capsys):
    _, weights = installed
    from tiny import REGION

    from justzoom_ros.region import Region

    other = make_map(tmp_path, Region(REGION.latitude, REGION.longitude, 256.0, 2, 3))
    assert main(['localize', picture, '--map', str(other.path), '--weights', str(weights)]) == 2
    assert '4 x 4 grid of depth 2' in capsys.readouterr().err


@pytest.mark.slow
def test_train_learns_from_the_command_line(installed, tmp_path, capsys):
    satellite_map, _ = installed
    arguments = ['--map', str(satellite_map.path), '-o', str(tmp_path), '--steps', '2']
    arguments += ['--batch', '4', '--ground-px', '32', '--crop-px', '32', '--workers', '0']
    arguments += ['--footprint', '60', '80', '--set', 'conv.channels=16,32']
    assert main(['train', *arguments]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / 'weights.safetensors')
    assert (tmp_path / 'weights.safetensors').is_file()


@pytest.mark.slow
def test_train_learns_from_several_maps_and_is_validated_on_another(installed, tmp_path, capsys):
    satellite_map, _ = installed
    maps = [make_map(tmp_path, satellite_map.region, f'map{seed}', seed=seed) for seed in (1, 2)]
    arguments = ['--map', *(str(m.path) for m in maps), '--validate-on', str(satellite_map.path)]
    arguments += ['-o', str(tmp_path / 'run'), '--steps', '2', '--batch', '4', '--workers', '0']
    arguments += ['--ground-px', '32', '--crop-px', '32', '--set', 'conv.channels=16,32']
    assert main(['train', *arguments]) == 0
    policy = ZoomPolicy.load(capsys.readouterr().out.strip())
    assert policy.provenance['maps'] == [m.checksum for m in maps]


def test_each_dataset_needs_its_map(installed, tmp_path, capsys):
    satellite_map, _ = installed
    arguments = ['--dataset', 'here', 'there', '--map', str(satellite_map.path)]
    assert main(['train', *arguments, '-o', str(tmp_path)]) == 2
    assert '2 datasets need as many maps, not 1' in capsys.readouterr().err


@pytest.mark.parametrize('setting', ['appearance.shine=1', 'train.steps=many', 'nonsense'])
def test_a_wrong_setting_is_named(installed, tmp_path, setting, capsys):
    satellite_map, _ = installed
    arguments = ['--map', str(satellite_map.path), '-o', str(tmp_path), '--set', setting]
    assert main(['train', *arguments]) == 2
    assert setting in capsys.readouterr().err


def test_the_command_line_starts_without_torch_or_ros():
    code = 'import sys; from justzoom_ros.cli.main import build_parser; build_parser(); '
    code += "print([m for m in ('torch', 'rclpy', 'rasterio', 'matplotlib') if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env=os.environ, timeout=300
    )
    assert run.stdout.strip() == '[]', run.stderr
