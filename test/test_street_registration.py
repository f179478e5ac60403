"""Learning to place cameras that look ahead: batches drawn from lessons, losses, and runs."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from forward_tiny import SMALL

from justzoom_ros.errors import DatasetError, WeightsError
from justzoom_ros.registration.forward_lift import Strip, normalize_strip, strip_directions
from justzoom_ros.registration.forward_network import ForwardNetwork, lay_on_ground
from justzoom_ros.registration.normalize import normalize_pixels
from justzoom_ros.training.street_registration import views
from justzoom_ros.training.street_registration.draw import Variation
from justzoom_ros.training.street_registration.lesson import Lesson
from justzoom_ros.training.street_registration.lesson_cache import LessonCache, normalize
from justzoom_ros.training.street_registration.loss import correlate, interpolate, losses_of
from justzoom_ros.training.street_registration.recipe import StreetRecipe
from justzoom_ros.training.street_registration.trainer import CURVE, StreetTrainer
from justzoom_ros.training.street_registration.views import draw_batch

PLAIN = Variation(False, (0.0, 0.0), 0.0)


def make_lesson(seed=0, side=160, places=6):
    """A map of coloured blocks; panoramas of noise; walls 30 m away all round."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(1, 6, (side // 8, side // 8)), np.ones((8, 8))).astype(np.uint8)
    built = np.kron(rng.random((side // 16, side // 16)) < 0.3, np.ones((16, 16)))
    labels += (8 * built).astype(np.uint8)
    pixels = np.stack([labels * 7, labels * 3, 255 - labels * 9], -1).astype(np.uint8)
    panoramas = rng.integers(0, 255, (places, 80, 480, 3), np.uint8)
    poses = np.stack(
        [*rng.uniform(-20, 20, (2, places)), rng.uniform(-3, 3, places), np.full(places, 1.6)], 1
    )
    walls_m = np.full((places, 240), 30.0, np.float32)
    return Lesson(pixels, labels, panoramas, poses.astype(np.float32), walls_m)


@pytest.fixture(scope='module')
def cache():
    return LessonCache(2, 33, torch.device('cpu')).add_all([make_lesson(0), make_lesson(1)])


def test_a_lesson_is_written_and_read(tmp_path):
    lesson = make_lesson()
    lesson.save(tmp_path / '1.npz')
    again = Lesson.load(tmp_path / '1.npz')
    assert all(np.array_equal(a, vars(again)[name]) for name, a in vars(lesson).items())


def test_a_file_that_is_no_lesson_is_named(tmp_path):
    (tmp_path / '1.npz').write_bytes(b'nothing')
    with pytest.raises(DatasetError, match='1.npz is no lesson'):
        Lesson.load(tmp_path / '1.npz')


def test_maps_are_normalized_as_the_network_does():
    pixels = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    expected = normalize_pixels(pixels, np.ones((90, 90), bool), 33)[:3]
    assert np.abs(normalize(torch.from_numpy(pixels), 33).numpy() - expected).max() < 1e-4


def test_strips_are_normalized_as_the_network_does():
    rng = np.random.default_rng(0)
    pixels, mask = rng.integers(0, 255, (64, 40, 3), np.uint8), rng.random((64, 40)) < 0.7
    expected = normalize_strip(Strip(pixels * mask[..., None], mask))
    given = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    found = views.normalize_strips(given, torch.from_numpy(mask)[None, None].float())
    assert np.abs(found[0].numpy() - expected).max() < 1e-3


def test_directions_are_those_of_the_lift():
    ours = views.strip_directions(SMALL, 48, torch.device('cpu'))
    for one, other in zip(ours, strip_directions(SMALL, 48), strict=True):
        assert np.abs(one.numpy() - other).max() < 1e-6


@pytest.mark.parametrize('turned', [False, True])
@pytest.mark.parametrize('count', [1, 4])
def test_true_labels_laid_on_the_ground_are_found_at_the_target(cache, turned, count):
    """Map, pose, view, turn and mirror fit together: what the columns say of the ground, laid on
    it at the true heading, matches the piece of map best at the target."""
    generator = torch.Generator().manual_seed(5)
    variation = Variation(turned, (0.0, 0.0), 0.0)
    batch = draw_batch(cache, SMALL, 6, count, 36, 96, generator, variation)
    polar = (batch.shown.polar_labels[:, :7] * 2 - 1) * (batch.shown.polar_seen > 0.5)
    laid = lay_on_ground(SMALL, polar, batch.yaws_rad[:, :1]).unflatten(0, (6, count)).sum(1)
    sums = correlate(batch.shown.tile_labels * 2 - 1, laid)[:, 0]
    best = sums.flatten(1).argmax(1)
    found = torch.stack([best // sums.shape[-1], best % sums.shape[-1]], 1)
    near = (found - batch.target).abs().amax(1) < 1.5
    assert near.sum() >= (5 if count == 4 else 4)


def test_a_view_shows_what_the_panorama_shows_there(cache):
    """Columns of a strip go clockwise from the panorama's own, by where the view looks."""
    lesson = make_lesson()
    ramp = np.broadcast_to(np.arange(480)[None, :, None] // 2, (80, 480, 3)).astype(np.uint8)
    lesson = Lesson(**{**vars(lesson), 'panoramas': np.stack([ramp] * 6)})
    own = LessonCache(1, 33, torch.device('cpu')).add_all([lesson])
    draw = views._Draw(own, SMALL, 1, 1, torch.Generator().manual_seed(0), PLAIN)
    draw.look = torch.zeros(1)  # the middle of the panorama
    azimuth, slope = views.strip_directions(SMALL, 40, torch.device('cpu'))
    pixels = draw._panorama_at(azimuth[None], slope.atan()[None, :, None].expand(1, 64, 40))
    expected = np.arange(220, 260) // 2 / 255  # azimuth grows to the left, columns to the right
    assert np.abs(pixels[0, 0, 32].numpy() - expected).max() < 1.5 / 255


def test_correlation_is_the_sum_of_products():
    generator = torch.Generator().manual_seed(0)
    cells = torch.randn(2, 3, 12, 12, generator=generator)
    templates = torch.randn(2, 4, 3, 5, 5, generator=generator)
    expected = torch.stack(
        [
            torch.nn.functional.conv2d(one[None], each)[0]
            for one, each in zip(cells, templates, strict=True)
        ]
    )
    assert torch.allclose(correlate(cells, templates), expected, atol=1e-4)


def test_interpolation_is_bilinear():
    plane = torch.arange(20.0).view(1, 4, 5)[:, :, :4] + 0
    found = interpolate(plane, torch.tensor([[1.25, 2.5]]))
    assert float(found) == pytest.approx(5 * 1.25 + 2.5)


def test_a_network_that_knows_nothing_loses_what_chance_does(cache):
    torch.manual_seed(0)
    network = ForwardNetwork(SMALL)
    with torch.no_grad():
        network.match.log_scale.fill_(-20.0)
        batch = draw_batch(cache, SMALL, 4, 1, 12, 96, torch.Generator().manual_seed(1), PLAIN)
        losses = losses_of(network, batch)
    places = (96 // 2 - 2 * SMALL.reach_cells) ** 2
    assert float(losses.here.mean()) == pytest.approx(math.log(2 * 12 * places), abs=0.01)
    assert float(losses.elsewhere) == pytest.approx(math.log(2), abs=0.01)


@pytest.mark.slow
def test_a_run_learns_goes_on_where_it_stopped_and_leaves_weights(tmp_path, monkeypatch):
    monkeypatch.setattr('justzoom_ros.training.street_registration.trainer.LEAST_LESSONS', 2)
    monkeypatch.setattr(
        'justzoom_ros.training.street_registration.trainer.judge', lambda *a: {'nll_1': 1.0}
    )
    lessons = tmp_path / 'lessons'
    lessons.mkdir()
    for seed in (0, 1):
        make_lesson(seed).save(lessons / f'{seed}.npz')
    recipe = StreetRecipe(
        SMALL, minutes=0.2, views=4, headings=12, tile_px=96, capacity=2, judge_minutes=1.0
    )
    first = StreetTrainer(recipe, lessons, [make_lesson(2)], tmp_path / 'run')
    first.run(0.03)
    second = StreetTrainer(recipe, lessons, [make_lesson(2)], tmp_path / 'run')
    assert second.step == first.step > 0
    for one, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)
    before = first.optimizer.state_dict()['state'][0]['exp_avg']
    assert torch.equal(before, second.optimizer.state_dict()['state'][0]['exp_avg'])
    second.run(0.03)
    assert second.step > first.step
    rows = [json.loads(line) for line in (tmp_path / 'run' / CURVE).read_text().splitlines()]
    assert rows[-1]['step'] == second.step
    assert ForwardNetwork.load(tmp_path / 'run' / 'forward.safetensors').config == SMALL


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    trainer = StreetTrainer(StreetRecipe(SMALL), tmp_path, [], tmp_path / 'run')
    trainer.save()
    again = StreetTrainer(StreetRecipe(SMALL, minutes=99.0), tmp_path, [], tmp_path / 'run')
    assert again.step == 0
    with pytest.raises(WeightsError, match=r'checkpoint\.safetensors'):
        StreetTrainer(StreetRecipe(replace(SMALL, depths=13)), tmp_path, [], tmp_path / 'run')
