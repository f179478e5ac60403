"""Building maps: every kind of source against an independent warp, every failure by name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import yaml
from imagery import CENTER, UTM, grid_round, projected, texture, write_raster
from PIL import Image
from pyproj import CRS, Transformer
from quick import quick_first
from rasterio.enums import ColorInterp, Resampling
from rasterio.shutil import copy as raster_copy
from rasterio.transform import Affine
from rasterio.warp import reproject

from justzoom_ros import Region, SatelliteMap
from justzoom_ros.errors import ConfigError, JustZoomError, MapError, OutputError
from justzoom_ros.maps.build import choose_side_px, enclosing_region
from justzoom_ros.maps.raster_source import RasterSource
from justzoom_ros.maps.source import open_source

REGION = Region(*CENTER, 256.0, grid=4, depth=2)
MERCATOR_HALF_M = 20037508.342789244


def build(source, out, region=REGION, **options):
    return SatelliteMap.build(source, region, out, **{'crop_px': 64, **options})


def truth(image, transform, crs, side_px, region=REGION):
    """uint8 (side_px, side_px, bands): an image (bands, h, w) warped into the region's plane."""
    result = np.zeros((len(image), side_px, side_px), np.float32)
    size, half = region.side_m / side_px, region.side_m / 2
    finer = size / abs(transform.determinant) ** 0.5
    reproject(
        image.astype(np.float32),
        result,
        src_transform=transform,
        src_crs=crs,
        dst_transform=Affine(size, 0, -half, 0, -size, half),
        dst_crs=region.crs.to_wkt(),
        resampling=Resampling.average if finer > 1.5 else Resampling.cubic,
    )
    return result.clip(0, 255).round().transpose(1, 2, 0)


def mean_difference(built, expected):
    return np.abs(built.pixels.astype(float) - expected)[built.mask].mean()


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith('.')]


# --- rasters -----------------------------------------------------------------------------------


