"""A policy whose encoder runs in ONNX Runtime. The decoder, small and of growing shapes, stays in
torch. Optional packages: onnxruntime to run, onnxscript and onnx besides to export.

In int8, camera views go through matrices whose weights were rounded to 8 bits once and whose input
is rounded at every call. The map is encoded in float32 all the same.
"""

import importlib.util
import tempfile
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from justzoom_ros.errors import RuntimeUnavailableError, first_line
from justzoom_ros.models.encoder import Encoder
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
from justzoom_ros.runtimes.torch_runtime import TorchRuntime, views_shape, weights_checksum

PROVIDERS = ('CUDAExecutionProvider', 'CPUExecutionProvider')
SUFFIX = '.onnx'
PRECISIONS = ('float32', 'int8')
INSTALL = "pip install 'justzoom_ros[onnx]'"


class OnnxRuntime(TorchRuntime):
    """As `TorchRuntime`, from an engine of `export_onnx` in that precision; without one, in int8
    where that was exported. Raises RuntimeUnavailableError where onnxruntime or the engine is
    missing, or the engine cannot be read."""

    def __init__(
        self, policy: ZoomPolicy, folder: str | Path | None = None, precision: str | None = None
    ) -> None:
        super().__init__(policy, 'cpu')
        self.name = 'onnx'
        if not onnx_available():
            raise RuntimeUnavailableError(f"runtime 'onnx' needs onnxruntime; {INSTALL}")
        self.precision = precision or _find_precision(self.checksum, folder)
        paths = onnx_paths(self.checksum, self.precision, folder)
        if not paths.exist():
            facts = _facts(self.checksum, self.precision, 'ground')
            raise RuntimeUnavailableError(explain_missing(facts, folder))
        self._ground, self._crop = map(_session, astuple(paths))

    def encode_satellite(self, crops: torch.Tensor) -> torch.Tensor:
        """Map crops (N, 3, h, w) -> (N, D)."""
        return _run(self._crop, crops)

    def _encode_views(self, views: torch.Tensor) -> torch.Tensor:
        return _run(self._ground, views)


@dataclass(frozen=True)
class OnnxPaths:
    """The engine's two files, as camera views and map crops differ in size."""

    ground: Path
    """The encoder for camera views."""

    crop: Path
    """The encoder for map crops."""

    def exist(self) -> bool:
        """True where both files are there."""
        return self.ground.is_file() and self.crop.is_file()


def onnx_available() -> bool:
    """True where onnxruntime is installed."""
    return importlib.util.find_spec('onnxruntime') is not None


def onnx_paths(
    checksum: str, precision: str = 'float32', folder: str | Path | None = None
) -> OnnxPaths:
    """The `OnnxPaths` of a policy on this machine."""
    return OnnxPaths(
        engine_path(_facts(checksum, precision, 'ground'), SUFFIX, folder),
        engine_path(_facts(checksum, 'float32', 'crop'), SUFFIX, folder),
    )


def export_onnx(
    policy: ZoomPolicy, folder: str | Path | None = None, precision: str = 'float32'
) -> list[Path]:
    """Write the engine of a policy; returns its paths. Raises RuntimeUnavailableError where the
    exporter is not installed or fails, OutputError."""
    checksum, crop_px = weights_checksum(policy), policy.config.crop_px
    paths = onnx_paths(checksum, precision, folder)
    ground = _export(policy.encoder, views_shape(policy.config)[2:])
    crop = _export(policy.encoder, (crop_px, crop_px))
    save = _save_int8 if precision == 'int8' else _save
    write_engine(paths.ground, _facts(checksum, precision, 'ground'), partial(save, ground))
    write_engine(paths.crop, _facts(checksum, 'float32', 'crop'), partial(_save, crop))
    return list(astuple(paths))


def _facts(checksum: str, precision: str, images: str) -> Facts:
    # Not the version of onnxruntime: the file format outlives it.
    return engine_facts('onnx', checksum, precision, {}, input=images)


def _find_precision(checksum: str, folder: str | Path | None) -> str:
    there = onnx_paths(checksum, 'int8', folder).exist()
    return 'int8' if there else 'float32'


def _save(program: Any, path: Path) -> None:
    program.save(str(path))


def _save_int8(program: Any, path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=path.parent) as aside:
        single = Path(aside) / 'float32.onnx'
        _save(program, single)
        # Convolutions in int8 are slower than in float32, and far less exact.
        matrices = {'op_types_to_quantize': ['MatMul', 'Gemm'], 'per_channel': True}
        quantize_dynamic(single, path, weight_type=QuantType.QInt8, **matrices)


def _export(encoder: Encoder, size: tuple[int, int]) -> Any:
    """The encoder as an ONNX program, for any number of images of a size (H, W)."""
    example = torch.zeros(2, 3, *size)
    shapes = ({0: torch.export.Dim('images', min=1, max=4096)},)
    try:
        return torch.onnx.export(
            encoder.eval(), (example,), dynamo=True, dynamic_shapes=shapes, verbose=False
        )
    except ImportError as error:
        raise RuntimeUnavailableError(f'ONNX export needs {error.name}; {INSTALL}') from error
    except torch.onnx.errors.OnnxExporterError as error:
        raise RuntimeUnavailableError(
            f'the encoder cannot be exported: {first_line(error)}'
        ) from error


def _session(path: Path) -> Any:
    import onnxruntime

    check_whole(path)
    there = onnxruntime.get_available_providers()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=[p for p in PROVIDERS if p in there]
        )
    # onnxruntime's own errors share no public base.
    except Exception as error:
        raise RuntimeUnavailableError(
            f'{path} cannot be loaded ({first_line(error)}); {REMEDY}'
        ) from error


def _run(session: Any, images: torch.Tensor) -> torch.Tensor:
    array = np.ascontiguousarray(images.float().cpu().numpy())
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: array})[0])


ENGINE = EngineKind(export_onnx, OnnxRuntime, {'precision': PRECISIONS})
