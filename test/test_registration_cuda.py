"""Registration on a GPU gives what it gives on a CPU. Skipped, visibly, where there is none."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.maps.nadir_camera import NadirPose, look_down
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.region import Region
from justzoom_ros.registrar import Registrar
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.config import RegistrationConfig
from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.registration.normalize import normalize_batch, normalize_pixels
from justzoom_ros.training.registration.batches import draw_batch
from justzoom_ros.training.registration.dice import Dice
from justzoom_ros.training.registration.imagery import Place, make_picture
from justzoom_ros.training.registration.loss import losses_of
from justzoom_ros.training.registration.views import PairSource
from justzoom_ros.worlds.town import write_geotiff

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA GPU')
TINY = RegistrationConfig(channels=4, widths=(8, 8), blocks=(1, 1))


def places():
    rng = np.random.default_rng(0)
    for number in range(2):
        pixels = np.kron(rng.integers(0, 255, (26, 26, 3)), np.ones((16, 16, 1), int))
        picture = make_picture(pixels.astype(np.uint8), np.ones((416, 416), bool), 1.0)
        yield Place(f'place {number}', 'CC0', (picture,))


def test_a_batch_is_normalized_as_its_pictures_are():
    rng = np.random.default_rng(1)
    pixels, masks = rng.random((2, 61, 47, 3), np.float32), rng.random((2, 61, 47)) < 0.7
    found = normalize_batch(
        torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(masks), 21
    )
    expected = [normalize_pixels(x, mask, 21) for x, mask in zip(pixels, masks, strict=True)]
    assert found.numpy() == pytest.approx(np.stack(expected), abs=2e-3)


@pytest.fixture(scope='module')
def satellite_map(tmp_path_factory):
    folder, region = tmp_path_factory.mktemp('map'), Region(10, 20, 320.0, 2, 2)
    coarse = np.random.default_rng(4).integers(0, 255, (40, 40, 3))
    pixels = np.kron(coarse, np.ones((8, 8, 1), int)).astype(np.uint8)
    write_geotiff(pixels, region, folder / 'source.tif')
    return SatelliteMap.build(folder / 'source.tif', region, folder / 'map', resolution_m=1.0)


@needs_gpu
def test_a_fix_of_the_gpu_is_that_of_the_cpu(satellite_map):
    camera, yaw_rad = Camera.from_fov(1.2).with_height(80.0, std_m=4.0), 0.7
    pose = NadirPose(30.0, -20.0, yaw_rad, camera.footprint_at(80.0))
    image = look_down(satellite_map.pixels, 320.0, pose, (320, 240), 1.2)
    for heading in (None, yaw_rad):
        fixes = []
        for device in ('cpu', 'cuda'):
            registrar = Registrar.open(satellite_map, camera=camera, device=device)
            assert registrar.device.type == device
            view = registrar.view(image, camera, None, heading, heading and 0.2)
            fixes.append(registrar.fix(view, registrar.posterior(view)))
        here, there = fixes
        assert here.status == there.status
        assert np.hypot(here.east_m - there.east_m, here.north_m - there.north_m) < 0.2
        assert here.yaw_rad == pytest.approx(there.yaw_rad, abs=0.01)
        assert here.covariance_m2 == pytest.approx(there.covariance_m2, rel=0.1)


def test_a_device_that_is_not_there_is_named(satellite_map):
    with pytest.raises(ConfigError, match='tpu'):
        Registrar.open(satellite_map, device='tpu')


@needs_gpu
def test_losses_of_the_same_batch_agree_with_the_cpu():
    torch.manual_seed(0)
    batch = draw_batch(PairSource(list(places())), Dice.of((1,)), 4, 1.5, 6, 0.05, 129, 2)
    moved = replace(batch, **{
        name: value.cuda() for name, value in vars(batch).items() if name != 'foreign'
    })  # fmt: skip
    network = RegistrationNetwork(TINY)
    expected = losses_of(network, batch)
    found = losses_of(network.cuda(), moved)
    # The encoders run in bfloat16 there.
    torch.testing.assert_close(found.here.cpu(), expected.here, atol=0.3, rtol=0.05)
    torch.testing.assert_close(found.absent.cpu(), expected.absent, atol=0.3, rtol=0.05)


@needs_gpu
def test_pairs_drawn_on_the_gpu_show_the_same_ground_as_those_of_the_cpu():
    here, there = (
        PairSource(list(places()), device=device).draw(8, Dice.of((2,), device))
        for device in ('cpu', 'cuda')
    )
    assert there.rows.tolist() == here.rows.tolist()
    assert (there.tile_masks.cpu() == here.tile_masks).float().mean() > 0.999
    assert math.isfinite(float(there.views.sum()))
