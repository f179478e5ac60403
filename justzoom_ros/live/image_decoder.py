"""Images by cv_bridge, where there is one that works; by our own decoder otherwise."""

from array import array
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.io.image_message import UsedDepth, image_from_message

# What cv_bridge asks of a message: whether it works is known before the first one arrives.
PROBE = SimpleNamespace(
    height=1,
    width=2,
    encoding='bgr8',
    step=9,
    is_bigendian=0,
    data=array('B', [1, 2, 3, 4, 5, 6, 0, 0, 0]),
)
PIXEL_BYTES = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1}
"""Encodings that cv_bridge decodes as we do, where the step is a multiple of so many bytes. The
others are ours: it scales 16 bits in another way, and does not know all."""


def image_range_of(values: Sequence[float]) -> tuple[float, float] | None:
    """The parameter `image_range` as (low, high), None for two zeros. Raises ConfigError."""
    if len(values) != 2:
        raise ConfigError(
            f'image_range is {list(values)}; it must be two values, the lesser first'
        )
    low, high = values
    return None if low == high == 0 else (low, high)


class Decoder:
    """Decodes messages as the parameter `decoder` says: 'own', 'cv_bridge', or 'auto', which is
    cv_bridge where it is installed and works. Raises ConfigError where 'cv_bridge' does not."""

    def __init__(self, choice: str) -> None:
        found: tuple[Any, str] = (None, '') if choice == 'own' else _find_bridge()
        self._bridge, problem = found
        if choice == 'cv_bridge' and self._bridge is None:
            raise ConfigError(f'decoder is cv_bridge, which does not work here: {problem}')

    @property
    def name(self) -> str:
        """Who decodes: 'cv_bridge' or 'own'."""
        return 'cv_bridge' if self._bridge else 'own'

    def decode(
        self,
        message: Any,
        enough_px: tuple[int, int] | None = None,
        depth: UsedDepth | None = None,
    ) -> np.ndarray:
        """As `image_from_message`: RGB uint8 (H, W, 3). Raises ImageError."""
        if self._bridge is None or not _suits(message):
            return image_from_message(message, enough_px, depth)
        try:
            return np.asarray(self._bridge.imgmsg_to_cv2(message, 'rgb8'))
        except Exception:
            # What it refuses is refused with our reason, or is no harm to us.
            return image_from_message(message, enough_px, depth)


def _suits(message: Any) -> bool:
    size = PIXEL_BYTES.get(getattr(message, 'encoding', ''))
    if not size:
        return False
    return message.step % size == 0 and message.step >= size * message.width


def _find_bridge() -> tuple[Any, str]:
    """(a CvBridge that has shown that it works, or None; why not)."""
    try:
        from cv_bridge import CvBridge

        bridge = CvBridge()
        shown = np.asarray(bridge.imgmsg_to_cv2(PROBE, 'rgb8'))
    except Exception as error:  # built for another OpenCV or numpy it fails in many ways
        return None, f'{type(error).__name__}: {error}'
    works = shown.tolist() == [[[3, 2, 1], [6, 5, 4]]]
    return (bridge, '') if works else (None, 'it decodes a picture of two pixels wrongly')
