"""Which runtimes there are. Loads none of them: commands and node read their choices from here.

To add a runtime, write a class with the `Runtime` protocol (`base.py`) in a file of its own and
name it in RUNTIMES. If it runs from engine files, say in an `EngineKind` how they are made and
name that in ENGINES.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from justzoom_ros.errors import RuntimeUnavailableError, first_line
from justzoom_ros.registry import Registry

if TYPE_CHECKING:
    from justzoom_ros.models.policy import ZoomPolicy
    from justzoom_ros.runtimes.base import EngineKind, Runtime

RUNTIMES: Registry[Callable[..., 'Runtime']] = Registry(
    'runtime',
    {
        'auto': 'justzoom_ros.runtimes.selection:open_best',
        'cpu': 'justzoom_ros.runtimes.torch_runtime:open_cpu',
        'cuda': 'justzoom_ros.runtimes.selection:open_cuda',
        'cuda_graph': 'justzoom_ros.runtimes.cuda_graph:CudaGraphRuntime',
        'compile': 'justzoom_ros.runtimes.torch_runtime:CompiledRuntime',
        'onnx': 'justzoom_ros.runtimes.onnx_runtime:OnnxRuntime',
        'tensorrt': 'justzoom_ros.runtimes.tensorrt_runtime:TensorRtRuntime',
    },
    RuntimeUnavailableError,
)
"""What makes a `Runtime` of a `ZoomPolicy`, by the name that users give."""

ENGINES: Registry['EngineKind'] = Registry(
    'engine',
    {
        'onnx': 'justzoom_ros.runtimes.onnx_runtime:ENGINE',
        'tensorrt': 'justzoom_ros.runtimes.tensorrt_runtime:ENGINE',
    },
    RuntimeUnavailableError,
)
"""How `justzoom export` makes an engine, by the name of the runtime that it is for."""


def open_runtime(policy: 'ZoomPolicy', name: str = 'auto', **options: Any) -> 'Runtime':
    """The runtime of that name. 'auto' is TensorRT where an engine of these weights was exported
    for this GPU, else CUDA where there is a GPU, else the faster of ONNX Runtime, where an engine
    was exported, and torch on the CPU. `options` are those of the runtime. Raises
    RuntimeUnavailableError where an explicit choice cannot be had."""
    make = RUNTIMES.get(name)
    try:
        return make(policy, **options)
    # Torch's: no memory left, no kernels for this GPU, an old driver.
    except RuntimeError as error:
        raise RuntimeUnavailableError(
            f'runtime {name!r} cannot start: {first_line(error)}'
        ) from error
