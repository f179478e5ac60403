"""What the command line says of input that is wrong: the right reason, and whose help to ask."""

import pytest
from imagery import CENTER, texture, write_raster
from rasterio.transform import Affine

from justzoom_ros.cli import topic_names
from justzoom_ros.cli.main import COMMANDS, build_parser, main
from justzoom_ros.errors import ConfigError
from justzoom_ros.maps import build as builder
from justzoom_ros.maps.build import build
from justzoom_ros.region import Region


def refused(capsys, *arguments):
    """The one line that a refused command says."""
    with pytest.raises(SystemExit) as leaving:
        main(list(arguments))
    assert leaving.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(('arguments', 'command'), [
    (['map', 'build', 'a.tif', '-o', 'b', '--nonsense'], 'justzoom map build'),
    (['map', 'info', 'a', '--nonsense'], 'justzoom map info'),
    (['localize', 'a.jpg', '--map', 'b', '--nonsense', '3'], 'justzoom localize'),
    (['replay', 'train', '--map', 'b', '-o', 'c', '--nonsense'], 'justzoom replay'),
])  # fmt: skip
def test_what_is_unknown_is_told_by_the_command_it_was_given_to(capsys, arguments, command):
    line = refused(capsys, *arguments)
    assert line.startswith(f'{command}: error: unrecognized arguments: --nonsense')
    assert line.endswith(f'(see {command} --help)')


@pytest.mark.parametrize('command', COMMANDS)
def test_no_help_shows_how_percent_signs_are_written(command):
    assert '%%' not in build_parser().command([command]).format_help()


def test_imagery_of_half_a_continent_asks_for_a_part_of_it(tmp_path, capsys):
    step = 32.0 / 400  # degrees: 3,600 km from south to north
    transform = Affine(step, 0, CENTER[1] - 16, 0, -step, CENTER[0] + 16)
    write_raster(tmp_path / 'a.tif', texture(400), transform, 'EPSG:4326')
    assert main(['map', 'build', str(tmp_path / 'a.tif'), '-o', str(tmp_path / 'map')]) == 2
    said = capsys.readouterr().err
    assert 'a.tif can be no map' in said and '--center LAT LON --side M' in said


def test_a_map_that_does_not_fit_into_memory_is_refused_before_it_is_begun(tmp_path, monkeypatch):
    transform = Affine(1e-5, 0, CENTER[1] - 1e-3, 0, -1e-5, CENTER[0] + 1e-3)
    source = write_raster(tmp_path / 'a.tif', texture(200), transform, 'EPSG:4326')
    region = Region(*CENTER, 100.0, grid=4, depth=2)
    monkeypatch.setattr(builder, '_free_memory_bytes', lambda: 50_000)
    # 16 cells of 8 pixels are 128: 128 * 128 * 16 / 3 bytes are 87 kB.
    with pytest.raises(ConfigError, match='128 pixels along a side and take 0.0 GB'):
        build(source, region, tmp_path / 'map', resolution_m=100 / 128)
    monkeypatch.setattr(builder, '_free_memory_bytes', lambda: 90_000)
    build(source, region, tmp_path / 'map', resolution_m=100 / 128)


@pytest.mark.parametrize('name', ['my topic', '/a//b', '/1st', 'a/', '', '/a-b', 'a:b'])
def test_topic_names_that_are_none_are_refused(name):
    with pytest.raises(ConfigError, match='no name of a topic'):
        topic_names.check_topics('/fine/image_raw', name)


def test_topic_names_of_every_form_are_taken():
    topic_names.check_topics('image', '/image', '~/image', '/a/b_c/image_raw2', '_hidden')
