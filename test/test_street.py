"""What a forward camera is trained on: geometry against the camera's own rays, places against the
tables, the loss of the baseline against numpy."""

import csv
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import REGION, make_map

from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError, DatasetError
from justzoom_ros.evaluation.retrieval import RetrievalLocalizer
from justzoom_ros.inference.preprocess import ground_views, normalize
from justzoom_ros.models import (
    ConvConfig,
    DecoderConfig,
    EncoderConfig,
    PolicyConfig,
    ZoomPolicy,
)
from justzoom_ros.training import Area, TrainConfig, Trainer
from justzoom_ros.training.appearance import Augmentation, augment
from justzoom_ros.training.batches import CALIBRATION, TRAINING, VALIDATION, Rank
from justzoom_ros.training.retrieval import (
    RetrievalConfig,
    RetrievalModel,
    RetrievalTrainer,
    contrastive_loss,
    encode_gallery,
)
from justzoom_ros.training.street import (
    Looks,
    StreetBatches,
    StreetConfig,
    StreetPlaces,
    cut_views,
    draw_near_places,
)
from justzoom_ros.worlds.city.camera import Camera, Panorama

COARSE = replace(REGION, grid=2)
"""16 terminal cells of 64 m: what a few seconds can teach."""

COLUMNS = ('image_id', 'latitude', 'longitude', 'sequence')


def painted(rays):
    """A smooth picture (..., 3) of the directions of rays: no two directions look alike."""
    return np.clip(127 + 110 * rays, 0, 255).astype(np.uint8)


@pytest.mark.parametrize('turn', [0.0, 0.6, 3.1, -2.4])
def test_a_view_cut_from_a_panorama_is_what_a_camera_there_sees(turn):
    yaw, fov, pitch, roll = 0.4, math.radians(80), 0.05, 0.03
    panorama = painted(Panorama(np.zeros(3), yaw).rays())
    looks = Looks(*np.array([[turn], [pitch], [roll], [fov]]))
    view = cut_views(panorama, looks, (96, 54))[0]
    camera = Camera(np.zeros(3), yaw - turn, pitch, roll, (96, 54), fov)
    seen = painted(camera.rays())
    assert np.abs(view.astype(int) - seen).max() <= 4


def test_views_are_squeezed_to_two_squares(places, tiny_map):
    policy = policy_config(tiny_map)
    rng = np.random.default_rng(0)
    views = places.views(0, 3, policy, rng, StreetConfig())
    assert views.shape == (3, 2, 32, 32, 3) and views.dtype == np.uint8
    picture = places.views(len(places.panoramas), 2, policy, rng, StreetConfig())
    assert picture.shape == (2, 2, 32, 32, 3) and np.array_equal(picture[0], picture[1])


def test_augmentation_varies_and_can_be_left_out():
    views = np.full((4, 2, 32, 32, 3), 120, np.uint8)
    rng = np.random.default_rng(1)
    varied = augment(views, Augmentation(), rng)
    assert varied.shape == views.shape and varied.dtype == np.uint8
    assert len({view.tobytes() for view in varied}) == 4
    none = Augmentation(0, 0, 0, 0, 0, 0, 0, 0)
    assert np.array_equal(augment(views, none, rng), views)


def test_tones_are_exposure_then_saturation_then_contrast_about_the_mean():
    """Spelled out in float64 with the same draws; saturation is about each pixel's own grey,
    contrast about the mean grey of the view."""
    views = np.random.default_rng(2).integers(60, 180, (3, 2, 16, 16, 3), np.uint8)
    config = Augmentation(0.2, 0.3, 0.1, 0.5, vignette=0, noise=0, patches=0, bonnet=0)
    varied = augment(views, config, np.random.default_rng(9))
    rng, grey_of = np.random.default_rng(9), np.array([0.299, 0.587, 0.114])
    exposure = rng.normal(0, 0.2, (3, 1))
    gains = np.exp(exposure + rng.normal(0, 0.1, (3, 3)))
    saturations = 1 + rng.uniform(-0.5, 0.25, 3)
    contrasts = np.exp(rng.normal(0, 0.3, 3))
    for number in range(3):
        lit = views[number] * gains[number]
        grey = (lit @ grey_of)[..., None]
        toned = grey + saturations[number] * (lit - grey)
        toned = grey.mean() + contrasts[number] * (toned - grey.mean())
        difference = varied[number] - toned.clip(0, 255)
        assert np.abs(difference).max() < 0.51, number


