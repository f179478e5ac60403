"""Cameras that look ahead: geometry against the city's own camera, and a network that is told."""

import math

import numpy as np
import pytest
import torch
from forward_tiny import SMALL
from safetensors import SafetensorError

from justzoom_ros.errors import ConfigError, ImageError, OutputError, WeightsError
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.config import RegistrationConfig
from justzoom_ros.registration.forward_config import ForwardConfig
from justzoom_ros.registration.forward_lift import (
    Tilt,
    level_strip,
    normalize_strip,
    strip_directions,
)
from justzoom_ros.registration.forward_network import (
    Cells,
    ForwardMatch,
    ForwardNetwork,
    lay_on_ground,
)
from justzoom_ros.registration.forward_search import ForwardView, Look
from justzoom_ros.registration.map_features import MapFeatures


def world_picture(yaw_rad, pitch_rad, roll_rad, fov_rad, size_px=(320, 180)):
    """A picture whose red is the azimuth and green the slope of what each pixel sees."""
    width, height = size_px
    focal = width / 2 / math.tan(fov_rad / 2)
    x = (np.arange(width) - (width - 1) / 2) / focal
    y = (np.arange(height)[:, None] - (height - 1) / 2) / focal
    cy, sy, cp, sp = (f(a) for a in (yaw_rad, pitch_rad) for f in (math.cos, math.sin))
    forward = np.array([cy * cp, sy * cp, sp])
    right = np.array([sy, -cy, 0.0])
    down = np.cross(forward, right)
    cr, sr = math.cos(roll_rad), math.sin(roll_rad)
    right, down = cr * right + sr * down, cr * down - sr * right
    rays = x[None, :, None] * right + y[..., None] * down + forward
    azimuth = np.arctan2(rays[..., 1], rays[..., 0]) - yaw_rad
    azimuth = (azimuth + np.pi) % (2 * np.pi) - np.pi
    slope = rays[..., 2] / np.hypot(rays[..., 0], rays[..., 1])
    picture = np.zeros((height, width, 3))
    picture[..., 0] = 127.5 + 80 * azimuth
    picture[..., 1] = 127.5 + 120 * slope
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


@pytest.mark.parametrize('tilt', [(0.0, 0.0), (0.1, 0.05), (-0.2, -0.1)])
def test_a_strip_shows_azimuths_and_slopes_whatever_the_tilt(tilt):
    fov = math.radians(90)
    strip = level_strip(world_picture(0.7, *tilt, fov), Camera.from_fov(fov), Tilt(*tilt))
    azimuth, slope = strip_directions(ForwardConfig(), strip.mask.shape[1])
    seen = strip.mask.copy()
    seen[:, :2] = seen[:, -2:] = False
    red, green = (strip.pixels[..., k].astype(float) for k in (0, 1))
    expected = np.broadcast_to(127.5 + 80 * azimuth, red.shape)
    assert np.abs(red - expected)[seen].max() < 2.5
    expected = np.broadcast_to((127.5 + 120 * slope)[:, None], green.shape)
    assert np.abs(green - expected)[seen].max() < 2.5
    assert seen.mean() > 0.4


def test_a_strip_is_as_wide_as_the_field_of_view():
    picture = world_picture(0.0, 0.0, 0.0, math.radians(60))
    strip = level_strip(picture, Camera.from_fov(math.radians(60)))
    assert strip.mask.shape == (64, 80)  # 60 of 360 degrees, in 480 columns


def test_a_tilt_is_read_from_a_rotation():
    pitch, roll, yaw = 0.1, -0.05, 2.0
    level = Tilt(pitch, roll).level_from_camera
    forward, right = [math.cos(yaw), math.sin(yaw), 0.0], [math.sin(yaw), -math.cos(yaw), 0.0]
    world_from_level = np.stack([right, [0, 0, -1.0], forward], axis=1)
    tilt, found = Tilt.from_camera_rotation(world_from_level @ level)
    assert (tilt.pitch_rad, tilt.roll_rad, found) == pytest.approx((pitch, roll, yaw))


