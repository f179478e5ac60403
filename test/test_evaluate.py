"""Evaluation against its own definition: truths are put where the outcome is known, figures are
counted again from the table, distances come from pyproj's geodesic."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from pyproj import Geod
from tiny import REGION, make_map, make_weights

from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError, OutsideRegionError
from justzoom_ros.evaluation.evaluate import evaluate, inside
from justzoom_ros.evaluation.evaluate_figures import summarize
from justzoom_ros.inference.tree_search import SearchConfig
from justzoom_ros.io.datasets import GeoImage, read_images
from justzoom_ros.localizer import Localizer

SEARCHES = ('greedy', 'beam', 'exact')
OFF_M = (0, 0, 0, 30, 45, 70)
"""How far east of the localizer's own answer each image's true position is put."""


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('evaluate')
    map = make_map(folder)
    make_weights(folder, map)
    return folder


@pytest.fixture(scope='module')
def localizer(files):
    return Localizer.open(map=files / 'map', weights=files / 'weights.safetensors')


@pytest.fixture(scope='module')
def dataset(files, localizer):
    """A CSV of images whose truths lie OFF_M from the best cell of the exact posterior."""
    rows = []
    for i, off_m in enumerate(OFF_M):
        pixels = np.random.default_rng(i).integers(0, 256, (24, 24, 3), np.uint8)
        pixels[:, :, i % 3] //= 8
        Image.fromarray(pixels).save(files / f'{i}.png')
        best = localizer.posterior(pixels).best_cell
        toward_centre = off_m if best.east_m < 0 else -off_m
        lat, lon = REGION.to_latlon(best.east_m + toward_centre, best.north_m)
        rows.append((f'{i}.png', repr(lat), repr(lon)))
    path = files / 'images.csv'
    with path.open('w', newline='') as file:
        csv.writer(file).writerows([('file', 'lat', 'lon'), *rows])
    return path


@pytest.fixture(scope='module')
def results(localizer, dataset):
    return evaluate(localizer, read_images(dataset), SEARCHES)


def test_hits_and_masses_of_the_exact_posterior(localizer, results):
    for result, off_m in zip(results['exact'], OFF_M, strict=True):
        assert result.cell_hit == (off_m == 0)
        masses = localizer.posterior(result.image.load()).to_grid()
        side = REGION.terminal_side_m
        row = int((REGION.side_m / 2 - result.truth_m[1]) // side)
        column = int((REGION.side_m / 2 + result.truth_m[0]) // side)
        assert result.truth_mass == pytest.approx(masses[row, column], rel=1e-9)
        fix_row = int((REGION.side_m / 2 - result.fix_m[1]) // side)
        fix_column = int((REGION.side_m / 2 + result.fix_m[0]) // side)
        assert result.fix_cell_hit == ((fix_row, fix_column) == (row, column))
        # The smallest region: cells in descending order until the mass is reached.
        before = masses[masses > masses[row, column]].sum()
        assert result.held[0.9] == (before < 0.9)


def test_one_encoding_serves_all_searches(localizer, results):
    for name in SEARCHES:
        for result in results[name]:
            alone = localizer.posterior(result.image.load(), SearchConfig(method=name))
            assert result.mass_near == pytest.approx(alone.mass_within(*result.guess_m, 50.0))


def test_the_guess_is_the_terminal_cell_of_most_mass(localizer, results):
    for name in SEARCHES:
        for result in results[name]:
            posterior = localizer.posterior(result.image.load(), SearchConfig(method=name))
            row, column = np.argwhere(posterior.to_grid() == posterior.masses.max())[0]
            side, half = REGION.terminal_side_m, REGION.side_m / 2
            centre = (column + 0.5) * side - half, half - (row + 0.5) * side
            assert result.guess_m == pytest.approx(centre)


def test_images_outside_are_named_or_left_out(localizer, dataset):
    images = read_images(dataset)
    far = GeoImage('far', images[0].path, 53.0, 13.4, None, 'images.csv row 9')
    with pytest.raises(OutsideRegionError, match=r'images.csv row 9: far .*\(1 of 7 are\)'):
        evaluate(localizer, [*images, far])
    assert inside([far, *images], REGION, skip_outside=True) == images


def test_unknown_search(localizer, dataset):
    with pytest.raises(ConfigError, match='search is'):
        evaluate(localizer, read_images(dataset), ['deep'])


def test_no_images_have_no_figures():
    figures = summarize([])
    assert figures['images'] == 0 and figures['recall_40m'] is None


# --- command -----------------------------------------------------------------------------------


def run(files, dataset, *more):
    paths = ['--map', files / 'map', '--weights', files / 'weights.safetensors']
    return main(['evaluate', *map(str, paths), '--images', str(dataset), *map(str, more)])


@pytest.mark.slow
def test_command_writes_what_it_prints(files, dataset, tmp_path, capsys):
    assert run(files, dataset, '-o', tmp_path / 'out', '--json', '--frames', 2) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / 'out' / 'summary.json').read_text())
    assert printed['protocol'].startswith('full grid: 256 cells of 16 m, 6 images')
    assert list(printed['searches']) == list(SEARCHES)
    assert printed['searches']['exact']['recall_cell'] == 0.5

    written = ['errors.png', 'frames.png', 'per_image.csv', 'report.html', 'summary.json']
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == written
    with (tmp_path / 'out' / 'per_image.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * len(OFF_M)
    for name, figures in printed['searches'].items():
        mine = [row for row in rows if row['search'] == name]
        errors = sorted(float(row['guess_error_m']) for row in mine)
        for radius in (10, 25, 40, 50, 100):
            assert figures[f'recall_{radius}m'] == sum(e <= radius for e in errors) / 6
        assert figures['median_m'] == pytest.approx((errors[2] + errors[3]) / 2)
        held = [row['truth_in_90_region'] == 'True' for row in mine]
        assert figures['coverage_90'] == sum(held) / 6
        assert figures['share_fix'] == sum(row['status'] == 'fix' for row in mine) / 6


@pytest.mark.slow
def test_distances_in_the_table_are_geodesic(files, dataset, tmp_path):
    run(files, dataset, '-o', tmp_path)
    with (tmp_path / 'per_image.csv').open() as file:
        for row in csv.DictReader(file):
            truth = float(row['truth_longitude']), float(row['truth_latitude'])
            for prefix in ('', 'guess_'):
                place = float(row[f'{prefix}longitude']), float(row[f'{prefix}latitude'])
                _, _, metres = Geod(ellps='WGS84').inv(*truth, *place)
                assert float(row[f'{prefix}error_m']) == pytest.approx(metres, rel=1e-4, abs=1e-6)


def test_command_prints_a_table(files, dataset, capsys):
    assert run(files, dataset, '--search', 'greedy', 'best_first') == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('full grid') and 'R@40m' in lines[1]
    assert [line.split()[0] for line in lines[2::2]] == ['greedy', 'best_first']


def test_command_and_images_outside(files, dataset, tmp_path, capsys):
    header, *rows = dataset.read_text().splitlines()
    rows = [f'{files}/{row}' for row in [*rows[:5], '5.png,10,10']]
    more = tmp_path / 'more.csv'
    more.write_text('\n'.join([header, *rows]))
    assert run(files, more) == 2
    assert 'more.csv row 7' in capsys.readouterr().err
    assert run(files, more, '--skip-outside', '--json') == 0
    out, err = capsys.readouterr()
    assert json.loads(out)['skipped_outside'] == 1 and '1 images outside left out' in err


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        ({'--map': 'nothing'}, 'nothing'),
        ({'--weights': 'nothing.safetensors'}, 'nothing.safetensors'),
        ({'--images': 'nothing.csv'}, 'nothing.csv does not exist'),
        ({'--select': 'role=query'}, "no column 'role'"),
        ({'--runtime': 'abacus'}, 'abacus'),
        ({'-o': 'a-file/out'}, 'cannot be written'),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(
    files, dataset, tmp_path, monkeypatch, capsys, change, says
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a-file').touch()
    options = {
        '--map': str(files / 'map'),
        '--weights': str(files / 'weights.safetensors'),
        '--images': str(dataset),
        **change,
    }
    assert main(['evaluate', *(word for pair in options.items() for word in pair)]) == 2
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert out == '' and last.startswith('justzoom: error: ') and says in last
    assert 'Traceback' not in err and [p.name for p in tmp_path.iterdir()] == ['a-file']
