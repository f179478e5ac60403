"""Promises that hold for a finite number of sequences, whatever the distribution.

A sequence is a flight or a drive. Its frames depend on each other, so the whole sequence is the
unit that is exchangeable: another one from the same robots, cameras and places is like those that
were fitted on. Two promises follow.

*A region.* Split conformal prediction for such data (Lee, Barber, Willett, arXiv 2306.06342): with
K sequences, the truth of a fix of another one lies within the radius of `conformal_radius` with
probability at least 1 - alpha.

*A gate.* Learn then test (Angelopoulos, Bates, Candes, Jordan, Lei, arXiv 2110.01052): of several
settings, from the strictest to the laxest, `learn_then_test` takes the last for which the risk is
at most alpha, with confidence 1 - delta over the sequences that it was fitted on.
"""

import math
from collections.abc import Sequence

import numpy as np

from justzoom_ros.errors import ConfigError


def least_sequences(alpha: float, delta: float | None = None) -> int:
    """The least number of sequences that can support a claim: for a region of 1 - alpha; with
    `delta` for a risk of at most alpha with confidence 1 - delta, none of them being bad. Raises
    ConfigError for shares that are not within 0..1."""
    _check_share('alpha', alpha)
    if delta is None:
        return math.ceil(1 / alpha - 1 - 1e-9)
    _check_share('delta', delta)
    return math.ceil(math.log(delta) / math.log1p(-alpha) - 1e-9)


def conformal_radius(scores: Sequence[np.ndarray], alpha: float) -> float:
    """The score that another sequence's does not exceed with probability 1 - alpha.

    `scores`: of each sequence those of its fixes, (N,) each and N at least 1; a score may be any
    number that grows with the error. Every sequence counts the same, however long. Infinite where
    there are fewer sequences than `least_sequences(alpha)`.
    """
    _check_share('alpha', alpha)
    count = len(scores)
    weights = np.concatenate([np.full(len(each), 1 / len(each)) for each in scores])
    values = np.concatenate([np.asarray(each, float) for each in scores])
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) >= (1 - alpha) * (count + 1) - 1e-9
    return float(values[order][int(reached.argmax())]) if reached.any() else math.inf


def binomial_tail(failures: int, count: int, share: float) -> float:
    """Probability of so many failures or fewer in `count` independent trials that fail with
    probability `share`."""
    if failures >= count or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    log_fail, log_good = math.log(share), math.log1p(-share)
    terms = (
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        + k * log_fail + (count - k) * log_good
        for k in range(failures + 1)
    )  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, terms)))


def upper_bound(failures: int, count: int, delta: float) -> float:
    """What the share of failures does not exceed with confidence 1 - delta: Clopper and Pearson's
    (1934) one-sided bound."""
    _check_share('delta', delta)
    low, high = failures / max(count, 1), 1.0
    for _ in range(100):
        middle = (low + high) / 2
        if binomial_tail(failures, count, middle) > delta:
            low = middle
        else:
            high = middle
    return high


def risk_p_value(losses: np.ndarray, alpha: float) -> float:
    """How probable losses (N,) of independent sequences, each within 0..1, are at most, if their
    mean risk is above alpha: exact for losses of 0 and 1, else the bound of Hoeffding and Bentkus
    (Bates et al., arXiv 2101.02703, proposition 6)."""
    losses = np.asarray(losses, float)
    if not len(losses) or losses.min() < 0 or losses.max() > 1:
        raise ConfigError('losses must lie in 0..1, and there must be some')
    count, mean = len(losses), float(losses.mean())
    if np.isin(losses, (0.0, 1.0)).all():
        return binomial_tail(int(losses.sum()), count, alpha)
    hoeffding = math.exp(-count * _relative_entropy(min(mean, alpha), alpha))
    bentkus = math.e * binomial_tail(math.ceil(count * mean - 1e-9), count, alpha)
    return min(1.0, hoeffding, bentkus)


def learn_then_test(losses: Sequence[np.ndarray], alpha: float, delta: float) -> int | None:
    """Number of the laxest setting whose risk is at most alpha with confidence 1 - delta.

    `losses`: of each setting, from the strictest to the laxest, those (N,) of the N sequences.
    Tested in this order until one fails, so that no correction for their number is needed (fixed
    sequence testing). None where the strictest already fails.
    """
    _check_share('alpha', alpha)
    _check_share('delta', delta)
    passed = None
    for number, each in enumerate(losses):
        if risk_p_value(each, alpha) > delta:
            break
        passed = number
    return passed


def _relative_entropy(mean: float, alpha: float) -> float:
    """Of two coins, in nats."""
    first = 0.0 if mean <= 0 else mean * math.log(mean / alpha)
    second = 0.0 if mean >= 1 else (1 - mean) * math.log((1 - mean) / (1 - alpha))
    return first + second


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ConfigError(f'{name} is {value:g}; it must lie within 0..1')