def test_a_camera_that_does_not_look_ahead_is_refused():
    with pytest.raises(ConfigError, match='does not look ahead'):
        Tilt(pitch_rad=-1.0)


def test_a_camera_without_a_lens_is_refused():
    with pytest.raises(ConfigError, match='--fov'):
        level_strip(np.zeros((90, 160, 3), np.uint8), Camera())


def test_a_picture_away_from_the_horizon_is_refused():
    with pytest.raises(ImageError, match='horizon'):
        level_strip(np.zeros((20, 20, 3), np.uint8), Camera.from_fov(0.05), Tilt(pitch_rad=-0.5))


def test_a_strip_is_normalized_over_what_is_seen():
    strip = level_strip(world_picture(0, 0, 0, 1.5), Camera.from_fov(1.5))
    normal = normalize_strip(strip)
    seen = normal[:3, strip.mask]
    assert np.abs(seen.mean(1)).max() < 1e-4
    assert np.square(seen).mean() == pytest.approx(1.0, abs=0.02)
    assert not normal[:3, ~strip.mask].any()


@pytest.mark.parametrize('yaw_rad', [0.0, 0.5, 2.5, -1.5])
def test_what_is_seen_lies_on_the_ground_where_it_is(yaw_rad):
    """One polar cell alone, laid on the map, is a spot at its distance and direction."""
    config, columns = ForwardConfig(), 60
    polar = torch.zeros(1, 1, config.depths, columns)
    depth, column = 26, 45
    polar[0, 0, depth, column] = 1.0
    laid = lay_on_ground(config, polar, torch.tensor([[yaw_rad]]))[0, 0, 0].numpy()
    weight = laid / laid.sum()
    reach = config.reach_cells
    east = (weight * (np.arange(2 * reach + 1) - reach)).sum() * config.cell_m
    north = (weight * (reach - np.arange(2 * reach + 1))[:, None]).sum() * config.cell_m
    ratio = config.reach_m / config.nearest_m
    distance = config.nearest_m * ratio ** (depth / (config.depths - 1))
    azimuth = yaw_rad + (columns / 2 - 0.5 - column) * config.azimuth_step_rad
    assert (east, north) == pytest.approx(
        (distance * math.cos(azimuth), distance * math.sin(azimuth)), abs=1.0
    )


