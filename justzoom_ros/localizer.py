"""One image in, one fix out: what the node, the replay, the evaluation and the command line share.

localizer = Localizer.open(map='maps/demo', footprint_m=(90.0, 150.0))
fix = localizer.locate(image_rgb)
fix.latitude, fix.longitude, fix.yaw_rad, fix.covariance_m2, fix.status

*Zoom, then register.* Registration compares the picture with the map itself, in every heading, and
works on any map. A policy, where there is one, knows its map and says which part of it to look at:
its posterior is the prior of the registration. A policy alone answers in cells.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.forward_registrar import ForwardRegistrar
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.inference.fix import (
    Fix,
    FixCriteria,
    Hypothesis,
    add_offset,
    make_fix,
    make_no_fix,
)
from justzoom_ros.inference.image_quality import images_fault
from justzoom_ros.inference.multi_view import Mount, fuse_posteriors, overlap_weights
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.inference.preprocess import check_image
from justzoom_ros.inference.tree_search import SearchConfig
from justzoom_ros.maps.map_offset import MapOffset, read_offset
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.maps.terrain import Terrain, read_terrain
from justzoom_ros.registrar import Registrar
from justzoom_ros.registration.attitude import Attitude
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.camera_state import CameraState
from justzoom_ros.registration.forward_lift import Tilt
from justzoom_ros.registration.likelihood import PoseLikelihood
from justzoom_ros.registration.search import View
from justzoom_ros.zoom_search import ZoomSearch

__all__ = ['Fix', 'FixCriteria', 'Hypothesis', 'Localizer']

log = logging.getLogger(__name__)

HEADING_STD_RAD = np.radians(10.0)
"""Standard deviation of a heading that comes without one."""

SCALE_UNKNOWN = (
    'the scale of the picture is not known: give the ground width in view (footprint) or a height '
    'above ground and a field of view'
)


class Localizer:
    """A map with what localizes on it: a registration, a policy, or both. Build it with `open`;
    all methods may be called from one thread at a time."""

    def __init__(
        self,
        satellite_map: SatelliteMap,
        zoom: ZoomSearch | None = None,
        registrar: Registrar | None = None,
        camera: Camera | None = None,
        criteria: FixCriteria | None = None,
        map_offset: MapOffset | None = None,
    ) -> None:
        self.map, self.region = satellite_map, satellite_map.region
        self.map_offset = map_offset or MapOffset()
        self.zoom, self.registrar, self.camera = zoom, registrar, camera
        self.criteria = criteria or FixCriteria()

    @classmethod
    def open(
        cls,
        map: str | Path | SatelliteMap,
        weights: str | Path | None = None,
        runtime: str = 'auto',
        search: str | SearchConfig | None = None,
        criteria: FixCriteria | None = None,
        progress: bool = True,
        camera: Camera | None = None,
        footprint_m: tuple[float, float] | None = None,
        registration: str | Path | bool | None = None,
        map_offset: MapOffset | bool = True,
        map_offset_std_m: float = 0.0,
        device: str = 'auto',
    ) -> 'Localizer':
        """Read a map folder, and the weights of a policy if there are any, and make ready.

        `map` may also be a `SatelliteMap` that is open already. Without `weights` the shipped
        registration works alone, on any map. With weights of a downward camera the policy's
        posterior is the prior of the registration; with a `camera` that looks `ahead` it is one of
        streets, as is the registration. `camera` or `footprint_m` (least and greatest ground width
        in view) say what the camera is; a policy's own is that of its training. Of a policy of
        which that is not known, and of a street's without a camera, the policy answers alone.
        `registration`: weights of a registration network, those adapted to the map or else the
        shipped ones unless given; False for none. `map_offset`: how far the map is off, False for
        not at all; unless given what was measured and lies in the map's folder, else unknown, with
        a deviation of `map_offset_std_m` metres.
        `runtime` one of `RUNTIMES`, `device` where registration runs ('auto', 'cpu', 'cuda'),
        `search` a method or a `SearchConfig`, `criteria` a `FixCriteria`. Raises MapError,
        WeightsError, RuntimeUnavailableError, ConfigError.
        """
        satellite_map = map if isinstance(map, SatelliteMap) else SatelliteMap.open(map)
        if footprint_m is not None:
            camera = (camera or Camera()).with_footprint(*footprint_m)
        zoom = weights and ZoomSearch.open(satellite_map, weights, runtime, search, progress)
        own = zoom.camera if zoom and camera is None else None
        registrar = None
        if registration is not False and (not zoom or zoom.takes(camera or own)):
            path = registration if isinstance(registration, str | Path) else None
            try:
                kind = ForwardRegistrar if camera is not None and camera.ahead else Registrar
                registrar = kind.open(
                    satellite_map, path, camera or own, progress=progress, device=device
                )
            except ConfigError as error:
                if own is None:
                    raise
                log.warning('the policy answers alone: %s', error)
        camera = camera or (own if registrar else None)
        if isinstance(map_offset, bool):
            map_offset = _offset_of(satellite_map, map_offset_std_m) if map_offset else MapOffset()
        return cls(satellite_map, zoom or None, registrar, camera, criteria, map_offset)

    # --- what it is ----------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """'registration', 'zoom' or 'zoom, then register'."""
        if self.registrar is None:
            return 'zoom'
        return 'registration' if self.zoom is None else 'zoom, then register'

    @property
    def runtime(self) -> str:
        """Name of the policy's runtime; the device of the registration without a policy."""
        return self.zoom.runtime if self.zoom else str(self.require_registrar().device)

    @property
    def selection_reason(self) -> str:
        """Why 'auto' took the runtime; '' where there was no choice."""
        return self.zoom.selection_reason if self.zoom else ''

    @property
    def calibration(self) -> Calibration:
        """How sure it may be: that of the policy's weights, or of the registration's."""
        return self.zoom.calibration if self.zoom else self.require_registrar().calibration

    def calibrate(self, calibration: Calibration) -> None:
        """Use another `Calibration` than that of the weights."""
        part = self.zoom or self.require_registrar()
        part.calibration = calibration

    @property
    def calibrated(self) -> bool:
        """True where the weights were calibrated on images of a camera."""
        return self.calibration.known

    @cached_property
    def terrain(self) -> Terrain | None:
        """Heights of the ground, where the map's folder holds them. Raises MapError."""
        return read_terrain(self.map.path, self.region, self.map.checksum)

    @cached_property
    def covered(self) -> np.ndarray:
        """Flags (cells,) of the terminal cells with imagery, in the order of the cell index."""
        return self.map.level_coverage(self.region.depth) > 0

    @property
    def cells(self) -> int:
        """Number of terminal cells with imagery."""
        return int(self.covered.sum())

    @property
    def map_bytes(self) -> int:
        """Memory that what is computed once per map takes."""
        return sum(part.map_bytes for part in (self.zoom, self.registrar) if part)

    @property
    def enough_px(self) -> tuple[int, int] | None:
        """Width and height of a camera image above which more pixels change nothing; None where
        all are wanted."""
        return self.zoom.enough_px if self.zoom and not self.registrar else None

    def require_zoom(self) -> ZoomSearch:
        """The policy's part. Raises ConfigError where there is none."""
        if self.zoom is None:
            raise ConfigError('this needs the weights of a policy, and none were given')
        return self.zoom

    def require_registrar(self) -> Registrar:
        """The registration's part. Raises ConfigError where there is none."""
        if self.registrar is None:
            raise ConfigError(
                'this needs registration, which a policy without a camera does not use: give a '
                'footprint, or a height and a field of view'
            )
        return self.registrar

    # --- what it does --------------------------------------------------------------------------

    def correct(self, fix: Fix, criteria: FixCriteria | None = None) -> Fix:
        """A fix on the map, moved to where it truly is by the map's offset."""
        return add_offset(fix, self.region, self.map_offset, criteria or self.criteria)

    def keep_evidence(self, keep: bool) -> None:
        """Keep from now on, or no longer, what each picture says by itself, for `take_evidence`:
        as much memory as the part of the map that is searched takes."""
        if self.registrar:
            self.registrar.keeps_latest, self.registrar.latest = keep, None
        if self.zoom:
            self.zoom.keeps_latest, self.zoom.latest = keep, None

    def take_evidence(self) -> PoseLikelihood | CellPosterior | None:
        """What the latest picture said by itself, registered or, where it was not, as a policy saw
        it. None where nobody looked at it, where it was taken before, or was not to be kept."""
        registered = seen = None
        if self.registrar:
            registered, self.registrar.latest = self.registrar.latest, None
        if self.zoom:
            seen, self.zoom.latest = self.zoom.latest, None
        return seen if registered is None else registered

    def embed(self, image_rgb: np.ndarray) -> torch.Tensor:
        """Ground embedding (D,) of a policy for a camera image, uint8 (H, W, 3) RGB, which
        `posterior` takes in its place. Raises ImageError, ConfigError without a policy."""
        return self.require_zoom().embed(image_rgb)

    def posterior(
        self,
        image: np.ndarray | torch.Tensor,
        search_config: SearchConfig | None = None,
        expand_mask: Sequence[np.ndarray] | None = None,
    ) -> CellPosterior:
        """The `CellPosterior` of a policy for a camera image; see `ZoomSearch.posterior`. Raises
        ImageError, ConfigError without a policy."""
        return self.require_zoom().posterior(image, search_config, expand_mask)

    def view(
        self,
        image_rgb: np.ndarray | Sequence[np.ndarray],
        state: CameraState,
        mounts: Sequence[Mount] | None = None,
    ) -> View:
        """A picture with what is known of its camera, or those of a rig with their `Mount`s and
        the state of the first camera, ready to be registered; the localizer's own camera where
        the state has none. Raises ImageError; ConfigError where there is no scale to search at."""
        images = [image_rgb] if isinstance(image_rgb, np.ndarray) else image_rgb
        camera = state.camera or self.camera
        if camera is None:
            raise ConfigError(SCALE_UNKNOWN)
        std_rad = None
        if state.yaw_rad is not None:
            std_rad = HEADING_STD_RAD if state.yaw_std_rad is None else state.yaw_std_rad
        known = replace(state, camera=camera, yaw_std_rad=std_rad)
        return self.require_registrar().view_at(known, images, mounts)

    def locate(
        self,
        image_rgb: np.ndarray,
        camera: Camera | None = None,
        heading_rad: float | None = None,
        heading_std_rad: float | None = None,
        attitude: Attitude | None = None,
        criteria: FixCriteria | None = None,
        tilt: Tilt | None = None,
    ) -> Fix:
        """The `Fix` of a camera image, uint8 (H, W, 3) RGB.

        `camera` as in `open`, for this image; `heading_rad`: where the top of the image points,
        counter-clockwise from east, with its standard deviation; `attitude` of a tilted camera,
        `tilt` of one that looks ahead.
        Raises ImageError; ConfigError where registration has no scale to search at.
        """
        state = CameraState(camera, attitude, heading_rad, heading_std_rad, tilt=tilt)
        return self._locate([image_rgb], None, state, criteria)

    def locate_rig(
        self,
        images_rgb: Sequence[np.ndarray],
        mounts: Sequence[Mount],
        criteria: FixCriteria | None = None,
        state: CameraState | None = None,
    ) -> Fix:
        """The `Fix` of several images of one place: a rig's cameras, or a turn on the spot.
        `mounts`: the `Mount` of each; `criteria` a `FixCriteria`, the localizer's own unless
        given; `state` of the first camera, where they are registered. Raises ImageError,
        ConfigError for another number, or where nothing is known of the scale."""
        if len(images_rgb) != len(mounts):
            raise ConfigError(f'{len(images_rgb)} images need as many mounts, not {len(mounts)}')
        return self._locate(images_rgb, mounts, state or CameraState(), criteria)

    def _locate(
        self,
        images_rgb: Sequence[np.ndarray],
        mounts: Sequence[Mount] | None,
        state: CameraState,
        criteria: FixCriteria | None,
    ) -> Fix:
        """The fix of the images of a rig or of one: registered where there is a scale to search
        at, with the policy's posterior as prior where there is a policy; else a policy's alone."""
        registrar = self.registrar
        if registrar is None or (state.camera or self.camera) is None:
            return self._zoom_fix(images_rgb, mounts, criteria)
        if blind := self._blind(images_rgb):
            return blind
        view = self.view(images_rgb, state, mounts)
        prior = self._zoom(images_rgb, mounts) if self.zoom else None
        posterior = registrar.posterior(view, prior)
        fix = registrar.fix(view, posterior, criteria or self.criteria)
        return self.correct(fix, criteria)

    def _zoom_fix(
        self,
        images_rgb: Sequence[np.ndarray],
        mounts: Sequence[Mount] | None,
        criteria: FixCriteria | None,
    ) -> Fix:
        """The policy's fix, of the images of a rig or of one."""
        if self.zoom is None:
            raise ConfigError(SCALE_UNKNOWN)
        if blind := self._blind(images_rgb):
            return blind
        fix = make_fix(self._zoom(images_rgb, mounts), criteria or self.criteria)
        return self.correct(fix, criteria)

    def _zoom(
        self, images_rgb: Sequence[np.ndarray], mounts: Sequence[Mount] | None
    ) -> CellPosterior:
        """The policy's posterior of the images of a rig or of one."""
        found = [self.posterior(image) for image in images_rgb]
        return fuse_posteriors(found, overlap_weights(mounts) if mounts else None)

    def _blind(self, images_rgb: Sequence[np.ndarray]) -> Fix | None:
        """No fix, where the pictures show nothing: a policy is sure of a lens cap too, and a
        search would be for nothing. Raises ImageError for what is no picture."""
        for image in images_rgb:
            check_image(image)
        fault = images_fault(images_rgb)
        if fault is None:
            return None
        indices = np.flatnonzero(self.covered)
        levels, share = np.full(len(indices), self.region.depth), 1 / len(indices)
        even = CellPosterior(self.region, levels, indices, np.full(len(indices), share))
        return replace(make_no_fix(self.region, str(fault)), posterior=even)


def _offset_of(satellite_map: SatelliteMap, std_m: float) -> MapOffset:
    """The offset in a map's folder, else an unknown one with a deviation."""
    found = read_offset(satellite_map.path, satellite_map.checksum)
    return MapOffset.unknown(std_m) if found is None else found
