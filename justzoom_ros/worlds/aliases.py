"""Types that several worlds speak of."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

Color = Sequence[float] | np.ndarray
"""Red, green and blue, 0..255 sRGB."""

Colors = Sequence[Color]
"""Those of one building: walls, roof, trim."""

Points = np.ndarray | Sequence[Any]
"""Positions (N, 2), metres east and north."""

Place = tuple[float, float, float]
"""Where something stands: east and north in metres, yaw in radians."""

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""`progress(items, name, total)` wraps what takes long, as tqdm does."""
