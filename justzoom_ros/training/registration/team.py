"""One training run in several processes."""

import os

import torch
import torch.distributed as dist
from torch import nn

SYNC_STEPS = 8
"""Steps that each process takes alone."""


class Team:
    """The processes that `torchrun` started for this run; one where it was not used.

    Each takes steps of its own, on batches of its own, and every SYNC_STEPS steps all go on from
    the mean of their weights (local SGD, arXiv 1805.09767): on a shared machine nobody waits for
    the slowest at every step.
    """

    def __init__(self):
        self.rank = int(os.environ.get('RANK', 0))
        self.size = int(os.environ.get('WORLD_SIZE', 1))
        if self.size > 1 and not dist.is_initialized():
            dist.init_process_group('gloo')

    @torch.no_grad()
    def average_weights(self, network: nn.Module) -> None:
        """Replace weights by their mean over all processes."""
        if self.size == 1:
            return
        weights = list(network.parameters())
        flat = torch.cat([w.flatten() for w in weights])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([w.numel() for w in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.copy_(part.view_as(weight))

    def total(self, values: list[float]) -> list[float]:
        """Sums over all processes, one by one."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def leave(self) -> None:
        """End the run together: who left while another still talked would make it abort."""
        if self.size > 1 and dist.is_initialized():
            dist.barrier()
            dist.destroy_process_group()
