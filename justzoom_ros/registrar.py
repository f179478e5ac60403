"""Registration at work on one map: a picture and its camera in, a posterior over poses out.

registrar = Registrar.open(satellite_map)                    # shipped weights, any map
view = registrar.view(image_rgb, Camera.from_fov(1.2).with_height(120.0, std_m=6.0))
registrar.posterior(view).fix()
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from justzoom_ros.embeddings.map_features import open_layer_features
from justzoom_ros.errors import ConfigError
from justzoom_ros.filtering import SearchArea
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.inference.fix import Fix, FixCriteria, FixStatus, scale_covariance, widen
from justzoom_ros.inference.image_quality import image_fault
from justzoom_ros.inference.multi_view import Mount
from justzoom_ros.inference.pose_posterior import PosePosterior, pose_posterior
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.maps.layers import BASE, open_layers
from justzoom_ros.maps.map_file import ADAPTED_NAME
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.registration.attitude import Attitude
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.camera_state import CameraState
from justzoom_ros.registration.likelihood import PoseLikelihood
from justzoom_ros.registration.map_features import MapFeatures, Window
from justzoom_ros.registration.map_search import MapSearch, search_coarse_to_fine
from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.registration.rig import RigView
from justzoom_ros.registration.search import Background, PoseSearchConfig, View

log = logging.getLogger(__name__)

Found = TypeVar('Found', PoseLikelihood, MapSearch)

WHOLE_CELLS = 768
"""A map with at most so many cells along a side is searched whole, a larger one from coarse to
fine."""

COARSE_FACTOR = 4
"""Coarse cells are so many fine ones wide."""

VIEW_CELLS = 64
"""So many cells of features lie across a view at best: enough to be told from others, and no more
to search for than needed."""

UNTOLD = 0.1
"""Probability that a policy's posterior tells nothing of a picture: it is just as sure of streets
that it never saw. A map that is small enough to be searched whole is searched all over for it."""

UNLIKELY = 1e-3
"""Mass of a policy's posterior that need not be searched."""


