"""What a run learns from, and what it is judged on: maps, each with views of it."""

import math
from dataclasses import replace

import torch
from torch.utils.data import Dataset

from justzoom_ros.embeddings.cell_embeddings import encode_map
from justzoom_ros.runtimes.torch_runtime import TorchRuntime
from justzoom_ros.training.batches import MapCrops, Rank

TABLE_STEPS = 50
"""So many steps the map embeddings stay as they are that a policy looks ahead into."""


class Area:
    """A map, its crops of `crop_px` pixels, and a `source` of views of it, see `batches.py`."""

    def __init__(self, satellite_map, source, crop_px):
        self.map, self.source = satellite_map, source
        self.crops = MapCrops(satellite_map, crop_px)
        self._table, self._table_step = None, 0

    def unseen(self, config, stream, count):
        """Batches (views, actions) of at least `count` views that training never draws, the
        stream being another than TRAINING."""
        config = replace(config, batch=64)
        batches = self.source(config, Rank(), stream)
        return (batches[number] for number in range(math.ceil(count / config.batch)))

    def ways(self, actions):
        """Cell indices (B,) of the terminal cells that actions (B, S) lead to."""
        return (actions * self._powers(actions)).sum(dim=1)

    def children(self, policy, actions, step):
        """Embeddings (B, S, A, D) of the children of the cells that actions (B, S) lead through,
        from a table of the whole map that is made anew every TABLE_STEPS steps. No gradient flows
        into them: a cell is learned where it is passed through. So looking ahead costs a step next
        to nothing, where encoding the children would cost four times the rest of it."""
        if self._table is None or step >= self._table_step + TABLE_STEPS:
            training = policy.training
            policy.eval()
            device = next(policy.parameters()).device
            self._table, self._table_step = (
                encode_map(self.map, TorchRuntime(policy, device)),
                step,
            )
            policy.train(training)
        ways, powers = self.ways(actions), self._powers(actions)
        cells = [ways // powers[level - 1] if level else 0 * ways for level in range(len(powers))]
        ahead = [self._table.ahead(level, cell.numpy()) for level, cell in enumerate(cells)]
        return torch.stack(ahead, dim=1)

    def forget(self):
        """Encode the map anew when its cells are next looked at."""
        self._table = None

    def _powers(self, actions):
        return self.map.region.branching ** torch.arange(actions.shape[1]).flip(0)


class RoundRobin(Dataset):
    """Item `step` is that step's batch of the area whose turn it is; `batches` of each area."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches[0])

    def __getitem__(self, step):
        return self.batches[step % len(self.batches)][step]
