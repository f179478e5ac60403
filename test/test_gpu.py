"""On a GPU: the same answers as on the CPU. These tests need one; `pytest test/test_gpu.py`."""

import numpy as np
import pytest
import torch
from tiny import make_map, make_weights

from justzoom_ros import Localizer, ZoomPolicy
from justzoom_ros.bench.gpu import measure_gpu
from justzoom_ros.bench.inputs import base_policy, small_policy
from justzoom_ros.runtimes import open_runtime
from justzoom_ros.runtimes.cuda_graph import MAX_SHAPES, CudaGraphRuntime
from justzoom_ros.runtimes.parity import parity
from justzoom_ros.runtimes.torch_runtime import TorchRuntime, views_shape

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='torch finds no CUDA device')

POLICIES = pytest.mark.parametrize('make', [small_policy, base_policy])


def views(policy, count, seed=0):
    shape = count, *views_shape(policy.config)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def made(tmp_path):
    satellite_map = make_map(tmp_path)
    return satellite_map, make_weights(tmp_path, satellite_map)


@POLICIES
def test_a_frame_is_encoded_as_on_the_cpu(make):
    images = views(make(), 2)
    on_cpu = TorchRuntime(make(), 'cpu').encode_ground(images)
    on_gpu = TorchRuntime(make(), 'cuda').encode_ground(images).cpu()
    assert float((on_gpu - on_cpu).norm() / on_cpu.norm()) < 2e-3


@POLICIES
@pytest.mark.parametrize('precision', ['float16', 'float32'])
def test_a_graph_says_what_the_same_kernels_say_one_by_one(make, precision):
    plain = TorchRuntime(make(), 'cuda', precision)
    graph = CudaGraphRuntime(make(), precision)
    answers = [(plain.encode_ground(x), graph.encode_ground(x)) for x in
               (views(make(), 1, seed) for seed in range(3))]  # fmt: skip
    for expected, found in answers:  # also the first, after later launches have written anew
        assert float((found - expected).norm() / expected.norm()) < 1e-3


def test_shapes_beyond_those_that_get_a_graph_are_encoded_all_the_same():
    plain, graph = (
        TorchRuntime(small_policy(), 'cuda'),
        CudaGraphRuntime(small_policy(), 'float32'),
    )
    for count in range(1, MAX_SHAPES + 3):
        images = views(small_policy(), count)
        torch.testing.assert_close(
            graph.encode_ground(images), plain.encode_ground(images), rtol=1e-3, atol=1e-4
        )
    assert len(graph._graphs) == MAX_SHAPES


@pytest.mark.parametrize('precision', ['float16', 'float32'])
def test_posteriors_of_a_trained_policy_pass_the_parity_gate(made, precision):
    reference = TorchRuntime(ZoomPolicy.load(made[1]), 'cpu')
    for runtime in (TorchRuntime, lambda *args: CudaGraphRuntime(args[0], args[2])):
        assert parity(runtime(ZoomPolicy.load(made[1]), 'cuda', precision), reference).holds


def test_what_is_chosen_says_what_was_measured():
    found = open_runtime(small_policy(), 'cuda')
    assert 'in float32' in found.selection_reason and 'cuda_graph' in found.selection_reason


def test_auto_takes_the_gpu(made):
    assert open_runtime(ZoomPolicy.load(made[1])).name in ('cuda', 'cuda_graph')


def test_a_localizer_says_the_same_of_a_frame(made):
    image = np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)
    found = []
    for runtime in ('cpu', 'cuda', 'cuda_graph'):
        localizer = Localizer.open(
            map=made[0].path, weights=made[1], runtime=runtime, search='exact', registration=False
        )
        masses = np.zeros(256)
        posterior = localizer.posterior(image)
        masses[posterior.indices] = posterior.masses
        found.append(masses)
    for other in found[1:]:
        assert np.abs(other - found[0]).sum() / 2 < 0.005


def test_the_gpu_is_measured():
    found = measure_gpu('small', runs=3)
    assert found['device'] == torch.cuda.get_device_name()
    assert found['cuda']['median_ms'] > 0 and found['cpu / cuda'] > 0
