"""Pairs to learn from: a tile of a map, a view of the same ground, and where in the tile it is.

Shapes: a tile has n x n pixels and a view's square t x t, both of cells of 2 x 2 pixels. A view's
own axes are turned against the tile's by its heading; the place that is to be found is the middle
of the view.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from justzoom_ros.errors import DatasetError
from justzoom_ros.training.registration.appearance import change_map, change_view, smooth_field
from justzoom_ros.training.registration.imagery import Picture, Place, place_weights

STRIDE = 2
"""Side of a cell in pixels."""
LEAST_SEEN = 0.8
"""Visible pixels of a view, of the pixels of the smallest view."""
LEAST_TILE = 0.6
"""Share of a tile that has imagery."""


@dataclass(frozen=True)
class ViewConfig:
    """How large a view and its tile of the map are, and how unlike."""

    template_cells: int = 56
    """Side of the square that holds a view."""
    tile_cells: int = 96
    """Side of a tile."""

    finest_m: float = 0.3
    """Finest ground resolution, metres per pixel."""
    coarsest_m: float = 2.0
    """Coarsest ground resolution, metres per pixel."""
    enlarge: float = 1.5
    """How many times finer than its pixels a picture may be sampled."""
    scale_std: float = 0.04
    """Standard deviation of the logarithm of the view's error of scale."""
    tilt_std: float = 0.05
    """Standard deviation of the change of scale from the middle to the edge of a view."""
    parallax_px: float = 2.0
    """Largest amplitude of the smooth displacements of a view against the map, pixels."""
    smallest_cells: int = 24
    """Shorter side of the smallest view, cells."""
    other_date: float = 0.85
    """Share of the pairs from two dates, where a place has several."""

    @property
    def window(self) -> int:
        """So many places along a side of the tile can a view's square have."""
        return self.tile_cells - self.template_cells + 1


@dataclass(frozen=True)
class Pair:
    """A tile, a view of it, and the truth."""

    tile: np.ndarray
    """float32 (n, n, 3), 1.0 white."""
    tile_mask: np.ndarray
    """bool (n, n), True where there is imagery."""
    view: np.ndarray
    """float32 (t, t, 3), 1.0 white."""
    view_mask: np.ndarray
    """bool (t, t), True where the camera sees."""
    row: float
    """Cells from the tile's upper edge to that of the view's square, 0 .. window - 1."""
    column: float
    """Likewise, from the left edge."""
    heading_rad: float
    """How far the view's axes are turned against the tile's, in the sense of image coordinates:
    the tile's offset of a point is the rotation (c, -s; s, c) of its offset (x, y) in the view."""
    place: int
    """Index of the place: pairs of two places show different ground."""


