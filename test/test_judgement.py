"""Figures of fixes that no fit saw, against what they were drawn from."""

from dataclasses import replace

import numpy as np
import pytest

from justzoom_ros.evaluation.judgement import coverage_curve, judge
from justzoom_ros.evaluation.promise import FixSequence, make_promise

COVARIANCE_M2 = np.diag([4.0, 1.0])


def sequences(rng, count, length=12, scale=1.0, wild=0, places=0, shared_m=0.0):
    """Errors with `scale` times the covariance that is published; the first of `wild` sequences
    is in another place. Those of one of the `places` share an error."""
    found, shared = [], rng.normal(0, shared_m, (max(places, 1), 2))
    for number in range(count):
        place = number % places if places else 0
        off_m = np.sqrt(scale) * rng.normal(size=(length, 2)) * (2.0, 1.0) + shared[place]
        if number < wild:
            off_m[0] = 200.0, 0.0
        covariances = np.repeat(COVARIANCE_M2[None], length, 0)
        confidence = np.full(length, 0.97)
        name = str(place) if places else ''
        found.append(FixSequence(off_m, covariances, confidence, length + 1, name))
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
    fitted, judged = sequences(rng, 150, scale=0.2), sequences(rng, 300, scale=0.2, wild=3)
    fitted, judged = ([each.calibrated(0.2) for each in part] for part in (fitted, judged))
    promise = make_promise(fitted, 'tracking', 'coins', 0.1, 0.05)
    found = judge(judged, promise)
    assert found['coverage_90'][0] == pytest.approx(0.9, abs=0.02)
    assert found['promised_90'][0] > 0.88
    assert found['median_radius_90_m'] == pytest.approx(np.sqrt(4.605 * 4 * 0.2), rel=1e-3)
    assert found['sequences_with_gross'] == 3 and found['gross_bound'] > 0.01
    assert found['sequences_with_wrong_place'] == 3 and found['wrong_place_bound'] > 0.01
    assert found['availability'] == pytest.approx(12 / 13)


def test_places_that_share_an_error_are_drawn_as_one():
    """Of thirty flights over three towns that are off by metres the interval is that of three."""
    rng = np.random.default_rng(4)
    together = sequences(rng, 30, places=3, shared_m=4.0)
    apart = [replace(each, place='') for each in together]
    wide, narrow = (np.ptp(judge(each)['anees'][1:]) for each in (together, apart))
    assert wide > 1.5 * narrow
    assert judge(together)['places'] == 3


def test_the_curve_of_coverages_is_that_of_a_normal_error():
    levels = np.array([0.1, 0.5, 0.9])
    made = sequences(np.random.default_rng(3), 500, scale=4.0)
    curve = coverage_curve([each.calibrated(4.0) for each in made], levels)
    np.testing.assert_allclose(curve, levels, atol=0.02)


def test_sequences_without_a_fix_are_counted_and_no_more():
    empty = FixSequence(np.zeros((0, 2)), np.zeros((0, 2, 2)), np.zeros(0), 9)
    assert judge([empty]) == {'sequences': 1, 'fixes': 0}
