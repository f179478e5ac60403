"""Posteriors on a fine grid against Bayes' rule written out, and the fixes made of them."""

from math import radians

import numpy as np
import pytest
import torch
from registration_toy import ToyNetwork, ground, map_of

from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.fix import FixStatus, make_fix_from_modes
from justzoom_ros.inference.grid_posterior import GridPosterior, grid_posterior, sharpen_modes
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.maps.nadir_camera import NadirPose, look_down
from justzoom_ros.region import Region
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.likelihood import PositionLikelihood
from justzoom_ros.registration.peaks import Peak
from justzoom_ros.registration.search import View

REGION = Region(48.0, 11.0, 80.0, 4, 1)


def position(values, cell_m=2.0, west_m=-40.0, north_m=40.0):
    return PositionLikelihood(torch.as_tensor(values).float(), cell_m, west_m, north_m)


def bumps(*centers, std_m=3.0, n=40):
    """Log ratios of 40 x 40 cells of 2 m: Gaussians (east, north, height)."""
    axis = (np.arange(n) + 0.5) * 2 - n
    values = np.full((n, n), -60.0)
    for east, north, height in centers:
        squared = (axis - east) ** 2 + (-axis[:, None] - north) ** 2
        values = np.maximum(values, height - squared / (2 * std_m**2))
    return values


def prior(masses):
    masses = np.asarray(masses, float).ravel()
    index = np.arange(16)
    row, column = REGION.rows_columns(1, index)
    masses = masses.reshape(4, 4)[row, column]
    return CellPosterior(REGION, np.ones(16, int), index, masses / masses.sum())


def test_the_posterior_is_the_likelihood_times_the_prior_and_elsewhere():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 2, (40, 40))
    values[:5, :7] = -np.inf
    cells = rng.random((4, 4))
    found = grid_posterior(position(values), REGION, prior(cells), 0.2, 0.1)
    looked_at = np.isfinite(values)
    fine = np.kron(cells, np.ones((10, 10)))
    fine = 0.9 * fine / fine[looked_at].sum() + 0.1 / looked_at.sum()
    joint = np.where(looked_at, np.exp(values) * fine, 0)
    expected = joint / joint.sum()
    masses = np.zeros((40, 40))
    masses[found.rows, found.columns] = found.masses
    np.testing.assert_allclose(masses, expected, atol=1e-8)
    assert found.off_map == pytest.approx(0.2 / (0.2 + 0.8 * joint.sum()))
    centers = np.stack(np.meshgrid(np.arange(40) * 2 - 39, 39 - np.arange(40) * 2), -1)
    mean = (expected[..., None] * centers).sum((0, 1))
    np.testing.assert_allclose(found.mean_m, mean, atol=1e-5)
    offset = (centers - mean).reshape(-1, 2)
    covariance = (expected.reshape(-1, 1) * offset).T @ offset + np.eye(2) / 3
    np.testing.assert_allclose(found.covariance_m2, covariance, rtol=1e-5)


def test_modes_are_the_places_that_are_apart_with_room_for_elsewhere():
    values = bumps((-21.0, 14.6, 9.0), (17.3, -20.2, 10.0))
    found = grid_posterior(position(values), REGION, prior_elsewhere=0.05)
    first, second = found.modes(0.95)
    np.testing.assert_allclose(first.mean_m, (17.3, -20.2), atol=0.1)
    np.testing.assert_allclose(second.mean_m, (-21.0, 14.6), atol=0.1)
    # A Gaussian cut off at 95 % of its mass, and uniform cells.
    assert np.diag(first.covariance_m2) == pytest.approx([8, 8], rel=0.15)
    assert first.mass + second.mass + found.off_map == pytest.approx(1, abs=0.06)
    first, second = found.modes(0.99999)
    assert first.mass / second.mass == pytest.approx(np.e, rel=0.01)
    assert first.mass + second.mass + found.off_map == pytest.approx(1, abs=1e-4)


def test_places_nearer_than_the_gap_are_one_mode():
    values = np.full((40, 40), -60.0)
    values[10, 10] = values[10, 12] = values[30, 30] = 5
    found = grid_posterior(position(values), REGION)
    assert len(found.modes(0.99, gap_m=5.0)) == 2
    assert len(found.modes(0.99, gap_m=1.0)) == 3
    assert len(found.modes(0.99, gap_m=60.0)) == 1


