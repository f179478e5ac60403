"""Pairs to learn from: a tile of a map, a view of the same ground, and where in the tile it is.

Shapes: B pairs; a tile has n x n pixels and a view's square t x t, both of cells of 2 x 2 pixels.
A view's own axes are turned against the tile's by its heading; the place that is to be found is
the middle of the view.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from justzoom_ros.errors import DatasetError
from justzoom_ros.training.registration.appearance import change_map, change_view
from justzoom_ros.training.registration.bank import pack
from justzoom_ros.training.registration.dice import Dice, smooth_fields
from justzoom_ros.training.registration.imagery import Place, place_weights

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
class Pairs:
    """Tiles, a view of each, and the truth."""

    tiles: torch.Tensor
    """float (B, 3, n, n), 1.0 white."""
    tile_masks: torch.Tensor
    """bool (B, n, n), True where there is imagery."""
    views: torch.Tensor
    """float (B, 3, t, t), 1.0 white."""
    view_masks: torch.Tensor
    """bool (B, t, t), True where the camera sees."""
    rows: np.ndarray
    """(B,) cells from the tile's upper edge to that of the view's square, 0 .. window - 1."""
    columns: np.ndarray
    """(B,) likewise, from the left edge."""
    headings_rad: np.ndarray
    """(B,) how far the view's axes are turned against the tile's, in the sense of image
    coordinates: the tile's offset of a point is the rotation (c, -s; s, c) of its offset (x, y) in
    the view."""
    centres_m: np.ndarray
    """(B, 2) where the middle of the view is: x, y in metres from the place's upper left."""
    turns_rad: np.ndarray
    """(B,) how far the view's axes are turned against those of the place, in the same sense."""
    metres_per_px: np.ndarray
    """(B,) ground resolution of tile and view."""
    places: np.ndarray
    """int (B,): pairs of two places show different ground."""
    kinds: np.ndarray
    """int (B,): places of one kind look alike; -1 where the kind is not known."""

    @property
    def usable(self) -> torch.Tensor:
        """bool (B,): enough of view and tile is seen to learn from."""
        least = LEAST_SEEN * self.least_px
        seen = self.view_masks.sum((1, 2)) >= least
        return seen & (self.tile_masks.float().mean((1, 2)) >= LEAST_TILE)

    least_px: float = 0.0
    """Pixels of the smallest view."""


@dataclass(frozen=True)
class _Geometry:
    """Where tiles and views lie on the ground; grids in metres from a place's upper left."""

    metres: np.ndarray
    """(B,) per pixel."""
    offset: np.ndarray
    """(2, B) row and column of the view's square in the tile, cells."""
    turn: np.ndarray
    """(B,) of the tile's axes against the place's."""
    heading: np.ndarray
    """(B,) of the view's axes against the tile's."""
    centres_m: np.ndarray
    """(B, 2) middle of the view."""
    tile_grid: torch.Tensor
    """(B, n, n, 2) of the tile's pixels."""
    view_grid: torch.Tensor
    """(B, t, t, 2) of the view's pixels."""


