"""What is known of the lens that took a photo, and straight lines by it."""

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from justzoom_ros.errors import ConfigError, ImageError
from justzoom_ros.io.undistortion import Undistorter

PINHOLE, BROWN, FISHEYE = '', 'plumb_bob', 'equidistant'
"""Distortion models as `sensor_msgs/CameraInfo` names them."""


@dataclass(frozen=True)
class Lens:
    """A pinhole matrix, and perhaps a distortion, for photos of one size. Raises ConfigError for
    a focal length that is not positive and for a size of nothing."""

    fx_px: float
    """Focal length along a row in pixels."""

    fy_px: float
    """Focal length along a column in pixels."""

    cx_px: float
    """Column of the optical axis, 0 being the middle of the first."""

    cy_px: float
    """Row of the optical axis, 0 being the middle of the first."""

    size_px: tuple[int, int]
    """Width and height of the photos that it is for."""

    origin: str
    """Who says so, for the report: 'EXIF', 'CameraInfo', ..."""

    model: str = PINHOLE
    """Distortion model of a `sensor_msgs/CameraInfo`; none where lines are straight."""

    distortion: tuple[float, ...] = ()
    """Its coefficients."""

    def __post_init__(self) -> None:
        numbers = (self.fx_px, self.fy_px, self.cx_px, self.cy_px, *self.distortion)
        if not (all(map(math.isfinite, numbers)) and min(numbers[:2]) > 0):
            raise ConfigError(
                f'{self.origin} gives focal lengths of {self.fx_px:g} and {self.fy_px:g} pixels, '
                'which is no lens'
            )
        if min(self.size_px) < 1:
            raise ConfigError(f'{self.origin} is for photos of {self.size_px} pixels')

    @classmethod
    def from_focal(cls, focal_px: float, size_px: tuple[int, int], origin: str) -> 'Lens':
        """Square pixels, the optical axis in the middle."""
        (width, height), focal_px = size_px, float(focal_px)
        return cls(focal_px, focal_px, (width - 1) / 2, (height - 1) / 2, size_px, origin)

    @classmethod
    def from_fov(cls, fov_deg: float, size_px: tuple[int, int], origin: str) -> 'Lens':
        """A horizontal field of view in degrees. Raises ConfigError outside 0..180."""
        if not 0 < fov_deg < 180:
            raise ConfigError(f'{origin} is {fov_deg:g} degrees; it must lie between 0 and 180')
        return cls.from_focal(
            size_px[0] / 2 / math.tan(math.radians(fov_deg) / 2), size_px, origin
        )

    @property
    def fov_deg(self) -> float:
        """Horizontal field of view of the undistorted photo."""
        return math.degrees(2 * math.atan(self.size_px[0] / 2 / self.fx_px))

    def scaled(self, size_px: tuple[int, int]) -> 'Lens':
        """The same view as a photo of another size. Raises ImageError for another shape."""
        across, down = (new / old for new, old in zip(size_px, self.size_px, strict=True))
        if abs(across - down) * min(self.size_px) > 1.0 + 1e-9:
            raise ImageError(
                f'the photo has {size_px[0]} x {size_px[1]} pixels, but {self.origin} is for '
                f'{self.size_px[0]} x {self.size_px[1]}'
            )
        return replace(
            self,
            fx_px=self.fx_px * across,
            fy_px=self.fy_px * down,
            cx_px=(self.cx_px + 0.5) * across - 0.5,
            cy_px=(self.cy_px + 0.5) * down - 0.5,
            size_px=size_px,
        )

    def straighten(self, image: np.ndarray) -> np.ndarray:
        """RGB uint8 (H, W, 3) of the lens's size as the pinhole alone would see it. Raises
        ImageError for another size and for a distortion that is not known."""
        if not any(self.distortion):
            return image
        undistorter, (width, height) = Undistorter(), self.size_px
        k = (self.fx_px, 0.0, self.cx_px, 0.0, self.fy_px, self.cy_px, 0.0, 0.0, 1.0)
        undistorter.set_info(
            SimpleNamespace(
                width=width, height=height, k=k, d=self.distortion, distortion_model=self.model
            )
        )
        return undistorter.undistort(image)
