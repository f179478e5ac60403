"""Cameras that look ahead, registered on a map.

    view = ForwardView(network, [Look(image_rgb, camera, tilt)])
    view.register(map_features).peaks(3)

One picture or those of a rig become one template; everything else is as for a camera that looks
down: the same correlation, the same `PoseLikelihood`.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from justzoom_ros.errors import ConfigError
from justzoom_ros.registration.attitude import Attitude
from justzoom_ros.registration.camera import Camera, HeightCandidate
from justzoom_ros.registration.correlation import Correlation, correlate
from justzoom_ros.registration.forward_lift import Tilt, level_strip, normalize_strip
from justzoom_ros.registration.forward_network import Cells, ForwardNetwork, lay_on_ground
from justzoom_ros.registration.map_features import MapFeatures, Window
from justzoom_ros.registration.search import Background, PoseSearchConfig, View
from justzoom_ros.registration.template import Templates

REFERENCE_M = 136.0
"""Side of the piece of map by which it is judged how high other places score."""

REFERENCE_HEADINGS = 4
"""At so many headings."""

LEVER_M = 12.0
"""How far ahead of a camera lies what it fixes best."""


@dataclass(frozen=True)
class Look:
    """One picture of a rig at one moment."""

    image_rgb: np.ndarray
    """uint8 (H, W, 3) RGB, undistorted."""

    camera: Camera
    """Its lens."""

    tilt: Tilt | None = None
    """Level unless given."""

    yaw_rad: float = 0.0
    """Its azimuth against that of the rig, counter-clockwise."""


class ForwardView(View):
    """A rig's pictures of one moment, ready to be compared with maps. Headings are those of the
    rig: of its camera of yaw 0.

    `looks`: one `Look` or several. The rest as in `View`. Raises ImageError, ConfigError.
    """

    def __init__(
        self,
        network: ForwardNetwork,
        looks: Sequence[Look],
        yaw_rad: float | None = None,
        yaw_std_rad: float | None = None,
        config: PoseSearchConfig | None = None,
    ) -> None:
        if not looks:
            raise ConfigError('a view needs at least one picture')
        self.forward, self.config = network, config or PoseSearchConfig()
        self.attitude = Attitude()
        self.candidates = (HeightCandidate(1.6, 0.0),)
        self.yaws_rad = self.config.yaws_rad(yaw_rad, yaw_std_rad)
        self.yaw_step_rad = self.config.yaw_step_rad
        self.backgrounds: list[Background | None] = [None]
        self._polar = [(self._encode(look), look.yaw_rad) for look in looks]

    def _encode(self, look: Look) -> torch.Tensor:
        strip = level_strip(look.image_rgb, look.camera, look.tilt, self.forward.config)
        return self.forward.view_features(normalize_strip(strip))

    @property
    def tilt_std_m(self) -> float:
        """An error of the tilt moves nothing: the camera is where it is."""
        return 0.0

    def turned_to(self, yaws_rad: np.ndarray, yaw_step_rad: float) -> 'ForwardView':
        """As `View.turned_to`."""
        other = copy(self)
        other.yaws_rad, other.yaw_step_rad = np.asarray(yaws_rad, float), yaw_step_rad
        return other

    @torch.inference_mode()
    def templates(self, number: int, map_features: MapFeatures) -> Templates:
        """The `Templates` in cells of a map: sums over all pictures."""
        pooling, config = map_features.pooling, self.forward.config
        cells, parts = Cells.of(config, pooling), []
        for polar, turn in self._polar:
            seen = polar.new_ones((1, *polar.shape[1:]))
            yaws = torch.as_tensor(self.yaws_rad + turn, dtype=polar.dtype, device=polar.device)
            laid = lay_on_ground(config, torch.cat([polar, seen])[None], yaws[None], cells)[0]
            parts.append(laid)
        total = torch.stack(parts).sum(0)
        if pooling > 1:
            total = F.avg_pool2d(total, pooling)
        middle = np.full((len(self.yaws_rad), 2), total.shape[-1] // 2)
        # What is looked up in the features is a mean over fine cells: sums are over all of them.
        features = total[:, :-1] * pooling**2
        return Templates(features, total[:, -1].clamp(max=1), middle, self.yaws_rad)

    def register(
        self,
        map_features: MapFeatures,
        window: Window | None = None,
        backgrounds: Sequence[Background | None] | None = None,
    ):
        """As `View.register`. How high other places score is judged by a piece of the map's
        middle, so that it does not depend on where is searched."""
        return super().register(
            map_features, window, backgrounds or [self.reference(map_features)]
        )

    def reference(self, map_features: MapFeatures) -> Background | None:
        """Mean and standard deviation of the scores in the middle of a map, None where it has no
        imagery there."""
        key = id(map_features)
        kept = self.__dict__.setdefault('_references', {})
        if key not in kept:
            step = 2 * np.pi / REFERENCE_HEADINGS
            yaws = self.yaws_rad[0] + np.arange(REFERENCE_HEADINGS) * step
            templates = self.turned_to(yaws, step).templates(0, map_features)
            middle = map_features.position_m(*((n - 1) / 2 for n in map_features.shape))
            window = map_features.window_around(*middle, REFERENCE_M / 2)
            found = correlate(map_features, templates, window, self.config.min_imagery, keep=True)
            kept[key] = found.background() if found.valid.any() else None
        return kept[key]

    @torch.inference_mode()
    def log_ratio(self, correlation: Correlation, number: int) -> torch.Tensor:
        """As `View.log_ratio`."""
        mean, std = self.backgrounds[0] or correlation.background()
        cells = correlation.cells
        ratio = self.forward.match(
            correlation.score * cells, mean * cells, std * correlation.in_view[:, None, None]
        )
        return torch.where(correlation.valid, ratio, -torch.inf)

    def _lever_m(self, number: int, map_features: MapFeatures) -> tuple[float, float]:
        return (0.0, LEVER_M) if len(self._polar) == 1 else (0.0, 0.0)
