"""A policy on CUDA whose encoder is one CUDA graph.

A small encoder is computed faster than its kernels are launched one by one. A graph is recorded
once for a shape of images and launched as a whole from then on. See "CUDA Graphs" in the CUDA C++
Programming Guide and `torch.cuda.graph`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from justzoom_ros.models.policy import ZoomPolicy
from justzoom_ros.runtimes.torch_runtime import TorchRuntime, require_cuda

MAX_SHAPES = 4
"""Shapes of images that get a graph, which keeps memory of its own; others are encoded without."""

WARM_UP_RUNS = 3
"""Runs before a recording, in which libraries choose their kernels and take their memory."""


class CudaGraphRuntime(TorchRuntime):
    """As `TorchRuntime` on CUDA. Raises RuntimeUnavailableError without a GPU."""

    def __init__(self, policy: ZoomPolicy, precision: str = 'float16') -> None:
        require_cuda('cuda_graph')
        super().__init__(policy, 'cuda', precision)
        self.name = 'cuda_graph'
        self._graphs: dict[torch.Size, _Recorded] = {}

    def _encode_views(self, views: torch.Tensor) -> torch.Tensor:
        if views.shape not in self._graphs:
            if len(self._graphs) == MAX_SHAPES:
                return super()._encode_views(views)
            self._graphs[views.shape] = _record(super()._encode_views, views)
        return self._graphs[views.shape](views)


@dataclass(frozen=True)
class _Recorded:
    """A recorded function of one tensor."""

    graph: torch.cuda.CUDAGraph
    """What is launched."""

    given: torch.Tensor
    """Where the graph reads."""

    result: torch.Tensor
    """Where it writes; overwritten by the next launch."""

    def __call__(self, given: torch.Tensor) -> torch.Tensor:
        self.given.copy_(given)
        self.graph.replay()
        return self.result.clone()


def _record(function: Callable[[torch.Tensor], torch.Tensor], given: torch.Tensor) -> _Recorded:
    """`function`, which must launch the same kernels each time, for tensors of this shape."""
    own, graph = given.clone(), torch.cuda.CUDAGraph()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP_RUNS):
            function(own)
    torch.cuda.current_stream().wait_stream(aside)
    # Other threads may use the GPU meanwhile: only this one's calls are recorded.
    with torch.cuda.graph(graph, capture_error_mode='thread_local'):
        result = function(own)
    return _Recorded(graph, own, result)
