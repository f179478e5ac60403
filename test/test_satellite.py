"""SatelliteMap: crops against independent warps, coverage by counting, damaged maps by name."""

import shutil
from itertools import product

import numpy as np
import pytest
import rasterio
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from imagery import (
    CENTER,
    UTM,
    centroid,
    enu_by_geodesic,
    grid_round,
    latlon_at,
    spot,
    texture,
    write_raster,
)
from quick import quick_first
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject

from justzoom_ros import Region, SatelliteMap
from justzoom_ros.errors import ConfigError, MapError


@pytest.fixture(scope='module')
def town(tmp_path_factory):
    """A map of a textured town whose western third and a hole have no imagery."""
    folder = tmp_path_factory.mktemp('town')
    image = texture()
    mask = np.ones((800, 800), bool)
    mask[:, :300] = False
    mask[500:560, 500:600] = False
    image[:, ~mask] = 255
    source = write_raster(folder / 'town.tif', image, grid_round(CENTER), mask=mask)
    region = Region(*CENTER, 320.0, grid=4, depth=3)
    return SatelliteMap.build(source, region, folder / 'map', crop_px=64)


def plain_map(folder, grid, depth, cell_px, mask=None):
    """A map of random pixels at a chosen size, and those pixels."""
    region = Region(*CENTER, 64.0, grid, depth)
    side_px = cell_px * grid**depth
    pixel = 64.0 / side_px
    half = Affine.translation(-32, 32) @ Affine.scale(pixel, -pixel)
    image = np.random.default_rng(grid).integers(0, 256, (3, side_px, side_px), np.uint8)
    source = write_raster(
        folder / f'plain{grid}.tif', image, half, crs=region.crs.to_wkt(), mask=mask
    )
    built = SatelliteMap.build(
        source, region, folder / f'map{grid}', crop_px=8, resolution_m=pixel
    )
    return built, image.transpose(1, 2, 0)


def area_average(image, px):
    """Exact area average of (n, n, 3) to (px, px, 3), float64, by fractional overlap."""
    n = len(image)
    low = np.arange(px)[:, None] * n / px
    overlap = np.minimum(low + n / px, np.arange(n) + 1) - np.maximum(low, np.arange(n))
    weight = np.clip(overlap, 0, None) * px / n
    return np.einsum('ij,jkc,lk->ilc', weight, image.astype(float), weight, optimize=True)


# --- crops -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'grid, depth, cell_px', [(2, 5, 4), (3, 3, 7), (5, 2, 9), (6, 2, 5), (7, 2, 4)]
)
def test_crops_are_area_averages(tmp_path, grid, depth, cell_px):
    built, image = plain_map(tmp_path, grid, depth, cell_px)
    np.testing.assert_array_equal(built.pixels, image)
    for level in range(depth):
        actions = (grid * grid - 2,) * level
        side = cell_px * grid ** (depth - level)
        rows, columns = built.region.rows_columns(level, built.region.cell_index(actions))
        cell = image[rows * side : (rows + 1) * side, columns * side : (columns + 1) * side]
        for px in {min(px, side) for px in (8, 11, side)}:
            difference = np.abs(built.crop(actions, px) - area_average(cell, px))
            # Exact for noise where the ratio is whole; else what a pyramid of it loses at most.
            bound = 0.6 if side % px == 0 else 0.15 * cell.std()
            assert difference.mean() < bound


def test_enlarged_crops_know_their_neighbours(town):
    """Tiles of an enlarged picture of a cell's children fit the enlarged cell without seams."""
    cell = (6, 9)
    whole = town.crop(cell, 256).astype(int)
    parts = [town.crop((*cell, action), 64) for action in range(16)]
    joined = np.concatenate([np.concatenate(parts[r * 4 : r * 4 + 4], axis=1) for r in range(4)])
    assert np.abs(joined - whole).max() <= 2


@pytest.mark.parametrize('angle_deg', quick_first(1, [30.0, 0.0]))
@pytest.mark.parametrize('crs, pixel', [(UTM, 0.5), ('EPSG:3857', 0.7), ('EPSG:4326', 5e-6)])
def test_a_landmark_is_where_it_should_be(tmp_path, crs, pixel, angle_deg):
    lat, lon = latlon_at(37.3, -52.1)
    transform = grid_round(CENTER, crs, pixel=pixel, angle_deg=angle_deg)
    source = write_raster(tmp_path / 'spot.tif', spot(transform, crs, lat, lon), transform, crs)
    region = Region(*CENTER, 256.0, grid=4, depth=2)
    built = SatelliteMap.build(source, region, tmp_path / 'map', crop_px=128)
    for level, px in product((0, 1), (96, 128, 384)):
        cell = region.cell(region.encode(lat, lon)[:level])
        column, row = centroid(built.crop(cell.actions, px))
        east, north = enu_by_geodesic(lat, lon)
        metres = cell.side_m / px
        assert column == pytest.approx((east - cell.east_m) / metres + px / 2, abs=0.25)
        assert row == pytest.approx((cell.north_m - north) / metres + px / 2, abs=0.25)


