"""The registration network: features of maps and views, what a match is worth, its files."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from justzoom_ros.errors import ConfigError, ImageError, WeightsError
from justzoom_ros.registration.config import RegistrationConfig
from justzoom_ros.registration.network import SHIPPED, RegistrationNetwork
from justzoom_ros.registration.normalize import LEAST_STD, normalize_pixels

SMALL = RegistrationConfig(4, (8, 8, 8), (1, 1, 1), shared=False, normalization_px=33)


def picture(height, width, seed=0):
    """Noise at two scales, so that there is something to see everywhere."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 1, (height // 8 + 2, width // 8 + 2, 3))
    fine = np.kron(coarse, np.ones((8, 8, 1)))[:height, :width]
    return (200 * fine + rng.uniform(0, 55, (height, width, 3))).astype(np.uint8)


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return RegistrationNetwork(SMALL).eval()


def test_features_of_a_map_have_length_one_where_there_is_imagery_and_zero_elsewhere(network):
    mask = np.ones((96, 64), bool)
    mask[:, :20] = False
    lengths = network.map_features(picture(96, 64), mask).norm(dim=0)
    assert lengths.shape == (48, 32)
    assert (lengths[:, :10] == 0).all()
    torch.testing.assert_close(lengths[:, 10:], torch.ones(48, 22))


def test_features_of_a_view_are_never_longer_than_one(network):
    lengths = network.view_features(picture(64, 80)).norm(dim=0)
    assert lengths.shape == (32, 40)
    assert ((lengths > 0) & (lengths < 1)).all()


@pytest.mark.parametrize('size', [(16, 16), (17, 40), (63, 65)])
def test_odd_sizes_have_a_cell_for_every_pixel(network, size):
    features = network.view_features(picture(*size))
    assert features.shape == (4, math.ceil(size[0] / 2), math.ceil(size[1] / 2))
    assert features.shape[1:] == network.cell_mask(np.ones(size, bool)).shape


