"""How often a policy that is still learning finds the place, on views that it never trains on."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from justzoom_ros.embeddings.cell_embeddings import encode_map
from justzoom_ros.inference.preprocess import normalize
from justzoom_ros.inference.tree_search import SearchConfig, search
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.models import ZoomPolicy
from justzoom_ros.radii import NEAR_M
from justzoom_ros.region import Region
from justzoom_ros.runtimes.torch_runtime import TorchRuntime
from justzoom_ros.training.batches import Batch


def recall_50m(
    policy: ZoomPolicy,
    satellite_map: SatelliteMap,
    device: torch.device,
    batches: Iterable[Batch],
) -> float:
    """Share of views whose most probable terminal cell is centred within NEAR_M of the true
    cell's centre. `batches` of uint8 views (B, V, h, w, 3) and actions (B, S); NaN without any."""
    batches = list(batches)
    if not batches:
        return float('nan')
    runtime = TorchRuntime(policy, device)
    embeddings = encode_map(satellite_map, runtime)
    hits = []
    for views, actions in batches:
        grounds = runtime.encode_ground(normalize(views))
        truths_m = cell_centers_m(satellite_map.region, actions)
        for ground, truth_m in zip(grounds, truths_m, strict=True):
            best = search(runtime, embeddings, ground, SearchConfig('exact')).best_cell
            hits.append(np.hypot(best.east_m - truth_m[0], best.north_m - truth_m[1]))
    return float(np.mean(np.array(hits) <= NEAR_M))


def cell_centers_m(region: Region, actions: torch.Tensor | Sequence[Sequence[int]]) -> np.ndarray:
    """Centres (N, 2), east and north in metres, of terminal cells with actions (N, S)."""
    return region.centers(region.depth, region.cell_index(np.asarray(actions)))