def test_cells_of_pooled_maps_hold_whole_cells_and_keep_the_camera_in_the_middle():
    for pooling in (1, 2, 4):
        cells = Cells.of(ForwardConfig(), pooling)
        assert cells.count % pooling == 0
        assert (cells.count // pooling) % 2 == 1
        assert cells.count * cells.side_m >= 2 * ForwardConfig().reach_m


class Told(ForwardNetwork):
    """Features of a view that are those of a map round a known pose."""

    def __init__(self, table, row, column, yaw_rad):
        super().__init__(ForwardConfig(map=RegistrationConfig(channels=table.shape[0])))
        with torch.no_grad():
            self.match.log_scale.fill_(-2.0)
        self.told = table, row, column, yaw_rad

    def view_features(self, strip):
        table, row, column, yaw_rad = self.told
        config, columns = self.config, strip.shape[2] // 2
        distance = config.nearest_m * (config.reach_m / config.nearest_m) ** (
            np.arange(config.depths) / (config.depths - 1)
        )
        turn = (columns / 2 - 0.5 - np.arange(columns)) * config.azimuth_step_rad + yaw_rad
        rows = row - distance[:, None] * np.sin(turn) / config.cell_m
        across = column + distance[:, None] * np.cos(turn) / config.cell_m
        return table[:, np.rint(rows).astype(int), np.rint(across).astype(int)]


@pytest.fixture(scope='module')
def table():
    generator = torch.Generator().manual_seed(3)
    rough = torch.randn(1, 6, 50, 50, generator=generator)
    fine = torch.nn.functional.interpolate(rough, scale_factor=4, mode='bilinear')[0]
    return torch.nn.functional.normalize(fine, dim=0)


@pytest.mark.parametrize('yaw_rad', [0.0, math.radians(70), math.radians(-120)])
def test_a_view_that_shows_a_place_is_found_there(table, yaw_rad):
    network, features = Told(table, 90, 110, yaw_rad), MapFeatures(table, cell_m=2.0)
    look = Look(world_picture(0, 0, 0, 1.57), Camera.from_fov(1.57))
    peak = ForwardView(network, [look]).register(features).peaks(1)[0]
    expected = features.position_m(90, 110)
    assert math.hypot(peak.east_m - expected[0], peak.north_m - expected[1]) < 2.0
    assert abs(math.remainder(peak.yaw_rad - yaw_rad, 2 * math.pi)) < math.radians(6)


def test_coarse_cells_say_the_same_as_fine_ones(table):
    network, features = Told(table, 90, 110, 0.0), MapFeatures(table, cell_m=2.0)
    look = Look(world_picture(0, 0, 0, 1.57), Camera.from_fov(1.57))
    peak = ForwardView(network, [look]).register(features.pooled(2)).peaks(1)[0]
    expected = features.position_m(90, 110)
    assert math.hypot(peak.east_m - expected[0], peak.north_m - expected[1]) < 6.0


@pytest.mark.slow
def test_two_pictures_of_a_rig_say_more_than_one(table):
    network, features = Told(table, 90, 110, 0.3), MapFeatures(table, cell_m=2.0)
    picture = world_picture(0, 0, 0, 1.57)
    ahead, back = (Look(picture, Camera.from_fov(1.57), None, turn) for turn in (0.0, math.pi))
    heights = []
    for looks in ([ahead], [ahead, back]):
        if len(looks) == 2:
            told = ForwardView(network, [ahead])._polar
            network.told = (*network.told[:3], 0.3 + math.pi)
            view = ForwardView(network, [back])
            view._polar = [*told, (view._polar[0][0], math.pi)]
        else:
            view = ForwardView(network, looks)
        heights.append(view.register(features).peaks(1)[0].log_ratio)
        expected = features.position_m(90, 110)
        peak = view.register(features).peaks(1)[0]
        assert math.hypot(peak.east_m - expected[0], peak.north_m - expected[1]) < 2.0
    assert heights[1] > heights[0] + 1


def test_ratios_of_normal_sums_average_one():
    match, generator = ForwardMatch(), torch.Generator().manual_seed(1)
    sums = 3.0 + 40 * torch.randn(200_000, generator=generator)
    ratio = match(sums, 3.0, 40.0)
    assert float(ratio.detach().double().exp().mean()) == pytest.approx(1.0, abs=0.05)


def test_weights_are_saved_in_half_and_read_again(tmp_path):
    torch.manual_seed(0)
    network = ForwardNetwork(SMALL)
    network.save(tmp_path / 'w.safetensors', {'trained_on': 'nothing'})
    again = ForwardNetwork.load(tmp_path / 'w.safetensors')
    assert again.config == SMALL
    assert again.card == {'trained_on': 'nothing'}
    strip = torch.randn(1, 4, 64, 40)
    with torch.no_grad():
        expected, found = network.encode_view(strip)[0], again.encode_view(strip)[0]
    assert torch.allclose(expected, found, atol=0.02)


def test_weights_that_do_not_fit_on_the_disk_are_told(tmp_path, monkeypatch):
    def full(*arguments):
        raise SafetensorError('I/O error: no space left')

    monkeypatch.setattr('safetensors.torch.save_file', full)
    with pytest.raises(OutputError, match='is the disk full'):
        ForwardNetwork(SMALL).save(tmp_path / 'w.safetensors')


def test_other_weights_are_refused(tmp_path):
    (tmp_path / 'w.safetensors').write_bytes(b'nothing')
    with pytest.raises(WeightsError, match='not a readable safetensors file'):
        ForwardNetwork.load(tmp_path / 'w.safetensors')
