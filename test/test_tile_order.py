"""Which tile of a folder lies where: told by metadata, asked for, and checked at the borders."""

import io

import numpy as np
import pytest
import rasterio
from imagery import CENTER, projected
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject

from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.maps.build import build
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.region import Region

REGION = Region(*CENTER, 256.0, grid=4, depth=2)
HALF_M = 20037508.342789244
ZOOM, COUNT = 18, 4

TMS_XML = """<?xml version="1.0" encoding="utf-8"?>
<TileMap version="1.0.0"><Title>ortho</Title><SRS>{srs}</SRS>
<Origin x="0" y="0"/><TileFormat width="256" height="256" extension="png"/>
<TileSets profile="{profile}"><TileSet href="{zoom}" units-per-pixel="{unit}" order="{zoom}"/>
</TileSets></TileMap>"""


@pytest.fixture(scope='module')
def image():
    """uint8 (1024, 1024, 3): smooth shapes, so that pixels on both sides of a border agree."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (24, 24, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((1024, 1024), Image.Resampling.BICUBIC))


@pytest.fixture(scope='module')
def tiles(image):
    """{(column, row): PNG} of the image's tiles."""
    blocks = {(c, r): image[r * 256 :, c * 256 :][:256, :256] for c, r in np.ndindex(COUNT, COUNT)}
    return {place: png(block) for place, block in blocks.items()}


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'PNG', compress_level=1)
    return file.getvalue()


def first_tile():
    """x, y (from the north) of the tile at the north-west of a block round the centre."""
    side = 2 * HALF_M / 2**ZOOM
    x, y = projected('EPSG:3857', *CENTER)
    return round((x + HALF_M) / side - COUNT / 2), round((HALF_M - y) / side - COUNT / 2)


def write(folder, tiles, name):
    """Write the tiles into a folder; `name` gives the path of the tile x, y (from the north)."""
    x0, y0 = first_tile()
    for (column, row), data in tiles.items():
        path = folder / name(x0 + column, y0 + row)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def tms(x, y):
    return f'{ZOOM}/{x}/{2**ZOOM - 1 - y}.png'


def zyx(x, y):
    return f'{ZOOM}/{y}/{x}.png'


def error_of(source, image, tmp_path, **options):
    """Mean difference of the map built from a source to the image warped by GDAL alone."""
    _, pixels, mask = build(source, REGION, tmp_path / 'map', crop_px=32, **options)
    x0, y0 = first_tile()
    size = 2 * HALF_M / 2**ZOOM / 256
    expected = np.zeros((3, *pixels.shape[:2]), np.float32)
    step = REGION.side_m / len(pixels)
    reproject(
        image.transpose(2, 0, 1).astype(np.float32),
        expected,
        src_transform=Affine(
            size, 0, x0 * 256 * size - HALF_M, 0, -size, HALF_M - y0 * 256 * size
        ),
        src_crs='EPSG:3857',
        dst_transform=Affine(step, 0, -REGION.side_m / 2, 0, -step, REGION.side_m / 2),
        dst_crs=REGION.crs.to_wkt(),
        resampling=Resampling.cubic,
    )
    return np.abs(pixels - expected.transpose(1, 2, 0))[mask].mean()


@pytest.mark.slow
def test_tms_tiles_are_where_their_tilemapresource_says(image, tiles, tmp_path):
    source = write(tmp_path / 'tiles', tiles, tms)
    text = TMS_XML.format(srs='EPSG:3857', profile='mercator', zoom=ZOOM, unit=0.597)
    (source / 'tilemapresource.xml').write_text(text)
    assert error_of(source, image, tmp_path) < 2.0


def test_tms_tiles_are_where_their_tilejson_says(image, tiles, tmp_path):
    source = write(tmp_path / 'tiles', tiles, tms)
    (source / 'metadata.json').write_text('{"scheme": "tms", "name": "ortho"}')
    assert error_of(source, image, tmp_path) < 2.0


