"""Tree searches against brute force: every product of probabilities, one by one, in float64."""

from itertools import product

import numpy as np
import pytest
import torch
from quick import quick_first
from test_model import tiny_policy

from justzoom_ros.embeddings.cell_embeddings import MapEmbeddings
from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.tree_search import SearchConfig, search
from justzoom_ros.region import Region


def setup(grid=2, depth=3, uncovered=(), seed=0, look_ahead=False):
    """A tiny float64 policy with random map embeddings; `uncovered` terminal path indices."""
    policy = tiny_policy(seed, grid=grid, depth=depth, look_ahead=look_ahead).double()
    with torch.no_grad():
        policy.decoder.output_head.weight *= 60  # far from uniform, or every search looks alike
    region = Region(41.0, -83.0, 512.0, grid, depth)
    torch.manual_seed(seed + 1)
    levels = tuple(
        torch.randn(region.branching**k, 32).double() for k in range(depth + look_ahead)
    )
    terminal = np.ones(region.branching**depth, bool)
    terminal[list(uncovered)] = False
    covered = [terminal.reshape(region.branching**k, -1).any(axis=1) for k in range(depth + 1)]
    ground = torch.randn(32).double()
    return policy, MapEmbeddings(region, levels, tuple(covered)), ground


@torch.inference_mode()
def brute_force(policy, embeddings, ground):
    """Masses of all terminal cells by teacher forcing each sequence alone, then conditioning on
    the cells with imagery."""
    region = embeddings.region
    masses = np.zeros(region.branching**region.depth)
    for actions in product(range(region.branching), repeat=region.depth):
        prefixes = [region.cell_index(actions[:k]) for k in range(region.depth)]
        maps = torch.stack([embeddings.levels[k][i] for k, i in enumerate(prefixes)])
        sequence = torch.tensor([actions])
        chances = policy.logits(ground[None], maps[None], sequence).softmax(-1)[0]
        masses[region.cell_index(actions)] = np.prod(
            [float(chances[k, a]) for k, a in enumerate(actions)]
        )
    masses *= embeddings.covered[region.depth]
    return masses / masses.sum()


def dense(posterior):
    region = posterior.region
    masses = np.zeros(region.branching**region.depth)
    terminal = posterior.levels == region.depth
    masses[posterior.indices[terminal]] = posterior.masses[terminal]
    return masses


@torch.inference_mode()
def test_looking_ahead_is_the_policy_over_the_children_of_every_cell():
    """Exact and beam searches against each sequence scored alone by teacher forcing."""
    policy, embeddings, ground = setup(look_ahead=True)
    region = embeddings.region
    masses = np.zeros(region.branching**region.depth)
    for actions in product(range(region.branching), repeat=region.depth):
        prefixes = [region.cell_index(actions[:k]) for k in range(region.depth)]
        maps = torch.stack([embeddings.levels[k][i] for k, i in enumerate(prefixes)])
        below = [
            embeddings.levels[k + 1][i * region.branching : (i + 1) * region.branching]
            for k, i in enumerate(prefixes)
        ]
        logits = policy.logits(
            ground[None], maps[None], torch.tensor([actions]), torch.stack(below)[None]
        )
        chances = logits.softmax(-1)[0]
        masses[region.cell_index(actions)] = np.prod(
            [float(chances[k, a]) for k, a in enumerate(actions)]
        )
    np.testing.assert_allclose(dense(search(policy, embeddings, ground)), masses, atol=1e-9)
    wide = SearchConfig('beam', width=64)
    np.testing.assert_allclose(dense(search(policy, embeddings, ground, wide)), masses, atol=1e-9)
    deaf = setup(look_ahead=True)[0]
    torch.nn.init.zeros_(deaf.lookahead.expect.weight)
    assert not np.allclose(dense(search(deaf, embeddings, ground)), masses, atol=1e-3)


UNCOVERED = [(), (0, 5, 63), tuple(range(16)), tuple(range(3, 60))]


@torch.inference_mode()
@pytest.mark.parametrize('uncovered', UNCOVERED)
def test_exact_is_the_product_of_probabilities(uncovered):
    policy, embeddings, ground = setup(uncovered=uncovered)
    expected = brute_force(policy, embeddings, ground)
    posterior = search(policy, embeddings, ground)
    np.testing.assert_allclose(dense(posterior), expected, atol=1e-9)
    assert posterior.explored_mass == pytest.approx(1.0)


