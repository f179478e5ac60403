"""What map embeddings cost: to make, to go on with after an interruption, to open."""

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from justzoom_ros.bench.inputs import CITY, PictureMap, small_policy
from justzoom_ros.bench.parts import POLICIES, RUNS
from justzoom_ros.bench.timing import time_in_turns, to_rows
from justzoom_ros.embeddings.cell_embeddings import make_embeddings
from justzoom_ros.embeddings.embedding_file import CellIdentity, read_table, write_table
from justzoom_ros.embeddings.map_cells import BATCH
from justzoom_ros.inference.preprocess import normalize
from justzoom_ros.models import ZoomPolicy
from justzoom_ros.runtimes.torch_runtime import TorchRuntime

INNER = sum(CITY.cell_count(k) for k in range(CITY.depth))
ALL = INNER + CITY.cell_count(CITY.depth)
WIDTHS = {'small': 192, 'base': 768}


def measure_embeddings(size: str = 'small') -> dict[str, Any]:
    """Cells a second; how long a file takes to open; what an interruption costs, for which the
    size of the encoder does not matter, so that it is measured with the small one."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure_rate(size)
        found['open'] = {
            f'{cells} cells of {WIDTHS[size]}': measure_opening(Path(folder), cells, WIDTHS[size])
            for cells in (INNER, ALL)
        }
        if size == 'small':
            found['resume'] = measure_resuming(Path(folder))
    return found


def measure_rate(size: str) -> dict[str, Any]:
    """How many cells a second the encoder makes of crops, in batches, cropping included."""
    policy = POLICIES[size]()
    runtime, picture_map = TorchRuntime(policy, 'cpu'), PictureMap(CITY)
    count = BATCH if size == 'small' else 4
    actions = [CITY.actions_of(3, index) for index in range(count)]
    crops = normalize(np.stack([picture_map.crop(a, policy.config.crop_px) for a in actions]))
    timings = time_in_turns(
        {
            'encode': partial(runtime.encode_satellite, crops),
            'crop': lambda: [picture_map.crop(a, policy.config.crop_px) for a in actions],
        },
        RUNS[size],
    )
    per_second = count / (timings['encode'].median_s + timings['crop'].median_s)
    return {
        'batch': count,
        'times': to_rows(timings),
        'cells per second': round(per_second, 2),
        'minutes for the published city': round(INNER / per_second / 60, 2),
    }


def measure_resuming(folder: Path) -> dict[str, Any]:
    """A build of the published city that is interrupted half way, and what the next one does."""
    policy = small_policy()
    city = _City(folder / 'city', policy.config.crop_px)
    first = _Interrupted(policy, batches=INNER // BATCH // 2)
    try:
        make_embeddings(city, first, progress=False)
    except KeyboardInterrupt:
        second = _Interrupted(policy)
        made = make_embeddings(city, second, progress=False)
    return {
        'cells': INNER,
        'encoded before': first.encoded,
        'encoded after': made.encoded,
        'share encoded twice': round((first.encoded + second.encoded) / INNER - 1, 4),
    }


def measure_opening(folder: Path, cells: int, width: int) -> dict[str, Any]:
    """Times to open a file: for the first time, when all of it is read, and later."""
    identity = CellIdentity('invented', 48, 'invented', cells, width, BATCH)
    file = folder / f'{identity.key}.safetensors'
    write_table(file, torch.randn(cells, width).half(), identity)
    # What was written this very moment is never taken for granted.
    os.utime(file, (0, 0))
    timings = time_in_turns(
        {
            'open': partial(read_table, file, identity),
            'check and open': partial(read_table, file, identity, check=True),
        },
        20,
    )
    return {'MB': round(file.stat().st_size / 1e6, 1), 'times': to_rows(timings)}


class _City(PictureMap):
    """The published city as a map that embeddings can be made of."""

    checksum = 'invented'

    def __init__(self, path: Path, crop_px: int) -> None:
        super().__init__(CITY)
        self.path, self.crop_px = path, crop_px

    def level_coverage(self, level: int) -> np.ndarray:
        """All is covered: float64 (branching ** level,)."""
        return np.ones(CITY.cell_count(level))


class _Interrupted(TorchRuntime):
    """A runtime that is interrupted in the middle of a batch, after so many."""

    def __init__(self, policy: ZoomPolicy, batches: int | None = None) -> None:
        super().__init__(policy, 'cpu')
        self.encoded, self._left = 0, batches

    def encode_satellite(self, crops: torch.Tensor) -> torch.Tensor:
        """As a runtime does, until it is interrupted before the batch is kept."""
        self.encoded += len(crops)
        encoded = super().encode_satellite(crops)
        if self._left == 0:
            raise KeyboardInterrupt
        if self._left:
            self._left -= 1
        return encoded
