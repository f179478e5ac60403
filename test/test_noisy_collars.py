"""Collars that are nearly black, as compression leaves them, and imagery that is dark itself."""

import io
import logging

import cv2
import numpy as np
import pytest
import rasterio
from imagery import CENTER, grid_round, texture, write_raster
from PIL import Image

from justzoom_ros.maps.build import build
from justzoom_ros.maps.raster_mask import Sample, find_collar
from justzoom_ros.region import Region

SIZE = 300


def imagery():
    """Bands (3, n, n) uint8 of 40 and more, with a few dark roofs."""
    bands = texture(SIZE) // 2 + 40
    bands[:, 120:140, 200:230] = 3
    return bands


def tilted():
    """Flags (n, n) of a rotated scan in its frame, which are half of it."""
    corners = cv2.boxPoints(((SIZE / 2, SIZE / 2), (200.0, 230.0), 15.0))
    return cv2.fillConvexPoly(np.zeros((SIZE, SIZE), np.uint8), np.intp(corners), 1) > 0


def jpeg(bands, quality):
    """What a JPEG makes of the bands."""
    file = io.BytesIO()
    Image.fromarray(bands.transpose(1, 2, 0)).save(file, 'JPEG', quality=quality)
    return np.asarray(Image.open(file)).transpose(2, 0, 1)


NOISE = {
    'uniform': lambda rng: rng.integers(0, 13, (3, SIZE, SIZE)).astype(np.uint8),
    'uniform grey': lambda rng: np.repeat(
        rng.integers(0, 13, (1, SIZE, SIZE)).astype(np.uint8), 3, axis=0
    ),
    'half zero': lambda rng: np.clip(rng.normal(0, 4, (3, SIZE, SIZE)), 0, 12).astype(np.uint8),
}


def found(bands, covered=None, lossy=False):
    covered = np.ones(bands.shape[1:], bool) if covered is None else covered
    return find_collar(Sample(bands, covered, rasterio.Affine.identity(), None), lossy)


@pytest.mark.parametrize('kind', NOISE)
def test_a_collar_of_noise_is_found_whole_and_nothing_else(kind):
    inside = tilted()
    bands = np.where(inside, imagery(), NOISE[kind](np.random.default_rng(1)))
    collar = found(bands)
    assert collar.share == pytest.approx((~inside).mean(), rel=0.02)
    assert not collar.flags[cv2.erode(inside.astype(np.uint8), np.ones((5, 5))) > 0].any()
    assert collar.flags[~inside].mean() > 0.98


@pytest.mark.parametrize('quality', [30, 60, 90])
def test_what_jpeg_makes_of_a_black_collar_is_found(quality):
    inside = tilted()
    collar = found(jpeg(np.where(inside, imagery(), 0).astype(np.uint8), quality))
    assert collar.share == pytest.approx((~inside).mean(), rel=0.05)
    assert collar.flags[inside].mean() < 0.01 and collar.flags[~inside].mean() > 0.95


def water(rng, low, high):
    """A lake over the west third, its waves from `low` to `high` in every band."""
    bands = imagery()
    waves = cv2.GaussianBlur(rng.normal(0, 1, (SIZE, SIZE)), (0, 0), 2.0)
    waves = (waves - waves.min()) / (waves.max() - waves.min())
    lake = np.arange(SIZE)[None, :] < 100 + 15 * np.sin(np.arange(SIZE)[:, None] / 20.0)
    return np.where(lake, low + (high - low) * waves, bands).astype(np.uint8), lake


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('values', [(4, 30), (2, 20), (10, 40)])
def test_dark_water_at_the_border_is_imagery(values, seed):
    bands, _ = water(np.random.default_rng(seed), *values)
    assert found(bands) is None and found(jpeg(bands, 75)) is None


def test_a_shadow_that_fades_at_the_border_is_imagery():
    light = np.clip((np.arange(SIZE) - 20) / 60.0, 0.1, 1.0)
    bands = (imagery() * light).astype(np.uint8)
    assert (bands[:, :, :20] < 12).mean() > 0.5
    assert found(bands) is None


def test_dark_water_beside_a_black_collar_stays_imagery():
    """The collar is of one colour, the water is not."""
    bands, lake = water(np.random.default_rng(0), 3, 11)
    collar = np.zeros((SIZE, SIZE), bool)
    collar[:80] = True
    bands[:, collar] = 0
    assert (found(bands).flags == collar).all()
    assert (lake & ~collar).mean() > 0.2


def test_numbers_of_other_types_are_not_taken_for_nearly_black():
    """Ten of 65,535 may be anything."""
    bands = np.where(tilted(), imagery() * 100, NOISE['uniform'](np.random.default_rng(1)))
    assert found(bands.astype(np.uint16)) is None


def test_a_noisy_collar_is_told_and_left_out_where_that_is_asked_for(tmp_path, caplog):
    inside = tilted()
    bands = np.where(inside, imagery(), NOISE['uniform'](np.random.default_rng(1)))
    source = write_raster(tmp_path / 'scan.tif', bands, grid_round(CENTER, size_px=SIZE))
    region = Region(*CENTER, 150.0, grid=4, depth=2)
    with caplog.at_level(logging.WARNING):
        info, _, _ = build(source, region, tmp_path / 'map', crop_px=32)
    assert info.coverage > 0.99
    assert 'scan.tif' in caplog.text and 'nearly black' in caplog.text
    assert '--collar' in caplog.text and 'water' in caplog.text
    info, _, mask = build(source, region, tmp_path / 'cut', crop_px=32, collar=True)
    assert info.coverage == pytest.approx(inside.mean(), abs=0.04)
    assert not mask[:6].any() and mask[mask.shape[0] // 2, mask.shape[1] // 2]
