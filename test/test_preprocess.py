"""What the encoder sees of a camera image."""

import numpy as np
import pytest
import torch
from PIL import Image

from justzoom_ros.errors import ImageError
from justzoom_ros.inference.preprocess import ground_views, normalize
from justzoom_ros.io.images import read_picture, resize
from justzoom_ros.models import PolicyConfig


def test_a_street_image_becomes_its_left_and_right_square():
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, :100] = (255, 0, 0)
    views = ground_views(image, PolicyConfig(view='street', ground_px=50))
    assert views.shape == (2, 50, 50, 3)
    assert (views[0] == (255, 0, 0)).all() and (views[1] == 0).all()


def test_a_street_image_of_another_shape_is_resized_as_published():
    views = ground_views(np.zeros((300, 400, 3), np.uint8), PolicyConfig(ground_px=384))
    assert views.shape == (2, 384, 384, 3)


def test_a_nadir_image_is_cut_about_its_centre_not_squeezed():
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, 100:200] = 255
    config = PolicyConfig(view='nadir', ground_px=64, ground_aspect=1.0)
    views = ground_views(image, config)
    assert views.shape == (1, 64, 64, 3)
    assert (views == 255).all()


def test_downwards_is_an_area_average():
    image = np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)
    means = image.reshape(20, 4, 30, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize(image, 30, 20) - means).max() <= 0.51


def test_normalised_is_the_definition_of_imagenet():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = ((images / 255.0 - mean) / std).transpose(0, 3, 1, 2)
    got = normalize(images)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    'image',
    [
        None,
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
)
def test_what_is_no_image_is_named(image):
    with pytest.raises(ImageError, match='camera image'):
        ground_views(image, PolicyConfig())


def test_a_picture_is_read_upright(tmp_path):
    tags = Image.Exif()
    tags[0x0112] = 6  # to be turned clockwise by a quarter
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 20:] = 255
    Image.fromarray(pixels).save(tmp_path / 'turned.png', exif=tags)
    upright = read_picture(tmp_path / 'turned.png')
    assert upright.shape == (40, 20, 3)
    assert upright[0, 0, 0] == 0 and upright[-1, 0, 0] == 255


def test_pictures_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ImageError, match=r'absent\.jpg: no such picture'):
        read_picture(tmp_path / 'absent.jpg')
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / 'cut.jpg')
    whole = (tmp_path / 'cut.jpg').read_bytes()
    (tmp_path / 'cut.jpg').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r'cut\.jpg is corrupt'):
        read_picture(tmp_path / 'cut.jpg')