class PairSource:
    """Draws pairs from places, each as often as `shares` (N,) says; default `place_weights`."""

    def __init__(
        self,
        places: list[Place],
        shares: np.ndarray | None = None,
        config: ViewConfig | None = None,
        device: torch.device | str = 'cpu',
    ):
        if not places:
            raise DatasetError('no imagery to train on; give an index of imagery or a map')
        self.places, self.config = places, config or ViewConfig()
        shares = place_weights(places) if shares is None else np.asarray(shares, float)
        self.shares = shares / shares.sum()
        self.bank = pack([picture for place in places for picture in place.pictures], device)
        self._dates = np.array([len(place.pictures) for place in places])
        self._first = np.concatenate([[0], np.cumsum(self._dates)[:-1]])
        self._finest = np.array([place.finest_m for place in places])
        self._size = np.array([place.size_m for place in places])
        names = sorted({place.ground for place in places} - {''})
        self._kinds = np.array([
            names.index(place.ground) if place.ground else -1 for place in places
        ])  # fmt: skip

    def draw(self, count: int, dice: Dice) -> Pairs:
        """`count` pairs; all that is random comes from `dice`."""
        rng = dice.numbers
        places = rng.choice(len(self.places), count, p=self.shares)
        where = self._geometry(places, dice)
        maps, views = self._pictures(places, rng)
        tiles, tile_masks, tile_segments = self._look(maps, where.metres, where.tile_grid)
        pixels, covered, segments = self._look(views, where.metres, where.view_grid)
        strength = rng.uniform(0, 1, count)
        return Pairs(
            tiles=change_map(tiles, tile_segments, dice, strength),
            tile_masks=tile_masks,
            views=change_view(pixels, segments, dice, strength),
            view_masks=covered & frames(count, self.config, dice),
            rows=where.offset[0],
            columns=where.offset[1],
            headings_rad=where.heading,
            centres_m=where.centres_m,
            turns_rad=where.turn + where.heading,
            metres_per_px=where.metres,
            places=places,
            kinds=self._kinds[places],
            least_px=float((self.config.smallest_cells * STRIDE) ** 2),
        )

    def _geometry(self, places: np.ndarray, dice: Dice) -> '_Geometry':
        """Where tiles and views of places (B,) lie, all of it drawn at random."""
        rng, config, count = dice.numbers, self.config, len(places)
        metres = self.metres_per_px(places, rng)
        offset = rng.uniform(0, config.window - 1, (2, count))
        turn, heading = rng.uniform(0, 2 * math.pi, (2, count))
        to_ground = _rotations(turn) * metres[:, None, None]
        middle = self._somewhere(places, metres, rng)
        side, small = (STRIDE * n for n in (config.tile_cells, config.template_cells))
        whole = pixel_grid(side, dice.device).expand(count, -1, -1, -1)
        local = distort(pixel_grid(small, dice.device), count, config, dice)
        shift = (offset - (config.window - 1) / 2).T[:, ::-1] * STRIDE
        on_tile = _apply(_rotations(heading), shift, local)
        return _Geometry(
            metres=metres,
            offset=offset,
            turn=turn,
            heading=heading,
            centres_m=middle + np.einsum('bij,bj->bi', to_ground, shift),
            tile_grid=_apply(to_ground, middle, whole),
            view_grid=_apply(to_ground, middle, on_tile),
        )

    def metres_per_px(self, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Ground resolutions (B,) that places (B,) have the detail and the extent for."""
        config = self.config
        finest = np.maximum(config.finest_m, self._finest[places] / config.enlarge)
        widest = self._size[places].max(1) / (0.75 * config.tile_cells * STRIDE)
        coarsest = np.maximum(np.minimum(config.coarsest_m, widest), finest)
        return np.exp(rng.uniform(np.log(finest), np.log(coarsest)))

    def _somewhere(self, places, metres, rng):
        """Middles (B, 2) of tiles that lie mostly on their places, metres from the upper left."""
        half = 0.42 * self.config.tile_cells * STRIDE * metres[:, None]
        size = self._size[places]
        return rng.uniform(np.minimum(half, size / 2), np.maximum(size - half, size / 2))

    def _pictures(self, places, rng):
        """Indices (B,) of pictures for the maps and for the views."""
        dates = self._dates[places]
        date = rng.integers(dates)
        later = np.where(dates > 1, rng.integers(1, np.maximum(dates, 2)), 0)
        later[rng.random(len(places)) > self.config.other_date] = 0
        return self._first[places] + date, self._first[places] + (date + later) % dates

    def _look(self, pictures, metres, ground_m):
        """What pictures (B,) show at (B, n, n, 2) metres from their upper left corners."""
        layers = self.bank.layers_for(pictures, metres)
        scale = torch.from_numpy(self.bank.layer_m[layers]).to(ground_m)
        return self.bank.sample(layers, ground_m / scale[:, None, None, None] - 0.5)


def distort(grid: torch.Tensor, count: int, config: ViewConfig, dice: Dice) -> torch.Tensor:
    """What the ideal view's pixels (t, t, 2) really show: error of scale, tilt, parallax.

    Returns (count, t, t, 2), pixels from the middle, which stays where it is.
    """
    rng, side = dice.numbers, len(grid)
    scale = np.exp(np.clip(rng.normal(0, config.scale_std, count), -0.11, 0.11))
    tilt = dice.tensor(rng.normal(0, config.tilt_std, (count, 2)) / config.template_cells)
    moved = grid * dice.tensor(scale)[:, None, None, None]
    across = torch.einsum('bhwc,bc->bhw', moved, tilt)
    moved = moved / (1 + across)[..., None].clamp(min=0.5)
    knots = int(rng.integers(3, 9))
    shift = torch.stack([smooth_fields(count, side, knots, dice) for _ in range(2)], -1)
    # The middle stays: it is what is looked for.
    shift = (shift - shift[:, side // 2, side // 2][:, None, None]).clamp(-2, 2)
    amplitude = dice.tensor(rng.uniform(0, config.parallax_px, count))
    return moved + amplitude[:, None, None, None] * shift


def frames(count: int, config: ViewConfig, dice: Dice) -> torch.Tensor:
    """Cameras' frames in the square of the largest view: bool (count, t, t), rectangles in the
    middle, now and then with something in the way."""
    rng = dice.numbers
    side, least = (STRIDE * n for n in (config.template_cells, config.smallest_cells))
    wide = np.exp(rng.uniform(np.log(least * 1.2), np.log(side), count))
    tall = np.maximum(least, wide / rng.uniform(1.0, 1.8, count))
    grid = pixel_grid(side, dice.device)
    half = dice.tensor(np.stack([wide, tall], 1) / 2)[:, None, None]
    seen = (grid.abs() <= half).all(-1)
    angle = rng.uniform(0, 2 * math.pi, count)
    line = torch.einsum(
        'hwc,bc->bhw', grid, dice.tensor(np.stack([np.cos(angle), np.sin(angle)], 1))
    )
    edge = np.where(rng.random(count) < 0.1, rng.uniform(0.0, 0.4, count), 1.0) * side
    return seen & (line < dice.tensor(edge)[:, None, None])


def pixel_grid(side: int, device: torch.device | str = 'cpu') -> torch.Tensor:
    """(x, y) of pixel centres from the middle of a square: float (side, side, 2)."""
    axis = torch.arange(side, device=device) - (side - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing='ij')
    return torch.stack([x, y], -1)


def _rotations(angles_rad):
    c, s = np.cos(angles_rad), np.sin(angles_rad)
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)


def _apply(matrices, shifts, grids):
    """Points (B, n, n, 2) turned by matrices (B, 2, 2) and moved by (B, 2)."""
    matrices, shifts = (
        torch.from_numpy(np.ascontiguousarray(a)).to(grids) for a in (matrices, shifts)
    )
    return torch.einsum('bij,bhwj->bhwi', matrices, grids) + shifts[:, None, None]
