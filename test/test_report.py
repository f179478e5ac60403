"""Ellipses against their definition; pictures by the colours found where they must be."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageColor
from tiny import REGION, make_map

import justzoom_ros
from justzoom_ros.cli.main import main
from justzoom_ros.errors import OutputError, RuntimeUnavailableError
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.plots.calibration import draw_reliability
from justzoom_ros.plots.comparison import draw_recalls
from justzoom_ros.plots.figures import STATUS_COLOURS, Mark, ellipse
from justzoom_ros.plots.fixes import Panel, draw_errors, draw_frames, draw_track
from justzoom_ros.plots.learning_curves import draw_curves
from justzoom_ros.plots.map_picture import draw_map
from justzoom_ros.plots.motion import draw_errors_over_distance


@pytest.fixture(scope='module')
def map(tmp_path_factory):
    return make_map(tmp_path_factory.mktemp('report'))


def pixels_of(path, colour):
    """Places (N, 2), x and y from the top left as shares, where a picture has a colour."""
    picture = np.asarray(Image.open(path).convert('RGB')).astype(int)
    off = np.abs(picture - ImageColor.getrgb(colour)).max(axis=2)
    y, x = np.nonzero(off < 12)
    return np.stack([x / picture.shape[1], y / picture.shape[0]], axis=1)


# --- ellipses ----------------------------------------------------------------------------------


@given(st.floats(0.1, 200), st.floats(0.1, 200), st.floats(-np.pi, np.pi), st.floats(0.05, 0.99))
def test_ellipse_is_a_level_line_of_the_normal_distribution(long_m, short_m, angle, mass):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    covariance = turn @ np.diag([long_m**2, short_m**2]) @ turn.T
    ring = ellipse((5, -7), covariance, mass)
    off = ring - (5, -7)
    squared = np.einsum('ni,ij,nj->n', off, np.linalg.inv(covariance), off)
    assert squared == pytest.approx(np.full(65, -2 * np.log(1 - mass)), rel=1e-6)
    assert (ring[0] == ring[-1]).all()
    x, y = ring.T
    signed_area = np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2
    by_formula = np.pi * -2 * np.log(1 - mass) * long_m * short_m
    assert signed_area == pytest.approx(by_formula, rel=0.01)  # positive: counter-clockwise


def test_ellipse_holds_its_mass():
    covariance = np.array([[900, 500], [500, 400]])
    samples = np.random.default_rng(0).multivariate_normal((0, 0), covariance, 20_000)
    ring = ellipse((0, 0), covariance, 0.9, points=400)
    angle = np.unwrap(np.arctan2(ring[:, 1], ring[:, 0]))
    reach = np.hypot(*ring.T)
    around = (np.arctan2(samples[:, 1], samples[:, 0]) - angle[0]) % (2 * np.pi) + angle[0]
    inside = np.hypot(*samples.T) <= np.interp(around, angle, reach)
    assert inside.mean() == pytest.approx(0.9, abs=0.01)


# --- pictures ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_track_shows_fixes_where_they_are(map, tmp_path):
    round_10m = np.eye(2) * 100.0
    marks = [
        Mark((-64.0, 64.0), round_10m, 'fix', (-60.0, 60.0)),
        Mark((-64.0, 60.0), round_10m, 'fix', (-60.0, 64.0)),
    ]
    draw_track(map, marks, tmp_path / 'a.png', 'title')
    places = pixels_of(tmp_path / 'a.png', STATUS_COLOURS['fix'])
    dots = places[(places[:, 0] < 0.5) | (places[:, 1] > 0.3)]  # without the legend
    # A quarter from the left; a quarter from the top of the map, which is below the title.
    assert np.median(dots[:, 0]) == pytest.approx(0.25, abs=0.03)
    assert np.median(dots[:, 1]) == pytest.approx(0.28, abs=0.04)


@pytest.mark.slow
def test_track_without_truth_and_without_fixes(map, tmp_path):
    draw_track(map, [], tmp_path / 'empty.png')
    unsure = Mark((0.0, 0.0), np.eye(2) * 1e4, 'no_fix')
    draw_track(map, [unsure], tmp_path / 'unsure.png', truths_m=np.array([[0, 0], [90, 90]]))
    count = {
        name: len(pixels_of(tmp_path / f'{name}.png', STATUS_COLOURS['no_fix']))
        for name in ('empty', 'unsure')
    }
    assert count['unsure'] > count['empty'] > 0  # the legend has one too


@pytest.mark.slow
def test_errors_and_frames(map, tmp_path):
    draw_errors({'exact': [3, 20, 500], 'greedy': []}, tmp_path / 'errors.png', 'errors')
    indices = np.arange(REGION.branching**2)
    masses = np.full(len(indices), 1 / len(indices))
    masses = CellPosterior(REGION, np.full(len(indices), 2), indices, masses).to_grid()
    image = np.full((60, 80, 3), (10, 200, 30), np.uint8)
    mark = Mark((0.0, 0.0), np.eye(2) * 400, 'fix', (20.0, 20.0))
    panels = [Panel(f'frame {i}', image, masses, mark) for i in range(3)]
    draw_frames(map, panels, tmp_path / 'frames.png')
    places = pixels_of(tmp_path / 'frames.png', '#0ac81e')
    assert len(np.unique(np.floor(places * 2), axis=0)) == 3  # three quarters of the sheet
    assert sorted(p.name for p in tmp_path.iterdir()) == ['errors.png', 'frames.png']


@pytest.mark.parametrize('module', ['matplotlib', 'matplotlib.figure'])
def test_every_picture_names_a_missing_matplotlib(map, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    for draw in (
        lambda path: draw_track(map, [], path),
        lambda path: draw_errors({'exact': [1.0]}, path),
        lambda path: draw_frames(map, [], path),
        lambda path: draw_map(map, path),
        lambda path: draw_curves({}, path),
        lambda path: draw_recalls({}, path),
        lambda path: draw_reliability({}, path),
        lambda path: draw_errors_over_distance([0], [1], [1], [True], path),
    ):
        with pytest.raises(RuntimeUnavailableError, match='need matplotlib'):
            draw(tmp_path / 'a.png')
    assert not any(tmp_path.iterdir())


def test_only_plots_imports_matplotlib_and_only_when_drawing():
    package = Path(justzoom_ros.__file__).parent
    for path in package.rglob('*.py'):
        for indent in re.findall(r'^( *)(?:import|from) matplotlib', path.read_text(), re.M):
            assert path.parent.name == 'plots' and indent, path


def test_commands_that_end_in_a_picture_say_at_once_that_matplotlib_is_missing(
    map, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    place, out = str(map.path), str(tmp_path / 'out')
    for arguments in (
        ['map', 'show', place, '-o', out],
        ['train', '--map', place, '-o', out],
        ['replay', 'bag', '--map', place, '--weights', 'w.safetensors', '-o', out],
        ['evaluate', '--map', place, '--weights', 'w', '--images', 'i.csv', '-o', out],
        ['compare', place, 'a=w.safetensors', '--curves', out],
    ):
        assert main(arguments) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith('justzoom: error: pictures need matplotlib'), arguments
        assert not any(tmp_path.rglob('*.*'))


def test_a_picture_that_cannot_be_written(map, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(OutputError, match='a.png cannot be written'):
        draw_track(map, [], tmp_path / 'file' / 'a.png')