def warped(source, region, cell, px):
    """A cell straight from the source by GDAL: uint8 (px, px, 3), and where it has imagery."""
    size = cell.side_m / px
    corner = (cell.east_m - cell.side_m / 2, cell.north_m + cell.side_m / 2)
    with rasterio.open(source) as file:
        finer = size / (file.res[0] * np.cos(np.radians(region.latitude)))
        result = np.zeros((4, px, px), np.uint8)
        reproject(
            np.concatenate([file.read((1, 2, 3)), file.dataset_mask()[None]]),
            result,
            src_transform=file.transform,
            src_crs=file.crs,
            dst_transform=Affine.translation(*corner) @ Affine.scale(size, -size),
            dst_crs=region.crs.to_wkt(),
            src_alpha=4,
            dst_alpha=4,
            resampling=Resampling.average if finer > 1.5 else Resampling.cubic,
        )
    return result[:3].transpose(1, 2, 0), result[3] == 255


@pytest.mark.slow
def test_real_crops_agree_with_a_direct_warp(shared, tmp_path):
    source = shared / 'data' / 'berkeley' / 'berkeley_naip.tif'
    region = Region(37.8717, -122.2593, 600.0, grid=4, depth=3)
    built = SatelliteMap.build(source, region, tmp_path / 'map', crop_px=96)
    assert built.info.coverage == 1.0
    for actions in ((), (5,), (0,), (10, 3), (6, 15)):
        truth, covered = warped(source, region, region.cell(actions), 96)
        difference = np.abs(built.crop(actions, 96).astype(int) - truth)[covered]
        assert covered.all() and difference.mean() < 2.0


# --- coverage ----------------------------------------------------------------------------------


def test_coverage_is_the_share_of_covered_pixels(town):
    for level in range(4):
        side = len(town.mask) // 4**level
        shares = town.level_coverage(level)
        assert shares.shape == (16**level,)
        rows, columns = town.region.rows_columns(level, np.arange(16**level))
        for index in range(0, 16**level, 37):
            r, c = rows[index] * side, columns[index] * side
            share = town.mask[r : r + side, c : c + side].mean()
            assert shares[index] == pytest.approx(share, abs=1e-12)
            assert town.coverage(town.region.actions_of(level, index)) == pytest.approx(share)
    # The imagery begins 50 m west of the centre, the region 160 m west of it.
    assert town.coverage(()) == pytest.approx(210 / 320 - 30 * 50 / 320**2, abs=0.005)
    assert town.info.coverage == pytest.approx(town.coverage(()))


def test_uncovered_parts_are_filled_and_do_not_bleed(tmp_path):
    mask = np.ones((144, 144), bool)
    mask[:, :50] = False
    mask[70:75] = False
    image = np.full((3, 144, 144), 255, np.uint8)
    red, blue = [200, 40, 0], [0, 40, 200]
    image[:, :, :96], image[:, :, 96:] = (
        np.array(red)[:, None, None],
        np.array(blue)[:, None, None],
    )
    region = Region(*CENTER, 144.0, grid=3, depth=2)
    transform = Affine.translation(-72, 72) @ Affine.scale(1, -1)
    source = write_raster(tmp_path / 'a.tif', image, transform, region.crs.to_wkt(), mask=mask)
    built = SatelliteMap.build(source, region, tmp_path / 'map', crop_px=11, resolution_m=1.0)
    np.testing.assert_array_equal(built.mask, mask)
    colours = np.array([built.fill_rgb, red, blue])
    for level, action in product(range(1, 3), range(9)):
        crop = built.crop((action,) * level)
        to_nearest = np.abs(crop[:, :, None] - colours).sum(axis=-1).min(axis=-1)
        assert to_nearest.max() <= 1


def test_a_cell_without_imagery_is_the_fill_colour(town):
    assert town.coverage((4,)) == 0.0
    assert np.unique(town.crop((4,), 32).reshape(-1, 3), axis=0).tolist() == [list(town.fill_rgb)]
    mean = town.pixels[town.mask].mean(axis=0)
    np.testing.assert_allclose(town.fill_rgb, mean, atol=0.51)