class PairSource:
    """Draws pairs from places, each as often as `shares` (N,) says; default `place_weights`."""

    def __init__(
        self,
        places: list[Place],
        shares: np.ndarray | None = None,
        config: ViewConfig | None = None,
    ):
        if not places:
            raise DatasetError('no imagery to train on; give an index of imagery or a map')
        self.places, self.config = places, config or ViewConfig()
        shares = place_weights(places) if shares is None else np.asarray(shares, float)
        self.shares = shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> Pair:
        """One pair, of which at least LEAST_SEEN of the smallest view can be seen."""
        least = LEAST_SEEN * (self.config.smallest_cells * STRIDE) ** 2
        for _ in range(50):
            index = int(rng.choice(len(self.places), p=self.shares))
            pair = self._draw(index, rng)
            if pair.view_mask.sum() >= least and pair.tile_mask.mean() >= LEAST_TILE:
                return pair
        raise DatasetError('imagery to train on: hardly any of it is covered; give more')

    def _draw(self, index, rng):
        place = self.places[index]
        map_picture, view_picture = self._dates(place, rng)
        metres = self._metres_per_px(place, rng)
        config = self.config
        tile_side, view_side = (STRIDE * n for n in (config.tile_cells, config.template_cells))
        middle_m, turn = self._somewhere(place, metres, rng), rng.uniform(0, 2 * math.pi)
        to_ground = _rotation(turn) * metres
        tile_grid = _pixel_grid(tile_side) @ to_ground.T + middle_m
        row, column = rng.uniform(0, config.window - 1, 2)
        offset_px = (np.array([column, row]) - (config.window - 1) / 2) * STRIDE
        heading = rng.uniform(0, 2 * math.pi)
        local = self._distort(_pixel_grid(view_side), rng)
        view_grid = (local @ _rotation(heading).T + offset_px) @ to_ground.T + middle_m
        tile, tile_mask, tile_segments = _sample(map_picture, tile_grid, metres)
        view, covered, segments = _sample(view_picture, view_grid, metres)
        view_mask = self._frame(rng) & covered
        strength = rng.uniform(0, 1)
        return Pair(
            change_map(tile, tile_segments, rng, strength),
            tile_mask,
            change_view(view, segments, rng, strength),
            view_mask,
            float(row),
            float(column),
            float(heading),
            index,
        )

    def _dates(self, place, rng):
        """Pictures for the map and for the view."""
        count = len(place.pictures)
        first = int(rng.integers(count))
        if count == 1 or rng.random() > self.config.other_date:
            return place.pictures[first], place.pictures[first]
        return place.pictures[first], place.pictures[(first + rng.integers(1, count)) % count]

    def _metres_per_px(self, place, rng):
        """A ground resolution that the place has the detail and the extent for."""
        config = self.config
        finest = max(config.finest_m, place.finest_m / config.enlarge)
        widest = max(place.size_m) / (0.75 * config.tile_cells * STRIDE)
        coarsest = max(min(config.coarsest_m, widest), finest * 1.05)
        return math.exp(rng.uniform(math.log(finest), math.log(coarsest)))

    def _somewhere(self, place, metres, rng):
        """Middle of a tile that lies mostly on the place, metres from its upper left corner."""
        half_m = 0.42 * self.config.tile_cells * STRIDE * metres
        return np.array([
            rng.uniform(min(half_m, side / 2), max(side - half_m, side / 2))
            for side in place.size_m
        ])  # fmt: skip

    def _distort(self, grid, rng):
        """What the ideal view's pixels really show: error of scale, tilt, parallax."""
        config, half = self.config, self.config.template_cells
        grid = grid * math.exp(np.clip(rng.normal(0, config.scale_std), -0.11, 0.11))
        tilt = rng.normal(0, config.tilt_std, 2) / half
        grid = grid / (1 + grid @ tilt)[..., None].clip(0.5)
        amplitude = rng.uniform(0, config.parallax_px)
        knots, shape = int(rng.integers(3, 9)), grid.shape[:2]
        shift = np.stack([smooth_field(shape, rng, knots) for _ in range(2)], axis=-1)
        # The middle stays: it is what is looked for.
        shift -= shift[shape[0] // 2, shape[1] // 2]
        return grid + amplitude * np.clip(shift, -2, 2)

    def _frame(self, rng):
        """The camera's frame in the square of the largest view: bool, a rectangle in the middle,
        now and then with something in the way."""
        config = self.config
        side, least = (STRIDE * n for n in (config.template_cells, config.smallest_cells))
        wide = math.exp(rng.uniform(math.log(least * 1.2), math.log(side)))
        tall = max(least, wide / rng.uniform(1.0, 1.8))
        mask = np.zeros((side, side), bool)
        rows, columns = (slice(round((side - d) / 2), round((side + d) / 2)) for d in (tall, wide))
        mask[rows, columns] = True
        if rng.random() < 0.1:
            line = _pixel_grid(side) @ [math.cos(a := rng.uniform(0, 6.3)), math.sin(a)]
            mask &= line < rng.uniform(0.0, 0.4) * side
        return mask


def _rotation(angle_rad):
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[c, -s], [s, c]])


def _pixel_grid(side):
    """(x, y) of pixel centres from the middle of a square: float (side, side, 2)."""
    axis = np.arange(side) - (side - 1) / 2
    return np.stack(np.meshgrid(axis, axis), axis=-1)


def _sample(picture: Picture, grid_m, metres):
    """Pixels float32 (n, n, 3), mask bool and segments int32 (n, n) at places (n, n, 2) in metres
    from the picture's upper left corner."""
    layer = picture.layer(metres)
    at = (grid_m / layer.metres_per_px - 0.5).astype(np.float32)
    x, y = np.ascontiguousarray(at[..., 0]), np.ascontiguousarray(at[..., 1])
    pixels = layer.pixels
    pixels = cv2.remap(pixels, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    mask = cv2.remap(layer.mask, x, y, cv2.INTER_NEAREST, borderValue=0) > 0
    rows = np.clip(np.rint(y), 0, layer.segments.shape[0] - 1).astype(np.int32)
    columns = np.clip(np.rint(x), 0, layer.segments.shape[1] - 1).astype(np.int32)
    segments = layer.segments[rows, columns].astype(np.int32)
    return pixels.astype(np.float32) / 255, mask, segments
