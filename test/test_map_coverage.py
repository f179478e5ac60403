"""What of a raster is imagery, and rasters that are placed in odd ways."""

import itertools
import logging
import zipfile

import numpy as np
import pytest
import rasterio
from imagery import CENTER, UTM, grid_round, texture, write_raster
from quick import quick_first
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.shutil import copy as raster_copy
from rasterio.transform import Affine
from rasterio.windows import Window

from justzoom_ros.errors import MapError
from justzoom_ros.maps import raster_file, raster_source
from justzoom_ros.maps.build import build, enclosing_region
from justzoom_ros.maps.raster_file import open_raster
from justzoom_ros.maps.source import SourceOptions, open_source
from justzoom_ros.region import Region

REGION = Region(*CENTER, 200.0, grid=4, depth=2)
SIZE = 500
TRANSFORM = grid_round(CENTER, size_px=SIZE)


def built(source, tmp_path, region=REGION, **options):
    return build(source, region, tmp_path / 'map', crop_px=32, **options)


def reference(tmp_path):
    """Pixels of the map of the 8-bit imagery that is whole."""
    source = write_raster(tmp_path / 'whole.tif', texture(SIZE), TRANSFORM)
    return build(source, REGION, tmp_path / 'whole', crop_px=32)[1].astype(float)


