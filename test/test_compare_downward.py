"""The table of methods for a downward camera against what each method says by itself."""

import json

import numpy as np
import pytest
from PIL import Image
from tiny import make_weights
from town_piece import FOOTPRINT_M, make_town_map, write_flight

from justzoom_ros.cli.main import main
from justzoom_ros.evaluation.sift import SiftBaseline
from justzoom_ros.io.datasets import read_images

FOOTPRINT = ('--footprint', str(FOOTPRINT_M), str(FOOTPRINT_M))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('compare')


@pytest.fixture(scope='module')
def town(folder):
    return make_town_map(folder)


@pytest.fixture(scope='module')
def flight(folder, town):
    """Three views of the town and one of nothing."""
    path = write_flight(folder, town, columns=('heading_deg',))
    Image.new('RGB', (128, 96), (90, 90, 90)).save(folder / 'blank.png')
    lines = path.read_text().splitlines()
    first = lines[1].split(',')
    path.write_text('\n'.join([*lines, ','.join(['blank.png', *first[1:]])]) + '\n')
    return path


@pytest.fixture(scope='module')
def weights(folder, town):
    return make_weights(folder, town)


def compared(town, flight, *methods):
    words = [*map(str, methods), '--map', str(town.path), *FOOTPRINT, '--ignore-heading']
    return main(['compare', str(flight), *words])


@pytest.mark.slow
def test_a_table_has_policy_registration_both_and_sift(town, flight, weights, tmp_path, capsys):
    methods = 'registration', f'zoom+registration={weights}', f'policy={weights}', 'sift'
    assert compared(town, flight, *methods, '-o', str(tmp_path / 'table.json')) == 0
    text = capsys.readouterr().out
    made = json.loads((tmp_path / 'table.json').read_text())
    rows = {f'{row["method"]} {row["search"]}'.strip(): row for row in made['rows']}
    assert list(rows) == [
        'registration', 'zoom+registration',
        'policy greedy', 'policy beam', 'policy exact', 'sift',
    ]  # fmt: skip
    assert 'heading unknown, ground width in view known to lie in 90 to 90 m' in made['protocol']
    registration = rows['registration']
    assert registration['places'] == 4 and registration['recall_5m'] >= 0.75
    assert registration['share_fix'] <= 0.75  # the picture of nothing is none
    assert registration['heading_median_deg'] < 5.0 and registration['nll_nats'] > 0
    assert rows['policy exact']['heading_median_deg'] is None
    assert all(row['ms_per_query'] > 0 and row['map_megabytes'] > 0 for row in made['rows'])
    header = next(line for line in text.splitlines() if line.startswith('| method'))
    assert [word.strip() for word in header.strip('|').split('|')] == [
        'method', 'R@5m', 'R@10m', 'R@25m', 'R@40m', 'R@50m', 'median', 'heading', 'fixes', 'NLL',
        'ms', 'MB',
    ]  # fmt: skip


@pytest.mark.slow
def test_sift_counts_what_it_cannot_place_as_wrong(town, flight, capsys):
    assert compared(town, flight, 'sift', '--json') == 0
    (row,) = json.loads(capsys.readouterr().out)['rows']
    baseline, errors_m = SiftBaseline(town), []
    for image in read_images(flight):
        found = baseline.match(image.load(), FOOTPRINT_M)
        truth_m = town.region.to_enu(image.latitude, image.longitude)
        place_m = (np.inf, np.inf) if found is None else (found.east_m, found.north_m)
        errors_m.append(np.hypot(place_m[0] - truth_m[0], place_m[1] - truth_m[1]))
    assert np.isinf(errors_m[3])
    for radius_m in (5, 25, 50):
        assert row[f'recall_{radius_m}m'] == np.mean(np.array(errors_m) <= radius_m)
    assert row['share_fix'] == np.mean(np.isfinite(errors_m))
    middle = sorted(errors_m)[2]  # of four the later one, so that a guess must be in most of them
    assert row['median_m'] == (None if np.isinf(middle) else pytest.approx(middle, abs=0.05))
    assert row['nll_nats'] is None


@pytest.mark.parametrize(
    ('methods', 'says'),
    [
        (['zoom+registration'], 'NAME=FILE'),
        (['policy'], 'NAME=FILE'),
        (['sift', 'sift'], 'each method once'),
        (['registration=nothing.safetensors'], 'nothing.safetensors'),
    ],
)
def test_methods_that_cannot_be_are_named(town, flight, capsys, methods, says):
    assert compared(town, flight, *methods) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_images_that_are_no_dataset_of_streets_need_a_map(flight, capsys):
    assert main(['compare', str(flight), 'registration']) == 2
    assert '--map' in capsys.readouterr().err
