"""Several views of one place, against products computed cell by cell."""

import numpy as np
import pytest

from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.multi_view import Mount, fuse_posteriors, overlap_weights
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.region import Region

REGION = Region(41.0, -83.0, 256.0, grid=4, depth=2)


def exact(masses):
    masses = np.asarray(masses, float)
    return CellPosterior(REGION, np.full(256, 2), np.arange(256), masses / masses.sum())


def random_masses(seed):
    return np.random.default_rng(seed).dirichlet(np.full(256, 0.3)) + 1e-6


def test_two_views_multiply_cell_by_cell():
    one, two = random_masses(0), random_masses(1)
    both = fuse_posteriors([exact(one), exact(two)], [1.0, 0.5])
    expected = (one / one.sum()) * (two / two.sum()) ** 0.5
    np.testing.assert_allclose(both.masses, expected / expected.sum(), rtol=1e-9)


def test_one_view_stays_as_it_is():
    only = exact(random_masses(0))
    assert fuse_posteriors([only], [1.0]) is only


def test_an_unexplored_leaf_counts_as_even_inside():
    # One view knows cell 3 of the first level only as a whole, the other explored all.
    levels = np.r_[1, np.full(240, 2)]
    cells = np.array([c for c in range(256) if c // 16 != 3])
    coarse = CellPosterior(REGION, levels, np.r_[3, cells], np.full(241, 1 / 241))
    fine = random_masses(2)
    both = fuse_posteriors([coarse, exact(fine)])
    dense = np.full(256, 1 / 241)
    dense[48:64] = 1 / 241 / 16
    expected = dense * fine
    order = np.argsort(both.indices)
    assert np.array_equal(both.indices[order], np.arange(256)) and set(both.levels) == {2}
    np.testing.assert_allclose(both.masses[order], expected / expected.sum(), rtol=1e-9)


def test_two_coarse_views_stay_as_coarse_as_they_are():
    whole = CellPosterior(REGION, np.full(16, 1), np.arange(16), np.arange(1, 17) / 136)
    both = fuse_posteriors([whole, whole])
    assert set(both.levels) == {1}
    np.testing.assert_allclose(both.masses, np.arange(1, 17) ** 2 / 1496, rtol=1e-9)


def test_a_view_that_rules_a_cell_out_by_rounding_has_no_veto():
    sure = np.zeros(256)
    sure[7] = 1.0
    other = np.zeros(256)
    other[9] = 1.0
    both = fuse_posteriors([exact(sure), exact(sure), exact(other)])
    assert both.masses[7] > 0.99 and both.masses[9] > 0


def test_cameras_apart_count_fully_and_alike_ones_share():
    quarter = np.pi / 2
    around = [Mount(turn * quarter, 1.5) for turn in range(4)]
    np.testing.assert_allclose(overlap_weights(around), 1.0)
    np.testing.assert_allclose(overlap_weights([Mount(0, 1), Mount(0, 1), Mount(0, 1)]), 1 / 3)
    # Two of 90 degrees, turned by 45: each has half its view to itself.
    np.testing.assert_allclose(overlap_weights([Mount(0), Mount(quarter / 2)]), 0.75, atol=0.01)
    np.testing.assert_allclose(overlap_weights([Mount(np.pi), Mount(-np.pi)]), 0.5)


@pytest.mark.parametrize('wrong', [{'heading_rad': np.nan}, {'fov_rad': 0.0}, {'fov_rad': 7.0}])
def test_impossible_mounts_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong)).split('_')[0]):
        Mount(**wrong)


def test_another_number_of_exponents_is_refused():
    with pytest.raises(ConfigError, match='2 posteriors'):
        fuse_posteriors([exact(np.ones(256))] * 2, [1.0])
