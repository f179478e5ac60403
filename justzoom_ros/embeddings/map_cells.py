"""Which cells of a map are encoded, and in which batches.

The encoder's last bits depend on what else is in a batch. So the batches follow from map and
policy alone: one process or many, interrupted or not, they make the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from justzoom_ros.inference.preprocess import normalize
from justzoom_ros.models.config import PolicyConfig
from justzoom_ros.region import Region

BATCH = 64
"""Cells with imagery that are encoded at a time."""


class MapCrops(Protocol):
    """What is encoded of a map; a `SatelliteMap` has it."""

    path: Path
    """The folder of the map; its embeddings are kept below it."""

    region: Region
    """The square that it shows."""

    checksum: str
    """Of its pixels and its region, in hex."""

    crop_px: int
    """Side in pixels of its own crops."""

    def level_coverage(self, level: int) -> np.ndarray:
        """Share (branching ** level,) of each cell of a level that has imagery."""

    def crop(self, actions: Sequence[int], px: int) -> np.ndarray:
        """The cell that actions lead to, uint8 (px, px, 3) RGB."""


class MapEncoder(Protocol):
    """What encodes a map: a runtime, without its search."""

    config: PolicyConfig
    """The configuration of the policy."""

    width: int
    """D, the length of an embedding."""

    checksum: str
    """sha256, in hex, of the weights and the configuration."""

    device: torch.device
    """Where embeddings come out and are used."""

    def encode_satellite(self, crops: torch.Tensor) -> torch.Tensor:
        """Map crops (N, 3, h, w) float32, normalised -> (N, D) float32 on the device."""


@dataclass(frozen=True)
class MapCells:
    """The cells that a policy looks at as rows of one table: level by level, in the order of the
    cell index."""

    region: Region
    """The region of the map."""

    levels: int
    """Number of levels in the table, from 0 on."""

    rows: np.ndarray
    """Numbers (N,) int64 of the rows with imagery."""

    covered: tuple[np.ndarray, ...]
    """Of each level 0 .. depth, bool (branching ** level,): whether there is imagery."""

    @classmethod
    def of(cls, satellite_map: MapCrops, config: PolicyConfig) -> 'MapCells':
        """Those of a map for a policy with a `PolicyConfig`."""
        region = satellite_map.region
        covered = tuple(satellite_map.level_coverage(k) > 0 for k in range(region.depth + 1))
        levels = region.depth + config.look_ahead
        return cls(region, levels, np.flatnonzero(np.concatenate(covered[:levels])), covered)

    @property
    def counts(self) -> list[int]:
        """Number of cells of each level."""
        return [self.region.cell_count(k) for k in range(self.levels)]

    @property
    def batches(self) -> int:
        """Number of batches."""
        return -(-len(self.rows) // BATCH)

    def batch(self, number: int) -> np.ndarray:
        """The rows of a batch, BATCH of them but for the last."""
        return self.rows[number * BATCH : (number + 1) * BATCH]

    def actions(self, row: int) -> tuple[int, ...]:
        """The actions that lead to the cell of a row."""
        for level, count in enumerate(self.counts):
            if row < count:
                return self.region.actions_of(level, row)
            row -= count
        raise IndexError(row)


def encode_cells(
    satellite_map: MapCrops, encoder: MapEncoder, cells: MapCells, rows: np.ndarray
) -> torch.Tensor:
    """Embeddings (N, D) float32, on the CPU, of the cells of some rows of `MapCells`."""
    crop_px = encoder.config.crop_px
    crops = np.stack([satellite_map.crop(cells.actions(row), crop_px) for row in rows])
    pixels = torch.from_numpy(crops).to(encoder.device)
    return encoder.encode_satellite(normalize(pixels)).float().cpu()
