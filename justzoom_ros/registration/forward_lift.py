"""Pictures of cameras that look ahead, levelled: the same for every lens and tilt.

A *strip* is a piece of a cylinder about the vertical through the camera. Its columns are azimuths,
evenly spaced, from left to right; its rows are slopes (tangents of the elevation), evenly spaced,
the horizon in the middle. What the camera does not see is masked.
"""

from dataclasses import dataclass
from math import asin, atan2, ceil, cos, degrees, isfinite, pi, radians, sin

import cv2
import numpy as np

from justzoom_ros.errors import ConfigError, ImageError
from justzoom_ros.registration.attitude import _checked_rotation
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.forward_config import ForwardConfig
from justzoom_ros.registration.lift import _check_image

MAX_TILT_RAD = pi / 6
"""A camera that is tilted further against the horizon does not look ahead."""

AHEAD_RAD = pi / 2 - radians(20)
"""A camera that is pitched by more than this from straight down looks ahead: flatter ground is
hidden by houses, and the horizon is in view."""

COLUMNS_UNIT = 4
"""Numbers of columns of strips are multiples of this."""

LEAST_VISIBLE = 0.02
"""A view that fills a smaller share of its strip shows too little."""


@dataclass(frozen=True)
class Tilt:
    """How a camera that looks ahead is tilted against the horizon. Raises ConfigError where it is
    tilted by more than `MAX_TILT_RAD`, or by no number."""

    pitch_rad: float = 0.0
    """Upwards, in radians."""

    roll_rad: float = 0.0
    """Clockwise as the camera sees it, in radians: the picture of the horizon turns the other
    way."""

    def __post_init__(self) -> None:
        for name, value in (('pitched', self.pitch_rad), ('rolled', self.roll_rad)):
            if not (isfinite(value) and abs(value) <= MAX_TILT_RAD):
                raise ConfigError(
                    f'a camera that is {name} by {degrees(value):.0f} degrees does not look '
                    f'ahead: at most {degrees(MAX_TILT_RAD):.0f} are possible'
                )

    @property
    def level_from_camera(self) -> np.ndarray:
        """Rotation (3, 3) of optical coordinates (right, down, forward) into the level frame
        (right, down, forward) of the same azimuth."""
        cp, sp = cos(self.pitch_rad), sin(self.pitch_rad)
        cr, sr = cos(self.roll_rad), sin(self.roll_rad)
        right = np.array([cr, sr * cp, sr * sp])
        down = np.array([-sr, cr * cp, cr * sp])
        return np.stack([right, down, np.array([0.0, -sp, cp])], axis=1)

    @classmethod
    def from_camera_rotation(cls, world_from_camera: np.ndarray) -> tuple['Tilt', float]:
        """The tilt of a camera, and its yaw in radians, counter-clockwise from east.

        `world_from_camera` (3, 3): rotation from the optical frame into ENU. Raises ConfigError
        for a matrix that is no rotation, and for a camera that does not look ahead.
        """
        right, down, forward = _checked_rotation(world_from_camera).T
        pitch = asin(np.clip(forward[2], -1, 1))
        roll = atan2(-right[2], -down[2])
        return cls(pitch, roll), atan2(forward[1], forward[0])


@dataclass(frozen=True)
class Strip:
    """A levelled picture, about the azimuth at which the camera looks."""

    pixels: np.ndarray
    """uint8 (H, W, 3) RGB, 0 where nothing is seen."""

    mask: np.ndarray
    """bool (H, W): what the camera sees."""


