"""The temperature against logits whose true temperature is known."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from quick import quick_first
from tiny import REGION, make_map, make_weights

from justzoom_ros.cli.main import main
from justzoom_ros.evaluation.sequence_calibration import ExponentFit
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.localizer import Localizer
from justzoom_ros.training.temperature import fit_temperature, logits_along


@pytest.mark.slow
@pytest.mark.parametrize('truth', [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_actions_is_found(truth):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4000, 2, 16, generator=generator)
    chances = (logits / truth).softmax(-1).flatten(0, 1)
    actions = torch.multinomial(chances, 1, generator=generator).view(4000, 2)
    calibration = fit_temperature(logits, actions, 'views')
    assert calibration.temperature == pytest.approx(truth, rel=0.06)
    assert calibration.temperature_nll_after <= calibration.temperature_nll_before
    assert (calibration.source, calibration.temperature_samples) == ('views', 4000)


@pytest.fixture
def photographed(tmp_path):
    """A tiny map, weights for it, and a CSV of three pictures with positions."""
    satellite_map = make_map(tmp_path)
    rng, rows = np.random.default_rng(0), ['file,lat,lon']
    for number in range(3):
        pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'{number}.png')
        lat, lon = REGION.to_latlon(*rng.uniform(-120, 120, 2))
        rows.append(f'{number}.png,{lat},{lon}')
    (tmp_path / 'images.csv').write_text('\n'.join(rows))
    return satellite_map, make_weights(tmp_path, satellite_map), tmp_path / 'images.csv'


def test_logits_along_the_true_actions_give_the_mass_of_the_true_cell(photographed):
    from justzoom_ros.io.datasets import read_images

    satellite_map, weights, table = photographed
    localizer = Localizer.open(satellite_map.path, weights, progress=False)
    images = read_images(table)
    logits, actions = logits_along(localizer, images)
    for image, steps, path in zip(images, logits, actions, strict=True):
        posterior = localizer.posterior(image.load())
        mass = float(steps.softmax(-1).gather(-1, path[:, None]).prod())
        leaf = posterior.leaf_at(*REGION.to_enu(image.latitude, image.longitude))
        assert mass == pytest.approx(float(posterior.masses[leaf]), rel=1e-4, abs=1e-9)


def test_calibrated_weights_are_used_and_known_to_be(photographed, tmp_path, capsys):
    satellite_map, weights, table = photographed
    out = tmp_path / 'calibrated.safetensors'
    arguments = ['--map', str(satellite_map.path), '--weights', str(weights), '-o', str(out)]
    assert main(['calibrate', *arguments, '--images', str(table), '--json']) == 0
    answer = json.loads(capsys.readouterr().out)
    before = Localizer.open(satellite_map.path, weights, progress=False)
    after = Localizer.open(satellite_map.path, out, progress=False)
    assert (before.calibrated, after.calibrated) == (False, True)
    # Random weights scaled to be sure are wrong: being right asks for a high temperature.
    assert (
        answer['temperature'] > 1.5
        and answer['temperature_nll_after'] < answer['temperature_nll_before']
    )
    pixels = np.random.default_rng(5).integers(0, 256, (40, 60, 3), np.uint8)
    assert after.posterior(pixels).entropy_nats > before.posterior(pixels).entropy_nats


@pytest.mark.parametrize('after', quick_first(1, [2.01, float('nan'), float('inf')]))
@pytest.mark.parametrize('part', ['temperature', 'exponent'])
def test_a_fit_that_made_it_worse_is_refused_and_nothing_is_written(
    photographed, tmp_path, monkeypatch, capsys, part, after
):
    """The fits stand in for optimizers that went astray: those that are there do not."""
    satellite_map, weights, table = photographed
    temperature = Calibration(temperature=3.0, temperature_nll_before=2.0)
    exponent = ExponentFit(0.1, 4, 40, nll_before=2.0, nll_after=2.0)
    if part == 'temperature':
        temperature = replace(temperature, temperature_nll_after=after)
    else:
        temperature = replace(temperature, temperature_nll_after=2.0)
        exponent = replace(exponent, nll_after=after)
    monkeypatch.setattr(
        'justzoom_ros.training.temperature.fit_temperature', lambda *_: temperature
    )
    monkeypatch.setattr('justzoom_ros.cli.calibrate._motion', lambda *_: (exponent, 1.0, 4))
    arguments = ['--map', str(satellite_map.path), '--weights', str(weights)]
    arguments += ['--images', str(table), '--sequence', '-o', str(tmp_path / 'out.safetensors')]
    assert main(['calibrate', *arguments]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert f'the {part} did not get better' in said and 'nothing is written' in said
    assert not (tmp_path / 'out.safetensors').exists()


@pytest.mark.slow
def test_a_report_is_drawn_of_the_images(photographed, tmp_path):
    satellite_map, weights, table = photographed
    out, report = tmp_path / 'calibrated.safetensors', tmp_path / 'report.png'
    arguments = ['--map', str(satellite_map.path), '--weights', str(weights), '-o', str(out)]
    arguments += ['--images', str(table), '--report', str(report)]
    assert main(['calibrate', *arguments]) == 0
    with Image.open(report) as picture:
        assert picture.format == 'PNG'
    page = report.with_suffix('.html')
    assert main(['calibrate', *arguments[:-1], str(page)]) == 0
    assert 'Reliability' in page.read_text()


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        ('--bags flight --sequence', '--sequence is made of the images; give --images'),
        ('--bags flight --report report.png', '--report is made of the images; give --images'),
        ('--images images.csv --report map', 'map cannot be written: it is a folder'),
        ('--images images.csv -o map', 'map cannot be written: it is a folder'),
    ],
)
def test_what_a_report_or_a_sequence_lacks_is_said_first(
    photographed, tmp_path, monkeypatch, capsys, options, says
):
    satellite_map, weights, _ = photographed
    monkeypatch.chdir(tmp_path)
    arguments = ['--map', str(satellite_map.path), '--weights', str(weights), '-o', 'out.st']
    assert main(['calibrate', *arguments, *options.split()]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith('justzoom: error: ') and says in said[0]
    assert not (tmp_path / 'out.st').exists() and not (tmp_path / 'report.png').exists()


def test_a_report_without_matplotlib_is_refused_before_weights_are_written(
    photographed, tmp_path, monkeypatch, capsys
):
    satellite_map, weights, table = photographed
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    out = tmp_path / 'out.safetensors'
    arguments = ['--map', str(satellite_map.path), '--weights', str(weights), '-o', str(out)]
    report = ['--images', str(table), '--report', str(tmp_path / 'report.png')]
    assert main(['calibrate', *arguments, *report]) == 2
    assert 'need matplotlib' in capsys.readouterr().err
    assert not out.exists()
