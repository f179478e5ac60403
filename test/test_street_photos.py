"""Fitting the registration of cameras that look ahead to photos with noisy labels."""

import copy
import csv
import dataclasses
import math
import re
import shutil

import numpy as np
import pytest
import torch
from forward_tiny import SMALL
from imagery import CENTER, write_raster
from PIL import Image
from rasterio.transform import from_bounds

from justzoom_ros.cli.main import main
from justzoom_ros.curation.build import SourcePath, build_dataset
from justzoom_ros.curation.config import BuildConfig
from justzoom_ros.errors import ConfigError, DatasetError
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.region import Region
from justzoom_ros.registration.forward_lift import strip_directions
from justzoom_ros.registration.forward_network import ForwardNetwork
from justzoom_ros.training.registration.map_judge import MapFigures
from justzoom_ros.training.street_registration import adapt as adapting
from justzoom_ros.training.street_registration.adapt import adapt_to_photos
from justzoom_ros.training.street_registration.draw import Variation
from justzoom_ros.training.street_registration.loss import (
    here_loss,
    label_log_ratio,
    label_log_weights,
)
from justzoom_ros.training.street_registration.photo_batches import draw_photos
from justzoom_ros.training.street_registration.photo_trainer import PhotoJudge, PhotoTrainer
from justzoom_ros.training.street_registration.photos import (
    LabelDeviations,
    PhotoBank,
    PhotoFolder,
    list_photos,
)
from justzoom_ros.training.street_registration.recipe import PhotoRecipe
from justzoom_ros.training.street_registration.views import LabelNoise

RECIPE = PhotoRecipe(views=6, headings=12, tile_px=96, judge_views=16, learning_rate=3e-3)
SIDE_M, FOV_DEG = 320.0, 90.0
STD_M, STD_DEG = 5.0, 12.0


# --- what a noisy label says, against sums by hand in double precision ---------------------------


def by_hand(side, row, column, std_cells, headings, off_rad, std_rad):
    """The formula of the docstring: weights of all poses (R, W, W)."""
    variance = std_cells**2 + 1 / 12
    kappa = 1 / (std_rad**2 + (2 * math.pi / headings) ** 2 / 12)
    weights = np.zeros((headings, side, side))
    for t in range(headings):
        for y in range(side):
            for x in range(side):
                square = (x - column) ** 2 + (y - row) ** 2
                place = math.exp(-square / (2 * variance))
                weights[t, y, x] = place * math.exp(kappa * math.cos(off_rad[t]))
    return weights / weights.sum()


def noise_of(std_cells, std_rad, off_rad):
    values = (np.atleast_1d(std_cells), np.atleast_1d(std_rad), np.atleast_2d(off_rad))
    return LabelNoise(*(torch.tensor(value, dtype=torch.float32) for value in values))


@pytest.mark.parametrize(('std_cells', 'std_deg'), [(3.75, 15.0), (0.1, 2.0), (8.0, 180.0)])
def test_the_soft_target_is_a_gaussian_times_a_von_mises_on_the_lattice(std_cells, std_deg):
    headings, side, row, column = 9, 11, 3.3, 7.8
    off = 0.2 + np.arange(headings) * 2 * np.pi / headings
    expected = by_hand(side, row, column, std_cells, headings, off, math.radians(std_deg))
    noise = noise_of(std_cells, math.radians(std_deg), off)
    found = label_log_weights(side, torch.tensor([[row, column]]), noise)[0].double().exp()
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-5)
    assert np.abs(found.numpy() - expected).max() < 1e-6


def test_the_loss_is_the_probability_of_the_label_by_the_sum_over_all_poses():
    rng = np.random.default_rng(0)
    headings, side = 6, 8
    ratio = rng.normal(0, 3, (headings, side, side))
    off = -0.1 + np.arange(headings) * 2 * np.pi / headings
    q = by_hand(side, 2.5, 4.0, 2.0, headings, off, 0.3)
    here = np.exp(ratio) / ratio.size / (np.exp(ratio).mean() + 1)  # p(pose, here | view)
    expected = -math.log((q * here).sum())
    noise = noise_of(2.0, 0.3, off)
    target = torch.tensor([[2.5, 4.0]])
    found = here_loss(torch.from_numpy(ratio).float()[None], target, noise)
    assert float(found) == pytest.approx(expected, abs=1e-4)


