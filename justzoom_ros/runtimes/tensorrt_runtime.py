"""A policy whose encoder looks at camera images in TensorRT. The map, encoded once, and the
decoder stay in torch on the same GPU.

torch-tensorrt builds the engine from an exported program, ahead of time and on the machine that
runs it. It is kept as TensorRT's own serialized engine: a saved exported program may be read with
pickle, which this package does with no file. Running it needs TensorRT alone.
"""

import copy
import itertools
import logging
from collections import deque
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import torch

from justzoom_ros.errors import RuntimeUnavailableError, first_line
from justzoom_ros.models.config import PolicyConfig
from justzoom_ros.models.encoder import ATTENTIONS
from justzoom_ros.models.policy import ZoomPolicy
from justzoom_ros.runtimes.base import EngineKind
from justzoom_ros.runtimes.engines import (
    REMEDY,
    Facts,
    check_whole,
    engine_facts,
    engine_path,
    explain_missing,
    write_engine,
)
from justzoom_ros.runtimes.half import with_half_layers
from justzoom_ros.runtimes.torch_runtime import (
    TorchRuntime,
    require_cuda,
    views_shape,
    weights_checksum,
)

log = logging.getLogger(__name__)

DEVICE = 'cuda'
SUFFIX = '.engine'
PRECISIONS = ('float16', 'float32')
INSTALL = "pip install 'justzoom_ros[tensorrt]'"


class TensorRtRuntime(TorchRuntime):
    """As `TorchRuntime` on CUDA, from an engine of `export_tensorrt`. Raises
    RuntimeUnavailableError where TensorRT or the engine is missing, or cannot be used."""

    def __init__(self, policy: ZoomPolicy, folder: str | Path | None = None) -> None:
        require_cuda('tensorrt')
        super().__init__(policy, DEVICE)
        self.name = 'tensorrt'
        self.precision, path = _find(self.config, self.checksum, folder)
        self._engine = Engine(path)

    def _encode_views(self, views: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._engine(view[None]) for view in views])


