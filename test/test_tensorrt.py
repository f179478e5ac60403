"""TensorRT up to the compiler's door: the exported program, what the engine is named after, what
happens when something is wrong. Behind the door stand doubles: nothing here shows that TensorRT
itself builds or computes anything."""

import json
import logging
import shutil
import sys

import numpy as np
import pytest
import tensorrt_doubles as doubles
import torch
from tiny import make_map, make_weights

from justzoom_ros import Localizer, ZoomPolicy
from justzoom_ros.cli.main import main
from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.models.config import PolicyConfig
from justzoom_ros.models.decoder import DecoderConfig
from justzoom_ros.models.encoder import EncoderConfig
from justzoom_ros.runtimes import RUNTIMES, open_runtime
from justzoom_ros.runtimes.engines import write_engine
from justzoom_ros.runtimes.export import export_engine
from justzoom_ros.runtimes.parity import parity
from justzoom_ros.runtimes.tensorrt_runtime import export_program, tensorrt_facts
from justzoom_ros.runtimes.torch_runtime import TorchRuntime, weights_checksum

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
DINO = {'hidden_size': 32, 'num_hidden_layers': 2, 'num_attention_heads': 2, 'image_size': 28}


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A map and the path of weights for it."""
    folder = tmp_path_factory.mktemp('tensorrt')
    map = make_map(folder)
    return map, make_weights(folder, map)


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """The doubles in place, engines in a folder of their own."""
    monkeypatch.setenv('JUSTZOOM_ENGINES', str(tmp_path / 'engines'))
    compiler = doubles.install(monkeypatch)
    monkeypatch.setitem(RUNTIMES.entries, 'cuda', no_memory)
    return compiler


@pytest.fixture
def engines(compiler, tmp_path):
    return tmp_path / 'engines'


def no_memory(policy):
    raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 MiB\nMore text')


def dino_policy():
    """The published kind of encoder, tiny; positions have to be interpolated, as at 384 pixels."""
    torch.manual_seed(0)
    config = PolicyConfig(
        ground_px=56,
        crop_px=42,
        encoder=EncoderConfig('dinov2', DINO),
        decoder=DecoderConfig(layers=1, heads=2),
    )
    return ZoomPolicy(config).eval()


def export(weights, *arguments):
    return main(['export', '--runtime', 'tensorrt', '--weights', str(weights), *arguments])


# --- the program ---------------------------------------------------------------------------------


def operations(program):
    """{(name, type of the result)} of a program's operations."""
    found = set()
    for node in program.graph.nodes:
        if node.op == 'call_function' and isinstance(node.meta['val'], torch.Tensor):
            found.add((node.target.__name__.split('.')[0], node.meta['val'].dtype))
    return found


@pytest.mark.slow
@pytest.mark.parametrize('attention', ['explicit', 'fused'])
def test_only_matrices_and_convolutions_are_in_half_precision(compiler, attention):
    found = operations(export_program(dino_policy(), 'float16', attention))
    half = {name for name, kind in found if kind == torch.float16}
    assert half == {'to', 'linear', 'conv2d'}
    names = {name for name, _ in found}
    assert 'layer_norm' in names
    assert ('scaled_dot_product_attention' in names) == (attention == 'fused')
    assert ('softmax' in names) == (attention == 'explicit')


@pytest.mark.slow
def test_in_single_precision_nothing_is_half(compiler):
    kinds = {kind for _, kind in operations(export_program(dino_policy(), 'float32', 'explicit'))}
    assert torch.float16 not in kinds


@pytest.mark.slow
@pytest.mark.parametrize(('precision', 'atol'), [('float16', 0.02), ('float32', 1e-5)])
def test_the_program_computes_what_the_encoder_does(compiler, precision, atol):
    policy = dino_policy()
    before = weights_checksum(policy)
    program = export_program(policy, precision, 'explicit')
    image = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        torch.testing.assert_close(
            program.module()(image), policy.encoder(image), atol=atol, rtol=0
        )
    assert weights_checksum(policy) == before
    assert policy.encoder.backbone.config._attn_implementation == 'sdpa'