# --- the object --------------------------------------------------------------------------------


def test_opening_gives_what_was_built(town):
    opened = SatelliteMap.open(town.path)
    assert opened.info == town.info and opened.region == town.region
    np.testing.assert_array_equal(opened.pixels, town.pixels)
    np.testing.assert_array_equal(opened.mask, town.mask)
    assert opened.checksum == town.checksum and len(town.checksum) == 64
    assert opened.resolution_m * len(opened.pixels) == opened.region.side_m
    assert opened.picture(100).shape == (100, 100, 3)
    assert opened.crop(()).shape == (opened.crop_px, opened.crop_px, 3)
    assert 4 / 3 * opened.pixels.nbytes < opened.memory_bytes < 2 * opened.pixels.nbytes


def test_a_crop_is_a_copy(town):
    before = town.crop((5, 5))
    town.crop((5, 5))[:] = 0
    np.testing.assert_array_equal(town.crop((5, 5)), before)


@given(st.lists(st.integers(0, 15), max_size=3), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_any_cell_at_any_size(town, actions, px):
    crop = town.crop(actions, px)
    assert crop.shape == (px, px, 3) and crop.dtype == np.uint8
    assert 0.0 <= town.coverage(actions) <= 1.0


@pytest.mark.parametrize('actions', [(16,), (-1,), (0, 0, 0, 0)])
def test_impossible_cells_are_refused(town, actions):
    with pytest.raises(ConfigError, match='no cell'):
        town.crop(actions)
    with pytest.raises(ConfigError, match='no cell'):
        town.coverage(actions)


@pytest.mark.parametrize('px', [0, -3, 2.5, 10**6])
def test_impossible_sizes_are_refused(town, px):
    with pytest.raises(ConfigError, match='px'):
        town.crop((), px)


def test_impossible_levels_are_refused(town):
    with pytest.raises(ConfigError, match='level'):
        town.level_coverage(4)


# --- damaged maps ------------------------------------------------------------------------------


@pytest.fixture
def copy(town, tmp_path):
    return shutil.copytree(town.path, tmp_path / 'copy')


def change(folder, **values):
    path = folder / 'map.yaml'
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}))


def test_missing_things_are_named(copy, tmp_path):
    with pytest.raises(MapError, match='nowhere is not a folder'):
        SatelliteMap.open(tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(MapError, match=r'no map\.yaml'):
        SatelliteMap.open(tmp_path / 'empty')
    (copy / 'map.tif').unlink()
    with pytest.raises(MapError, match=r'map\.tif is missing'):
        SatelliteMap.open(copy)


def test_a_truncated_or_changed_tif_is_noticed(copy):
    content = (copy / 'map.tif').read_bytes()
    for damaged in (content[:-100], content[: len(content) // 2], b'', content[:-1] + b'x'):
        (copy / 'map.tif').write_bytes(damaged)
        with pytest.raises(MapError, match='do not fit together'):
            SatelliteMap.open(copy)


def test_a_changed_region_is_noticed(copy, town):
    region = {**yaml.safe_load((copy / 'map.yaml').read_text())['region']}
    change(copy, region={**region, 'latitude': region['latitude'] + 1e-6})
    with pytest.raises(MapError, match='do not fit together'):
        SatelliteMap.open(copy)


@pytest.mark.parametrize(
    'text', ['', '- a\n- b\n', 'format: 1\nregion: [', '\x00\x01', 'a: !!python/x 1']
)
def test_a_yaml_that_is_none_is_refused(copy, text):
    (copy / 'map.yaml').write_text(text)
    with pytest.raises(MapError, match=r'map\.yaml'):
        SatelliteMap.open(copy)


@pytest.mark.parametrize(
    'values',
    [
        {'format': 2},
        {'region': None},
        {'region': {'latitude': 1.0}},
        {'region': {'latitude': 95.0, 'longitude': 0.0, 'side_m': 10.0}},
        {'side_px': 0},
        {'side_px': 65},
        {'side_px': 10**9},
        {'side_px': 'big'},
        {'side_px': True},
        {'crop_px': -1},
        {'coverage': float('nan')},
        {'coverage': 2},
        {'fill_rgb': [1, 2]},
        {'fill_rgb': [1, 2, 300]},
        {'fill_rgb': [1, 2, 'x']},
        {'stretch': [[3, 1]]},
        {'stretch': 'wide'},
        {'checksum': 5},
        {'source': None},
    ],
)
def test_wrong_values_in_the_yaml_are_refused(copy, values):
    change(copy, **values)
    with pytest.raises(MapError, match=next(iter(values))):
        SatelliteMap.open(copy)
