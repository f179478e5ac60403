"""A camera image laid on the ground: what it shows, seen from straight above.

The ground is taken as flat. Every pixel of the lifted view is looked up in the image; where the
image is finer than that, it is averaged first, so that nothing aliases.

Pixel coordinates here are *continuous*: pixel (row r, column c) covers r..r+1 and c..c+1 and is
centred at (r + 0.5, c + 0.5).
"""

from dataclasses import dataclass
from math import ceil, cos, floor, radians

import cv2
import numpy as np

from justzoom_ros.errors import ConfigError, ImageError
from justzoom_ros.registration.attitude import Attitude
from justzoom_ros.registration.camera import Camera

MAX_OFF_NADIR_RAD = radians(70.0)
"""Ground that is seen at a flatter angle than 20 degrees is left out: houses hide it."""

SAMPLES = 2
"""The image is looked up this many times along each side of a pixel of the lifted view."""

CUT_PX = 2
"""Sides of a lifted view are multiples of this many pixels, which is the stride of the encoder."""


@dataclass(frozen=True)
class LiftedView:
    """A view from straight above in the level heading frame of the camera: row 0 is ahead (where
    the top of a level image points), columns go to the right."""

    pixels: np.ndarray
    """uint8 (h, w, 3) RGB, 0 where the camera sees nothing."""

    mask: np.ndarray
    """bool (h, w): True where the camera sees the ground."""

    origin_px: tuple[float, float]
    """Row and column, continuous, of the point below the camera; it may lie outside the view."""

    metres_per_px: float
    """Side of a pixel on the ground."""


def lift(
    image_rgb: np.ndarray,
    camera: Camera,
    attitude: Attitude | None = None,
    height_m: float | None = None,
    metres_per_px: float = 1.0,
    max_side_m: float = 256.0,
    max_off_nadir_rad: float = MAX_OFF_NADIR_RAD,
    cut_px: int = CUT_PX,
) -> LiftedView:
    """The `LiftedView` of an image, uint8 (H, W, 3) RGB and undistorted.

    `camera`: a `Camera`; `attitude`: its `Attitude`, level unless given; `height_m` above ground,
    that of the camera unless given. Sides are multiples of `cut_px` pixels and at most
    `max_side_m`: a wider view is cut down to what is nearest to the camera. The origin lies in the
    middle of a square of `cut_px` pixels.

    Raises ImageError for another shape or type of image, or one that shows no ground; ConfigError
    without a height, or for a tilt without a known lens.
    """
    _check_image(image_rgb)
    attitude = attitude or Attitude()
    height_m = _checked_height(camera, height_m)
    if not camera.lens_known and attitude.off_nadir_rad > 0:
        raise ConfigError(
            'a tilted view needs a camera with a field of view or intrinsics: how far ahead it '
            'looks cannot be told from the ground width in view'
        )
    ground = _Ground(camera, attitude, height_m, image_rgb.shape, max_off_nadir_rad)
    box = _box_px(ground.bounds_m(), metres_per_px, max_side_m, cut_px)
    return _look_up(image_rgb, ground, box, metres_per_px, cut_px / 2)


def max_ground_px(max_side_m: float, metres_per_px: float, cut_px: int = CUT_PX) -> int:
    """The longest side in pixels that a lifted view can have."""
    return max(cut_px, floor(max_side_m / metres_per_px / cut_px) * cut_px)


class _Ground:
    """Where ground points of the level heading frame, metres right and ahead, are in an image."""

    def __init__(self, camera, attitude, height_m, shape, max_off_nadir_rad):
        self.shape, self.height_m = shape[:2], height_m
        self.lens = camera.intrinsics_for(shape[1], shape[0])
        self.level_from_camera = attitude.level_from_camera()
        self.least_cos = cos(max_off_nadir_rad)
        self.max_range_m = height_m * np.sqrt(max(1 / self.least_cos**2 - 1, 0))

    def image_points(self, right_m, ahead_m):
        """Continuous columns and rows in the image of ground points, which of them the camera
        sees, and their depths along its axis in metres. Arrays that broadcast."""
        x, y, depth = (
            axis[0] * right_m - axis[1] * ahead_m + axis[2] * self.height_m
            for axis in self.level_from_camera.T
        )
        front = depth > 1e-3 * self.height_m
        depth = np.where(front, depth, self.height_m)
        column = self.lens.fx * x / depth + (self.lens.cx + 0.5)
        row = self.lens.fy * y / depth + (self.lens.cy + 0.5)
        near = right_m**2 + ahead_m**2 <= self.max_range_m**2
        high, wide = self.shape
        inside = (column >= 0) & (column <= wide) & (row >= 0) & (row <= high)
        return column, row, inside & near & front, depth

    def bounds_m(self):
        """Ground in view: least and greatest metres to the right, least and greatest ahead.

        Rays through the border of the image, cut where they get too flat, and the points of the
        range's circle that lie in the image: the view's outline is made of both.
        """
        points = np.concatenate([self._border_points(), self._circle_points()], axis=1)
        if not points.size:
            raise ImageError(
                'the camera sees no ground: its whole image is above or near the horizon; check '
                'the attitude'
            )
        right, ahead = points
        return right.min(), right.max(), ahead.min(), ahead.max()

    def _border_points(self):
        high, wide = self.shape
        along = np.linspace(0, 1, 65)
        columns = np.concatenate([along * wide, along * wide, 0 * along, 0 * along + wide])
        rows = np.concatenate([0 * along, 0 * along + high, along * high, along * high])
        rays = np.stack(
            [
                (columns - 0.5 - self.lens.cx) / self.lens.fx,
                (rows - 0.5 - self.lens.cy) / self.lens.fy,
                np.ones_like(rows),
            ]
        )
        level = self.level_from_camera @ rays
        steep = level[2] >= self.least_cos * np.linalg.norm(level, axis=0)
        right, behind, down = level[:, steep]
        return np.stack([right, -behind]) * self.height_m / down

    def _circle_points(self):
        angles = np.linspace(0, 2 * np.pi, 361)
        right = self.max_range_m * (1 - 1e-9) * np.cos(angles)
        ahead = self.max_range_m * (1 - 1e-9) * np.sin(angles)
        seen = self.image_points(right, ahead)[2]
        return np.stack([right[seen], ahead[seen]])

    def pixels_per_metre(self, depth_m):
        """Pixels of the image per metre of ground, the geometric mean over both directions: the
        ground that a pixel shows grows with the cube of its depth."""
        return np.sqrt(self.lens.fx * self.lens.fy * self.height_m / depth_m**3)


