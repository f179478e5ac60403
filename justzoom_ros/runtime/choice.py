"""Which runtime a policy gets."""

import logging

import torch

from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.runtime.onnx_runtime import OnnxRuntime, onnx_available, onnx_paths
from justzoom_ros.runtime.torch_runtime import TorchRuntime

log = logging.getLogger(__name__)

RUNTIMES = ('auto', 'cpu', 'cuda', 'compile', 'onnx')


def open_runtime(policy, name='auto'):
    """The runtime of that name. 'auto' is CUDA where there is a GPU, else ONNX Runtime where an
    engine of these weights was exported, else torch on the CPU. Raises RuntimeUnavailableError
    where an explicit choice cannot be had."""
    if name not in RUNTIMES:
        raise RuntimeUnavailableError(
            f'runtime {name!r} is not known; choose of {", ".join(RUNTIMES)}'
        )
    if name == 'auto':
        return _best(policy)
    if name == 'cuda' and not torch.cuda.is_available():
        raise RuntimeUnavailableError(
            "runtime 'cuda' was asked for, but torch finds no CUDA device; use 'auto' or 'cpu'"
        )
    if name == 'onnx':
        return OnnxRuntime(policy)
    if name == 'compile':
        return CompiledRuntime(policy)
    return TorchRuntime(policy, name)


def _best(policy):
    if torch.cuda.is_available():
        return TorchRuntime(policy, 'cuda')
    if onnx_available() and onnx_paths(policy).all_there():
        try:
            return OnnxRuntime(policy)
        except RuntimeUnavailableError as error:
            log.warning('%s; going on with torch', error)
    return TorchRuntime(policy, 'cpu')


class CompiledRuntime(TorchRuntime):
    """As `TorchRuntime`, the encoder by torch.compile: seconds at the start, for every size of
    images. Needs a C++ compiler on a CPU."""

    def __init__(self, policy):
        super().__init__(policy, 'cuda' if torch.cuda.is_available() else 'cpu')
        self.name = 'compile'
        self._encode = torch.compile(self._policy.encoder, dynamic=False)

    @torch.inference_mode()
    def encode_ground(self, ground):
        """Camera views (B, V, 3, H, W) -> (B, D)."""
        encoded = self._encode(ground.to(self.device).flatten(0, 1))
        return encoded.unflatten(0, ground.shape[:2]).mean(dim=1)
