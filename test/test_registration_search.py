"""The whole method with a network that needs no training: pictures drawn at known poses are found
where they were drawn."""

from dataclasses import replace
from math import degrees, pi, radians, tan

import numpy as np
import pytest
import torch
from quick import quick_first
from registration_toy import ToyNetwork, ground, map_of

from justzoom_ros.errors import ConfigError
from justzoom_ros.maps.nadir_camera import NadirPose, look_down
from justzoom_ros.region import Region
from justzoom_ros.registration.attitude import Attitude
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.map_features import Window
from justzoom_ros.registration.map_search import (
    search_coarse_to_fine,
    search_tiles,
    tiles_to_search,
)
from justzoom_ros.registration.search import PoseSearchConfig, View, register

SIDE_M, METRES = 300.0, 1.0
FOV = 1.1
NETWORK = ToyNetwork()
PIXELS = ground(300)
MAP = map_of(NETWORK, PIXELS, METRES)


def picture(pose, size_px=(320, 240), pixels=PIXELS):
    return look_down(pixels, SIDE_M, pose, size_px, FOV)


def height_of(pose):
    return pose.footprint_m / 2 / tan(FOV / 2)


def camera_of(pose):
    return Camera.from_fov(FOV).with_height(height_of(pose))


def check_found(peak, pose, within_m=0.5, within_deg=3.0):
    """To a quarter of a cell of two metres, and a third of a step of ten degrees."""
    found, true = (peak.east_m, peak.north_m), (pose.east_m, pose.north_m)
    np.testing.assert_allclose(found, true, atol=within_m)
    turn = (peak.yaw_rad - pose.yaw_rad + pi) % (2 * pi) - pi
    assert abs(degrees(turn)) < within_deg


@pytest.mark.parametrize('yaw_deg', quick_first(2, [0, 233, 30, 45, 90]))
@pytest.mark.parametrize(
    'size_px, place', [((320, 240), (12.3, -41.8)), ((321, 241), (-37.4, 20.9))]
)
def test_a_picture_is_found_where_it_was_taken(yaw_deg, size_px, place):
    pose = NadirPose(*place, radians(yaw_deg), 90.0)
    found = register(NETWORK, MAP, picture(pose, size_px), camera_of(pose))
    assert found.log_ratio.shape == (36, 150, 150)
    first, *others = found.peaks(3)
    check_found(first, pose)
    assert all(first.log_ratio > other.log_ratio + 3 for other in others)
    assert first.yaw_std_rad < radians(10)
    assert found.evidence() > 1


@pytest.mark.parametrize('tilt', [(0.15, 0.0), (-0.2, 0.1), (0.8, -0.05)])
@pytest.mark.parametrize('yaw_deg', quick_first(1, [131, 246]))
def test_a_tilted_camera_is_found_with_its_attitude(tilt, yaw_deg):
    pose = NadirPose(-21.4, 8.6, radians(yaw_deg), 70.0, *tilt)
    view = View(NETWORK, picture(pose), camera_of(pose), Attitude(*tilt))
    peak = view.register(MAP).peaks(1)[0]
    # An error of the heading, up to a third of a step, moves a camera that looks far ahead.
    lever_m = height_of(pose) * np.hypot(*np.tan(tilt))
    check_found(peak, pose, 0.5 + radians(3) * lever_m)
    offset = np.array([peak.east_m - pose.east_m, peak.north_m - pose.north_m])
    assert offset @ np.linalg.solve(peak.covariance_m2, offset) < 9
    check_found(view.sharpen(MAP, peak), pose, 0.5, 0.6)


@pytest.mark.slow
def test_a_peak_that_is_looked_at_closely_has_a_heading_to_half_a_degree():
    for yaw_deg in (15.0, 357.5):
        pose = NadirPose(12.3, -41.8, radians(yaw_deg), 90.0)
        camera = camera_of(pose).with_height(height_of(pose), 0.03 * height_of(pose))
        view = View(NETWORK, picture(pose), camera)
        coarse = view.register(MAP).peaks(1)[0]
        peak = view.sharpen(MAP, coarse)
        check_found(peak, pose, 0.3, 0.5)
        assert peak.scale == coarse.scale
        assert peak.log_ratio >= coarse.log_ratio
        assert peak.yaw_std_rad < coarse.yaw_std_rad


@pytest.mark.slow
def test_a_height_known_to_a_tenth_is_found_among_its_scales():
    pose = NadirPose(12.3, -41.8, radians(75), 90.0)
    true_m = height_of(pose)
    camera = Camera.from_fov(FOV).with_height(true_m * 1.08, 0.1 * true_m)
    peak = register(NETWORK, MAP, picture(pose), camera).peaks(1)[0]
    check_found(peak, pose)
    assert camera.scales()[peak.scale].height_m == pytest.approx(true_m, rel=0.04)


