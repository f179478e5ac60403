"""What stands where in the invented town, without light or season.

All positions are metres east and north of the middle, all angles counter-clockwise from east.
"""

from dataclasses import dataclass, field

import numpy as np

from justzoom_ros.worlds.aliases import Color, Place

ROAD_WIDTH_M = {'arterial': 10.0, 'street': 6.6, 'lane': 4.6, 'track': 2.6, 'hedge': 0.0}
FOOTWAY_M = {'arterial': 2.4, 'street': 1.7}


@dataclass(frozen=True)
class Road:
    """A strip of one `kind` along `path` (N, 2), `width_m` wide; `tone` 0..1 varies its colour."""

    path: np.ndarray
    width_m: float
    kind: str
    tone: float = 0.5


@dataclass(frozen=True)
class Area:
    """A polygon `outline` (N, 2) put to one `use`; `yaw_rad` is the direction of its rows and
    `tint` (0..1) chooses among the colours of the use."""

    outline: np.ndarray
    use: str
    yaw_rad: float = 0.0
    tint: float = 0.5


@dataclass(frozen=True)
class Building:
    """A block with its middle at `east_m`, `north_m`, its ridge along `yaw_rad`."""

    east_m: float
    north_m: float
    yaw_rad: float
    length_m: float
    width_m: float
    roof: str
    eave_m: float
    rise_m: float
    rgb: Color


@dataclass(frozen=True)
class Tree:
    """A crown; `kind` is broadleaf, conifer, fruit or bush, `tint` (0..1) its own shade."""

    east_m: float
    north_m: float
    radius_m: float
    height_m: float
    kind: str
    tint: float


@dataclass
class Plan:
    """Everything that stays where it is. `slots` are places (east, north, yaw) for cars."""

    side_m: float
    areas: list[Area] = field(default_factory=list)
    roads: list[Road] = field(default_factory=list)
    water: list[Road] = field(default_factory=list)
    rails: list[Road] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    slots: list[Place] = field(default_factory=list)
    lines: list[Road] = field(default_factory=list)
    rings: list[Place] = field(default_factory=list)
