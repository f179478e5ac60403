"""Names of coordinate reference systems that are damaged, unknown or wrong: one line that names
the file and says what to do."""

import shutil
import struct

import numpy as np
import pytest
from imagery import CENTER, UTM, grid_round, write_raster
from PIL import Image
from pyproj import CRS
from tiny import make_map

from justzoom_ros.cli.main import main

SIDE_PX = 64
PLACE = grid_round(CENTER, size_px=SIDE_PX)
WKT = CRS.from_user_input(UTM).to_wkt('WKT1_GDAL')
NO_NAME = 'no coordinate reference system, or none whose name is known'
NAMES = [
    ('EPSG:999999', NO_NAME),
    ('somewhere nice', NO_NAME),
    ('', NO_NAME),
    ('+proj=utm +zone=99', NO_NAME),
    (WKT[:200], NO_NAME),
    (WKT.replace('Transverse_Mercator', 'Upside_Down'), 'cannot be turned into latitude'),
    ('IAU_2015:49900', "'Mars (2015) - Sphere / Ocentric', which cannot be turned into"),
    ('LOCAL_CS["site",UNIT["metre",1]]', "'site', which is neither latitude"),
    ('EPSG:4978', 'which is neither latitude'),
    ('EPSG:5703', 'which is neither latitude'),
    ('EPSG:4326', "not the degrees of 'WGS 84'"),  # its numbers are metres
]
TILE_MAP = """<TileMap version="1.0.0"><SRS>{srs}</SRS><Origin x="0" y="0"/>
<TileFormat width="256" height="256" extension="png"/><TileSets profile="{profile}">
<TileSet href="1" units-per-pixel="0.3515625" order="1"/></TileSets></TileMap>"""


@pytest.fixture(scope='module')
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, SIDE_PX, SIDE_PX), np.uint8)


@pytest.fixture(scope='module')
def whole_map(tmp_path_factory):
    """A map folder, not to be changed."""
    return make_map(tmp_path_factory.mktemp('whole')).path


def map_yaml(whole_map, folder):
    """The map.yaml of a copy of the map."""
    return shutil.copytree(whole_map, folder / 'map') / 'map.yaml'


