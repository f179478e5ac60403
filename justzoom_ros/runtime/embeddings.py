"""What the encoder makes of the map, computed once per map and weights.

The map does not move: every crop that the policy can look at has one embedding. They are kept in
one file beside the map, `embeddings/<key>.safetensors`, or in the user's cache folder where the
map's folder cannot be written. The key holds the checksums of weights and map, so a changed map
or other weights find no file and build a new one.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from justzoom_ros.files import replacing
from justzoom_ros.images import normalised
from justzoom_ros.region import Region

USER_CACHE = Path('~/.cache/justzoom_ros/embeddings')
BATCH = 64


@dataclass(frozen=True)
class MapEmbeddings:
    """`levels[k]` (branching ** k, D) of the cells that k actions lead to, k = 0 .. depth - 1, for
    a policy that looks ahead also k = depth, and `covered[k]` (branching ** k,) bool, k = 0 ..
    depth: whether there is imagery at all. Both in path order."""

    region: Region
    levels: tuple[torch.Tensor, ...]
    covered: tuple[np.ndarray, ...]

    def at(self, level, indices):
        """Embeddings (N, D) of cells of a level, given their path indices (N,)."""
        table = self.levels[level]
        return table[torch.from_numpy(indices).to(table.device)]

    def ahead(self, level, indices):
        """Embeddings (N, A, D) of the children of cells of a level, None where the policy does
        not look ahead."""
        if len(self.levels) <= self.region.depth:
            return None
        table = self.levels[level + 1].unflatten(0, (-1, self.region.branching))
        return table[torch.from_numpy(indices).to(table.device)]


def map_embeddings(satellite_map, runtime, progress=True):
    """The embeddings of all cells of a map that the policy can look at: read from the cache, or
    made and kept there."""
    key, region = _key(satellite_map, runtime), satellite_map.region
    folders = [satellite_map.path / 'embeddings', USER_CACHE.expanduser()]
    files = [folder / f'{key}.safetensors' for folder in folders]
    shapes = _shapes(region, runtime)
    levels = next((found for file in files if (found := _read(file, shapes))), None)
    if levels is None:
        levels = _encoded(satellite_map, runtime, progress)
        _keep(levels, files)
    return _on_device(satellite_map, runtime, levels)


def encode_map(satellite_map, runtime):
    """As `map_embeddings`, but made anew and kept nowhere: for weights that are still learning."""
    return _on_device(satellite_map, runtime, _encoded(satellite_map, runtime, progress=False))


def _shapes(region, runtime):
    count = region.depth + runtime.config.look_ahead
    return [(region.branching**k, runtime.width) for k in range(count)]


def _on_device(satellite_map, runtime, levels):
    region = satellite_map.region
    covered = tuple(satellite_map.level_coverage(k) > 0 for k in range(region.depth + 1))
    return MapEmbeddings(region, tuple(level.to(runtime.device) for level in levels), covered)


def _encoded(satellite_map, runtime, progress):
    """Encode every cell with imagery, level by level; the others stay zero and are not used."""
    region, crop_px = satellite_map.region, runtime.config.crop_px
    levels = [torch.zeros(shape) for shape in _shapes(region, runtime)]
    covered = [np.flatnonzero(satellite_map.level_coverage(k) > 0) for k in range(len(levels))]
    total = sum(map(len, covered))
    with tqdm(
        total=total, desc='map embeddings', unit='cell', disable=None if progress else True
    ) as bar:
        for level, start in (
            (k, i) for k, c in enumerate(covered) for i in range(0, len(c), BATCH)
        ):
            part = covered[level][start : start + BATCH]
            crops = [satellite_map.crop(region.actions(level, i), crop_px) for i in part]
            encoded = runtime.encode_satellite(normalised(np.stack(crops)))
            levels[level][torch.from_numpy(part)] = encoded.float().cpu()
            bar.update(len(part))
    return levels


def _key(satellite_map, runtime):
    parts = satellite_map.checksum, satellite_map.crop_px, runtime.checksum
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def _read(file, shapes):
    """The levels in a cache file, None where there is none or it is damaged (it is only a cache:
    a damaged one is made again)."""
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError):
        return None
    levels = [tensors.get(f'level_{k}') for k in range(len(shapes))]
    whole = all(t is not None and t.shape == s for t, s in zip(levels, shapes, strict=True))
    return levels if whole else None


def _keep(levels, files):
    """Write to the first place that takes it; without any, the next start computes again."""
    tensors = {f'level_{k}': level for k, level in enumerate(levels)}
    for file in files:
        try:
            with replacing(file) as temporary:
                save_file(tensors, temporary)
            return
        except (OSError, SafetensorError):
            continue