def _box_px(bounds_m, metres_per_px, max_side_m, cut_px):
    """Rows above and columns left of the origin's square, and sides: (top, left, rows, columns),
    all but the origin's own half square in whole squares of `cut_px` pixels."""
    left_m, right_m, behind_m, ahead_m = bounds_m
    side = metres_per_px * cut_px
    longest = max_ground_px(max_side_m, metres_per_px, cut_px) // cut_px
    first_row, rows = _squares(-ahead_m / side, -behind_m / side, longest)
    first_column, columns = _squares(left_m / side, right_m / side, longest)
    return first_row * cut_px, first_column * cut_px, rows * cut_px, columns * cut_px


def _squares(low, high, longest):
    """Number of the first square and how many there are from `low` to `high`, counted in squares
    from the origin, which is in the middle of square 0; at most `longest`, those nearest to it."""
    first, last = floor(low + 0.5), ceil(high + 0.5)
    count = last - first
    if count <= longest:
        return first, count
    middle = min(max(0.0, low + longest / 2), high - longest / 2)
    return int(round(middle - longest / 2 + 0.5)), longest


def _look_up(image, ground, box, metres_per_px, half):
    """The view of a box whose first square has the origin `half` pixels inside."""
    top, left, rows, columns = box
    step = 1 / SAMPLES
    down = top - half + (np.arange(rows * SAMPLES, dtype=np.float32) + 0.5) * step
    across = left - half + (np.arange(columns * SAMPLES, dtype=np.float32) + 0.5) * step
    column, row, seen, depth = ground.image_points(
        across * metres_per_px, -down[:, None] * metres_per_px
    )
    finer = ground.pixels_per_metre(depth) * metres_per_px * step
    samples = _sampled(image, column, row, np.where(seen, finer, np.nan))
    pixels = cv2.resize(samples, (columns, rows), interpolation=cv2.INTER_AREA)
    mask = seen.reshape(rows, SAMPLES, columns, SAMPLES).all((1, 3))
    pixels[~mask] = 0
    return LiftedView(pixels, mask, (half - top, half - left), metres_per_px)


def _sampled(image, column, row, finer):
    """The image at continuous columns and rows (h, w): uint8 (h, w, 3).

    `finer` (h, w): how many pixels of the image lie along the side of a sample, NaN where none is
    wanted. So far the image is averaged first; between two reductions of it both are mixed.
    """
    level = np.log2(np.maximum(finer, 1))
    lowest, highest = float(np.nanmin(level)), float(np.nanmax(level))
    if highest - lowest < 0.7:
        factor = round(2 ** ((lowest + highest) / 2))
        return _remapped(_reduced(image, factor), column, row, factor)
    factor = round(2**lowest)
    place = np.maximum(level - np.log2(factor), 0)
    reduced, total = _reduced(image, factor), np.zeros((*column.shape, 3), np.float32)
    for number in range(ceil(np.nanmax(place)) + 1):
        weight = np.nan_to_num(1 - np.abs(place - number)).clip(min=0)
        rows = slice(*_first_and_last(weight.any(1)))
        part = _remapped(reduced, column[rows], row[rows], factor)
        total[rows] += weight[rows, :, None] * part
        reduced, factor = _reduced(reduced, 2), 2 * factor
    return np.rint(total).astype(np.uint8)


def _first_and_last(flags):
    """First True, and one after the last; 0, 0 where there is none."""
    found = np.flatnonzero(flags)
    return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)


def _reduced(image, factor):
    """Means of squares of `factor` pixels; what is left over at the right and below is cut off."""
    high, wide = (max(1, length // factor) for length in image.shape[:2])
    if factor == 1 or min(image.shape[:2]) < factor:
        return image
    whole = image[: high * factor, : wide * factor]
    return cv2.resize(whole, (wide, high), interpolation=cv2.INTER_AREA)


def _remapped(image, column, row, factor):
    """An image that was reduced by a factor, looked up at columns and rows of the full one."""
    if not len(row):
        return np.zeros((*row.shape, 3), np.uint8)
    # cv2 counts from the centre of the first pixel.
    x, y = ((at * np.float32(1 / factor) - np.float32(0.5)) for at in (column, row))
    x, y = (at.astype(np.float32, copy=False) for at in (x, y))
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _checked_height(camera, height_m):
    height_m = camera.height_m if height_m is None else height_m
    if height_m is None:
        raise ConfigError('a view is lifted from a height above ground, but none is given')
    if not 0 < height_m < np.inf:
        raise ConfigError(f'height {height_m:g} m above ground must be positive')
    return float(height_m)


def _check_image(image):
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3):
        raise ImageError('an image must be an array of uint8 (height, width, 3)')
    if image.shape[2] != 3 or min(image.shape[:2]) < 2:
        raise ImageError(f'an image must be (height, width, 3), not {image.shape}')
