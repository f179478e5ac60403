"""Runtimes beside plain torch: the same posteriors, or a refusal with the reason."""

import contextlib
import hashlib
import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import make_map, make_weights

from justzoom_ros import Localizer, ZoomPolicy
from justzoom_ros.cli.main import main
from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.models.config import PolicyConfig
from justzoom_ros.runtimes import ENGINES, open_runtime, selection
from justzoom_ros.runtimes.base import EngineKind
from justzoom_ros.runtimes.engines import engine_facts, engine_path
from justzoom_ros.runtimes.half import with_half_weights
from justzoom_ros.runtimes.onnx_runtime import OnnxRuntime
from justzoom_ros.runtimes.parity import check_parity, parity
from justzoom_ros.runtimes.torch_runtime import TorchRuntime, weights_checksum

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture(scope='module')
def original(tmp_path_factory):
    """A map, the path of weights for it, and a folder for engines, once for all tests."""
    folder = tmp_path_factory.mktemp('runtime')
    map = make_map(folder)
    return map, make_weights(folder, map), folder / 'engines'


@pytest.fixture
def made(original, tmp_path, monkeypatch):
    """The same with weights and engines of its own, which a test may damage."""
    map, weights, engines = original
    own = tmp_path / 'engines'
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setenv('JUSTZOOM_ENGINES', str(own))
    if engines.is_dir():
        shutil.copytree(engines, own)
    return map, Path(shutil.copy(weights, tmp_path)), own


# --- ONNX ----------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def engine(original):
    """The engine of those weights; what the command printed."""
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    pytest.importorskip('onnxscript', reason='onnxscript is not installed')
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        where = ['--folder', str(original[2])]
        assert main(['export', '--weights', str(original[1]), *where, '--json']) == 0
    return json.loads(said.getvalue())


@pytest.fixture
def exported(engine, made):
    return (*made, engine)


@pytest.mark.slow
def test_an_engine_says_what_torch_says(exported):
    map, weights, folder, said = exported
    assert said['total_variation'] < 1e-4
    facts = json.loads(next(folder.glob('*.json')).read_text())
    assert facts['kind'] == 'onnx' and facts['versions']['torch'] == torch.__version__
    assert len(facts['sha256']) == 64 and facts['total_variation'] == said['total_variation']
    engine = Localizer.open(map=map, weights=weights, runtime='onnx', progress=False)
    plain = Localizer.open(map=map, weights=weights, runtime='cpu', progress=False)
    assert (engine.runtime, plain.runtime) == ('onnx', 'cpu')
    one, other = engine.posterior(IMAGE), plain.posterior(IMAGE)
    np.testing.assert_array_equal(one.indices, other.indices)
    np.testing.assert_allclose(one.masses, other.masses, atol=1e-5)


@pytest.mark.slow
def test_auto_takes_the_engine_where_it_is_the_faster(exported, monkeypatch):
    map, weights, _, _ = exported
    for fast, slow in (('onnx', 'cpu'), ('cpu', 'onnx')):
        monkeypatch.setattr(
            selection, '_encode_s', lambda runtime, s=slow: 0.1 + (runtime.name == s)
        )
        found = Localizer.open(map=map, weights=weights, progress=False)
        assert found.runtime == fast
        assert found.selection_reason == (
            f'a frame takes 100.0 ms on {fast} in float32, 1100.0 ms on {slow} in float32'
        )


@pytest.mark.slow
def test_weights_that_changed_find_no_engine(exported):
    map, weights, _, _ = exported
    policy = ZoomPolicy.load(weights)
    with torch.no_grad():
        next(policy.parameters()).add_(1e-4)
    policy.save(weights)
    assert Localizer.open(map=map, weights=weights, progress=False).runtime == 'cpu'
    with pytest.raises(RuntimeUnavailableError, match='justzoom export'):
        Localizer.open(map=map, weights=weights, runtime='onnx', progress=False)


@pytest.mark.slow
@pytest.mark.parametrize('described', [True, False])
def test_a_truncated_engine_is_told_and_auto_goes_on_with_torch(exported, caplog, described):
    map, weights, folder, _ = exported
    for path in folder.glob('*.onnx'):
        path.write_bytes(path.read_bytes()[:1000])
        if described:  # as if it had been written so: onnxruntime itself has to refuse it
            facts = json.loads(path.with_suffix('.json').read_text())
            facts['sha256'] = hashlib.sha256(path.read_bytes()).hexdigest()
            path.with_suffix('.json').write_text(json.dumps(facts))
    assert Localizer.open(map=map, weights=weights, progress=False).runtime == 'cpu'
    assert 'delete it and export again' in caplog.text
    with pytest.raises(RuntimeUnavailableError, match='delete it and export again') as raised:
        Localizer.open(map=map, weights=weights, runtime='onnx', progress=False)
    assert ('cannot be loaded' if described else 'not written whole') in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize('damage', ['{', '[]', ''])
