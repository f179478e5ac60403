"""A camera that looks down on flat ground: where its pixels lie, and what it sees of a map.

The ground is taken as flat and the camera as a pinhole, tilted a little. Shapes: homographies
(3, 3) take pixels (column, row, 1), pixel centres at whole numbers, to metres (east, north, 1) of
the region's centre.
"""

from dataclasses import dataclass
from math import tan

import cv2
import numpy as np


@dataclass(frozen=True)
class NadirPose:
    """Where a downward camera is and how it is turned."""

    east_m: float
    """East of the region's centre."""

    north_m: float
    """North of the region's centre."""

    yaw_rad: float
    """Where the top of the image points, counter-clockwise from east (REP-103)."""

    footprint_m: float
    """Ground that the image spans from left to right when the camera is level."""

    pitch_rad: float = 0.0
    """Tilt that looks ahead, up the image."""

    roll_rad: float = 0.0
    """Tilt that looks to the right."""


def look_down(
    pixels: np.ndarray,
    side_m: float,
    pose: NadirPose,
    size_px: tuple[int, int],
    fov_rad: float,
) -> np.ndarray:
    """What a pinhole camera at `pose` sees of a flat square `pixels` (n, n[, 3]), `side_m` wide
    and north up: (h, w[, 3]) of the same type, 0 beyond the square. `size_px` is (w, h), `fov_rad`
    the horizontal field of view."""
    metres = side_m / len(pixels)
    # Ground (east, north) -> continuous pixel coordinates of cv2, whose origin is a pixel centre.
    to_px = np.array(
        [[1, 0, side_m / 2 - metres / 2], [0, -1, side_m / 2 - metres / 2], [0, 0, metres]]
    )
    matrix = to_px @ image_to_ground(pose, size_px, fov_rad)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(pixels, matrix, size_px, flags=flags)


def image_to_ground(pose: NadirPose, size_px: tuple[int, int], fov_rad: float) -> np.ndarray:
    """Homography (3, 3) from pixels (column, row) of the camera to metres (east, north)."""
    width, height = size_px
    focal_px = width / 2 / tan(fov_rad / 2)
    height_m = pose.footprint_m / 2 / tan(fov_rad / 2)
    # Camera axes: x right, y down the image, z along the view. World: right, ahead, down.
    centre = np.array([[1, 0, (1 - width) / 2], [0, 1, (1 - height) / 2], [0, 0, focal_px]])
    cos, sin = np.cos(pose.yaw_rad), np.sin(pose.yaw_rad)
    lay_down = np.array(
        [
            [height_m * sin, -height_m * cos, pose.east_m],
            [-height_m * cos, -height_m * sin, pose.north_m],
            [0, 0, 1],
        ]
    )
    return lay_down @ _tilt(pose.pitch_rad, pose.roll_rad) @ centre


def _tilt(pitch_rad: float, roll_rad: float) -> np.ndarray:
    """Rotation of camera rays: positive pitch looks ahead (up the image), roll to the right."""
    cp, sp, cr, sr = np.cos(pitch_rad), np.sin(pitch_rad), np.cos(roll_rad), np.sin(roll_rad)
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    return pitch @ roll
