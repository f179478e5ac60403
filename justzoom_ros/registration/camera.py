"""The camera of a flight: its lens, how high it is, and how it is tilted.

What is seen is laid on flat ground, so two things are needed beside the picture: the angle that a
pixel stands for (the lens), and the height above ground. Either may be known badly; `scales` says
which heights a search has to try.
"""

from dataclasses import dataclass, replace
from math import atan, ceil, exp, inf, log, pi, tan
from typing import Any

from justzoom_ros.errors import ConfigError, ImageError

UNKNOWN_HEIGHT_M = (20.0, 500.0)
"""Heights above ground that are searched where nothing is known: with steps of 5 % there are 66 of
them, so that a frame costs 66 times what it costs at a known height."""

SCALE_STEP = 0.05
"""Ratio, less one, of one searched height to the next."""

MAX_SCALES = 200
"""A search over more heights than this is refused: it would take minutes."""

NOMINAL_FOV_RAD = 2 * atan(0.5)
"""Stands in for an unknown lens: with it, the height of a level camera equals the ground width in
view, and for a level camera only that width matters."""


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole matrix of an undistorted camera, for images of one size."""

    fx: float
    """Focal length along a row, in pixels."""

    fy: float
    """Focal length along a column, in pixels."""

    cx: float
    """Column of the optical axis, in pixels; 0 is the centre of the first column."""

    cy: float
    """Row of the optical axis, in pixels; 0 is the centre of the first row."""

    width: int
    """Columns of the images that the matrix is for."""

    height: int
    """Rows of the images that the matrix is for."""

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy)
        if not (all(-inf < number < inf for number in numbers) and min(self.fx, self.fy) > 0):
            raise ConfigError(
                f'intrinsics fx, fy, cx, cy = {numbers} are no calibration: '
                'focal lengths must be positive and all four finite'
            )
        if not (self.width > 0 and self.height > 0):
            raise ConfigError(
                f'intrinsics are for images of {self.width} x {self.height} pixels; give the size '
                'of the images that the camera was calibrated with'
            )

    def scaled(self, width: int, height: int) -> 'Intrinsics':
        """The `Intrinsics` of the same view as an image of another size.

        Raises ImageError where the image has another shape, which is another view.
        """
        across, down = width / self.width, height / self.height
        # One pixel of rounding is no other view.
        if abs(across - down) * min(self.width, self.height) > 1.0 + 1e-9:
            raise ImageError(
                f'the image has {width} x {height} pixels, but the camera was calibrated with '
                f'{self.width} x {self.height}: give the intrinsics of the images as they come'
            )
        return Intrinsics(
            self.fx * across,
            self.fy * down,
            (self.cx + 0.5) * across - 0.5,
            (self.cy + 0.5) * down - 0.5,
            width,
            height,
        )


@dataclass(frozen=True)
class HeightCandidate:
    """One height to try."""

    height_m: float
    """Height above ground, in metres."""

    log_prior: float
    """Natural logarithm of its prior probability; those of all candidates sum to one."""


@dataclass(frozen=True)
class Camera:
    """An undistorted camera above flat ground. Made by `from_fov`, `from_intrinsics` or
    `from_footprint`, and `with_height`, `with_footprint` or `with_unknown_height`.

    Raises ConfigError where a value is out of range.
    """

    fov_rad: float | None = None
    """Horizontal field of view in radians, 0..pi; the optical axis is in the middle of the image
    and pixels are square. None where `intrinsics` are given or the lens is unknown."""

    intrinsics: Intrinsics | None = None
    """Pinhole matrix, instead of a field of view."""

    height_m: float | None = None
    """Height above ground in metres, where it is known."""

    height_std_m: float = 0.0
    """Standard deviation of `height_m`."""

    height_range_m: tuple[float, float] | None = None
    """Lowest and highest height above ground in metres, where no more is known: every ratio of
    heights is as likely."""

    footprint_m: tuple[float, float] | None = None
    """Least and greatest ground width in metres that a level view shows from left to right,
    instead of heights: every ratio is as likely."""

    ahead: bool = False
    """True for a camera that looks ahead, near the horizon, as a vehicle's does. It needs a lens;
    its height is not asked for."""

    def __post_init__(self) -> None:
        if self.fov_rad is not None and self.intrinsics is not None:
            raise ConfigError('a camera has a field of view or intrinsics, not both')
        if self.fov_rad is not None and not 0 < self.fov_rad < pi:
            raise ConfigError(f'field of view {self.fov_rad:g} rad must lie between 0 and pi')
        known = [self.height_m, self.height_range_m, self.footprint_m]
        if sum(value is not None for value in known) > 1:
            raise ConfigError('give a height, a range of heights or a footprint, only one of them')
        if self.height_m is not None and not 0 < self.height_m < inf:
            raise ConfigError(f'height {self.height_m:g} m above ground must be positive')
        if not 0 <= self.height_std_m < inf:
            raise ConfigError(f'height deviation {self.height_std_m:g} m must not be negative')
        for name, pair in (('height', self.height_range_m), ('footprint', self.footprint_m)):
            _check_range(name, pair)

    @classmethod
    def from_fov(cls, fov_rad: float, **height: Any) -> 'Camera':
        """A camera with a horizontal field of view in radians; `height` as the fields."""
        return cls(fov_rad=float(fov_rad), **height)

    @classmethod
    def from_intrinsics(cls, matrix: Any, size_px: tuple[int, int], **height: Any) -> 'Camera':
        """A camera with the `matrix` K (9 numbers, row by row, or 3 x 3) of a
        `sensor_msgs/CameraInfo`, for images of `size_px` (width, height)."""
        k = [float(v) for v in (matrix.ravel() if hasattr(matrix, 'ravel') else _flat(matrix))]
        if len(k) != 9:
            raise ConfigError(f'a camera matrix has 9 numbers, not {len(k)}')
        return cls(intrinsics=Intrinsics(k[0], k[4], k[2], k[5], *map(int, size_px)), **height)

    @classmethod
    def from_footprint(cls, low_m: float, high_m: float) -> 'Camera':
        """A level camera with an unknown lens whose image shows `low_m` to `high_m` metres of
        ground from left to right."""
        return cls(footprint_m=(float(low_m), float(high_m)))

    def with_height(self, height_m: float, std_m: float = 0.0) -> 'Camera':
        """The same camera at a height above ground with a standard deviation, in metres."""
        height_m, std_m = float(height_m), float(std_m)
        return self._at(height_m=height_m, height_std_m=std_m)

    def with_height_range(self, low_m: float, high_m: float) -> 'Camera':
        """The same camera between two heights above ground, in metres."""
        return self._at(height_range_m=(float(low_m), float(high_m)))

    def with_footprint(self, low_m: float, high_m: float) -> 'Camera':
        """The same camera with a range of ground widths in view, in metres."""
        return self._at(footprint_m=(float(low_m), float(high_m)))

    def with_unknown_height(self) -> 'Camera':
        """The same camera at any of `UNKNOWN_HEIGHT_M`."""
        return self.with_height_range(*UNKNOWN_HEIGHT_M)

    def _at(self, **height: Any) -> 'Camera':
        nothing: dict[str, Any] = dict(
            height_m=None, height_std_m=0.0, height_range_m=None, footprint_m=None
        )
        return replace(self, **(nothing | height))

    @property
    def lens_known(self) -> bool:
        """True where the angle that a pixel stands for is known."""
        return self.fov_rad is not None or self.intrinsics is not None

    def intrinsics_for(self, width: int, height: int) -> Intrinsics:
        """`Intrinsics` of an image of `width` x `height` pixels. Raises ImageError where the
        camera's own are for images of another shape."""
        if self.intrinsics is not None:
            return self.intrinsics.scaled(width, height)
        focal = width / 2 / tan((self.fov_rad or NOMINAL_FOV_RAD) / 2)
        return Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)

    def footprint_at(self, height_m: float) -> float:
        """Ground width in metres that a level view from a height shows."""
        return height_m * self._width_per_height()

    def _width_per_height(self) -> float:
        if self.intrinsics is not None:
            return self.intrinsics.width / self.intrinsics.fx
        return 2 * tan((self.fov_rad or NOMINAL_FOV_RAD) / 2)

    def scales(self, step: float = SCALE_STEP) -> tuple[HeightCandidate, ...]:
        """Heights to search: a tuple of `HeightCandidate`, ascending, each about `step` (ratio
        less one) above the one before.

        A height with a deviation is searched over two deviations to either side, weighed by its
        normal density; a range evenly in the logarithm. Raises ConfigError where neither a
        height nor a range is known, or where there would be more than `MAX_SCALES`.
        """
        low, high = self.height_bounds()
        count = _count(log(high / low), step)
        if count > MAX_SCALES:
            raise ConfigError(
                f'heights from {low:g} to {high:g} m in steps of {step:.0%} are {count}, over '
                f'{MAX_SCALES}: give a narrower range or a height with a deviation'
            )
        middle, width = log(low * high) / 2, log(high / low)
        places = [middle + width * ((i + 0.5) / count - 0.5) for i in range(count)]
        return _weighed([exp(place) for place in places], self.height_m, self.height_std_m)

    def height_bounds(self) -> tuple[float, float]:
        """Lowest and highest height to search, in metres. Raises ConfigError where none is
        known."""
        if self.height_m is not None:
            reach = 2 * self.height_std_m / self.height_m
            return self.height_m * exp(-reach), self.height_m * exp(reach)
        if self.height_range_m is not None:
            return self.height_range_m
        if self.footprint_m is not None:
            low, high = (width / self._width_per_height() for width in self.footprint_m)
            return low, high
        raise ConfigError(
            'neither a height nor a range of ground widths in view is known: give the height '
            'above ground (with a field of view) or the least and greatest footprint in metres'
        )


def _count(width, step):
    """Candidates over a range of log heights: each stands for at most `step` of it."""
    if not step > 0:
        raise ConfigError(f'step {step:g} between searched heights must be positive')
    return max(1, ceil(width / log(1 + step) - 1e-9))


def _weighed(heights, mean, std):
    """Candidates with normal weights about a mean, equal ones without a deviation."""
    logs = [0.0] * len(heights)
    if mean is not None and std > 0:
        logs = [-((log(height / mean) * mean / std) ** 2) / 2 for height in heights]
    total = log(sum(exp(value) for value in logs))
    pairs = zip(heights, logs, strict=True)
    return tuple(HeightCandidate(height, value - total) for height, value in pairs)


def _check_range(name, pair):
    if pair is None:
        return
    low, high = pair
    if not 0 < low <= high < inf:
        raise ConfigError(f'{name} range {low:g}..{high:g} m must be positive and ordered')


def _flat(matrix):
    rows = list(matrix)
    return [value for row in rows for value in row] if hasattr(rows[0], '__len__') else rows
