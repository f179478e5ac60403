"""Straight lines for the policy: images undistorted by their `sensor_msgs/CameraInfo`.

No rclpy in here: anything with the fields of the message will do.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from justzoom_ros.errors import ImageError

PINHOLE_MODELS = ('plumb_bob', 'rational_polynomial', 'thin_prism')
FISHEYE_MODELS = ('equidistant', 'fisheye')
FISHEYE_LENGTH = 4
PINHOLE_LENGTHS = (4, 5, 8, 12, 14)
"""Coefficients that OpenCV's models have; drivers publish fewer, or zeros behind them."""


class Undistorter:
    """Undistorts images by the latest camera info; its tables are made once per calibration."""

    def __init__(self) -> None:
        self._info: Any = None
        self._key: tuple | None = None
        self._tables: tuple[np.ndarray, np.ndarray] | None = None

    def set_info(self, info: Any) -> None:
        """Take a `sensor_msgs/CameraInfo`; may be called from another thread."""
        self._info = info

    def undistort(self, image: np.ndarray) -> np.ndarray:
        """RGB uint8 (H, W, 3) as an ideal pinhole camera with the same matrix would see it.

        Raises ImageError without camera info, or with one that does not fit the image.
        """
        info = self._info
        if info is None:
            raise ImageError('undistort is on, but no camera_info has arrived yet')
        if (info.height, info.width) != image.shape[:2]:
            raise ImageError(
                f'camera_info is of {info.width} x {info.height} pixels, the image has '
                f'{image.shape[1]} x {image.shape[0]}'
            )
        key = (info.width, info.height, info.distortion_model, tuple(info.k), tuple(info.d))
        if self._tables is None or key != self._key:
            self._tables, self._key = _tables(info), key
        return cv2.remap(image, *self._tables, cv2.INTER_LINEAR)


def _tables(info: Any) -> tuple[np.ndarray, np.ndarray]:
    matrix = np.array(info.k, float).reshape(3, 3)
    distortion = np.array(info.d, float)
    if not (np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise ImageError('camera_info holds no calibration (its focal length is not positive)')
    if not np.isfinite(distortion).all():
        raise ImageError('camera_info has distortion coefficients that are not finite')
    size, straight = (info.width, info.height), np.eye(3)
    fitted = _fitted(info.distortion_model, distortion)
    if fitted is None:
        raise ImageError(
            f'camera_info has distortion model {info.distortion_model!r} with '
            f'{len(distortion)} coefficients, which is not known'
        )
    make_tables: Callable = cv2.initUndistortRectifyMap
    if info.distortion_model in FISHEYE_MODELS and len(distortion):
        make_tables = cv2.fisheye.initUndistortRectifyMap
    return make_tables(matrix, fitted, straight, matrix, size, cv2.CV_16SC2)


def _fitted(model: str, distortion: np.ndarray) -> np.ndarray | None:
    """The coefficients (N,) in a length that OpenCV takes: padded with zeros, which change
    nothing, or without the zeros behind the last that counts. None for what is not known."""
    used = len(np.trim_zeros(distortion, 'b'))
    if model in FISHEYE_MODELS:
        lengths: tuple[int, ...] = (FISHEYE_LENGTH,)
    elif model in PINHOLE_MODELS or used == 0:
        lengths = PINHOLE_LENGTHS
    else:
        return None
    length = next((length for length in lengths if length >= used), None)
    if length is None:
        return None
    result = np.zeros(length)
    result[:used] = distortion[:used]
    return result
