"""Map embeddings on disk: the same bytes however they are made, not believed when damaged."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from quick import quick_first
from safetensors.torch import load_file, save_file
from tiny import make_map, make_weights, tiny_policy_config

from justzoom_ros import Localizer, Region, SatelliteMap, ZoomPolicy
from justzoom_ros.bench.embeddings import measure_opening
from justzoom_ros.cli.main import main
from justzoom_ros.embeddings import cache, embedding_file, map_embeddings
from justzoom_ros.embeddings.cell_embeddings import encode_map, make_embeddings
from justzoom_ros.embeddings.parts import Shard
from justzoom_ros.errors import WeightsError
from justzoom_ros.inference.preprocess import normalize
from justzoom_ros.inference.tree_search import SearchConfig
from justzoom_ros.runtimes import open_runtime
from justzoom_ros.runtimes.parity import pictures

REPO = Path(__file__).resolve().parents[1]
CELLS, BATCHES = 1 + 16 + 256, 5
ROUNDING = 0.002
"""Total variation that half precision may make in a posterior."""


@pytest.fixture(scope='module')
def original(tmp_path_factory):
    """A map and weights that look ahead, so that several batches are encoded; and the bytes that
    one process makes of them without a pause."""
    folder = tmp_path_factory.mktemp('embeddings')
    satellite_map = make_map(folder)
    torch.manual_seed(5)
    policy = ZoomPolicy(replace(tiny_policy_config(satellite_map), look_ahead=True))
    policy.save(folder / 'w.safetensors')
    made = make_embeddings(satellite_map, runtime_of(folder / 'w.safetensors'), progress=False)
    content = made.file.read_bytes()
    shutil.rmtree(made.file.parent)
    return satellite_map.path, folder / 'w.safetensors', content


@pytest.fixture
def town(original, tmp_path):
    """A copy of the map without embeddings, the weights, and the bytes to come."""
    path = Path(shutil.copytree(original[0], tmp_path / 'map'))
    return path, original[1], original[2]


@pytest.fixture(autouse=True)
def no_user_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, 'USER_CACHE', tmp_path / 'cache')


class Counting:
    """A runtime that counts the crops it encodes, and calls `before` before each batch."""

    def __init__(self, runtime, before=lambda batch: None):
        self._runtime, self._before, self.encoded, self._batch = runtime, before, 0, 0

    def __getattr__(self, name):
        return getattr(self._runtime, name)

    def encode_satellite(self, crops):
        self._before(self._batch)
        self.encoded, self._batch = self.encoded + len(crops), self._batch + 1
        return self._runtime.encode_satellite(crops)


def runtime_of(weights, before=lambda batch: None):
    return Counting(open_runtime(ZoomPolicy.load(weights), 'cpu'), before)


def kept(path):
    """The one file of embeddings below a map, and nothing else but what is known about it."""
    names = sorted(p.name for p in (path / 'embeddings').iterdir() if p.suffix != '.json')
    assert len(names) == 1 and names[0].endswith('.safetensors')
    return path / 'embeddings' / names[0]


def embed(town, *options):
    return main(['map', 'embed', str(town[0]), '--weights', str(town[1]), *options])


# --- what they are -------------------------------------------------------------------------------


def test_the_map_is_encoded_once(town):
    satellite_map = SatelliteMap.open(town[0])
    first, second = runtime_of(town[1]), runtime_of(town[1])
    made_now = map_embeddings(satellite_map, first, progress=False)
    read_back = map_embeddings(satellite_map, second, progress=False)
    assert (first.encoded, second.encoded) == (CELLS, 0)
    for one, other in zip(made_now.levels, read_back.levels, strict=True):
        assert torch.equal(one, other)
    assert kept(town[0]).read_bytes() == town[2]


@pytest.mark.slow
def test_they_are_those_of_the_crops_in_the_order_of_the_cell_index_and_of_their_children(town):
    satellite_map, runtime = SatelliteMap.open(town[0]), runtime_of(town[1])
    found = map_embeddings(satellite_map, runtime, progress=False)
    for actions in ((7,), (3, 9)):
        crop = normalize(satellite_map.crop(actions, 16)[None])
        alone = runtime.encode_satellite(crop)
        index = np.array([satellite_map.region.cell_index(actions)])
        close = {'atol': 2e-3, 'rtol': 1e-3}
        torch.testing.assert_close(found.at(len(actions), index), alone, **close)
        if len(actions) == 2:
            child = found.ahead(1, index // 16)[:, actions[-1]]
            torch.testing.assert_close(child, alone, **close)


def test_any_cells_come_in_single_precision_and_in_the_order_asked_for(town):
    found = map_embeddings(SatelliteMap.open(town[0]), runtime_of(town[1]), progress=False)
    for wanted in ([5, 6, 7], [7, 6, 5], [3], [3, 3, 9], []):
        indices = np.array(wanted, np.int64)
        rows = found.at(2, indices)
        assert rows.dtype == torch.float32
        assert torch.equal(rows, found.levels[2].float()[indices])
        assert found.ahead(1, indices).shape == (len(wanted), 16, 32)


@pytest.mark.slow
def test_half_precision_rounds_each_number_and_hardly_moves_a_posterior(tmp_path):
    """Of the weights that are shipped, on pictures known to none and on the map's own ground."""
    demo = Path(shutil.copytree(REPO / 'maps/demo', tmp_path / 'demo'))
    localizer = Localizer.open(demo, demo / 'weights.safetensors', 'cpu', progress=False)
    single = encode_map(localizer.map, localizer.zoom._runtime)
    half = localizer.zoom._embeddings
    for one, other in zip(single.levels, half.levels, strict=True):
        assert (one.dtype, other.dtype) == (torch.float32, torch.float16)
        bound = one.abs() * 2.0**-11 + 2.0**-25
        assert bool(((one - other.float()).abs() <= bound).all())
    assert localizer.zoom.map_bytes == 2 * localizer.zoom._runtime.width * sum(
        map(len, half.levels)
    )
    frames = [*pictures(3, 120, 160), *(localizer.map.crop((a,), 160)[20:140] for a in (5, 9))]
    for frame in frames:
        ground = localizer.require_zoom().embed(frame)
        for method in ('exact', 'beam', 'best_first'):
            config = SearchConfig(method)
            localizer.zoom._embeddings = single
            expected = localizer.posterior(ground, config)
            localizer.zoom._embeddings = half
            found = localizer.posterior(ground, config)
            assert variation(found, expected) < ROUNDING


