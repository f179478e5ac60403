"""Covariances made true, against what errors were drawn from."""

from dataclasses import replace

import numpy as np
import pytest

from justzoom_ros.errors import DatasetError
from justzoom_ros.evaluation.covariance_fit import cross_fit, fit_scale_and_floor
from justzoom_ros.evaluation.promise import FixSequence


def sequence(rng, length=30, scale=1.0, shared_m=0.0, false=0.0):
    """Errors with `scale` times the covariance that is published, which is of another shape for
    each fix, and one more that is the same for all."""
    deviations = rng.uniform(0.3, 2.0, (length, 2))
    off_m = np.sqrt(scale) * deviations * rng.normal(size=(length, 2))
    off_m = off_m + rng.normal(0, shared_m, 2)
    off_m[rng.uniform(size=length) < false] = 300.0, 0.0
    covariances = deviations[:, None] ** 2 * np.eye(2)
    return FixSequence(off_m, covariances, np.ones(length), length)


@pytest.mark.parametrize('scale', [0.1, 1.0, 5.0])
def test_errors_that_share_nothing_need_a_factor_alone(scale):
    rng = np.random.default_rng(1)
    found = fit_scale_and_floor([sequence(rng, scale=scale) for _ in range(100)])
    assert found.scale == pytest.approx(scale, rel=0.08)
    assert found.floor_m < 0.15 * np.sqrt(scale)


def test_what_all_frames_of_a_sequence_are_off_by_is_told_from_their_own_errors():
    rng = np.random.default_rng(2)
    fitted = [sequence(rng, scale=0.2, shared_m=0.8) for _ in range(150)]
    found = fit_scale_and_floor(fitted)
    assert found.floor_m == pytest.approx(0.8, rel=0.12)
    assert found.scale == pytest.approx(0.2, rel=0.3)
    others = [sequence(rng, 4, scale=0.2, shared_m=0.8) for _ in range(1200)]
    squared = [one.calibrated(found.scale, found.floor_m).squared for one in others]
    for share, limit in ((0.5, 1.386), (0.9, 4.605), (0.95, 5.991)):
        assert np.mean([(s <= limit).mean() for s in squared]) == pytest.approx(share, abs=0.03)


def test_a_few_false_fixes_widen_nothing():
    rng = np.random.default_rng(3)
    spoilt = [sequence(rng, scale=0.2, false=0.005) for _ in range(150)]
    found = fit_scale_and_floor(spoilt)
    assert found.scale + found.floor_m**2 == pytest.approx(0.2, rel=0.2)


def test_a_place_is_fitted_by_the_others_alone():
    """One place is worse than it says by far: the others do not show it, and it is not hidden."""
    rng = np.random.default_rng(5)
    places = [replace(sequence(rng, scale=0.25), place=str(n)) for n in range(5) for _ in 'ab']
    places[0] = replace(sequence(rng, scale=25.0), place='0')
    crossed = cross_fit(places)
    squared = {each.place: each.squared.mean() / 2 for each in crossed}
    assert len(crossed) == 10 and squared['4'] < 0.9
    alone = fit_scale_and_floor(places[2:])
    np.testing.assert_allclose(crossed[0].squared, places[0].calibrated(
        alone.scale, alone.floor_m).squared)  # fmt: skip
    with pytest.raises(DatasetError, match='one place'):
        cross_fit(places[:2])


def test_without_a_fix_there_is_nothing_to_fit():
    with pytest.raises(DatasetError, match='no sequence has a fix'):
        fit_scale_and_floor([sequence(np.random.default_rng(4), length=0)])
