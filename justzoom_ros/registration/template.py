"""A view's features, turned to many headings on the axes of the map.

The camera sits in the middle of a cell of each template, its *anchor*, which may lie outside the
template where the camera looks ahead of itself. Coordinates in cells are continuous, as those of
pixels in `lift`: cell (r, c) is centred at (r + 0.5, c + 0.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import numpy as np
import torch

from justzoom_ros.errors import ConfigError


@dataclass(frozen=True)
class Templates:
    """Features of one view at K headings, each in the box that its heading needs."""

    features: torch.Tensor
    """float (K, C, h, w), row 0 in the north; zero where the camera sees nothing."""

    weights: torch.Tensor
    """float (K, h, w), 0..1: which share of a cell the camera sees."""

    anchors: np.ndarray
    """int (K, 2): row and column of the cell in whose middle the camera is."""

    yaws_rad: np.ndarray
    """(K,) headings, counter-clockwise from east."""

    @property
    def cells(self) -> torch.Tensor:
        """Cells that the camera sees at each heading, float64 (K,) on the CPU."""
        return self.weights.sum((1, 2), dtype=torch.float64).cpu()


def headings(count: int, around_rad: float | None = None, within_rad: float = pi) -> np.ndarray:
    """Headings (K,) to search, counter-clockwise from east: `count` of them evenly all the way
    round, and of these, or rather turned so that one of them is `around_rad`, those at most
    `within_rad` away from it."""
    step = 2 * pi / count
    if around_rad is None:
        return np.arange(count) * step
    reach = min(int(within_rad / step + 1e-9), (count - 1) // 2)
    steps = np.arange(-reach, reach + 1)
    if within_rad >= pi:
        steps = np.arange(count)
    return (around_rad + steps * step) % (2 * pi)


def rotate(
    features: torch.Tensor,
    mask: torch.Tensor | np.ndarray,
    origin_cells: tuple[float, float],
    yaws_rad: np.ndarray | Sequence[float],
) -> Templates:
    """The `Templates` of view features (C, h, w), float, at headings (K,).

    `mask` (h, w), bool or 0..1: which cells the camera sees. `origin_cells`: row and column of the
    point below the camera, continuous. Bilinear: a cell of a template is the mean of the four
    cells of the view round its centre, and what is not seen counts as zero. Differentiable.
    Raises ConfigError where shapes do not fit or nothing is seen.
    """
    weights = torch.as_tensor(mask, device=features.device).to(features.dtype)
    yaws = np.atleast_1d(np.asarray(yaws_rad, float))
    _check(features, weights, origin_cells, yaws)
    first, size = _boxes(np.argwhere(weights.cpu().numpy() > 0), origin_cells, yaws)
    both = torch.cat([features * weights, weights[None]])
    grid = _sampling_grid(first, size, origin_cells, weights.shape, yaws).to(both)
    count, (rows, columns) = len(yaws), size
    turned = torch.nn.functional.grid_sample(
        both[None], grid.reshape(1, count * rows, columns, 2), align_corners=False
    )
    turned = turned[0].unflatten(1, (count, rows)).transpose(0, 1)
    return Templates(turned[:, :-1].contiguous(), turned[:, -1].contiguous(), -first, yaws)


def _boxes(seen, origin_cells, yaws):
    """First row and column (K, 2), counted from the camera's cell, and one size (rows, columns)
    of boxes that hold what is seen at each heading, the seam of the interpolation included."""
    low, high = seen.min(0), seen.max(0) + 1
    rows, columns = np.meshgrid((low[0], high[0]), (low[1], high[1]))
    right, ahead = columns.ravel() - origin_cells[1], origin_cells[0] - rows.ravel()
    sin, cos = np.sin(yaws)[:, None], np.cos(yaws)[:, None]
    east, north = right * sin + ahead * cos, ahead * sin - right * cos
    corners = np.stack([-north, east], -1)
    # Half a cell of interpolation beyond the corners; offsets are to centres of cells.
    reach = 0.5 * (np.abs(sin) + np.abs(cos))[..., None] - 1e-6
    first = np.ceil(corners.min(1, keepdims=True) - reach)[:, 0].astype(np.int64)
    last = np.floor(corners.max(1, keepdims=True) + reach)[:, 0].astype(np.int64)
    sizes = last - first + 1
    size = sizes.max(0)
    # What a box has more than it needs lies evenly on both sides, so that none reaches far.
    return first - (size - sizes) // 2, tuple(size.tolist())


def _sampling_grid(first, size, origin_cells, shape, yaws):
    """Where in the view, (K, rows, columns, 2) as `grid_sample` counts, the centres of the cells
    of each template are."""
    south = (first[:, 0, None] + np.arange(size[0]))[:, :, None]
    east = (first[:, 1, None] + np.arange(size[1]))[:, None, :]
    sin, cos = np.sin(yaws)[:, None, None], np.cos(yaws)[:, None, None]
    right, ahead = east * sin + south * cos, east * cos - south * sin
    column, row = origin_cells[1] + right, origin_cells[0] - ahead
    grid = np.stack([2 * column / shape[1] - 1, 2 * row / shape[0] - 1], -1)
    return torch.from_numpy(grid)


def _check(features, weights, origin_cells, yaws):
    if features.ndim != 3 or tuple(features.shape[1:]) != tuple(weights.shape):
        raise ConfigError(
            f'view features {tuple(features.shape)} and mask {tuple(weights.shape)} do not belong '
            'together: they must be (channels, rows, columns) and (rows, columns)'
        )
    if not (np.isfinite(yaws).all() and np.isfinite(origin_cells).all() and len(yaws)):
        raise ConfigError('headings and the origin of a view must be finite numbers')
    if not weights.any():
        raise ConfigError('the view shows no ground: its mask is empty')
