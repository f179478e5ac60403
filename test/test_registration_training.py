"""Training of the registration network: pairs and their truth, the loss, runs and their files."""

import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from justzoom_ros.errors import ConfigError, DatasetError, MapError, WeightsError
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.region import Region
from justzoom_ros.registration.config import RegistrationConfig
from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.training.registration import calibration, views
from justzoom_ros.training.registration.adapt import adapt, choose_share, cut_map, map_place
from justzoom_ros.training.registration.bank import pack
from justzoom_ros.training.registration.batches import foreign_tiles
from justzoom_ros.training.registration.dice import Dice
from justzoom_ros.training.registration.imagery import (
    Place,
    make_picture,
    place_weights,
    read_index,
    segment_colors,
)
from justzoom_ros.training.registration.loss import (
    NOWHERE,
    Correlation,
    elsewhere_loss,
    here_loss,
    log_evidence,
    turn_templates,
)
from justzoom_ros.training.registration.map_judge import MapFigures, MapJudge
from justzoom_ros.training.registration.negatives import draw_negatives
from justzoom_ros.training.registration.recipe import RegistrationRecipe
from justzoom_ros.training.registration.train import train_registration
from justzoom_ros.training.registration.trainer import RegistrationTrainer
from justzoom_ros.training.registration.views import PairSource, ViewConfig
from justzoom_ros.worlds import town_dates

TINY = RegistrationConfig(channels=4, widths=(8, 8), blocks=(1, 1), shared=True)
RECIPE = RegistrationRecipe(
    minutes=0.004,
    pairs=2,
    negatives=1.0,
    headings=2,
    validation_pairs=2,
    calibration_pairs=2,
    network=TINY,
)

DEMO_MAP = Path(__file__).parents[1] / 'maps' / 'demo'


