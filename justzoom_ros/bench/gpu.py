"""What a GPU makes of a frame: encoders in single and half precision and as CUDA graphs, and the
search of a posterior."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from justzoom_ros.bench.inputs import CITY, picture, random_maps, sharpen
from justzoom_ros.bench.parts import ENOUGH, POLICIES, RUNS
from justzoom_ros.bench.timing import ratio, time_in_turns, to_rows
from justzoom_ros.embeddings import MapEmbeddings
from justzoom_ros.inference.preprocess import ground_views, normalize
from justzoom_ros.inference.tree_search import SearchConfig, search
from justzoom_ros.models import ZoomPolicy
from justzoom_ros.runtimes.cuda_graph import CudaGraphRuntime
from justzoom_ros.runtimes.parity import parity
from justzoom_ros.runtimes.torch_runtime import TorchRuntime, require_cuda

RUNTIMES: dict[str, Callable[[ZoomPolicy], TorchRuntime]] = {
    'cpu': partial(TorchRuntime, device='cpu'),
    'cuda': partial(TorchRuntime, device='cuda'),
    'cuda, float16': partial(TorchRuntime, device='cuda', precision='float16'),
    'cuda_graph': partial(CudaGraphRuntime, precision='float32'),
    'cuda_graph, float16': partial(CudaGraphRuntime, precision='float16'),
}


def measure_gpu(size: str = 'small', runs: int | None = None) -> dict[str, Any]:
    """Times of encoding a frame and of a best-first search over 65,536 cells, on the CPU and on
    the GPU; the total variation between their posteriors. Raises RuntimeUnavailableError without a
    GPU."""
    require_cuda('cuda')
    runtimes = {name: make(_policy(size)) for name, make in RUNTIMES.items()}
    views = normalize(ground_views(picture(), runtimes['cpu'].config))[None]
    timings = time_in_turns(
        {
            **{name: partial(_encode, each, views) for name, each in runtimes.items()},
            **{
                f'search: {name}': partial(_search, runtimes[name], _maps(runtimes[name]), views)
                for name in ('cpu', 'cuda')
            },
        },
        runs or RUNS[size],
    )
    faster = [name for name in RUNTIMES if name != 'cpu']
    return {
        'device': torch.cuda.get_device_name(),
        **to_rows(timings),
        **{f'cpu / {name}': ratio(timings, 'cpu', name) for name in faster},
        'search: cpu / cuda': ratio(timings, 'search: cpu', 'search: cuda'),
        'total variation': {
            name: parity(runtimes[name], runtimes['cpu']).total_variation for name in faster
        },
    }


def _policy(size: str) -> ZoomPolicy:
    """A policy as sure of itself as a trained one; the same in each call."""
    policy = POLICIES[size]()
    with torch.inference_mode():
        ground = policy.encode_ground(normalize(ground_views(picture(), policy.config))[None])[0]
    return sharpen(policy, random_maps(policy), ground)


def _maps(runtime: TorchRuntime) -> MapEmbeddings:
    """The map that the policy was made sure on, on the runtime's device."""
    made = random_maps(runtime)
    levels = tuple(level.to(runtime.device) for level in made.levels)
    return MapEmbeddings(CITY, levels, made.covered)


def _encode(runtime: TorchRuntime, views: torch.Tensor) -> None:
    runtime.encode_ground(views).cpu()  # a GPU has answered when the numbers are here


def _search(runtime: TorchRuntime, maps: MapEmbeddings, views: torch.Tensor) -> None:
    ground = runtime.encode_ground(views)[0]
    search(runtime, maps, ground, SearchConfig('best_first', unexplored=ENOUGH))
