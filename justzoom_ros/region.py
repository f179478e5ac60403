"""A square of the earth and its zoom tree.

`Region` turns latitude and longitude into metres east and north of its centre (ENU, REP-103) and
into a sequence of actions. One action picks one of `grid * grid` cells, numbered row by row from
the north-west: `action = row * grid + column`. `depth` actions lead to a terminal cell.

Cells of one level also have a *path index*, the actions read as the digits of a number in base
`grid * grid`; arrays over a level are always in the order of that index.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pyproj import CRS, Proj

from justzoom_ros.errors import ConfigError, OutsideRegionError

SPHERE_RADIUS_M = 6_378_137.0
"""Radius of the published sphere: the semi-major axis of WGS84."""

PLANES = ('wgs84', 'sphere')
MAX_SIDE_M = 400_000.0
"""Beyond this a local plane is off by more than 1e-4 of a distance."""


@dataclass(frozen=True)
class Cell:
    """One node of the zoom tree: a square, north up.

    `latitude` and `longitude` (degrees) and `east_m`, `north_m` (metres from the region's
    centre) are its centre; `actions` lead to it from the whole region, `()` being the region.
    """

    actions: tuple[int, ...]
    latitude: float
    longitude: float
    east_m: float
    north_m: float
    side_m: float


@dataclass(frozen=True)
class Region:
    """A square with its centre at `latitude`, `longitude` (degrees, WGS84), `side_m` metres wide.

    `grid` (2 to 8) is the number of cells along a side in one zoom step, `depth` (1 to 8) the
    number of steps. `plane` is 'wgs84', the azimuthal equidistant plane round the centre, or
    'sphere', the equirectangular plane of the published dataset.

    Raises ConfigError where a value is out of range or the square would hold a pole.
    """

    latitude: float
    longitude: float
    side_m: float
    grid: int = 4
    depth: int = 4
    plane: str = 'wgs84'

    def __post_init__(self):
        _check_number('latitude', self.latitude, -90.0, 90.0)
        _check_number('longitude', self.longitude, -180.0, 180.0)
        _check_number('side_m', self.side_m, 1e-3, MAX_SIDE_M)
        _check_whole('grid', self.grid, 2, 8)
        _check_whole('depth', self.depth, 1, 8)
        if self.plane not in PLANES:
            raise ConfigError(f'plane is {self.plane!r}; it must be one of {", ".join(PLANES)}')
        reach_deg = np.degrees(self.side_m * np.sqrt(0.5) / 6_335_000.0)
        if abs(self.latitude) + reach_deg >= 90.0:
            raise ConfigError(
                f'the square of {self.side_m:g} m at latitude {self.latitude:g} holds or touches '
                'a pole, where east and north are undefined; choose a smaller or another square'
            )

    @classmethod
    def from_bounds(cls, latitude, longitude, bounds, grid=4, depth=4, plane='wgs84'):
        """The region of `bounds` = (east_min, east_max, north_min, north_max), metres from
        `latitude`, `longitude`, which need not be its centre. Raises ConfigError unless square.
        """
        east_min, east_max, north_min, north_max = (float(b) for b in bounds)
        side_m = east_max - east_min
        if not abs(side_m - (north_max - north_min)) <= 1e-6 * abs(side_m):
            raise ConfigError(f'bounds {tuple(bounds)} are not a square')
        reach_m = 2 * max(abs(east_min), abs(east_max), abs(north_min), abs(north_max))
        origin = cls(latitude, longitude, reach_m, grid, depth, plane)
        middle = (east_min + east_max) / 2, (north_min + north_max) / 2
        return cls(*map(float, origin.to_latlon(*middle)), side_m, grid, depth, plane)

    # --- positions -----------------------------------------------------------------------------

    @cached_property
    def crs(self):
        """The plane as a pyproj CRS, metres; the origin is the region's centre."""
        return CRS.from_proj4(self._proj4)

    @cached_property
    def _proj4(self):
        centre = f'+lon_0={self.longitude!r} +x_0=0'
        if self.plane == 'wgs84':
            return f'+proj=aeqd +lat_0={self.latitude!r} {centre} +y_0=0 +datum=WGS84 +units=m'
        # Latitude is counted from the equator by eqc, so the false northing moves the origin.
        false_northing = -SPHERE_RADIUS_M * np.radians(self.latitude)
        sphere = f'+R={SPHERE_RADIUS_M!r} +nadgrids=@null +units=m'
        scale = f'+lat_ts={self.latitude!r}'
        return f'+proj=eqc {scale} {centre} +y_0={float(false_northing)!r} {sphere}'

    @cached_property
    def _proj(self):
        return Proj(self._proj4)

    def to_enu(self, lat, lon):
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

    def to_latlon(self, east_m, north_m):
        """Metres east and north of the centre to (latitude, longitude) in degrees (WGS84),
        longitude in -180..180."""
        east_m, north_m = np.broadcast_arrays(
            np.asarray(east_m, float), np.asarray(north_m, float)
        )
        lon, lat = self._proj(east_m, north_m, inverse=True)
        lon = (np.asarray(lon) + 180.0) % 360.0 - 180.0
        return _scalar(np.asarray(lat)), _scalar(lon)

    def contains(self, lat, lon):
        """True where a position lies inside the square, its border included."""
        east, north = self.to_enu(lat, lon)
        half = self.side_m / 2
        return (np.abs(east) <= half) & (np.abs(north) <= half)

    # --- the zoom tree -------------------------------------------------------------------------

    @property
    def branching(self):
        """Number of actions of one step: grid * grid."""
        return self.grid * self.grid

    @property
    def terminal_side_m(self):
        """Side of a terminal cell in metres."""
        return self.cell_side_m(self.depth)

    def cell_side_m(self, level):
        """Side in metres of a cell that `level` actions lead to."""
        return self.side_m / self.grid**level

    def encode(self, lat, lon):
        """The actions, `depth` of them, that lead to the terminal cell of one position.

        Raises OutsideRegionError where the position is not in the square or not a number.
        """
        return tuple(int(a) for a in self.encode_enu(*self.to_enu(lat, lon)))

    def encode_enu(self, east_m, north_m):
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

    def cell(self, actions):
        """The `Cell` of any prefix of actions. Raises ConfigError for an impossible one."""
        actions = self._checked(actions)
        row = column = 0
        for action in actions:
            row, column = row * self.grid + action // self.grid, column * self.grid
            column += action % self.grid
        side = self.cell_side_m(len(actions))
        east = (column + 0.5) * side - self.side_m / 2
        north = self.side_m / 2 - (row + 0.5) * side
        lat, lon = self.to_latlon(east, north)
        return Cell(actions, lat, lon, east, north, side)

    def index(self, actions):
        """Path index of the cell that `actions` lead to, 0 .. branching ** len(actions) - 1."""
        index = 0
        for action in self._checked(actions):
            index = index * self.branching + action
        return index

    def actions(self, level, index):
        """Inverse of `index`: the `level` actions to the cell with path index `index`."""
        digits = []
        for _ in range(level):
            index, digit = divmod(int(index), self.branching)
            digits.append(digit)
        return tuple(reversed(digits))

    def rows_columns(self, level, index):
        """Row from the north and column from the west of cells, as two int64 arrays.

        `level` (scalar or array) and `index` (array) say which cells.
        """
        index = np.asarray(index, np.int64)
        level = np.broadcast_to(level, index.shape)
        row, column = np.zeros_like(index), np.zeros_like(index)
        for step in range(int(level.max(initial=0))):
            digit = index // self.branching**step % self.branching
            # Digits above a cell's own level are zero, so cells of mixed levels need no mask.
            row += digit // self.grid * self.grid**step
            column += digit % self.grid * self.grid**step
        return row, column

    def centers(self, level, index=None):
        """Centres (N, 2) in metres (east, north) of cells of a level: all in path order, or
        those of `index`. With `index`, `level` may be an array too."""
        if index is None:
            index = np.arange(self.branching**level)
        row, column = self.rows_columns(level, index)
        side = self.side_m / np.power(float(self.grid), level)
        half = self.side_m / 2
        return np.stack([(column + 0.5) * side - half, half - (row + 0.5) * side], axis=-1)

    def _checked(self, actions):
        actions = tuple(int(a) for a in actions)
        if len(actions) > self.depth or not all(0 <= a < self.branching for a in actions):
            raise ConfigError(
                f'{actions} is no cell of a {self.grid} x {self.grid} tree of depth {self.depth}: '
                f'at most {self.depth} actions, each 0..{self.branching - 1}'
            )
        return actions


def _scalar(values):
    """A float for a 0-d array; arrays pass."""
    return float(values) if np.ndim(values) == 0 else values


def _check_number(name, value, low, high):
    if not (isinstance(value, (int, float, np.number)) and low <= value <= high):
        raise ConfigError(f'{name} is {value!r}; it must be a number in {low:g}..{high:g}')


def _check_whole(name, value, low, high):
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not (whole and low <= value <= high):
        raise ConfigError(f'{name} is {value!r}; it must be a whole number in {low}..{high}')
