"""What a downward camera would see: training views and demo flights drawn from the map alone.

The ground is taken as flat. A pinhole camera over a random place, at a random height, turned and
tilted at random, looks at the map; then its picture is made as unlike the map as a real camera's
is: light, colour, shade, vignetting, blur, noise, strangers in the way, JPEG.
"""

from dataclasses import dataclass
from math import pi

import cv2
import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.io.images import resize
from justzoom_ros.maps.nadir_camera import NadirPose, look_down


@dataclass(frozen=True)
class NadirViewConfig:
    """How the poses of training views are drawn.

    `footprint_m`: range of the ground width in the image; with `fov_rad`, the horizontal field
    of view, it is the range of heights. `tilt_rad`: standard deviation of pitch and of roll.
    `min_coverage`: views that see less imagery than this share are drawn again.
    `position_noise_m`: standard deviation, east and north, of the position that goes with a view
    about the true one. What the truth of a real camera is off by (its GPS, tilt that nobody
    measured) belongs here, or the posterior comes out narrower than anyone can check.
    """

    footprint_m: tuple[float, float] = (80.0, 160.0)
    fov_rad: float = 1.2
    tilt_rad: float = 0.08
    yaw_rad: tuple[float, float] = (-pi, pi)
    min_coverage: float = 0.6
    position_noise_m: float = 0.0

    def __post_init__(self):
        if not self.position_noise_m >= 0:
            raise ConfigError(f'position noise {self.position_noise_m:g} m must not be negative')
        low, high = self.footprint_m
        if not 0 < low <= high:
            raise ConfigError(f'footprint range {low:g}..{high:g} m must be positive and ordered')
        if not 0 < self.fov_rad < pi:
            raise ConfigError(f'field of view {self.fov_rad:g} rad must lie between 0 and pi')
        if not 0 <= self.tilt_rad < 0.5:
            raise ConfigError(f'tilt {self.tilt_rad:g} rad must lie in 0..0.5')


@dataclass(frozen=True)
class Appearance:
    """How far a camera's picture departs from the map, each the scale of a random draw.

    `gain`, `colour`, `contrast`: log brightness, log channel gains, log contrast. `shade`: log
    amplitude of soft patches of light. `vignette`: loss of light in the corners. `blur_px`,
    `noise` (of full scale), `jpeg` (lowest quality), `patches` (most rectangles that hide
    something).
    """

    gain: float = 0.25
    colour: float = 0.08
    contrast: float = 0.2
    shade: float = 0.2
    vignette: float = 0.5
    blur_px: float = 1.0
    noise: float = 0.03
    jpeg: int = 40
    patches: int = 2


class NadirViews:
    """Draws training views (h, w, 3) of one map with the positions they were taken from."""

    def __init__(self, satellite_map, size_px, config=None, appearance=None):
        """`size_px` (width, height) of a view. The map is reduced once to the resolution of the
        sharpest view, so that drawing one costs a warp and little else."""
        self.region = satellite_map.region
        self.config = config or NadirViewConfig()
        self.appearance = appearance or Appearance()
        self.size_px = size_px
        self._pixels, self._mask = reduced_map(
            satellite_map, self.config.footprint_m[0] / size_px[0]
        )
        self._covered = np.argwhere(self._mask)
        if not len(self._covered):
            raise ConfigError(f'{satellite_map.path}: the map has no imagery to draw views from')

    def draw(self, rng):
        """One view: (uint8 (h, w, 3) RGB, NadirPose)."""
        for _ in range(100):
            pose = self._pose(rng)
            view, seen = self._look(pose)
            if seen.mean() >= self.config.min_coverage * 255:
                break
        if seen.min() < 255:
            # Beyond the map there is other ground, not a blank: another place stands in for it.
            elsewhere, _ = self._look(self._pose(rng))
            view = np.where(seen[..., None] > 127, view, elsewhere)
        return develop(view, self.appearance, rng), pose

    def stated_position(self, pose, rng):
        """Where the camera at `pose` says that it is: (2,) east and north, within the region."""
        stated = rng.normal((pose.east_m, pose.north_m), self.config.position_noise_m)
        return stated.clip(-self.region.side_m / 2, self.region.side_m / 2)

    def _pose(self, rng):
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

    def _look(self, pose):
        side_m, fov = self.region.side_m, self.config.fov_rad
        view = look_down(self._pixels, side_m, pose, self.size_px, fov)
        return view, look_down(self._mask, side_m, pose, self.size_px, fov)


def reduced_map(satellite_map, metres_per_px):
    """The map's pixels (n, n, 3) and mask (n, n), 0 or 255, at about `metres_per_px` or, where
    that is finer than the map, at the map's own resolution."""
    side = round(satellite_map.region.side_m / max(metres_per_px, satellite_map.resolution_m))
    mask = resize(satellite_map.mask.astype(np.uint8) * 255, side, side)
    return resize(satellite_map.pixels, side, side), np.where(mask > 127, 255, 0).astype(np.uint8)


def develop(view, appearance, rng):
    """Give a clean rendering (h, w, 3) uint8 the look of a camera's JPEG."""
    a = appearance
    x = view.astype(np.float32) / 255
    x = _hide_patches(x, a.patches, rng)
    x = _contrast(x, np.exp(rng.normal(0, a.contrast)))
    x *= np.exp(rng.normal(0, a.gain) + rng.normal(0, a.colour, 3)).astype(np.float32)
    x *= _shade(x.shape, a.shade, rng) * _vignette(x.shape, rng.uniform(0, a.vignette), rng)
    sigma_px = rng.uniform(0, a.blur_px)
    if sigma_px > 0.2:
        x = cv2.GaussianBlur(x, (0, 0), sigma_px)
    x += _noise(x.shape, rng.uniform(0, a.noise), rng)
    pixels = (x.clip(0, 1) * 255).astype(np.uint8)
    quality = int(rng.integers(a.jpeg, 96))
    _, jpeg = cv2.imencode('.jpg', pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1])


def _contrast(x, factor):
    mean = np.array(cv2.mean(x)[:3], np.float32)
    return (x - mean) * np.float32(factor) + mean


def _shade(shape, amplitude, rng):
    """Soft patches of light, a little coloured: (h, w, 3) factors about 1."""
    field = rng.normal(0, 1, (3, 4, 1)) + rng.normal(0, 0.25, (3, 4, 3))
    scale = rng.uniform(0, amplitude)
    smooth = cv2.resize(
        field.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC
    )
    return np.exp(scale * smooth)


def _vignette(shape, strength, rng):
    """Loss of light away from a point near the middle: (h, w, 1) factors in 1 - strength .. 1."""
    y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    dy, dx = rng.normal(0, 0.2, 2)
    squared = ((x - dx) ** 2 + (y - dy) ** 2) / 2
    return (1 - strength * np.minimum(squared, 1))[..., None].astype(np.float32)


def _noise(shape, scale, rng):
    """White noise, drawn by OpenCV because that is ten times faster than by numpy."""
    cv2.setRNGSeed(int(rng.integers(2**31)))
    return cv2.randn(np.empty(shape, np.float32), (0, 0, 0), (scale, scale, scale))


def _hide_patches(x, most, rng):
    """Cover up to `most` rectangles with one colour each, as vehicles and dirt do."""
    height, width = x.shape[:2]
    for _ in range(rng.integers(most + 1)):
        h, w = (rng.uniform(0.05, 0.3, 2) * (height, width)).astype(int) + 1
        top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
        x[top : top + h, left : left + w] = rng.uniform(0, 1, 3)
    return x
