"""The examples run, and find what they are told to find."""

import importlib.util

import pytest
from colcon_support import REPO
from pyproj import Geod

from justzoom_ros.io.bags import Bag, read_track

MAP = str(REPO / 'maps' / 'demo')


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
    fix = example('locate_image').main(str(inputs / 'flight' / 'frames' / '0006.jpg'), MAP)
    assert away_m(fix, track, 6) < 25
    assert fix.status in capsys.readouterr().out


def test_a_bag_is_followed(inputs, track):
    fixes = example('follow_bag').main(str(inputs / 'flight' / 'bag'), MAP)
    assert len(fixes) == 12
    assert fixes[-1].status == 'fix'
    assert away_m(fixes[-1], track, 11) < 10


def test_a_map_is_built_of_an_orthophoto(inputs, capsys):
    built = example('own_map').main(str(inputs / 'ortho.tif'), str(inputs / 'farm'))
    assert built.region.side_m == pytest.approx(640, rel=0.01)
    assert (inputs / 'farm.png').is_file() and (inputs / 'farm' / 'map.yaml').is_file()
    assert 'justzoom train' in capsys.readouterr().out