def test_a_label_without_noise_is_nearly_the_exact_one():
    ratio = 0.1 * torch.randn(1, 12, 9, 9, generator=torch.Generator().manual_seed(0))
    noise = noise_of(0.0, 0.0, np.arange(12) * 2 * np.pi / 12)
    target = torch.tensor([[4.0, 6.0]])
    soft, exact = (label_log_ratio(ratio, target, each) for each in (noise, None))
    assert float(exact) == pytest.approx(float(ratio[0, 0, 4, 6]))
    assert float(soft) == pytest.approx(float(exact), abs=0.02)


def test_sharp_beliefs_round_the_truth_cost_less_than_ones_as_blurred_as_the_labels():
    """What the loss is least for: labels are drawn about one true place; a belief that knows it
    beats one that is spread as the labels are. A cross-entropy would say the opposite."""
    side, headings, std = 25, 4, 3.0
    rng = np.random.default_rng(1)
    off = np.arange(headings) * np.pi / 2
    y, x = np.mgrid[:side, :side] - side // 2
    losses = []
    for width in (0.5, std):
        p = np.zeros((headings, side, side))
        p[0] = np.exp(-(y**2 + x**2) / (2 * width**2)) + 1e-9
        ratio = torch.from_numpy(np.log(p / p.mean() + 1e-12)).float()  # the mean ratio is one
        labels = side // 2 + rng.normal(0, std, (400, 2))
        noise = noise_of(np.full(400, std), np.full(400, 0.1), np.tile(off, (400, 1)))
        each = here_loss(ratio[None].expand(400, -1, -1, -1), torch.tensor(labels).float(), noise)
        losses.append(float(each.mean()))
    assert losses[0] < losses[1] - 0.1


# --- a plain of coloured fields ------------------------------------------------------------------