def test_noise_is_normal_and_of_each_view_its_own():
    views = np.full((40, 2, 32, 32, 3), 128, np.uint8)
    only_noise = Augmentation(0, 0, 0, 0, 0, noise=10.0, patches=0, bonnet=0)
    noise = augment(views, only_noise, np.random.default_rng(3)).astype(float) - 128
    levels = noise.std(axis=(1, 2, 3, 4))
    assert levels.max() < 10.5 and len(np.unique(levels.round(2))) > 30
    sharp = noise[levels > 5] / levels[levels > 5][:, None, None, None, None]
    assert abs(np.mean(sharp)) < 0.02 and np.mean(np.abs(sharp) < 1) == pytest.approx(
        0.683, abs=0.03
    )
    likeness = np.corrcoef(sharp.reshape(len(sharp), -1))
    assert np.abs(likeness - np.eye(len(sharp))).max() < 0.1


@pytest.mark.parametrize('wrong', [{'noise': -1}, {'bonnet': 2}, {'saturation': -0.1}])
def test_impossible_augmentations_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Augmentation(**wrong)


# --- places --------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def tiny_map(tmp_path_factory):
    return make_map(tmp_path_factory.mktemp('street'), COARSE, blotches=4)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory, tiny_map):
    """1000 panoramas whose columns show the colour of the map 12 m away, and 20 pictures."""
    folder = tmp_path_factory.mktemp('places')
    for name in ('panoramas', 'images'):
        (folder / 'streetview' / name).mkdir(parents=True)
    ground, rng = tiny_map.crop((), 128), np.random.default_rng(5)
    rows = []
    for number in range(1000):
        east, north = rng.uniform(-115, 115, 2)
        rows.append(row_of(f'pano_{number}', east, north, tiny_map.region))
        save(folder / f'streetview/panoramas/pano_{number}.jpg', surroundings(ground, east, north))
    write(folder / 'panoramas.csv', rows)
    pictures = []
    for number in range(20):
        pictures.append({**row_of(f'p{number}', 10.0 * number - 100, 5.0, tiny_map.region)})
        pictures[-1]['split'] = 'train' if number < 15 else 'val'
        pixels = rng.integers(0, 256, (36, 64, 3), np.uint8)
        save(folder / f'streetview/images/p{number}_undistorted.jpg', pixels)
    write(folder / 'metadata.csv', pictures)
    return folder


@pytest.fixture(scope='module')
def places(dataset, tiny_map):
    return StreetPlaces(dataset, tiny_map.region)


