"""One image in, one fix out: what the node, the replay, the evaluation and the command line share.

localizer = Localizer.open(map='maps/demo', weights='maps/demo/weights.safetensors')
fix = localizer.locate(image_rgb)
fix.latitude, fix.longitude, fix.covariance_m2, fix.status
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from justzoom_ros.embeddings import MapEmbeddings, map_embeddings
from justzoom_ros.errors import ConfigError, WeightsError
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.inference.fix import Fix, FixCriteria, Hypothesis, make_fix
from justzoom_ros.inference.multi_view import Mount, fuse_posteriors, overlap_weights
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.inference.preprocess import enough_px, ground_views, normalize
from justzoom_ros.inference.tree_search import SearchConfig, search
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.models import PolicyConfig, ZoomPolicy
from justzoom_ros.runtimes import open_runtime
from justzoom_ros.runtimes.base import Runtime

__all__ = ['Fix', 'FixCriteria', 'Hypothesis', 'Localizer']

log = logging.getLogger(__name__)
_ROOT = np.zeros(1, np.int64)


class Localizer:
    """A policy at work on one map. Build it with `open`; all methods may be called from one
    thread at a time."""

    def __init__(
        self,
        satellite_map: SatelliteMap,
        runtime: Runtime,
        embeddings: MapEmbeddings,
        search_config: SearchConfig,
        criteria: FixCriteria,
    ) -> None:
        self.map, self.region = satellite_map, satellite_map.region
        self.search_config, self.criteria = search_config, criteria
        self._runtime, self._embeddings = runtime, embeddings
        self.calibration = Calibration.from_dict(runtime.provenance.get('calibration', {}))

    @classmethod
    def open(
        cls,
        map: str | Path | SatelliteMap,
        weights: str | Path,
        runtime: str = 'auto',
        search: str | SearchConfig | None = None,
        criteria: FixCriteria | None = None,
        progress: bool = True,
    ) -> 'Localizer':
        """Read a weights file and a map folder and make ready, map embeddings included.

        `map` may also be a `SatelliteMap` that is open already.
        `runtime` one of `RUNTIMES`, `search` a method or a `SearchConfig`, `criteria` a
        `FixCriteria`. Raises MapError, WeightsError, RuntimeUnavailableError, ConfigError.
        """
        satellite_map = map if isinstance(map, SatelliteMap) else SatelliteMap.open(map)
        policy = ZoomPolicy.load(weights)
        check_fits(satellite_map, policy, weights)
        chosen = open_runtime(policy, runtime)
        what = f'{chosen.name} ({chosen.selection_reason or chosen.precision})'
        log.info('%s runs on %s over %s', weights, what, satellite_map.path)
        embeddings = map_embeddings(satellite_map, chosen, progress)
        config = search if isinstance(search, SearchConfig) else SearchConfig(search or 'exact')
        localizer = cls(satellite_map, chosen, embeddings, config, criteria or FixCriteria())
        localizer.locate(np.zeros((96, 128, 3), np.uint8))  # the first call is the slow one
        return localizer

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

    @property
    def cells(self) -> int:
        """Number of terminal cells with imagery."""
        return int(self.covered.sum())

    @property
    def map_bytes(self) -> int:
        """Memory that the map's embeddings take."""
        return sum(level.nbytes for level in self._embeddings.levels)

    @property
    def calibrated(self) -> bool:
        """True where the weights were calibrated on images of a camera."""
        return self.calibration.known

    def calibrate(self, calibration: Calibration) -> None:
        """Use another `Calibration` than that of the weights."""
        self.calibration = calibration

    @property
    def enough_px(self) -> tuple[int, int]:
        """Width and height of a camera image above which more pixels change nothing."""
        return enough_px(self.config)

    def embed(self, image_rgb: np.ndarray) -> torch.Tensor:
        """Ground embedding (D,) of a camera image, uint8 (H, W, 3) RGB. Raises ImageError."""
        views = normalize(ground_views(image_rgb, self.config))
        return self._runtime.encode_ground(views[None])[0]

    @property
    def covered(self) -> np.ndarray:
        """Flags (cells,) of the terminal cells with imagery, in the order of the cell index."""
        return self._embeddings.covered[-1]

    def posterior(
        self,
        image: np.ndarray | torch.Tensor,
        search_config: SearchConfig | None = None,
        expand_mask: Sequence[np.ndarray] | None = None,
    ) -> CellPosterior:
        """The `CellPosterior` of a camera image, or of its embedding from `embed`; another
        `SearchConfig` than the localizer's own may be given. Its temperature comes on top of the
        weights' own. `expand_mask` as in `search`. Raises ImageError."""
        ground = image if isinstance(image, torch.Tensor) else self.embed(image)
        config = search_config or self.search_config
        temperature = config.temperature * self.calibration.temperature
        config = replace(config, temperature=temperature)
        return search(self._runtime, self._embeddings, ground, config, expand_mask)

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

    def locate(self, image_rgb: np.ndarray) -> Fix:
        """The `Fix` of a camera image, uint8 (H, W, 3) RGB. Raises ImageError."""
        return make_fix(self.posterior(image_rgb), self.criteria)

    def locate_rig(
        self,
        images_rgb: Sequence[np.ndarray],
        mounts: Sequence[Mount],
        criteria: FixCriteria | None = None,
    ) -> Fix:
        """The `Fix` of several images of one place: a rig's cameras, or a turn on the spot.
        `mounts`: the `Mount` of each; `criteria` a `FixCriteria`, the localizer's own unless
        given. Raises ImageError, ConfigError for another number."""
        if len(images_rgb) != len(mounts):
            raise ConfigError(f'{len(images_rgb)} images need as many mounts, not {len(mounts)}')
        posteriors = [self.posterior(image) for image in images_rgb]
        return make_fix(
            fuse_posteriors(posteriors, overlap_weights(mounts)), criteria or self.criteria
        )


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