def refused(capsys, *arguments):
    """The one line that a command ends with."""
    assert main([str(word) for word in arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1 and said.startswith('justzoom: error: ')
    return said


def picture_with(folder, pixels, srs):
    """A PNG whose side files give a place and the name of a reference system."""
    path = folder / 'photo.png'
    Image.fromarray(pixels.transpose(1, 2, 0)).save(path)
    numbers = (PLACE.a, PLACE.d, PLACE.b, PLACE.e, PLACE.c, PLACE.f)
    path.with_suffix('.pgw').write_text('\n'.join(map(str, numbers)))
    escaped = srs.replace('"', '&quot;')
    side = f'<PAMDataset><SRS>{escaped}</SRS></PAMDataset>'
    path.with_name('photo.png.aux.xml').write_text(side)
    return path


@pytest.mark.parametrize(('srs', 'what'), NAMES)
def test_a_raster_in_no_system_that_is_known_says_how_to_give_it_one(
    pixels, tmp_path, capsys, srs, what
):
    path = picture_with(tmp_path, pixels, srs)
    said = refused(capsys, 'map', 'build', path, '-o', tmp_path / 'map')
    assert f'{path} has' in said and what in said and 'gdal_edit.py -a_srs' in said
    assert len(said) < 500 and not (tmp_path / 'map').exists()


def test_a_raster_in_a_compound_system_is_used(pixels, tmp_path):
    path = picture_with(tmp_path, pixels, f'{UTM}+5703')
    arguments = ['map', 'build', path, '--depth', '1', '--crop-px', '16', '-o', tmp_path / 'map']
    assert main([str(word) for word in arguments]) == 0


@pytest.mark.parametrize('code', [0, 4978, 32767, 60000])
def test_a_geotiff_with_a_damaged_code_says_so(pixels, tmp_path, capsys, code):
    path = write_raster(tmp_path / 'a.tif', pixels, PLACE)
    data, key = path.read_bytes(), struct.pack('<HHHH', 3072, 0, 1, 32617)
    assert data.count(key) == 1
    path.write_bytes(data.replace(key, key[:6] + struct.pack('<H', code)))
    said = refused(capsys, 'map', 'build', path, '-o', tmp_path / 'map')
    assert f'{path} has' in said and 'gdal_edit.py -a_srs' in said and '$schema' not in said


def test_heights_and_layers_in_no_known_system_are_refused_alike(
    pixels, whole_map, tmp_path, capsys
):
    path = picture_with(tmp_path, pixels, 'EPSG:999999')
    dem = ['--dem', path, '--std', '1']
    assert NO_NAME in refused(capsys, 'map', 'terrain', whole_map, *dem)
    layer = ['--also', path, '--as', 'winter', '-o', whole_map]
    assert NO_NAME in refused(capsys, 'map', 'build', *layer)


@pytest.mark.parametrize('name', ['EPSG:999999', 'words', '5', '[1, 2]', 'null', '{a: b}'])
def test_a_layout_with_an_unknown_system_says_which_is_usual(pixels, tmp_path, capsys, name):
    layout = tmp_path / 'layout.yaml'
    layout.write_text(f'crs: {name}\nsize_crs: [10, 10]\npath: "{{zoom}}/{{x}}/{{y}}.png"\n')
    said = refused(capsys, 'map', 'build', tmp_path, '-o', tmp_path / 'map')
    assert str(layout) in said and "is not known; most tiles are in 'EPSG:3857'" in said


@pytest.mark.parametrize(
    ('profile', 'srs'),
    [('mercator', 'EPSG:2154'), ('mercator', 'EPSG:38'), ('geodetic', 'EPSG:3857'), ('', '')],
)
def test_a_tile_map_in_another_system_than_its_profile_is_refused(tmp_path, capsys, profile, srs):
    path = tmp_path / 'tilemapresource.xml'
    path.write_text(TILE_MAP.format(srs=srs, profile=profile))
    said = refused(capsys, 'map', 'build', tmp_path, '-o', tmp_path / 'map')
    assert f'{path} has tiles' in said and 'write a layout.yaml' in said


@pytest.mark.parametrize(
    ('old', 'new', 'what'),
    [
        ('source_crs: EPSG', 'source_crs: 5 #', 'source_crs is 5'),
        ('source_crs: EPSG', 'source_crs: [a] #', "source_crs is ['a']"),
        ('source_crs: EPSG', 'source_crs: "\0" #', 'cannot be read'),
        ('plane: wgs84', 'plane: EPSG:999999', "plane is 'EPSG:999999'"),
        ('plane: wgs84', 'plane: null', 'plane is None'),
        ('crop_px: 16', 'crop_px: many', "crop_px is 'many'"),
        ('crop_px: 16', 'crop_px: 0', 'crop_px is 0'),
    ],
)
def test_a_map_yaml_with_a_wrong_value_says_to_build_the_map_again(
    whole_map, tmp_path, capsys, old, new, what
):
    path = map_yaml(whole_map, tmp_path)
    text = path.read_text()
    text = text.replace('source_crs: ', 'source_crs: EPSG') if 'EPSG' in old else text
    assert old in text
    path.write_text(text.replace(old, new))
    said = refused(capsys, 'map', 'info', path.parent)
    assert str(path) in said and what in said and 'build the map again' in said


def test_a_map_whose_source_was_in_an_unknown_system_is_used(whole_map, tmp_path, capsys):
    """It is told to people alone: the map is in a plane of its own."""
    path = map_yaml(whole_map, tmp_path)
    lines = path.read_text().split('source_crs: ')
    path.write_text(lines[0] + 'source_crs: words\n' + lines[1][lines[1].index('stretch') :])
    assert main(['map', 'info', str(path.parent)]) == 0
    assert '(words)' in capsys.readouterr().out
