"""One image in, one fix out: what the node, the replay, the evaluation and the command line share.

localizer = Localizer.open(map='maps/demo', weights='maps/demo/weights.safetensors')
fix = localizer.locate(image_rgb)
fix.latitude, fix.longitude, fix.covariance_m2, fix.status
"""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from justzoom_ros.embeddings import map_embeddings
from justzoom_ros.errors import ConfigError, WeightsError
from justzoom_ros.inference.fix import Fix, FixDecision, Hypothesis, decide
from justzoom_ros.inference.multi_view import combined, exponents
from justzoom_ros.inference.preprocess import ground_views, normalised
from justzoom_ros.inference.tree_search import SearchConfig, search
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.models import ZoomPolicy
from justzoom_ros.runtimes import open_runtime

__all__ = ['Fix', 'FixDecision', 'Hypothesis', 'Localizer']

log = logging.getLogger(__name__)
_ROOT = np.zeros(1, np.int64)


class Localizer:
    """A policy at work on one map. Build it with `open`; all methods may be called from one
    thread at a time."""

    def __init__(self, satellite_map, runtime, embeddings, search_config, decision):
        self.map, self.region = satellite_map, satellite_map.region
        self.search_config, self.decision = search_config, decision
        self._runtime, self._embeddings = runtime, embeddings
        self._calibration = runtime.provenance.get('calibration', {})

    @classmethod
    def open(cls, map, weights, runtime='auto', search=None, decision=None, progress=True):
        """Read a weights file and a map folder and make ready, map embeddings included.

        `map` may also be a `SatelliteMap` that is open already.
        `runtime` one of `RUNTIMES`, `search` a method or a `SearchConfig`, `decision` a
        `FixDecision`. Raises MapError, WeightsError, RuntimeUnavailableError, ConfigError.
        """
        satellite_map = map if isinstance(map, SatelliteMap) else SatelliteMap.open(map)
        policy = ZoomPolicy.load(weights)
        check_fits(satellite_map, policy, weights)
        chosen = open_runtime(policy, runtime)
        what = f'{chosen.name} ({chosen.choice or chosen.precision})'
        log.info('%s runs on %s over %s', weights, what, satellite_map.path)
        embeddings = map_embeddings(satellite_map, chosen, progress)
        config = search if isinstance(search, SearchConfig) else SearchConfig(search or 'exact')
        localizer = cls(satellite_map, chosen, embeddings, config, decision or FixDecision())
        localizer.locate(np.zeros((96, 128, 3), np.uint8))  # the first call is the slow one
        return localizer

    @property
    def runtime(self):
        """Name of the runtime in use."""
        return self._runtime.name

    @property
    def runtime_choice(self):
        """Why 'auto' took it: the times that were measured; '' where there was no choice."""
        return self._runtime.choice

    @property
    def config(self):
        """The policy's `PolicyConfig`."""
        return self._runtime.config

    @property
    def cells(self):
        """Number of terminal cells with imagery."""
        return int(self.covered.sum())

    @property
    def map_bytes(self):
        """Memory that the map's embeddings take."""
        return sum(level.nbytes for level in self._embeddings.levels)

    @property
    def calibrated(self):
        """True where the weights were calibrated on images of a camera."""
        return self._calibration.get('source') == 'images'

    def calibrate(self, calibration):
        """Use other calibration than that of the weights, a dictionary as `calibration`."""
        self._calibration = dict(calibration)

    def embed(self, image_rgb):
        """Ground embedding (D,) of a camera image, uint8 (H, W, 3) RGB. Raises ImageError."""
        views = normalised(ground_views(image_rgb, self.config))
        return self._runtime.encode_ground(views[None])[0]

    @property
    def covered(self):
        """Flags (cells,) of the terminal cells with imagery, in path order."""
        return self._embeddings.covered[-1]

    @property
    def calibration(self):
        """What was fitted on held-out data, a dictionary: `temperature`, `exponent`, `source`."""
        return self._calibration

    def posterior(self, image, search_config=None, worth=None):
        """The `CellPosterior` of a camera image, or of its embedding from `embed`; another
        `SearchConfig` than the localizer's own may be given. Its temperature comes on top of the
        weights' own. `worth` as in `search`. Raises ImageError."""
        ground = image if isinstance(image, torch.Tensor) else self.embed(image)
        config = search_config or self.search_config
        temperature = config.temperature * self._calibration.get('temperature', 1.0)
        config = replace(config, temperature=temperature)
        return search(self._runtime, self._embeddings, ground, config, worth)

    def logits_along(self, image_rgb, actions):
        """The policy's logits (S, A) at each step of a given way, at temperature 1."""
        maps = self._embeddings
        ground = self.embed(image_rgb)[None]
        logits, cache = self._runtime.start(ground, maps.at(0, _ROOT), maps.ahead(0, _ROOT))
        steps = [logits[0]]
        for level in range(1, self.region.depth):
            index = np.array([self.region.index(actions[:level])])
            action = torch.tensor(actions[level - 1 : level], device=logits.device)
            here, ahead = maps.at(level, index), maps.ahead(level, index)
            logits, cache = self._runtime.step(action, here, cache, ahead)
            steps.append(logits[0])
        return torch.stack(steps).cpu()

    def locate(self, image_rgb):
        """The `Fix` of a camera image, uint8 (H, W, 3) RGB. Raises ImageError."""
        return decide(self.posterior(image_rgb), self.decision)

    def locate_rig(self, images_rgb, mounts):
        """The `Fix` of several images of one place: a rig's cameras, or a turn on the spot.
        `mounts`: the `Mount` of each. Raises ImageError, ConfigError for another number."""
        if len(images_rgb) != len(mounts):
            raise ConfigError(f'{len(images_rgb)} images need as many mounts, not {len(mounts)}')
        posteriors = [self.posterior(image) for image in images_rgb]
        return decide(combined(posteriors, exponents(mounts)), self.decision)


def check_fits(satellite_map, policy, weights):
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
