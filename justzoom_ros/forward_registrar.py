"""Registration of cameras that look ahead, at work on one map.

registrar = ForwardRegistrar.open(satellite_map)
view = registrar.view(image_rgb, Camera.from_fov(1.57, ahead=True))
registrar.fix(view, registrar.posterior(view))
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from justzoom_ros.embeddings.map_features import open_layer_features
from justzoom_ros.inference.multi_view import Mount
from justzoom_ros.maps.layers import BASE, open_layers
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.registrar import Registrar, choose_device, usable
from justzoom_ros.registration.attitude import Attitude
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.camera_state import CameraState
from justzoom_ros.registration.forward_network import ForwardNetwork
from justzoom_ros.registration.forward_search import ForwardView, Look
from justzoom_ros.registration.search import PoseSearchConfig

log = logging.getLogger(__name__)

MIN_IMAGERY = 0.3
"""A pose counts only if at least this share of what the camera sees lies on imagery."""


class ForwardRegistrar(Registrar):
    """A forward network and the features that it has of one map. From one thread at a time."""

    # A view of a street is small and its peaks are narrow: coarse cells of 4 m.
    tracked_cells = 400
    coarse_factor = 2
    whole_frames = True

    @classmethod
    def open(  # type: ignore[override]
        cls,
        satellite_map: SatelliteMap,
        weights: str | Path | None = None,
        camera: Camera | None = None,
        config: PoseSearchConfig | None = None,
        progress: bool = True,
        device: str = 'auto',
    ) -> 'ForwardRegistrar':
        """The network of a weights file, else the shipped one, on a map; as `Registrar.open`.
        Raises WeightsError, ConfigError for a map that is too coarse for streets."""
        network = ForwardNetwork.load(weights) if weights else ForwardNetwork.shipped()
        network.requires_grad_(False).to(choose_device(device))
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        metres_per_px = network.config.metres_per_px
        layers = open_layer_features(open_layers(satellite_map), network, metres_per_px, progress)
        config = config or PoseSearchConfig(min_imagery=MIN_IMAGERY)
        log.info('registration of a camera that looks ahead over %s', satellite_map.path)
        return cls(network, layers[BASE], satellite_map, config, weights, layers)

    def view(  # type: ignore[override]
        self,
        image_rgb: np.ndarray,
        camera: Camera,
        attitude: Attitude | None = None,
        yaw_rad: float | None = None,
        yaw_std_rad: float | None = None,
    ) -> ForwardView:
        """A picture of a level camera. Raises ImageError, ConfigError where the lens is not
        known."""
        return self.rig_view([Look(image_rgb, camera)], yaw_rad, yaw_std_rad)

    def view_at(
        self,
        state: CameraState,
        images_rgb: Sequence[np.ndarray],
        mounts: Sequence[Mount] | None = None,
    ) -> ForwardView:
        """As `Registrar.view_at`. Where the lens of the first camera is not known, each has its
        mount's field of view."""
        assert state.camera is not None
        looks, known = [], state.camera.lens_known or not mounts
        for image, mount in usable(images_rgb, mounts):
            one, turn_rad = state.turned(mount.heading_rad)
            lens = state.camera if known else Camera.from_fov(mount.fov_rad)
            looks.append(Look(image, lens, one.tilt, turn_rad))
        return self.rig_view(looks, state.yaw_rad, state.yaw_std_rad)

    def rig_view(
        self,
        looks: Sequence[Look],
        yaw_rad: float | None = None,
        yaw_std_rad: float | None = None,
    ) -> ForwardView:
        """The pictures of a rig at one moment, ready to be searched for. Raises ImageError,
        ConfigError where a lens is not known."""
        return ForwardView(self.network, looks, yaw_rad, yaw_std_rad, self.config)