def surroundings(ground, east, north, size_px=(128, 30)):
    """An equirectangular strip: above the horizon the map 12 m away, below it 4 m away, north in
    the middle."""
    width, height = size_px
    bearing = 2 * np.pi * (np.arange(width) - (width - 1) / 2) / width
    bands = []
    for distance in (12.0, 4.0):
        column = (east + distance * np.sin(bearing) + 128) / 2
        row = (128 - north - distance * np.cos(bearing)) / 2
        band = ground[row.clip(0, 127).astype(int), column.clip(0, 127).astype(int)]
        bands.append(np.repeat(band[None], height // 2, axis=0))
    return np.concatenate(bands)


def row_of(name, east, north, region):
    latitude, longitude = (round(v, 7) for v in region.to_latlon(east, north))
    sequence = str(list(region.encode(latitude, longitude)))
    return dict(zip(COLUMNS, (name, latitude, longitude, sequence), strict=True))


def save(path, pixels):
    Image.fromarray(pixels).save(path, quality=95)


def write(path, rows):
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def policy_config(tiny_map, look_ahead=False):
    return PolicyConfig(
        2, tiny_map.region.depth, 'street', 32, 2.0, 16, look_ahead,
        EncoderConfig('conv', ConvConfig(channels=(16, 32), pooled=2, width=48)),
        DecoderConfig(layers=1, heads=2, dropout=0.0),
    )  # fmt: skip


def test_places_are_where_the_table_says(dataset, places):
    assert len(places.panoramas) == 1000 and len(places.pictures) == 15
    with (dataset / 'panoramas.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [str(list(map(int, actions))) for actions in places.actions[:1000]] == [
        row['sequence'] for row in rows
    ]


def test_what_is_kept_back_is_never_trained_on(places):
    streams = [set(places.streams[s]) for s in (TRAINING, VALIDATION, CALIBRATION)]
    assert sum(map(len, streams)) == 1015 == len(set.union(*streams))
    trained_on = np.concatenate(places.neighbourhoods)
    assert set(trained_on) == streams[0] and len(trained_on) == len(streams[0])
    for group in places.neighbourhoods:
        assert len({tuple(actions[:-1]) for actions in places.actions[group]}) == 1


@pytest.mark.slow
def test_of_a_city_for_validation_alone_every_place_is_validated_on(dataset, tiny_map):
    streams = StreetPlaces(dataset, tiny_map.region, validation_only=True).streams
    assert len(streams[VALIDATION]) == 508 and len(streams[CALIBRATION]) == 507
    assert not len(streams[TRAINING]) and not {*streams[VALIDATION]} & {*streams[CALIBRATION]}


def test_near_places_are_drawn_in_proportion():
    groups = [np.arange(0, 10), np.arange(10, 40)]
    rng = np.random.default_rng(0)
    drawn = np.concatenate([draw_near_places(groups, 8, 4, rng) for _ in range(2000)])
    assert (drawn < 10).mean() == pytest.approx(0.25, abs=0.02)
    assert len(draw_near_places(groups, 7, 4, rng)) == 7


def test_processes_share_a_batch(places, tiny_map):
    config = TrainConfig(batch=16)
    whole, *parts = (
        StreetBatches(
            places, policy_config(tiny_map),
            StreetConfig(views=2, cluster=1), Augmentation(), config, rank,
        )[3]
        for rank in (Rank(), Rank(0, 2), Rank(1, 2))
    )  # fmt: skip
    actions = {tuple(row) for row in whole[1].tolist()}
    assert len(whole[1]) == 16 and [len(part[1]) for part in parts] == [8, 8]
    assert {tuple(row) for part in parts for row in part[1].tolist()} == actions


@pytest.mark.slow
def test_children_of_a_batch_are_the_embeddings_of_the_cells_ahead(dataset, tiny_map, tmp_path):
    trainer = tiny_street(Trainer, dataset, tiny_map, tmp_path, look_ahead=True)
    children = trainer.area.child_embeddings(
        trainer.policy, torch.tensor([[3, 1], [2, 1]]), step=0
    )
    assert children.shape == (2, 2, 4, 48) and not children.requires_grad
    for child, cell in [(children[0, 0, 3], (3,)), (children[1, 1, 3], (2, 3))]:
        crop = normalize(tiny_map.crop(cell, 16)[None])
        with torch.inference_mode():
            expected = trainer.policy.eval().encode_satellite(crop)[0]
        torch.testing.assert_close(child, expected, atol=1e-5, rtol=0)


def broken(tmp_path, dataset, change):
    """A copy of the dataset's table with one row changed; its pictures are linked."""
    (tmp_path / 'streetview').symlink_to(dataset / 'streetview')
    with (dataset / 'panoramas.csv').open() as file:
        rows = list(csv.DictReader(file))
    change(rows)
    write(tmp_path / 'panoramas.csv', rows)
    return tmp_path


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        (lambda rows: rows[4].update(image_id='nowhere'), 'row 6.*nowhere'),
        (lambda rows: rows[4].update(image_id='pano_3'), 'row 6.*pano_3.*row 5'),
        (lambda rows: rows[4].update(latitude='x'), 'row 6.*no number'),
        (lambda rows: rows[4].update(latitude='60'), 'row 6.*outside'),
        (lambda rows: rows[4].update(sequence='[0, 0, 0]'), 'row 6.*depth 2'),
        (lambda rows: rows[4].update(sequence='[99]'), 'row 6'),
        (lambda rows: rows.__delitem__(slice(10, None)), '10 places'),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path, dataset, tiny_map, change, named):
    with pytest.raises(DatasetError, match=named):
        StreetPlaces(broken(tmp_path, dataset, change), tiny_map.region)


@pytest.mark.slow
def test_a_row_outside_the_region_is_named_where_there_is_no_sequence(tmp_path, dataset, tiny_map):
    folder = broken(tmp_path, dataset, lambda rows: rows[4].update(latitude='60', sequence=''))
    with pytest.raises(DatasetError, match='row 6.*outside'):
        StreetPlaces(folder, tiny_map.region)


@pytest.mark.slow
def test_a_corrupt_picture_stops_the_training_by_name(tmp_path, dataset, tiny_map):
    folder = tmp_path / 'copy'
    (folder / 'streetview/panoramas').mkdir(parents=True)
    for file in (dataset / 'streetview/panoramas').iterdir():
        (folder / 'streetview/panoramas' / file.name).write_bytes(file.read_bytes())
    (folder / 'panoramas.csv').write_bytes((dataset / 'panoramas.csv').read_bytes())
    broken_file = folder / 'streetview/panoramas/pano_7.jpg'
    whole = broken_file.read_bytes()
    broken_file.write_bytes(whole[: whole.index(b'\xff\xda') + 40])  # cut soon after the header
    places = StreetPlaces(folder, tiny_map.region)
    with pytest.raises(DatasetError, match='row 9.*pano_7.jpg is corrupt'):
        places.views(7, 1, policy_config(tiny_map), np.random.default_rng(0), StreetConfig())


# --- learning ------------------------------------------------------------------------------------


GAIN = 4.0
"""How many times likelier than chance makes it the true cell of a view kept back must be."""


@pytest.mark.slow
@pytest.mark.parametrize('look_ahead', [False, True], ids=['published', 'look_ahead'])
def test_a_policy_learns_from_streets(dataset, tiny_map, tmp_path, look_ahead):
    """After a few seconds the true cell of a view kept back is GAIN times likelier than chance
    makes it."""
    trainer = tiny_street(Trainer, dataset, tiny_map, tmp_path, look_ahead)
    weights = trainer.run()
    chance = math.log(16)
    assert trainer.validate() < chance - math.log(GAIN)
    assert trainer.history.rows[-1][0] == trainer.config.steps
    assert weights.is_file() and (tmp_path / 'curves.png').stat().st_size > 10_000


def tiny_street(make, dataset, tiny_map, out, look_ahead=False, **changes):
    config = TrainConfig(**{
        'steps': 250, 'batch': 64, 'learning_rate': 3e-3, 'workers': 0, 'precision': 'float32',
        'label_smoothing': 0.0, 'validate_every': 125, 'validate_views': 256, 'recall_views': 64,
        **changes,
    })  # fmt: skip
    policy = policy_config(tiny_map, look_ahead)
    gentle = Augmentation(0.05, 0.05, 0.02, 0.1, 0.1, 2.0, 0, 0.0)
    places = StreetPlaces(dataset, tiny_map.region)
    source = partial(StreetBatches, places, policy, StreetConfig(), gentle)
    return make([Area(tiny_map, source, policy.crop_px)], policy, config, out)


@pytest.mark.slow
def test_of_a_pretrained_dinov2_only_the_last_blocks_and_the_norm_are_trained(
    dataset, tiny_map, tmp_path
):
    """`justzoom train --encoder DIR --train-blocks 1`: all else of the encoder stays as it was."""
    from transformers import Dinov2Config, Dinov2Model

    shape = {'hidden_size': 48, 'num_hidden_layers': 3, 'num_attention_heads': 2}
    pretrained = Dinov2Model(Dinov2Config(**shape, image_size=28, patch_size=14))
    pretrained.save_pretrained(tmp_path / 'dinov2')
    command = ['train', '--dataset', str(dataset), '--map', str(tiny_map.path)]
    command += ['--encoder', str(tmp_path / 'dinov2')]
    command += ['--train-blocks', '1', '--ground-px', '28', '--crop-px', '28', '--steps', '3']
    command += ['--batch', '8', '--workers', '0', '--set', 'train.recall_views=0']
    command += ['--set', 'train.validate_views=16', '-o', str(tmp_path / 'run')]
    assert main(command) == 0
    policy = ZoomPolicy.load(tmp_path / 'run/weights.safetensors')
    recipe = policy.provenance['train']
    assert (recipe['optimizer'], recipe['learning_rate']) == ('muon', 3e-3)
    trained = policy.encoder.backbone.state_dict()
    moved = {
        name for name, tensor in pretrained.state_dict().items()
        if (trained[name] - tensor).abs().max() > 1e-2 * tensor.abs().max()
    }  # fmt: skip
    assert moved and all(n.startswith(('encoder.layer.2.', 'layernorm.')) for n in moved)
    # Kept in half precision, what did not move is as near as that allows.
    still = {name for name in trained if not name.startswith(('encoder.layer.2.', 'layernorm.'))}
    for name in still:
        torch.testing.assert_close(trained[name], pretrained.state_dict()[name].half().float())


# --- the contrastive baseline --------------------------------------------------------------------


def test_the_contrastive_loss_is_symmetric_infonce_of_all_positives():
    """Three views of two cells and one further negative, counted by hand in numpy."""
    rng = np.random.default_rng(0)
    ground, cells = rng.standard_normal((3, 5)), rng.standard_normal((3, 5))
    rows, scale, smoothing = np.array([0, 1, 1]), 2.0, 0.1
    similarity = scale * ground @ cells.T
    target = (1 - smoothing) * np.eye(3)[rows] + smoothing / 3
    views_find = -np.mean(np.sum(target * log_softmax(similarity), axis=1))
    shared = np.array([[1, 0, 0], [0, 0.5, 0.5]])
    target = (1 - smoothing) * shared + smoothing / 3
    cells_find = -np.mean(np.sum(target * log_softmax(similarity.T[:2]), axis=1))
    loss = contrastive_loss(*map(torch.tensor, (ground, cells, rows)), scale, smoothing)
    assert float(loss) == pytest.approx((views_find + cells_find) / 2, rel=1e-6)


def log_softmax(x):
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


@pytest.mark.slow
def test_retrieval_learns_and_localizes(dataset, tiny_map, tmp_path):
    """As the policies, GAIN times better than chance; and its posterior is the softmax of what
    brute force finds, its gallery's neighbours being exact."""
    make = partial(RetrievalTrainer, RetrievalConfig(mine_every=50))
    trainer = tiny_street(make, dataset, tiny_map, tmp_path)
    weights = trainer.run()
    assert trainer.validate() < math.log(16) - math.log(GAIN)
    localizer = RetrievalLocalizer.open(tiny_map.path, weights)
    image = StreetPlaces(dataset, tiny_map.region).pictures[0].load()
    posterior = localizer.posterior(image)
    model = RetrievalModel.load(weights)
    with torch.inference_mode():
        crops = [tiny_map.crop(tiny_map.region.actions_of(2, cell), 16) for cell in range(16)]
        cells = model.encode_satellite(normalize(np.stack(crops))).double()
        ground = model.encode_ground(normalize(ground_views(image, model.config))[None]).double()
        scale = model.scale.double() / model.provenance['calibration']['temperature']
        expected = (scale * ground @ cells.T).softmax(dim=1)[0].numpy()
    assert posterior.indices.tolist() == list(range(16))
    np.testing.assert_allclose(posterior.masses, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.slow
def test_hard_negatives_are_the_cells_taken_for_each_other(dataset, tiny_map, tmp_path):
    make = partial(RetrievalTrainer, RetrievalConfig(similar=2))
    trainer = tiny_street(make, dataset, tiny_map, tmp_path, steps=1)
    trainer.objective.train()
    views, actions = next(iter(trainer._batches()))
    _, _, crops, rows = trainer.batch_inputs(trainer.area, views, actions)
    cells = torch.unique(actions @ torch.tensor([4, 1]))
    assert len(cells) < len(crops) <= 3 * len(cells)
    with torch.inference_mode():
        gallery = encode_gallery(trainer.policy, tiny_map, trainer.area.crops)
        like = (gallery @ gallery.T).fill_diagonal_(-1)
    wanted = {int(c) for row in like[cells].topk(2, dim=1).indices for c in row} - set(
        cells.tolist()
    )
    assert len(crops) == len(cells) + len(wanted)
    first = tiny_map.crop(tiny_map.region.actions_of(2, int(cells[0])), 16)
    assert np.array_equal(crops[0], first) and int(rows.max()) < len(cells)


@pytest.mark.parametrize('wrong', [{'similar': -1}, {'mine_every': 0}, {'temperature': 0.0}])
def test_impossible_retrieval_settings_are_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        RetrievalConfig(**wrong)