@pytest.mark.slow
def test_the_command_builds_from_tiles(tiles, tmp_path, capsys):
    source, out = write(tmp_path / 'tiles', tiles, tms), tmp_path / 'map'
    arguments = ['--tiles', 'tms', '--depth', '2', '--crop-px', '16', '-o', str(out)]
    assert main(['map', 'build', str(source), *arguments]) == 0, capsys.readouterr().err
    assert SatelliteMap.open(out).region.latitude == pytest.approx(CENTER[0], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(('order', 'name'), [('tms', tms), ('zyx', zyx)])
def test_an_order_is_asked_for_by_name(image, tiles, tmp_path, order, name):
    source = write(tmp_path / 'tiles', tiles, name)
    assert error_of(source, image, tmp_path, tiles=order) < 2.0


@pytest.mark.parametrize(('order', 'name'), [('tms', tms), ('zyx', zyx)])
def test_tiles_that_do_not_fit_together_are_refused_with_the_order_that_does(
    tiles, tmp_path, order, name
):
    source = write(tmp_path / 'tiles', tiles, name)
    with pytest.raises(MapError, match=f'do not fit together in xyz order.*--tiles {order}'):
        build(source, REGION, tmp_path / 'map')
    assert not (tmp_path / 'map').exists()


def test_a_wrong_order_asked_for_is_refused(tiles, tmp_path):
    source = write(tmp_path / 'tiles', tiles, lambda x, y: f'{ZOOM}/{x}/{y}.png')
    with pytest.raises(MapError, match='in tms order.*--tiles xyz'):
        build(source, REGION, tmp_path / 'map', tiles='tms')


def test_tiles_in_degrees_are_read_as_the_tilemapresource_says(tmp_path):
    """The globe in four tiles of 90 degrees, each of one colour: zoom 1 of global-geodetic."""
    source = tmp_path / 'tiles'
    colours = {(2, 1): (200, 0, 0), (1, 1): (0, 200, 0), (2, 0): (0, 0, 200), (1, 0): (9, 9, 9)}
    for (x, y), colour in colours.items():
        path = source / '1' / str(x) / f'{y}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (256, 256), colour).save(path)
    text = TMS_XML.format(srs='EPSG:4326', profile='geodetic', zoom=1, unit=90 / 256)
    (source / 'tilemapresource.xml').write_text(text)
    for place, colour in (((50.0, 40.0), (200, 0, 0)), ((-50.0, -40.0), (9, 9, 9))):
        _, pixels, _ = build(source, Region(*place, 64.0, 2, 2), tmp_path / str(place[0]))
        assert (pixels == colour).all()


def test_a_tilemapresource_of_another_grid_is_refused_by_name(tiles, tmp_path):
    source = write(tmp_path / 'tiles', tiles, tms)
    text = TMS_XML.format(srs='EPSG:32617', profile='raster', zoom=ZOOM, unit=1)
    (source / 'tilemapresource.xml').write_text(text)
    with pytest.raises(MapError, match="tilemapresource.xml has tiles of profile 'raster'"):
        build(source, REGION, tmp_path / 'map')


@pytest.mark.parametrize('text', ['<TileMap', '<!DOCTYPE a [<!ENTITY b "c">]><TileMap/>', '<a/>'])
def test_a_damaged_tilemapresource_is_named(tiles, tmp_path, text):
    source = write(tmp_path / 'tiles', tiles, tms)
    (source / 'tilemapresource.xml').write_text(text)
    with pytest.raises(MapError, match='tilemapresource.xml'):
        build(source, REGION, tmp_path / 'map')


def test_an_unknown_order_and_an_order_for_a_raster_are_refused(tiles, tmp_path):
    source = write(tmp_path / 'tiles', tiles, tms)
    with pytest.raises(ConfigError, match='xyz, tms, zyx'):
        build(source, REGION, tmp_path / 'map', tiles='spiral')
    with rasterio.open(tmp_path / 'a.tif', 'w', width=8, height=8, count=1, dtype='uint8'):
        pass
    with pytest.raises(ConfigError, match='order of tiles'):
        build(tmp_path / 'a.tif', REGION, tmp_path / 'map', tiles='tms')
