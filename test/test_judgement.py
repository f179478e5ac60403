"""Figures of fixes that no fit saw, against what they were drawn from."""

import numpy as np
import pytest

from justzoom_ros.evaluation.judgement import coverage_curve, judge
from justzoom_ros.evaluation.promise import FixSequence, make_promise


def sequences(rng, count, length=12, scale=1.0, wild=0):
    found = []
    for number in range(count):
        squared = scale * rng.chisquare(2, length)
        if number < wild:
            squared[0] = 1e4
        ones = np.ones(length)
        found.append(FixSequence(squared, 0.97 * ones, np.sqrt(squared), 3 * ones, length + 1))
    return found


def test_true_covariances_are_judged_true_within_their_intervals():
    found = judge(sequences(np.random.default_rng(1), 400))
    assert (found['sequences'], found['fixes'], found['frames']) == (400, 4800, 5200)
    for name, expected in (('anees', 1.0), ('coverage_50', 0.5), ('coverage_90', 0.9)):
        value, low, high = found[name]
        assert low < value < high and low - 0.02 < expected < high + 0.02
    assert found['false_share'][0] == pytest.approx(0.01, abs=0.005)
    assert found['sequences_with_gross'] == 0 and found['gross_bound'] < 0.01


def test_a_scale_and_a_promise_change_what_is_judged():
    rng = np.random.default_rng(2)
    promise = make_promise(sequences(rng, 150, scale=0.2), 'tracking', 'coins', 0.1, 0.05, 0.2)
    found = judge(sequences(rng, 300, scale=0.2, wild=3), 0.2, promise)
    assert found['coverage_90'][0] == pytest.approx(0.9, abs=0.02)
    assert found['promised_90'][0] > 0.88
    assert found['median_radius_90_m'] == pytest.approx(3 * np.sqrt(0.2))
    assert found['sequences_with_gross'] == 3 and found['gross_bound'] > 0.01


def test_the_curve_of_coverages_is_that_of_a_normal_error():
    levels = np.array([0.1, 0.5, 0.9])
    curve = coverage_curve(sequences(np.random.default_rng(3), 500, scale=4.0), 4.0, levels)
    np.testing.assert_allclose(curve, levels, atol=0.02)


def test_sequences_without_a_fix_are_counted_and_no_more():
    empty = FixSequence(*(np.zeros(0) for _ in range(4)), 9)
    assert judge([empty]) == {'sequences': 1, 'fixes': 0}