def variation(one, other):
    """Total variation of two posteriors, as far as they have the same leaves."""
    masses = [
        dict(zip(zip(p.levels, p.indices, strict=True), p.masses, strict=True))
        for p in (one, other)
    ]
    leaves = set(masses[0]) | set(masses[1])
    return sum(abs(masses[0].get(leaf, 0.0) - masses[1].get(leaf, 0.0)) for leaf in leaves) / 2


def test_other_weights_or_another_map_are_encoded_anew(town, tmp_path):
    satellite_map = SatelliteMap.open(town[0])
    make_embeddings(satellite_map, runtime_of(town[1]), progress=False)
    (tmp_path / 'b').mkdir()
    for changed, cells in (
        ((satellite_map, make_weights(tmp_path / 'b', satellite_map, seed=9)), 17),
        ((make_map(tmp_path / 'b', Region(10.0, 20.0, 256.0, 4, 2)), town[1]), CELLS),
    ):
        runtime = runtime_of(changed[1])
        map_embeddings(changed[0], runtime, progress=False)
        assert runtime.encoded == cells


def test_numbers_beyond_half_precision_are_refused(town, tmp_path):
    policy = ZoomPolicy.load(town[1])
    with torch.no_grad():
        policy.encoder.norm.weight.mul_(1e6)
    policy.save(tmp_path / 'huge.safetensors')
    with pytest.raises(WeightsError, match='not finite in half precision'):
        make_embeddings(SatelliteMap.open(town[0]), runtime_of(tmp_path / 'huge.safetensors'))


# --- many processes, interruptions ---------------------------------------------------------------

KILLED = """
import os, signal, sys
from justzoom_ros.bench.embeddings import measure_opening
from justzoom_ros.cli.main import main
from justzoom_ros.embeddings import cell_embeddings
encode, batches = cell_embeddings.encode_cells, []
def until_killed(*arguments):
    batches.append(None)
    if len(batches) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(*arguments)
cell_embeddings.encode_cells = until_killed
main(sys.argv[1:])
"""


