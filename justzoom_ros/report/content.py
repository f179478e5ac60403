"""What a page shows, as plain values: no file formats, no HTML.

Positions are metres east and north of the region's centre. `page.py` makes a file of it, the live
view sends the same things one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SEVERITIES = ('wrong', 'outside', 'error', 'no_fix', '')
"""What failed of a frame, worst first: sure of a place that is wrong, a truth outside the 90 %
ellipse, an image that cannot be used, no fix; '' nothing."""


@dataclass(frozen=True)
class Tile:
    """One of the figures at the top of a page."""

    label: str
    """What it is."""

    value: str
    """The figure with its unit."""

    note: str = ''
    """What it is compared with, or of how many it is."""

    mood: str = ''
    """'good', 'bad', or '' where it is neither."""


@dataclass(frozen=True)
class Table:
    """Figures in rows."""

    title: str
    """What is written above it."""

    columns: Sequence[str]
    """Names of the columns."""

    rows: Sequence[Sequence[Any]]
    """Texts, or shares (0..1) as floats, which are drawn as bars; None where there is none."""

    note: str = ''
    """What is written below it."""


@dataclass(frozen=True)
class Series:
    """One line, band or cloud of a chart."""

    name: str
    """What the legend calls it; '' for none."""

    x: Sequence[float]
    """Places along the horizontal axis, ascending."""

    y: Sequence[float | None]
    """Values; None leaves a gap."""

    kind: str = 'line'
    """'line', 'step', 'band' (from the lower border up) or 'points'."""

    colour: str = 'ink'
    """A name of the page's colours: 'ink', 'fix', 'no_fix', 'band', 'a' .. 'd'."""


@dataclass(frozen=True)
class Chart:
    """A chart with two axes."""

    title: str
    """What is written above it."""

    x_label: str
    """Horizontal axis, with its unit."""

    y_label: str
    """Vertical axis, with its unit."""

    series: Sequence[Series]
    """What is drawn, the lowest first."""

    log_y: bool = False
    """Logarithmic vertical axis."""

    y_range: tuple[float, float] | None = None
    """Least and greatest value shown; from the values unless given."""

    frame_x: Sequence[float | None] = ()
    """Place of each frame of the page along the horizontal axis: a click shows the nearest, and a
    line marks the one shown. Empty where the chart is not about frames."""


@dataclass(frozen=True)
class Heat:
    """A picture of strengths over a rectangle of the map."""

    uri: str
    """data: URI of a grey picture, row 0 in the north, white the strongest."""

    west_m: float
    """West border."""

    north_m: float
    """North border."""

    width_m: float
    """From west to east."""

    height_m: float
    """From north to south."""


@dataclass(frozen=True)
class FrameView:
    """One image and what came of it."""

    name: str
    """Its number or file."""

    status: str
    """'fix', 'no_fix', 'error' or 'missed'."""

    time_s: float | None = None
    """Seconds since the first frame."""

    reason: str = ''
    """Why there is no fix."""

    severity: str = ''
    """One of SEVERITIES."""

    position: tuple[float, float] | None = None
    """East and north, metres; None where there is none."""

    covariance: tuple[float, float, float] | None = None
    """East, east-north, north, square metres."""

    radius_m: float | None = None
    """Half the long axis of the 90 % ellipse."""

    confidence: float | None = None
    """Mass (0..1) of the first hypothesis."""

    yaw_rad: float | None = None
    """Heading, counter-clockwise from east."""

    latlon: tuple[float, float] | None = None
    """Latitude and longitude in degrees."""

    truth: tuple[float, float] | None = None
    """True position, east and north."""

    error_m: float | None = None
    """Distance between the two."""

    travelled_m: float | None = None
    """Distance along the truth since the first frame."""

    hypotheses: Sequence[tuple[float, float, float]] = ()
    """East, north and mass of each, heaviest first."""

    image: str = ''
    """data: URI of what the camera saw, small."""

    belief: Heat | None = None
    """What is believed after the frame."""

    evidence: Heat | None = None
    """What the frame says by itself."""

    latency_ms: float | None = None
    """From its arrival to its fix."""


@dataclass(frozen=True)
class MapView:
    """The imagery below everything."""

    side_m: float
    """Side of the square."""

    latitude: float
    """Of its centre, degrees."""

    longitude: float
    """Of its centre, degrees."""

    uri: str
    """data: URI of the picture, north up."""

    attribution: str = ''
    """Whose imagery it is."""

    offset_m: tuple[float, float] = (0.0, 0.0)
    """East and north that the imagery is drawn further than it says that it is: how far the map is
    off. Everything else on a page has true positions."""


@dataclass(frozen=True)
class Page:
    """A whole page."""

    title: str
    """Its headline."""

    verdict: str = ''
    """The result in a sentence."""

    about: Sequence[str] = ()
    """Map, weights and other circumstances, a few words each."""

    tiles: Sequence[Tile] = ()
    """The most important figures, four to six."""

    map: MapView | None = None
    """None on a page without places."""

    track: np.ndarray | None = None
    """The whole true track (N, 2), where there is one."""

    frames: Sequence[FrameView] = ()
    """In the order of time; of a dataset in its own."""

    frame_word: str = 'frame'
    """What one of them is called."""

    worst: Sequence[int] = ()
    """Numbers of the frames that failed, worst first."""

    note: str = ''
    """What was left out."""

    charts: Sequence[Chart] = ()
    """Below the map."""

    tables: Sequence[Table] = ()
    """At the end."""

    live: bool = False
    """Frames come from a server, of which the page is."""
