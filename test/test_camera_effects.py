"""The pieces of all camera models, each against a short calculation in float64."""

import io

import numpy as np
import pytest
from PIL import Image

from justzoom_ros.io.camera_effects import (
    blur,
    compress,
    corner_distance,
    draw_noise,
    encode_jpeg,
    scale_contrast,
    scale_saturation,
    smooth_field,
)


@pytest.fixture
def picture():
    return np.random.default_rng(0).uniform(0, 1, (32, 48, 3)).astype(np.float32)


def test_contrast_is_about_the_mean_colour(picture):
    mean = picture.astype(float).mean((0, 1))
    expected = mean + 1.5 * (picture.astype(float) - mean)
    np.testing.assert_allclose(scale_contrast(picture, 1.5), expected, atol=1e-5)


def test_without_saturation_every_pixel_is_grey(picture):
    grey = scale_saturation(picture, 0.0)
    np.testing.assert_allclose(grey, np.repeat(picture.mean(2, keepdims=True), 3, 2), atol=1e-6)
    np.testing.assert_allclose(scale_saturation(picture, 1.0), picture, atol=1e-6)


def test_corners_are_at_distance_one_from_the_middle():
    far = corner_distance((5, 9))
    assert far.shape == (5, 9, 1) and far[2, 4, 0] == 0
    assert far[[0, 0, -1, -1], [0, -1, 0, -1], 0] == pytest.approx([1, 1, 1, 1])
    assert far[2, 0, 0] == pytest.approx(0.5)
    aside = corner_distance((5, 9), (1.0, 0.0))
    assert aside[2, 8, 0] == 0 and aside[2, 0, 0] == pytest.approx(2.0)


def test_a_field_is_smooth_and_keeps_even_values():
    np.testing.assert_allclose(smooth_field(np.full((3, 4), 2.0), (20, 30)), 2.0, rtol=1e-6)
    steps = np.diff(smooth_field(np.random.default_rng(1).normal(size=(3, 4)), (60, 80)), axis=1)
    assert np.abs(steps).max() < 0.3


def test_blur_keeps_the_mean_and_takes_detail(picture):
    soft = blur(picture, 2.0)
    assert soft.mean() == pytest.approx(picture.mean(), abs=0.01)
    assert soft.std() < 0.3 * picture.std()
    assert blur(picture, 0.1) is picture


def test_noise_has_its_standard_deviation_and_its_seed():
    noise = draw_noise((100, 100, 3), 0.2, np.random.default_rng(3))
    assert noise.std() == pytest.approx(0.2, rel=0.03) and abs(noise.mean()) < 0.01
    again = draw_noise((100, 100, 3), 0.2, np.random.default_rng(3))
    np.testing.assert_array_equal(noise, again)


def test_jpeg_keeps_red_red_and_loses_more_at_low_quality():
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[..., 0] = 200
    with Image.open(io.BytesIO(encode_jpeg(pixels, 90))) as read:
        assert read.format == 'JPEG' and np.abs(np.asarray(read).astype(int) - pixels).max() < 6
    assert np.abs(compress(pixels, 90).astype(int) - pixels).max() < 6
    # Grey, since colour is stored coarsely at any quality.
    rough = np.random.default_rng(0).integers(0, 256, (32, 32, 1), np.uint8).repeat(3, axis=2)
    lost = [np.abs(compress(rough, quality).astype(int) - rough).mean() for quality in (20, 90)]
    assert lost[0] > 2 * lost[1]
