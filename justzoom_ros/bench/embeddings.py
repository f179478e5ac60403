"""What map embeddings cost: to make, to go on with after an interruption, to open."""

import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch

from justzoom_ros.bench.parts import POLICIES, RUNS
from justzoom_ros.bench.timing import in_turns, rows
from justzoom_ros.bench.world import CITY, Ground, small_policy
from justzoom_ros.embeddings.cell_embeddings import make_embeddings
from justzoom_ros.embeddings.embedding_file import Identity, read_table, write_table
from justzoom_ros.embeddings.map_cells import BATCH
from justzoom_ros.inference.preprocess import normalize
from justzoom_ros.runtimes.torch_runtime import TorchRuntime

INNER = sum(CITY.branching**k for k in range(CITY.depth))
ALL = INNER + CITY.branching**CITY.depth
WIDTHS = {'small': 192, 'base': 768}


def embeddings(size='small'):
    """Cells a second; how long a file takes to open; what an interruption costs, for which the
    size of the encoder does not matter, so that it is measured with the small one."""
    with tempfile.TemporaryDirectory() as folder:
        found = rate(size)
        found['open'] = {
            f'{cells} cells of {WIDTHS[size]}': opening(Path(folder), cells, WIDTHS[size])
            for cells in (INNER, ALL)
        }
        if size == 'small':
            found['resume'] = resume(Path(folder))
    return found


def rate(size):
    """How many cells a second the encoder makes of crops, in batches, cropping included."""
    policy = POLICIES[size]()
    runtime, ground_map = TorchRuntime(policy, 'cpu'), Ground(CITY)
    count = BATCH if size == 'small' else 4
    actions = [CITY.actions(3, index) for index in range(count)]
    crops = normalize(np.stack([ground_map.crop(a, policy.config.crop_px) for a in actions]))
    timings = in_turns(
        {
            'encode': partial(runtime.encode_satellite, crops),
            'crop': lambda: [ground_map.crop(a, policy.config.crop_px) for a in actions],
        },
        RUNS[size],
    )
    per_second = count / (timings['encode'].median_s + timings['crop'].median_s)
    return {
        'batch': count,
        'times': rows(timings),
        'cells per second': round(per_second, 2),
        'minutes for the published city': round(INNER / per_second / 60, 2),
    }


def resume(folder):
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


def opening(folder, cells, width):
    """Times to open a file: for the first time, when all of it is read, and later."""
    identity = Identity('invented', 48, 'invented', cells, width, BATCH)
    file = folder / f'{identity.key}.safetensors'
    write_table(file, torch.randn(cells, width).half(), identity)
    # What was written this very moment is never taken for granted.
    os.utime(file, (0, 0))
    timings = in_turns(
        {
            'open': partial(read_table, file, identity),
            'check and open': partial(read_table, file, identity, check=True),
        },
        20,
    )
    return {'MB': round(file.stat().st_size / 1e6, 1), 'times': rows(timings)}


class _City(Ground):
    """The published city as a map that embeddings can be made of."""

    checksum = 'invented'

    def __init__(self, path, crop_px):
        super().__init__(CITY)
        self.path, self.crop_px = path, crop_px

    def level_coverage(self, level):
        """All is covered: float64 (branching ** level,)."""
        return np.ones(CITY.branching**level)


class _Interrupted(TorchRuntime):
    """A runtime that is interrupted in the middle of a batch, after so many."""

    def __init__(self, policy, batches=None):
        super().__init__(policy, 'cpu')
        self.encoded, self._left = 0, batches

    def encode_satellite(self, crops):
        """As a runtime does, until it is interrupted before the batch is kept."""
        self.encoded += len(crops)
        encoded = super().encode_satellite(crops)
        if self._left == 0:
            raise KeyboardInterrupt
        if self._left:
            self._left -= 1
        return encoded