def ground(side, seed=0):
    """Blocks of colour, uint8 (side, side, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 255, (side // 16, side // 16, 3))
    return np.kron(coarse, np.ones((16, 16, 1), int)).astype(np.uint8)


def place(name='somewhere', side=400, seed=0, dates=1, generated=False):
    pixels = ground(side, seed)
    mask = np.ones(pixels.shape[:2], bool)
    pictures = tuple(make_picture(pixels, mask, 1.0) for _ in range(dates))
    return Place(name, 'CC0', pictures, generated)


@pytest.fixture(scope='module')
def places():
    return [place('here', seed=1), place('there', seed=2, generated=True)]


# --- pairs ---------------------------------------------------------------------------------------


@pytest.fixture
def unchanged(monkeypatch):
    """Pairs without changes of appearance."""
    for name in ('change_map', 'change_view'):
        monkeypatch.setattr(views, name, lambda x, segments, dice, strength: x)


@pytest.mark.slow
def test_the_truth_of_a_pair_leads_from_the_view_to_the_same_ground_in_the_tile(unchanged, places):
    config = ViewConfig(scale_std=0, tilt_std=0, parallax_px=0)
    pairs, misses = PairSource(places, config=config).draw(10, Dice.of((3,))), []
    for b in range(10):
        c, s = math.cos(pairs.headings_rad[b]), math.sin(pairs.headings_rad[b])
        # The middle of the view's square, in pixels of the tile: half a square past its corner.
        corner = 2 * np.array([pairs.columns[b], pairs.rows[b]])
        for x, y in ((0, 0), (12, 5), (-9, 20)):
            seen = pairs.views[b, :, round(55.5 + y), round(55.5 + x)]
            dx, dy = round(55.5 + x) - 55.5, round(55.5 + y) - 55.5
            at = corner + 55.5 + [c * dx - s * dy, s * dx + c * dy]
            column, row = np.clip(np.rint(at).astype(int), 0, 191)
            misses.append(float((pairs.tiles[b, :, row, column] - seen).abs().max()))
    # Blocks are 16 m: only pixels on their edges may differ.
    assert np.mean(np.array(misses) < 0.02) > 0.8


def test_the_middle_of_a_view_stays_where_it_is_under_tilt_and_parallax():
    grid = views.pixel_grid(112)
    config = ViewConfig(parallax_px=6, tilt_std=0.2)
    moved = views.distort(grid, 5, config, Dice.of((0,)))
    assert moved[:, 55:57, 55:57].mean((1, 2)).abs().max() < 0.7
    assert (moved - grid).abs().max() > 3


def test_pairs_are_pictures_and_the_same_seed_draws_the_same(places):
    one, other = (PairSource(places).draw(4, Dice.of((5,))) for _ in range(2))
    torch.testing.assert_close(one.views, other.views)
    assert (one.rows == other.rows).all()
    assert one.tiles.shape == (4, 3, 192, 192) and one.views.shape == (4, 3, 112, 112)
    assert one.usable.all()
    for x in (one.tiles, one.views):
        assert x.dtype == torch.float32 and x.min() >= 0 and x.max() <= 1


def test_a_pair_of_which_little_is_seen_is_not_learned_from():
    pixels, mask = ground(400), np.zeros((400, 400), bool)
    mask[:40] = True
    bare = Place('bare', 'CC0', (make_picture(pixels, mask, 1.0),))
    assert not PairSource([bare]).draw(4, Dice.of((1,))).usable.any()


def test_two_dates_of_a_place_are_map_and_view_most_of_the_time():
    source, rng = PairSource([place(dates=2)]), np.random.default_rng(0)
    maps, seen = source._pictures(np.zeros(400, int), rng)
    assert 0.75 < np.mean(maps != seen) < 0.95


def test_sampled_pixels_are_those_of_a_direct_interpolation():
    pixels = np.random.default_rng(2).integers(0, 255, (130, 140, 3)).astype(np.uint8)
    bank = pack([make_picture(pixels, np.ones((130, 140), bool), 0.5)])
    assert bank.layers_for(np.array([0, 0]), np.array([0.4, 1.1])).tolist() == [0, 1]
    at = np.array([[[3.25, 7.5], [-0.4, 20.0]], [[100.0, 128.75], [139.2, 50.0]]])
    found, mask, _ = bank.sample(np.array([0]), torch.tensor(at[None]).float())
    x, y = at[..., 0].clip(0, 139), at[..., 1].clip(0, 129)
    left, top = np.floor(x).astype(int).clip(0, 138), np.floor(y).astype(int).clip(0, 128)
    right, down = (x - left)[..., None], (y - top)[..., None]
    expected = (
        (1 - down) * ((1 - right) * pixels[top, left] + right * pixels[top, left + 1])
        + down * ((1 - right) * pixels[top + 1, left] + right * pixels[top + 1, left + 1])
    ) / 255
    assert found[0].permute(1, 2, 0).numpy() == pytest.approx(expected, abs=1e-5)
    assert mask.all()


def test_foreign_tiles_are_of_other_places_and_often_of_the_same_kind_of_ground():
    rng, alike = np.random.default_rng(0), []
    places, kinds = np.array([0, 0, 1, 2, 3, 4, 5, 6]), np.array([7, 7, 7, 8, 8, 9, 9, -1])
    for _ in range(200):
        found = foreign_tiles(places, kinds, 1, 2, rng)
        assert found.shape == (9, 2)
        assert (places[found[:8]] != places[:, None]).all()
        alike.append(kinds[found[:7]] == kinds[:7, None])
    assert np.mean(alike) > 0.25
    assert (foreign_tiles(np.array([0, 0]), np.array([-1, -1]), 0, 2, rng) == -1).all()


@pytest.mark.slow
def test_generated_places_have_their_share_and_photographs_count_by_their_size():
    three = [place('a', 320), place('b', 640), place('c', generated=True)]
    assert place_weights(three, 0.4) == pytest.approx([0.2, 0.4, 0.4])


def test_pictures_of_nothing_are_pictures():
    x = draw_negatives(40, 32, Dice.of((0,)))
    assert x.shape == (40, 3, 32, 32) and x.dtype == torch.float32
    assert x.isfinite().all() and x.min() >= 0 and x.max() <= 1
    assert len({tuple(picture.mean((1, 2)).tolist()) for picture in x}) == 40


def test_segments_are_connected_parts_of_one_colour():
    pixels = np.zeros((120, 120, 3), np.uint8)
    pixels[:, 60:] = 200
    pixels[20:50, 10:40] = 200
    segments = segment_colors(pixels)
    assert len({segments[100, 10], segments[100, 100], segments[35, 25]}) == 3


# --- imagery files -------------------------------------------------------------------------------


def write_index(folder, rows):
    names = ('file', 'licence', 'metres_per_px', 'place', 'kind')
    lines = [','.join(names), *(','.join(map(str, row)) for row in rows)]
    (folder / 'index.csv').write_text('\n'.join(lines) + '\n')
    return folder / 'index.csv'


def write_tif(path, pixels):
    path.parent.mkdir(exist_ok=True)
    profile = {'driver': 'GTiff', 'dtype': 'uint8', 'count': pixels.shape[2]}
    place = {'transform': rasterio.Affine(1.0, 0.0, 5.0, 0.0, -1.0, 7.0)}
    with rasterio.open(
        path, 'w', width=pixels.shape[1], height=pixels.shape[0], **profile, **place
    ) as file:
        file.write(pixels.transpose(2, 0, 1))


def test_an_index_gives_places_grouped_by_dates_and_leaves_share_alike_and_flights(tmp_path):
    for name in ('pair/1.tif', 'pair/2.tif', 'one.tif', 'sa.tif', 'flight.tif'):
        write_tif(tmp_path / name, ground(160))
    write_tif(tmp_path / 'grey.tif', ground(160)[..., :1])
    index = write_index(tmp_path, [
        ('pair/1.tif', 'CC0', 5, 'A', 'pair'),
        ('pair/2.tif', 'CC0', 5, 'A', 'pair'),
        ('one.tif', 'CC BY 4.0', 0.5, 'B', 'single'),
        ('grey.tif', 'Public domain (USDA-FSA NAIP)', 2, 'C', 'single'),
        ('sa.tif', 'CC BY-SA 4.0', 1, 'D', 'single'),
        ('flight.tif', 'CC0', 1, 'E', 'flight'),
    ])  # fmt: skip
    found = read_index(index)
    assert [(p.name, len(p.pictures), p.finest_m) for p in found] == [
        ('A', 2, 5.0),
        ('B', 1, 0.5),
        ('C', 1, 2.0),
    ]
    assert found[1].size_m == (80.0, 80.0)
    grey = found[2].pictures[0].layers[0].pixels
    assert (grey[..., 0] == grey[..., 2]).all()
    assert [p.name for p in read_index(index, share_alike=True)] == ['D']


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    row = ('gone.tif', 'CC0', 1, 'A', 'single')
    with pytest.raises(DatasetError, match=r'gone\.tif'):
        read_index(write_index(tmp_path, [row]))
    (tmp_path / 'index.csv').write_text('file,licence\n')
    with pytest.raises(DatasetError, match=r'index\.csv.*columns'):
        read_index(tmp_path / 'index.csv')


def test_dates_of_a_place_that_cover_different_ground_are_refused(tmp_path):
    for name, side in (('p/1.tif', 160), ('p/2.tif', 176)):
        write_tif(tmp_path / name, ground(side))
    rows = [(f'p/{date}.tif', 'CC0', 1, 'A', 'pair') for date in (1, 2)]
    with pytest.raises(DatasetError, match='same ground'):
        read_index(write_index(tmp_path, rows))


# --- the loss ------------------------------------------------------------------------------------


def test_correlation_and_its_gradient_are_those_of_a_direct_computation():
    torch.manual_seed(1)
    tiles = torch.randn(2, 3, 12, 12, dtype=torch.float64, requires_grad=True)
    templates = torch.randn(3, 2, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    which = torch.tensor([[0, 1, 1], [1, -1, 0], [-1, 0, -1]])
    sums = Correlation.apply(tiles, templates, which)
    direct = torch.zeros(3, 3, 2, 8, 8, dtype=torch.float64)
    for v, indices in enumerate(which.tolist()):
        for k, index in enumerate(indices):
            if index >= 0:
                direct[v, k] = torch.nn.functional.conv2d(tiles[index], templates[v])
    torch.testing.assert_close(sums, direct)
    weights = torch.randn_like(direct)
    found = torch.autograd.grad((sums * weights).sum(), (tiles, templates))
    expected = torch.autograd.grad((direct * weights).sum(), (tiles, templates))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('degrees', [0, 30, 90, 233])
def test_a_landmark_turns_with_its_view(degrees):
    side, x, y = 40, 9, -5
    features = torch.zeros(1, 1, side, side)
    axis = torch.arange(side) - (side - 1) / 2
    rows, columns = torch.meshgrid(axis, axis, indexing='ij')
    features[0, 0] = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4)
    heading = math.radians(degrees)
    mask = torch.ones(1, side, side, dtype=torch.bool)
    turned = turn_templates(features, mask, torch.tensor([[heading]]))[0][0, 0, 0]
    mass = turned.sum()
    found = float((turned * columns).sum() / mass), float((turned * rows).sum() / mass)
    c, s = math.cos(heading), math.sin(heading)
    assert found == pytest.approx((c * x - s * y, s * x + c * y), abs=0.1)


def test_losses_are_bayes_rule_for_here_or_elsewhere():
    ratio = torch.log(torch.tensor([[[[1.0, 2.0], [3.0, 10.0]]]]))
    ratio[0, 0, 0, 0] = NOWHERE  # not covered by imagery
    mean = (2 + 3 + 10) / 3
    at = torch.tensor([1.0]), torch.tensor([1.0])
    assert float(log_evidence(ratio)) == pytest.approx(math.log(mean))
    assert float(elsewhere_loss(ratio)) == pytest.approx(-math.log(1 / (1 + mean)))
    assert float(here_loss(ratio, *at)) == pytest.approx(-math.log(10 / 3 / (1 + mean)))


# --- runs ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_learns_writes_its_files_and_says_what_it_learned_from(
    places, tmp_path, monkeypatch
):
    small = ViewConfig(template_cells=40, tile_cells=64)
    monkeypatch.setattr(calibration, 'VIEWS', small)
    minutes = []
    judge = [place('judge', seed=9)]

    def progress(items, name, total):
        for item in items:
            minutes.append(item)
            yield item

    path = train_registration(RECIPE, places, judge, tmp_path, progress)
    network = RegistrationNetwork.load(path)
    assert network.config == TINY
    assert set(network.card['trained_on']) == {'here (CC0)', 'generated towns (CC0)'}
    card = (tmp_path / 'nadir.md').read_text()
    assert 'here (CC0)' in card and 'judge (CC0)' in card
    header = (tmp_path / 'history.csv').read_text().splitlines()[0]
    assert header.startswith('step,minutes')


@pytest.mark.slow
def test_a_run_that_goes_on_takes_the_steps_that_it_would_have_taken(places, tmp_path):
    def trainer():
        return RegistrationTrainer(RECIPE, PairSource(places), PairSource(places), tmp_path)

    one = trainer()
    one.advance()
    one._save()
    other = trainer()
    assert other.step == 1
    for run in (one, other):
        run.advance()
    for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_checkpoint_of_another_run_is_refused(places, tmp_path):
    RegistrationTrainer(RECIPE, PairSource(places), PairSource(places), tmp_path)._save()
    with pytest.raises(WeightsError, match='other imagery'):
        RegistrationTrainer(RECIPE, PairSource(places[:1]), PairSource(places), tmp_path)


def test_a_place_cannot_be_trained_on_and_judge(places, tmp_path):
    with pytest.raises(ConfigError, match='here'):
        train_registration(RECIPE, places, places, tmp_path)


# --- fitting to a map ----------------------------------------------------------------------------


@pytest.fixture(scope='module')
def satellite_map(tmp_path_factory):
    from justzoom_ros.worlds.town import write_geotiff

    folder, region = tmp_path_factory.mktemp('map'), Region(10, 20, 640.0, 2, 2)
    write_geotiff(ground(640, 4), region, folder / 'source.tif')
    return SatelliteMap.build(folder / 'source.tif', region, folder / 'map', resolution_m=1.0)


@pytest.mark.slow
def test_fitting_keeps_the_given_weights_where_views_kept_back_do_not_improve(
    satellite_map, tmp_path, monkeypatch
):
    network = RegistrationNetwork(TINY)
    monkeypatch.setattr(MapJudge, 'judge', lambda self, one: figures(4.0 + (one is not network)))
    result = adapt(network, satellite_map, tmp_path, minutes=0.004)
    assert result.network is network and not result.improved
    assert 'stay as they were' in str(result)


def figures(nats, found=5):
    return MapFigures(nats + np.linspace(-0.5, 0.5, 10), np.arange(10) < found)


class FixedJudge:
    """Judges a network by the first weight of its first filter."""

    def __init__(self, nats_at):
        self.nats_at = nats_at

    def judge(self, network):
        return figures(self.nats_at(float(network.map_encoder.stem.bias.detach()[0])))


def two_networks():
    given, fitted = RegistrationNetwork(TINY), RegistrationNetwork(TINY)
    for network, value in ((given, 0.0), (fitted, 1.0)):
        torch.nn.init.constant_(network.map_encoder.stem.bias, value)
    torch.nn.init.constant_(fitted.match.rise, 7.0)
    return given, fitted


def test_of_the_weights_between_given_and_fitted_ones_the_best_are_kept():
    given, fitted = two_networks()
    found = choose_share(given, fitted, FixedJudge(lambda at: 3 + (at - 0.5) ** 2))
    assert found.share == 0.5 and found.improved
    weights = zip(found.network.parameters(), given.parameters(), fitted.parameters(), strict=True)
    for made, one, other in list(weights)[:-3]:
        torch.testing.assert_close(made, (one + other) / 2)
    assert torch.equal(found.network.match.rise, given.match.rise)


def test_weights_that_are_not_clearly_better_are_not_kept():
    given, fitted = two_networks()
    found = choose_share(given, fitted, FixedJudge(lambda at: 3.0))
    assert found.network is given and found.share == 0


def test_better_is_more_than_chance_and_no_fewer_found():
    rng, base = np.random.default_rng(0), figures(4.0)
    noisy = MapFigures(base.nats - 0.01 + rng.normal(0, 1, 10), base.found)
    assert figures(3.8).better_than(base) and not noisy.better_than(base)
    assert not figures(3.8, found=4).better_than(base)


@pytest.mark.slow
def test_views_are_judged_at_their_true_place_on_the_whole_map(monkeypatch):
    town = SatelliteMap.open(DEMO_MAP)
    for name in ('change_map', 'change_view'):
        monkeypatch.setattr(views, name, lambda x, segments, dice, strength: x)
    whole, (part,) = map_place(town), cut_map(town, 1.0)[1]
    network = RegistrationNetwork.shipped()
    right = MapJudge(whole, part, (640 - part.size_m[0], 0.0), 1.0, count=3).judge(network)
    assert right.recall == 1 and right.mean_nats < 0.1
    wrong = MapJudge(whole, part, (200.0, 0.0), 1.0, count=3).judge(network)
    assert wrong.recall == 0


@pytest.mark.slow
def test_a_map_is_cut_into_parts_that_do_not_overlap(satellite_map):
    places, judges = cut_map(satellite_map, 1.0)
    sizes = [part.size_m for part in (*places, *judges)]
    assert sum(width * height for width, height in sizes) == pytest.approx(640**2)
    assert judges[0].size_m == (192.0, 640.0)
    shown = judges[0].pictures[0].layers[0].pixels
    assert (shown == satellite_map.pixels[:, 448:]).all()
    assert map_place(satellite_map).size_m == (640.0, 640.0)


def test_a_map_that_is_too_small_to_hold_a_part_back_is_refused(satellite_map):
    with pytest.raises(MapError, match='too small'):
        cut_map(satellite_map, 2.0)


# --- several processes, generated imagery --------------------------------------------------------

SHARED_RUN = """
import sys
import torch
from torch import nn
from justzoom_ros.training.registration.team import Team
team, layer = Team(), nn.Linear(2, 1)
nn.init.constant_(layer.weight, float(team.rank + 1))
nn.init.constant_(layer.bias, 10.0 * team.rank)
team.average_weights(layer)
print(layer.weight.tolist(), layer.bias.tolist(), team.total([1.0, team.rank]), flush=True)
team.leave()
"""


@pytest.mark.slow
def test_processes_go_on_from_the_mean_of_their_weights():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    shared = {**os.environ, 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port, 'WORLD_SIZE': '2'}
    runs = [
        subprocess.Popen(
            [sys.executable, '-c', SHARED_RUN],
            env={**shared, 'RANK': str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [run.communicate(timeout=300)[0].strip() for run in runs]
    assert said == ['[[1.5, 1.5]] [5.0] [2.0, 1.0]'] * 2


@pytest.mark.slow
def test_towns_on_several_days_are_imagery_to_train_on(tmp_path, monkeypatch):
    monkeypatch.setattr(town_dates, 'RESOLUTION_M', 4.0)
    places = read_index(town_dates.write_towns(tmp_path, [5001, 5002], dates=2))
    assert [(p.generated, len(p.pictures), p.size_m) for p in places] == [
        (True, 2, (640.0, 640.0)),
        (True, 2, (640.0, 640.0)),
    ]
    one, other = (picture.layers[0].pixels for picture in places[0].pictures)
    assert np.abs(one.astype(int) - other).mean() > 5


def test_the_town_of_the_demo_is_not_trained_on(tmp_path):
    with pytest.raises(ConfigError, match='demo'):
        town_dates.write_towns(tmp_path, [6, 7])
