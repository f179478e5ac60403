"""What every picture is made of: the figure, its file, and the parts that several pictures show.

All that draws with matplotlib goes through here, so that its absence is one clear error.
Positions are metres east and north of the region's centre, as everywhere inside. The colours mean
the same in every picture: white truth, green a fix, orange no fix (the localizer is unsure).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.files import writing
from justzoom_ros.maps.satellite_map import SatelliteMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

TRUTH_COLOUR = '#ffffff'
STATUS_COLOURS = {'fix': '#2ee59d', 'no_fix': '#ff9f1c'}
STATUS_NAMES = {'fix': 'fix', 'no_fix': 'no fix (unsure)'}
SERIES_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7')
INK = '#1b1f24'

SHEET_INCHES, DPI = 3.0, 150
"""Side of one of several maps in a picture; pixels per inch."""


@dataclass(frozen=True)
class Mark:
    """One localized image on the map."""

    mean_m: np.ndarray
    """Position (2,) of the fix, east and north of the region's centre."""

    covariance_m2: np.ndarray
    """Its covariance (2, 2)."""

    status: str
    """'fix' or 'no_fix'."""

    truth_m: np.ndarray | None = None
    """True position (2,); None where it is not known."""


# --- figures -----------------------------------------------------------------------------------


def require_matplotlib() -> None:
    """Raises RuntimeUnavailableError without matplotlib: to be called before long work that ends
    in a picture."""
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise RuntimeUnavailableError(
            'pictures need matplotlib, which is not installed; pip install matplotlib'
        ) from None


def new_figure(width_inches: float, height_inches: float, dpi: int = DPI) -> 'Figure':
    """An empty figure. Raises RuntimeUnavailableError without matplotlib."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), dpi=dpi, facecolor='white')
    FigureCanvasAgg(figure)
    return figure


def save(figure: 'Figure', path: str | Path) -> None:
    """Write a figure as a PNG. Raises OutputError."""
    with writing(path) as temporary:
        figure.savefig(temporary, format='png')


# --- parts -------------------------------------------------------------------------------------


def ellipse(
    mean_m: np.ndarray, covariance_m2: np.ndarray, mass: float = 0.9, points: int = 64
) -> np.ndarray:
    """The outline (points + 1, 2) of the ellipse that holds `mass` of a normal distribution,
    metres, counter-clockwise, last point equal to the first."""
    values, vectors = np.linalg.eigh(np.asarray(covariance_m2, float))
    vectors = vectors * [np.sign(np.linalg.det(vectors)), 1.0]
    radius = np.sqrt(-2.0 * np.log(1.0 - mass))  # 2 degrees of freedom
    angle = np.linspace(0.0, 2.0 * np.pi, points + 1)
    unit = np.stack([np.cos(angle), np.sin(angle)])
    unit[:, -1] = unit[:, 0]
    outline = vectors @ (np.sqrt(values.clip(0))[:, None] * unit)
    return np.asarray(mean_m, float) + outline.T * radius


def draw_background(axes: 'Axes', map: SatelliteMap, px: int) -> None:
    """The whole region, a little paler and greyer than it is, so that marks stand out."""
    picture = map.picture(px).astype(np.float32)
    grey = picture.mean(axis=2, keepdims=True)
    pale = 0.85 * (0.65 * picture + 0.35 * grey)
    half = map.region.side_m / 2
    axes.imshow(pale.astype(np.uint8), extent=(-half, half, -half, half), zorder=0)
    axes.set(xlim=(-half, half), ylim=(-half, half))
    axes.axis('off')


def draw_heat(axes: 'Axes', strength: np.ndarray, side_m: float) -> None:
    """Numbers (n, n) of 0 to 1, row 0 in the north, as heat over a map; zero is clear."""
    half = side_m / 2
    axes.imshow(
        strength,
        alpha=0.15 * (strength > 0.02) + 0.75 * strength,
        extent=(-half, half, -half, half),
        cmap='plasma',
        vmin=0,
        vmax=1,
        interpolation='nearest',
        zorder=1,
    )


def draw_outline(axes: 'Axes', mark: Mark) -> None:
    """The 90 % ellipse of a mark, and its truth, where known, as a cross."""
    outline, colour = ellipse(mark.mean_m, mark.covariance_m2).T, STATUS_COLOURS[mark.status]
    axes.plot(*outline, color='black', lw=2.4, alpha=0.5)
    axes.plot(*outline, color=colour, lw=1.3)
    if mark.truth_m is not None:
        axes.plot(*mark.truth_m, '+', color='black', ms=12, mew=3.6)
        axes.plot(*mark.truth_m, '+', color=TRUTH_COLOUR, ms=11, mew=1.8)


def draw_scale(axes: 'Axes', side_m: float, middle_m: tuple[float, float] = (0.0, 0.0)) -> None:
    """A bar of a round length near a fifth of the side, at the lower left of a view about a
    middle."""
    power = 10 ** np.floor(np.log10(side_m / 5))
    length_m = max(step * power for step in (1, 2, 5) if step * power <= side_m / 5)
    left, low = np.array(middle_m) - side_m / 2 + side_m * np.array([0.03, 0.035])
    bar = [left, left + length_m], [low, low]
    axes.plot(*bar, color='black', lw=6, solid_capstyle='butt', zorder=9)
    axes.plot(*bar, color='white', lw=3.4, solid_capstyle='butt', zorder=9)
    name = f'{length_m:g} m' if length_m < 1000 else f'{length_m / 1000:g} km'
    middle = left + length_m / 2, low + side_m * 0.012
    outline_text(axes.text(*middle, name, ha='center', va='bottom', fontsize=10, zorder=10))


def outline_text(text: 'Text') -> None:
    """White letters with a black edge, to be read on any map."""
    from matplotlib.patheffects import withStroke

    text.set(color='white', path_effects=[withStroke(linewidth=2.4, foreground='black')])


def draw_attribution(axes: 'Axes', text: str) -> None:
    """The map's licence or credit at the lower right."""
    box = {'facecolor': 'white', 'alpha': 0.75, 'edgecolor': 'none', 'pad': 2}
    axes.text(
        0.995, 0.005, text, fontsize=6.5, color=INK, bbox=box, zorder=10,
        transform=axes.transAxes, ha='right', va='bottom',
    )  # fmt: skip
