"""Pictures and calibrations as drivers publish them."""

import io
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from justzoom_ros.errors import ConfigError, ImageError
from justzoom_ros.io.image_message import UsedDepth, image_from_message
from justzoom_ros.io.images import read_picture
from justzoom_ros.io.undistortion import Undistorter
from justzoom_ros.training.nadir_views import NadirViewConfig, NadirViews

HEIGHT, WIDTH = 8, 12


def raw(samples, encoding, step=None):
    """A stand-in for sensor_msgs/Image of rows of uint8 or little-endian uint16."""
    rows = samples.astype('<u2') if samples.dtype == np.uint16 else samples
    rows = np.ascontiguousarray(rows).view(np.uint8).reshape(len(samples), -1)
    return SimpleNamespace(
        encoding=encoding, width=WIDTH, height=HEIGHT, is_bigendian=0,
        step=rows.shape[1] if step is None else step, data=rows.tobytes(),
    )  # fmt: skip


def compressed(samples):
    """A stand-in for sensor_msgs/CompressedImage: a PNG of 16 bits."""
    file = io.BytesIO()
    Image.fromarray(samples).save(file, 'PNG')
    return SimpleNamespace(format='16UC1; png compressed', data=file.getvalue())


def grey(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH), np.uint8)


@pytest.mark.parametrize('encoding', ['mono8', 'rgb8', 'nv12', 'yuyv'])
def test_a_step_of_0_is_that_of_rows_without_padding(encoding):
    rows, columns = {
        'mono8': (8, 12), 'rgb8': (8, 36), 'nv12': (12, 12), 'yuyv': (8, 24),
    }[encoding]  # fmt: skip
    samples = np.random.default_rng(1).integers(0, 256, (rows, columns), np.uint8)
    whole = image_from_message(raw(samples, encoding))
    np.testing.assert_array_equal(image_from_message(raw(samples, encoding, step=0)), whole)


def test_a_step_of_0_with_too_much_data_is_refused():
    with pytest.raises(ImageError, match='step is 0'):
        image_from_message(raw(np.zeros((HEIGHT, WIDTH + 4), np.uint8), 'mono8', step=0))