def test_a_posterior_is_told_by_the_cells_of_the_region():
    rng = np.random.default_rng(1)
    values = rng.normal(0, 2, (40, 40))
    found = grid_posterior(position(values), REGION)
    expected = np.exp(values).reshape(4, 10, 4, 10).sum((1, 3))
    np.testing.assert_allclose(found.to_grid(), expected / expected.sum(), atol=1e-6)
    cells = found.to_cells()
    np.testing.assert_allclose(cells.to_grid(), found.to_grid(), atol=1e-9)
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert found.best_cell.actions == (row // 10 * 4 + column // 10,)


def test_points_are_looked_up_in_the_grid():
    values = bumps((10.0, 4.0, 8.0))
    found = grid_posterior(position(values), REGION)
    at = found.leaf_at(10.1, 4.1)
    assert found.masses[at] == found.masses.max()
    assert found.leaf_at(-39.0, 39.0) == -1
    assert found.holds(10.1, 4.1, 0.5) and not found.holds(16.5, 4.1, 0.5)
    assert found.mass_within(10.0, 4.0, 3.0 * 1.177) == pytest.approx(0.5, abs=0.1)


def test_a_fix_is_made_of_it_in_metres():
    values = bumps((10.2, 4.9, 9.0), std_m=1.5)
    found = grid_posterior(position(values), REGION, prior_elsewhere=1e-3)
    fix = make_fix_from_modes(found, found.modes(), off_map=found.off_map)
    assert fix.status == FixStatus.FIX
    np.testing.assert_allclose((fix.east_m, fix.north_m), (10.2, 4.9), atol=0.2)
    assert 3 < fix.radius_90_m < 4.5  # 1.5 m and a cell, times 2.146
    torn = grid_posterior(position(bumps((10, 5, 9.0), (-20, 5, 9.0))), REGION)
    assert make_fix_from_modes(torn, torn.modes()).status == FixStatus.NO_FIX
    elsewhere = grid_posterior(position(bumps((10, 5, 1.0))), REGION, prior_elsewhere=0.5)
    doubt = make_fix_from_modes(elsewhere, elsewhere.modes(), off_map=elsewhere.off_map)
    assert doubt.status == FixStatus.NO_FIX


def test_a_prior_that_leaves_nothing_is_refused():
    values = np.full((10, 10), -np.inf)
    values[0, 0] = 1.0
    south_east = np.zeros((4, 4))
    south_east[3, 3] = 1
    some = position(values, 2.0, -40.0, 40.0)
    with pytest.raises(ConfigError, match='no mass'):
        grid_posterior(some, REGION, prior(south_east))
    assert len(grid_posterior(some, REGION, prior(south_east), 0.0, 0.1).masses) == 1
    with pytest.raises(ConfigError, match='uniform_share'):
        grid_posterior(some, REGION, prior(south_east), 0.0, 2.0)
    with pytest.raises(ConfigError, match='sum to one'):
        GridPosterior(REGION, np.zeros(1, int), np.zeros(1, int), np.ones(1) / 2, 2.0, 0.0, 0.0)


def test_a_mode_with_a_peak_takes_its_place_and_no_smaller_a_covariance():
    found = grid_posterior(position(bumps((10.2, 4.9, 9.0), (-20, 5, 8.0))), REGION)
    modes = found.modes()
    wide = np.diag([30.0, 0.5])
    peak = Peak(10.9, 4.5, wide, 0.0, 0.1, 9.0)
    first, second = sharpen_modes(found, modes, peak)
    assert second is modes[1]
    np.testing.assert_allclose(first.mean_m, (10.9, 4.5))
    offset = modes[0].mean_m - (10.9, 4.5)
    for other in (wide, modes[0].covariance_m2 + np.outer(offset, offset)):
        assert np.linalg.eigvalsh(first.covariance_m2 - other)[0] > -1e-9
    assert first.covariance_m2[0, 0] == pytest.approx(30.0, rel=0.1)
    far = Peak(30.0, 30.0, wide, 0.0, 0.1, 9.0)
    assert sharpen_modes(found, modes, far) == modes


def test_a_picture_becomes_a_fix_of_a_metre():
    network, pixels, fov = ToyNetwork(), ground(300), 1.1
    region = Region(48.0, 11.0, 300.0, 4, 2)
    pose = NadirPose(31.7, -52.4, radians(203), 90.0)
    camera = Camera.from_fov(fov).with_footprint(90, 90)
    view = View(network, look_down(pixels, 300.0, pose, (320, 240), fov), camera)
    map_features = map_of(network, pixels, 1.0)
    likelihood = view.register(map_features)
    found = grid_posterior(likelihood, region, prior_elsewhere=0.01)
    peak = view.sharpen(map_features, likelihood.peaks(1)[0])
    modes = sharpen_modes(found, found.modes(), peak)
    fix = make_fix_from_modes(found, modes, off_map=found.off_map)
    assert fix.status == FixStatus.FIX
    np.testing.assert_allclose((fix.east_m, fix.north_m), (31.7, -52.4), atol=0.3)
    assert fix.radius_90_m < 3
