"""Maps from servers, which run on loopback: every kind against a warp of what it shows."""

import re
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import rasterio
from imagery import CENTER, UTM, grid_round, write_raster
from map_servers import (
    CREDIT,
    KINDS,
    PAGE,
    REGION,
    address,
    build,
    open_server,
    slowly,
    smooth,
)
from quick import quick_first
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject

from justzoom_ros import Region, SatelliteMap
from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.maps.build import credit, enclosing_region
from justzoom_ros.maps.servers.address import read_address
from justzoom_ros.maps.servers.options import ServerOptions
from justzoom_ros.maps.servers.presets import PRESETS, Preset
from justzoom_ros.maps.servers.services import Kind, describe
from justzoom_ros.maps.source import open_source


@pytest.fixture(scope='module')
def expected(ortho):
    """The map of 96 pixels along a side, warped from the raster itself."""
    result = np.zeros((3, 96, 96), np.float32)
    pixel, half = 128 / 96, 64
    with rasterio.open(ortho) as file:
        reproject(
            file.read().astype(np.float32), result,
            src_transform=file.transform, src_crs=UTM,
            dst_transform=Affine(pixel, 0, -half, 0, -pixel, half), dst_crs=REGION.crs.to_wkt(),
            resampling=Resampling.average,
        )  # fmt: skip
    return result.transpose(1, 2, 0)


def shift_px(shown, expected):
    """By how many pixels, along columns and rows, what is shown has moved; least squares."""
    rows, columns = np.gradient(expected, axis=(0, 1))
    slopes = np.stack([columns.ravel(), rows.ravel()], axis=1)
    return np.linalg.lstsq(slopes, (shown - expected).ravel(), rcond=None)[0]


FIRST = ('tiles', 'WMS', 'WMTS', 'COG', 'STAC item')


@pytest.mark.parametrize('kind', quick_first(5, dict.fromkeys([*FIRST, *KINDS])))
def test_a_map_shows_what_the_server_shows(server, expected, tmp_path, kind):
    server.max_zoom = 18
    built = build(address(server, kind), tmp_path)
    assert built.info.side_px == 96 and built.mask.all()
    assert np.abs(built.pixels - expected).mean() < 1.6  # JPEG alone takes 1.4
    assert np.abs(shift_px(built.pixels, expected)).max() < 0.02
    assert built.attribution == CREDIT and built.info.source == address(server, kind)


# --- politeness --------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', quick_first(1, FIRST))
def test_a_second_build_needs_no_network(server, tmp_path, kind):
    first = build(address(server, kind), tmp_path)
    asked, said = len(server.requests), []
    server.ill = lambda path, times: (500, 'text/html', b'', {})
    second = build(address(server, kind), tmp_path, 'again', say=said.append)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert len(server.requests) == asked and 'all of them are kept already' in said[0]


def test_neighbouring_maps_share_their_tiles(server, tmp_path):
    build(address(server, 'tiles'), tmp_path)
    before = {path for _, path, _ in server.requests}
    east = Region(CENTER[0], CENTER[1] + 0.0015, 128.0, grid=4, depth=2)  # 126 m
    build(address(server, 'tiles'), tmp_path, 'east', region=east)
    assert max(server.times.values()) == 1 and len(server.times) > len(before)


def test_tiles_are_asked_for_again_when_that_is_wanted(server, tmp_path):
    build(address(server, 'tiles'), tmp_path)
    build(address(server, 'tiles'), tmp_path, 'again', refresh=True)
    assert set(server.times.values()) == {2}


@pytest.mark.slow
def test_a_server_is_asked_once_per_tile_by_few_connections_that_say_who_they_are(
    server, tmp_path
):
    server.ill = slowly(0.02)
    build(address(server, 'tiles'), tmp_path, resolution_m=0.25)
    assert max(server.times.values()) == 1 and 1 < server.most_open <= 2
    assert all(h['User-Agent'].startswith('justzoom_ros/') for _, _, h in server.requests)
    assert {method for method, _, _ in server.requests} == {'GET'}


