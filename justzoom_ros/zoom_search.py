"""A zoom policy at work on one map: from a picture to a posterior over the cells of its tree."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from justzoom_ros.embeddings import MapEmbeddings, map_embeddings
from justzoom_ros.errors import WeightsError
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.inference.preprocess import enough_px, ground_views, normalize
from justzoom_ros.inference.tree_search import SearchConfig, search
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.models import PolicyConfig, ZoomPolicy
from justzoom_ros.registration.camera import Camera
from justzoom_ros.runtimes import open_runtime
from justzoom_ros.runtimes.base import Runtime

log = logging.getLogger(__name__)
_ROOT = np.zeros(1, np.int64)


class ZoomSearch:
    """A policy's runtime, the embeddings that it has of one map, and how the tree is searched.
    From one thread at a time."""

    def __init__(
        self, runtime: Runtime, embeddings: MapEmbeddings, search_config: SearchConfig
    ) -> None:
        self.search_config, self.region = search_config, embeddings.region
        self._runtime, self._embeddings = runtime, embeddings
        self.calibration = Calibration.from_dict(runtime.provenance.get('calibration', {}))
        self.keeps_latest = False
        self.latest: CellPosterior | None = None

    @classmethod
    def open(
        cls,
        satellite_map: SatelliteMap,
        weights: str | Path,
        runtime: str = 'auto',
        search: str | SearchConfig | None = None,
        progress: bool = True,
    ) -> 'ZoomSearch':
        """Read a weights file and make ready, map embeddings included. `runtime` one of
        `RUNTIMES`, `search` a method or a `SearchConfig`. Raises WeightsError,
        RuntimeUnavailableError, ConfigError."""
        policy = ZoomPolicy.load(weights)
        check_fits(satellite_map, policy, weights)
        chosen = open_runtime(policy, runtime)
        what = f'{chosen.name} ({chosen.selection_reason or chosen.precision})'
        log.info('%s runs on %s over %s', weights, what, satellite_map.path)
        embeddings = map_embeddings(satellite_map, chosen, progress)
        config = search if isinstance(search, SearchConfig) else SearchConfig(search or 'exact')
        zoom = cls(chosen, embeddings, config)
        zoom.posterior(np.zeros((96, 128, 3), np.uint8))  # the first call is the slow one
        return zoom

    @property
    def runtime(self) -> str:
        """Name of the runtime in use."""
        return self._runtime.name

    @property
    def selection_reason(self) -> str:
        """Why 'auto' took it: the times that were measured; '' where there was no choice."""
        return self._runtime.selection_reason

    @property
    def config(self) -> PolicyConfig:
        """The policy's `PolicyConfig`."""
        return self._runtime.config

    @cached_property
    def camera(self) -> Camera | None:
        """The downward camera that the policy was trained for, None of a street's or where the
        weights do not say."""
        views = self._runtime.provenance.get('views') or {}
        if self.config.view != 'nadir' or 'footprint_m' not in views:
            return None
        return Camera.from_fov(views['fov_rad']).with_footprint(*views['footprint_m'])

    def takes(self, camera: Camera | None) -> bool:
        """True where registration can go on from the policy: the camera is known, and looks where
        that of the policy's training did."""
        return camera is not None and (self.config.view != 'nadir') == camera.ahead

    @property
    def map_bytes(self) -> int:
        """Memory that the map's embeddings take."""
        return sum(level.nbytes for level in self._embeddings.levels)

    @property
    def enough_px(self) -> tuple[int, int]:
        """Width and height of a camera image above which more pixels change nothing."""
        return enough_px(self.config)

    @property
    def covered(self) -> np.ndarray:
        """Flags (cells,) of the terminal cells with imagery, in the order of the cell index."""
        return self._embeddings.covered[-1]

    def embed(self, image_rgb: np.ndarray) -> torch.Tensor:
        """Ground embedding (D,) of a camera image, uint8 (H, W, 3) RGB. Raises ImageError."""
        views = normalize(ground_views(image_rgb, self.config))
        return self._runtime.encode_ground(views[None])[0]

    def posterior(
        self,
        image: np.ndarray | torch.Tensor,
        search_config: SearchConfig | None = None,
        expand_mask: Sequence[np.ndarray] | None = None,
    ) -> CellPosterior:
        """The `CellPosterior` of a camera image, or of its embedding from `embed`; another
        `SearchConfig` than its own may be given. Its temperature comes on top of the
        weights' own. `expand_mask` as in `search`. Raises ImageError."""
        ground = image if isinstance(image, torch.Tensor) else self.embed(image)
        config = search_config or self.search_config
        temperature = config.temperature * self.calibration.temperature
        config = replace(config, temperature=temperature)
        found = search(self._runtime, self._embeddings, ground, config, expand_mask)
        self.latest = found if self.keeps_latest else None
        return found

    def logits_along(self, image_rgb: np.ndarray, actions: Sequence[int]) -> torch.Tensor:
        """The policy's logits (S, A) at each step of given actions, at temperature 1."""
        maps = self._embeddings
        ground = self.embed(image_rgb)[None]
        logits, cache = self._runtime.start(ground, maps.at(0, _ROOT), maps.ahead(0, _ROOT))
        steps = [logits[0]]
        for level in range(1, self.region.depth):
            index = np.array([self.region.cell_index(actions[:level])])
            action = torch.tensor(actions[level - 1 : level], device=logits.device)
            here, ahead = maps.at(level, index), maps.ahead(level, index)
            logits, cache = self._runtime.step(action, here, cache, ahead)
            steps.append(logits[0])
        return torch.stack(steps).cpu()


def check_fits(satellite_map: SatelliteMap, policy: ZoomPolicy, weights: str | Path) -> None:
    """Raises WeightsError unless the policy of a weights file has the map's zoom tree; warns where
    it was trained from another map."""
    region, config = satellite_map.region, policy.config
    if (region.grid, region.depth) != (config.grid, config.depth):
        raise WeightsError(
            f'{Path(weights)}: weights for a {config.grid} x {config.grid} grid of depth '
            f'{config.depth}, but the map {satellite_map.path} is {region.grid} x {region.grid} '
            f'of depth {region.depth}; build the map anew or use other weights'
        )
    # Older weights name the one map that they were trained from.
    trained_on = policy.provenance.get('maps') or [policy.provenance.get('map')]
    if trained_on != [None] and satellite_map.checksum not in trained_on:
        log.warning(
            '%s was trained from another map than %s: its fixes may be worthless here',
            weights,
            satellite_map.path,
        )
