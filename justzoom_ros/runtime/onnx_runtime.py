"""A policy whose encoder runs in ONNX Runtime. The decoder, small and of growing shapes, stays in
torch. Both are optional packages: onnxruntime to run, onnxscript and onnx besides to export."""

import importlib.util
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch

from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.runtime.engines import (
    REMEDY,
    check_whole,
    engine_facts,
    engine_path,
    first_line,
    missing,
    write_engine,
)
from justzoom_ros.runtime.torch_runtime import TorchRuntime, views_shape, weights_checksum

PROVIDERS = ('CUDAExecutionProvider', 'CPUExecutionProvider')
SUFFIX = '.onnx'
INSTALL = "pip install 'justzoom_ros[onnx]'"


class OnnxRuntime(TorchRuntime):
    """As `TorchRuntime`, from an engine file of `export_onnx`. Raises RuntimeUnavailableError
    where onnxruntime or the engine is missing, or the engine cannot be read."""

    def __init__(self, policy, folder=None):
        super().__init__(policy, 'cpu')
        self.name = 'onnx'
        if not onnx_available():
            raise RuntimeUnavailableError(f"runtime 'onnx' needs onnxruntime; {INSTALL}")
        paths = onnx_paths(self.checksum, folder)
        if not all(path.is_file() for path in astuple(paths)):
            raise RuntimeUnavailableError(missing(_facts(self.checksum), folder))
        self._ground, self._crop = map(_session, astuple(paths))

    def encode_satellite(self, crops):
        """Map crops (N, 3, h, w) -> (N, D)."""
        return _run(self._crop, crops)

    def _encoded(self, views):
        return _run(self._ground, views)


@dataclass(frozen=True)
class OnnxPaths:
    """The engine's two files: the encoder for camera views and for map crops, whose sizes
    differ."""

    ground: Path
    crop: Path


def onnx_available():
    """True where onnxruntime is installed."""
    return importlib.util.find_spec('onnxruntime') is not None


def onnx_paths(checksum, folder=None):
    """The `OnnxPaths` of a policy on this machine."""
    facts = _facts(checksum)
    return OnnxPaths(
        *(engine_path({**facts, 'input': name}, SUFFIX, folder) for name in ('ground', 'crop'))
    )


def export_onnx(policy, folder=None):
    """Write the engine of a policy; returns its paths. Raises RuntimeUnavailableError where the
    exporter is not installed or fails, OutputError."""
    checksum = weights_checksum(policy)
    paths, facts = onnx_paths(checksum, folder), _facts(checksum)
    for name, path, size in (
        ('ground', paths.ground, views_shape(policy.config)[-2:]),
        ('crop', paths.crop, (policy.config.crop_px,) * 2),
    ):
        program = _exported(policy.encoder, size)
        write_engine(path, {**facts, 'input': name}, lambda to, p=program: p.save(str(to)))
    return list(astuple(paths))


def _facts(checksum):
    # Not the version of onnxruntime: the file format outlives it.
    return engine_facts('onnx', checksum, 'float32', {})


def _exported(encoder, size):
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


def _session(path):
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


def _run(session, images):
    array = np.ascontiguousarray(images.float().cpu().numpy())
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: array})[0])