def level_strip(
    image_rgb: np.ndarray,
    camera: Camera,
    tilt: Tilt | None = None,
    config: ForwardConfig | None = None,
) -> Strip:
    """The `Strip` of an image, uint8 (H, W, 3) RGB and undistorted, of a `Camera` with a known
    lens; level unless a `Tilt` is given.

    Raises ImageError for another shape or type of image, or one that shows next to nothing near
    the horizon; ConfigError where the lens is not known.
    """
    _check_image(image_rgb)
    if not camera.lens_known:
        raise ConfigError(
            'a camera that looks ahead needs its field of view (--fov) or its camera info: '
            'directions do not follow from pixels without'
        )
    config, tilt = config or ForwardConfig(), tilt or Tilt()
    lens = camera.intrinsics_for(image_rgb.shape[1], image_rgb.shape[0])
    azimuth, slope = strip_directions(config, _columns(lens, tilt, config))
    column, row, front = _image_points(azimuth, slope[:, None], lens, tilt)
    high, wide = image_rgb.shape[:2]
    inside = (
        front & (column >= -0.5) & (column <= wide - 0.5) & (row >= -0.5) & (row <= high - 0.5)
    )
    if inside.mean() < LEAST_VISIBLE:
        raise ImageError(
            'the picture shows next to nothing near the horizon; check the tilt and the field of '
            'view of the camera'
        )
    pixels = _look_up(image_rgb, column, row, lens, config)
    pixels[~inside] = 0
    return Strip(pixels, inside)


def strip_directions(config: ForwardConfig, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Azimuths (W,) of the columns of a strip, counter-clockwise from its middle, in radians, and
    slopes (H,) of its rows."""
    step = 2 * pi / config.strip_columns
    azimuth = (columns / 2 - 0.5 - np.arange(columns)) * step
    rows = (np.arange(config.strip_rows) + 0.5) / config.strip_rows
    return azimuth, config.strip_tan * (1 - 2 * rows)


def normalize_strip(strip: Strip) -> np.ndarray:
    """float32 (4, H, W): each channel of zero mean, all of them together of unit deviation, over
    what is seen, and the mask."""
    mask = strip.mask
    pixels = strip.pixels.astype(np.float32) / 255
    seen = pixels[mask]
    deviation = np.sqrt(np.square(seen - seen.mean(0)).mean() + 1e-4)
    normal = (pixels - seen.mean(0)) / deviation * mask[..., None]
    return np.concatenate([normal.transpose(2, 0, 1), mask[None].astype(np.float32)])


def _columns(lens, tilt, config):
    """How many columns hold what the camera sees near the horizon, the same on both sides."""
    along = np.linspace(-0.5, lens.width - 0.5, 65)
    rows = np.linspace(-0.5, lens.height - 0.5, 17)
    x, y = np.meshgrid((along - lens.cx) / lens.fx, (rows - lens.cy) / lens.fy)
    level = tilt.level_from_camera @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    azimuth, reach = np.abs(np.arctan2(level[0], level[2])), np.hypot(level[0], level[2])
    near = np.abs(level[1]) < config.strip_tan * reach
    if not near.any():
        return COLUMNS_UNIT
    half = ceil(azimuth[near].max() / (2 * pi / config.strip_columns) - 1e-6)
    return min(-(-2 * half // COLUMNS_UNIT) * COLUMNS_UNIT, config.strip_columns)


def _image_points(azimuth, slope, lens, tilt):
    """Columns and rows (H, W) in the image of directions, and which are in front of the camera."""
    shape = np.broadcast_shapes(azimuth.shape, slope.shape)
    level = [-np.sin(azimuth), -slope, np.cos(azimuth)]
    right, down, forward = (
        np.broadcast_to(sum(part * axis for part, axis in zip(level, column, strict=True)), shape)
        for column in tilt.level_from_camera.T
    )
    front = forward > 1e-3
    depth = np.where(front, forward, 1.0)
    return lens.fx * right / depth + lens.cx, lens.fy * down / depth + lens.cy, front


def _look_up(image, column, row, lens, config):
    """The image at points (H, W), averaged first where it is finer than a strip."""
    finer = lens.fx * 2 * pi / config.strip_columns
    factor = max(1, int(finer))
    if factor > 1:
        high, wide = (max(1, length // factor) for length in image.shape[:2])
        whole = image[: high * factor, : wide * factor]
        image = cv2.resize(whole, (wide, high), interpolation=cv2.INTER_AREA)
    x, y = (((at + 0.5) / factor - 0.5).astype(np.float32) for at in (column, row))
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