def run(town, *launcher):
    environment = {**os.environ, 'PYTHONPATH': str(REPO), 'OMP_NUM_THREADS': '1'}
    command = ['map', 'embed', str(town[0]), '--weights', str(town[1]), '--runtime', 'cpu']
    return subprocess.run(
        [sys.executable, *launcher, *command],
        capture_output=True, text=True, timeout=300, env=environment,
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_make_the_bytes_of_one(town):
    launcher = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    done = run(town, *launcher, '-m', 'justzoom_ros.cli.main')
    assert done.returncode == 0, done.stderr
    assert kept(town[0]).read_bytes() == town[2]
    assert f'of {CELLS} cells encoded now' in done.stdout


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_and_makes_the_same_bytes(town):
    assert run(town, '-c', KILLED).returncode == -signal.SIGKILL
    (part,) = (town[0] / 'embeddings').iterdir()
    assert part.suffix == '.part'
    with part.open('ab') as file:
        file.write(b'a record that was cut short')
    runtime = runtime_of(town[1])
    made = make_embeddings(SatelliteMap.open(town[0]), runtime, progress=False)
    assert runtime.encoded == made.encoded == CELLS - 3 * 64
    assert kept(town[0]).read_bytes() == town[2]


def test_shards_of_machines_that_share_no_disk_are_put_together(town, tmp_path, capsys):
    other = (Path(shutil.copytree(town[0], tmp_path / 'other')), town[1])
    assert embed(town, '--shard', '1/2') == 0
    assert 'shard 1/2: 128 of 273 cells' in capsys.readouterr().out
    assert embed(other, '--shard', '2/2', '--json') == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts['file'] is None and facts['encoded'] == CELLS - 128
    (part,) = facts['parts']
    shutil.copy(part, town[0] / 'embeddings')
    assert embed(town, '--json') == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts['encoded'] == 0 and facts['parts'] == []
    assert Path(facts['file']) == kept(town[0])
    assert kept(town[0]).read_bytes() == town[2]


def test_every_batch_belongs_to_one_shard():
    for count, of in ((5, 1), (5, 2), (1093, 8), (3, 8), (0, 3)):
        shares = [Shard(number, of).batches(count) for number in range(1, of + 1)]
        assert [batch for share in shares for batch in share] == list(range(count))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_another_process_that_finishes_first_disturbs_nobody(town):
    satellite_map = SatelliteMap.open(town[0])

    def finish_elsewhere(batch):
        if batch == 2:
            make_embeddings(satellite_map, runtime_of(town[1]), progress=False)

    make_embeddings(satellite_map, runtime_of(town[1], finish_elsewhere), progress=False)
    assert kept(town[0]).read_bytes() == town[2]


def test_batches_that_are_damaged_or_of_other_weights_are_made_again(town, tmp_path, caplog):
    satellite_map = SatelliteMap.open(town[0])
    make_embeddings(satellite_map, runtime_of(town[1]), Shard(1, 2), progress=False)
    (mine,) = (town[0] / 'embeddings').iterdir()
    damaged = bytearray(mine.read_bytes())
    damaged[100] ^= 1
    mine.write_bytes(damaged)
    policy = ZoomPolicy(replace(tiny_policy_config(satellite_map), look_ahead=True))
    policy.save(tmp_path / 'other.safetensors')
    runtime = runtime_of(tmp_path / 'other.safetensors')
    (foreign,) = make_embeddings(satellite_map, runtime, Shard(2, 2), progress=False).parts
    foreign.rename(mine.with_name(mine.name.replace('.part', 'x.part')))
    runtime = runtime_of(town[1])
    make_embeddings(satellite_map, runtime, progress=False)
    assert runtime.encoded == CELLS - 64
    assert 'x.part: 3 of 3 batches are damaged' in caplog.text
    assert f'{mine}: 1 of 2 batches are damaged' in caplog.text
    assert kept(town[0]).read_bytes() == town[2]


# --- files that cannot be used -------------------------------------------------------------------


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def as_single(path):
    save_file({'embeddings': load_file(path)['embeddings'].float()}, path)


def of_another(path):
    """As it is, but said to be of another map."""
    content = path.read_bytes()
    key = b'map\\": \\"'
    assert content.count(key) == 1
    at = content.index(key) + len(key)
    path.write_bytes(content[:at] + b'0' * 8 + content[at + 8 :])


DAMAGES = {
    'empty': (lambda path: path.write_bytes(b''), 'truncated or damaged'),
    'nonsense': (lambda path: path.write_bytes(b'nonsense' * 99), 'truncated or damaged'),
    'truncated': (lambda path: path.write_bytes(path.read_bytes()[:-40]), 'truncated or damaged'),
    'too long': (lambda path: path.write_bytes(path.read_bytes() + b'x'), 'truncated or damaged'),
    'a bit': (flip, 'damaged (checksum)'),
    'foreign': (as_single, 'not map embeddings as this version'),
    'of another map': (of_another, 'of another map or other weights'),
}


@pytest.mark.parametrize('damage', quick_first(3, DAMAGES))
def test_a_file_that_cannot_be_used_is_made_again_with_a_warning(town, damage, caplog):
    satellite_map = SatelliteMap.open(town[0])
    make_embeddings(satellite_map, runtime_of(town[1]), progress=False)
    spoil, reason = DAMAGES[damage]
    spoil(kept(town[0]))
    with caplog.at_level(logging.WARNING):
        map_embeddings(satellite_map, runtime_of(town[1]), progress=False)
    (record,) = caplog.records
    assert reason in record.message and str(kept(town[0])) in record.message
    assert kept(town[0]).read_bytes() == town[2]


def test_the_content_is_read_once_and_again_when_the_file_changed(town, monkeypatch):
    satellite_map, read = SatelliteMap.open(town[0]), []
    checksum = embedding_file.content_checksum
    make_embeddings(satellite_map, runtime_of(town[1]), progress=False)
    monkeypatch.setattr(
        embedding_file, 'content_checksum', lambda table: (read.append(1), checksum(table))[1]
    )
    file, opened = kept(town[0]), []
    for changed_s in (10, 10, 20):
        age(file, changed_s)
        make_embeddings(satellite_map, runtime_of(town[1]), progress=False)
        opened.append(len(read))
    assert opened == [1, 1, 2]


def age(file, seconds):
    """Make a file look as if it was last written so long before a fixed moment."""
    os.utime(file, (1_700_000_000 - seconds,) * 2)


def test_what_a_failing_disk_changed_is_found_by_check(town, capsys):
    assert embed(town) == 0
    file = kept(town[0])
    age(file, 0)
    assert embed(town) == 0  # the content is read and remembered
    assert embed(town, '--check') == 0
    flip(file)
    age(file, 0)
    capsys.readouterr()
    assert embed(town, '--check') == 2
    out, err = capsys.readouterr()
    assert out == '' and err.splitlines() == [
        f'justzoom: error: {file}: the map embeddings are damaged (checksum)'
    ]


def test_the_bench_opens_what_it_has_written(tmp_path):
    found = measure_opening(tmp_path, cells=1000, width=8)
    assert found['MB'] == 0.0 and set(found['times']) == {'open', 'check and open'}
    assert len(list(tmp_path.glob('*.json'))) == 1  # so that the content is not read again


# --- places and arguments ------------------------------------------------------------------------


def test_where_the_map_cannot_be_written_to_they_are_kept_for_the_user(
    town, tmp_path, monkeypatch, caplog
):
    (town[0] / 'embeddings').write_text('in the way')
    satellite_map = SatelliteMap.open(town[0])
    map_embeddings(satellite_map, runtime_of(town[1]), progress=False)
    (file,) = (tmp_path / 'cache').iterdir()
    assert file.read_bytes() == town[2] and not caplog.records
    monkeypatch.setattr(cache, 'USER_CACHE', town[0] / 'embeddings')
    found = map_embeddings(satellite_map, runtime_of(town[1]), progress=False)
    assert len(found.levels) == 3  # nowhere to keep them: it works all the same
    assert [r.message.split(':')[0] for r in caplog.records] == [
        'the map embeddings cannot be kept'
    ]


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        (['--shard', '3/2'], 'shard 3/2'),
        (['--shard', '0/2'], 'shard 0/2'),
        (['--shard', 'two'], "shard 'two'"),
        (['--check'], 'no map embeddings of these weights'),
        ([], 'cannot be kept'),
    ],
)
def test_wrong_input_is_one_line_and_status_2(town, options, named, monkeypatch, capsys):
    if not options:
        (town[0] / 'embeddings').write_text('in the way')
        monkeypatch.setattr(cache, 'USER_CACHE', town[0] / 'embeddings')
    assert embed(town, *options) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.replace('\r', '\n').splitlines() if 'cell/s' not in line]
    assert out == '' and len([line for line in lines if line.strip()]) == 1
    assert 'justzoom: error: ' in err and named in err


def test_shards_and_torchrun_do_not_mix(town, monkeypatch, capsys):
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert embed(town, '--shard', '1/2') == 2
    assert '--shard and torchrun' in capsys.readouterr().err


def test_weights_for_another_tree_are_refused(town, tmp_path, capsys):
    (tmp_path / 'b').mkdir()
    other = make_map(tmp_path / 'b', Region(10.0, 20.0, 256.0, 2, 3))
    assert main(['map', 'embed', str(other.path), '--weights', str(town[1])]) == 2
    assert '4 x 4 grid of depth 2' in capsys.readouterr().err
