"""A square of the earth and its zoom tree.

`Region` turns latitude and longitude into metres east and north of its centre (ENU, REP-103) and
into a sequence of actions. One action picks one of `grid * grid` cells, numbered row by row from
the north-west: `action = row * grid + column`. `depth` actions lead to a terminal cell.

Cells of one level also have a *cell index*, the actions read as the digits of a number in base
`grid * grid`; arrays over a level are always in the order of that index. Parents and children
follow from it by whole-number arithmetic, which `Region` does for whole arrays at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike
from pyproj import CRS, Proj

from justzoom_ros.errors import ConfigError, OutsideRegionError

SPHERE_RADIUS_M = 6_378_137.0
"""Radius of the published sphere: the semi-major axis of WGS84."""

PLANES = ('wgs84', 'sphere')
MAX_RASTER = 16_384
"""Cells along the side of a raster at most: 268 million in all."""

MAX_SIDE_M = 400_000.0
"""Beyond this a local plane is off by more than 1e-4 of a distance."""


@dataclass(frozen=True)
class Cell:
    """One node of the zoom tree: a square, north up."""

    actions: tuple[int, ...]
    """What leads to it from the whole region; `()` is the region itself."""

    latitude: float
    """Latitude of its centre in degrees (WGS84)."""

    longitude: float
    """Longitude of its centre in degrees (WGS84), -180..180."""

    east_m: float
    """Metres east from the region's centre to its own."""

    north_m: float
    """Metres north from the region's centre to its own."""

    side_m: float
    """Side in metres."""