@torch.inference_mode()
def test_exact_on_three_by_three_in_float32_is_within_1e_6():
    policy, embeddings, ground = setup(grid=3, depth=2)
    expected = brute_force(policy, embeddings, ground)
    single = MapEmbeddings(
        embeddings.region, tuple(x.float() for x in embeddings.levels), embeddings.covered
    )
    posterior = search(policy.float(), single, ground.float())
    np.testing.assert_allclose(dense(posterior), expected, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize('config', [SearchConfig(), SearchConfig('best_first', 0.1)])
def test_chunks_and_groups_do_not_change_the_answer(monkeypatch, config):
    policy, embeddings, ground = setup()
    whole = search(policy, embeddings, ground, config)
    monkeypatch.setattr('justzoom_ros.inference.tree_search.CHUNK', 3)
    monkeypatch.setattr('justzoom_ros.models.prefix_batch.GROUP_SIZE', 2)
    parts = search(policy, embeddings, ground, config)
    np.testing.assert_allclose(dense(parts), dense(whole), atol=1e-12)


@torch.inference_mode()
@pytest.mark.parametrize('uncovered', UNCOVERED)
@pytest.mark.parametrize('unexplored', quick_first(1, [0.02, 0.0, 0.3]))
def test_best_first_bounds_hold_against_exact(uncovered, unexplored):
    policy, embeddings, ground = setup(uncovered=uncovered)
    expected = brute_force(policy, embeddings, ground)
    posterior = search(policy, embeddings, ground, SearchConfig('best_first', unexplored))
    assert posterior.explored_mass >= 1 - unexplored - 1e-9 or uncovered
    for actions in product(range(4), repeat=3):
        low, high = posterior.bounds(actions)
        truth = expected[embeddings.region.cell_index(actions)]
        assert low - 1e-9 <= truth <= high + 1e-9
    for mode in posterior.modes():
        assert mode.mass <= mode.mass_upper


@torch.inference_mode()
def test_best_first_explores_less_than_exact_and_keeps_its_bound():
    policy, embeddings, ground = setup(grid=4, depth=3)
    exact = search(policy, embeddings, ground)
    posterior = search(policy, embeddings, ground, SearchConfig('best_first', 0.05))
    assert posterior.explored_mass >= 0.95
    terminal = posterior.levels == 3
    assert terminal.sum() < len(exact.masses)
    np.testing.assert_allclose(
        posterior.masses[terminal], dense(exact)[posterior.indices[terminal]], atol=1e-12
    )


@torch.inference_mode()
def test_greedy_follows_the_most_probable_action():
    policy, embeddings, ground = setup(seed=3)
    region, actions = embeddings.region, ()
    while len(actions) < region.depth:
        prefixes = [region.cell_index(actions[:k]) for k in range(len(actions) + 1)]
        maps = torch.stack([embeddings.levels[k][i] for k, i in enumerate(prefixes)])
        logits = policy.logits(ground[None], maps[None], torch.tensor([[*actions, 0]]))
        actions += (int(logits[0, -1].argmax()),)
    posterior = search(policy, embeddings, ground, SearchConfig('greedy'))
    explored = posterior.levels == region.depth
    assert explored.sum() == region.branching
    best = np.argmax(np.where(explored, posterior.masses, -1))
    assert region.actions_of(region.depth, posterior.indices[best]) == actions
    assert posterior.masses.sum() == pytest.approx(1.0)


@torch.inference_mode()
def test_a_wide_enough_beam_is_exact():
    policy, embeddings, ground = setup()
    beam = search(policy, embeddings, ground, SearchConfig('beam', width=16))
    np.testing.assert_allclose(dense(beam), dense(search(policy, embeddings, ground)), atol=1e-12)


@torch.inference_mode()
def test_a_high_temperature_flattens():
    policy, embeddings, ground = setup()
    sharp = search(policy, embeddings, ground)
    flat = search(policy, embeddings, ground, SearchConfig(temperature=5.0))
    assert flat.entropy_nats > sharp.entropy_nats


@torch.inference_mode()
def test_a_tree_of_one_step():
    policy, embeddings, ground = setup(grid=3, depth=1)
    np.testing.assert_allclose(
        dense(search(policy, embeddings, ground)),
        brute_force(policy, embeddings, ground),
        atol=1e-9,
    )


def test_wrong_search_settings_are_named():
    with pytest.raises(ConfigError, match='depth_first'):
        SearchConfig('depth_first')
    with pytest.raises(ConfigError, match='unexplored'):
        SearchConfig(unexplored=1.5)
