"""What a step of training sees: views with their actions, and the crops on the way there.

Views come from a source: a callable (config, rank, stream) -> Dataset whose item `step` is this
process's share of that step's batch, uint8 views (B, V, h, w, 3) and actions (B, S), and whose
`identity` says, in plain JSON types, what the views are drawn from. `ViewBatches` draws a downward
camera's from the map; `street.StreetBatches` cuts a forward camera's from pictures of streets.
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

TRAINING, VALIDATION, CALIBRATION = (), (1,), (2,)
"""Streams of views that have none in common: each is part of the seed of its views."""


@dataclass(frozen=True)
class Rank:
    """Which part of every batch this process takes: views rank, rank + world, ..."""

    rank: int = 0
    world: int = 1


class ViewBatches(Dataset):
    """Item `step` is this process's share of that step's batch: uint8 views (B, 1, h, w, 3) and
    actions (B, S). Every view has a seed of its own, so resuming or sharing changes nothing.

    `views` is a `NadirViews`, `config` a `TrainConfig`, `rank` a `Rank`, `stream` one of those
    above.
    """

    def __init__(self, views, config, rank, stream=TRAINING):
        self.views, self.config, self.rank, self.stream = views, config, rank, stream

    @property
    def identity(self):
        return {'views': asdict(self.views.config), 'look': asdict(self.views.appearance)}

    def __len__(self):
        return self.config.steps

    def __getitem__(self, step):
        numbers = range(self.rank.rank, self.config.batch, self.rank.world)
        seeds = [(self.config.seed, step, number, *self.stream) for number in numbers]
        images, positions = zip(*(self._sample(seed) for seed in seeds), strict=True)
        actions = self.views.region.encode_enu(*np.stack(positions).T)
        return torch.from_numpy(np.stack(images)[:, None]), torch.from_numpy(actions)

    def _sample(self, seed):
        """One view (h, w, 3) and the position (2,) that goes with it."""
        rng = np.random.default_rng(seed)
        image, pose = self.views.draw(rng)
        return image, self.views.stated_position(pose, rng)


class MapCrops:
    """The crops that a batch of action sequences passes through, each once."""

    def __init__(self, satellite_map, crop_px, most=8192):
        self.map, self.crop_px, self.most = satellite_map, crop_px, most
        self._crops = {}

    def __call__(self, sequence):
        """actions (B, S) -> distinct crops (U, h, w, 3) uint8 and rows (B, S) into them."""
        ways = [[tuple(row[:k]) for k in range(len(row))] for row in sequence.tolist()]
        where = {cell: u for u, cell in enumerate(sorted({cell for way in ways for cell in way}))}
        rows = torch.tensor([[where[cell] for cell in way] for way in ways])
        return torch.from_numpy(np.stack([self.crop(cell) for cell in where])), rows

    def crop(self, actions):
        """The crop (h, w, 3) uint8 of the cell that the actions lead to."""
        if actions not in self._crops:
            if len(self._crops) >= self.most:
                self._crops.clear()
            self._crops[actions] = self.map.crop(actions, self.crop_px)
        return self._crops[actions]


def quiet_worker(_):
    """Views are drawn one at a time: threads inside OpenCV would only fight over the cores."""
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
