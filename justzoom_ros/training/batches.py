"""What a step of training sees: views with their actions, and the crops on the way there.

Views come from a `ViewSource`. `ViewBatches` draws a downward camera's from the map;
`street.StreetBatches` cuts a forward camera's from pictures of streets.
"""

import os
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.training.nadir_views import NadirViews
from justzoom_ros.training.recipe import TrainConfig

Batch = tuple[torch.Tensor, torch.Tensor]
"""uint8 views (B, V, h, w, 3) and the actions (B, S), int64, to the cells they were taken in."""

Stream = tuple[int, ...]
TRAINING: Stream = ()
VALIDATION: Stream = (1,)
CALIBRATION: Stream = (2,)
"""Streams of views that have none in common: each is part of the seed of its views."""


@dataclass(frozen=True)
class Rank:
    """Which part of every batch this process takes: views rank, rank + world, ..."""

    rank: int = 0
    """Number of this process."""

    world: int = 1
    """How many processes share the work."""

    @classmethod
    def of_process(cls) -> 'Rank':
        """What torchrun says of this process; without it there is one only."""
        return cls(int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1)))

    @property
    def leads(self) -> bool:
        """True in the one process that writes files and shows progress."""
        return self.rank == 0


class ViewDataset(Protocol):
    """Item `step` is one process's share of that step's batch."""

    @property
    def identity(self) -> dict[str, Any]:
        """What the views are drawn from, in plain JSON types."""

    def __len__(self) -> int: ...

    def __getitem__(self, step: int) -> Batch: ...


class ViewSource(Protocol):
    """Makes the views of a run, of a process's share of it, of one of the streams above."""

    def __call__(self, config: TrainConfig, rank: Rank, stream: Stream) -> ViewDataset: ...


class ViewBatches(Dataset):
    """Item `step` is this process's share of that step's batch: uint8 views (B, 1, h, w, 3) and
    actions (B, S). Every view has a seed of its own, so resuming or sharing changes nothing."""

    def __init__(
        self, views: NadirViews, config: TrainConfig, rank: Rank, stream: Stream = TRAINING
    ) -> None:
        self.views, self.config, self.rank, self.stream = views, config, rank, stream

    @property
    def identity(self) -> dict[str, Any]:
        """What the views are drawn from, in plain JSON types."""
        return {'views': asdict(self.views.config), 'look': asdict(self.views.appearance)}

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> Batch:
        numbers = range(self.rank.rank, self.config.batch, self.rank.world)
        seeds = [(self.config.seed, step, number, *self.stream) for number in numbers]
        images, positions = zip(*(self._sample(seed) for seed in seeds), strict=True)
        actions = self.views.region.encode_enu(*np.stack(positions).T)
        return torch.from_numpy(np.stack(images)[:, None]), torch.from_numpy(actions)

    def _sample(self, seed: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """One view (h, w, 3) and the position (2,) that goes with it."""
        rng = np.random.default_rng(seed)
        image, pose = self.views.draw(rng)
        return image, self.views.stated_position(pose, rng)


class MapCrops:
    """The crops that a batch of action sequences passes through, each once. At most `most` stay in
    memory."""

    def __init__(self, satellite_map: SatelliteMap, crop_px: int, most: int = 8192) -> None:
        self.map, self.crop_px, self.most = satellite_map, crop_px, most
        self._crops: dict[tuple[int, ...], np.ndarray] = {}

    def __call__(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Actions (B, S) -> distinct crops (U, h, w, 3) uint8 and rows (B, S) into them."""
        passed = [[tuple(row[:k]) for k in range(len(row))] for row in actions.tolist()]
        distinct = sorted({cell for cells in passed for cell in cells})
        row_of = {cell: row for row, cell in enumerate(distinct)}
        rows = torch.tensor([[row_of[cell] for cell in cells] for cells in passed])
        return torch.from_numpy(np.stack([self.crop(cell) for cell in distinct])), rows

    def crop(self, actions: tuple[int, ...]) -> np.ndarray:
        """The crop (h, w, 3) uint8 of the cell that the actions lead to."""
        if actions not in self._crops:
            if len(self._crops) >= self.most:
                self._crops.clear()
            self._crops[actions] = self.map.crop(actions, self.crop_px)
        return self._crops[actions]


def quiet_worker(_: int) -> None:
    """Views are drawn one at a time: threads inside OpenCV would only fight over the cores."""
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
