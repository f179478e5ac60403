"""Servers that fail, lie or want a key: one clear line each, and never the key."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from imagery import CENTER
from map_servers import PAGE, REGION, address, build, encode, slowly

from justzoom_ros import Region, SatelliteMap
from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError, JustZoomError, MapError, OutputError
from justzoom_ros.maps.servers.address import read_address

ILL = {
    'nothing there': ((404, 'text/html', b'', {}), 'no tile in the middle of the region'),
    'a page instead': ((200, 'image/png', PAGE, {}), 'not answer with a picture but with a page'),
    'a document': ((200, 'text/html', b'<!DOCTYPE html><p>Log in, please</p>', {}), 'with a page'),
    'half a picture': ((200, 'image/png', b'\x89PNG\r\n\x1a\n' + bytes(99), {}), 'part of one'),
    'nothing at all': ((200, 'image/png', b'', {}), 'answered with nothing'),
    'no rights': ((401, 'text/html', b'', {}), r'answered 401.*\$\{MY_KEY\}.*--header-file'),
    'a broken server': ((500, 'text/html', b'', {}), 'answered 500'),
    'too often': ((429, 'text/html', b'', {}), 'answered 429.*too often'),
    'small tiles': ((200, 'image/png', encode(np.zeros((512, 512, 4), np.uint8), 'png'), {}),
                    'tiles of 512 pixels; give --tile-px 512'),
}  # fmt: skip


@pytest.mark.parametrize('ill', ILL)
def test_what_is_wrong_with_a_server_is_told(server, tmp_path, ill):
    answer, message = ILL[ill]
    server.ill = lambda path, times: answer
    with pytest.raises(MapError, match=f'^http.*{message}'):
        build(address(server, 'tiles'), tmp_path, retries=1)


def test_redirects_in_a_circle_end(server, tmp_path):
    server.ill = lambda path, times: (302, 'text/html', b'', {'Location': path})
    for kind in ('tiles', 'STAC item'):
        with pytest.raises(MapError, match='redirects in a circle'):
            build(address(server, kind), tmp_path)
    assert len(server.requests) < 30


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_waited_for_so_long(server, tmp_path):
    told = Event()
    server.ill = lambda path, times: told.wait(60) and None
    with pytest.raises(MapError, match='did not answer within 0.2 s'):
        build(address(server, 'tiles'), tmp_path, retries=0, timeout_s=0.2)
    told.set()


@pytest.mark.parametrize(
    'text', ['{z}/{x}/{y}.png', 'wms?layers=a', 'a.tif', 'WMTSCapabilities.xml', 'item.json']
)
def test_a_server_that_is_not_there_is_told(tmp_path, text):
    with pytest.raises(MapError, match='^http://127.0.0.1:9/.* cannot be reached'):
        build(f'http://127.0.0.1:9/{text}', tmp_path, retries=0)
    with pytest.raises(MapError, match='^http://no.invalid/.* has a name that cannot be resolved'):
        build(f'http://no.invalid/{text}', tmp_path)
    assert not (tmp_path / 'map').exists()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{url}/wms', 'several layers.*&layers=NAME.*ortho, roads'),
        ('{url}/wms?service=WMS', 'several layers.*ortho, roads'),
        ('{url}/wms?layers=nothing', 'refuses the request: no such layer'),
        ('{url}/wms?layers=ortho&crs=EPSG:25832', 'refuses the request: EPSG:25832 is not offer'),
        ('{url}/wmts/two.xml?service=WMTS', 'several layers.*,layer=NAME.*ortho, roads'),
        ('{url}/files/nothing.tif', 'answered 404'),
        ('{url}/stac/collection.json', 'not an item of a STAC catalogue but a Collection'),
        ('STAC:{url}/files/ortho.tif', 'not an item of a STAC catalogue but no JSON'),
    ],
)
def test_what_a_server_does_not_have_is_told(server, tmp_path, text, message):
    with pytest.raises(MapError, match=message):
        build(text.format(url=server.url), tmp_path)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('http://a/{z}/{x}.png', 'must have each of {z}, {x} and {y}'),
        ('http://a/{s}/{z}/{x}/{y}.png', r'has {s}, which is not known.*{switch:a,b,c}'),
        ('http://a/{z}/{x}/{y}.png?key=${NOT_SET_ANYWHERE}', 'no such environment variable'),
        ('http://a/wms?layers=b&crs=EPSG:99', 'asks for the projection EPSG:99, which is none'),
    ],
)
def test_an_address_that_is_none_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        build(text, tmp_path)


def test_assets_are_chosen_by_name(server, ortho, tmp_path):
    source = f'{server.url}/stac/other.json'
    assert build(source, tmp_path).mask.all()  # one of its two assets is a raster
    with pytest.raises(MapError, match="no asset 'red'; choose one with --asset: ortho"):
        build(source, tmp_path, 'b', asset='red')


def test_a_place_that_a_raster_does_not_show_is_told(server, tmp_path):
    away = Region(45.0, 9.0, 128.0, grid=4, depth=2)
    with pytest.raises(MapError, match='^http.* does not overlap the region'):
        build(address(server, 'COG'), tmp_path, region=away)
    server.max_zoom = 0
    with pytest.raises(MapError, match='no tile in the middle of the region, 45.0'):
        build(address(server, 'tiles'), tmp_path, region=away)
    with pytest.raises(MapError, match='has no imagery within the region: each of its'):
        build(address(server, 'tiles'), tmp_path, region=away, max_zoom=18)


def test_imagery_of_a_server_needs_to_be_credited(server, tmp_path):
    with pytest.raises(ConfigError, match='is a server.*--attribution'):
        SatelliteMap.build(address(server, 'tiles'), REGION, tmp_path / 'map', attribution=' ')
    assert server.requests == []


@pytest.mark.parametrize('kind', ['tiles', 'COG'])
def test_a_cache_that_cannot_be_written_to_is_told(server, tmp_path, kind):
    with pytest.raises(OutputError, match='^/proc/cache/.* cannot be written: .*--cache'):
        build(address(server, kind), tmp_path, cache=Path('/proc/cache'))


@pytest.mark.slow
def test_tiles_that_were_damaged_since_are_told_and_asked_for_again(server, tmp_path):
    first = build(address(server, 'tiles'), tmp_path)
    for path in (tmp_path / 'cache').rglob('*.tif'):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MapError, match='what is kept of http.* is damaged .*--refresh'):
        build(address(server, 'tiles'), tmp_path, 'b')
    again = build(address(server, 'tiles'), tmp_path, 'b', refresh=True)
    np.testing.assert_array_equal(again.pixels, first.pixels)


# --- credentials -------------------------------------------------------------------------------


def secret_places(folder):
    """Files in which one of the secrets of the tests is found."""
    words = (b'sesame', b'signature-9876', b'password-12')
    files = [path for path in folder.rglob('*') if path.is_file() and path.name != 'headers.txt']
    return [path for path in files if any(word in path.read_bytes() for word in words)]


def test_credentials_are_sent_and_neither_kept_nor_shown(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv('MY_KEY', 'sesame-1234')
    (tmp_path / 'headers.txt').write_text('Authorization: Bearer sesame-5678\nX-Extra: sesame-9\n')
    said = []
    source = f'{address(server, "tiles")}?key=${{MY_KEY}}&token=sesame-literal'
    built = build(
        source, tmp_path, header_file=tmp_path / 'headers.txt', say=said.append,
    )  # fmt: skip
    for _, path, headers in server.requests:
        assert 'key=sesame-1234&token=sesame-literal' in path
        assert (
            headers['Authorization'] == 'Bearer sesame-5678' and headers['X-Extra'] == 'sesame-9'
        )
    assert built.info.source.endswith('?key=${MY_KEY}&token=***')
    assert secret_places(tmp_path) == [] and 'sesame' not in ''.join(said) + caplog.text


@pytest.mark.parametrize('kind', ['tiles', 'WMS', 'WMTS', 'COG', 'STAC item'])
@pytest.mark.parametrize('status', [200, 403, 503])
def test_errors_show_no_credentials(server, tmp_path, monkeypatch, caplog, kind, status):
    caplog.set_level('DEBUG')
    monkeypatch.setenv('MY_KEY', 'sesame-1234')
    source = address(server, kind)
    source += ('&' if '?' in source else '?') + 'key=${MY_KEY}&pass=password-12'
    server.ill = lambda path, times: (status, 'text/html', f'<b>{path}</b>'.encode(), {})
    said = []
    with pytest.raises(JustZoomError) as caught:
        build(source, tmp_path, retries=1, say=said.append)
    shown = str(caught.value) + ''.join(said) + caplog.text
    assert 'sesame' not in shown and 'password-12' not in shown
    assert status == 200 or f'answered {status}' in str(caught.value)
    assert secret_places(tmp_path) == []


@pytest.mark.parametrize('elsewhere', [False, True])
def test_headers_are_not_sent_to_where_somebody_elses_item_points(server, tmp_path, elsewhere):
    (tmp_path / 'headers.txt').write_text('X-Key: sesame-5678\n')
    other = server.url.replace('127.0.0.1', 'localhost') if elsewhere else server.url
    link = f'{other}/files/{server.raster.name}'
    item = {'assets': {'visual': {'href': link, 'type': 'image/tiff'}}}
    server.ill = lambda path, times: (
        (200, 'a/b', json.dumps(item).encode(), {}) if 'stac' in path else None
    )
    built = build(f'{server.url}/stac/a.json', tmp_path, header_file=tmp_path / 'headers.txt')
    sent = {path: headers.get('X-Key') for _, path, headers in server.requests}
    assert built.mask.all() and sent['/stac/a.json'] == 'sesame-5678'
    assert sent[f'/files/{server.raster.name}'] == (None if elsewhere else 'sesame-5678')


def test_an_item_on_a_server_cannot_point_to_files_of_this_machine(server, tmp_path):
    item = {'assets': {'visual': {'href': f'file://{server.raster}', 'type': 'image/tiff'}}}
    server.ill = lambda path, times: (200, 'a/b', json.dumps(item).encode(), {})
    with pytest.raises(MapError, match='points to file:.* not on a server'):
        build(f'{server.url}/stac/a.json', tmp_path)


def test_passwords_in_addresses_are_hidden():
    text = read_address('https://me:password-12@a.org/{z}/{x}/{y}.png?k=sesame&layers=a')
    assert text.shown == 'https://***@a.org/{z}/{x}/{y}.png?k=***&layers=a'
    assert 'password-12' not in repr(text) and 'sesame' not in repr(text)
    assert text.scrub('GET https://me:password-12@a.org/1/2/3.png?k=sesame failed') == (
        'GET https://***@a.org/1/2/3.png?k=*** failed'
    )


@pytest.mark.parametrize(
    ('content', 'message'),
    [(None, 'cannot be read: No such file'), ('sesame', 'line 1 is no header')],
)
def test_a_file_of_headers_that_is_none_is_told(tmp_path, content, message):
    path = tmp_path / 'headers.txt'
    if content:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        build('http://a/{z}/{x}/{y}.png', tmp_path, header_file=path)
    assert 'sesame' not in str(caught.value)


# --- the command line --------------------------------------------------------------------------


def command(source, tmp_path, *more):
    """The words of a command that builds a map from a server."""
    place = ['--around', *map(str, CENTER), '--side', '128', '--depth', '2', '--crop-px', '24']
    kept = ['--cache', str(tmp_path / 'cache'), '-o', str(tmp_path / 'map')]
    return ['map', 'build', source, *place, *kept, '--attribution', 'Test, CC0', *more]


def test_the_command_tells_tiles_and_bytes_on_stderr(server, tmp_path, capsys):
    assert main(command(address(server, 'tiles'), tmp_path, '--json')) == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out)['attribution'] == 'Test, CC0'
    assert ' more to fetch, about 0.' in streams.err and 'tiles: 100%' in streams.err
    assert ' MB]' in streams.err  # the bar


@pytest.mark.slow
def test_a_failure_prints_one_line_in_a_process_of_its_own(server, tmp_path):
    """What GDAL and rasterio log must not reach the terminal either."""
    server.ill = lambda path, times: (503, 'text/html', b'', {})
    words = command(address(server, 'COG') + '?key=sesame', tmp_path, '--retries', '1')
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, '-m', 'justzoom_ros.cli.main', *words],
        capture_output=True, text=True, timeout=300, env=environment,
    )  # fmt: skip
    told, error = done.stderr.splitlines()
    assert done.returncode == 2 and done.stdout == '' and 'sesame' not in done.stderr
    assert 'Retrying again in' in told and error.startswith('justzoom: error: http://127')


def test_a_server_is_not_asked_without_attribution_or_place(server, tmp_path, capsys):
    words = command(address(server, 'tiles'), tmp_path)
    assert main(words[:-2]) == 2 and '--attribution' in capsys.readouterr().err
    assert main([*words[:3], *words[8:]]) == 2 and '--around LAT LON' in capsys.readouterr().err
    assert server.requests == []


@pytest.mark.slow
def test_a_build_that_is_interrupted_ends_at_once_and_keeps_what_came(server, tmp_path):
    server.ill = slowly(0.3)
    words = command(address(server, 'tiles'), tmp_path, '--resolution', '0.25')
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, '-m', 'justzoom_ros.cli.main', *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    while len(server.requests) < 5:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130 and told.splitlines()[-1] == 'justzoom: interrupted'
    assert 'Traceback' not in told and not (tmp_path / 'map').exists()
    assert len(list((tmp_path / 'cache').rglob('*.tif'))) >= 2
