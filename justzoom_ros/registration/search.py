"""A camera image registered on a map: what the whole method comes to.

    likelihood = register(network, map_features, image_rgb, camera)
    likelihood.peaks(3), likelihood.evidence()

The image is laid on the ground for each height that the camera may have, its features are turned
to each heading and correlated with the map's, and the scores become likelihood ratios.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import cos, exp, pi, radians, tan
from typing import Any, Protocol

import numpy as np
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.registration.attitude import UNKNOWN_TILT, Attitude
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.correlation import (
    MIN_IMAGERY,
    Correlation,
    correlate,
    correlate_tiles,
)
from justzoom_ros.registration.lift import MAX_OFF_NADIR_RAD, LiftedView, lift
from justzoom_ros.registration.likelihood import (
    PoseLikelihood,
    combine_scales,
)
from justzoom_ros.registration.map_features import MapFeatures, Window, pool
from justzoom_ros.registration.peaks import Peak
from justzoom_ros.registration.template import Templates, headings, rotate

Background = tuple[float, float]
"""Mean and standard deviation of the scores of other places."""

FINER = 4
"""A peak that is looked at closely is searched at so many headings for each step of the search."""

CLOSE_CELLS = 4
"""And so many cells around."""


class Network(Protocol):
    """What a search needs of a registration network."""

    config: Any
    """Has `stride`: pixels along the side of a cell."""

    def view_features(self, pixels: np.ndarray, mask: np.ndarray) -> torch.Tensor:
        """Features (C, h / stride, w / stride) of a lifted view (h, w, 3)."""

    def cell_mask(self, mask: np.ndarray) -> torch.Tensor:
        """bool (h / stride, w / stride): cells that count as seen."""

    def log_ratio(
        self, mean_cosine: torch.Tensor, area_cells: Any, background_mean: Any, background_std: Any
    ) -> torch.Tensor:
        """Log likelihood ratios of scores, given how those of all poses are spread."""


@dataclass(frozen=True)
class PoseSearchConfig:
    """How a view is searched for. Raises ConfigError where a value is out of range."""

    headings: int = 36
    """Headings all the way round, 4 or more."""

    heading_reach: float = 2.0
    """With a known heading, those within so many of its standard deviations are searched, and at
    least the one next to it on either side."""

    scale_step: float = 0.05
    """Ratio, less one, of one searched height to the next."""

    max_side_m: float = 256.0
    """Greatest side of the ground that a view is compared by."""

    max_off_nadir_rad: float = MAX_OFF_NADIR_RAD
    """Ground that is seen at a greater angle from straight down is left out."""

    min_imagery: float = MIN_IMAGERY
    """Least share, 0..1, of what the camera would see that has imagery on the map."""

    def __post_init__(self) -> None:
        if not (self.headings >= 4 and self.heading_reach > 0 and 0 < self.scale_step < 1):
            raise ConfigError(
                'a search needs at least 4 headings, a positive heading_reach and a scale_step '
                'between 0 and 1'
            )
        if not (self.max_side_m > 0 and 0 < self.max_off_nadir_rad < radians(89)):
            raise ConfigError(
                'max_side_m must be positive, max_off_nadir_rad within 0..89 degrees'
            )
        if not 0 < self.min_imagery <= 1:
            raise ConfigError(f'min_imagery is {self.min_imagery:g}; it must lie in 0..1')

    @property
    def yaw_step_rad(self) -> float:
        """Between one heading and the next."""
        return 2 * pi / self.headings

    def yaws_rad(
        self, yaw_rad: float | None = None, yaw_std_rad: float | None = None
    ) -> np.ndarray:
        """Headings (K,) to search, all unless one is known with a standard deviation."""
        if yaw_rad is None or yaw_std_rad is None:
            return headings(self.headings, yaw_rad)
        reach = max(self.heading_reach * yaw_std_rad, self.yaw_step_rad)
        return headings(self.headings, yaw_rad, reach)


def register(
    network: Network,
    map_features: MapFeatures,
    image_rgb: np.ndarray,
    camera: Camera,
    attitude: Attitude | None = None,
    yaw_rad: float | None = None,
    yaw_std_rad: float | None = None,
    window: Window | None = None,
    config: PoseSearchConfig | None = None,
) -> PoseLikelihood:
    """The `PoseLikelihood` of an image, uint8 (H, W, 3) RGB and undistorted, over a `Window` of
    `MapFeatures`, the whole map unless given.

    `network`: a `Network`, that of the map's features. `camera`: a `Camera` whose height is known
    or within a range; `attitude`: its `Attitude`, level unless given. `yaw_rad` with its deviation
    `yaw_std_rad`, counter-clockwise from east, narrows the search.
    Raises ImageError for an image that cannot be used or shows no ground, ConfigError for a camera
    without a height, or where the view fits nowhere on the map's imagery.
    """
    view = View(network, image_rgb, camera, attitude, yaw_rad, yaw_std_rad, config)
    return view.register(map_features, window)


class View:
    """An image and all that is known of its camera, ready to be compared with maps. Its features
    are computed once for each height and cell side.

    Arguments as in `register`. `backgrounds`: for each height the mean and standard deviation of
    the scores of other places in the last search, None before and where the view fitted nowhere.
    """

    def __init__(
        self,
        network: Network,
        image_rgb: np.ndarray,
        camera: Camera,
        attitude: Attitude | None = None,
        yaw_rad: float | None = None,
        yaw_std_rad: float | None = None,
        config: PoseSearchConfig | None = None,
    ) -> None:
        self.network, self.image, self.camera = network, image_rgb, camera
        self.attitude, self.config = attitude or UNKNOWN_TILT, config or PoseSearchConfig()
        self.candidates = camera.scales(self.config.scale_step)
        self.yaws_rad = self.config.yaws_rad(yaw_rad, yaw_std_rad)
        self.yaw_step_rad = self.config.yaw_step_rad
        self.backgrounds: list[Background | None] = [None] * len(self.candidates)
        self._features: dict[tuple[int, float], Any] = {}

    @property
    def log_priors(self) -> list[float]:
        """Logarithms of the prior probabilities of the heights."""
        return [candidate.log_prior for candidate in self.candidates]

    @property
    def tilt_std_m(self) -> float:
        """How far, in metres, an error of the tilt moves the camera: one standard deviation."""
        height_m = sum(exp(one.log_prior) * one.height_m for one in self.candidates)
        return height_m * tan(self.attitude.std_rad) / cos(self.attitude.off_nadir_rad) ** 2

    def turned_to(self, yaws_rad: np.ndarray, yaw_step_rad: float) -> 'View':
        """The same view to be searched at other headings (K,), a step apart; features are
        shared."""
        other = copy(self)
        other.yaws_rad, other.yaw_step_rad = np.asarray(yaws_rad, float), yaw_step_rad
        return other

    def templates(self, number: int, map_features: MapFeatures) -> Templates:
        """The `Templates` for the height with a number, in cells of a map."""
        factor = map_features.pooling
        features, mask, origin = self.features(number, map_features.cell_m / factor)
        if factor > 1:
            features, mask = pool(features, mask.to(features), factor)
            origin = origin[0] / factor, origin[1] / factor
        return rotate(features, mask, origin, self.yaws_rad)

    def features(
        self, number: int, cell_m: float
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[float, float]]:
        """Features (C, h, w), mask (h, w) and origin (row, column) in cells, for a height."""
        key = number, cell_m
        if key not in self._features:
            lifted = self._lifted(number, cell_m / self.network.config.stride)
            features = self.network.view_features(lifted.pixels, lifted.mask)
            row, column = (at / self.network.config.stride for at in lifted.origin_px)
            self._features[key] = features, self.network.cell_mask(lifted.mask), (row, column)
        return self._features[key]

    def _lifted(self, number: int, metres_per_px: float) -> LiftedView:
        config = self.config
        return lift(
            self.image,
            self.camera,
            self.attitude,
            self.candidates[number].height_m,
            metres_per_px,
            config.max_side_m,
            config.max_off_nadir_rad,
            self.network.config.stride,
        )

    def register(
        self,
        map_features: MapFeatures,
        window: Window | None = None,
        backgrounds: Sequence[Background | None] | None = None,
    ) -> PoseLikelihood:
        """As the function `register`. `backgrounds`: for each height the mean and deviation of the
        scores of other places, those of the window itself unless given."""
        self.backgrounds = list(backgrounds or [None] * len(self.candidates))
        numbers = range(len(self.candidates))
        found = (self._register(map_features, window, number) for number in numbers)
        return combine_scales(found, self.log_priors)

    def sharpen(self, map_features: MapFeatures, peak: Peak) -> Peak:
        """The `Peak` again, looked at closely: at headings a quarter of a step apart and the
        peak's height, in a window that is just large enough. Its heading is good to a degree then,
        and so is the place of a camera that looks ahead."""
        number, step = peak.scale or 0, self.yaw_step_rad / FINER
        yaws = peak.yaw_rad + np.arange(-FINER + 1, FINER) * step
        lever = np.hypot(*self._lever_m(number, map_features))
        reach_m = CLOSE_CELLS * map_features.cell_m + lever * FINER * step
        window = map_features.window_around(peak.east_m, peak.north_m, reach_m)
        found = self.turned_to(yaws, step)._register(map_features, window, number)
        best = found.peaks(1)[0] if found else peak
        return replace(best, scale=peak.scale)

    def _register(
        self, map_features: MapFeatures, window: Window | None, number: int
    ) -> PoseLikelihood | None:
        """The `PoseLikelihood` for the height with a number, None where it fits nowhere."""
        templates = self.templates(number, map_features)
        correlation = correlate(map_features, templates, window, self.config.min_imagery)
        if not correlation.valid.any():
            return None
        self.backgrounds[number] = self.backgrounds[number] or correlation.background()
        return PoseLikelihood.of_window(
            self.log_ratio(correlation, number),
            self.yaws_rad,
            correlation.window,
            map_features,
            yaw_step_rad=self.yaw_step_rad,
            levers_m=(self._lever_m(number, map_features),),
        )

    def _lever_m(self, number: int, map_features: MapFeatures) -> tuple[float, float]:
        """Metres right and ahead from the point below the camera to the middle of the view."""
        cell_m = map_features.cell_m / map_features.pooling
        _, mask, origin = self.features(number, cell_m)
        row, column = (torch.nonzero(mask).double().mean(0) + 0.5).tolist()
        return (column - origin[1]) * cell_m, (origin[0] - row) * cell_m

    def correlate_tiles(
        self, map_features: MapFeatures, windows: Sequence[Window], number: int
    ) -> Iterator[Correlation]:
        """Yield the `Correlation` of each window, all of one shape, for the height with a
        number."""
        templates = self.templates(number, map_features)
        return correlate_tiles(map_features, templates, windows, self.config.min_imagery)

    @torch.no_grad()
    def log_ratio(self, correlation: Correlation, number: int) -> torch.Tensor:
        """float32 (K, n, m): log likelihood ratios of a `Correlation` at the height with a number,
        -inf where a pose is not valid.

        Where the map covers a part of the view only, fewer cells are averaged and chance reaches
        higher: the deviation of a mean grows with the root of their share.
        """
        mean, std = self.backgrounds[number] or correlation.background()
        ratio = torch.empty_like(correlation.score)
        for k, to in enumerate(ratio):  # a plane fits a processor's cache, all do not
            one = correlation.at_heading(k)
            spread = std / one.share.clamp(min=1e-3).sqrt()
            plane = self.network.log_ratio(one.score, one.cells, mean, spread)
            to.copy_(torch.where(one.valid, plane, -torch.inf)[0])
        return ratio
