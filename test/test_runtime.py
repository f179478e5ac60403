"""Runtimes beside plain torch: the same posteriors, or a refusal with the reason."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import make_map, make_weights

from justzoom_ros import Localizer, ZoomPolicy
from justzoom_ros.cli.main import main
from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.runtime import open_runtime
from justzoom_ros.runtime.engines import engine_facts, engine_path
from justzoom_ros.runtime.parity import check_parity, parity
from justzoom_ros.runtime.torch_runtime import TorchRuntime

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


def test_an_engine_says_what_torch_says_and_auto_takes_it(exported):
    map, weights, folder, said = exported
    assert said['total_variation'] < 1e-4
    facts = json.loads(next(folder.glob('*.json')).read_text())
    assert facts['kind'] == 'onnx' and facts['versions']['torch'] == torch.__version__
    engine = Localizer.open(map=map, weights=weights, progress=False)
    plain = Localizer.open(map=map, weights=weights, runtime='cpu', progress=False)
    assert (engine.runtime, plain.runtime) == ('onnx', 'cpu')
    one, other = engine.posterior(IMAGE), plain.posterior(IMAGE)
    np.testing.assert_array_equal(one.indices, other.indices)
    np.testing.assert_allclose(one.masses, other.masses, atol=1e-5)


def test_weights_that_changed_find_no_engine(exported):
    map, weights, _, _ = exported
    policy = ZoomPolicy.load(weights)
    with torch.no_grad():
        next(policy.parameters()).add_(1e-4)
    policy.save(weights)
    assert Localizer.open(map=map, weights=weights, progress=False).runtime == 'cpu'
    with pytest.raises(RuntimeUnavailableError, match='justzoom export'):
        Localizer.open(map=map, weights=weights, runtime='onnx', progress=False)


def test_a_truncated_engine_is_told_and_auto_goes_on_with_torch(exported, caplog):
    map, weights, folder, _ = exported
    for path in folder.glob('*.onnx'):
        path.write_bytes(path.read_bytes()[:1000])
    assert Localizer.open(map=map, weights=weights, progress=False).runtime == 'cpu'
    assert 'delete it and export again' in caplog.text
    with pytest.raises(RuntimeUnavailableError, match='delete it and export again'):
        Localizer.open(map=map, weights=weights, runtime='onnx', progress=False)


def test_without_onnxruntime_the_reason_is_told(exported, monkeypatch):
    monkeypatch.setattr('justzoom_ros.runtime.onnx_runtime.onnx_available', lambda: False)
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


def test_an_engine_that_fails_the_gate_is_not_kept(exported, monkeypatch, capsys):
    _, weights, folder, _ = exported
    monkeypatch.setattr('justzoom_ros.runtime.parity.TOLERANCE', -1.0)
    assert main(['export', '--weights', str(weights)]) == 2
    assert 'is refused' in capsys.readouterr().err
    assert not list(folder.glob('*.onnx'))


# --- the names of engines ------------------------------------------------------------------------


def test_the_name_of_an_engine_depends_on_all_that_it_does(tmp_path):
    facts = engine_facts('onnx', 'abc', 'float32', {'onnx': '1'})
    changes = [{'weights': 'abd'}, {'precision': 'float16'}, {'device': 'x'}, {'versions': {}}]
    names = {engine_path({**facts, **change}, '.onnx', tmp_path) for change in [{}, *changes]}
    assert len(names) == 5


def test_compiled_by_torch_it_says_the_same(made):
    policy = ZoomPolicy.load(made[1])
    plain = TorchRuntime(ZoomPolicy.load(made[1]), 'cpu')
    try:
        compiled = open_runtime(policy, 'compile')
        found = parity(compiled, plain)
    except Exception as error:  # torch.compile raises whatever its compiler does
        pytest.skip(f'torch.compile does not work here: {error}')
    assert found.holds