@pytest.mark.slow
def test_a_range_of_footprints_needs_neither_lens_nor_height():
    pose = NadirPose(12.3, -41.8, radians(75), 90.0)
    found = register(NETWORK, MAP, picture(pose), Camera.from_footprint(82, 100))
    check_found(found.peaks(1)[0], pose)


def test_a_known_heading_and_a_window_narrow_the_search_and_change_no_score():
    pose = NadirPose(12.3, -41.8, radians(75), 90.0)
    image, camera = picture(pose), camera_of(pose)
    window = MAP.window_around(10.0, -40.0, 30.0)
    view = View(NETWORK, image, camera, yaw_rad=radians(70), yaw_std_rad=radians(10))
    assert [round(degrees(yaw)) for yaw in view.yaws_rad] == [50, 60, 70, 80, 90]
    near = view.register(MAP, window, [(0.0, 0.05)])
    assert near.log_ratio.shape == (5, *window.shape)
    whole = View(NETWORK, image, camera).register(MAP, None, [(0.0, 0.05)])
    at = (slice(5, 10), *window.slices)
    np.testing.assert_allclose(near.log_ratio, whole.log_ratio[at], atol=1e-3)
    assert near.yaw_step_rad == pytest.approx(radians(10)) and not near.is_round
    check_found(near.peaks(1)[0], pose)


def test_imagery_of_another_place_is_less_likely_here_than_elsewhere():
    pose = NadirPose(12.3, -41.8, radians(75), 90.0)
    foreign = picture(pose, pixels=ground(300, seed=1))
    found = register(NETWORK, MAP, foreign, camera_of(pose))
    assert found.evidence() < 0


def test_poses_that_would_see_no_imagery_are_not_looked_at():
    mask = np.ones((300, 300), bool)
    mask[:, :150] = False
    half = map_of(NETWORK, PIXELS * mask[..., None], METRES, mask)
    pose = NadirPose(60.0, 10.0, 0.0, 60.0)
    found = register(NETWORK, half, picture(pose), camera_of(pose))
    check_found(found.peaks(1)[0], pose)
    looked_at = torch.isfinite(found.log_ratio)
    assert not looked_at[:, :, :70].any() and looked_at[:, 40:110, 85:120].all()
    cells = found.cell_log_ratio(Region(0.0, 0.0, SIDE_M, 2, 1))
    assert not cells[:, 0].any() and cells[:, 1].all()


# --- large maps --------------------------------------------------------------------------------

POSE = NadirPose(33.1, 57.6, radians(160), 60.0)


@pytest.fixture(scope='module')
def view():
    return View(NETWORK, picture(POSE), camera_of(POSE))


@pytest.mark.slow
def test_a_network_that_can_be_trained_leaves_no_gradients(view):
    network = ToyNetwork(gain=torch.nn.Parameter(torch.tensor(2.0)))
    found = View(network, picture(POSE), camera_of(POSE)).register(MAP)
    assert not found.log_ratio.requires_grad
    assert found.peaks(1)[0].log_ratio == pytest.approx(view.register(MAP).peaks(1)[0].log_ratio)


@pytest.mark.slow
def test_a_search_in_tiles_finds_what_the_whole_search_finds(view):
    seen = []
    found = search_tiles(view, MAP, progress=lambda *done: seen.append(done), tile=64)
    assert seen == [(n, 9) for n in range(1, 10)]
    whole = view.register(MAP)
    peak, expected = found.peaks(1)[0], whole.peaks(1)[0]
    np.testing.assert_allclose(
        (peak.east_m, peak.north_m, peak.yaw_rad),
        (expected.east_m, expected.north_m, expected.yaw_rad),
        atol=0.02,
    )
    # How other places score is measured at a few headings only.
    assert peak.log_ratio == pytest.approx(expected.log_ratio, rel=0.03)
    best = np.unravel_index(int(found.position.log_ratio.argmax()), MAP.shape)
    assert best == np.unravel_index(int(whole.position.log_ratio.argmax()), MAP.shape)
    assert found.evidence() == pytest.approx(whole.evidence(), abs=1)


@pytest.mark.slow
def test_tiles_have_the_ratios_of_the_whole_search(view, monkeypatch):
    monkeypatch.setattr(
        'justzoom_ros.registration.map_search._backgrounds', lambda *_: [(0.01, 0.05)]
    )
    found = search_tiles(view, MAP, tile=64)
    whole = view.register(MAP, None, [(0.01, 0.05)])
    np.testing.assert_allclose(found.position.log_ratio, whole.position.log_ratio, atol=2e-3)
    region = Region(0.0, 0.0, SIDE_M, 4, 2)
    np.testing.assert_allclose(
        found.cell_log_ratio(region), whole.cell_log_ratio(region), atol=2e-3
    )


