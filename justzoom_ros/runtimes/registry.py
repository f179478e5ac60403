"""Which runtime a policy gets."""

import logging
import time

import numpy as np
import torch

from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.runtimes.engines import engines_of, first_line
from justzoom_ros.runtimes.onnx_runtime import OnnxRuntime
from justzoom_ros.runtimes.parity import check_parity
from justzoom_ros.runtimes.tensorrt_runtime import TensorRtRuntime
from justzoom_ros.runtimes.torch_runtime import (
    CompiledRuntime,
    TorchRuntime,
    views_shape,
    weights_checksum,
)

log = logging.getLogger(__name__)

RUNTIMES = ('auto', 'cpu', 'cuda', 'compile', 'onnx', 'tensorrt')
TRIAL_S = 0.4
"""Time in seconds after which no further turn of a trial is begun."""
HALF_FROM = (7, 0)
"""Compute capability from which on float16 has matrix units."""


def open_runtime(policy, name='auto'):
    """The runtime of that name. 'auto' is TensorRT where an engine of these weights was exported
    for this GPU, else CUDA where there is a GPU, else the faster of ONNX Runtime, where an engine
    was exported, and torch on the CPU. Raises RuntimeUnavailableError where an explicit choice
    cannot be had."""
    if name not in RUNTIMES:
        raise RuntimeUnavailableError(
            f'runtime {name!r} is not known; choose of {", ".join(RUNTIMES)}'
        )
    return _best(policy) if name == 'auto' else _opened(policy, name)


def fastest(runtimes):
    """The runtime that encodes a camera image in the least time, with the figures in its
    `choice`. They take turns, so that all meet the same neighbours on the machine."""
    started_s = time.perf_counter()
    taken = [[_encode_s(runtime)] for runtime in runtimes]
    while time.perf_counter() - started_s < TRIAL_S:
        for runtime, seconds in zip(runtimes, taken, strict=True):
            seconds.append(_encode_s(runtime))
    # The first call is the slow one; large encoders have no other.
    medians_s = [float(np.median(seconds[1:] or seconds)) for seconds in taken]
    order = np.argsort(medians_s, kind='stable')
    runtimes[order[0]].choice = 'a frame takes ' + ', '.join(
        f'{1000 * medians_s[k]:.1f} ms on {runtimes[k].name} in {runtimes[k].precision}'
        for k in order
    )
    return runtimes[order[0]]


def _best(policy):
    if torch.cuda.is_available():
        exported = engines_of('tensorrt', weights_checksum(policy))
        kinds = ['tensorrt', 'cuda'] if exported else ['cuda']
        for kind in kinds:
            if runtime := _tried(policy, kind):
                return runtime
    plain = TorchRuntime(policy, 'cpu')
    exported = engines_of('onnx', plain.checksum)
    precisions = {each['precision'] for each in exported if each.get('input') == 'ground'}
    tried = [_tried(policy, 'onnx', precision=each) for each in sorted(precisions)]
    there = [plain, *(runtime for runtime in tried if runtime)]
    return fastest(there) if len(there) > 1 else plain


def _tried(policy, kind, **options):
    """A runtime, or None and a warning that says why not."""
    try:
        return _opened(policy, kind, **options)
    except RuntimeUnavailableError as error:
        log.warning('%s; going on without', error)
        return None


def _opened(policy, name, **options):
    if name in ('cuda', 'tensorrt') and not torch.cuda.is_available():
        raise RuntimeUnavailableError(
            f"runtime {name!r} was asked for, but torch finds no CUDA device; use 'auto' or 'cpu'"
        )
    try:
        return MAKERS[name](policy, **options)
    # Torch's: no memory left, no kernels for this GPU, an old driver.
    except RuntimeError as error:
        raise RuntimeUnavailableError(
            f'runtime {name!r} cannot start: {first_line(error)}'
        ) from error


def _encode_s(runtime):
    images = torch.zeros(1, *views_shape(runtime.config))
    started_s = time.perf_counter()
    runtime.encode_ground(images).cpu()  # a GPU has answered when the numbers are here
    return time.perf_counter() - started_s


def _cpu(policy):
    return TorchRuntime(policy, 'cpu')


def _cuda(policy):
    """In half precision where that passes the gate and is faster."""
    plain = TorchRuntime(policy, 'cuda')
    if torch.cuda.get_device_capability() < HALF_FROM:
        return plain
    half = TorchRuntime(policy, 'cuda', 'float16')
    try:
        check_parity(half, plain)
    except RuntimeUnavailableError as error:
        plain.choice = str(error)
        return plain
    return fastest([half, plain])


MAKERS = {
    'cpu': _cpu,
    'cuda': _cuda,
    'compile': CompiledRuntime,
    'onnx': OnnxRuntime,
    'tensorrt': TensorRtRuntime,
}