@pytest.mark.parametrize('driver', quick_first(1, ['GTiff', 'COG']))
@pytest.mark.parametrize('bands', [1, 2, 3, 4])
def test_one_to_four_bands(tmp_path, bands, driver):
    image = texture(bands=bands)
    alpha = bands in (2, 4)
    if alpha:
        image[-1] = 255
        image[-1, :, :400] = 0
    colour = image[:-1] if alpha else image
    options = {'alpha': 'yes'} if alpha and driver == 'GTiff' else {}
    source = write_raster(tmp_path / 'first.tif', image, grid_round(CENTER), **options)
    if driver == 'COG':
        with rasterio.open(source, 'r+') as file:
            if alpha:
                file.colorinterp = (*file.colorinterp[:-1], ColorInterp.alpha)
        raster_copy(source, tmp_path / 'cog.tif', driver='COG')
        source = tmp_path / 'cog.tif'
    built = build(source, tmp_path / 'map')
    expected = truth(colour, grid_round(CENTER), UTM, built.info.side_px)
    assert mean_difference(built, np.repeat(expected, 3 // len(colour), axis=2)) < 1.0
    assert built.info.coverage == pytest.approx(0.5 if alpha else 1.0, abs=0.005)
    assert built.info.source_crs == UTM and built.info.stretch is None


def test_a_fourth_band_that_is_no_alpha_is_left_out(tmp_path):
    image = texture(bands=4)
    image[3] = 0
    source = write_raster(
        tmp_path / 'nir.tif', image, grid_round(CENTER), photometric='rgb', alpha='unspecified'
    )
    built = build(source, tmp_path / 'map')
    assert built.info.coverage == 1.0
    assert (
        mean_difference(built, truth(image[:3], grid_round(CENTER), UTM, built.info.side_px)) < 1
    )


def test_bands_are_chosen(tmp_path):
    image = texture(bands=6)
    source = write_raster(tmp_path / 'six.tif', image, grid_round(CENTER))
    built = build(source, tmp_path / 'map', bands=(5, 2, 6))
    expected = truth(image[[4, 1, 5]], grid_round(CENTER), UTM, built.info.side_px)
    assert mean_difference(built, expected) < 1.0
    with pytest.raises(MapError, match='6 bands'):
        build(source, tmp_path / 'other', bands=(1, 2, 7))


def test_a_vrt_in_another_folder_is_read(tmp_path):
    image = texture()
    write_raster(tmp_path / 'part.tif', image, grid_round(CENTER))
    raster_copy(tmp_path / 'part.tif', tmp_path / 'all.vrt', driver='VRT')
    built = build(tmp_path / 'all.vrt', tmp_path / 'map')
    assert mean_difference(built, truth(image, grid_round(CENTER), UTM, built.info.side_px)) < 1
    (tmp_path / 'part.tif').unlink()
    with pytest.raises(MapError, match=r'all\.vrt'):
        build(tmp_path / 'all.vrt', tmp_path / 'other')


@pytest.mark.parametrize('angle_deg', quick_first(1, [17, 0, 90, -135]))
def test_rotated_rasters_are_put_upright(tmp_path, angle_deg):
    image = texture()
    transform = grid_round(CENTER, angle_deg=angle_deg)
    built = build(write_raster(tmp_path / 'a.tif', image, transform), tmp_path / 'map')
    assert built.info.coverage == 1.0
    assert mean_difference(built, truth(image, transform, UTM, built.info.side_px)) < 1.0


@pytest.mark.parametrize(
    'dtype, scale',
    quick_first(2, [('uint16', 40.0), ('float32', 0.001), ('int16', 100.0), ('float64', 1e6)]),
)
def test_other_types_are_stretched_as_stated(tmp_path, dtype, scale):
    image = (texture().astype(float) * scale).astype(dtype)
    source = write_raster(tmp_path / 'a.tif', image, grid_round(CENTER))
    built = build(source, tmp_path / 'map')
    stated = yaml.safe_load((tmp_path / 'map' / 'map.yaml').read_text())['stretch']
    assert built.info.stretch == tuple(map(tuple, stated)) and len(stated) == 3
    inside = image[:, 144:656, 144:656]
    for band, (low, high) in zip(inside, stated, strict=True):
        assert (band < low).mean() == pytest.approx(0.02, abs=0.01)
        assert (band > high).mean() == pytest.approx(0.02, abs=0.01)
    low, high = np.array(stated).T[..., None, None]
    eight_bit = (image - low) / (high - low) * 255
    expected = truth(eight_bit, grid_round(CENTER), UTM, built.info.side_px)
    assert mean_difference(built, expected) < 1.0


def test_a_stretch_can_be_given(tmp_path):
    image = texture().astype(np.uint16) * 10
    source = write_raster(tmp_path / 'a.tif', image, grid_round(CENTER))
    built = build(source, tmp_path / 'map', stretch=(0, 2550))
    assert built.info.stretch == ((0.0, 2550.0),) * 3
    expected = truth(image / 10, grid_round(CENTER), UTM, built.info.side_px)
    assert mean_difference(built, expected) < 1.0
    with pytest.raises(ConfigError, match='stretch'):
        build(source, tmp_path / 'other', stretch=(5, 5))


@pytest.mark.parametrize(
    'dtype, nodata',
    quick_first(2, [('uint8', 0), ('float32', None), ('uint16', 65535), ('float32', -9999.0)]),
)
def test_missing_data_is_no_imagery(tmp_path, dtype, nodata):
    image = (texture().astype(float) + 1).clip(0, 250).astype(dtype)
    image[:, :, :400] = np.nan if nodata is None else nodata
    image[0, 500, 600] = 0  # one band that is nodata alone is a colour
    source = write_raster(tmp_path / 'a.tif', image, grid_round(CENTER), nodata=nodata)
    built = build(source, tmp_path / 'map', stretch=None if dtype == 'uint8' else (0, 255))
    assert built.info.coverage == pytest.approx(0.5, abs=0.005)
    assert not built.mask[:, :120].any() and built.mask[:, 136:].all()
    expected = truth(
        np.nan_to_num(image[:, :, 400:]),
        grid_round(CENTER) @ Affine.translation(400, 0),
        UTM,
        built.info.side_px,
    )
    assert mean_difference(built, expected) < 1.5


def test_the_region_may_reach_beyond_the_source(tmp_path):
    source = write_raster(tmp_path / 'a.tif', texture(400), grid_round(CENTER, size_px=400))
    built = build(source, tmp_path / 'map')
    assert built.info.coverage == pytest.approx(200**2 / 256**2, rel=0.01)
    assert built.coverage((5,)) == 1.0 and 0 < built.coverage((0,)) < 1


# --- resolution and region ---------------------------------------------------------------------


@pytest.mark.parametrize(
    'source_m, crop_px, resolution_m, cell_px',
    [
        (0.01, 64, None, 16),  # crops of level depth - 1 make_fix
        (1.0, 64, None, 16),  # a terminal cell is 16 m
        (0.9999, 64, None, 16),
        (1.5, 64, None, 11),  # the source decides: 10.67, rounded to the finer side
        (1000.0, 64, None, 1),
        (0.01, 65, None, 17),
        (1.0, 64, 0.5, 32),
        (1.0, 64, 3.0, 5),
    ],
)
def test_a_terminal_cell_is_a_whole_number_of_pixels(source_m, crop_px, resolution_m, cell_px):
    assert choose_side_px(REGION, source_m, crop_px, resolution_m) == 16 * cell_px


def test_a_map_too_large_for_memory_is_refused():
    with pytest.raises(ConfigError, match='pixels along a side'):
        choose_side_px(Region(*CENTER, 1000.0, grid=8, depth=6), 0.1, 96)
    with pytest.raises(ConfigError, match='pixels along a side'):
        choose_side_px(REGION, 0.1, 96, resolution_m=0.001)


@pytest.mark.parametrize('crs, pixel, angle_deg', [(UTM, 0.5, 0), ('EPSG:3857', 1.0, 30)])
def test_the_enclosing_square_holds_the_source_closely(tmp_path, crs, pixel, angle_deg):
    transform = grid_round(CENTER, crs, 200, pixel, angle_deg)
    source = write_raster(tmp_path / 'a.tif', texture(200), transform, crs)
    with open_source(source) as imagery:
        region = enclosing_region(imagery, 4, 2)
        east, north = region.to_enu(*imagery.outline())
    reach = np.abs([east, north]).max()
    assert reach <= region.side_m / 2 + 0.01
    assert region.side_m - 2 * reach < 1.5


@pytest.mark.parametrize('plane', ['wgs84', 'sphere'])
def test_the_plane_survives_the_geotiff(tmp_path, plane):
    region = Region(*CENTER, 256.0, grid=4, depth=2, plane=plane)
    source = write_raster(tmp_path / 'a.tif', texture(), grid_round(CENTER))
    build(source, tmp_path / 'map', region)
    with rasterio.open(tmp_path / 'map' / 'map.tif') as file:
        assert (file.width, file.height) == (256, 256)
        assert file.mask_flag_enums[0] == [rasterio.enums.MaskFlags.per_dataset]
        to_latlon = Transformer.from_crs(CRS.from_wkt(file.crs.to_wkt()), 4326, always_xy=True)
        for east, north in ((0, 0), (-120, 77), (128, -128)):
            column, row = (east + 128) / file.res[0], (128 - north) / file.res[1]
            lon, lat = to_latlon.transform(*file.xy(row - 0.5, column - 0.5))
            assert np.hypot(*np.subtract(region.to_enu(lat, lon), (east, north))) < 1e-3


def test_overviews_are_there_for_other_programs(tmp_path):
    source = write_raster(tmp_path / 'a.tif', texture(), grid_round(CENTER))
    build(source, tmp_path / 'map', resolution_m=0.5)
    with rasterio.open(tmp_path / 'map' / 'map.tif') as file:
        assert file.overviews(1) == [2, 4] and file.block_shapes[0] == (256, 256)


@pytest.mark.slow
def test_jpeg_is_smaller_and_close(tmp_path):
    source = write_raster(tmp_path / 'a.tif', texture(), grid_round(CENTER))
    exact = build(source, tmp_path / 'exact', resolution_m=0.5)
    lossy = build(source, tmp_path / 'lossy', resolution_m=0.5, compression='jpeg')
    size = [(tmp_path / name / 'map.tif').stat().st_size for name in ('exact', 'lossy')]
    assert size[1] < size[0] / 2
    assert np.abs(exact.pixels.astype(int) - lossy.pixels).mean() < 10
    assert SatelliteMap.open(tmp_path / 'lossy').checksum == lossy.checksum != exact.checksum


@pytest.mark.slow
def test_the_same_input_gives_the_same_checksum(tmp_path):
    source = write_raster(tmp_path / 'a.tif', texture(), grid_round(CENTER))
    first, second = (build(source, tmp_path / name) for name in ('one', 'two'))
    assert first.checksum == second.checksum
    other = Region(*CENTER, 256.0, grid=2, depth=4)
    assert build(source, tmp_path / 'three', other).checksum != first.checksum


def test_regions_of_numpy_numbers_and_whole_metres_are_kept(tmp_path):
    source = write_raster(tmp_path / 'a.tif', texture(), grid_round(CENTER))
    region = Region(*np.array(CENTER), np.float32(256), grid=np.int64(4), depth=np.int8(2))
    built = build(source, tmp_path / 'one', region)
    assert SatelliteMap.open(tmp_path / 'one').checksum == built.checksum
    whole = build(source, tmp_path / 'two', Region(*CENTER, 256, grid=4, depth=2))
    assert SatelliteMap.open(tmp_path / 'two').checksum == whole.checksum == built.checksum


@pytest.mark.slow
def test_maps_larger_than_a_window_have_no_seams(tmp_path, monkeypatch):
    source = write_raster(tmp_path / 'a.tif', texture(), grid_round(CENTER, angle_deg=10))
    whole = build(source, tmp_path / 'one', resolution_m=0.5)
    monkeypatch.setattr('justzoom_ros.maps.build.WINDOW_PX', 256)
    parts = build(source, tmp_path / 'two', resolution_m=0.5)
    assert np.abs(whole.pixels.astype(int) - parts.pixels).max() <= 1


# --- tiles -------------------------------------------------------------------------------------


def write_tiles(folder, image, zoom, x0, y0, extension='png', px=256):
    """Cut (h, w, bands) into tiles beginning at tile x0, y0."""
    for row in range(image.shape[0] // px):
        for column in range(image.shape[1] // px):
            path = folder / str(zoom) / str(x0 + column) / f'{y0 + row}.{extension}'
            path.parent.mkdir(parents=True, exist_ok=True)
            tile = image[row * px : (row + 1) * px, column * px : (column + 1) * px]
            Image.fromarray(tile).save(path, quality=95)


def tiles_round_center(zoom, count):
    """First tile x, y of a block of count x count tiles round the centre, and its affine."""
    side = 2 * MERCATOR_HALF_M / 2**zoom
    x, y = projected('EPSG:3857', *CENTER)
    x0 = round((x + MERCATOR_HALF_M) / side - count / 2)
    y0 = round((MERCATOR_HALF_M - y) / side - count / 2)
    origin = x0 * side - MERCATOR_HALF_M, MERCATOR_HALF_M - y0 * side
    return x0, y0, Affine(side / 256, 0, origin[0], 0, -side / 256, origin[1])


@pytest.fixture(scope='module')
def xyz(tmp_path_factory):
    """A folder of XYZ tiles at one zoom, the joined image and its affine."""
    folder = tmp_path_factory.mktemp('xyz')
    x0, y0, transform = tiles_round_center(18, 4)
    image = texture(1024)
    write_tiles(folder, image.transpose(1, 2, 0), 18, x0, y0)
    return folder, image, transform


@pytest.mark.slow
def test_xyz_tiles_agree_with_a_direct_warp(xyz, tmp_path):
    folder, image, transform = xyz
    for name, resolution_m in (('fine', 0.5), ('coarse', 2.0)):
        built = build(folder, tmp_path / name, resolution_m=resolution_m)
        expected = truth(image, transform, 'EPSG:3857', built.info.side_px)
        assert built.info.coverage == 1.0 and built.info.source_crs == 'EPSG:3857'
        assert mean_difference(built, expected) < 2.0


@pytest.mark.slow
def test_real_xyz_tiles_agree_with_a_direct_warp(shared, tmp_path):
    folder, zoom = shared / 'data' / 'kampala' / 'tiles', 20
    region = Region(0.35085, 32.59425, 100.0, grid=4, depth=2)
    built = build(folder, tmp_path / 'map', region, crop_px=192)
    xs, ys = range(619224, 619230), range(523264, 523268)
    files = [[folder / str(zoom) / str(x) / f'{y}.png' for x in xs] for y in ys]
    rows = [np.hstack([np.asarray(Image.open(f).convert('RGB')) for f in row]) for row in files]
    side = 2 * MERCATOR_HALF_M / 2**zoom
    corner = xs[0] * side - MERCATOR_HALF_M, MERCATOR_HALF_M - ys[0] * side
    transform = Affine(side / 256, 0, corner[0], 0, -side / 256, corner[1])
    image = np.vstack(rows).transpose(2, 0, 1)
    expected = truth(image, transform, 'EPSG:3857', built.info.side_px, region)
    assert built.info.coverage > 0.95
    assert mean_difference(built, expected) < 2.0


@pytest.mark.slow
def test_missing_tiles_come_from_a_coarser_zoom(xyz, tmp_path):
    _, image, transform = xyz
    x0, y0, _ = tiles_round_center(18, 4)
    x0, y0 = x0 // 2 * 2, y0 // 2 * 2
    folder = tmp_path / 'tiles'
    write_tiles(folder, np.full((1024, 1024, 3), 200, np.uint8), 18, x0, y0)
    write_tiles(folder, np.full((1536, 1536, 3), 100, np.uint8), 17, x0 // 2 - 2, y0 // 2 - 2)
    (folder / '18' / str(x0 + 1) / f'{y0 + 1}.png').unlink()
    built = build(folder, tmp_path / 'map')
    assert built.info.coverage == 1.0
    assert set(np.unique(built.pixels)) <= set(range(98, 203))
    assert 0.02 < (built.pixels[..., 0] < 150).mean() < 0.5


@pytest.mark.parametrize('mode', quick_first(2, ['RGBA', 'jpg', 'L', 'P', 'LA', 'webp']))
def test_tiles_of_every_kind(tmp_path, mode):
    x0, y0, _ = tiles_round_center(17, 3)
    image = Image.fromarray(np.full((256, 256, 4), (90, 90, 90, 255), np.uint8))
    for x in range(3):
        for y in range(3):
            path = tmp_path / 'tiles' / '17' / str(x0 + x) / f'{y0 + y}'
            path.parent.mkdir(parents=True, exist_ok=True)
            if mode in ('jpg', 'webp'):
                image.convert('RGB').save(path.with_suffix(f'.{mode}'))
            else:
                image.convert(mode).save(path.with_suffix('.png'))
    built = build(tmp_path / 'tiles', tmp_path / 'map')
    assert built.info.coverage == 1.0 and np.abs(built.pixels.astype(int) - 90).max() <= 2


LAYOUTS = {
    'preset': {'preset': 'XYZ', 'min_zoom': 18, 'max_zoom': 18, 'path': '{zoom}/{x}/{y}.png'},
    'north': {
        'crs': 'epsg:32617', 'tile_axes': ['east', 'north'], 'tile_shape_px': [256, 256],
        'tile_shape_crs': [128.0, 128.0], 'origin_crs': 'corner', 'min_zoom': -2, 'max_zoom': 0,
        'path': '{zoom}/{x}/{y}.png',
    },
    'south': {
        'crs': 'epsg:32617', 'tile_axes': ['east', 'south'], 'tile_shape_px': [256, 256],
        'tile_shape_crs': [128.0, 128.0], 'origin_crs': 'corner', 'size_crs': [512.0, 512.0],
        'min_zoom': -2, 'max_zoom': 0, 'path': 'level{zoom}/{x}_{y}.png',
    },
}  # fmt: skip

READ_WITH_TILEDWEBMAPS = """
import json, sys, numpy as np, tiledwebmaps
folder, out, requests = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
tiles = tiledwebmaps.from_yaml(folder)
pictures = [
    tiles.load(latlon=np.array(r[:2]), bearing=0.0, meters_per_pixel=r[2], shape=(64, 64))
    for r in requests
]
np.save(out, pictures)
"""


def write_tiledwebmaps(folder, layout, image):
    """Write an image (3, 1024, 1024) of 0.5 m pixels round the centre in a layout; with coarser
    zooms but for the preset."""
    layout = dict(LAYOUTS[layout])
    folder.mkdir()
    if 'preset' in layout:
        x0, y0, _ = tiles_round_center(18, 4)
        write_tiles(folder, image.transpose(1, 2, 0), 18, x0, y0)
    else:
        x, y = projected(UTM, *CENTER)
        layout['origin_crs'] = [x - 256, y - 256]
        for zoom, count in ((0, 4), (-1, 2), (-2, 1)):
            part = Image.fromarray(image.transpose(1, 2, 0)).reduce(4 // count)
            for column in range(count):
                for row in range(count):
                    tile = part.crop(
                        (column * 256, row * 256, column * 256 + 256, row * 256 + 256)
                    )
                    y = row if layout['tile_axes'][1] == 'south' else count - 1 - row
                    path = folder / layout['path'].format(zoom=zoom, x=column, y=y)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    tile.save(path)
    (folder / 'layout.yaml').write_text(yaml.safe_dump(layout))
    return folder


def read_with_tiledwebmaps(folder, region, cells, tile_resolutions_m):
    """The cells as the tiledwebmaps package shows them, float (N, 64, 64, 3).

    The package takes pixels' corners for their centres, in tiles as in pictures; so it is asked
    for a point half a pixel of the one, less half a pixel of the other, further south-east.
    """
    requests = []
    for cell, tile_m in zip(cells, tile_resolutions_m, strict=True):
        shift = (cell.side_m / 64 - tile_m) / 2
        lat, lon = region.to_latlon(cell.east_m + shift, cell.north_m - shift)
        requests.append((lat, lon, cell.side_m / 64))
    # In a process of its own: the package replaces PROJ's data for everything that runs in it.
    out = folder / 'truth.npy'
    command = [sys.executable, '-c', READ_WITH_TILEDWEBMAPS, str(folder), str(out)]
    read = subprocess.run(
        [*command, json.dumps(requests)], capture_output=True, text=True, timeout=300
    )
    if 'ModuleNotFoundError' in read.stderr:
        pytest.skip('tiledwebmaps and requests are not installed')
    assert read.returncode == 0, read.stderr
    return np.load(out).astype(float)


@pytest.mark.slow
@pytest.mark.parametrize('layout', LAYOUTS)
def test_tiledwebmaps_folders_agree_with_tiledwebmaps(tmp_path, layout):
    # Smooth, for the package does not average where it reduces.
    noise = np.random.default_rng(0).normal(size=(1024, 1024, 3))
    image = cv2.GaussianBlur(noise, (0, 0), 12)
    image = ((image - image.min()) / np.ptp(image) * 255).astype(np.uint8).transpose(2, 0, 1)
    folder = write_tiledwebmaps(tmp_path / 'tiles', layout, image)
    built = build(folder, tmp_path / 'map')
    assert built.info.coverage == 1.0
    cells = [REGION.cell(a) for a in ((), (0,), (6,), (15,))]
    mercator_m = 2 * MERCATOR_HALF_M / 2**18 / 256 * np.cos(np.radians(CENTER[0]))
    tile_m = [mercator_m] * 4 if layout == 'preset' else [2.0, 0.5, 0.5, 0.5]
    for cell, expected in zip(
        cells, read_with_tiledwebmaps(folder, REGION, cells, tile_m), strict=True
    ):
        crop = built.crop(cell.actions, 64)
        assert np.abs(crop - expected).mean() < 1.0, cell.actions


# --- refused sources ---------------------------------------------------------------------------


def no_crs(folder):
    return write_raster(folder / 'bad.tif', texture(64), grid_round(CENTER, size_px=64), crs=None)


def no_geotransform(folder):
    return write_raster(folder / 'bad.tif', texture(64), Affine.identity())


def local_crs(folder):
    crs = 'LOCAL_CS["mine",UNIT["metre",1]]'
    return write_raster(folder / 'bad.tif', texture(64), grid_round(CENTER, size_px=64), crs=crs)


def elsewhere(folder):
    return write_raster(folder / 'bad.tif', texture(64), grid_round((41.5, -83.2), size_px=64))


def all_masked(folder):
    mask = np.zeros((800, 800), bool)
    return write_raster(folder / 'bad.tif', texture(), grid_round(CENTER), mask=mask)


def missing(folder):
    return folder / 'bad.tif'


def truncated(folder):
    path = write_raster(folder / 'bad.tif', texture(), grid_round(CENTER), compress='deflate')
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def empty_file(folder):
    (folder / 'bad.tif').write_bytes(b'')
    return folder / 'bad.tif'


def text_file(folder):
    (folder / 'bad.tif').write_text('this is no picture')
    return folder / 'bad.tif'


def empty_folder(folder):
    (folder / 'bad').mkdir()
    return folder / 'bad'


def truncated_tile(folder):
    x0, y0, _ = tiles_round_center(17, 3)
    write_tiles(folder / 'bad', texture(768).transpose(1, 2, 0), 17, x0, y0)
    path = folder / 'bad' / '17' / str(x0 + 1) / f'{y0 + 1}.png'
    path.write_bytes(path.read_bytes()[:5000])
    return folder / 'bad'


def odd_tile(folder):
    x0, y0, _ = tiles_round_center(17, 3)
    write_tiles(folder / 'bad', texture(768).transpose(1, 2, 0), 17, x0, y0)
    Image.new('RGB', (100, 256)).save(folder / 'bad' / '17' / str(x0 + 1) / f'{y0 + 1}.png')
    return folder / 'bad'


def paletted(folder):
    with rasterio.open(
        folder / 'bad.tif', 'w', driver='GTiff', width=800, height=800, count=1, dtype='uint8',
        crs=UTM, transform=grid_round(CENTER), photometric='palette',
    ) as file:  # fmt: skip
        file.write(texture(bands=1))
        file.write_colormap(1, {0: (1, 2, 3), 1: (4, 5, 6)})
    return folder / 'bad.tif'


@pytest.mark.parametrize(
    'make, message',
    [
        (no_crs, 'no coordinate reference system'),
        (no_geotransform, 'no geotransform'),
        (local_crs, 'neither latitude and longitude nor'),
        (elsewhere, 'does not overlap'),
        (all_masked, 'no imagery within the region'),
        (missing, 'does not exist'),
        (truncated, 'cannot be read'),
        (empty_file, 'no raster'),
        (text_file, 'no raster'),
        (empty_folder, 'holds no tiles'),
        (truncated_tile, r'tile .*\.png cannot be read'),
        (odd_tile, '100 x 256 pixels'),
        (paletted, 'paletted'),
    ],
)
@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
def test_sources_that_cannot_be_used_are_refused_by_name(tmp_path, make, message):
    (tmp_path / 'sources').mkdir()
    (tmp_path / 'maps').mkdir()
    source = make(tmp_path / 'sources')
    with pytest.raises(MapError, match=message) as caught:
        build(source, tmp_path / 'maps' / 'map')
    assert 'bad' in str(caught.value) and '\n' not in str(caught.value)
    assert list((tmp_path / 'maps').iterdir()) == []


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'no keys'),
        ('crs: [', 'cannot be read'),
        ('crs: nonsense', 'no layout'),
        ('preset: TMS', 'only XYZ'),
        ('crs: epsg:32617', 'size_crs'),
        ("preset: XYZ\npath: '{zoom}/{x}.png'", 'must name'),
        ("preset: XYZ\npath: 'a(b/{zoom}/{x}/{y}.png'", 'holds no tiles'),
        ('crs: epsg:4326\nsize_crs: [1, 1]', 'north before east'),
        ('crs: epsg:32617\ntile_axes: [south, east]', 'tile_axes'),
        ('crs: epsg:32617\ntile_axes: [east, north]\ntile_shape_px: [256, 128]', 'equal'),
        ('crs: epsg:32617\ntile_axes: [east, north]\norigin_crs: here', 'no layout'),
    ],
)
def test_layouts_that_cannot_be_used_are_refused(tmp_path, text, message):
    (tmp_path / 'layout.yaml').write_text(text)
    with pytest.raises(MapError, match=message) as caught:
        build(tmp_path, tmp_path / 'map')
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    'options',
    [
        {'crop_px': 0}, {'crop_px': 96.5}, {'resolution_m': 0.0}, {'resolution_m': float('nan')},
        {'compression': 'zip'}, {'stretch': (1, float('nan'))}, {'stretch': (1, 2, 3)},
    ],
)  # fmt: skip
def test_wrong_options_are_refused(tmp_path, options):
    source = write_raster(tmp_path / 'a.tif', texture(64), grid_round(CENTER, size_px=64))
    with pytest.raises(ConfigError, match=next(iter(options))):
        build(source, tmp_path / 'map', **options)


def test_bands_and_stretch_are_not_for_tiles(xyz, tmp_path):
    with pytest.raises(ConfigError, match='folder of tiles'):
        build(xyz[0], tmp_path / 'map', bands=(1, 2, 3))


# --- nothing half-written ----------------------------------------------------------------------


@pytest.fixture
def source(tmp_path):
    return write_raster(tmp_path / 'source.tif', texture(), grid_round(CENTER))


def test_an_existing_map_is_kept_unless_asked(source, tmp_path):
    first = build(source, tmp_path / 'map')
    with pytest.raises(MapError, match='map already'):
        build(source, tmp_path / 'map', resolution_m=2.0)
    assert SatelliteMap.open(tmp_path / 'map').checksum == first.checksum
    second = build(source, tmp_path / 'map', resolution_m=2.0, overwrite=True)
    assert SatelliteMap.open(tmp_path / 'map').checksum == second.checksum != first.checksum
    assert leftovers(tmp_path) == []


def test_a_folder_with_other_things_is_never_replaced(source, tmp_path):
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos' / 'cat.jpg').write_text('cat')
    with pytest.raises(MapError, match='not a map'):
        build(source, tmp_path / 'photos', overwrite=True)
    build(source, tmp_path / 'map')
    (tmp_path / 'map' / 'notes.txt').write_text('mine')
    with pytest.raises(MapError, match=r'notes\.txt'):
        build(source, tmp_path / 'map', overwrite=True)
    assert (tmp_path / 'map' / 'notes.txt').read_text() == 'mine'


@pytest.mark.parametrize('failure', [KeyboardInterrupt, MapError('torn')])
def test_a_build_that_stops_leaves_nothing_and_keeps_the_old(
    source, tmp_path, monkeypatch, failure
):
    old = build(source, tmp_path / 'old')

    def stop(self, window):
        raise failure

    monkeypatch.setattr(RasterSource, 'read', stop)
    for out in ('new', 'old'):
        with pytest.raises((KeyboardInterrupt, MapError)):
            build(source, tmp_path / out, overwrite=True)
    monkeypatch.undo()
    assert leftovers(tmp_path) == [] and not (tmp_path / 'new').exists()
    assert SatelliteMap.open(tmp_path / 'old').checksum == old.checksum


def test_a_place_that_cannot_be_written_to_is_named(source):
    with pytest.raises(OutputError, match='/proc/map'):
        build(source, '/proc/map')
    with pytest.raises(JustZoomError, match=r'source\.tif'):
        build(source, source / 'map')


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from justzoom_ros import Region, SatelliteMap
from justzoom_ros.errors import OutputError
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
region = Region(41.03, -83.2, 256.0, 4, 2)
try:
    SatelliteMap.build(sys.argv[1], region, sys.argv[2], resolution_m=0.25)
except OutputError as error:
    print('OutputError', error)
"""


@pytest.mark.slow
@pytest.mark.parametrize('limit', [0, 4096, 300_000, 1_000_000])
def test_a_full_disk_leaves_nothing(tmp_path, limit):
    """A limit on the size of files makes writing fail as a full disk does, at any point."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (3, 800, 800), np.uint8)
    source = write_raster(tmp_path / 'noise.tif', noise, grid_round(CENTER))
    (tmp_path / 'maps').mkdir()
    command = [sys.executable, '-c', FULL_DISK, source, tmp_path / 'maps' / 'map', limit]
    environment = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[1])}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.stdout.startswith('OutputError'), done.stdout + done.stderr
    assert 'maps/map' in done.stdout
    assert list((tmp_path / 'maps').iterdir()) == []
