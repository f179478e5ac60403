"""What may be promised of fixes, from replayed sequences to calibrated weights."""

import csv
import json

import numpy as np
import pytest
from tiny import make_map

from justzoom_ros import Region
from justzoom_ros.cli.main import main
from justzoom_ros.errors import ConfigError, DatasetError
from justzoom_ros.evaluation.promise import FixSequence, make_promise, read_sequence
from justzoom_ros.evaluation.replay_results import CSV_COLUMNS
from justzoom_ros.inference.calibration import Calibration, Promise
from justzoom_ros.registration.forward_network import ForwardNetwork
from justzoom_ros.registration.network import RegistrationNetwork

REGION = Region(latitude=48.0, longitude=11.0, side_m=640.0, grid=4, depth=3)
COVARIANCE = np.array([[9.0, 2.0], [2.0, 4.0]])


def sequence(rng, length=20, scale=1.0, false=0.0, confidence=0.999):
    """Errors of a normal distribution with `scale` times the covariance that is published."""
    off_m = np.sqrt(scale) * rng.multivariate_normal((0, 0), COVARIANCE, length)
    off_m[rng.uniform(size=length) < false] = 70.0, 0.0
    covariances = np.repeat(COVARIANCE[None], length, 0)
    return FixSequence(off_m, covariances, np.full(length, confidence), length)


def test_what_is_promised_of_true_covariances():
    rng = np.random.default_rng(2)
    made = make_promise([sequence(rng) for _ in range(300)], 'tracking', 'coins', 0.05, 0.05)
    assert (made.sequences, made.fixes, made.min_confidence) == (300, 6000, 0.8)
    assert 0.005 < made.false_share < 0.016
    # The radii of a normal error, and a little more.
    expected = {'0.5': 1.386, '0.9': 4.605, '0.95': 5.991, '0.99': 9.21}
    assert made.radii == pytest.approx(expected, rel=0.12)
    assert made.gross_sequences == 0 and made.gross_bound < 0.01


def test_the_gate_keeps_out_what_is_false():
    """Fixes of little confidence are false every third time; the gate is above them."""
    rng = np.random.default_rng(3)
    sequences = []
    for _ in range(200):
        sure, unsure = sequence(rng), sequence(rng, false=0.34, confidence=0.87)
        both = (
            np.concatenate([getattr(each, name) for each in (sure, unsure)])
            for name in ('off_m', 'covariance_m2', 'confidence')
        )
        sequences.append(FixSequence(*both, 40))
    made = make_promise(sequences, 'tracking', 'coins', 0.05, 0.05)
    assert made.min_confidence == 0.9 and made.fixes == 200 * 20


def test_claims_that_the_sequences_cannot_support_are_refused():
    rng = np.random.default_rng(4)
    few = [sequence(rng) for _ in range(58)]
    with pytest.raises(DatasetError, match=r'58 sequences .* it takes 59'):
        make_promise(few, 'tracking', 'coins', alpha=0.05, delta=0.05)
    bad = [sequence(rng, false=0.2) for _ in range(100)]
    with pytest.raises(DatasetError, match='cannot be promised'):
        make_promise(bad, 'tracking', 'coins', alpha=0.05, delta=0.05)
    with pytest.raises(ConfigError, match='alpha'):
        make_promise(few, 'tracking', 'coins', alpha=1.5)
    # 60 sequences say nothing of one in a hundred.
    made = make_promise([sequence(rng) for _ in range(60)], 'tracking', 'coins', 0.1, 0.05)
    assert set(made.radii) == {'0.5', '0.9', '0.95'}


def test_a_calibration_with_promises_survives_its_json():
    rng = np.random.default_rng(5)
    made = make_promise([sequence(rng) for _ in range(60)], 'tracking', 'coins', 0.1)
    calibration = Calibration(covariance_scale=0.3, promises=(made,))
    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    assert again.knows('tracking') and not again.knows('single')
    assert again == calibration and again.known and isinstance(again.promises[0], Promise)
    assert again.promise('tracking') == made and again.promise('single') is None
    assert '10.0% of fixes' in str(made) and 'coins' in str(made)


# --- files ---------------------------------------------------------------------------------------


