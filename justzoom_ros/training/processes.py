"""Where a process of a run computes, and how several share the work."""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from justzoom_ros.training.batches import Rank


def device_of_process() -> torch.device:
    """This process's own GPU, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device('cpu')
    return torch.device('cuda', int(os.environ.get('LOCAL_RANK', 0)))


def parallelize(module: nn.Module, rank: Rank, device: torch.device) -> nn.Module:
    """The module, with gradients averaged over all processes where there are several."""
    if rank.world == 1:
        return module
    if not dist.is_initialized():
        dist.init_process_group('nccl' if device.type == 'cuda' else 'gloo')
    return DistributedDataParallel(module)
