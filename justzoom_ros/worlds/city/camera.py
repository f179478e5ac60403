"""A pinhole camera in the street."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion, square pixels, its axis through the picture's middle.

    `eye_m` is (3,) east, north, up; `yaw_rad` counter-clockwise from east, `pitch_rad` up,
    `roll_rad` clockwise as the camera sees it; `size_px` is (width, height), `fov_rad` the
    horizontal field of view.
    """

    eye_m: np.ndarray
    yaw_rad: float
    pitch_rad: float = 0.0
    roll_rad: float = 0.0
    size_px: tuple[int, int] = (512, 288)
    fov_rad: float = 1.4

    @property
    def focal_px(self) -> float:
        return self.size_px[0] / 2 / np.tan(self.fov_rad / 2)

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3); the middle of the top left pixel is (0, 0), as in OpenCV."""
        width, height = self.size_px
        focal = self.focal_px
        return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])

    @property
    def axes(self) -> np.ndarray:
        """(3, 3) whose rows are the camera's right, down and forward in east, north, up."""
        cy, sy = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        cp, sp = np.cos(self.pitch_rad), np.sin(self.pitch_rad)
        forward = np.array([cy * cp, sy * cp, sp])
        right = np.array([sy, -cy, 0.0])
        down = np.cross(forward, right)
        cr, sr = np.cos(self.roll_rad), np.sin(self.roll_rad)
        return np.stack([cr * right + sr * down, cr * down - sr * right, forward])

    def rays(self) -> np.ndarray:
        """Unit directions (H, W, 3) float64 of the pixels."""
        width, height = self.size_px
        x = (np.arange(width) - (width - 1) / 2) / self.focal_px
        y = (np.arange(height) - (height - 1) / 2) / self.focal_px
        local = np.stack(np.broadcast_arrays(x[None, :], y[:, None], 1.0), axis=-1)
        rays = local @ self.axes
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


@dataclass(frozen=True)
class Panorama:
    """A level camera that sees all round, as an equirectangular strip about the horizon.

    The middle of the picture looks along `yaw_rad` (counter-clockwise from east); a pixel is as
    many radians high as wide. `eye_m` as of a `Camera`.
    """

    eye_m: np.ndarray
    yaw_rad: float
    size_px: tuple[int, int] = (512, 120)

    @property
    def focal_px(self) -> float:
        """Pixels per radian."""
        return self.size_px[0] / (2 * np.pi)

    def rays(self) -> np.ndarray:
        """Unit directions (H, W, 3) float64 of the pixels."""
        width, height = self.size_px
        bearing = self.yaw_rad - (np.arange(width) - (width - 1) / 2)[None, :] / self.focal_px
        up = ((height - 1) / 2 - np.arange(height))[:, None] / self.focal_px
        level = np.cos(up)
        parts = level * np.cos(bearing), level * np.sin(bearing), np.sin(up) + 0 * bearing
        return np.stack(parts, axis=-1)