@pytest.mark.slow
def test_the_compiler_gets_one_image_of_fixed_size_and_is_told_to_obey_the_types(
    compiler, engines
):
    export_engine(dino_policy(), 'tensorrt')
    ((_, (image,), explicit, no_tf32),) = compiler.calls
    assert (image.shape, image.dtype) == ((1, 3, 56, 56), torch.float32)
    assert explicit and not no_tf32
    (description,) = (json.loads(path.read_text()) for path in engines.glob('*.json'))
    assert description['device'] == 'Orin, compute capability 8.7'
    assert description['versions'] == {
        'torch': torch.__version__,
        'tensorrt': '10.3.0',
        'torch_tensorrt': '2.8.0',
    }
    assert description['shape'] == [1, 3, 56, 56]
    assert (description['precision'], description['attention']) == ('float16', 'explicit')
    assert description['frames'] == 6 and description['total_variation'] <= 0.005


# --- from the command to a fix -------------------------------------------------------------------


@pytest.mark.slow
def test_an_engine_is_made_found_and_says_what_torch_says(files, compiler, engines, capsys):
    map, weights = files
    assert export(weights, '--json') == 0
    (path,) = json.loads(capsys.readouterr().out)['engines']
    assert [str(found) for found in engines.glob('*.engine')] == [path]
    assert len(list(engines.iterdir())) == 2
    plain = Localizer.open(map, weights, 'cpu', progress=False)
    for name in ('tensorrt', 'auto'):
        engine = Localizer.open(map, weights, name, progress=False)
        assert engine.runtime == 'tensorrt'
        one, other = engine.posterior(IMAGE), plain.posterior(IMAGE)
        assert np.abs(one.masses - other.masses).sum() / 2 <= 0.005


@pytest.mark.slow
def test_both_halves_of_a_street_view_go_through_it(compiler):
    policy = dino_policy()
    export_engine(policy, 'tensorrt', precision='float32')
    engine, plain = open_runtime(policy, 'tensorrt'), TorchRuntime(policy, 'cpu')
    views = torch.randn(2, 2, 3, 56, 56)
    torch.testing.assert_close(
        engine.encode_ground(views), plain.encode_ground(views), atol=1e-5, rtol=0
    )
    assert parity(engine, plain).holds


@pytest.mark.slow
def test_what_is_going_on_is_told(files, compiler, caplog):
    with caplog.at_level(logging.INFO, 'justzoom_ros'):
        export_engine(ZoomPolicy.load(files[1]), 'tensorrt')
    assert 'exporting the encoder in float16' in caplog.text
    assert 'TensorRT tries its kernels on Orin' in caplog.text


# --- what goes wrong while it is made ------------------------------------------------------------


@pytest.mark.slow
def test_a_compiler_that_fails_leaves_its_reason_and_nothing_else(
    files, compiler, engines, capsys
):
    def fail(program):
        raise RuntimeError('Conversion of function aten.foo not supported\nlong trace')

    compiler.spoil = fail
    assert export(files[1]) == 2
    assert 'RuntimeError: Conversion of function aten.foo not supported)' in (
        capsys.readouterr().err
    )
    assert not list(engines.iterdir())