def test_nv12_by_hand():
    """BT.601: red of 255, 0, 0 is Y 81, Cb 90, Cr 240; nv12 has Cb first, nv21 Cr."""
    planes = np.full((HEIGHT * 3 // 2, WIDTH), 81, np.uint8)
    planes[HEIGHT:, 0::2], planes[HEIGHT:, 1::2] = 90, 240
    image = image_from_message(raw(planes, 'nv12'))
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(image.astype(int) - (255, 0, 0)).max() <= 3
    swapped = image_from_message(raw(planes, 'nv21'))
    assert swapped[0, 0, 2] > 200 and swapped[0, 0, 0] < 60


# --- sixteen bits ------------------------------------------------------------------------------


@pytest.mark.parametrize('bits', [10, 12, 14, 16])
def test_pictures_of_fewer_than_16_bits_are_as_bright_as_in_8(bits):
    small = grey()
    small[0, 0], small[-1, -1] = 0, 255
    small[4] = 255
    white = 2**bits - 1
    deep = np.rint(small * (white / 255)).astype(np.uint16)
    image = image_from_message(raw(deep, 'mono16'), depth=UsedDepth())
    assert np.abs(image[..., 0].astype(int) - small).max() <= 1


def test_thermal_values_are_scaled_between_the_limits_that_are_given():
    """Kelvin times 100, as radiometric cameras say: 10 to 40 degrees Celsius."""
    kelvin = np.linspace(273.15 + 5, 273.15 + 45, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    expected = np.clip((kelvin - 283.15) / 30, 0, 1) * 255
    deep = np.rint(kelvin * 100).astype(np.uint16)
    depth = UsedDepth((28315, 31315))
    for message in (raw(deep, '16UC1'), compressed(deep)):
        image = image_from_message(message, depth=depth)
        assert np.abs(image - expected[..., None]).max() <= 1
    flat = image_from_message(raw(deep, '16UC1'), depth=UsedDepth())
    assert np.ptp(flat) < 40  # which is why


@pytest.mark.parametrize('limits', [(5, 5), (9, 5), (-1, 5), (0, 70_000), (float('nan'), 5)])
def test_limits_that_cannot_be_are_refused(limits):
    with pytest.raises(ConfigError, match='image range'):
        UsedDepth(limits)


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_picture_files_of_14_bits_are_as_bright_as_in_8(tmp_path, suffix):
    small = grey()
    small[4] = 255
    deep = np.rint(small * (16383 / 255.0)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / f'a.{suffix}')
    image = read_picture(tmp_path / f'a.{suffix}')
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(image[..., 0].astype(int) - small).max() <= 1
    low, high = 4096, 8192
    cut = read_picture(tmp_path / f'a.{suffix}', UsedDepth((low, high)))[..., 0]
    assert np.abs(cut - ((deep - float(low)) / (high - low)).clip(0, 1) * 255).max() <= 1


def test_the_depth_is_kept_over_frames():
    depth = UsedDepth()
    bright, dark = (
        np.full((HEIGHT, WIDTH), 4000, np.uint16),
        np.full((HEIGHT, WIDTH), 40, np.uint16),
    )
    assert image_from_message(raw(bright, 'mono16'), depth=depth).max() == round(4000 * 255 / 4095)
    assert image_from_message(raw(dark, 'mono16'), depth=depth).max() == round(40 * 255 / 4095)


def test_a_few_hot_pixels_are_no_sign_of_16_bits():
    small = np.random.default_rng(2).integers(0, 4096, (64, 64)).astype(np.uint16)
    small[3, 3] = 65535
    depth = UsedDepth()
    assert depth.white(small) == 4095


def test_without_a_depth_all_16_bits_count():
    deep = np.full((HEIGHT, WIDTH), 4112, np.uint16)
    assert image_from_message(raw(deep, 'mono16')).max() == 16


# --- calibrations ------------------------------------------------------------------------------


def undistorted(model, coefficients):
    info = SimpleNamespace(
        width=160, height=120, distortion_model=model, d=coefficients,
        k=[100.0, 0, 80, 0, 100, 60, 0, 0, 1],
    )  # fmt: skip
    made = Undistorter()
    made.set_info(info)
    image = np.random.default_rng(0).integers(0, 256, (15, 20, 3), np.uint8)
    return made.undistort(cv2.resize(image, (160, 120)))


PINHOLE = (-0.2, 0.05, 0.001, 0.002)


@pytest.mark.parametrize('model', ['plumb_bob', 'rational_polynomial'])
@pytest.mark.parametrize('length', [4, 5, 6, 8, 9, 12, 14, 16])
def test_zeros_behind_the_coefficients_of_a_pinhole_change_nothing(model, length):
    padded = PINHOLE + (0.0,) * (length - 4)
    np.testing.assert_array_equal(undistorted(model, padded), undistorted('plumb_bob', PINHOLE))


def test_coefficients_that_are_left_away_are_zeros():
    short = undistorted('plumb_bob', (-0.2, 0.05))
    np.testing.assert_array_equal(short, undistorted('plumb_bob', (-0.2, 0.05, 0, 0)))


@pytest.mark.parametrize('model', ['equidistant', 'fisheye'])
@pytest.mark.parametrize('length', [2, 4, 5, 8])
def test_fisheye_lenses_of_any_length(model, length):
    values = (0.1, -0.02) + (0.0,) * (length - 2)
    whole = undistorted('equidistant', (0.1, -0.02, 0.0, 0.0))
    np.testing.assert_array_equal(undistorted(model, values), whole)
    assert not np.array_equal(whole, undistorted('plumb_bob', ()))


@pytest.mark.parametrize('length', [0, 4, 5, 8])
def test_an_empty_model_with_zeros_is_no_distortion(length):
    straight = undistorted('plumb_bob', ())
    np.testing.assert_array_equal(undistorted('', (0.0,) * length), straight)
    with pytest.raises(ImageError, match="''"):
        undistorted('', (0.1,) * 4)


# --- training ----------------------------------------------------------------------------------


def flat_map(side_m, covered):
    """A map of 64 x 64 pixels whose west has imagery."""
    mask = np.zeros((64, 64), bool)
    mask[:, : round(64 * covered)] = True
    return SimpleNamespace(
        path='maps/farm', region=SimpleNamespace(side_m=side_m), resolution_m=side_m / 64,
        mask=mask, pixels=np.full((64, 64, 3), 90, np.uint8),
    )  # fmt: skip


def test_a_footprint_wider_than_the_map_is_refused():
    config = NadirViewConfig(footprint_m=(100.0, 9000.0))
    with pytest.raises(ConfigError, match='9000 m is wider than maps/farm, .* 640 m wide'):
        NadirViews(flat_map(640.0, 1.0), (16, 16), config)
    NadirViews(flat_map(640.0, 1.0), (16, 16), NadirViewConfig(footprint_m=(100.0, 200.0)))


def test_a_map_of_which_views_would_show_too_little_is_refused():
    config = NadirViewConfig(footprint_m=(500.0, 600.0))
    with pytest.raises(ConfigError, match='at most .*% imagery and 60% are needed'):
        NadirViews(flat_map(640.0, 0.1), (16, 16), config)