class Registrar:
    """A registration network and the features that it has of one map. From one thread at a
    time. With `keeps_latest` set, `latest` is what the latest view said, for who draws it.

    `layers`, of pictures of other dates, say, are of the same cells as `features`, the first of
    them. Each view is searched for on all of them, and the one counts that it speaks for most;
    `layer` is its name for the latest view.
    """

    tracked_cells = WHOLE_CELLS
    """A belief that asks for more cells along a side gets coarse ones."""

    coarse_factor = COARSE_FACTOR
    whole_frames = False
    """True where, until a robot is found, frames count whole or not at all: one after each
    decorrelation distance. The peaks of such views are narrow, and a root of one drowns in the
    coarse cells of a belief over the whole map."""

    def __init__(
        self,
        network: Any,
        features: MapFeatures,
        satellite_map: SatelliteMap,
        config: PoseSearchConfig | None = None,
        weights: str | Path | None = None,
        layers: Mapping[str, MapFeatures] | None = None,
    ) -> None:
        self.network, self.weights = network, weights
        self.layers = dict(layers or {BASE: features})
        self.layer = BASE
        self.map, self.region = satellite_map, satellite_map.region
        self.config = config or PoseSearchConfig()
        self.calibration = Calibration.from_dict(network.card.get('calibration', {}))
        self.keeps_latest = False
        self.latest: PoseLikelihood | None = None
        masks = [one.mask.cpu().numpy() > 0 for one in self.layers.values()]
        self._mask = np.any(masks, axis=0)
        self._coarse: dict[str, MapFeatures] = {}

    @classmethod
    def open(
        cls,
        satellite_map: SatelliteMap,
        weights: str | Path | None = None,
        camera: Camera | None = None,
        config: PoseSearchConfig | None = None,
        progress: bool = True,
        device: str = 'auto',
    ) -> 'Registrar':
        """A network on a map: that of a weights file; else the one adapted to the map, where its
        folder holds one; else the shipped one. The `camera`'s footprint decides the resolution.
        Features are read from the cache, or made and kept there. `device`: 'cpu', 'cuda', or
        'auto', a GPU where there is one.

        Raises WeightsError, ConfigError for a map that is coarser than the network wants and for a
        device that is not there.
        """
        adapted = satellite_map.path / ADAPTED_NAME
        path = weights or (adapted if adapted.is_file() else None)
        network = RegistrationNetwork.load(path) if path else RegistrationNetwork.shipped()
        network.requires_grad_(False).to(choose_device(device))
        maps = open_layers(satellite_map)
        coarsest_m = max(one.resolution_m for one in maps.values())
        metres_per_px = choose_resolution(network, coarsest_m, camera)
        layers = open_layer_features(maps, network, metres_per_px, progress)
        log.info('registration at %.2g m per pixel over %s', metres_per_px, satellite_map.path)
        return cls(network, layers[BASE], satellite_map, config, path, layers)

    @property
    def origin(self) -> str:
        """What the network knows of this map, in words: how a table says it."""
        if self.network.card.get('adapted_to') == self.map.checksum:
            return 'registration adapted to this map'
        if self.weights is None:
            return 'registration never trained on this map'
        return f'registration of {self.weights}'

    @property
    def features(self) -> MapFeatures:
        """The features of the layer that the latest view spoke for most, the base before."""
        return self.layers[self.layer]

    @property
    def device(self) -> torch.device:
        """Where the features are, and everything that is computed with them."""
        return self.features.device

    @property
    def map_bytes(self) -> int:
        """Memory that the map's features and their spectrum take."""
        kept = [one.features for one in self.layers.values()]
        spectra = sum(one.spectrum_bytes for one in self.layers.values())
        return sum(one.numel() * one.element_size() for one in kept) + spectra

    def view(
        self,
        image_rgb: np.ndarray,
        camera: Camera,
        attitude: Attitude | None = None,
        yaw_rad: float | None = None,
        yaw_std_rad: float | None = None,
    ) -> View:
        """A picture, uint8 (H, W, 3) RGB, with what is known of its camera, ready to be searched
        for; its features are computed once. Raises ImageError, ConfigError."""
        return View(self.network, image_rgb, camera, attitude, yaw_rad, yaw_std_rad, self.config)

    def view_at(
        self,
        state: CameraState,
        images_rgb: Sequence[np.ndarray],
        mounts: Sequence[Mount] | None = None,
    ) -> View:
        """The pictures of a rig at one moment, uint8 (H, W, 3) RGB each, with their `Mount`s, as
        one view; `state` is that of the first camera, whose lens all of them have. One that shows
        nothing is left out. Raises ImageError, ConfigError where one looks above the horizon."""
        assert state.camera is not None
        heading = state.yaw_rad, state.yaw_std_rad
        views, turns_rad = [], []
        for image, mount in usable(images_rgb, mounts):
            one, turn_rad = state.turned(mount.heading_rad)
            views.append(self.view(image, state.camera, one.attitude, *heading))
            turns_rad.append(turn_rad)
        return views[0] if turns_rad == [0.0] else RigView(views, turns_rad)

    def likelihood(self, view: View, window: Window | None = None) -> PoseLikelihood:
        """The likelihood ratios of poses in a window of the map, the whole map unless given.
        Raises ImageError, ConfigError where the view fits nowhere."""
        found = self._on_best_layer(view, lambda name: view.register(self.layers[name], window))
        return self._kept(found)

    def likelihood_in(
        self, view: View, area: SearchArea, mount_yaw_rad: float = 0.0
    ) -> PoseLikelihood:
        """The likelihood ratios in the area that a belief asks for, at the robot's headings there;
        the camera is turned against the robot by `mount_yaw_rad`. Where a large map is asked for
        as a whole, in coarse cells. Raises ImageError, ConfigError where the view fits nowhere."""
        turned = view.turned_to(area.yaws_rad + mount_yaw_rad, area.yaw_step_rad)
        is_large = 2 * area.reach_m > self.tracked_cells * self.features.cell_m

        def search(name: str) -> PoseLikelihood:
            features = self.coarse(name) if is_large else self.layers[name]
            window = features.window_around(area.east_m, area.north_m, area.reach_m)
            return turned.register(features, window)

        found = self._on_best_layer(turned, search).to('cpu')  # where the belief is
        return self._kept(replace(found, yaws_rad=area.yaws_rad))

    def _on_best_layer(self, view: View, search: Callable[[str], Found]) -> Found:
        """What a search of the layer with a name finds, of the layer that has most evidence.
        Raises ConfigError where the view fits on none."""
        found: dict[str, tuple[Found, list[Background | None]]] = {}
        misfit: ConfigError | None = None
        for name in self.layers:
            try:
                found[name] = search(name), view.backgrounds
            except ConfigError as error:
                misfit = error
        if not found:
            raise misfit or ConfigError('the map has no layers')
        if len(found) > 1:  # evidence takes a look at every pose
            self.layer = max(found, key=lambda name: found[name][0].evidence())
        else:
            (self.layer,) = found
        best, view.backgrounds = found[self.layer]
        return best

    def _kept(self, likelihood: PoseLikelihood) -> PoseLikelihood:
        """The likelihood, which takes memory as the map is large: kept only for who asks."""
        self.latest = likelihood if self.keeps_latest else None
        return likelihood

    def coarse(self, name: str) -> MapFeatures:
        """The features of a layer in cells `coarse_factor` times as wide; kept."""
        if name not in self._coarse:
            self._coarse[name] = self.layers[name].pooled(self.coarse_factor)
        return self._coarse[name]

    def posterior(
        self,
        view: View,
        prior: CellPosterior | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> PosePosterior:
        """Where the camera is, given the map alone or a `prior`, what a policy says of the same
        picture. A large map is searched from coarse to fine, and only where the prior has mass;
        `progress(done, total)` is called meanwhile. Raises ImageError, ConfigError."""
        weights = self._prior(prior)
        where = _heavy(weights) if prior else self._mask
        window = _bounding(where)
        windows: tuple[PoseLikelihood, ...]
        if max(window.shape) <= WHOLE_CELLS:
            windows = (self.likelihood(view, window),)
        else:

            def search(name: str) -> MapSearch:
                features, coarse = self.layers[name], self.coarse(name)
                return search_coarse_to_fine(
                    view, features, coarse, self.coarse_factor, where, progress
                )

            windows = self._on_best_layer(view, search).windows
            self._kept(windows[0])
        return pose_posterior(windows, self.region, weights, len(view.yaws_rad))

    def fix(
        self, view: View, posterior: PosePosterior, criteria: FixCriteria | None = None
    ) -> Fix:
        """The `Fix` of a posterior, its place finer than a cell where there is one clear peak; as
        wide as calibration and what is known of the camera's tilt allow."""
        promise, std_m = self.calibration.promise('single'), view.tilt_std_m
        gate = promise.min_confidence if promise else 0.0
        fix = posterior.fix((criteria or FixCriteria()).at_least(gate))
        if fix.status is FixStatus.FIX:
            fix = scale_covariance(self._sharpen(view, fix), self.calibration.single_scale)
            std_m = float(np.hypot(std_m, self.calibration.single_floor_m))
        return widen(fix, std_m, criteria)

    def _prior(self, prior: CellPosterior | None) -> np.ndarray:
        """Weights (n, n) of the cells of the features: imagery, times what a policy says."""
        weights = self._mask.astype(float)
        if prior is None:
            return weights
        grid = prior.to_grid()
        rows, columns = (((np.arange(n) + 0.5) * len(grid) / n).astype(int) for n in weights.shape)
        told = weights * grid[rows[:, None], columns]
        if max(weights.shape) > WHOLE_CELLS:
            return told
        even = weights * (told.sum() / weights.sum())
        return (1 - UNTOLD) * told + UNTOLD * even

    def _sharpen(self, view: View, fix: Fix) -> Fix:
        """The fix moved to the top of its peak, if that is within its ellipse and a few cells."""
        window = self.features.window_around(fix.east_m, fix.north_m, 4 * self.features.cell_m)
        yaw_rad = fix.yaw_rad or 0.0
        near = view.turned_to(yaw_rad + np.arange(-1, 2) * view.yaw_step_rad, view.yaw_step_rad)
        peaks = near.register(self.features, window).peaks(1)
        if not peaks:
            return fix
        peak = view.sharpen(self.features, peaks[0])
        if np.hypot(peak.east_m - fix.east_m, peak.north_m - fix.north_m) > fix.radius_90_m:
            return fix
        latitude, longitude = self.region.to_latlon(peak.east_m, peak.north_m)
        return replace(
            fix,
            latitude=latitude,
            longitude=longitude,
            east_m=peak.east_m,
            north_m=peak.north_m,
            yaw_rad=peak.yaw_rad,
            yaw_std_rad=max(peak.yaw_std_rad, 0.0),
        )


def usable(
    images_rgb: Sequence[np.ndarray], mounts: Sequence[Mount] | None
) -> list[tuple[np.ndarray, Mount]]:
    """The pictures of a rig with their `Mount`s, without those that show nothing; all where none
    shows anything."""
    pairs = list(zip(images_rgb, mounts or [Mount()] * len(images_rgb), strict=True))
    if len(pairs) == 1:
        return pairs
    return [pair for pair in pairs if image_fault(pair[0]) is None] or pairs


def _heavy(weights: np.ndarray) -> np.ndarray:
    """Flags of the cells (n, n) that hold all but an unlikely share of the weights."""
    flat = weights.ravel()
    order = np.argsort(-flat)
    count = int(np.searchsorted(np.cumsum(flat[order]), (1 - UNLIKELY) * flat.sum())) + 1
    flags = np.zeros(flat.shape, bool)
    flags[order[:count]] = True
    return flags.reshape(weights.shape)


def _bounding(flags: np.ndarray) -> Window:
    """The smallest window that holds all flags (n, n)."""
    rows, columns = (np.flatnonzero(flags.any(axis)) for axis in (1, 0))
    if not len(rows):
        raise ConfigError('there is no imagery where the picture is to be searched for')
    return Window(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def choose_device(name: str) -> str:
    """'cpu' or 'cuda', of these or 'auto'. Raises ConfigError where it is not there."""
    there = torch.cuda.is_available()
    if name not in ('auto', 'cpu', 'cuda') or (name == 'cuda' and not there):
        what = 'PyTorch sees no GPU here' if name == 'cuda' else 'it must be auto, cpu or cuda'
        raise ConfigError(f'device {name!r} for registration: {what}')
    return ('cuda' if there else 'cpu') if name == 'auto' else name


def choose_resolution(
    network: RegistrationNetwork, map_resolution_m: float, camera: Camera | None
) -> float:
    """Metres per pixel to register at: `VIEW_CELLS` across the middle of the footprints that the
    camera may have, within what the network was trained for and not finer than the map. Where
    nothing is known of the footprint, one metre."""
    config = network.config
    wanted_m = 1.0
    if camera is not None:
        widths = [camera.footprint_at(c.height_m) for c in camera.scales()]
        wanted_m = float(np.sqrt(widths[0] * widths[-1])) / (VIEW_CELLS * config.stride)
    finest_m = max(config.finest_m, map_resolution_m)
    # In steps of a fifth, so that cameras that are alike share what is kept.
    steps = round(np.log(np.clip(wanted_m, finest_m, config.coarsest_m)) / np.log(1.2))
    return float(max(1.2**steps, finest_m))
