"""Which runtime a policy gets where the choice is left to the package: the fastest, measured."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch

from justzoom_ros.errors import RuntimeUnavailableError, first_line
from justzoom_ros.models.policy import ZoomPolicy
from justzoom_ros.runtimes.base import Runtime
from justzoom_ros.runtimes.cuda_graph import CudaGraphRuntime
from justzoom_ros.runtimes.engines import engines_of
from justzoom_ros.runtimes.parity import check_parity
from justzoom_ros.runtimes.registry import open_runtime
from justzoom_ros.runtimes.torch_runtime import (
    TorchRuntime,
    require_cuda,
    views_shape,
    weights_checksum,
)

log = logging.getLogger(__name__)

TRIAL_S = 0.4
"""Time in seconds after which no further turn of a trial is begun."""

HALF_FROM = (7, 0)
"""Compute capability from which on float16 has matrix units."""


def open_best(policy: ZoomPolicy) -> Runtime:
    """TensorRT where an engine was exported for this GPU, else CUDA where there is a GPU, else the
    faster of the ONNX engines that were exported and torch on the CPU. Logs what it goes without
    and why."""
    if torch.cuda.is_available():
        exported = engines_of('tensorrt', weights_checksum(policy))
        for name in ['tensorrt', 'cuda'] if exported else ['cuda']:
            if runtime := _try(policy, name):
                return runtime
    plain = TorchRuntime(policy, 'cpu')
    exported = engines_of('onnx', plain.checksum)
    precisions = {each['precision'] for each in exported if each.get('input') == 'ground'}
    tried = [_try(policy, 'onnx', precision) for precision in sorted(precisions)]
    there = [plain, *(runtime for runtime in tried if runtime)]
    return fastest(there) if len(there) > 1 else plain


def open_cuda(policy: ZoomPolicy) -> Runtime:
    """Torch on the GPU: in half precision and as a CUDA graph where those pass the parity gate
    and are faster. Raises RuntimeUnavailableError without a GPU."""
    require_cuda('cuda')
    plain = TorchRuntime(policy, 'cuda')
    passed, refusals = _pass_gate(_faster_on_cuda(policy), plain)
    chosen = fastest([*passed, plain]) if passed else plain
    chosen.selection_reason = '; '.join(filter(None, [chosen.selection_reason, *refusals]))
    return chosen


def _faster_on_cuda(policy: ZoomPolicy) -> list[Callable[[], TorchRuntime]]:
    """What makes the runtimes that may beat plain torch on this GPU."""
    if torch.cuda.get_device_capability() < HALF_FROM:
        return [partial(CudaGraphRuntime, policy, 'float32')]
    return [partial(TorchRuntime, policy, 'cuda', 'float16'), partial(CudaGraphRuntime, policy)]


def _pass_gate(
    makers: Iterable[Callable[[], TorchRuntime]], reference: Runtime
) -> tuple[list[TorchRuntime], list[str]]:
    """The runtimes that can be made and pass the parity gate, and why the others do not."""
    passed, refusals = [], []
    for make in makers:
        try:
            runtime = make()
            check_parity(runtime, reference)
        # Torch raises RuntimeError where a graph cannot be recorded.
        except (RuntimeUnavailableError, RuntimeError) as error:
            refusals.append(first_line(error))
        else:
            passed.append(runtime)
    return passed, refusals


def fastest(runtimes: Sequence[Runtime]) -> Runtime:
    """The runtime that encodes a camera image in the least time, with the figures in its
    `selection_reason`. They take turns, so that all meet the same neighbours on the machine."""
    started_s = time.perf_counter()
    taken = [[_encode_s(runtime)] for runtime in runtimes]
    while time.perf_counter() - started_s < TRIAL_S:
        for runtime, seconds in zip(runtimes, taken, strict=True):
            seconds.append(_encode_s(runtime))
    # The first call is the slow one; large encoders have no other.
    medians_s = [float(np.median(seconds[1:] or seconds)) for seconds in taken]
    order = np.argsort(medians_s, kind='stable')
    runtimes[order[0]].selection_reason = 'a frame takes ' + ', '.join(
        f'{1000 * medians_s[k]:.1f} ms on {runtimes[k].name} in {runtimes[k].precision}'
        for k in order
    )
    return runtimes[order[0]]


def _try(policy: ZoomPolicy, name: str, precision: str | None = None) -> Runtime | None:
    """A runtime, or None and a warning that says why not."""
    try:
        return open_runtime(policy, name, **({'precision': precision} if precision else {}))
    except RuntimeUnavailableError as error:
        log.warning('%s; going on without', error)
        return None


def _encode_s(runtime: Runtime) -> float:
    """Seconds in which one camera image is encoded."""
    images = torch.zeros(1, *views_shape(runtime.config))
    started_s = time.perf_counter()
    runtime.encode_ground(images).cpu()  # a GPU has answered when the numbers are here
    return time.perf_counter() - started_s
