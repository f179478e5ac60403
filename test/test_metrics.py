"""Every metric against figures computed by hand, or against the law that it estimates."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from justzoom_ros.evaluation import metrics

TRUTHS = [(0, 0), (10, 0), (0, 0), (5, 5)]
ESTIMATES = [(3, 4), (10, 0), (0, -30), (5 + 60, 5 + 80)]  # off by 5, 0, 30 and 100 m


def test_summary_by_hand():
    figures = metrics.summary(TRUTHS, ESTIMATES, [False, True, False, False])
    assert figures == {
        'images': 4,
        'recall_cell': 0.25,
        'recall_5m': 0.5,
        'recall_10m': 0.5,
        'recall_25m': 0.5,
        'recall_40m': 0.75,
        'recall_50m': 0.75,
        'recall_100m': 1.0,  # exactly 100 m counts
        'median_m': 17.5,
        'p90_m': pytest.approx(30 + 0.7 * 70),  # 0.9 * 3 = 2.7 between the third and fourth
    }


def test_nll_by_hand():
    assert metrics.nll_nats([0.5, 0.25]) == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert metrics.nll_nats([1.0]) == 0
    assert metrics.nll_nats([0.0]) == pytest.approx(-math.log(1e-12))


def test_anees_by_hand():
    covariances = [[[9, 0], [0, 16]], [[2, 1], [1, 2]]]
    # (3, 4): 1 + 1 = 2; (1, 1): inverse is [[2, -1], [-1, 2]] / 3, so 2 / 3
    value = metrics.anees([(0, 0), (7, 7)], [(3, 4), (8, 8)], covariances)
    assert value == pytest.approx((2 + 2 / 3) / 2 / 2)


def test_in_ellipses_by_hand():
    # The 90 % ellipse of variances 9 and 16 reaches 3 * 2.1460 = 6.438 and 4 * 2.1460 = 8.584.
    estimates = [(6.43, 0), (6.45, 0), (0, 8.58), (0, -8.59)]
    covariances = [[[9, 0], [0, 16]]] * 4
    flags = metrics.in_ellipses(np.zeros((4, 2)), estimates, covariances)
    assert flags.tolist() == [True, False, True, False]
    figures = metrics.fix_summary(np.zeros((4, 2)), estimates, covariances, [False] * 4)
    assert figures['coverage_90_ellipse'] == 0.5 and figures['recall_10m'] == 1


def test_anees_is_one_for_honest_covariances():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(4000, 2, 2)) + 2 * np.eye(2)
    errors = (root @ rng.normal(size=(4000, 2, 1)))[..., 0]
    covariances = root @ root.transpose(0, 2, 1)
    assert metrics.anees(np.zeros((4000, 2)), errors, covariances) == pytest.approx(1, abs=0.05)
    assert metrics.anees(np.zeros((4000, 2)), errors, covariances / 4) > 3.5


def test_ece_by_hand():
    confidences = [0.95, 0.85, 0.82, 0.05, 1.0]
    correct = [True, True, False, False, True]
    # bins: 0.9..1 holds 0.95 and 1.0, all right; 0.8..0.9 two, one right; 0..0.1 one, wrong
    by_hand = 2 / 5 * abs(0.975 - 1) + 2 / 5 * abs(0.835 - 0.5) + 1 / 5 * abs(0.05 - 0)
    assert metrics.ece(confidences, correct) == pytest.approx(by_hand)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_ece_is_a_share(pairs):
    confidences, correct = zip(*pairs, strict=True)
    assert 0 <= metrics.ece(confidences, correct) <= 1
    assert metrics.ece(np.asarray(correct, float), correct) == 0


@given(st.lists(st.floats(0, 500), min_size=1, max_size=50))
def test_recalls_grow_with_the_radius(distances):
    values = list(metrics.recalls(distances).values())
    assert values == sorted(values)
    assert metrics.quantile(distances, 0.5) <= metrics.quantile(distances, 0.9)


def test_nothing_to_count_is_nan():
    empty = metrics.without_nan(metrics.fix_summary([], [], [], []))
    assert empty.pop('images') == 0 and set(empty.values()) == {None}
    for value in (
        metrics.share([]),
        metrics.quantile([], 0.5),
        metrics.nll_nats([]),
        metrics.anees([], [], []),
        metrics.ece([], []),
    ):
        assert math.isnan(value)