def test_a_prior_says_which_tiles_are_searched(view):
    where = np.zeros((16, 16), bool)
    where[4, 9] = True  # 18.75 m to 37.5 m east, 56.25 m to 75 m north
    assert tiles_to_search(MAP, where, 64) == [Window(0, 50, 50, 100)]
    found = search_tiles(view, MAP, where, tile=64)
    check_found(found.peaks(1)[0], POSE)
    assert torch.isfinite(found.position.log_ratio).sum() == 50 * 50
    with pytest.raises(ConfigError, match='no imagery'):
        search_tiles(view, MAP, np.zeros((16, 16), bool))


@pytest.mark.slow
@pytest.mark.parametrize('factor', [2, 4])
def test_coarse_to_fine_has_the_best_answer_of_the_full_search(view, factor):
    found = search_coarse_to_fine(view, MAP, factor=factor, tile=64)
    assert found.position.cell_m == 2.0 * factor
    peak, expected = found.peaks(1)[0], view.register(MAP).peaks(1)[0]
    np.testing.assert_allclose(
        (peak.east_m, peak.north_m, peak.yaw_rad),
        (expected.east_m, expected.north_m, expected.yaw_rad),
        atol=0.02,
    )
    check_found(peak, POSE)


def test_peaks_of_overlapping_windows_are_told_once(view):
    peaks = search_tiles(view, MAP, places=8).peaks(8, 20.0)
    for i, one in enumerate(peaks):
        for other in peaks[:i]:
            assert np.hypot(one.east_m - other.east_m, one.north_m - other.north_m) >= 20
            assert other.log_ratio >= one.log_ratio


# --- what cannot be ----------------------------------------------------------------------------


def test_a_view_larger_than_the_map_is_refused():
    pose = NadirPose(0.0, 0.0, 0.0, 90.0)
    small = map_of(NETWORK, PIXELS[:40, :40], METRES)
    with pytest.raises(ConfigError, match='smaller than the view'):
        register(NETWORK, small, picture(pose), camera_of(pose))


def test_a_camera_without_a_height_is_refused():
    with pytest.raises(ConfigError, match='neither a height nor a range'):
        register(NETWORK, MAP, picture(POSE), Camera.from_fov(FOV))


@pytest.mark.parametrize(
    'change', [dict(headings=3), dict(scale_step=0.0), dict(max_side_m=-1.0), dict(min_imagery=0)]
)
def test_searches_out_of_range_are_refused(change):
    with pytest.raises(ConfigError):
        replace(PoseSearchConfig(), **change)


class NoiseNetwork(ToyNetwork):
    """Features that are chance: of independent cells, whatever the picture. Its ratio is z."""

    def view_features(self, pixels, mask=None):
        shape = 8, pixels.shape[0] // 2, pixels.shape[1] // 2
        values = torch.randn(shape, generator=torch.Generator().manual_seed(5))
        return values / values.norm(dim=0) * self.cell_mask(mask)

    def map_features(self, pixels, mask=None):
        return self.view_features(
            pixels, np.ones(pixels.shape[:2], bool) if mask is None else mask
        )

    def log_ratio(self, mean_cosine, area_cells, background_mean, background_std):
        return (mean_cosine - background_mean) / background_std


@pytest.mark.slow
def test_chance_stands_out_no_further_where_the_map_covers_half_of_the_view():
    network, mask = NoiseNetwork(), np.ones((600, 600), bool)
    mask[:, ::40] = mask[:, 240:360] = False
    half_covered = map_of(network, ground(600), METRES, mask)
    pose = NadirPose(0.0, 0.0, 0.0, 60.0)
    view = View(network, picture(pose), camera_of(pose))
    found = view.register(half_covered).log_ratio
    (correlation,) = view.correlate_tiles(half_covered, [half_covered.window], 0)
    least, most = correlation.share[correlation.valid].quantile(torch.tensor([0.02, 0.9]))
    assert least < 0.65 and most > 0.9
    few = correlation.valid & (correlation.share < least)
    many = correlation.valid & (correlation.share > most)
    assert correlation.score[few].std() / correlation.score[many].std() > 1.15
    assert float(found[few].std() / found[many].std()) == pytest.approx(1, abs=0.08)


def test_an_unknown_tilt_may_move_the_camera_by_its_height_times_the_tangent():
    pose = NadirPose(0.0, 0.0, 0.0, 60.0)
    camera = Camera.from_fov(FOV).with_height(100.0, 10.0)
    assert View(NETWORK, picture(pose), camera, Attitude()).tilt_std_m == 0.0
    assert View(NETWORK, picture(pose), camera).tilt_std_m == pytest.approx(5.0, rel=0.02)
    ahead = Attitude(radians(45), std_rad=0.05)  # a degree of pitch moves it twice as far
    assert View(NETWORK, picture(pose), camera, ahead).tilt_std_m == pytest.approx(10.0, rel=0.02)
