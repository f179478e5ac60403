"""The examples run, and find what they are told to find."""

import importlib.util
import json
import sys

import pytest
from colcon_support import REPO
from pyproj import Geod

from justzoom_ros.io.bags import Bag, read_track

MAP = str(REPO / 'maps' / 'demo')


pytestmark = pytest.mark.slow  # a map's features are computed, frames registered


def example(name):
    """The module examples/`name`.py."""
    spec = importlib.util.spec_from_file_location(name, REPO / 'examples' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
    """The folder that make_inputs.py makes."""
    out = tmp_path_factory.mktemp('examples')
    example('make_inputs').main(str(out))
    return out


@pytest.fixture(scope='module')
def track(inputs):
    """Where the frames of the flight were taken."""
    with Bag(inputs / 'flight' / 'bag') as bag:
        return read_track(bag, '/gps/fix')


def away_m(fix, track, number):
    """Metres from a fix to where frame `number` was taken."""
    truth = track.longitudes[number], track.latitudes[number]
    return Geod(ellps='WGS84').inv(fix.longitude, fix.latitude, *truth)[2]


def test_an_image_is_located(inputs, track, capsys):
    fix = example('locate_image').main(str(inputs / 'flight' / 'frames' / '0003.jpg'), MAP)
    assert away_m(fix, track, 3) < 25
    assert fix.status in capsys.readouterr().out


def test_a_bag_is_followed(inputs, track):
    fixes = example('follow_bag').main(str(inputs / 'flight' / 'bag'), MAP)
    assert len(fixes) == 6
    assert fixes[-1].status == 'fix'
    assert away_m(fixes[-1], track, 5) < 10


def test_a_picture_is_located_on_a_map_of_ones_own(inputs, track):
    photo = inputs / 'flight' / 'frames' / '0003.jpg'
    paths = [str(path) for path in (inputs / 'ortho.tif', inputs / 'farm', photo)]
    fix = example('own_map').main(*paths, '90', '150')
    assert (inputs / 'farm.png').is_file() and (inputs / 'farm' / 'map.yaml').is_file()
    assert away_m(fix, track, 3) < 25


def code_of(notebook):
    """Sources of the code cells of a notebook, in their order."""
    cells = json.loads(notebook.read_text())['cells']
    return [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']


def test_the_notebook_runs_from_top_to_bottom(inputs, track, monkeypatch):
    """From tiles of a server on this machine to a fix that is right and a page."""
    monkeypatch.chdir(REPO)
    monkeypatch.setenv('EXAMPLES_OUT', str(inputs))
    monkeypatch.setattr(sys, 'path', list(sys.path))
    names = {}
    for number, source in enumerate(code_of(REPO / 'examples' / 'address_to_fix.ipynb')):
        exec(compile(source, f'cell {number}', 'exec'), names)
    assert names['fix'].status == 'fix' and away_m(names['fix'], track, 3) < 10
    assert names['summary']['fix'] >= 4 and names['summary']['fix_only']['median_m'] < 10
    assert 'A flight over the town' in (inputs / 'report' / 'report.html').read_text()


def test_the_notebook_is_kept_without_results():
    cells = json.loads((REPO / 'examples' / 'address_to_fix.ipynb').read_text())['cells']
    assert not any(cell.get('outputs') or cell.get('execution_count') for cell in cells)
    assert len({cell['id'] for cell in cells}) == len(cells)