def test_tiles_with_a_halo_agree_with_the_whole_map(network):
    pixels, halo, unit = picture(256, 256), SMALL.receptive_px, SMALL.alignment_px
    whole = network.map_features(pixels)
    assert halo % unit == 0
    low, high = 96, 160
    tile = network.map_features(pixels[low - halo : high + halo, low - halo : high + halo])
    inner = slice(halo // 2, (halo + high - low) // 2)
    expected = whole[:, low // 2 : high // 2, low // 2 : high // 2]
    torch.testing.assert_close(tile[:, inner, inner], expected, atol=2e-5, rtol=0)


def test_a_hidden_part_of_a_picture_does_not_change_what_is_seen_far_from_it(network):
    pixels, mask = picture(64, 192), np.ones((64, 192), bool)
    mask[:, 150:] = False
    other = pixels.copy()
    other[:, 150:] = 255
    seen, changed = (network.map_features(p, mask) for p in (pixels, other))
    torch.testing.assert_close(seen, changed)


def test_normalized_pixels_are_those_of_a_direct_computation():
    pixels, mask = picture(20, 24), np.random.default_rng(1).uniform(size=(20, 24)) > 0.2
    result = normalize_pixels(pixels, mask, 9)
    for row, column in ((10, 12), (0, 0), (19, 3)):
        rows, columns = (slice(max(0, at - 4), at + 5) for at in (row, column))
        seen = pixels[rows, columns][mask[rows, columns]].astype(np.float64) / 255
        expected = pixels[row, column] / 255 - seen.mean(0)
        expected = expected / np.maximum(seen.std(0), LEAST_STD) * mask[row, column]
        assert result[:3, row, column] == pytest.approx(expected, abs=1e-3)
    assert (result[3] == mask).all()


def test_brightness_and_contrast_of_a_picture_do_not_matter(network):
    pixels = picture(64, 64)
    darker = (pixels // 2 + 20).astype(np.uint8)
    one, other = network.map_features(pixels), network.map_features(darker)
    assert (one * other).sum(0).mean() > 0.99


def test_a_match_is_worth_more_the_further_it_stands_out_and_the_more_is_seen(network):
    network.match.rise.data = torch.tensor([0.5, 0.3])
    network.match.bend.data = torch.tensor([-1.0, 0.1])
    network.match.offset.data = torch.tensor([2.0, -0.1])
    cosine = torch.tensor([0.0, 0.1, 0.2, 0.3])
    ratio = network.log_ratio(cosine, 500.0, 0.05, 0.02)
    more = math.log(0.5)
    rise, bend = math.exp(0.5 + 0.3 * more), math.exp(-1.0 + 0.1 * more)
    # z is -2.5, 2.5, 7.5 and 12.5: straight, bent, bent, and straight again from 10 on.
    bent = [0, 2.5**2 / 2, 7.5**2 / 2, 10**2 / 2 + 2.5 * 10]
    straight = [rise * z for z in (-2.5, 2.5, 7.5, 12.5)]
    expected = [a + bend * b - (2 - 0.1 * more) for a, b in zip(straight, bent, strict=True)]
    assert ratio.tolist() == pytest.approx(expected, rel=1e-5)
    assert (network.log_ratio(cosine, 2000.0, 0.05, 0.02)[1:] > ratio[1:]).all()


def test_saved_weights_come_back_with_their_card(network, tmp_path):
    path = tmp_path / 'nadir.safetensors'
    network.save(path, {'limits': 'none known'})
    loaded = RegistrationNetwork.load(path)
    assert loaded.config == SMALL and loaded.card == {'limits': 'none known'}
    pixels = picture(48, 48)
    torch.testing.assert_close(loaded.map_features(pixels), network.map_features(pixels))
    torch.testing.assert_close(loaded.view_features(pixels), network.view_features(pixels))


def test_one_encoder_for_both_is_saved_once(tmp_path):
    config = RegistrationConfig(4, (8, 8), (1, 1), shared=True)
    network, path = RegistrationNetwork(config), tmp_path / 'shared.safetensors'
    network.save(path)
    loaded, pixels = RegistrationNetwork.load(path), picture(32, 32)
    assert loaded.view_encoder is loaded.map_encoder
    torch.testing.assert_close(loaded.view_features(pixels), network.view_features(pixels))


@pytest.mark.parametrize(
    'damage', ['missing', 'truncated', 'foreign', 'newer', 'misfit', 'card', 'list']
)
def test_a_file_that_is_no_use_is_named(network, tmp_path, damage):
    path = tmp_path / 'weights.safetensors'
    if damage == 'truncated':
        network.save(path)
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == 'foreign':
        save_file({'a': torch.zeros(1)}, path)
    elif damage in ('newer', 'misfit'):
        config = json.loads(SMALL.to_json())
        config |= {'heads': 3} if damage == 'newer' else {'channels': 5}
        metadata = {'format': 'justzoom-registration', 'config': json.dumps(config)}
        save_file({k: v.clone() for k, v in network.state_dict().items()}, path, metadata)
    elif damage in ('card', 'list'):
        card = '{"calibration' if damage == 'card' else '[1]'
        metadata = {'format': 'justzoom-registration', 'config': SMALL.to_json(), 'card': card}
        save_file({k: v.clone() for k, v in network.state_dict().items()}, path, metadata)
    with pytest.raises(WeightsError, match=r'weights\.safetensors'):
        RegistrationNetwork.load(path)


def test_a_configuration_comes_back_from_json_or_says_what_is_unknown():
    assert RegistrationConfig.from_json(SMALL.to_json()) == SMALL
    with pytest.raises(ConfigError, match='heads'):
        RegistrationConfig.from_json('{"heads": 3}')
    with pytest.raises(ConfigError, match='configuration'):
        RegistrationConfig.from_json('[1, 2]')


@pytest.mark.parametrize(
    ('pixels', 'mask'),
    [
        (np.zeros((32, 32), np.uint8), None),
        (np.zeros((32, 32, 3), np.float32), None),
        (np.zeros((8, 32, 3), np.uint8), None),
        (np.zeros((32, 32, 3), np.uint8), np.ones((31, 32), bool)),
    ],
)
def test_what_is_no_picture_is_refused(network, pixels, mask):
    with pytest.raises(ImageError):
        network.view_features(pixels, mask)


def test_the_shipped_weights_are_small_and_say_what_they_were_trained_on():
    assert SHIPPED.stat().st_size < 5e6
    card = RegistrationNetwork.shipped().card
    assert card['trained_on'] and card['limits']
    assert not any('BY-SA' in source for source in card['trained_on'])