def ground_rgb(side_px=320):
    """Fields of random colours, uint8 (n, n, 3), 1 m a pixel, row 0 north."""
    rng = np.random.default_rng(3)
    fields = rng.integers(30, 226, (side_px // 10, side_px // 10, 3), np.uint8)
    return np.kron(fields, np.ones((10, 10, 1), np.uint8))


def photo_of(ground, east_m, north_m, yaw_rad, size_px=(160, 90)):
    """What a level camera 1.6 m above the plain sees, by the formula of a pinhole."""
    width, height = size_px
    focal = width / 2 / math.tan(math.radians(FOV_DEG) / 2)
    down, right = np.mgrid[:height, :width].astype(float)
    right, down = (right - (width - 1) / 2) / focal, (down - (height - 1) / 2) / focal
    ahead_m = 1.6 / np.maximum(down, 1e-3)
    left_m = -right * ahead_m
    east = east_m + ahead_m * math.cos(yaw_rad) - left_m * math.sin(yaw_rad)
    north = north_m + ahead_m * math.sin(yaw_rad) + left_m * math.cos(yaw_rad)
    half = len(ground) / 2
    rows, columns = (np.floor(half + v).astype(int) for v in (-north, east))
    on_map = (down > 0.02) & (np.abs(east) < half) & (np.abs(north) < half)
    last = len(ground) - 1
    seen = ground[rows.clip(0, last), columns.clip(0, last)]
    return np.where(on_map[..., None], seen, np.uint8(190))


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """A folder with `map`, `photos.csv` of noisy labels, and `set`, which was built of them."""
    folder = tmp_path_factory.mktemp('plain')
    region, ground = Region(*CENTER, SIDE_M, 4, 2), ground_rgb()
    half = SIDE_M / 2
    transform = from_bounds(-half, -half, half, half, *ground.shape[:2])
    write_raster(folder / 'a.tif', ground.transpose(2, 0, 1), transform, region.crs)
    SatelliteMap.build(folder / 'a.tif', region, folder / 'map', resolution_m=1.0)
    rng, rows = np.random.default_rng(0), []
    for number in range(90):
        place, yaw = rng.uniform(-140, 140, 2), rng.uniform(-np.pi, np.pi)
        Image.fromarray(photo_of(ground, *place, yaw)).save(folder / f'{number}.png')
        lat, lon = region.to_latlon(*(place + rng.normal(0, STD_M, 2)).clip(-155, 155))
        heading = (90 - math.degrees(yaw) + rng.normal(0, STD_DEG)) % 360
        rows.append({'file': f'{number}.png', 'lat': lat, 'lon': lon, 'heading_deg': heading,
                     'fov_deg': FOV_DEG, 'track': number})  # fmt: skip
    with (folder / 'photos.csv').open('w', newline='') as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    config = BuildConfig(
        position_std_m=STD_M, heading_std_deg=STD_DEG, block_m=40, buffer_m=5, min_sharpness=0,
        val=0.2, test=0.1,
    )  # fmt: skip
    build_dataset(
        [SourcePath(folder / 'photos.csv')], folder / 'map', folder / 'set', config, pictures=False
    )
    return folder


@pytest.fixture(scope='module')
def network(plain):
    """A small one that knows nothing, and its file."""
    torch.manual_seed(0)
    made = ForwardNetwork(SMALL)
    made.save(plain / 'start.safetensors', {'trained_on': 'nothing'})
    return ForwardNetwork.load(plain / 'start.safetensors')


@pytest.fixture(scope='module')
def banks(plain, network):
    folders = [PhotoFolder(plain / 'set')]
    return {
        split: PhotoBank.read(list_photos(folders, split), network) for split in ('train', 'val')
    }


def test_photos_come_with_their_places_headings_and_deviations(plain, banks):
    bank = banks['train']
    with (plain / 'set' / 'metadata.csv').open(newline='') as file:
        rows = [row for row in csv.DictReader(file) if row['split'] == 'train']
    region = SatelliteMap.open(plain / 'map').region
    for pose, std, row in zip(bank.poses, bank.stds, rows, strict=True):
        east, north = region.to_enu(float(row['latitude']), float(row['longitude']))
        yaw = math.radians(90 - float(row['heading_deg']))
        assert pose.tolist() == pytest.approx([east, north, yaw], abs=1e-3)
        assert std.tolist() == pytest.approx([STD_M, math.radians(STD_DEG)])


def test_deviations_that_are_given_go_before_those_of_the_dataset(plain, network):
    given = LabelDeviations(3.0, 4.0)
    bank = PhotoBank.read(list_photos([PhotoFolder(plain / 'set')], 'val'), network, given)
    assert bank.stds[0].tolist() == pytest.approx([3.0, math.radians(4.0)])


@pytest.mark.parametrize('turned', [False, True])
def test_the_piece_of_map_shows_at_the_target_what_lies_round_the_label(banks, turned):
    """The pixels of the tile at the camera and 12 m ahead of it are those of the map there."""
    bank = banks['val']
    numbers, side = torch.arange(6), 96
    generator = torch.Generator().manual_seed(4)
    variation = Variation(turned, (0.0, 0.0), 0.0)
    batch = draw_photos(bank, SMALL, numbers, 12, side, generator, variation)
    pixels, half = bank.maps[0].pixels.float(), SIDE_M / 2
    yaws = batch.yaws_rad[:, 0] - batch.noise.heading_off_rad[:, 0]
    agree = 0
    for n in numbers.tolist():
        east, north, yaw = bank.poses[n].tolist()
        for ahead_m in (0.0, 12.0):
            # Cells of 2 m, of which the first at which a template fits is number 12.
            y, x = ((batch.target[n] + 12.5) * 2).tolist()
            x, y = x + ahead_m * math.cos(yaws[n]), y - ahead_m * math.sin(yaws[n])
            at = east + ahead_m * math.cos(yaw), north + ahead_m * math.sin(yaw)
            if max(map(abs, at)) > half - 2 or not (1 < x < side - 1 and 1 < y < side - 1):
                continue
            expected = pixels[:3, int(half - at[1]), int(half + at[0])]
            found = batch.tiles[n, :3, int(y), int(x)]
            agree += float((found - expected).abs().max()) < 0.35
    assert agree >= 8  # edges of fields are blurred


def test_views_are_mirrored_with_their_map(banks):
    bank, numbers = banks['val'], torch.arange(8)
    batch = draw_photos(bank, SMALL, numbers, 12, 96, torch.Generator().manual_seed(1),
                        Variation(True, (0.0, 0.0), 0.0))  # fmt: skip
    plain = draw_photos(bank, SMALL, numbers, 12, 96, torch.Generator().manual_seed(1),
                        Variation(False, (0.0, 0.0), 0.0))  # fmt: skip
    same = [torch.equal(a, b) for a, b in zip(batch.strips, plain.strips, strict=True)]
    flipped = [
        torch.allclose(a.flip(2), b, atol=1e-5)
        for a, b in zip(batch.strips, plain.strips, strict=True)
    ]
    assert all(a != b for a, b in zip(same, flipped, strict=True)) and 0 < sum(flipped) < 8


def test_a_narrow_photo_beside_a_wide_one_lies_about_the_same_middle(plain, network, tmp_path):
    folder = copy_of(plain, tmp_path)

    def narrow(rows):
        first = next(row for row in rows if row['split'] == 'train')
        first.update(fov_deg='40', fx_px='')

    change(folder, narrow)
    wide = PhotoBank.read(list_photos([PhotoFolder(folder)], 'train'), network)
    columns = wide.seen[0, 0].any(0).nonzero()[:, 0]
    step = abs(float(np.diff(strip_directions(SMALL, 8)[0])[0]))
    assert len(columns) * step == pytest.approx(math.radians(40), abs=2 * step)
    assert int(columns[0] + columns[-1]) + 1 == wide.seen.shape[-1]


# --- runs ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_loss_on_places_kept_back_falls_and_the_weights_are_kept(plain, tmp_path):
    """End to end: noisy labels, through `dataset build`, into weights that are better: those that
    it begins with are far too sure of what they see on a plain of fields."""
    given, seen = ForwardNetwork.shipped(), []
    with torch.no_grad():
        given.match.log_scale += 1.5
    given.save(tmp_path / 'sure.safetensors')

    def progress(items, name, total):
        seen.append(name)
        yield from items

    recipe = PhotoRecipe(
        minutes=1e-5, views=3, headings=12, tile_px=144, judge_views=8, learning_rate=2e-3
    )
    folders = [PhotoFolder(plain / 'set')]
    found = adapt_to_photos(
        folders, tmp_path, recipe, tmp_path / 'sure.safetensors', progress=progress, device='cpu'
    )
    before, after = found.adaptation.before, found.adaptation.after
    assert after.mean_nats < before.mean_nats - 0.3 and found.tested is not None
    kept = ForwardNetwork.load(found.weights)
    assert 'generated cities' in kept.card['trained_on'] and kept.card['fitted']['photos'] > 30
    assert seen == ['photos of train', 'photos of val', 'train']
    with (tmp_path / 'history.csv').open(newline='') as file:
        assert list(csv.DictReader(file))[-1].keys() >= {'minutes', 'loss_nats', 'within_25m'}
    assert 'weights kept' in str(found) and 'split test' in str(found)


@pytest.mark.slow
def test_a_run_that_goes_on_takes_the_very_steps_that_it_would_have_taken(
    network, banks, tmp_path
):
    judge = PhotoJudge(banks['val'], RECIPE)

    def trainer():
        return PhotoTrainer(RECIPE, banks['train'], judge, tmp_path, network)

    one = trainer()
    one.advance()
    one._save()
    other = trainer()
    assert other.step == 1
    for run in (one, other):
        run.advance()
        run.advance()
    for name in ('network', 'average'):
        pair = [getattr(run, name) for run in (one, other)]
        pair = [each.network if name == 'average' else each for each in pair]
        for a, b in zip(*(each.parameters() for each in pair), strict=True):
            assert torch.equal(a, b)


@pytest.mark.slow
def test_the_same_photos_are_judged_in_the_same_way_each_time(network, banks):
    judge = PhotoJudge(banks['val'], RECIPE)
    one, other = judge.judge(network), judge.judge(network)
    assert np.array_equal(one.nats, other.nats) and len(one.nats) == len(judge.numbers)
    blind = copy.deepcopy(network)
    torch.nn.init.constant_(blind.match.log_scale, -20.0)
    # One that knows nothing is at chance: 12 headings and 24 cells to a side.
    chance = math.log(12 * 24**2)
    assert judge.judge(blind).nats == pytest.approx([chance] * len(one.nats), abs=1e-3)


@pytest.mark.slow
def test_weights_stay_where_photos_kept_back_did_not_improve(
    plain, network, tmp_path, monkeypatch
):
    nats = iter([4.0, 4.0, 4.1, 4.2, 4.3, 4.4, 4.0])
    monkeypatch.setattr(
        PhotoJudge, 'judge',
        lambda self, one: MapFigures(np.full(9, next(nats, 4.0)), np.ones(9, bool)),
    )  # fmt: skip
    recipe = dataclasses.replace(RECIPE, minutes=1e-5)
    found = adapt_to_photos(
        [PhotoFolder(plain / 'set')], tmp_path, recipe, plain / 'start.safetensors', device='cpu'
    )
    assert found.weights is None and not (tmp_path / 'forward.safetensors').exists()
    assert 'no better: weights stay as they were' in str(found)


def test_the_command_says_what_came_of_it(plain, network, tmp_path, monkeypatch, capsys):
    seen = {}

    def instead(folders, out, recipe, start_from, resume, progress, device):
        seen.update(folders=folders, recipe=recipe, resume=resume)
        return 'told'

    monkeypatch.setattr(adapting, 'adapt_to_photos', lambda *a: Told(instead(*a)))
    arguments = ['train', '--registration', '--dataset', str(plain / 'set'), '--resume',
                 '--minutes', '3', '--position-std', '6', '-o', str(tmp_path)]  # fmt: skip
    assert main(arguments) == 0
    assert capsys.readouterr().out.strip() == f'{tmp_path}: told'
    assert seen['folders'] == [PhotoFolder(plain / 'set')] and seen['resume']
    assert seen['recipe'].minutes == 3.0
    assert seen['recipe'].deviations == LabelDeviations(6.0, None)


class Told:
    weights = None

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text


# --- what is wrong with a dataset ----------------------------------------------------------------


def copy_of(plain, tmp_path):
    folder = tmp_path / 'set'
    shutil.copytree(plain / 'set', folder)
    return folder


def change(folder, edit):
    """Edit the rows of a dataset."""
    path = folder / 'metadata.csv'
    with path.open(newline='') as file:
        rows = list(csv.DictReader(file))
    edit(rows)
    with path.open('w', newline='') as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


def every(**values):
    return lambda rows: [row.update(values) for row in rows]


NO_LENS = {name: '' for name in ('fov_deg', 'fx_px', 'fy_px', 'cx_px', 'cy_px')}


@pytest.mark.parametrize(
    ('edit', 'says'),
    [
        (every(split=''), 'no photo of split train'),
        (lambda rows: [row.pop('split') for row in rows], 'no photo of split train'),
        (every(split='train'), 'no photo of split val'),
        (every(heading_deg=''), r'row \d+: .* has no heading_deg \(\d+ of \d+ have none\)'),
        (every(latitude='0.5', sequence=''), 'is off the map .* give the map of where'),
        (every(fov_deg='360'), 'it is a panorama, where a plain camera is expected'),
        (every(pitch_deg='-90'), 'looks down from above; .* --map'),
        (every(camera_height_m='80'), 'looks down from above'),
        (every(**NO_LENS), 'what is the lens of'),
        (every(heading_deg='north'), "heading_deg 'north' is no number"),
        (every(width_px='33'), 'intrinsics of the images as they come'),
        (lambda rows: rows.__delitem__(slice(3, None)), 'photos of split .* too few|no photo of'),
    ],
)
def test_what_cannot_be_learned_from_is_one_line_that_says_so(
    plain, network, tmp_path, capsys, edit, says
):
    folder = copy_of(plain, tmp_path)
    change(folder, edit)
    arguments = ['train', '--registration', '--dataset', str(folder), '-o', str(tmp_path / 'run')]
    assert main([*arguments, '--start-from', str(plain / 'start.safetensors')]) == 2
    # A bar over the photos may have begun.
    lines = [x for x in capsys.readouterr().err.splitlines() if x and '%|' not in x]
    assert len(lines) == 1 and re.search(says, lines[0])


def test_too_few_photos_are_refused_by_their_number(plain, network, tmp_path):
    folder = copy_of(plain, tmp_path)

    def thin(rows):
        judges = [row for row in rows if row['split'] == 'val']
        for row in judges[3:]:
            row['split'] = ''

    change(folder, thin)
    with pytest.raises(DatasetError, match='3 photos of split val are too few'):
        adapt_to_photos([PhotoFolder(folder)], tmp_path / 'run', RECIPE,
                        plain / 'start.safetensors')  # fmt: skip


def test_folders_without_photos_are_named(tmp_path, plain, network):
    for name, says in (('nothing', 'metadata.csv is not there'), ('round', 'panoramas alone')):
        folder = tmp_path / name
        folder.mkdir()
        if name == 'round':
            (folder / 'panoramas.csv').touch()
        with pytest.raises(DatasetError, match=says):
            list_photos([PhotoFolder(folder, plain / 'map')], 'train')


def test_deviations_out_of_range_are_refused():
    for given in ({'position_std_m': 0.0}, {'position_std_m': 31.0}, {'heading_std_deg': 181.0}):
        with pytest.raises(ConfigError, match=next(iter(given))):
            LabelDeviations(**given)


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['--dataset', 'd'], '-o DIR'),
        (['--dataset', 'd', '--imagery', 'i.csv', '-o', 'x'], '--dataset DIR'),
        (['--dataset', 'd', '--footprint', '80', '90', '-o', 'x'], '--footprint says nothing'),
        (['--dataset', 'd', 'e', '--map', 'm', '-o', 'x'], '2 datasets need as many maps, not 1'),
        (['--map', 'm', '--position-std', '5'], '--position-std is for photos'),
        (['--dataset', 'd', '--position-std', '-5', '-o', 'x'], 'position_std_m is -5'),
    ],
)
def test_options_of_photos_that_do_not_go_together_are_named(arguments, says, capsys):
    assert main(['train', '--registration', *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and says in lines[0]
