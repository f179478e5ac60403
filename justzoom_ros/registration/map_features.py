"""A map as registration sees it: features on a metre grid, and windows of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from justzoom_ros.errors import ConfigError


@dataclass(frozen=True)
class Window:
    """Cells of a map: rows `top`..`bottom` and columns `left`..`right`, the ends not included."""

    top: int
    """First row, 0 in the north."""

    left: int
    """First column, 0 in the west."""

    bottom: int
    """Row after the last one."""

    right: int
    """Column after the last one."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices of an array (n, m) over the map."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


class MapFeatures:
    """Features of a map.

    `features`: float (C, n, m) tensor on any device, half precision allowed, row 0 in the north,
    zero where there is no imagery. `mask` (n, m), bool or 0..1: where there is some, everywhere
    unless given. `cell_m`: side of a cell in metres. `west_m`, `north_m`: west and north border of
    the map in metres from the region's centre; the map is round it unless given. `pooling`: how
    many cells of the network's own lie along the side of one of these.
    Raises ConfigError where they do not fit.
    """

    def __init__(
        self,
        features: torch.Tensor,
        mask: torch.Tensor | np.ndarray | None = None,
        cell_m: float = 1.0,
        west_m: float | None = None,
        north_m: float | None = None,
        pooling: int = 1,
    ) -> None:
        if features.ndim != 3 or not features.is_floating_point():
            raise ConfigError(f'map features must be float (C, n, m), not {tuple(features.shape)}')
        if mask is None:
            mask = torch.ones(features.shape[1:], device=features.device)
        mask = torch.as_tensor(mask, device=features.device).to(torch.float32)
        if mask.shape != features.shape[1:]:
            raise ConfigError(
                f'map features {tuple(features.shape)} and mask {tuple(mask.shape)} are not of '
                'the same cells'
            )
        if not cell_m > 0:
            raise ConfigError(f'cells of {cell_m:g} m cannot be: their side must be positive')
        self.features, self.mask, self.cell_m = features, mask, float(cell_m)
        self.west_m = -mask.shape[1] / 2 * cell_m if west_m is None else west_m
        self.north_m = mask.shape[0] / 2 * cell_m if north_m is None else north_m
        self.pooling = pooling
        self.kept_spectra: dict[Window, Any] = {}

    @property
    def channels(self) -> int:
        """Numbers per cell."""
        return self.features.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the features are, and everything that is computed with them."""
        return self.features.device

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the map, in cells."""
        return self.mask.shape[0], self.mask.shape[1]

    @property
    def window(self) -> Window:
        """The `Window` of the whole map."""
        return Window(0, 0, *self.shape)

    @property
    def spectrum_bytes(self) -> int:
        """Bytes of the spectra that are kept, 0 before the first search of the whole map."""
        return sum(spectrum.nbytes for spectrum in self.kept_spectra.values())

    def window_around(self, east_m: float, north_m: float, reach_m: float) -> Window:
        """The `Window` of cells that touch the square within `reach_m` of a position along each
        axis. Raises ConfigError where that is nowhere on the map."""
        row, column = (self.north_m - north_m) / self.cell_m, (east_m - self.west_m) / self.cell_m
        reach = reach_m / self.cell_m
        low = np.floor([row - reach, column - reach]).clip(0, self.shape)
        high = np.ceil([row + reach, column + reach]).clip(0, self.shape)
        if not (low < high).all():
            raise ConfigError(
                f'no cell of the map is within {reach_m:g} m of {east_m:.0f} m east, '
                f'{north_m:.0f} m north of its centre'
            )
        return Window(*low.astype(int).tolist(), *high.astype(int).tolist())

    def position_m(self, row: float, column: float) -> tuple[float, float]:
        """Metres east and north of the region's centre of the middle of a cell."""
        east_m = self.west_m + (column + 0.5) * self.cell_m
        return east_m, self.north_m - (row + 0.5) * self.cell_m

    def cut(self, top: int, left: int, rows: int, columns: int) -> torch.Tensor:
        """Features and mask as one float32 (C + 1, rows, columns), zero beyond the map."""
        part = self.mask.new_zeros((self.channels + 1, rows, columns))
        inside = [
            (max(0, at), min(length, at + size))
            for at, size, length in zip((top, left), (rows, columns), self.shape, strict=True)
        ]
        (r0, r1), (c0, c1) = inside
        if r0 < r1 and c0 < c1:
            to = part[:, r0 - top : r1 - top, c0 - left : c1 - left]
            to[:-1] = self.features[:, r0:r1, c0:c1]
            to[-1] = self.mask[r0:r1, c0:c1]
        return part

    def pooled(self, factor: int) -> 'MapFeatures':
        """The same map in cells `factor` times as wide: means over the cells inside, of those with
        imagery. A last row or column that is not whole is filled up without imagery."""
        features, mask = pool(self.features.float(), self.mask, factor)
        return MapFeatures(
            features.to(self.features.dtype),
            mask,
            self.cell_m * factor,
            self.west_m,
            self.north_m,
            self.pooling * factor,
        )


def pool(
    features: torch.Tensor, weights: torch.Tensor, factor: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (C, h, w) and weights (h, w) of cells `factor` times as wide, from the north-west:
    weighted means, and means of weights. What is beyond the border has weight zero."""
    rest = [-length % factor for length in weights.shape]
    both = torch.cat([features * weights, weights[None]])
    both = torch.nn.functional.pad(both, (0, rest[1], 0, rest[0]))
    both = torch.nn.functional.avg_pool2d(both[None], factor)[0]
    return both[:-1] / both[-1].clamp(min=1e-6), both[-1]
