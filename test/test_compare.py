"""The benchmark's table against the evaluations it is made of, counted again."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from imagery import write_raster
from PIL import Image
from rasterio.transform import from_bounds
from tiny import REGION, make_map, make_weights, tiny_policy_config

from justzoom_ros.cli.main import main
from justzoom_ros.errors import DatasetError
from justzoom_ros.evaluation.evaluate import mount_of, occupied_cells, rigs
from justzoom_ros.inference.multi_view import fuse_posteriors
from justzoom_ros.io.datasets import read_images
from justzoom_ros.localizer import Localizer
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.models import ZoomPolicy
from justzoom_ros.plots.comparison import interval
from justzoom_ros.training.retrieval import RetrievalModel

PLACES = 5


@pytest.fixture(scope='module')
def city(tmp_path_factory):
    """A dataset of noise: PLACES of two cameras back to back, the map beside them; weights."""
    folder = tmp_path_factory.mktemp('compare')
    map = make_map(folder)
    make_weights(folder, map, gain=3.0)
    RetrievalModel(tiny_policy_config(map)).save(folder / 'retrieval.safetensors')
    (folder / 'streetview/images').mkdir(parents=True)
    rng, rows = np.random.default_rng(4), []
    for place in range(PLACES):
        lat, lon = REGION.to_latlon(*rng.uniform(-120, 120, 2))
        for camera in (1, 0):  # the order of the rows must not matter
            name = f'val_{place}_{camera}'
            pixels = rng.integers(0, 256, (24, 48, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f'streetview/images/{name}_undistorted.jpg')
            rows.append({
                'image_id': name, 'latitude': lat, 'longitude': lon, 'split': 'val',
                'place': place, 'camera': camera, 'heading_deg': 180 * camera, 'fov_deg': 70,
            })  # fmt: skip
    with (folder / 'metadata.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return folder


def compared(city, capsys, *more):
    weights = [f'zoom={city}/weights.safetensors', f'retrieval={city}/retrieval.safetensors']
    assert main(['compare', str(city), *weights, '--splits', 'val', *more]) == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_the_table_has_a_row_per_method_search_and_views(city, capsys, tmp_path):
    out = tmp_path / 'table.json'
    text = compared(city, capsys, '--views', '1', '2', '-o', str(out))
    rows = json.loads(out.read_text())['rows']
    assert [(r['method'], r['search'], r['views']) for r in rows] == [
        *(('zoom', search, 1) for search in ('greedy', 'beam', 'exact')),
        ('zoom', 'exact', 2), ('retrieval', 'exact', 1), ('retrieval', 'exact', 2),
    ]  # fmt: skip
    assert text.count('\n| ') == 7 and '| retrieval | 2 |' in text and 'zoom, greedy' in text
    assert all(row['places'] == PLACES and row['map_megabytes'] > 0 for row in rows)
    assert rows[0]['chance_nats'] == pytest.approx(np.log(256))
    inner = np.pi * 50**2 / 256**2
    assert inner / 4 < rows[0]['chance_recall_50m'] <= inner * 1.001


@pytest.mark.slow
def test_two_views_are_scored_by_their_product(city, capsys):
    row = json.loads(compared(city, capsys, '--views', '2', '--json'))['rows'][0]
    localizer = Localizer.open(map=city / 'map', weights=city / 'weights.safetensors')
    hits, nll = [], []
    for place in rigs(read_images(city / 'metadata.csv'), 2):
        posterior = fuse_posteriors([localizer.posterior(image.load()) for image in place])
        cell = localizer.region.encode(place[0].latitude, place[0].longitude)
        index = localizer.region.cell_index(cell)
        nll.append(-np.log(posterior.masses[posterior.indices == index][0]))
        hits.append(posterior.indices[np.argmax(posterior.masses)] == index)
    assert row['recall_cell'] == np.mean(hits)
    assert row['nll_nats'] == pytest.approx(np.mean(nll), rel=1e-6)


def test_among_occupied_cells_only_those_compete(city, capsys):
    made = json.loads(compared(city, capsys, '--views', '1', '--occupied', '--json'))
    images = read_images(city / 'metadata.csv')
    cells = occupied_cells(images, REGION)
    assert len(cells) == len({REGION.encode(i.latitude, i.longitude) for i in images})
    assert all(row['nll_nats'] < 6 for row in made['rows']) and 'taken' in made['protocol']


def test_views_of_a_place_come_in_the_order_of_its_cameras(city):
    images = read_images(city / 'metadata.csv')
    pairs = rigs(images, 2)
    assert [[image.id[-1] for image in pair] for pair in pairs] == [['0', '1']] * PLACES
    first, second = map(mount_of, pairs[0])
    assert abs(second.heading_rad - first.heading_rad) == pytest.approx(np.pi)
    with pytest.raises(DatasetError, match='2 views, not 4.*--cameras 4'):
        rigs(images, 4)


@pytest.mark.slow
def test_memory_is_that_of_the_map_and_of_the_weights(city, capsys):
    rows = json.loads(compared(city, capsys, '--views', '1', '--json'))['rows']
    policy = ZoomPolicy.load(city / 'weights.safetensors')
    numbers = sum(tensor.numel() for tensor in policy.state_dict().values())
    assert rows[0]['weights_megabytes'] == pytest.approx(4e-6 * numbers)
    shown = rows[0]['map_megabytes'] + rows[0]['weights_megabytes']
    assert compared(city, capsys, '--views', '1').splitlines()[6].split('|')[-2].strip() == (
        f'{shown:.1f}'
    )


def test_the_interval_of_a_share_is_that_of_wilson():
    """Against the roots of (p - share)^2 = z^2 p (1 - p) / n, found by bisection."""
    share, count, z = 0.3, 50, 1.645

    def beyond(p):
        return (p - share) ** 2 > z**2 * p * (1 - p) / count

    low, high = np.linspace(0, share, 100_001), np.linspace(share, 1, 100_001)
    expected = low[~beyond(low)].min(), high[~beyond(high)].max()
    assert interval(share, count) == pytest.approx(expected, abs=2e-5)
    assert interval(0.0, 10)[0] == pytest.approx(0.0) and interval(1.0, 10)[1] <= 1.0


@pytest.mark.slow
def test_tables_become_a_chart(city, capsys, tmp_path):
    table, chart = tmp_path / 'table.json', tmp_path / 'chart.png'
    compared(city, capsys, '--views', '1', '2', '-o', str(table))
    words = [f'day={table}', f'night={table}']
    assert main(['chart', *words, '--method', 'zoom', '-o', str(chart)]) == 0
    with Image.open(chart) as picture:
        assert picture.format == 'PNG' and picture.size[0] > picture.size[1]
    for wrong, said in (
        (words, 'retrieval, zoom.*--method'),
        ([f'day={chart}', '--method', 'zoom'], 'chart.png: no table'),
        ([f'day={tmp_path}/absent.json'], 'absent.json: no table'),
        (['day'], 'NAME=FILE'),
    ):
        capsys.readouterr()
        assert main(['chart', *wrong, '-o', str(chart)]) == 2
        assert re.search(said, capsys.readouterr().err)


def test_methods_without_a_file_are_named(city, capsys):
    assert main(['compare', str(city), 'zoom']) == 2
    assert 'NAME=FILE' in capsys.readouterr().err


@pytest.mark.slow
def test_curves_are_drawn_of_the_histories_beside_the_weights(city, capsys, tmp_path):
    header = 'step,cpu_minutes,train_loss_nats,nll_nats,recall_50m'
    lines = [header, '100,1,5.5,5.4,0.1', '200,2,5,5,0.2']
    (city / 'history.csv').write_text('\n'.join(lines) + '\n')
    compared(city, capsys, '--views', '1', '--curves', str(tmp_path / 'curves.png'))
    with Image.open(tmp_path / 'curves.png') as picture:
        assert picture.size == (1200, 480)
    (city / 'history.csv').unlink()
    arguments = ['compare', str(city), f'zoom={city}/weights.safetensors', '--splits', 'val']
    assert main([*arguments, '--views', '1', '--curves', str(tmp_path / 'x.png')]) == 2
    assert 'history.csv is not there' in capsys.readouterr().err


@pytest.mark.slow
def test_streets_are_registered_beside_the_other_methods(city, capsys, tmp_path):
    """Of one view and of two, each on the whole map: lens known, heading and tilt not."""
    folder = shutil.copytree(city, tmp_path / 'city', ignore=shutil.ignore_patterns('map'))
    half = REGION.side_m / 2
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8).repeat(4, 1)
    write_raster(
        folder / 'a.tif', pixels.repeat(4, 2), from_bounds(-half, -half, half, half, 256, 256),
        REGION.crs,
    )  # fmt: skip
    SatelliteMap.build(folder / 'a.tif', REGION, folder / 'map', resolution_m=1.0)
    arguments = ['compare', str(folder), 'registration', '--splits', 'val', '--views', '1', '2']
    assert main([*arguments, '--limit', '2', '--json']) == 0
    made = json.loads(capsys.readouterr().out)
    assert [(row['method'], row['views']) for row in made['rows']] == [
        ('registration', 1), ('registration', 2),
    ]  # fmt: skip
    assert 'heading unknown, lens known' in made['protocol']
    assert all(row['heading_median_deg'] is not None for row in made['rows'])
    assert main([*arguments[:2], 'sift', *arguments[3:]]) == 2
    assert 'sift is for cameras that look down' in capsys.readouterr().err