class Engine:
    """A serialized engine of TensorRT, ready to run: one image (1, 3, h, w) -> (1, D), float32 on
    the GPU. Raises RuntimeUnavailableError, with what TensorRT says, where it cannot be used."""

    def __init__(self, path: Path) -> None:
        check_whole(path)
        trt = _import('tensorrt')
        self._path: Path = path
        self._said: deque[str] = deque(maxlen=3)
        # TensorRT itself keeps neither of the two alive.
        self._listener = _listener(trt, self._said)
        self._runtime = trt.Runtime(self._listener)
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        self._context = self._engine and self._engine.create_execution_context()
        if not self._context:
            raise self._unusable('cannot be loaded')
        names = [self._engine.get_tensor_name(k) for k in range(self._engine.num_io_tensors)]
        names.sort(key=lambda name: self._engine.get_tensor_mode(name) != trt.TensorIOMode.INPUT)
        self._input, self._output = names
        self._shape = tuple(self._engine.get_tensor_shape(self._output))

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Image (1, 3, h, w) -> embedding (1, D)."""
        image = image.contiguous()
        output = torch.empty(self._shape, device=image.device)
        self._context.set_tensor_address(self._input, image.data_ptr())
        self._context.set_tensor_address(self._output, output.data_ptr())
        if not self._context.execute_async_v3(_stream()):
            raise self._unusable('failed')
        return output

    def _unusable(self, what: str) -> RuntimeUnavailableError:
        reason = self._said[0] if self._said else 'TensorRT gives no reason'
        return RuntimeUnavailableError(f'{self._path} {what} ({reason}); {REMEDY}')


def tensorrt_facts(config: PolicyConfig, checksum: str, precision: str, attention: str) -> Facts:
    """All that an engine depends on. Raises RuntimeUnavailableError without TensorRT."""
    versions = {name: _version(name) for name in ('tensorrt', 'torch_tensorrt')}
    shape = [1, *views_shape(config)[1:]]
    return engine_facts(
        'tensorrt', checksum, precision, versions, attention=attention, shape=shape
    )


def export_tensorrt(
    policy: ZoomPolicy,
    folder: str | Path | None = None,
    precision: str = 'float16',
    attention: str = 'explicit',
) -> list[Path]:
    """Build the engine of a policy on this machine, which takes minutes; returns its paths, a
    list of one.

    `attention` is one of ATTENTIONS: TensorRT 10.3 to 10.7 miscompute the fused form of vision
    transformers, in float32 too. Raises RuntimeUnavailableError where torch-tensorrt is missing or
    fails, OutputError.
    """
    compiler = _import('torch_tensorrt')
    facts = tensorrt_facts(policy.config, weights_checksum(policy), precision, attention)
    path = engine_path(facts, SUFFIX, folder)
    log.info('exporting the encoder in %s, attention %s', precision, attention)
    program = export_program(policy, precision, attention)
    log.info('TensorRT tries its kernels on %s: this takes minutes', facts['device'])
    serialized = _build(compiler, program, facts)
    log.info('an engine of %.1f MB is built', len(serialized) / 1e6)
    write_engine(path, facts, lambda to: to.write_bytes(serialized))
    return [path]


def export_program(
    policy: ZoomPolicy, precision: str, attention: str
) -> torch.export.ExportedProgram:
    """The encoder as a torch.export program for one camera view (1, 3, h, w), on the GPU."""
    make = with_half_layers if precision == 'float16' else copy.deepcopy
    encoder = make(policy.encoder).to(DEVICE).eval()
    encoder.use_attention(attention)
    image = torch.zeros(1, *views_shape(policy.config)[1:], device=DEVICE)
    with torch.no_grad():
        return torch.export.export(encoder, (image,))


def _build(compiler: Any, program: torch.export.ExportedProgram, facts: Facts) -> bytes:
    """The bytes of the engine."""
    image = compiler.Input(tuple(facts['shape']), dtype=torch.float32)
    try:
        return compiler.dynamo.convert_exported_program_to_serialized_trt_engine(
            program,
            arg_inputs=[image],
            # The graph says what is float16; the versions that always obey it ignore this.
            use_explicit_typing=True,
            # It rounds to float16's mantissa: nobody who asks for float32 wants that.
            disable_tf32=facts['precision'] == 'float32',
        )
    # Whatever it does when it fails: its own errors share no base.
    except Exception as error:
        raise RuntimeUnavailableError(
            f'torch-tensorrt cannot build the engine ({type(error).__name__}: '
            f'{first_line(error)}); what it logged above says more'
        ) from error


def _find(config: PolicyConfig, checksum: str, folder: str | Path | None) -> tuple[str, Path]:
    """(precision, path) of an engine for this machine, half precision before single."""
    forms = list(itertools.product(PRECISIONS, ATTENTIONS))
    facts = [tensorrt_facts(config, checksum, *form) for form in forms]
    for each in facts:
        path = engine_path(each, SUFFIX, folder)
        if path.is_file():
            return each['precision'], path
    raise RuntimeUnavailableError(explain_missing(facts[0], folder))


def _listener(trt: Any, said: deque[str]) -> Any:
    class Listener(trt.ILogger):
        """Keeps the errors, so that they can be told as the reason."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                said.append(text)

    return Listener()


def _import(name: str) -> Any:
    try:
        return import_module(name)
    # OSError: a library that the package loads is missing or of another version.
    except (ImportError, OSError) as error:
        raise RuntimeUnavailableError(
            f"runtime 'tensorrt' needs {name} ({first_line(error)}); {INSTALL}"
        ) from error


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        # Some installations of it come without metadata.
        return _import(name).__version__


def _stream() -> int:
    return torch.cuda.current_stream().cuda_stream


ENGINE = EngineKind(
    export_tensorrt, TensorRtRuntime, {'precision': PRECISIONS, 'attention': ATTENTIONS}
)
