"""Moments, modes and regions of a posterior against counting and sampling; fixes from it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from justzoom_ros.errors import ConfigError, OutsideRegionError
from justzoom_ros.inference.fix import FixCriteria, make_fix, widen
from justzoom_ros.inference.posterior import CHI2_2DOF, CellPosterior, radius_m
from justzoom_ros.plots.zoom_picture import zoom_picture
from justzoom_ros.region import Region

REGION = Region(41.0, -83.0, 256.0, grid=4, depth=2)  # 16 x 16 terminal cells of 16 m


def posterior_of(picture, region=REGION):
    """From masses (n, n) drawn as on the map: row 0 north, column 0 west."""
    row, column = region.rows_columns(region.depth, np.arange(region.branching**region.depth))
    masses = np.asarray(picture, float)[row, column]
    levels = np.full(len(masses), region.depth)
    return CellPosterior(region, levels, np.arange(len(masses)), masses / masses.sum())


def picture(**masses):
    p = np.zeros((16, 16))
    for place, mass in masses.items():
        row, column = map(int, place[1:].split('_'))
        p[row, column] = mass
    return p


def test_moments_agree_with_sampling_points_in_the_cells():
    rng = np.random.default_rng(0)
    masses = rng.dirichlet(np.full(256, 0.2)).reshape(16, 16)
    posterior = posterior_of(masses)
    cells = rng.choice(256, 400_000, p=masses.ravel())
    row, column = np.divmod(cells, 16)
    east = (column + rng.random(len(cells))) * 16 - 128
    north = 128 - (row + rng.random(len(cells))) * 16
    np.testing.assert_allclose(posterior.mean_m, [east.mean(), north.mean()], atol=0.6)
    np.testing.assert_allclose(posterior.covariance_m2, np.cov(east, north), rtol=0.02, atol=30)


def test_one_cell_has_the_covariance_of_a_uniform_square():
    posterior = posterior_of(picture(c0_15=1.0))
    np.testing.assert_allclose(posterior.mean_m, [120.0, 120.0])
    np.testing.assert_allclose(posterior.covariance_m2, np.eye(2) * 16**2 / 12)
    assert posterior.best_cell.actions == (3, 3)
    assert posterior.entropy_nats == pytest.approx(0.0)


def test_entropy_of_uniform_is_the_log_of_the_number_of_cells():
    assert posterior_of(np.ones((16, 16))).entropy_nats == pytest.approx(np.log(256))


def test_an_unexplored_leaf_counts_as_uniform_inside():
    levels, indices = np.array([1, 2]), np.array([0, 255])
    coarse = CellPosterior(REGION, levels, indices, np.array([0.75, 0.25]))
    fine = np.zeros((16, 16))
    fine[:4, :4] = 0.75 / 16
    fine[15, 15] = 0.25
    exact = posterior_of(fine)
    np.testing.assert_allclose(coarse.mean_m, exact.mean_m)
    np.testing.assert_allclose(coarse.covariance_m2, exact.covariance_m2)
    np.testing.assert_allclose(coarse.to_grid(), fine)
    assert coarse.entropy_nats == pytest.approx(exact.entropy_nats)
    assert coarse.explored_mass == pytest.approx(0.25)
    assert coarse.best_cell.actions == (15, 15)


def test_grid_masses_lie_as_on_the_map():
    rng = np.random.default_rng(1)
    masses = rng.dirichlet(np.ones(256)).reshape(16, 16)
    np.testing.assert_allclose(posterior_of(masses).to_grid(), masses)


def test_modes_are_touching_groups_heaviest_first():
    posterior = posterior_of(picture(c2_2=0.3, c3_3=0.25, c3_4=0.05, c10_10=0.4))
    first, second = posterior.modes(0.99)
    assert first.mass == pytest.approx(0.6) and second.mass == pytest.approx(0.4)
    east = (2.5 * 0.3 + 3.5 * 0.25 + 4.5 * 0.05) / 0.6 * 16 - 128
    north = 128 - (2.5 * 0.3 + 3.5 * 0.3) / 0.6 * 16
    np.testing.assert_allclose(first.mean_m, [east, north])
    np.testing.assert_allclose(second.covariance_m2, np.eye(2) * 16**2 / 12)


def test_groups_far_apart_in_one_row_stay_apart():
    posterior = posterior_of(picture(c5_0=0.5, c5_2=0.3, c5_15=0.2))
    assert len(posterior.modes(0.99)) == 3


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), mass=st.floats(0.05, 0.99))
def test_the_credible_region_is_the_smallest_that_holds_the_mass(seed, mass):
    rng = np.random.default_rng(seed)
    posterior = posterior_of(rng.dirichlet(np.full(256, 0.3)).reshape(16, 16))
    region = posterior.credible_region(mass)
    held = posterior.masses[region]
    assert held.sum() >= mass - 1e-9
    assert held.sum() - held.min() < mass  # without its lightest cell it would not do
    outside = np.setdiff1d(np.arange(256), region)
    assert posterior.masses[outside].max(initial=0) <= held.min() + 1e-15


def test_points_are_held_by_the_cells_they_lie_in():
    posterior = posterior_of(picture(c0_0=0.6, c0_1=0.3, c8_8=0.1))
    assert posterior.holds(-127.9, 127.9, 0.5)
    assert not posterior.holds(-100.0, 127.9, 0.5)
    assert posterior.holds(-100.0, 127.9, 0.9)
    assert posterior.mass_within(-120.0, 120.0, 17.0) == pytest.approx(0.9)
    with pytest.raises(OutsideRegionError):
        posterior.holds(500.0, 0.0, 0.9)


def test_cells_left_out_hold_nothing():
    posterior = CellPosterior(REGION, np.array([2]), np.array([0]), np.array([1.0]))
    assert posterior.leaf_at(100.0, -100.0) == -1
    assert not posterior.holds(100.0, -100.0, 0.99)
    assert posterior.bounds((15, 15)) == (0.0, 0.0)


def test_masses_that_are_no_distribution_are_refused():
    for masses in ([0.5, 0.4], [1.5, -0.5], [np.nan, 1.0]):
        with pytest.raises(ConfigError, match='sum to one'):
            CellPosterior(REGION, np.array([2, 2]), np.array([0, 1]), np.array(masses))


# --- fixes ------------------------------------------------------------------------------------


def test_one_narrow_hypothesis_is_a_fix_with_its_covariance():
    posterior = posterior_of(picture(c4_4=0.5, c4_5=0.5))
    fix = make_fix(posterior, FixCriteria(0.8, 50.0))
    assert fix.status == 'fix' and fix.reason == ''
    assert (fix.east_m, fix.north_m) == pytest.approx((-48.0, 56.0))
    expected = np.diag([8**2 + 16**2 / 12, 16**2 / 12])
    np.testing.assert_allclose(fix.covariance_m2, expected)
    assert fix.radius_90_m == pytest.approx(np.sqrt(4.60517 * expected[0, 0]), rel=1e-5)
    east, north = REGION.to_enu(fix.latitude, fix.longitude)
    assert (east, north) == pytest.approx((fix.east_m, fix.north_m), abs=1e-6)


def test_two_far_hypotheses_are_no_fix_and_the_covariance_covers_both():
    fix = make_fix(posterior_of(picture(c1_1=0.5, c14_14=0.5)))
    assert fix.status == 'no_fix' and 'ambiguous' in fix.reason
    for hypothesis in fix.hypotheses:
        offset = np.array([hypothesis.east_m - fix.east_m, hypothesis.north_m - fix.north_m])
        assert offset @ np.linalg.inv(fix.covariance_m2) @ offset < CHI2_2DOF[0.9]


def test_a_share_just_below_the_least_does_not_read_as_if_it_were_reached():
    posterior = posterior_of(picture(c1_1=0.797, c14_14=0.203))
    assert 'holds 79%, less than 80%' in make_fix(posterior, FixCriteria(0.8, 50.0)).reason


def test_a_wide_hypothesis_is_no_fix():
    fix = make_fix(posterior_of(np.ones((16, 16))), FixCriteria(0.8, 50.0))
    assert fix.status == 'no_fix' and 'too wide' in fix.reason


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000))
def test_the_ellipse_of_a_fix_holds_ninety_percent_of_everything(seed):
    rng = np.random.default_rng(seed)
    masses = np.full((16, 16), 0.15 / 256)
    row, column = rng.integers(2, 14, 2)
    masses[row - 1 : row + 2, column - 1 : column + 2] += 0.85 * rng.dirichlet(np.ones(9)).reshape(
        3, 3
    )
    posterior = posterior_of(masses)
    fix = make_fix(posterior, FixCriteria(0.0, 1e6))
    assert fix.status == 'fix'
    offset = posterior.centers_m - (fix.east_m, fix.north_m)
    squared = np.einsum('ni,ij,nj->n', offset, np.linalg.inv(fix.covariance_m2), offset)
    assert posterior.masses[squared <= CHI2_2DOF[0.9] * (1 + 1e-9)].sum() >= 0.9 - 1e-9


def test_the_radius_holds_its_share_of_gaussian_samples():
    covariance = np.diag([9.0, 9.0])
    samples = np.random.default_rng(0).multivariate_normal([0, 0], covariance, 100_000)
    for share in (0.5, 0.9, 0.95, 0.99):
        inside = np.hypot(*samples.T) <= radius_m(covariance, share)
        assert inside.mean() == pytest.approx(share, abs=0.005)


def test_impossible_decisions_are_named():
    with pytest.raises(ConfigError, match='min_confidence'):
        FixCriteria(min_confidence=1.5)
    with pytest.raises(ConfigError, match='max_radius_m'):
        FixCriteria(max_radius_m=0.0)


def test_the_best_point_has_more_mass_near_than_any_other():
    """One heavy cell alone, and a group that holds more together: least risk takes the group."""
    p = picture(c2_2=0.3)
    p[10:13, 10:13] = 0.7 / 9
    posterior = posterior_of(p)
    assert np.allclose(posterior.best_point(20.0), [11.5 * 16 - 128, 128 - 11.5 * 16])
    best = posterior.best_cell
    assert np.allclose((best.east_m, best.north_m), [2.5 * 16 - 128, 128 - 2.5 * 16])
    assert np.allclose(posterior.best_point(1.0), (best.east_m, best.north_m))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), radius=st.floats(1, 60))
def test_no_cell_centre_has_more_mass_near_than_the_best_point(seed, radius):
    masses = np.random.default_rng(seed).dirichlet(np.full(256, 0.1)).reshape(16, 16)
    posterior = posterior_of(masses)
    near = [posterior.mass_within(*centre, radius) for centre in posterior.centers_m]
    assert posterior.mass_within(*posterior.best_point(radius), radius) >= max(near) - 1e-5


def test_among_a_few_cells_the_mass_is_shared_as_before():
    masses = np.random.default_rng(1).dirichlet(np.full(256, 0.3)).reshape(16, 16)
    posterior = posterior_of(masses)
    few = posterior.among(np.array([3, 40, 200]))
    assert few.indices.tolist() == [3, 40, 200]
    np.testing.assert_allclose(
        few.masses[0] / few.masses[1], posterior.masses[3] / posterior.masses[40]
    )
    with pytest.raises(ConfigError, match='none of the cells'):
        posterior.among(np.array([], int))


def test_a_fix_without_its_posterior_says_so_where_that_is_needed():
    fix = make_fix(posterior_of(picture(c3_4=1.0)))
    assert fix.require_posterior() is fix.posterior
    with pytest.raises(ConfigError, match='was dropped'):
        replace(fix, posterior=None).require_posterior()


def test_the_debug_picture_of_a_fix_without_its_posterior_goes_to_its_position():
    fix = make_fix(posterior_of(picture(c9_14=1.0)))
    asked = []

    def crop(actions):
        asked.append(actions)
        return np.zeros((8, 8, 3), np.uint8)

    satellite_map = SimpleNamespace(region=REGION, crop=crop)
    image = np.full((8, 8, 3), 99, np.uint8)
    strips = [
        zoom_picture(image, each, satellite_map, tile_px=16)
        for each in (fix, replace(fix, posterior=None))
    ]
    np.testing.assert_array_equal(*strips)
    assert asked[:2] == asked[2:] == [(), fix.require_posterior().best_cell.actions[:1]]


@pytest.mark.parametrize('cells', [7, 16, 37, 48])
def test_a_finer_or_askew_raster_is_summed_over_cells_by_area(cells):
    """Against a picture so fine that both rasters divide it."""
    rng = np.random.default_rng(cells)
    masses = rng.dirichlet(np.full(cells * cells, 0.1)).reshape(cells, cells)
    fine = CellPosterior(
        REGION.raster(cells),
        np.ones(cells * cells, int),
        np.arange(cells * cells),
        masses.ravel(),
    )
    picture = np.kron(masses, np.ones((16, 16))) / 256
    expected = picture.reshape(16, cells, 16, cells).sum((1, 3))
    np.testing.assert_allclose(fine.coarsen(REGION).to_grid(), expected, atol=1e-12)


def test_unexplored_leaves_are_shared_among_the_cells_under_them():
    levels, indices = np.array([1, 2]), np.array([3, 0])
    leaves = CellPosterior(REGION, levels, indices, np.array([0.75, 0.25]))
    same = replace(REGION, grid=2, depth=4)
    np.testing.assert_allclose(leaves.coarsen(same).to_grid(), leaves.to_grid(), atol=1e-12)
    with pytest.raises(ConfigError, match='own square'):
        leaves.coarsen(replace(REGION, side_m=200.0))


def test_an_error_that_the_posterior_does_not_know_of_is_added_and_can_end_a_fix():
    fix = make_fix(posterior_of(picture(c4_4=1.0)), FixCriteria(0.8, 50.0))
    wider = widen(fix, 3.0, FixCriteria(0.8, 50.0))
    np.testing.assert_allclose(wider.covariance_m2, fix.covariance_m2 + 9 * np.eye(2))
    expected = 4.60517 * (16**2 / 12 + 9)
    assert wider.status == 'fix' and wider.radius_90_m == pytest.approx(expected**0.5, rel=1e-5)
    far = widen(fix, 30.0, FixCriteria(0.8, 50.0))
    assert far.status == 'no_fix' and far.reason == 'too wide: the 90 % radius is 65 m, over 50 m'