def with_hole(image, value):
    """The image whose west half has one value."""
    image = image.copy()
    image[:, :, : SIZE // 2] = value
    return image


@pytest.mark.parametrize(
    ('dtype', 'opaque'),
    quick_first(
        4,
        [('uint8', 255), *itertools.product(('uint16', 'int16', 'float32'), (1, 255, 'greatest'))],
    ),
)
def test_alpha_of_every_type_hides_what_is_transparent(tmp_path, dtype, opaque):
    if opaque == 'greatest':
        opaque = 1.0 if dtype == 'float32' else np.iinfo(dtype).max
    colour = texture(SIZE).astype(dtype)
    # What lies below transparent pixels must not reach the stretch.
    low = 0 if dtype.startswith('u') else -10_000
    alpha = with_hole(np.full((1, SIZE, SIZE), opaque, dtype), 0)
    image = np.concatenate([np.where(alpha > 0, colour, np.array(low, dtype)), alpha])
    source = write_raster(tmp_path / 'a.tif', image, TRANSFORM, photometric='rgb', alpha='yes')
    with rasterio.open(source, 'r+') as file:
        file.colorinterp = (*file.colorinterp[:3], ColorInterp.alpha)
    info, _, mask = built(source, tmp_path)
    assert info.coverage == pytest.approx(0.5, abs=0.01)
    # UTM's north is 1.4 degrees off here, which moves the edge by 2.5 m of 200.
    assert not mask[:, : int(0.47 * len(mask))].any()
    if info.stretch:
        inside = colour[:, :, SIZE // 2 :]
        assert min(low for low, _ in info.stretch) >= inside.min()


def test_a_collar_that_nothing_declares_is_told_of_with_its_share(tmp_path, caplog):
    source = write_raster(tmp_path / 'a.tif', with_hole(texture(SIZE) // 2 + 9, 0), TRANSFORM)
    with caplog.at_level(logging.WARNING):
        info, _, _ = built(source, tmp_path)
    assert info.coverage == 1.0
    assert '50% of its imagery is of one colour (0, 0, 0)' in caplog.text
    assert '--collar' in caplog.text and 'a.tif' in caplog.text


@pytest.mark.parametrize(('dtype', 'value'), [('uint8', 0), ('uint8', 255), ('float32', -10000)])
def test_a_collar_is_left_out_where_that_is_asked_for(tmp_path, caplog, dtype, value):
    image = (texture(SIZE) // 2 + 9).astype(dtype)
    image[:, 200:220, 300:320] = value  # as a collar, but inside: imagery
    source = write_raster(tmp_path / 'a.tif', with_hole(image, value), TRANSFORM)
    with caplog.at_level(logging.WARNING):
        info, _, mask = built(source, tmp_path, collar=True)
    half = len(mask) // 2
    edge = int(0.05 * len(mask))
    assert not mask[:, : half - edge].any() and mask[:, half + edge :].all()
    assert 'collar' not in caplog.text
    if dtype == 'float32':
        assert all(low > -10000 for low, _ in info.stretch)


def test_imagery_without_a_collar_is_not_suspected(tmp_path, caplog):
    image = texture(SIZE)
    image[:, 100:200, 100:200] = 0  # a dark roof
    with caplog.at_level(logging.WARNING):
        built(write_raster(tmp_path / 'a.tif', image, TRANSFORM), tmp_path)
    assert 'colour' not in caplog.text


def test_an_internal_mask_is_what_counts(tmp_path):
    mask = with_hole(np.full((1, SIZE, SIZE), 255, np.uint8), 0)[0]
    source = write_raster(tmp_path / 'a.tif', texture(SIZE), TRANSFORM, mask=mask > 0)
    assert built(source, tmp_path)[0].coverage == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize('dtype', ['uint8', 'int16', 'float32'])
def test_bands_may_mark_missing_data_by_values_of_their_own(tmp_path, dtype):
    """As a VRT of three files of one band, each with its own nodata."""
    image = (texture(SIZE) // 2 + 60).astype(dtype)
    values = [1, 2, np.nan if dtype == 'float32' else 3]
    image[:, :, : SIZE // 2] = np.reshape(values, (3, 1, 1))
    image[0, :, 400:410] = 1  # a value that only one band takes for none is a colour
    for number, value in enumerate(values):
        band = image[number : number + 1]
        write_raster(tmp_path / f'{number}.tif', band, TRANSFORM, nodata=value)
    source = stacked(tmp_path / 'a & b.vrt', values, dtype)
    stretch = None if dtype == 'uint8' else (0, 255)
    info, pixels, mask = built(source, tmp_path, stretch=stretch)
    assert info.coverage == pytest.approx(0.5, abs=0.01)
    half, edge = len(mask) // 2, int(0.05 * len(mask))
    assert not mask[:, : half - edge].any() and mask[:, half + edge :].all()
    plain = write_raster(tmp_path / 'plain.tif', np.nan_to_num(image), TRANSFORM)
    expected = build(plain, REGION, tmp_path / 'plain', crop_px=32, stretch=stretch)[1]
    difference = np.abs(pixels.astype(float) - expected)[:, half + edge :]
    assert difference.max() <= 1


def stacked(path, values, dtype):
    """A VRT whose bands are 0.tif, 1.tif and 2.tif beside it."""
    kind = {'uint8': 'Byte', 'int16': 'Int16', 'float32': 'Float32'}[dtype]
    bands = ''.join(
        f'<VRTRasterBand dataType="{kind}" band="{number + 1}"><NoDataValue>{value}</NoDataValue>'
        f'<SimpleSource><SourceFilename relativeToVRT="1">{number}.tif</SourceFilename>'
        '<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>'
        for number, value in enumerate(values)
    )
    place = ', '.join(map(str, TRANSFORM.to_gdal()))
    path.write_text(
        f'<VRTDataset rasterXSize="{SIZE}" rasterYSize="{SIZE}"><SRS>{UTM}</SRS>'
        f'<GeoTransform>{place}</GeoTransform>{bands}</VRTDataset>'
    )
    return path


@pytest.mark.parametrize('dtype', ['uint8', 'uint16'])
def test_scans_in_which_0_is_white_are_no_negatives(tmp_path, dtype):
    image = texture(SIZE, bands=1).astype(dtype)
    white = np.iinfo(dtype).max
    negative = write_raster(tmp_path / 'a.tif', white - image, TRANSFORM, photometric='MINISWHITE')
    positive = write_raster(tmp_path / 'b.tif', image, TRANSFORM)
    maps = [
        build(source, REGION, tmp_path / source.stem, crop_px=64)[1]
        for source in (negative, positive)
    ]
    assert np.abs(maps[0].astype(int) - maps[1]).max() <= 1


# --- places ------------------------------------------------------------------------------------


def test_a_raster_placed_by_ground_control_points_is_warped_by_them(tmp_path):
    corners = [(0, 0), (0, SIZE), (SIZE, 0), (SIZE, SIZE)]
    points = [
        GroundControlPoint(row, column, *(TRANSFORM * (column, row))) for row, column in corners
    ]
    with rasterio.open(
        tmp_path / 'a.tif', 'w', width=SIZE, height=SIZE, count=3, dtype='uint8',
        gcps=points, crs=UTM,
    ) as file:  # fmt: skip
        file.write(texture(SIZE))
    _, pixels, mask = built(tmp_path / 'a.tif', tmp_path)
    assert mask.all()
    assert np.abs(pixels - reference(tmp_path)).mean() < 3


def test_too_few_control_points_are_counted(tmp_path):
    points = [GroundControlPoint(8 * i, i * i, 300.0 * i, 100.0 * i * i) for i in range(2)]
    options = {'width': 16, 'height': 16, 'count': 3, 'dtype': 'uint8', 'gcps': points}
    with rasterio.open(tmp_path / 'a.tif', 'w', **options, crs=UTM) as file:
        file.write(texture(16))
    with pytest.raises(MapError, match='has 2 ground control points in EPSG:32617; it takes 3'):
        built(tmp_path / 'a.tif', tmp_path)


def test_control_points_anywhere_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    points = [
        GroundControlPoint(*rng.uniform(0, 16, 2), *rng.uniform(-1e9, 1e9, 2)) for _ in 'abcd'
    ]
    options = {'width': 16, 'height': 16, 'count': 3, 'dtype': 'uint8', 'gcps': points}
    with rasterio.open(tmp_path / 'a.tif', 'w', **options, crs=UTM) as file:
        file.write(texture(16))
    with pytest.raises(MapError, match='a.tif'):
        built(tmp_path / 'a.tif', tmp_path)
    with pytest.raises(MapError, match='a.tif'), open_source(tmp_path / 'a.tif') as source:
        enclosing_region(source, 4, 2, 'wgs84')


A, B = TRANSFORM.a, TRANSFORM.e


@pytest.mark.parametrize(
    ('numbers', 'says'),
    [
        ((0, 0, 0, 0), 'pixels have no area'),
        ((np.nan, 0, 0, B), 'pixels have no area'),
        ((A, A, A, A), 'pixels have no area'),
        ((np.inf, 0, 0, B), 'pixels have no area'),
        ((1e-5, 0, 0, -1e-5), 'seem to be degrees'),
    ],
)
def test_geotransforms_that_are_none_are_refused(tmp_path, numbers, says):
    a, b, d, e = numbers
    place = rasterio.Affine(a, b, TRANSFORM.c, d, e, TRANSFORM.f)
    path = write_raster(tmp_path / 'a.tif', texture(16), place)
    with pytest.raises(MapError, match=says):
        open_raster(path)


def container(path, count):
    """A GeoPackage of so many rasters, named t0, t1, ..."""
    for number in range(count):
        more = {'append_subdataset': 'yes'} if number else {}
        table, size = f't{number}', SIZE if number == count - 1 else 8
        image = texture(size)
        write_raster(path, image, TRANSFORM, driver='GPKG', raster_table=table, **more)
    return path


def test_of_a_container_the_rasters_are_listed_and_one_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setattr(raster_file, 'MAX_LISTED', 2)
    path = container(tmp_path / 'a.gpkg', 3)
    with pytest.raises(MapError) as caught:
        built(path, tmp_path)
    said = str(caught.value)
    assert 'is a container of several rasters' in said
    listed = f'GPKG:{path}:t0, GPKG:{path}:t1 and 1 more (gdalinfo lists them)'
    assert said.endswith(f'give one of them: {listed}')
    assert built(f'GPKG:{path}:t2', tmp_path)[0].coverage == 1.0


def test_a_raster_placed_by_rational_polynomials_gets_the_right_advice(tmp_path):
    coefficients = ' '.join(['1'] + ['0'] * 19)
    tags = {
        'LINE_OFF': '0', 'SAMP_OFF': '0', 'LAT_OFF': '41', 'LONG_OFF': '-83', 'HEIGHT_OFF': '0',
        'LINE_SCALE': '1', 'SAMP_SCALE': '1', 'LAT_SCALE': '1', 'LONG_SCALE': '1',
        'HEIGHT_SCALE': '1', 'LINE_NUM_COEFF': coefficients, 'LINE_DEN_COEFF': coefficients,
        'SAMP_NUM_COEFF': coefficients, 'SAMP_DEN_COEFF': coefficients,
    }  # fmt: skip
    with rasterio.open(tmp_path / 'a.tif', 'w', width=8, height=8, count=1, dtype='uint8') as file:
        file.update_tags(ns='RPC', **tags)
    with pytest.raises(MapError, match='gdalwarp -rpc'):
        built(tmp_path / 'a.tif', tmp_path)


def test_longitudes_of_0_to_360_are_turned(tmp_path):
    """A raster at 185 degrees is one at -175."""
    step = 1e-5
    image = texture(SIZE)
    region = Region(-18.0025, -174.9975, 200.0, grid=4, depth=2)
    maps = []
    for left in (185.0, -175.0):
        transform = Affine(step, 0, left, 0, -step, -18.0)
        source = write_raster(tmp_path / f'{left}.tif', image, transform, 'EPSG:4326')
        maps.append(build(source, region, tmp_path / f'map{left}', crop_px=64))
    assert maps[0][2].all()
    np.testing.assert_array_equal(maps[0][1], maps[1][1])


def test_a_raster_across_the_180th_meridian_is_whole_on_both_sides(tmp_path):
    """The same image as elsewhere at that latitude, on a map that has its middle there."""
    step, maps = 1e-5, []
    image = texture(SIZE)
    for middle, left in ((180.0, 180.0), (-180.0, -180.0), (100.0, 100.0)):
        region = Region(-18.0025, middle, 200.0, grid=4, depth=2)
        transform = Affine(step, 0, left - SIZE / 2 * step, 0, -step, -18.0025 + SIZE / 2 * step)
        source = write_raster(tmp_path / f'{left}.tif', image, transform, 'EPSG:4326')
        maps.append(build(source, region, tmp_path / f'map{left}', crop_px=64))
    for _, pixels, mask in maps:
        assert mask.all()
        assert np.abs(pixels.astype(int) - maps[-1][1]).mean() < 0.1


def test_one_raster_of_a_container_is_built_from_by_its_name(tmp_path):
    names = []
    for name in ('a', 'b'):
        names.append(write_raster(tmp_path / f'{name}.tif', texture(64), TRANSFORM))
    with rasterio.open(names[0]) as first:
        profile = first.profile
    with rasterio.open(tmp_path / 'both.tif', 'w', **profile) as file:
        file.write(texture(64))
    with rasterio.open(
        tmp_path / 'both.tif', 'w', **profile | {'driver': 'GTiff'}, APPEND_SUBDATASET='YES'
    ) as file:
        file.write(texture(64))
    with rasterio.open(tmp_path / 'both.tif') as file:
        subdatasets = file.subdatasets
    assert len(subdatasets) == 2
    # One of them can be named, though the name is no path.
    assert built(subdatasets[0], tmp_path)[2].any()


def test_a_raster_in_an_archive_is_read(tmp_path):
    source = write_raster(tmp_path / 'a.tif', texture(SIZE), TRANSFORM)
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.write(source, 'in/a.tif')
    _, pixels, mask = built(f'/vsizip/{tmp_path}/a.zip/in/a.tif', tmp_path)
    assert mask.all() and np.abs(pixels - reference(tmp_path)).max() == 0


def test_names_that_gdal_cannot_open_are_named_as_they_were_given(tmp_path):
    for name in ('NETCDF:missing.nc:red', '/vsizip/no.zip/a.tif'):
        with pytest.raises(MapError, match=name.replace('.', r'\.')):
            built(name, tmp_path)


def test_complex_rasters_are_refused(tmp_path):
    image = np.zeros((1, 32, 32), np.complex64)
    with pytest.raises(MapError, match='complex'):
        built(write_raster(tmp_path / 'a.tif', image, TRANSFORM), tmp_path)


def test_a_vrt_whose_file_is_missing_names_that_file(tmp_path):
    source = write_raster(tmp_path / 'part.tif', texture(SIZE), TRANSFORM)
    raster_copy(source, tmp_path / 'all.vrt', driver='VRT')
    source.unlink()
    with pytest.raises(MapError, match=r'part\.tif'):
        built(tmp_path / 'all.vrt', tmp_path)


def test_a_sample_of_a_huge_file_without_overviews_decodes_no_more_than_it_may(
    tmp_path, monkeypatch
):
    """Blocks of 64 pixels, 8 by 8 of them; a sample of 4 by 4 pixels touches a quarter."""
    source = tmp_path / 'a.tif'
    write_raster(source, texture(512), TRANSFORM, tiled=True, blockxsize=64, blockysize=64)
    monkeypatch.setattr(raster_source, 'DECODED_PX', 512 * 512 // 4)
    monkeypatch.setattr(raster_source, 'MIN_SAMPLE_PX', 2)

    def shape(**options):
        with open_source(source, SourceOptions(**options)) as imagery:
            return imagery._sample_shape(Window(0, 0, 512, 512))

    assert shape() == (4, 4)
    assert shape(collar=True) == (512, 512)
    with rasterio.open(source, 'r+') as file:
        file.build_overviews([2])
    assert shape() == (512, 512)