def test_a_busy_server_is_given_time(server, tmp_path):
    """Each tile is refused twice, in every way in which servers do so."""
    answers = [(429, 'text/plain', b'slow down', {'Retry-After': '1'}), (503, 'a/b', b'', {}),
               (200, 'image/png', PAGE, {}), (200, 'image/png', b'', {})]  # fmt: skip

    def ill(path, times):
        return answers[(sum(path.encode()) + times) % 4] if times < 3 else None

    server.ill, said = ill, []
    built = build(address(server, 'tiles'), tmp_path, say=said.append)
    assert built.mask.all() and set(server.times.values()) == {3}
    waits = [line.rsplit(' in ', 1)[1] for line in said if 'asking again' in line]
    assert set(waits) == {'0.01 s', '0.02 s'}  # doubled


@pytest.mark.slow
def test_a_build_that_was_stopped_goes_on_where_it_was(server, tmp_path):
    def ill(path, times):
        return (403, 'text/html', b'quota', {}) if len(server.requests) == 7 else None

    server.ill = ill
    with pytest.raises(MapError, match='answered 403'):
        build(address(server, 'tiles'), tmp_path, resolution_m=0.25)
    assert [path.name for path in tmp_path.iterdir()] == ['cache']
    build(address(server, 'tiles'), tmp_path, resolution_m=0.25)
    assert sorted(server.times.values())[-3:] == [1, 1, 2]  # the refused one alone


@pytest.mark.slow
def test_tiles_and_bytes_are_told_before_they_are_fetched(server, tmp_path):
    said = []
    build(address(server, 'tiles, jpeg'), tmp_path, resolution_m=0.25, say=said.append)
    count, about = said[0].split(' tiles of ')[0], said[0].split('about ')[1].split(' MB')[0]
    kept = [p for p in (tmp_path / 'cache').rglob('*.tif') if p.stat().st_size]
    fetched = [len(server.tile(path.strip('/').split('/'))[2]) for path in server.times]
    assert abs(int(count) - len(kept)) <= 1  # and one that was tried at a finer zoom
    assert float(about) == pytest.approx(sum(fetched) / 1e6, rel=0.5, abs=0.1)


@pytest.mark.slow
def test_more_tiles_or_bytes_than_allowed_are_refused(server, tmp_path):
    source = address(server, 'tiles')
    with pytest.raises(ConfigError, match=r'needs \d+ tiles .* and 3 are allowed.*--max-tiles'):
        build(source, tmp_path, max_tiles=3, resolution_m=0.25)
    assert len(server.requests) == 1  # to find the finest zoom
    with pytest.raises(ConfigError, match=r'tiles of .* are about .* MB are allowed.*--max-mb'):
        build(source, tmp_path, max_mb=0.1, resolution_m=0.25)
    assert len(server.requests) <= 3
    build(source, tmp_path, resolution_m=0.25)
    asked = len(server.requests)
    build(source, tmp_path, 'again', max_tiles=3, max_mb=0.1, resolution_m=0.25)
    assert len(server.requests) == asked  # what is kept already costs nothing


# --- what a server has -------------------------------------------------------------------------


def test_the_finest_zoom_that_has_imagery_is_found(server, tmp_path):
    server.max_zoom = 16
    with open_server(address(server, 'tiles'), tmp_path) as source:
        # 2 pi R cos(latitude) / 256 / 2^16
        assert source.resolution_m(REGION) == pytest.approx(1.802, rel=2e-3)
    zooms = [path.split('/')[2] for _, path, _ in server.requests]
    assert zooms == ['19', '18', '17', '16']
    with open_server(address(server, 'tiles'), tmp_path, max_zoom=20) as source:
        assert source.resolution_m(REGION) == pytest.approx(1.802 / 16, rel=2e-3)


