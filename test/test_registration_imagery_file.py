"""Imagery for training in one file, and patchworks of small pictures."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from justzoom_ros.errors import DatasetError
from justzoom_ros.training.registration.imagery import Place, make_picture
from justzoom_ros.training.registration.imagery_file import read_places, write_places
from justzoom_ros.training.registration.patchwork import sew


def place(name, side=160, metres_per_px=0.5, seed=0, dates=1, covered=True, ground=''):
    blocks = np.random.default_rng(seed).integers(0, 255, (side // 16, side // 16, 3))
    pixels = np.kron(blocks, np.ones((16, 16, 1), int)).astype(np.uint8)
    mask = np.ones((side, side), bool)
    mask[: 0 if covered else side // 4] = False
    pictures = tuple(make_picture(pixels, mask, metres_per_px) for _ in range(dates))
    return Place(name, 'CC0', pictures, False, ground)


def test_places_come_out_of_a_file_as_they_went_in_but_for_the_compression(tmp_path):
    places = [place('one', dates=2, ground='fields'), place('hole', seed=1, covered=False)]
    write_places(tmp_path / 'imagery', places, finest_m=0.5)
    found = read_places(tmp_path / 'imagery')
    assert [(p.name, p.licence, p.ground, len(p.pictures)) for p in found] == [
        ('one', 'CC0', 'fields', 2),
        ('hole', 'CC0', '', 1),
    ]
    for old, new in zip(places, found, strict=True):
        before, after = old.pictures[0].layers[0], new.pictures[0].layers[0]
        assert after.metres_per_px == before.metres_per_px
        assert (after.mask == before.mask).mean() > 0.98
        seen = before.mask > 0
        assert np.abs(before.pixels.astype(int) - after.pixels)[seen].mean() < 12


def test_pictures_finer_than_training_needs_are_averaged_down(tmp_path):
    write_places(tmp_path / 'imagery', [place('fine', metres_per_px=0.1)], finest_m=0.2)
    layer = read_places(tmp_path / 'imagery')[0].pictures[0].layers[0]
    assert layer.mask.shape == (80, 80) and layer.metres_per_px == pytest.approx(0.2)


def test_another_file_is_refused(tmp_path):
    save_file({'0': np.zeros(3, np.uint8)}, tmp_path / 'other')
    with pytest.raises(DatasetError, match='not a file of imagery'):
        read_places(tmp_path / 'other')
    with pytest.raises(DatasetError, match='cannot be read'):
        read_places(tmp_path / 'gone')


@pytest.mark.slow
def test_a_patchwork_is_made_of_its_pictures():
    flat = []
    for level in (10, 60, 120, 200):
        pixels = np.full((128, 128, 3), level, np.uint8)
        pixels[..., 1] = level // 2
        picture = make_picture(pixels, np.ones((128, 128), bool), 0.3)
        flat.append(Place(f'level {level}', 'CC0', (picture,)))
    sewn = sew(flat, 2, np.random.default_rng(0))
    layer = sewn.pictures[0].layers[0]
    assert sewn.name == 'patchwork of level 10' and layer.metres_per_px == 0.3
    assert all(128 <= side <= 256 for side in layer.mask.shape)
    colors = {tuple(color) for color in layer.pixels.reshape(-1, 3).tolist()}
    assert len(colors) == 4
    assert all(green == pytest.approx(red / 2, abs=1) for red, green, _ in colors)
