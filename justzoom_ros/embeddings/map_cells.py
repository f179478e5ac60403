"""Which cells of a map are encoded, and in which batches.

The encoder's last bits depend on what else is in a batch. So the batches follow from map and
policy alone: one process or many, interrupted or not, they make the same bytes.
"""

from dataclasses import dataclass

import numpy as np
import torch

from justzoom_ros.inference.preprocess import normalize
from justzoom_ros.region import Region

BATCH = 64


@dataclass(frozen=True)
class MapCells:
    """The cells that a policy looks at, of all levels 0 .. levels - 1, as rows of one table: level
    by level, in the order of the cell index. `rows` are those with imagery, `covered[k]`
    (branching ** k,) bool the same for each level 0 .. depth."""

    region: Region
    levels: int
    rows: np.ndarray
    covered: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, satellite_map, config):
        """Those of a map for a policy with a `PolicyConfig`."""
        region = satellite_map.region
        covered = tuple(satellite_map.level_coverage(k) > 0 for k in range(region.depth + 1))
        levels = region.depth + config.look_ahead
        return cls(region, levels, np.flatnonzero(np.concatenate(covered[:levels])), covered)

    @property
    def counts(self):
        """Number of cells of each level."""
        return [self.region.cell_count(k) for k in range(self.levels)]

    @property
    def batches(self):
        """Number of batches."""
        return -(-len(self.rows) // BATCH)

    def batch(self, number):
        """The rows of a batch, BATCH of them but for the last."""
        return self.rows[number * BATCH : (number + 1) * BATCH]

    def actions(self, row):
        """The actions that lead to the cell of a row."""
        for level, count in enumerate(self.counts):
            if row < count:
                return self.region.actions_of(level, row)
            row -= count
        raise IndexError(row)


def encoded(satellite_map, runtime, cells, rows):
    """Embeddings (N, D) float32, on the CPU, of the cells of some rows of `MapCells`."""
    crop_px = runtime.config.crop_px
    crops = np.stack([satellite_map.crop(cells.actions(row), crop_px) for row in rows])
    pixels = torch.from_numpy(crops).to(runtime.device)
    return runtime.encode_satellite(normalize(pixels)).float().cpu()
