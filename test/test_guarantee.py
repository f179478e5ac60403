"""Finite-sample promises against exact arithmetic, brute force and simulation."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from justzoom_ros.errors import ConfigError
from justzoom_ros.evaluation.guarantee import (
    binomial_tail,
    conformal_radius,
    learn_then_test,
    least_sequences,
    risk_p_value,
    upper_bound,
)


def exact_tail(failures, count, share):
    """The same in rational numbers."""
    p = Fraction(share)
    return float(
        sum(math.comb(count, k) * p**k * (1 - p) ** (count - k) for k in range(failures + 1))
    )


@pytest.mark.parametrize('share', [0.001, 0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize(('failures', 'count'), [(0, 1), (0, 300), (1, 300), (7, 40), (39, 40)])
def test_the_binomial_tail_is_exact(failures, count, share):
    expected = exact_tail(failures, count, share)
    assert binomial_tail(failures, count, share) == pytest.approx(expected, rel=1e-9)
    assert binomial_tail(count, count, share) == 1.0


def test_no_failure_in_300_bounds_the_share_below_one_percent():
    assert least_sequences(0.01, 0.05) == 299
    assert upper_bound(0, 299, 0.05) <= 0.01 < upper_bound(0, 298, 0.05)
    assert upper_bound(0, 20, 0.05) == pytest.approx(1 - 0.05 ** (1 / 20))
    for failures, count in ((1, 300), (3, 50)):
        bound = upper_bound(failures, count, 0.05)
        assert exact_tail(failures, count, bound) == pytest.approx(0.05, rel=1e-6)
    assert upper_bound(5, 5, 0.05) == pytest.approx(1.0)


def test_how_many_sequences_a_claim_needs():
    assert least_sequences(0.1) == 9 and least_sequences(0.01) == 99
    with pytest.raises(ConfigError, match='alpha'):
        least_sequences(0.0)
    with pytest.raises(ConfigError, match='delta'):
        least_sequences(0.1, 1.0)


# --- the region ----------------------------------------------------------------------------------


def test_with_one_fix_a_sequence_the_radius_is_the_classical_one():
    """The ceil((1 - alpha) (K + 1))-th smallest score (Vovk et al. 2005)."""
    rng = np.random.default_rng(1)
    for count in (9, 10, 37, 200):
        scores = rng.exponential(size=count)
        rank = math.ceil(0.9 * (count + 1) - 1e-9)
        assert conformal_radius(scores[:, None], 0.1) == np.sort(scores)[rank - 1]
    assert conformal_radius(rng.exponential(size=(8, 1)), 0.1) == math.inf


def test_the_radius_is_the_least_that_holds_enough_weight():
    """By brute force over all scores."""
    rng = np.random.default_rng(2)
    scores = [rng.exponential(size=rng.integers(1, 9)) for _ in range(25)]
    for alpha in (0.05, 0.1, 0.5):
        found = conformal_radius(scores, alpha)
        held = {s: sum((each <= s).mean() for each in scores) / 26 for s in np.concatenate(scores)}
        assert found == min(s for s, weight in held.items() if weight >= 1 - alpha - 1e-12)


@pytest.mark.slow
def test_a_region_holds_the_truth_of_another_sequence_as_often_as_promised():
    """Sequences of different difficulty and length, whose frames depend on each other."""
    rng = np.random.default_rng(3)

    def sequence():
        level = rng.exponential()
        return level * rng.exponential(size=rng.integers(1, 30))

    held = []
    for _ in range(3000):
        radius = conformal_radius([sequence() for _ in range(30)], 0.1)
        held.append(rng.choice(sequence()) <= radius)
    low = 0.9 - 2.6 * math.sqrt(0.09 / 3000)
    assert low < np.mean(held) < 0.96


# --- the gate ------------------------------------------------------------------------------------


def test_p_values_of_whole_losses_are_exact_and_of_others_not_smaller_than_right():
    assert risk_p_value(np.zeros(300), 0.01) == pytest.approx(0.99**300)
    assert risk_p_value(np.r_[np.ones(2), np.zeros(98)], 0.1) == pytest.approx(
        exact_tail(2, 100, 0.1)
    )
    # Shares have no more room than coins of the same mean.
    assert risk_p_value(np.full(100, 0.02), 0.1) <= math.e * exact_tail(2, 100, 0.1)
    assert risk_p_value(np.full(100, 0.2), 0.1) == 1.0
    with pytest.raises(ConfigError, match='losses'):
        risk_p_value(np.array([]), 0.1)


def test_p_values_fall_with_the_losses():
    values = [
        risk_p_value(np.r_[np.full(k, 0.5), np.zeros(200 - k)], 0.1) for k in range(0, 60, 6)
    ]
    assert all(a <= b for a, b in pairwise(values))


def test_settings_are_tested_from_the_strictest_until_one_fails():
    good, bad = np.zeros(400), np.r_[np.ones(40), np.zeros(360)]
    assert learn_then_test([good, good, bad, good], 0.01, 0.05) == 1
    assert learn_then_test([bad, good], 0.01, 0.05) is None
    assert learn_then_test([np.zeros(298)], 0.01, 0.05) is None  # too few to say so
    assert learn_then_test([np.zeros(299)], 0.01, 0.05) == 0


@pytest.mark.slow
def test_the_gate_is_wrong_no_more_often_than_delta():
    """Settings of known risk; the one that is taken may be above alpha in 10 % of the cases."""
    rng, risks = np.random.default_rng(4), [0.01, 0.03, 0.06, 0.11, 0.2]
    wrong = 0
    for _ in range(2000):
        draws = rng.uniform(size=150)  # the laxer setting fails wherever the stricter one does
        taken = learn_then_test([(draws < r).astype(float) for r in risks], 0.1, 0.1)
        wrong += taken is not None and risks[taken] > 0.1
    assert wrong / 2000 < 0.1 + 2.6 * math.sqrt(0.09 / 2000)
