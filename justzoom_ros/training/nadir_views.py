"""What a downward camera would see: training views drawn from the map alone.

The ground is taken as flat. A pinhole camera over a random place, at a random height, turned and
tilted at random, looks at the map (`maps/nadir_camera.py`); then its picture is made as unlike the
map as a real camera's is (`appearance.py`).
"""

from dataclasses import dataclass
from math import pi
from pathlib import Path

import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.io.images import resize
from justzoom_ros.maps.nadir_camera import NadirPose, look_down
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.training.appearance import Appearance, develop

TRIED = 100
"""Poses that are drawn for one that sees enough imagery."""


@dataclass(frozen=True)
class NadirViewConfig:
    """How the poses of training views are drawn. Raises ConfigError for values out of range."""

    footprint_m: tuple[float, float] = (80.0, 160.0)
    """Range of the ground width in the image; with the field of view that of heights."""

    fov_rad: float = 1.2
    """Horizontal field of view."""

    tilt_rad: float = 0.08
    """Standard deviation of pitch and of roll."""

    yaw_rad: tuple[float, float] = (-pi, pi)
    """Range of headings."""

    min_coverage: float = 0.6
    """Views that see less imagery than this share (0..1) are drawn again."""

    position_noise_m: float = 0.0
    """Standard deviation, east and north, of the position that goes with a view about the true
    one. What the truth of a real camera is off by (its GPS, tilt that nobody measured) belongs
    here, or the posterior comes out narrower than anyone can check."""

    def __post_init__(self) -> None:
        if not self.position_noise_m >= 0:
            raise ConfigError(f'position noise {self.position_noise_m:g} m must not be negative')
        low, high = self.footprint_m
        if not 0 < low <= high:
            raise ConfigError(f'footprint range {low:g}..{high:g} m must be positive and ordered')
        if not 0 < self.fov_rad < pi:
            raise ConfigError(f'field of view {self.fov_rad:g} rad must lie between 0 and pi')
        if not 0 <= self.tilt_rad < 0.5:
            raise ConfigError(f'tilt {self.tilt_rad:g} rad must lie in 0..0.5')


class NadirViews:
    """Draws training views (h, w, 3) of one map with the positions they were taken from."""

    def __init__(
        self,
        satellite_map: SatelliteMap,
        size_px: tuple[int, int],
        config: NadirViewConfig | None = None,
        appearance: Appearance | None = None,
    ) -> None:
        """`size_px` (width, height) of a view. The map is reduced once to the resolution of the
        sharpest view, so that drawing one costs a warp and little else."""
        self.region = satellite_map.region
        self.config = config or NadirViewConfig()
        self.appearance = appearance or Appearance()
        self.size_px = size_px
        self._pixels, self._mask = reduce_map(
            satellite_map, self.config.footprint_m[0] / size_px[0]
        )
        self._covered = np.argwhere(self._mask)
        if not len(self._covered):
            raise ConfigError(f'{satellite_map.path}: the map has no imagery to draw views from')
        self._check_size(satellite_map.path)

    def _check_size(self, path: Path) -> None:
        """Raise ConfigError where views would show more than there is: a run on them would learn
        nothing, and take its time to."""
        high, side_m = self.config.footprint_m[1], self.region.side_m
        if high > side_m:
            raise ConfigError(
                f'a footprint of {high:g} m is wider than {path}, a map that is {side_m:g} m wide'
            )
        rng, best = np.random.default_rng(0), 0.0
        for _ in range(TRIED):
            best = max(best, self._look(self._pose(rng))[1].mean() / 255)
            if best >= self.config.min_coverage:
                return
        raise ConfigError(
            f'views of {path} show at most {best:.0%} imagery and {self.config.min_coverage:.0%} '
            'are needed (min_coverage); take a smaller footprint or a map with more imagery'
        )

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, NadirPose]:
        """One view: (uint8 (h, w, 3) RGB, NadirPose)."""
        for _ in range(TRIED):
            pose = self._pose(rng)
            view, seen = self._look(pose)
            if seen.mean() >= self.config.min_coverage * 255:
                break
        if seen.min() < 255:
            # Beyond the map there is other ground, not a blank: another place stands in for it.
            elsewhere, _ = self._look(self._pose(rng))
            view = np.where(seen[..., None] > 127, view, elsewhere)
        return develop(view, self.appearance, rng), pose

    def stated_position(self, pose: NadirPose, rng: np.random.Generator) -> np.ndarray:
        """Where the camera at `pose` says that it is: (2,) east and north, within the region."""
        stated = rng.normal((pose.east_m, pose.north_m), self.config.position_noise_m)
        return stated.clip(-self.region.side_m / 2, self.region.side_m / 2)

    def _pose(self, rng: np.random.Generator) -> NadirPose:
        config, side = self.config, self.region.side_m
        row, column = self._covered[rng.integers(len(self._covered))] + rng.random(2)
        metres = side / len(self._mask)
        return NadirPose(
            east_m=column * metres - side / 2,
            north_m=side / 2 - row * metres,
            yaw_rad=rng.uniform(*config.yaw_rad),
            footprint_m=np.exp(rng.uniform(*np.log(config.footprint_m))),
            pitch_rad=np.clip(rng.normal(0, config.tilt_rad), -0.5, 0.5),
            roll_rad=np.clip(rng.normal(0, config.tilt_rad), -0.5, 0.5),
        )

    def _look(self, pose: NadirPose) -> tuple[np.ndarray, np.ndarray]:
        side_m, fov = self.region.side_m, self.config.fov_rad
        view = look_down(self._pixels, side_m, pose, self.size_px, fov)
        return view, look_down(self._mask, side_m, pose, self.size_px, fov)


def reduce_map(satellite_map: SatelliteMap, metres_per_px: float) -> tuple[np.ndarray, np.ndarray]:
    """The map's pixels (n, n, 3) and mask (n, n), 0 or 255, at about `metres_per_px` or, where
    that is finer than the map, at the map's own resolution."""
    side = round(satellite_map.region.side_m / max(metres_per_px, satellite_map.resolution_m))
    mask = resize(satellite_map.mask.astype(np.uint8) * 255, side, side)
    return resize(satellite_map.pixels, side, side), np.where(mask > 127, 255, 0).astype(np.uint8)