@pytest.mark.slow
def test_an_interrupted_build_leaves_nothing(files, compiler, engines):
    def interrupt(program):
        raise KeyboardInterrupt

    compiler.spoil = interrupt
    assert export(files[1]) == 130
    assert not list(engines.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize('wrong', ['other', 'nan'])
def test_an_engine_that_computes_something_else_is_refused(
    files, compiler, engines, capsys, wrong
):
    def spoil(program):
        policy = ZoomPolicy.load(files[1])
        with torch.no_grad():
            weight = policy.encoder.project.weight
            weight.copy_(weight.roll(1, 0) if wrong == 'other' else weight * torch.nan)
        return export_program(policy, 'float32', 'explicit')

    compiler.spoil = spoil
    assert export(files[1]) == 2
    assert "runtime 'tensorrt' is refused: in" in capsys.readouterr().err
    assert not list(engines.iterdir())


def test_options_of_tensorrt_are_for_tensorrt(files, capsys):
    assert main(['export', '--weights', str(files[1]), '--attention', 'fused']) == 2
    assert '--attention fused is not for --runtime onnx' in capsys.readouterr().err
    assert export(files[1], '--precision', 'int8') == 2
    assert '--precision int8 is not for --runtime tensorrt' in capsys.readouterr().err


# --- engines that cannot be used -----------------------------------------------------------------


def refused(files, caplog):
    """Why 'tensorrt' fails; 'auto' has to go on with the CPU and to give the same reason."""
    with pytest.raises(RuntimeUnavailableError) as raised:
        open_runtime(ZoomPolicy.load(files[1]), 'tensorrt')
    caplog.clear()
    assert open_runtime(ZoomPolicy.load(files[1])).name == 'cpu'
    assert str(raised.value) in caplog.text
    return str(raised.value)


@pytest.fixture(scope='module')
def built(files, tmp_path_factory):
    """The folder of an engine for the GPU of the doubles, built once."""
    folder = tmp_path_factory.mktemp('built')
    with pytest.MonkeyPatch.context() as monkeypatch:
        doubles.install(monkeypatch)
        export_engine(ZoomPolicy.load(files[1]), 'tensorrt', folder)
    return folder


@pytest.fixture
def engine(built, compiler, engines):
    """The path of that engine, in a folder of its own."""
    shutil.copytree(built, engines)
    return next(engines.glob('*.engine'))


def test_an_engine_for_another_gpu_is_not_taken(files, engine, monkeypatch, caplog):
    doubles.install(monkeypatch, doubles.ADA)
    reason = refused(files, caplog)
    assert 'but for device Orin, compute capability 8.7 where NVIDIA L4' in reason
    assert 'justzoom export --runtime tensorrt' in reason


def test_an_engine_of_another_version_is_not_taken(files, engine, monkeypatch, caplog):
    monkeypatch.setattr(sys.modules['tensorrt'], '__version__', '10.7.0')
    reason = refused(files, caplog)
    assert 'tensorrt 10.3.0' in reason and 'tensorrt 10.7.0' in reason


def test_a_truncated_engine_is_never_given_to_tensorrt(files, engine, caplog):
    engine.write_bytes(engine.read_bytes()[:1000])
    assert f'{engine} is damaged or was not written whole; delete it' in refused(files, caplog)


def test_what_tensorrt_says_of_an_engine_is_told(files, engine, caplog):
    policy = ZoomPolicy.load(files[1])
    facts = tensorrt_facts(policy.config, weights_checksum(policy), 'float16', 'explicit')
    write_engine(engine, facts, lambda to: to.write_bytes(b'of another machine'))
    reason = refused(files, caplog)
    assert 'cannot be loaded (plan file of an incompatible device, expecting 8.7)' in reason


@pytest.mark.slow
def test_a_gpu_without_memory_is_told(files, engine, caplog):
    sys.modules['tensorrt'].free_mb = 1
    assert 'out of memory' in refused(files, caplog)
    assert "runtime 'cuda' cannot start: CUDA out of memory. Tried to allocate 20 MiB;" in (
        caplog.text
    )


def test_a_frame_that_fails_is_told(files, engine):
    runtime = open_runtime(ZoomPolicy.load(files[1]), 'tensorrt')
    sys.modules['tensorrt'].lost = True
    with pytest.raises(RuntimeUnavailableError, match='failed .an illegal memory access'):
        runtime.encode_ground(torch.zeros(1, 1, 3, 16, 16))


def test_without_tensorrt_the_reason_is_told(files, engine, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    reason = refused(files, caplog)
    assert "runtime 'tensorrt' needs tensorrt" in reason and 'justzoom_ros[tensorrt]' in reason


def test_a_library_of_another_abi_is_told(files, compiler, engines, monkeypatch, capsys):
    def broken(name):
        raise OSError('undefined symbol: _ZN3c10')

    monkeypatch.setattr('justzoom_ros.runtimes.tensorrt_runtime.import_module', broken)
    assert export(files[1]) == 2
    assert 'needs torch_tensorrt (undefined symbol: _ZN3c10)' in capsys.readouterr().err


def test_weights_that_changed_are_no_reason_to_warn(files, engine, caplog):
    policy = ZoomPolicy.load(files[1])
    with torch.no_grad():
        next(policy.parameters()).add_(1e-4)
    assert open_runtime(policy).name == 'cpu'
    assert 'tensorrt' not in caplog.text


def test_without_a_gpu_it_cannot_be_asked_for(files, engine, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(RuntimeUnavailableError, match='finds no CUDA device'):
        open_runtime(ZoomPolicy.load(files[1]), 'tensorrt')
