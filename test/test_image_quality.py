"""Pictures that show nothing are told by name; real ones over plain fields pass."""

import cv2
import numpy as np
import pytest

from justzoom_ros.inference.image_quality import ImageFault, image_fault, images_fault
from justzoom_ros.io.images import read_picture

SHAPE = (480, 640)


def picture(grey):
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def noise(mean, std, seed=0):
    return picture(np.random.default_rng(seed).normal(mean, std, SHAPE))


def texture(contrast=40.0, mean=120.0, seed=0):
    """Ground with structure of about 30 pixels."""
    rough = np.random.default_rng(seed).normal(0, 1, SHAPE).astype(np.float32)
    smooth = cv2.GaussianBlur(rough, (0, 0), 8)
    return picture(mean + contrast * smooth / smooth.std())


GRADIENT = picture(np.tile(np.linspace(60, 200, SHAPE[1]), (SHAPE[0], 1)))


@pytest.mark.parametrize(
    ('image', 'fault'),
    [
        (picture(np.zeros(SHAPE)), ImageFault.DARK),
        (noise(3, 4), ImageFault.DARK),
        (picture(np.full(SHAPE, 255)), ImageFault.OVEREXPOSED),
        (noise(253, 6), ImageFault.OVEREXPOSED),
        (picture(np.full(SHAPE, 128)), ImageFault.FLAT),
        (noise(128, 6), ImageFault.FLAT),
        (GRADIENT, ImageFault.BLURRED),
    ],
    ids=['black', 'dark noise', 'white', 'glare', 'one grey', 'noise', 'gradient'],
)
def test_what_shows_nothing_is_told_by_name(image, fault):
    assert image_fault(image) is fault


@pytest.mark.slow
def test_a_hand_over_the_lens_is_blurred():
    soft = cv2.GaussianBlur(texture(contrast=30.0, mean=90.0), (0, 0), 60)
    assert image_fault(soft) in (ImageFault.BLURRED, ImageFault.FLAT)


@pytest.mark.parametrize('contrast', [6.0, 40.0])
def test_ground_with_structure_passes(contrast):
    assert image_fault(texture(contrast)) is None


def test_a_rig_is_usable_as_long_as_one_camera_is():
    black, ground = picture(np.zeros(SHAPE)), texture()
    assert images_fault([black, ground]) is None
    assert images_fault([black, picture(np.full(SHAPE, 255))]) is ImageFault.DARK


@pytest.mark.slow
def test_every_frame_of_a_real_flight_over_fields_passes(shared):
    frames = sorted((shared / 'data' / 'seneca' / 'images').glob('*.jpg'))[::6]
    assert frames and all(image_fault(read_picture(frame)) is None for frame in frames)
