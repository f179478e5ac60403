"""The facade: one image in, one fix out; refusals."""

import logging

import numpy as np
import pytest
import torch
from tiny import REGION, make_map, make_weights

from justzoom_ros import Localizer, Region, SatelliteMap, ZoomPolicy
from justzoom_ros.errors import (
    ConfigError,
    ImageError,
    MapError,
    RuntimeUnavailableError,
    WeightsError,
)
from justzoom_ros.inference.multi_view import Mount
from justzoom_ros.inference.preprocess import ground_views, normalize
from justzoom_ros.inference.tree_search import SearchConfig

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def made(tmp_path):
    satellite_map = make_map(tmp_path)
    return satellite_map, make_weights(tmp_path, satellite_map)


def opened(made, **options):
    return Localizer.open(map=made[0].path, weights=made[1], progress=False, **options)


# --- answers -------------------------------------------------------------------------------------


@torch.inference_mode()
def test_the_posterior_is_the_policys_own_by_teacher_forcing(made):
    satellite_map, weights = made
    policy, region = ZoomPolicy.load(weights), satellite_map.region
    ground = policy.encode_ground(normalize(ground_views(IMAGE, policy.config))[None])
    expected = np.zeros(256)
    for first in range(16):
        crops = np.stack([satellite_map.crop((), 16), satellite_map.crop((first,), 16)])
        kept = policy.encode_satellite(normalize(crops)).half().float()  # as on disk
        chances = policy.logits(ground, kept[None], torch.tensor([[first, 0]])).softmax(-1)[0]
        expected[first * 16 : first * 16 + 16] = chances[0, first] * chances[1]
    posterior = opened(made).posterior(IMAGE)
    masses = np.zeros(256)
    masses[posterior.indices] = posterior.masses
    np.testing.assert_allclose(masses, expected, atol=1e-6)
    assert posterior.region == region


def test_a_fix_lies_in_the_region_and_says_the_same_twice(made):
    localizer = opened(made)
    first, second = localizer.locate(IMAGE), localizer.locate(IMAGE)
    assert REGION.contains(first.latitude, first.longitude)
    assert (first.latitude, first.longitude) == (second.latitude, second.longitude)
    assert np.linalg.eigvalsh(first.covariance_m2)[0] > 0
    assert localizer.runtime == 'cpu' or torch.cuda.is_available()
    assert localizer.calibrated is False


def test_an_embedding_serves_several_searches(made):
    localizer = opened(made)
    ground = localizer.require_zoom().embed(IMAGE)
    whole = localizer.posterior(ground, SearchConfig('exact'))
    greedy = localizer.posterior(ground, SearchConfig('greedy'))
    np.testing.assert_allclose(whole.masses, localizer.posterior(IMAGE).masses)
    assert len(greedy.masses) < len(whole.masses)


@pytest.mark.slow
def test_cells_without_imagery_get_no_mass(tmp_path, shared):
    source = shared / 'data' / 'seneca' / 'map_from_even_frames.tif'
    region = Region(41.0362, -83.3058, 528.0, 4, 2)
    satellite_map = SatelliteMap.build(source, region, tmp_path / 'map', resolution_m=4.0)
    posterior = opened((satellite_map, make_weights(tmp_path, satellite_map))).posterior(IMAGE)
    covered = satellite_map.level_coverage(2) > 0
    assert 0 < covered.sum() < 256
    assert covered[posterior.indices].all()
    assert posterior.masses.sum() == pytest.approx(1.0)


# --- refusals ------------------------------------------------------------------------------------


def test_what_cannot_be_opened_is_named(made, tmp_path):
    satellite_map, weights = made
    with pytest.raises(MapError, match='nowhere'):
        Localizer.open(map=tmp_path / 'nowhere', weights=weights)
    with pytest.raises(WeightsError, match=r'none\.safetensors'):
        Localizer.open(map=satellite_map.path, weights=tmp_path / 'none.safetensors')
    with pytest.raises(RuntimeUnavailableError, match='abacus'):
        opened(made, runtime='abacus')
    with pytest.raises(ConfigError, match='dowsing'):
        opened(made, search='dowsing')
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeUnavailableError, match='CUDA'):
            opened(made, runtime='cuda')


def test_weights_for_another_tree_are_refused_with_both_trees(made, tmp_path):
    (tmp_path / 'deep').mkdir()
    other = make_map(tmp_path / 'deep', Region(10.0, 20.0, 256.0, 2, 3))
    with pytest.raises(WeightsError, match='4 x 4 grid of depth 2.* is 2 x 2 of depth 3'):
        Localizer.open(map=other.path, weights=made[1])


def test_weights_of_another_map_are_used_with_a_warning(made, caplog):
    policy = ZoomPolicy.load(made[1])
    policy.provenance = {'maps': ['of another town']}
    policy.save(made[1])
    with caplog.at_level(logging.WARNING):
        opened(made)
    assert 'trained from another map' in caplog.text


def test_a_dark_picture_costs_no_search(made, monkeypatch):
    localizer = opened(made)
    monkeypatch.setattr(type(localizer.zoom), 'posterior', lambda *_: pytest.fail('searched'))
    fix = localizer.locate(np.full((48, 64, 3), 3, np.uint8))
    assert fix.status == 'no_fix' and fix.reason == 'the picture is dark'
    assert fix.radius_90_m > localizer.region.side_m / 2 and np.isfinite(fix.latitude)
    assert fix.require_posterior().masses == pytest.approx(1 / localizer.cells)


@pytest.mark.parametrize('image', [None, IMAGE.astype(float), IMAGE[..., 0], IMAGE[:0]])
def test_what_is_no_image_is_named(made, image):
    with pytest.raises(ImageError, match='camera image'):
        opened(made).locate(image)


# --- several cameras -----------------------------------------------------------------------------


def test_two_cameras_of_a_rig_multiply_and_twice_the_same_is_once(made):
    localizer = opened(made, search='exact')
    other = IMAGE[::-1].copy()
    both = localizer.locate_rig([IMAGE, other], [Mount(0.0, 1.2), Mount(np.pi, 1.2)])
    expected = localizer.posterior(IMAGE).masses * localizer.posterior(other).masses
    np.testing.assert_allclose(
        both.posterior.masses, expected / expected.sum(), rtol=1e-3, atol=1e-6
    )
    twice = localizer.locate_rig([IMAGE, IMAGE], [Mount(), Mount()])
    np.testing.assert_allclose(
        twice.posterior.masses, localizer.posterior(IMAGE).masses, rtol=1e-3, atol=1e-6
    )
    with pytest.raises(ConfigError, match='2 images need as many mounts, not 1'):
        localizer.locate_rig([IMAGE, IMAGE], [Mount()])
