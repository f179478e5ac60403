"""The tables "you have ..." of docs/map.md: each row is run, or names the test that does."""

import re
import shlex

import numpy as np
import pytest
from colcon_support import REPO
from imagery import CENTER
from map_servers import REGION
from quick import quick_first

from justzoom_ros import SatelliteMap
from justzoom_ros.cli.main import main
from justzoom_ros.maps.servers.presets import PRESETS, Preset

DOC = (REPO / 'docs' / 'map.md').read_text()
MORE = {'an item of a STAC catalogue': ['--asset', 'visual']}
"""Options that a row names besides the address."""

REFUSED = {'a WMS whose layers you do not know': 'ortho, roads'}
"""Rows that are no map, and what is answered."""

LOCAL = {
    'a GeoTIFF, COG or VRT in any projection, rotated or not': 'test_a_landmark_is_where_it_should'
    '_be',
    'several GeoTIFFs': 'test_a_vrt_in_another_folder_is_read',
    'an orthomosaic of OpenDroneMap, Metashape, Pix4D': 'test_real_crops_agree_with_a_direct_warp',
    'a layer in QGIS': 'test_one_to_four_bands',
    'tiles `{z}/{x}/{y}.png` (also jpg, jpeg, webp)': 'test_tiles_of_every_kind',
    'the published dataset': 'test_tiledwebmaps_folders_agree_with_tiledwebmaps',
    'tiles counted from the south (TMS)': 'test_tms_tiles_are_where_their_tilemapresource_says',
    'a paletted GeoTIFF': 'test_sources_that_cannot_be_used_are_refused_by_name',
    'no file, but a server': 'test_each_row_of_a_server_is_a_map',
}


def rows(header):
    """(first, second column) of the table under a header."""
    table = DOC.split(f'| you have | {header} |\n|---|---|\n')[1].split('\n\n')[0]
    cells = [re.split(r'(?<!\\)\|', line)[1:3] for line in table.splitlines()]
    return [(have.strip(), give.strip()) for have, give in cells]


@pytest.mark.parametrize(
    ('have', 'give'), quick_first(4, rows('give')), ids=lambda text: text[:40]
)
def test_each_row_of_a_server_is_a_map(server, tmp_path, monkeypatch, capsys, have, give):
    monkeypatch.setenv('MY_KEY', 'sesame')
    monkeypatch.setattr(PRESETS, 'entries', dict(PRESETS.entries))
    here = server.url.removeprefix('http://')
    tiles = f'{server.url}/xyz/{{z}}/{{x}}/{{y}}.png'
    PRESETS.entries['pdok'] = Preset('here', tiles, 'Here', 'CC0', 'https://a.org', 18)
    (source,) = shlex.split(re.findall('`([^`]+)`', give)[0])
    source = source.replace('{switch:a,b}.example.org', '{switch:127.0.0.1,localhost}:PORT')
    source = source.replace('https:', 'http:').replace('tiles.example.org', here)
    source = source.replace('PORT', here.split(':')[1])
    place = ['--around', *map(str, CENTER), '--side', '128', '--depth', '2', '--crop-px', '24']
    place += ['--attribution', 'x', '--cache', str(tmp_path / 'cache'), *MORE.get(have, [])]
    status = main(['map', 'build', source, *place, '-o', str(tmp_path / 'map')])
    if have in REFUSED:
        assert status == 2 and REFUSED[have] in capsys.readouterr().err
        return
    assert status == 0
    built = SatelliteMap.open(tmp_path / 'map')
    assert built.mask.all() and built.region == REGION
    direct = SatelliteMap.build(server.raster, REGION, tmp_path / 'direct', crop_px=24)
    assert np.abs(built.pixels.astype(float) - direct.pixels).mean() < 2


def test_each_row_of_a_file_names_a_test_that_is_there():
    tests = '\n'.join(path.read_text() for path in (REPO / 'test').glob('test_*.py'))
    assert {have for have, _ in rows('do')} == set(LOCAL)
    assert [name for name in LOCAL.values() if f'def {name}(' not in tests] == []
