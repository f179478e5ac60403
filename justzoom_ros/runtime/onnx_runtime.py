"""A policy whose encoder runs in ONNX Runtime. The decoder, small and of growing shapes, stays in
torch. Both are optional packages: onnxruntime to run, onnxscript and onnx besides to export."""

import importlib.util
from dataclasses import dataclass

import numpy as np
import torch

from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.runtime.engines import engine_facts, engine_path, write_engine
from justzoom_ros.runtime.torch_runtime import TorchRuntime, weights_checksum

PROVIDERS = ('CUDAExecutionProvider', 'CPUExecutionProvider')
SUFFIX = '.onnx'
INSTALL = "pip install 'justzoom_ros[onnx]'"


class OnnxRuntime(TorchRuntime):
    """As `TorchRuntime`, from an engine file of `export_onnx`. Raises RuntimeUnavailableError
    where onnxruntime or the engine is missing, or the engine cannot be read."""

    def __init__(self, policy, folder=None):
        super().__init__(policy, 'cpu')
        self.name = 'onnx'
        paths = onnx_paths(policy, folder)
        if not paths.all_there():
            raise RuntimeUnavailableError(
                f'there is no ONNX engine of these weights at {paths.crop}; make it by '
                '`justzoom export --weights FILE`'
            )
        self._ground, self._crop = (_session(path) for path in (paths.ground, paths.crop))

    def encode_ground(self, ground):
        """Camera views (B, V, 3, H, W) -> (B, D)."""
        encoded = _run(self._ground, ground.flatten(0, 1))
        return encoded.unflatten(0, ground.shape[:2]).mean(dim=1)

    def encode_satellite(self, crops):
        """Map crops (N, 3, h, w) -> (N, D)."""
        return _run(self._crop, crops)


@dataclass(frozen=True)
class OnnxPaths:
    """The engine's two files: the encoder for camera views and for map crops, whose sizes
    differ."""

    ground: object
    crop: object

    def all_there(self):
        """True where both files are."""
        return self.ground.is_file() and self.crop.is_file()


def onnx_available():
    """True where onnxruntime is installed."""
    return importlib.util.find_spec('onnxruntime') is not None


def onnx_paths(policy, folder=None):
    """The `OnnxPaths` of a policy on this machine."""
    facts = _facts(policy)
    return OnnxPaths(
        *(engine_path({**facts, 'input': name}, SUFFIX, folder) for name in ('ground', 'crop'))
    )


def export_onnx(policy, folder=None):
    """Write the engine of a policy; returns its `OnnxPaths`. Raises RuntimeUnavailableError where
    the exporter is not installed or fails, OutputError."""
    paths, facts = onnx_paths(policy, folder), _facts(policy)
    for name, path, size in (
        ('ground', paths.ground, ground_size(policy.config)),
        ('crop', paths.crop, (policy.config.crop_px,) * 2),
    ):
        program = _exported(policy.encoder, size)
        write_engine(path, {**facts, 'input': name}, lambda to, p=program: p.save(str(to)))
    return paths


def ground_size(config):
    """Height and width of one camera view as the encoder sees it."""
    height = config.ground_px
    wide = config.view == 'nadir'
    return height, round(height * config.ground_aspect) if wide else height


def _facts(policy):
    # Not the version of onnxruntime: the file format outlives it.
    return engine_facts('onnx', weights_checksum(policy), 'float32', {})


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
        first = str(error).strip().splitlines()[0]
        raise RuntimeUnavailableError(f'the encoder cannot be exported: {first}') from error


def _session(path):
    if not onnx_available():
        raise RuntimeUnavailableError(f"runtime 'onnx' needs onnxruntime; {INSTALL}")
    import onnxruntime

    there = onnxruntime.get_available_providers()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=[p for p in PROVIDERS if p in there]
        )
    # onnxruntime's own errors share no public base.
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise RuntimeUnavailableError(
            f'{path} cannot be loaded ({first}); delete it and export again'
        ) from error


def _run(session, images):
    array = np.ascontiguousarray(images.float().cpu().numpy())
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: array})[0])
