"""One training run in several processes."""

import os

import torch
import torch.distributed as dist
from torch import nn


class Team:
    """The processes that `torchrun` started for this run; one where it was not used.

    Each draws batches of its own and all take the same step along the mean gradient, so that
    several processes take larger steps, not other ones.
    """

    def __init__(self):
        self.rank, self.size = (
            int(os.environ.get(n, d)) for n, d in (('RANK', 0), ('WORLD_SIZE', 1))
        )
        if self.size > 1 and not dist.is_initialized():
            dist.init_process_group('gloo')

    def average_gradients(self, network: nn.Module) -> None:
        """Replace gradients by their mean over all processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def total(self, value: float) -> float:
        """Sum over all processes."""
        if self.size == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(tensor)
        return float(tensor)
