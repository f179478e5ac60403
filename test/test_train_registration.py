"""The command that trains registration: where its weights go, and what it refuses."""

import csv

import numpy as np
import pytest
import rasterio
from imagery import write_raster
from town_piece import make_town_map

from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.region import Region
from justzoom_ros.registrar import Registrar
from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.training.registration import runs
from justzoom_ros.training.registration.adapt import Adaptation
from justzoom_ros.training.registration.map_judge import MapFigures
from justzoom_ros.training.registration.runs import split_places

BEFORE = MapFigures(np.full(10, 4.0), np.arange(10) < 5)
AFTER = MapFigures(np.full(10, 3.0), np.arange(10) < 6)


@pytest.fixture
def town(tmp_path):
    return make_town_map(tmp_path)


def adapting(monkeypatch, improved):
    """Stands in for the minutes of fitting."""
    seen = {}

    def adapt(network, satellite_map, out, minutes, metres_per_px, progress):
        seen.update(minutes=minutes, metres_per_px=metres_per_px)
        return Adaptation(network, 0.5 * improved, BEFORE, AFTER)

    monkeypatch.setattr(runs, 'adapt', adapt)
    return seen


@pytest.mark.slow
def test_weights_that_improved_go_into_the_map_and_are_used_from_there(
    town, tmp_path, monkeypatch, capsys
):
    seen = adapting(monkeypatch, improved=True)
    arguments = ['train', '--registration', '--map', str(town.path), '--minutes', '2']
    assert main([*arguments, '--footprint', '90', '150']) == 0
    out = capsys.readouterr().out
    assert '4.00 -> 3.00 nats' in out and '50 % -> 60 % found' in out
    assert seen['minutes'] == 2.0 and 0.8 <= seen['metres_per_px'] < 1.2
    registrar = Registrar.open(town, progress=False)
    assert registrar.origin == 'registration adapted to this map'
    assert registrar.network.card['adaptation']['after'] == AFTER.row()
    SatelliteMap.build(
        tmp_path / 'town.tif', town.region, town.path, resolution_m=0.8, attribution='invented',
        overwrite=True,
    )  # fmt: skip
    assert not (town.path / 'registration.safetensors').exists()


def test_weights_that_did_not_improve_stay_as_they_were(town, monkeypatch, capsys):
    adapting(monkeypatch, improved=False)
    assert main(['train', '--registration', '--map', str(town.path)]) == 0
    assert 'stay as they were' in capsys.readouterr().out
    assert not (town.path / 'registration.safetensors').exists()


def test_a_map_that_is_too_small_to_keep_a_part_back_is_refused(town, capsys):
    small = ['train', '--registration', '--map', str(town.path), '--footprint', '200', '250']
    assert main(small) == 2
    assert 'too small' in capsys.readouterr().err.splitlines()[-1]


def test_a_footprint_wider_than_the_map_is_refused_by_name(town, monkeypatch, capsys):
    seen = adapting(monkeypatch, improved=True)
    wide = ['train', '--registration', '--map', str(town.path), '--footprint', '90', '256.5']
    assert main(wide) == 2 and not seen
    said = f'a footprint of 256.5 m is wider than {town.path}, a map that is 256 m wide'
    assert said in capsys.readouterr().err
    assert main([*wide[:-1], '256']) == 0 and seen


@pytest.mark.slow
@pytest.mark.parametrize('east', [False, True])
def test_a_map_that_shows_too_little_is_refused_at_the_start(tmp_path, capsys, east):
    """A tenth has imagery: of the part that is learned from, or of the part that judges."""
    region = Region(52.5, 13.4, 800.0, grid=4, depth=2)
    pixels = np.zeros((3, 500, 500), np.uint8)
    pixels[:, :, 400 * east : 400 * east + 50] = 90
    half = region.side_m / 2
    transform = rasterio.transform.from_bounds(-half, -half, half, half, 500, 500)
    write_raster(tmp_path / 'a.tif', pixels, transform, region.crs, nodata=0)
    SatelliteMap.build(tmp_path / 'a.tif', region, tmp_path / 'map', resolution_m=1.6)
    assert main(['train', '--registration', '--map', str(tmp_path / 'map')]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert 'imagery on 10% of its ground' in error and 'views of a part of it' in error


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['--registration'], '--imagery'),
        (['--registration', '--towns', '2'], '-o DIR'),
        (['--registration', '--map', 'm', '--imagery', 'i.csv'], '--imagery'),
        (['--registration', '--map', 'm', '--steps', '5'], '--steps says nothing of registration'),
        (['--registration', '--map', 'm', '--minutes', '0'], '--minutes is 0'),
        (['--map', 'm', '--minutes', '5', '-o', 'x'], '--minutes is for --registration'),
        (['--map', 'm'], '-o DIR'),
    ],
)
def test_options_that_do_not_go_together_are_named(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['train', *arguments]) == 2
    error = capsys.readouterr().err.splitlines()
    assert says in error[-1] and len(error) == 1


def test_a_run_that_is_there_is_not_written_over(tmp_path, town, capsys):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'checkpoint.safetensors').touch()
    arguments = ['train', '--registration', '--map', str(town.path), '-o', str(tmp_path / 'run')]
    assert main(arguments) == 2
    assert '--resume' in capsys.readouterr().err


def write_index(folder, licences):
    """An index of one picture per licence."""
    folder.mkdir(exist_ok=True)
    rows = []
    for number, licence in enumerate(licences):
        name = f'{number}.tif'
        pixels = np.random.default_rng(number).integers(0, 255, (3, 64, 64), np.uint8)
        profile = {'driver': 'GTiff', 'width': 64, 'height': 64, 'count': 3, 'dtype': 'uint8'}
        with rasterio.open(folder / name, 'w', **profile) as file:
            file.write(pixels)
        rows.append({
            'file': name, 'licence': licence, 'metres_per_px': 1.0, 'place': f'p{number}',
            'kind': 'photo',
        })  # fmt: skip
    with (folder / 'index.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder / 'index.csv'


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
def test_places_that_validate_are_never_learned_from(tmp_path):
    free = write_index(tmp_path / 'free', ['CC0'] * 6)
    mixed = write_index(tmp_path / 'mixed', ['CC0', 'CC BY-SA 4.0', 'CC0'])
    names = [[place.name for place in some] for some in split_places([free])]
    assert names == [['p0', 'p1', 'p2', 'p3', 'p5'], ['p4']]
    names = [[place.name for place in some] for some in split_places([mixed])]
    assert names == [['p0', 'p2'], ['p1']]
    learned, validated = split_places([free], [mixed])
    assert len(learned) == 6 and len(validated) == 3
    with pytest.raises(ConfigError, match='--towns'):
        split_places([write_index(tmp_path / 'one', ['CC0'])])


def test_a_network_of_another_kind_is_refused(town, tmp_path, capsys):
    (tmp_path / 'x.safetensors').write_bytes(b'nothing')
    arguments = ['train', '--registration', '--map', str(town.path)]
    assert main([*arguments, '--start-from', str(tmp_path / 'x.safetensors')]) == 2
    assert 'x.safetensors' in capsys.readouterr().err
    assert RegistrationNetwork.shipped() is not None