def test_an_engine_without_its_description_is_not_taken(exported, damage):
    map, weights, folder, _ = exported
    for path in folder.glob('*.json'):
        path.write_text(damage)
    with pytest.raises(RuntimeUnavailableError, match='damaged or was not written whole'):
        Localizer.open(map=map, weights=weights, runtime='onnx', progress=False)


@pytest.mark.slow
def test_an_engine_of_another_torch_is_named(exported, monkeypatch, caplog):
    weights = exported[1]
    monkeypatch.setattr(torch, '__version__', '9.9.9')
    with pytest.raises(RuntimeUnavailableError, match='where torch 9.9.9 is needed; make it by'):
        open_runtime(ZoomPolicy.load(weights), 'onnx')
    assert open_runtime(ZoomPolicy.load(weights)).name == 'cpu'
    assert 'where torch 9.9.9 is needed' in caplog.text


@pytest.mark.slow
def test_without_onnxruntime_the_reason_is_told(exported, monkeypatch):
    monkeypatch.setattr('justzoom_ros.runtimes.onnx_runtime.onnx_available', lambda: False)
    with pytest.raises(RuntimeUnavailableError, match=r'justzoom_ros\[onnx\]'):
        open_runtime(ZoomPolicy.load(exported[1]), 'onnx')


# --- parity --------------------------------------------------------------------------------------


class Broken(TorchRuntime):
    """A runtime whose half precision has gone wrong."""

    def encode_satellite(self, crops):
        return super().encode_satellite(crops).roll(1, dims=1)


def test_a_runtime_that_says_something_else_is_refused(made):
    policy = ZoomPolicy.load(made[1])
    plain = TorchRuntime(policy, 'cpu')
    assert parity(plain, plain).total_variation == 0
    with pytest.raises(RuntimeUnavailableError, match=r"'cpu' is refused: in \d of 6"):
        check_parity(Broken(policy, 'cpu'), plain)


@pytest.mark.slow
@pytest.mark.parametrize('passes', [True, False])
def test_only_an_engine_that_passes_the_gate_is_kept(exported, monkeypatch, tmp_path, passes):
    _, weights, folder, _ = exported

    def copied(policy, trial):
        return [Path(shutil.copytree(folder, trial, dirs_exist_ok=True)) / p.name for p in engines]

    engines = sorted(folder.glob('*.onnx'))
    monkeypatch.setitem(ENGINES.entries, 'onnx', EngineKind(copied, OnnxRuntime))
    if not passes:
        monkeypatch.setattr('justzoom_ros.runtimes.parity.TOLERANCE', -1.0)
    own = tmp_path / 'own'
    status = main(['export', '--weights', str(weights), '--folder', str(own)])
    assert status == (0 if passes else 2)
    kept = sorted(path.name for path in own.iterdir())
    assert kept == (sorted(path.name for path in folder.iterdir()) if passes else [])


# --- 8 bits --------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def int8(engine, original):
    """The folder with the engine in float32 and one in int8 beside it."""
    _, weights, folder = original
    where = ['--folder', str(folder), '--precision', 'int8']
    assert main(['export', '--weights', str(weights), *where]) == 0
    return folder


@pytest.mark.slow
def test_in_8_bits_only_camera_views_are_encoded_and_the_gate_measures_it(int8, exported):
    map, weights, folder, _ = exported
    policy = ZoomPolicy.load(weights)
    rounded, plain = open_runtime(policy, 'onnx'), TorchRuntime(policy, 'cpu')
    assert (rounded.name, rounded.precision) == ('onnx', 'int8')
    crops, views = torch.randn(2, 3, 16, 16), torch.randn(1, 1, 3, 16, 16)
    torch.testing.assert_close(rounded.encode_satellite(crops), plain.encode_satellite(crops))
    assert not torch.allclose(rounded.encode_ground(views), plain.encode_ground(views))
    told = [json.loads(path.read_text()) for path in folder.glob('*.json')]
    assert sorted((each['precision'], each['input']) for each in told) == [
        ('float32', 'crop'),
        ('float32', 'ground'),
        ('int8', 'ground'),
    ]
    (found,) = (each for each in told if each['precision'] == 'int8')
    assert found['total_variation'] == parity(rounded, plain).total_variation > 0


@pytest.mark.slow
def test_auto_measures_every_precision_that_was_exported(int8, exported, monkeypatch):
    seconds = {'int8': 0.001, 'float32': 0.002}
    monkeypatch.setattr(selection, '_encode_s', lambda runtime: seconds[runtime.precision])
    found = open_runtime(ZoomPolicy.load(exported[1]))
    assert (found.name, found.precision) == ('onnx', 'int8')
    assert found.selection_reason.count('ms on onnx') == 2


# --- half precision ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize('shipped', ['demo', 'city'])
def test_in_half_precision_the_shipped_policies_say_the_same(shipped):
    path = Path(__file__).parents[1] / f'maps/{shipped}/weights.safetensors'
    plain = TorchRuntime(ZoomPolicy.load(path), 'cpu')
    half = TorchRuntime(ZoomPolicy.load(path), 'cpu', 'float16')
    found = check_parity(half, plain)
    assert found.total_variation > 0
    crops = torch.randn(2, 3, *2 * [plain.config.crop_px])
    assert torch.equal(half.encode_satellite(crops), plain.encode_satellite(crops))


