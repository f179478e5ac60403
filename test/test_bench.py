"""Measurements: what is counted, not how fast this machine is."""

import json
import mmap
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import make_map, make_weights

from justzoom_ros.bench import memory, node, parts, soak, soak_flight, view
from justzoom_ros.bench.inputs import CITY, picture, random_maps, sharpen, small_policy
from justzoom_ros.bench.timing import ratio, time_in_turns
from justzoom_ros.cli import bench
from justzoom_ros.cli.main import main
from justzoom_ros.inference.tree_search import SearchConfig, search
from justzoom_ros.io.camera_effects import encode_jpeg


def test_things_take_turns_and_are_told_by_their_medians():
    clock, order = SimpleNamespace(now_s=0.0), []

    def thing(name, seconds):
        durations = iter([9.0, *seconds])

        def run():
            order.append(name)
            clock.now_s += next(durations)

        return run

    things = {'slow': thing('slow', [4.0, 2.0, 9.0]), 'fast': thing('fast', [1.0, 1.0, 5.0])}
    timings = time_in_turns(things, 3, lambda: clock.now_s, lambda: clock.now_s / 2)
    assert order == ['slow', 'fast'] * 4
    assert (timings['slow'].median_s, timings['fast'].median_s) == (4.0, 1.0)
    figures = timings['slow'].to_dict()
    assert (figures['median_ms'], figures['cpu_ms'], figures['runs']) == (4000.0, 2000.0, 3)
    # Of 4 / 1, 2 / 1 and 9 / 5, turn by turn.
    assert ratio(timings, 'slow', 'fast') == 2.0


@pytest.mark.slow
def test_every_part_of_a_frame_is_measured():
    measured = parts.measure_inputs(runs=1)
    assert {figures['runs'] for figures in measured['times'].values()} == {1}
    assert {'belief: predict', 'belief: update', 'fix'} <= set(measured['times'])


@pytest.fixture(scope='module')
def sure():
    """(policy, maps, ground) of the small size, its first step of one nat."""
    policy = small_policy()
    maps, ground = random_maps(policy), torch.randn(policy.width)
    return sharpen(policy, maps, ground), maps, ground


@torch.inference_mode()
def test_invented_decoders_are_as_sure_as_trained_ones(sure):
    policy, maps, ground = sure
    logits, _ = policy.start(ground[None], maps.at(0, np.zeros(1, np.int64)))
    chances = logits[0].double().softmax(-1)
    assert float(-(chances * chances.log()).sum()) == pytest.approx(1.0, abs=1e-3)


@torch.inference_mode()
def test_best_first_keeps_what_it_promises_over_the_published_city(sure):
    found = search(*sure, SearchConfig('best_first', unexplored=parts.ENOUGH))
    assert found.region is CITY
    assert found.explored_mass >= 1 - parts.ENOUGH
    assert (found.levels == CITY.depth).sum() < 0.2 * CITY.branching**CITY.depth


def test_the_camera_image_takes_as_many_bytes_as_a_photograph():
    frame = encode_jpeg(picture())
    assert 1.0 < 8 * len(frame) / (720 * 1280) < 1.8


def test_stages_are_medians_over_what_diagnostics_told():
    def told(seconds):
        return {f'{stage} (s)': str(seconds) for stage in node.STAGES}

    silent = {f'{stage} (s)': '' for stage in node.STAGES}
    stages = node._stages_ms([silent, told(0.004), told(0.002), told(0.009)])
    assert stages == pytest.approx(dict.fromkeys(node.STAGES, 4.0))


def test_resident_memory_is_that_of_the_process():
    before = memory.resident_mb()
    # Of the system, not of what tests before gave back to the heap.
    kept = np.frombuffer(mmap.mmap(-1, 50_000_000), np.uint8)
    kept.fill(1)
    assert memory.resident_mb() - before == pytest.approx(kept.nbytes / 2**20, abs=5)


def test_each_part_is_measured_at_each_of_its_sizes(monkeypatch, tmp_path, capsys):
    asked = []

    def measure(part, size, args, out):
        asked.append((part, size))
        return {'frames': args.frames}

    monkeypatch.setattr(bench, '_measure', measure)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    arguments = ['bench', '--json', '--frames', '20', '-o', str(tmp_path)]
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / 'bench.json').read_text())
    assert list(printed) == [
        'machine',
        *(part for part in bench.PARTS if part not in ('gpu', 'soak')),
    ]
    assert printed['searches'] == {'small': {'frames': 20}, 'base': {'frames': 20}}
    assert printed['node'] == {'frames': 20}
    machine = {'date', 'processor', 'cores', 'load', 'torch', 'threads', 'gpu'}
    assert machine == set(printed['machine'])
    asked.clear()
    assert main([*arguments, 'node', 'searches', '--size', 'small']) == 0
    assert asked == [('node', ''), ('searches', 'small')]


def test_measuring_a_gpu_that_is_not_there_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert main(['bench', 'gpu', '-o', str(tmp_path)]) == 2
    assert 'torch finds no CUDA device' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'problem'), [(['speed'], 'speed is no part'), (['--frames', '3'], '--frames')]
)
def test_wrong_wishes_are_named(arguments, problem, tmp_path, capsys):
    assert main(['bench', '-o', str(tmp_path), *arguments]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.ros
@pytest.mark.slow
def test_browsers_on_the_live_page_are_measured_beside_nobody(tmp_path, monkeypatch):
    """A short form of `justzoom bench browsers`: how much they cost is for a quiet machine."""
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    for name, value in {'TURNS': 1, 'TURN_S': 2.0, 'BROWSERS': 3}.items():
        monkeypatch.setattr(view, name, value)
    satellite_map = make_map(tmp_path)
    weights = make_weights(tmp_path, satellite_map)
    found = view.measure_browsers(tmp_path, satellite_map.path, weights)
    assert found['frames']['sent'] == 20 and found['frames']['shown per browser'] >= 1
    for who in ('nobody', 'browsers'):
        assert found[who]['latency 95 % ms'] >= found[who]['latency median ms'] > 0
        assert 0 < found[who]['processor ms per frame'] < 1000


@pytest.mark.ros
@pytest.mark.slow
def test_a_node_goes_on_whatever_goes_wrong(tmp_path, monkeypatch):
    """A short form of `justzoom bench soak`: events come one after the other."""
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    monkeypatch.setattr(soak, 'EVERY_S', 0.4)
    monkeypatch.setattr(soak, 'LASTS', 4)
    monkeypatch.setattr(soak, 'STATE_S', 2.0)
    ground = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    monkeypatch.setattr(soak_flight, 'landscape', lambda day: ground)
    satellite_map = make_map(tmp_path)
    weights = make_weights(tmp_path, satellite_map)
    found = soak.measure_soak(tmp_path, satellite_map.path, weights, minutes=0.2, seed=3)
    assert all(found['events'][event]['times'] for event in soak.EVENTS), found['events']
    assert found['frames'] > 20 and found['answered'] and found['longest silence s'] < 10.0
    rows = list(found['minutes'].values())
    assert len(rows) > 2 and rows[-1]['resident MB'] < rows[0]['resident MB'] + 50