@dataclass(frozen=True)
class Region:
    """A square of the earth with a zoom tree.

    Raises ConfigError where a value is out of range or the square would hold a pole.
    """

    latitude: float
    """Latitude of the centre in degrees (WGS84)."""

    longitude: float
    """Longitude of the centre in degrees (WGS84), -180..180."""

    side_m: float
    """Side in metres, at most MAX_SIDE_M."""

    grid: int = 4
    """Cells along a side in one zoom step, 2 to 8; of a `raster`, which has one step, more."""

    depth: int = 4
    """Zoom steps from the region to a terminal cell, 1 to 8."""

    plane: str = 'wgs84'
    """'wgs84', the azimuthal equidistant plane round the centre, or 'sphere', the equirectangular
    plane of the published dataset."""

    def __post_init__(self) -> None:
        _check_number('latitude', self.latitude, -90.0, 90.0)
        _check_number('longitude', self.longitude, -180.0, 180.0)
        _check_number('side_m', self.side_m, 1e-3, MAX_SIDE_M)
        _check_whole('depth', self.depth, 1, 8)
        _check_whole('grid', self.grid, 2, MAX_RASTER if self.depth == 1 else 8)
        if self.plane not in PLANES:
            raise ConfigError(f'plane is {self.plane!r}; it must be one of {", ".join(PLANES)}')
        reach_deg = np.degrees(self.side_m * np.sqrt(0.5) / 6_335_000.0)
        if abs(self.latitude) + reach_deg >= 90.0:
            raise ConfigError(
                f'the square of {self.side_m:g} m at latitude {self.latitude:g} holds or touches '
                'a pole, where east and north are undefined; choose a smaller or another square'
            )

    def raster(self, cells: int) -> 'Region':
        """The same square in one step of `cells` x `cells`: the grid of a registration. Its cell
        index counts row by row from the north-west. Raises ConfigError beyond 2..MAX_RASTER."""
        return replace(self, grid=cells, depth=1)

    @classmethod
    def from_bounds(
        cls,
        latitude: float,
        longitude: float,
        bounds: Sequence[float],
        grid: int = 4,
        depth: int = 4,
        plane: str = 'wgs84',
    ) -> 'Region':
        """The region of `bounds` = (east_min, east_max, north_min, north_max), metres from
        `latitude`, `longitude`, which need not be its centre. Raises ConfigError unless square.
        """
        east_min, east_max, north_min, north_max = (float(b) for b in bounds)
        side_m = east_max - east_min
        if not abs(side_m - (north_max - north_min)) <= 1e-6 * abs(side_m):
            raise ConfigError(f'bounds {tuple(bounds)} are not a square')
        reach_m = 2 * max(abs(east_min), abs(east_max), abs(north_min), abs(north_max))
        origin = cls(latitude, longitude, reach_m, grid, depth, plane)
        middle = origin.to_latlon((east_min + east_max) / 2, (north_min + north_max) / 2)
        return cls(*middle, side_m, grid, depth, plane)

    # --- positions -----------------------------------------------------------------------------

    @cached_property
    def crs(self) -> CRS:
        """The plane as a pyproj CRS, metres; the origin is the region's centre."""
        return CRS.from_proj4(self._proj4)

    @cached_property
    def _proj4(self) -> str:
        centre = f'+lon_0={self.longitude!r} +x_0=0'
        if self.plane == 'wgs84':
            return f'+proj=aeqd +lat_0={self.latitude!r} {centre} +y_0=0 +datum=WGS84 +units=m'
        # Latitude is counted from the equator by eqc, so the false northing moves the origin.
        false_northing = -SPHERE_RADIUS_M * np.radians(self.latitude)
        sphere = f'+R={SPHERE_RADIUS_M!r} +nadgrids=@null +units=m'
        scale = f'+lat_ts={self.latitude!r}'
        return f'+proj=eqc {scale} {centre} +y_0={float(false_northing)!r} {sphere}'

    @cached_property
    def _proj(self) -> Proj:
        return Proj(self._proj4)

    @overload
    def to_enu(self, lat: float, lon: float) -> tuple[float, float]: ...

    @overload
    def to_enu(
        self, lat: Sequence[float] | np.ndarray, lon: Sequence[float] | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def to_enu(self, lat: ArrayLike, lon: ArrayLike) -> tuple[Any, Any]:
        """Degrees (WGS84) to metres (east, north) of the centre. Scalars or arrays.

        Points that have no image in the plane, and NaN, come out as NaN.
        """
        lat, lon = np.broadcast_arrays(np.asarray(lat, float), np.asarray(lon, float))
        valid = np.isfinite(lat) & np.isfinite(lon) & (np.abs(lat) <= 90.0)
        # pyproj is fed offsets within half a turn, so that the antimeridian is nothing special.
        lat, lon = np.where(valid, lat, self.latitude), np.where(valid, lon, self.longitude)
        offset = (lon - self.longitude + 180.0) % 360.0 - 180.0
        east, north = self._proj(self.longitude + offset, lat)
        good = valid & np.isfinite(east) & np.isfinite(north)
        return _scalar(np.where(good, east, np.nan)), _scalar(np.where(good, north, np.nan))

    @overload
    def to_latlon(self, east_m: float, north_m: float) -> tuple[float, float]: ...

    @overload
    def to_latlon(
        self, east_m: Sequence[float] | np.ndarray, north_m: Sequence[float] | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]: ...

    def to_latlon(self, east_m: ArrayLike, north_m: ArrayLike) -> tuple[Any, Any]:
        """Metres east and north of the centre to (latitude, longitude) in degrees (WGS84),
        longitude in -180..180."""
        east_m, north_m = np.broadcast_arrays(
            np.asarray(east_m, float), np.asarray(north_m, float)
        )
        lon, lat = self._proj(east_m, north_m, inverse=True)
        lon = (np.asarray(lon) + 180.0) % 360.0 - 180.0
        return _scalar(np.asarray(lat)), _scalar(lon)

    def contains(self, lat: ArrayLike, lon: ArrayLike) -> np.bool_ | np.ndarray:
        """True where a position lies inside the square, its border included."""
        east, north = self.to_enu(np.asarray(lat, float), np.asarray(lon, float))
        half = self.side_m / 2
        return (np.abs(east) <= half) & (np.abs(north) <= half)

    # --- the zoom tree -------------------------------------------------------------------------

    @property
    def branching(self) -> int:
        """Number of actions of one step: grid * grid."""
        return self.grid * self.grid

    @property
    def terminal_side_m(self) -> float:
        """Side of a terminal cell in metres."""
        return self.cell_side_m(self.depth)

    def cell_side_m(self, level: int) -> float:
        """Side in metres of a cell that `level` actions lead to."""
        return self.side_m / self.grid**level

    def encode(self, lat: float, lon: float) -> tuple[int, ...]:
        """The actions, `depth` of them, that lead to the terminal cell of one position.

        Raises OutsideRegionError where the position is not in the square or not a number.
        """
        return tuple(int(a) for a in self.encode_enu(*self.to_enu(lat, lon)))

    def encode_enu(self, east_m: ArrayLike, north_m: ArrayLike) -> np.ndarray:
        """Actions (..., depth) of positions in metres from the centre, scalars or arrays (...).

        A point on a line between cells belongs to the cell east or south of it; the square's
        own border belongs to the square. Raises OutsideRegionError as `encode`.
        """
        east_m, north_m = np.asarray(east_m, float), np.asarray(north_m, float)
        half, side = self.side_m / 2, self.terminal_side_m
        inside = (np.abs(east_m) <= half) & (np.abs(north_m) <= half)
        if not inside.all():
            first = int(np.argmin(inside.ravel()))
            raise OutsideRegionError(
                f'position {east_m.ravel()[first]:.1f} m east, {north_m.ravel()[first]:.1f} m '
                f'north of the centre is not inside the region, a square of {self.side_m:g} m '
                f'round {self.latitude:.6f}, {self.longitude:.6f}'
            )
        last = self.grid**self.depth - 1
        row = np.minimum(np.floor((half - north_m) / side), last).astype(np.int64)
        column = np.minimum(np.floor((half + east_m) / side), last).astype(np.int64)
        steps = self.grid ** np.arange(self.depth - 1, -1, -1)
        rows, columns = row[..., None] // steps, column[..., None] // steps
        return rows % self.grid * self.grid + columns % self.grid

    def cell(self, actions: Iterable[int]) -> Cell:
        """The `Cell` of any prefix of actions. Raises ConfigError for an impossible one."""
        actions = tuple(int(a) for a in actions)
        level = len(actions)
        row, column = (int(at) for at in self.rows_columns(level, self.cell_index(actions)))
        side = self.cell_side_m(level)
        east = (column + 0.5) * side - self.side_m / 2
        north = self.side_m / 2 - (row + 0.5) * side
        lat, lon = self.to_latlon(east, north)
        return Cell(actions, lat, lon, east, north, side)

    # --- the index of cells --------------------------------------------------------------------

    def cell_count(self, level: int) -> int:
        """Number of cells of a level: branching ** level."""
        return self.branching**level

    @overload
    def terminal_count(self, level: int) -> int: ...

    @overload
    def terminal_count(self, level: np.ndarray) -> np.ndarray: ...

    def terminal_count(self, level: Any) -> Any:
        """Number of terminal cells within a cell of a level; int64 (...) for an array (...)."""
        return self.branching ** (self.depth - level)

    @overload
    def cell_index(self, actions: Sequence[int]) -> int: ...

    @overload
    def cell_index(self, actions: np.ndarray) -> np.ndarray: ...

    def cell_index(self, actions: Any) -> Any:
        """Index, 0 .. branching ** k - 1, of the cell of level k that k actions lead to.

        An int for a sequence of actions, int64 (...) for an array (..., k) of any number of them.
        Raises ConfigError for impossible actions.
        """
        digits = np.asarray(actions, np.int64)
        self._check_actions(digits)
        index = digits @ self._place_values(digits.shape[-1])
        return index if isinstance(actions, np.ndarray) else int(index)

    @overload
    def actions_of(self, level: int, index: int | np.integer) -> tuple[int, ...]: ...

    @overload
    def actions_of(self, level: int, index: np.ndarray) -> np.ndarray: ...

    def actions_of(self, level: int, index: Any) -> Any:
        """Inverse of `cell_index`: the actions that lead to cells of a level.

        A tuple of `level` ints for one index, int64 (..., level) for an array (...). Raises
        ConfigError for an index that the level has not.
        """
        wanted = np.asarray(index, np.int64)
        if not np.all((wanted >= 0) & (wanted < self.cell_count(level))):
            raise ConfigError(
                f'{index} is no cell of level {level}: it has {self.cell_count(level)} cells, '
                'counted from 0'
            )
        digits = wanted[..., None] // self._place_values(level) % self.branching
        return digits if isinstance(index, np.ndarray) else tuple(digits.tolist())

    @overload
    def parent(self, index: int, levels: int = 1) -> int: ...

    @overload
    def parent(self, index: np.ndarray, levels: int = 1) -> np.ndarray: ...

    @overload
    def parent(self, index: int | np.ndarray, levels: np.ndarray) -> np.ndarray: ...

    def parent(self, index: Any, levels: Any = 1) -> Any:
        """Index of the cell that holds a cell, so many `levels` (0 or more) above it. Arrays
        broadcast."""
        return index // self.branching**levels

    def children(self, index: int | np.ndarray) -> np.ndarray:
        """Indices int64 (..., branching) of the cells of the next level within cells (...), in the
        order of the actions that lead to them."""
        first = np.asarray(index, np.int64)[..., None] * self.branching
        return first + np.arange(self.branching)

    def rows_columns(
        self, level: int | np.ndarray, index: int | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Row from the north and column from the west of cells, as two int64 arrays.

        `level` (scalar or array) and `index` (array) say which cells.
        """
        cells = np.asarray(index, np.int64)
        levels = np.broadcast_to(level, cells.shape)
        row, column = np.zeros_like(cells), np.zeros_like(cells)
        for step in range(int(levels.max(initial=0))):
            digit = cells // self.branching**step % self.branching
            # Digits above a cell's own level are zero, so cells of mixed levels need no mask.
            row += digit // self.grid * self.grid**step
            column += digit % self.grid * self.grid**step
        return row, column

    def centers(
        self, level: int | np.ndarray, index: Sequence[int] | np.ndarray | None = None
    ) -> np.ndarray:
        """Centres (N, 2) in metres (east, north) of cells of a level: all in the order of their
        index, or those of `index`. With `index`, `level` may be an array too."""
        if index is None:
            index = np.arange(self.cell_count(int(level)))
        row, column = self.rows_columns(level, np.asarray(index))
        side = self.side_m / np.power(float(self.grid), level)
        half = self.side_m / 2
        return np.stack([(column + 0.5) * side - half, half - (row + 0.5) * side], axis=-1)

    def _place_values(self, level: int) -> np.ndarray:
        """Powers of the base, int64 (level,), that belong to the digits of an index."""
        return self.branching ** np.arange(level - 1, -1, -1, dtype=np.int64)

    def _check_actions(self, actions: np.ndarray) -> None:
        level = actions.shape[-1]
        good = np.all((actions >= 0) & (actions < self.branching), axis=-1)
        if level > self.depth or not good.all():
            first = actions.reshape(-1, level)[np.argmin(good)]
            raise ConfigError(
                f'{tuple(first.tolist())} is no cell of a {self.grid} x {self.grid} tree of depth '
                f'{self.depth}: at most {self.depth} actions, each 0..{self.branching - 1}'
            )


def _scalar(values: np.ndarray) -> float | np.ndarray:
    """A float for a 0-d array; arrays pass."""
    return float(values) if np.ndim(values) == 0 else values


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    if not (isinstance(value, (int, float, np.number)) and low <= value <= high):
        raise ConfigError(f'{name} is {value!r}; it must be a number in {low:g}..{high:g}')


def _check_whole(name: str, value: Any, low: int, high: int) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not (whole and low <= value <= high):
        raise ConfigError(f'{name} is {value!r}; it must be a whole number in {low}..{high}')
