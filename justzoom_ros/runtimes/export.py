"""Making engines: built aside, checked, and only then put where they are found."""

import tempfile

from justzoom_ros.files import output_folder
from justzoom_ros.runtimes.engines import engine_folder, keep_engines
from justzoom_ros.runtimes.onnx_runtime import OnnxRuntime, export_onnx
from justzoom_ros.runtimes.parity import check_parity
from justzoom_ros.runtimes.tensorrt_runtime import TensorRtRuntime, export_tensorrt
from justzoom_ros.runtimes.torch_runtime import TorchRuntime

ENGINES = {'onnx': (export_onnx, OnnxRuntime), 'tensorrt': (export_tensorrt, TensorRtRuntime)}
"""How each kind of engine is made, and what runs it."""


def export_engine(policy, kind, folder=None, **options):
    """Make the engine of a policy for this machine and keep it, if it says what torch says in
    float32. Returns (its paths, the `Parity`). `options` are those of its exporter. Raises
    RuntimeUnavailableError, with the figures where the gate refuses it, and OutputError."""
    make, run = ENGINES[kind]
    place = output_folder(folder or engine_folder())
    with tempfile.TemporaryDirectory(prefix='.trial-', dir=place) as trial:
        paths = make(policy, trial, **options)
        runtime = run(policy, trial)
        found = check_parity(runtime, TorchRuntime(policy, runtime.device.type))
        figures = {'frames': found.frames, 'total_variation': found.total_variation}
        return keep_engines(paths, place, figures), found