def test_tiles_that_are_not_there_are_no_imagery(server, tmp_path):
    west = Region(CENTER[0], CENTER[1] - 0.0024, 128.0, grid=4, depth=2)  # 202 m
    built = build(address(server, 'tiles'), tmp_path, region=west, max_zoom=19)
    half = 0.5 + (202 - 200) / 128  # the raster is 400 m wide
    assert built.info.coverage == pytest.approx(1 - half, abs=0.05)
    assert not built.mask[:, :40].any() and built.mask[:, 60:].all()


@pytest.mark.slow
def test_values_of_16_bit_are_stretched_as_those_of_a_file(server, ortho, tmp_path):
    deep = smooth().astype(np.uint16) * 40 + 500
    write_raster(ortho.with_name('deep.tif'), deep, grid_round(CENTER), nodata=0)
    kept = build(f'{server.url}/files/deep.tif', tmp_path)
    local = SatelliteMap.build(ortho.with_name('deep.tif'), REGION, tmp_path / 'b', crop_px=24)
    for (low, high), (local_low, local_high) in zip(
        kept.info.stretch, local.info.stretch, strict=True
    ):
        assert low == pytest.approx(local_low, rel=0.02)
        assert high == pytest.approx(local_high, rel=0.02)
    assert np.abs(kept.pixels.astype(float) - local.pixels).mean() < 2


def test_without_a_place_a_raster_is_taken_whole(server, ortho, tmp_path):
    with open_server(address(server, 'COG'), tmp_path) as far, open_source(ortho) as near:
        assert enclosing_region(far) == enclosing_region(near)
    with (
        open_server(address(server, 'tiles'), tmp_path) as source,
        pytest.raises(ConfigError, match='whole earth.*--around LAT LON --side M'),
    ):
        enclosing_region(source)


def test_parameters_of_a_servers_own_are_sent_along(server, tmp_path):
    source = f'{server.url}/wms?map=/srv/a.map&LAYERS=ortho&time=2020-06-01'
    built = build(source, tmp_path)
    asked = [parse_qs(urlsplit(path).query) for _, path, _ in server.requests]
    assert built.mask.all() and built.info.source == source
    assert all((q['map'], q['time']) == (['/srv/a.map'], ['2020-06-01']) for q in asked)


# --- presets -----------------------------------------------------------------------------------


@pytest.mark.parametrize('name', PRESETS.list())
def test_each_preset_is_asked_by_its_address_and_names_its_licence(name):
    preset = PRESETS.get(name)
    service = describe(read_address(preset.address), ServerOptions())
    assert service.kind in (Kind.TILES, Kind.WMS) and urlsplit(preset.terms).scheme == 'https'
    assert preset.licence.startswith(('public domain', 'CC BY 4.0', 'CC0', 'open', 'Licence Ouv'))
    assert credit(f'preset:{name}') == preset.attribution != ''
    assert credit(f'preset:{name}', 'mine') == 'mine'
    assert not re.search(
        'google[.]|bing|esri|arcgisonline|mapbox|maxar|openstreetmap', str(preset)
    )


@pytest.mark.slow
def test_a_preset_is_a_source_by_name(server, tmp_path, monkeypatch):
    monkeypatch.setattr(PRESETS, 'entries', dict(PRESETS.entries))
    tiles = address(server, 'tiles')
    PRESETS.register('here', Preset('the tests', tiles, 'Here, CC0', 'CC0', 'https://a.org', 18))
    options = ServerOptions(cache=tmp_path / 'cache')
    built = SatelliteMap.build(
        'preset:here', REGION, tmp_path / 'map', resolution_m=0.2, server=options
    )
    assert (built.attribution, built.info.source) == ('Here, CC0', tiles)
    assert max(int(path.split('/')[2]) for _, path, _ in server.requests) == 18
    with pytest.raises(MapError, match="'there' is not known; choose of naip, usgs.*here"):
        SatelliteMap.build('preset:there', REGION, tmp_path / 'b')