def write_fixes(path, rng, frames=12, scale=0.25):
    """A `fixes.csv` of fixes whose errors have `scale` times the covariance that it says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, CSV_COLUMNS)
        writer.writeheader()
        for number in range(frames):
            truth = rng.uniform(-200, 200, 2)
            place = truth + rng.multivariate_normal((0, 0), scale * COVARIANCE)
            values = {
                'stamp_ns': number,
                'status': 'fix' if number else 'no_fix',
                'confidence': 0.97,
                **dict(zip(CSV_COLUMNS[6:9], COVARIANCE[[0, 0, 1], [0, 1, 1]], strict=True)),
            }
            values['latitude'], values['longitude'] = REGION.to_latlon(*place)
            values['truth_latitude'], values['truth_longitude'] = REGION.to_latlon(*truth)
            writer.writerow(values)
    return path


@pytest.mark.slow
def test_a_calibration_of_single_frames_leaves_that_of_tracking_alone(tmp_path, capsys):
    """Weights for cameras that look ahead, calibrated twice: the fit is of what was published."""
    rng = np.random.default_rng(9)
    files = [
        str(write_fixes(tmp_path / f'town_{n % 4}' / f'{n}' / 'fixes.csv', rng)) for n in range(80)
    ]
    out = tmp_path / 'calibrated.safetensors'
    command = ['calibrate', '--ahead', '--group', 'single', '--alpha', '0.1', '--json']
    command += ['-o', str(out), '--fixes', *files]
    assert main([*command, '--registration']) == 0
    capsys.readouterr()
    assert main([*command, '--cross', '--registration', str(out)]) == 0
    said = json.loads(capsys.readouterr().out)
    kept = Calibration.from_dict(ForwardNetwork.load(out).card['calibration'])
    assert kept.single_scale == said['single_scale'] == pytest.approx(0.25**2, rel=0.3)
    assert said['crossed']['places'] == 4
    assert said['crossed']['anees'][0] == pytest.approx(1.0, abs=0.1)
    assert (kept.covariance_scale, kept.covariance_floor_m) == (1.0, 0.0)
    assert [each.group for each in kept.promises] == ['single']


@pytest.mark.slow
def test_a_table_of_fixes_is_read_with_the_error_by_the_geodesic(tmp_path):
    rng = np.random.default_rng(6)
    found = read_sequence(write_fixes(tmp_path / 'fixes.csv', rng, frames=4000))
    assert (found.frames, len(found.squared)) == (4000, 3999)
    assert found.squared.mean() / 2 == pytest.approx(0.25, rel=0.05)
    longest = np.linalg.eigvalsh(COVARIANCE)[1]
    assert found.place == str(tmp_path.parent)
    assert found.radius_90_m[0] == pytest.approx(np.sqrt(4.605 * longest), rel=1e-3)
    (tmp_path / 'other.csv').write_text('a,b\n1,2\n')
    with pytest.raises(DatasetError, match='no true positions'):
        read_sequence(tmp_path / 'other.csv')


def test_a_map_is_aligned_by_tables_of_fixes(tmp_path, capsys):
    map = make_map(tmp_path, REGION)
    table = write_fixes(tmp_path / 'fixes.csv', np.random.default_rng(8), frames=60)
    command = ['map', 'align', str(map.path), '--json']
    assert main([*command, '--fixes', str(table)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert np.hypot(found['east_m'], found['north_m']) < 1.0 and found['fitting'] == 59
    assert main(command) == 2
    assert '--bag or --fixes' in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_writes_weights_that_hold_the_promise(tmp_path, capsys):
    rng = np.random.default_rng(7)
    files = [str(write_fixes(tmp_path / f'{n}' / 'fixes.csv', rng)) for n in range(80)]
    out = tmp_path / 'calibrated.safetensors'
    command = ['calibrate', '--registration', '--fixes', *files, '-o', str(out)]
    assert main([*command, '--alpha', '0.1', '--fitted-on', 'coins', '--json']) == 0
    said = json.loads(capsys.readouterr().out)
    assert said['covariance_scale'] == pytest.approx(0.25, rel=0.25)
    assert said['covariance_floor_m'] == 0
    network = RegistrationNetwork.load(out)
    kept = Calibration.from_dict(network.card['calibration'])
    assert kept.promises[0].fitted_on == 'coins' and kept.promises[0].sequences == 60
    assert network.card.keys() >= RegistrationNetwork.shipped().card.keys()
    assert main([*command, '--alpha', '0.01']) == 2
    assert 'it takes 299' in capsys.readouterr().err
    assert main(['calibrate', '--fixes', *files, '-o', str(out)]) == 2
    assert '--registration' in capsys.readouterr().err
