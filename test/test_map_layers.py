"""Several pictures of one place in a map folder: building, registering on the best, pairing."""

import json

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_bounds
from registration_toy import ToyNetwork, ground
from town_piece import FOOTPRINT_M, POSES, SIDE_M, make_town_map, take_view

from justzoom_ros import Localizer, SatelliteMap
from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError, MapError
from justzoom_ros.evaluation.map_check import PartShift, check_maps, summarize
from justzoom_ros.maps.layers import add_layer, layer_folders, open_layers
from justzoom_ros.registrar import Registrar
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.map_features import MapFeatures
from justzoom_ros.training.registration.adapt import map_place

EAST_M, NORTH_M = 3.0, -2.0


def write_copy(source, path, change=lambda pixels: pixels, east_m=0.0, north_m=0.0):
    """A raster again, its pixels changed and its place moved."""
    with rasterio.open(source) as file:
        profile, pixels = dict(file.profile), change(file.read())
    half = SIDE_M / 2
    box = (east_m - half, north_m - half, east_m + half, north_m + half)
    profile['transform'] = from_bounds(*box, *pixels.shape[:0:-1])
    with rasterio.open(path, 'w', **profile) as file:
        file.write(np.ascontiguousarray(pixels))
    return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The town, and a map `strange` of its mirror image, which is another place, with the town as
    its layer `winter`."""
    folder = tmp_path_factory.mktemp('layers')
    make_town_map(folder)
    write_copy(folder / 'town.tif', folder / 'strange.tif', lambda pixels: pixels[:, :, ::-1])
    region = SatelliteMap.open(folder / 'town').region
    strange, out = folder / 'strange.tif', folder / 'strange'
    SatelliteMap.build(strange, region, out, resolution_m=0.8, attribution='mirror')
    add_layer(folder / 'strange', 'winter', folder / 'town.tif', attribution='town, 2024')
    return folder


# --- the folder --------------------------------------------------------------------------------


def test_a_layer_is_a_map_of_the_same_region_with_its_own_imagery(folder):
    layers = open_layers(SatelliteMap.open(folder / 'strange'))
    assert list(layers) == ['base', 'winter']
    town = SatelliteMap.open(folder / 'town')
    assert layers['winter'].region == town.region == layers['base'].region
    assert layers['winter'].attribution == 'town, 2024'
    # The same imagery in a map of its own: half a pixel of another resolution may differ.
    difference = layers['winter'].picture(64).astype(float) - town.picture(64)
    assert np.abs(difference).mean() < 3


@pytest.mark.slow
def test_layers_are_built_with_the_map_or_added_to_it(folder, tmp_path, capsys):
    town, out = str(folder / 'town.tif'), str(tmp_path / 'map')
    winter = str(folder / 'strange.tif')
    first = ['map', 'build', town, '--also', winter, '--as', 'winter', '--depth', '2', '-o', out]
    assert main([*first, '--attribution', 'mine', '--json']) == 0
    assert json.loads(capsys.readouterr().out)['layers'] == ['winter']
    assert main(['map', 'build', '--also', winter, '--as', 'v2.1', '-o', out]) == 0
    assert 'layers:      v2.1, winter' in capsys.readouterr().out
    assert list(layer_folders(out)) == ['v2.1', 'winter']
    assert SatelliteMap.open(tmp_path / 'map' / 'layers' / 'winter').attribution == 'mine'
    # A map that is replaced takes its layers with it.
    assert main(['map', 'build', town, '--depth', '2', '-o', out, '--overwrite']) == 0
    assert layer_folders(out) == {}


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['-o', 'map'], 'there is no imagery: give a SOURCE, or --also'),
        (['--also', 'a.tif', '-o', 'map'], 'needs an --as NAME'),
        (['--also', 'a.tif', '--also', 'b.tif', '--as', 'w', '--as', 'w', '-o', 'map'], '--as NA'),
        (['--also', 'a.tif', '--as', '../x', '-o', 'map'], "'../x' cannot be the name of a layer"),
        (['--also', 'a.tif', '--as', 'base', '-o', 'map'], "'base' cannot be the name"),
        (['--also', 'a.tif', '--as', 'winter', '-o', 'map'], 'map is not a folder'),
        (['--also', 'a.tif', '--as', 'spring', '-o', 'MAP'], 'a.tif does not exist'),
        (['--also', 'https://a.org/{z}/{x}/{y}', '--as', 'w', '-o', 'MAP'], '--attribution'),
    ],
)
def test_layers_that_cannot_be_are_refused(folder, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    words = [str(folder / 'strange') if word == 'MAP' else word for word in words]
    assert main(['map', 'build', *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and list(tmp_path.iterdir()) == []


def test_an_existing_layer_is_kept_unless_asked(folder):
    with pytest.raises(MapError, match='is a map already'):
        add_layer(folder / 'strange', 'winter', folder / 'town.tif')


def test_a_layer_of_another_region_is_told(folder, tmp_path):
    region = SatelliteMap.open(folder / 'town').region
    moved = type(region)(region.latitude, region.longitude, 128.0, region.grid, region.depth)
    SatelliteMap.build(folder / 'town.tif', moved, tmp_path / 'map' / 'layers' / 'x')
    SatelliteMap.build(folder / 'town.tif', region, tmp_path / 'town')
    (tmp_path / 'town' / 'layers').symlink_to(tmp_path / 'map' / 'layers')
    with pytest.raises(MapError, match='shows another region.*--as x'):
        open_layers(SatelliteMap.open(tmp_path / 'town'))


# --- registration ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_picture_is_found_on_the_layer_that_it_fits(folder):
    town = SatelliteMap.open(folder / 'town')
    localizer = Localizer.open(folder / 'strange', footprint_m=(FOOTPRINT_M, FOOTPRINT_M))
    alone = Localizer.open(folder / 'town', footprint_m=(FOOTPRINT_M, FOOTPRINT_M))
    for east_m, north_m, yaw_rad in POSES:
        image = take_view(town, east_m, north_m, yaw_rad)
        fix, same = localizer.locate(image), alone.locate(image)
        assert fix.status == 'fix' and localizer.registrar.layer == 'winter'
        assert np.hypot(fix.east_m - east_m, fix.north_m - north_m) < 1.5
        assert np.hypot(fix.east_m - same.east_m, fix.north_m - same.north_m) < 0.5
    mirrored = take_view(town, *POSES[0])[:, ::-1].copy()
    assert localizer.locate(mirrored).status == 'fix' and localizer.registrar.layer == 'base'


@pytest.mark.slow
def test_localize_says_which_layer_a_picture_was_found_on(folder, tmp_path, capsys):
    image = take_view(SatelliteMap.open(folder / 'town'), *POSES[0])
    Image.fromarray(image).save(tmp_path / 'a.png')
    words = [
        'localize',
        str(tmp_path / 'a.png'),
        '--footprint',
        str(FOOTPRINT_M),
        str(FOOTPRINT_M),
    ]
    assert main([*words, '--map', str(folder / 'strange'), '--json']) == 0
    assert json.loads(capsys.readouterr().out)['images'][0]['layer'] == 'winter'
    assert main([*words, '--map', str(folder / 'strange')]) == 0
    assert capsys.readouterr().out.strip().endswith(', on winter')
    assert main([*words, '--map', str(folder / 'town'), '--json']) == 0
    assert 'layer' not in json.loads(capsys.readouterr().out)['images'][0]


class Card(ToyNetwork):
    card: dict = {}


def toy_registrar(*seeds, mask=None):
    """A registrar of a map whose layers are grounds of their own."""
    network = Card()
    layers = {
        f'layer {seed}': MapFeatures(network.map_features(ground(256, seed), mask), cell_m=1.0)
        for seed in seeds
    }
    satellite_map = type('Map', (), {'region': None, 'path': 'toy'})()
    return Registrar(network, None, satellite_map, layers=layers)


def toy_view(registrar, seed, row=64, column=48):
    """40 m of a ground, north up, seen from straight above."""
    image = ground(256, seed)[2 * row - 40 : 2 * row + 40, 2 * column - 40 : 2 * column + 40]
    return registrar.view(image, Camera.from_footprint(40, 40), None, np.pi / 2, 0.01)


def test_of_several_layers_the_one_with_most_evidence_counts():
    registrar = toy_registrar(1, 2, 3)
    for seed in (2, 3, 1):
        view = toy_view(registrar, seed)
        found = registrar.likelihood(view)
        each = [view.register(one).evidence() for one in registrar.layers.values()]
        assert registrar.layer == f'layer {seed}' and found.evidence() == max(each)
        assert registrar.features is registrar.layers[f'layer {seed}']
        (peak,) = found.peaks(1)
        assert np.hypot(peak.east_m - (48 - 64), peak.north_m - 0) < 1


def test_a_layer_without_imagery_there_is_passed_over():
    registrar = toy_registrar(1, 2)
    bare = registrar.layers['layer 1']
    empty = MapFeatures(bare.features * 0, bare.mask * 0, bare.cell_m)
    registrar.layers['layer 1'] = empty
    registrar.likelihood(toy_view(registrar, 2))
    assert registrar.layer == 'layer 2'
    registrar.layers = {'layer 1': empty}
    with pytest.raises(ConfigError):
        registrar.likelihood(toy_view(registrar, 2))


@pytest.mark.slow
def test_training_pairs_the_layers_of_a_map(folder):
    satellite_map = SatelliteMap.open(folder / 'strange')
    place = map_place(satellite_map)
    assert len(place.pictures) == 2  # a view of one is paired with a map of the other
    shapes = {picture.layers[0].pixels.shape for picture in place.pictures}
    assert shapes == {satellite_map.pixels.shape}
    town = SatelliteMap.open(folder / 'strange' / 'layers' / 'winter')
    shown = place.pictures[1].layers[0].pixels
    assert np.abs(shown.astype(float) - town.picture(len(shown))).mean() < 1


# --- the shift between two maps ----------------------------------------------------------------


@pytest.fixture(scope='module')
def moved(folder):
    """The town again, in other colours, its imagery georeferenced elsewhere by a few metres."""
    region = SatelliteMap.open(folder / 'town').region
    source = write_copy(
        folder / 'town.tif', folder / 'moved.tif',
        lambda pixels: (pixels[[2, 1, 0]] * 0.7 + 40).astype(np.uint8), EAST_M, NORTH_M,
    )  # fmt: skip
    return SatelliteMap.build(source, region, folder / 'moved', resolution_m=0.8)


@pytest.mark.slow
def test_the_shift_between_two_maps_is_measured(folder, moved):
    town = SatelliteMap.open(folder / 'town')
    found = check_maps(town, moved, reach_m=12.0)
    assert found.shift_m == pytest.approx((EAST_M, NORTH_M), abs=0.15)
    assert len(found.parts) >= 0.9 * found.looked_at and found.error_m < 0.15
    back = check_maps(moved, town, reach_m=12.0)
    assert back.shift_m == pytest.approx((-EAST_M, -NORTH_M), abs=0.15)


@pytest.mark.slow
def test_the_check_is_a_picture_and_figures(folder, moved, tmp_path, capsys):
    maps = [str(folder / 'town'), str(moved.path)]
    picture = tmp_path / 'shift.png'
    assert main(['map', 'check', *maps, '--reach', '12', '-o', str(picture), '--json']) == 0
    facts = json.loads(capsys.readouterr().out)['others'][maps[1]]
    assert facts['shift_m'] == pytest.approx([EAST_M, NORTH_M], abs=0.15)
    assert facts['distance_m'] == pytest.approx(np.hypot(EAST_M, NORTH_M), abs=0.15)
    assert picture.stat().st_size > 100_000


@pytest.mark.slow
def test_maps_of_different_places_are_told_apart(folder, capsys):
    assert main(['map', 'check', str(folder / 'strange'), '--reach', '12']) == 2
    assert 'look too different, or are further apart' in capsys.readouterr().err


def test_maps_that_share_no_ground_and_reaches_that_are_none_are_refused(folder, tmp_path):
    town = SatelliteMap.open(folder / 'town')
    away = SatelliteMap.open(folder / 'town')
    away.region = type(town.region)(45.0, 9.0, 256.0, 4, 2)
    with pytest.raises(MapError, match='share too little ground'):
        check_maps(town, away)
    with pytest.raises(ConfigError, match='reach_m is 0.5'):
        check_maps(town, town, 0.5)


def test_a_map_without_layers_has_nothing_to_be_checked_against(folder, capsys):
    assert main(['map', 'check', str(folder / 'town')]) == 2
    assert 'has no layers besides its base' in capsys.readouterr().err


def test_a_shift_is_a_median_that_a_few_wrong_parts_do_not_move():
    rng = np.random.default_rng(0)
    good = rng.normal((2.0, -1.0), 0.3, (300, 2))
    parts = [PartShift(0.0, 0.0, tuple(shift), 9.0) for shift in good]
    wrong = [PartShift(0.0, 0.0, (25.0, 25.0), 3.0)] * 20
    found = summarize((*parts, *wrong), 400, 30.0)
    assert found.shift_m == pytest.approx((2.0, -1.0), abs=0.1)
    assert found.std_m == pytest.approx(0.3, rel=0.2)
    assert found.error_m == pytest.approx(1.2533 * found.std_m / 320**0.5)
    assert '320 of 400 parts found' in str(found)
