"""`justzoom map` as users run it: exit status, streams, files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from imagery import CENTER, grid_round, texture, write_raster
from PIL import Image
from pyproj import CRS

from justzoom_ros import SatelliteMap
from justzoom_ros.cli.main import main
from justzoom_ros.cli.map import _short_crs

PLACE = ['--center', str(CENTER[0]), str(CENTER[1]), '--side', '256', '--depth', '2']


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    mask = np.ones((800, 800), bool)
    mask[:300, :350] = False
    path = tmp_path_factory.mktemp('source') / 'town.tif'
    return str(write_raster(path, texture(), grid_round(CENTER), mask=mask))


@pytest.fixture(scope='module')
def town(source, tmp_path_factory):
    out = tmp_path_factory.mktemp('maps') / 'town'
    command = ['map', 'build', source, *PLACE, '-o', str(out), '--attribution', 'Town, CC0']
    assert main(command) == 0
    return out


def refused(capsys, *arguments):
    """The one line on stderr of a command that exits with 2."""
    assert main(['map', *map(str, arguments)]) == 2
    streams = capsys.readouterr()
    lines = [line for line in streams.err.splitlines() if not line.startswith(('map:', 'taking'))]
    assert streams.out == '' and len(lines) == 1 and lines[0].startswith('justzoom: error: ')
    return lines[0]


def test_build_says_what_it_made(source, tmp_path, capsys):
    out = tmp_path / 'map'
    assert main(['map', 'build', source, *PLACE, '-o', str(out), '--crop-px', '64']) == 0
    streams = capsys.readouterr()
    assert '4 x 4 cells, 2 steps' in streams.out and str(out) in streams.out
    assert '100%' in streams.err  # the progress bar
    built = SatelliteMap.open(out)
    assert built.crop_px == 64 and built.region.depth == 2 and built.region.side_m == 256
    assert built.checksum in streams.out and f'{built.info.coverage:.1%}' in streams.out


def test_json_is_one_object_and_nothing_else(source, town, tmp_path, capsys):
    out = tmp_path / 'map'
    commands = (['build', source, *PLACE, '-o', str(out)], ['info', str(town)])
    for command in commands:
        assert main(['map', *command, '--json']) == 0
        facts = json.loads(capsys.readouterr().out)
        opened = SatelliteMap.open(facts['path'])
        assert facts['checksum'] == opened.checksum
        assert facts['region']['side_m'] == 256.0
        assert facts['memory_bytes'] == opened.memory_bytes
        assert facts['resolution_m'] == opened.resolution_m


def test_info_shows_the_attribution_and_the_memory(town, capsys):
    assert main(['map', 'info', str(town)]) == 0
    out = capsys.readouterr().out
    assert 'Town, CC0' in out and 'MB' in out and 'EPSG:32617' in out


def test_without_a_place_the_square_encloses_the_source(source, tmp_path, capsys):
    out = tmp_path / 'map'
    assert main(['map', 'build', source, '--depth', '2', '-o', str(out)]) == 0
    region = SatelliteMap.open(out).region
    said = capsys.readouterr().err
    assert 'square that encloses' in said and f'--side {region.side_m:g}' in said
    # 400 m, turned by the 1.4 degrees between grid north and north.
    assert 400 < region.side_m < 415


@pytest.mark.slow
def test_show_draws_the_map(town, tmp_path, capsys):
    picture = tmp_path / 'town.png'
    assert main(['map', 'show', str(town), '-o', str(picture), '--levels', '1', '2']) == 0
    with Image.open(picture) as image:
        drawn = np.asarray(image.convert('RGB'))
    assert min(drawn.shape[:2]) > 800 and drawn.std() > 20
    yellow = (np.abs(drawn.astype(int) - [255, 210, 31]).sum(axis=-1) < 40).mean()
    assert yellow > 0.001  # lines of level 1
    assert [path.name for path in tmp_path.iterdir()] == ['town.png']


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['info', 'nowhere'], 'nowhere is not a folder'),
        (['show', 'nowhere', '-o', 'a.png'], 'nowhere is not a folder'),
        (['build', 'nowhere.tif', '-o', 'map'], 'nowhere.tif does not exist'),
        (['build', 'SOURCE', '--center', '41', '-83', '-o', 'map'], '--center and --side'),
        (['build', 'SOURCE', '--side', '5', '-o', 'map'], '--center and --side'),
        (['build', 'SOURCE', '--center', '91', '0', '--side', '5', '-o', 'map'], 'latitude'),
        (['build', 'SOURCE', '--center', 'nan', '0', '--side', '5', '-o', 'map'], 'latitude'),
        (['build', 'SOURCE', '--center', '0', '0', '--side', '500', '-o', 'map'], 'overlap'),
        (['build', 'SOURCE', *PLACE, '--grid', '9', '-o', 'map'], 'grid'),
        (['build', 'SOURCE', *PLACE, '--crop-px', '0', '-o', 'map'], 'crop_px'),
        (['build', 'SOURCE', *PLACE, '--bands', '1', '2', '9', '-o', 'map'], '3 bands'),
        (['build', 'SOURCE', *PLACE, '--stretch', '9', '1', '-o', 'map'], 'stretch'),
        (['build', 'SOURCE', *PLACE, '-o', 'SOURCE'], 'not a map'),
        (['build', 'SOURCE', *PLACE, '-o', '/proc/map'], '/proc/map'),
        (['build', 'SOURCE', *PLACE, '-o', 'TOWN'], 'map already'),
        (['show', 'TOWN', '-o', '/proc/a.png'], '/proc/a.png'),
        (['show', 'TOWN', '-o', 'a.png', '--levels', '7'], 'level 7'),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    source, town, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    names = {'SOURCE': source, 'TOWN': str(town)}
    assert message in refused(capsys, *[names.get(a, a) for a in arguments])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_damaged_source_prints_one_line_in_a_process_of_its_own(source, tmp_path):
    """Also what GDAL's library prints by itself must not reach the terminal."""
    damaged = tmp_path / 'damaged.tif'
    content = Path(source).read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    command = [sys.executable, '-m', 'justzoom_ros.cli.main', 'map', 'build', str(damaged)]
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[1])}
    done = subprocess.run(
        [*command, *PLACE, '-o', str(tmp_path / 'map')],
        capture_output=True, text=True, timeout=300, env=environment,
    )  # fmt: skip
    lines = [line for line in done.stderr.replace('\r', '\n').splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith('map:')]
    assert done.returncode == 2 and done.stdout == ''
    assert len(lines) == 1 and 'damaged.tif cannot be read' in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ['damaged.tif']


def test_presets_are_listed_with_their_licences(capsys):
    assert main(['map', 'presets']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith('preset:pdok ') and 'CC BY 4.0' in line for line in lines)
    assert main(['map', 'presets', '--json']) == 0
    assert json.loads(capsys.readouterr().out)['naip']['licence'] == 'public domain'


@pytest.mark.parametrize('job', ['build', 'info', 'show', 'embed', 'presets'])
def test_help_has_an_example(job, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(['map', job, '--help'])
    assert leaving.value.code == 0
    assert f'justzoom map {job} ' in capsys.readouterr().out.split('example', 1)[1]


@pytest.mark.parametrize(
    ('crs', 'said'),
    [
        ('EPSG:32617', 'EPSG:32617'),
        (CRS.from_epsg(32617).to_wkt(), 'WGS 84 / UTM zone 17N'),
        (CRS.from_proj4('+proj=aeqd +lat_0=1 +lon_0=2').to_wkt(), 'Azimuthal Equidistant'),
        ('something ' * 9, 'something something something something  ...'),
    ],
)
def test_a_projection_is_told_in_a_few_words(crs, said):
    assert _short_crs(crs) == said