def test_norms_and_the_policy_itself_stay_in_single_precision(made):
    policy = ZoomPolicy.load(made[1])
    before = weights_checksum(policy)
    half = with_half_weights(policy.encoder)
    kinds = {type(m): p.dtype for m in half.modules() for p in m.parameters(recurse=False)}
    assert kinds[torch.nn.Conv2d] == kinds[torch.nn.Linear] == torch.float16
    assert kinds[torch.nn.GroupNorm] == kinds[torch.nn.LayerNorm] == torch.float32
    assert weights_checksum(policy) == before


class Nothing(TorchRuntime):
    """A runtime whose half precision overflowed."""

    def _encode_views(self, views):
        return super()._encode_views(views) * torch.nan


def test_numbers_that_are_none_are_refused(made):
    policy = ZoomPolicy.load(made[1])
    with pytest.raises(RuntimeUnavailableError, match='is refused'):
        check_parity(Nothing(policy, 'cpu'), TorchRuntime(policy, 'cpu'))


@pytest.mark.parametrize(
    ('capability', 'half', 'precision', 'reason'),
    [
        ((6, 1), TorchRuntime, 'float32', 'no graphs here'),
        ((8, 7), Nothing, 'float32', 'is refused'),
        ((8, 7), TorchRuntime, 'float16', '100.0 ms on cpu in float16, 200.0 ms'),
    ],
)
def test_half_precision_is_taken_on_gpus_that_have_it_if_it_passes_and_is_faster(
    made, monkeypatch, capability, half, precision, reason
):
    def on_the_cpu(policy, name, precision='float32'):
        return (half if precision == 'float16' else TorchRuntime)(policy, 'cpu', precision)

    def no_graph(policy, precision='float16'):
        raise RuntimeError('no graphs here')

    monkeypatch.setattr(selection, 'TorchRuntime', on_the_cpu)
    monkeypatch.setattr(selection, 'CudaGraphRuntime', no_graph)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: capability)
    seconds = {'float16': 0.1, 'float32': 0.2}
    monkeypatch.setattr(selection, '_encode_s', lambda runtime: seconds[runtime.precision])
    found = open_runtime(ZoomPolicy.load(made[1]), 'cuda')
    assert found.precision == precision and reason in found.selection_reason


# --- the trial -----------------------------------------------------------------------------------


class Sleeper:
    """A runtime that takes its time, by a clock of its own, and counts."""

    precision, config = 'float32', PolicyConfig(ground_px=16)

    def __init__(self, name, seconds, clock):
        self.name, self.seconds, self.clock = name, seconds, clock
        self.calls, self.selection_reason = 0, ''

    def encode_ground(self, images):
        assert images.shape == (1, 2, 3, 16, 16)
        self.calls += 1
        self.clock[0] += self.seconds + (self.calls == 1)
        return torch.zeros(1, 4)


@pytest.mark.parametrize(
    ('trial_s', 'calls', 'told'),
    [
        (3.95, 20, 'a frame takes 10.0 ms on fast in float32, 90.0 ms on slow in float32'),
        (1.0, 1, 'a frame takes 1010.0 ms on fast in float32, 1090.0 ms on slow in float32'),
    ],
)
def test_a_trial_takes_turns_as_long_as_there_is_time(monkeypatch, trial_s, calls, told):
    clock = [0.0]
    monkeypatch.setattr(selection, 'time', SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(selection, 'TRIAL_S', trial_s)
    slow, fast = Sleeper('slow', 0.09, clock), Sleeper('fast', 0.01, clock)
    assert selection.fastest([slow, fast]) is fast
    # The first call takes a second more; it counts where there is no other.
    assert slow.calls == fast.calls == calls
    assert fast.selection_reason == told and not slow.selection_reason


# --- the names of engines ------------------------------------------------------------------------


def test_the_name_of_an_engine_depends_on_all_that_it_does(tmp_path):
    facts = engine_facts('onnx', 'abc', 'float32', {'onnx': '1'})
    changes = [{'weights': 'abd'}, {'precision': 'float16'}, {'device': 'x'}, {'versions': {}}]
    names = {engine_path({**facts, **change}, '.onnx', tmp_path) for change in [{}, *changes]}
    assert len(names) == 5


@pytest.mark.slow
def test_compiled_by_torch_it_says_the_same(made):
    policy = ZoomPolicy.load(made[1])
    plain = TorchRuntime(ZoomPolicy.load(made[1]), 'cpu')
    try:
        compiled = open_runtime(policy, 'compile')
        found = parity(compiled, plain)
    except Exception as error:  # torch.compile raises whatever its compiler does
        pytest.skip(f'torch.compile does not work here: {error}')
    assert found.holds
