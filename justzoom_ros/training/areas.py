"""What a run learns from, and what it is validated on: maps, each with views of it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import Dataset

from justzoom_ros.embeddings.cell_embeddings import MapEmbeddings, encode_map
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.models import ZoomPolicy
from justzoom_ros.runtimes.torch_runtime import TorchRuntime
from justzoom_ros.training.batches import (
    TRAINING,
    Batch,
    MapCrops,
    Rank,
    Stream,
    ViewDataset,
    ViewSource,
)
from justzoom_ros.training.recipe import TrainConfig

TABLE_STEPS = 50
"""So many steps the map embeddings stay as they are that a policy looks ahead into."""


class Area:
    """A map, its crops of `crop_px` pixels, and a `source` of views of it, see `batches.py`."""

    def __init__(self, satellite_map: SatelliteMap, source: ViewSource, crop_px: int) -> None:
        self.map, self.source = satellite_map, source
        self.crops = MapCrops(satellite_map, crop_px)
        self._table: MapEmbeddings | None = None
        self._table_step = 0

    def draw_unseen(self, config: TrainConfig, stream: Stream, count: int) -> Iterator[Batch]:
        """Batches (views, actions) of at least `count` views that training never draws, the
        stream being another than TRAINING."""
        config = replace(config, batch=64)
        batches = self.source(config, Rank(), stream)
        return (batches[number] for number in range(math.ceil(count / config.batch)))

    def draw_identity(self, config: TrainConfig) -> dict[str, Any]:
        """What the views are drawn from, in plain JSON types."""
        return self.source(config, Rank(), TRAINING).identity

    def cell_index(self, actions: torch.Tensor) -> torch.Tensor:
        """Indices (B,) of the terminal cells that actions (B, S) lead to."""
        return torch.from_numpy(self.map.region.cell_index(actions.numpy()))

    def child_embeddings(
        self, policy: ZoomPolicy, actions: torch.Tensor, step: int
    ) -> torch.Tensor:
        """Embeddings (B, S, A, D) of the children of the cells that actions (B, S) lead through,
        from a table of the whole map that is made anew every TABLE_STEPS steps. No gradient flows
        into them: a cell is learned where it is passed through. So looking ahead costs a step next
        to nothing, where encoding the children would cost four times the rest of it."""
        if self._table is None or step >= self._table_step + TABLE_STEPS:
            self._table, self._table_step = self._encode(policy), step
        region, length = self.map.region, actions.shape[1]
        passed = [region.cell_index(actions[:, :level].numpy()) for level in range(length)]
        ahead = [self._table.ahead(level, cells) for level, cells in enumerate(passed)]
        return torch.stack([children for children in ahead if children is not None], dim=1)

    def forget_table(self) -> None:
        """Encode the map anew when its cells are next looked at."""
        self._table = None

    def _encode(self, policy: ZoomPolicy) -> MapEmbeddings:
        was_training = policy.training
        policy.eval()
        table = encode_map(self.map, TorchRuntime(policy, next(policy.parameters()).device))
        policy.train(was_training)
        return table


class RoundRobin(Dataset):
    """Item `step` is that step's batch of the area whose turn it is; `batches` of each area."""

    def __init__(self, batches: Sequence[ViewDataset]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches[0])

    def __getitem__(self, step: int) -> Batch:
        return self.batches[step % len(self.batches)][step]
