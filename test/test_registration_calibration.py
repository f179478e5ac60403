"""What a match is worth on a whole map: fitted to searches."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from test_registration_training import TINY, place

from justzoom_ros.registration.network import MatchModel, RegistrationNetwork
from justzoom_ros.training.registration import calibration
from justzoom_ros.training.registration.calibration import (
    BINS,
    LEAST_Z,
    MOST_Z,
    Search,
    calibrate,
    collect,
    fit_match,
    match_loss,
)
from justzoom_ros.training.registration.dice import Dice
from justzoom_ros.training.registration.views import PairSource, ViewConfig

SMALL_VIEWS = ViewConfig(template_cells=40, tile_cells=64, smallest_cells=24)


def search(rng, truth_z=None, poses=100_000):
    """A search whose wrong poses stand out by a normal distribution."""
    edges = np.linspace(LEAST_Z, MOST_Z, BINS + 1)
    shares = np.diff([NormalDist().cdf(edge) for edge in edges])
    *counts, _ = rng.multinomial(poses, [*shares, 1 - shares.sum()])
    if truth_z is not None:
        counts += np.histogram(truth_z, edges)[0]
    truth = None if truth_z is None else torch.full((9,), float(truth_z))
    return Search(1000.0, torch.tensor(counts, dtype=torch.float32), truth)


@pytest.mark.slow
def test_a_fitted_match_model_knows_here_from_elsewhere():
    rng, match = np.random.default_rng(0), MatchModel()
    searches = [search(rng, z) for z in rng.normal(9, 1.5, 20)] + [search(rng) for _ in range(20)]
    before = match_loss(match, searches)
    after = fit_match(match, searches)
    assert after < 0.5 * before
    # Of 100,000 wrong poses the best is near 4.3: worth nothing; a true one is worth more than
    # the number of poses.
    wrong, true = match(torch.tensor([4.3, 9.0]), 1000.0, 0.0, 1.0).tolist()
    assert wrong < math.log(100_000) - 1
    assert true > math.log(100_000) + 2


@pytest.mark.slow
def test_where_true_poses_do_not_stand_out_nothing_is_certain():
    rng, match = np.random.default_rng(1), MatchModel()
    searches = [search(rng, z) for z in rng.normal(0, 1, 20)] + [search(rng) for _ in range(20)]
    fit_match(match, searches)
    assert match(torch.tensor([4.3]), 1000.0, 0.0, 1.0).item() < math.log(100_000)


@pytest.mark.slow
def test_a_search_counts_every_valid_pose_once_and_finds_the_truth_among_them():
    torch.manual_seed(0)
    network = RegistrationNetwork(TINY).eval()
    source = PairSource([place('a', seed=1), place('b', seed=2)], config=SMALL_VIEWS)
    for number in range(4):
        for found in collect(network, source, Dice.of((number,))):
            assert 0 < found.counts.sum() <= 36 * SMALL_VIEWS.window**2
            assert 400 < found.area < 40**2
            if found.truth is not None:
                assert 3 * 4 * 4 <= len(found.truth) <= 3 * 7 * 7


@pytest.mark.slow
def test_calibrating_changes_the_match_model_alone(monkeypatch):
    monkeypatch.setattr(calibration, 'VIEWS', SMALL_VIEWS)
    network = RegistrationNetwork(TINY).eval()
    fitted = calibrate(network, [place('a', seed=1), place('b', seed=2)], pairs=4)
    pairs = zip(network.state_dict().items(), fitted.state_dict().values(), strict=True)
    for (name, old), new in pairs:
        assert torch.equal(old, new) != name.startswith('match.')


@pytest.mark.parametrize('z', [-5.0, 0.0, 4.0, 15.0])
def test_standing_out_more_is_never_worth_less(z):
    match = MatchModel()
    lower, higher = match(torch.tensor([z, z + 0.5]), 2000.0, 0.0, 1.0)
    assert higher > lower


def test_how_far_no_pose_stands_out_counts_for_nothing():
    match, counts = MatchModel(), torch.zeros(BINS)
    match.rise.data[0] = 3.0  # so steep that anything far out would outweigh all else
    at = BINS // 4
    counts[at] = 50.0
    z = LEAST_Z + (MOST_Z - LEAST_Z) / BINS * (at + 0.5)
    ratio = match(torch.tensor([z, 5.0]), 1000.0, 0.0, 1.0).tolist()
    searches = [Search(1000.0, counts, None), Search(1000.0, counts, torch.tensor([5.0]))]
    softplus = math.log1p(math.exp(ratio[0]))
    expected = 2 * softplus + math.log(50) - ratio[1]
    assert match_loss(match, searches) == pytest.approx(expected, rel=1e-4)
