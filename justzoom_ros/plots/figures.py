"""Pictures of what a localizer did: tracks on the map, errors, frames with their posteriors.

Positions are metres east and north of the region's centre, as everywhere inside. The colours mean
the same in every picture: white truth, green a fix, orange no fix (the localizer is unsure).
"""

from dataclasses import dataclass

import numpy as np

from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.files import writing

TRUTH_COLOUR = '#ffffff'
STATUS_COLOURS = {'fix': '#2ee59d', 'no_fix': '#ff9f1c'}
STATUS_NAMES = {'fix': 'fix', 'no_fix': 'no fix (unsure)'}
SERIES_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7')
INK = '#1b1f24'

MAP_PX = 1600
"""Side of the map behind a picture."""

MAP_INCHES, HEADER_INCHES, SHEET_INCHES, DPI = 8.0, 0.35, 3.0, 150


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


@dataclass(frozen=True)
class Panel:
    """One image with what was made of it: RGB uint8 (H, W, 3), its CellPosterior, its Mark."""

    title: str
    image: np.ndarray
    posterior: object
    mark: Mark


def ellipse(mean_m, covariance_m2, mass=0.9, points=64):
    """The outline (points + 1, 2) of the ellipse that holds `mass` of a normal distribution,
    metres, counter-clockwise, last point equal to the first."""
    values, vectors = np.linalg.eigh(np.asarray(covariance_m2, float))
    vectors = vectors * [np.sign(np.linalg.det(vectors)), 1.0]
    radius = np.sqrt(-2.0 * np.log(1.0 - mass))  # 2 degrees of freedom
    angle = np.linspace(0.0, 2.0 * np.pi, points + 1)
    unit = np.stack([np.cos(angle), np.sin(angle)])
    unit[:, -1] = unit[:, 0]
    return np.asarray(mean_m, float) + (vectors @ (np.sqrt(values.clip(0))[:, None] * unit)).T * (
        radius
    )


# --- pictures ----------------------------------------------------------------------------------


def draw_track(map, marks, path, title='', truths_m=None):
    """The map with the true track, every fix, its error and its 90 % ellipse, as a PNG.

    `truths_m` (N, 2) is the whole true track in time order; without it the truths of the marks
    are joined. Raises OutputError, or RuntimeUnavailableError without matplotlib.
    """
    figure = new_figure(MAP_INCHES, MAP_INCHES + HEADER_INCHES)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98 * MAP_INCHES / (MAP_INCHES + HEADER_INCHES)))
    draw_map(axes, map, MAP_PX)
    known = [mark.truth_m for mark in marks if mark.truth_m is not None]
    _draw_truth(axes, np.array(known if truths_m is None else truths_m, float).reshape(-1, 2))
    for status in ('no_fix', 'fix'):
        _draw_marks(axes, [mark for mark in marks if mark.status == status], status)
    _draw_scale(axes, map.region.side_m)
    _draw_attribution(axes, map.attribution)
    _draw_legend(axes)
    figure.text(0.012, 0.988, title, va='top', fontsize=11, color=INK, weight='bold')
    save(figure, path)


def draw_errors(errors_m, path, title=''):
    """Distribution of errors: a histogram beside the share of images within a distance.

    `errors_m`: {name: errors (N,) in metres}, up to four series.
    """
    figure = new_figure(9, 3.6)
    histogram, curve = figure.subplots(1, 2)
    values = np.concatenate([np.asarray(e, float) for e in errors_m.values()])
    edges = np.linspace(0, max(100.0, np.quantile(values, 0.98) if values.size else 0), 26)
    for (name, errors), colour in zip(errors_m.items(), SERIES_COLOURS, strict=False):
        errors = np.sort(np.asarray(errors, float))
        style = {'color': colour, 'label': name}
        histogram.hist(np.minimum(errors, edges[-1]), edges, histtype='step', lw=1.8, **style)
        within = np.arange(1, len(errors) + 1) / max(len(errors), 1)
        curve.step([0, *errors, 1e9], [0, *within, 1], where='post', lw=1.8, **style)
    histogram.set(xlabel=f'error (m; the last bar holds all beyond {edges[-2]:.0f})')
    histogram.set(ylabel='images', xlim=(0, edges[-1]))
    curve.set(xlabel='distance (m)', ylabel='share of images within it')
    curve.set(xlim=(0, edges[-1]), ylim=(0, 1))
    for radius_m in (25, 40, 50, 100):
        curve.axvline(radius_m, color='0.8', lw=0.8, zorder=0)
    for axes in (histogram, curve):
        axes.spines[['top', 'right']].set_visible(False)
    curve.legend(frameon=False, loc='lower right')
    figure.suptitle(title, x=0.01, ha='left', fontsize=11, color=INK, weight='bold')
    figure.tight_layout()
    save(figure, path)


def draw_frames(map, panels, path, columns=2):
    """A sheet of Panels: each camera image beside the map with its posterior, truth and fix."""
    rows = -(-len(panels) // columns)
    title_inches = 0.3
    height = SHEET_INCHES + title_inches
    figure = new_figure(columns * (2.35 * SHEET_INCHES), rows * height + 0.35)
    total = rows * height + 0.35
    for i, panel in enumerate(panels):
        row, column = divmod(i, columns)
        bottom = 1 - (row + 1) * height / total
        left, width = column / columns, 1 / columns
        shape = SHEET_INCHES / total
        image = figure.add_axes((left + 0.01 * width, bottom, 0.55 * width, shape))
        image.imshow(panel.image, interpolation='antialiased')
        image.set_anchor('E')
        image.axis('off')
        axes = figure.add_axes((left + 0.57 * width, bottom, SHEET_INCHES / 7.05 * width, shape))
        _draw_posterior(axes, map, panel)
        top = bottom + shape + 0.05 / total
        colour = INK if panel.mark.status == 'fix' else '#b35c00'
        figure.text(left + 0.012 * width, top, panel.title, fontsize=9, color=colour)
    legend_axes = figure.add_axes((0, 0, 1, 0.3 / total))
    legend_axes.axis('off')
    _draw_legend(legend_axes, loc='center', ncols=6, heat=True)
    save(figure, path)


# --- parts -------------------------------------------------------------------------------------


def new_figure(width_inches, height_inches, dpi=DPI):
    """An empty figure. Raises RuntimeUnavailableError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise RuntimeUnavailableError(
            'pictures need matplotlib, which is not installed; pip install matplotlib'
        ) from None
    figure = Figure(figsize=(width_inches, height_inches), dpi=dpi, facecolor='white')
    FigureCanvasAgg(figure)
    return figure


def save(figure, path):
    """Write a figure as a PNG. Raises OutputError."""
    with writing(path) as temporary:
        figure.savefig(temporary, format='png')


def draw_map(axes, map, px):
    """The whole region, a little paler and greyer than it is, so that marks stand out."""
    picture = map.picture(px).astype(np.float32)
    grey = picture.mean(axis=2, keepdims=True)
    pale = 0.85 * (0.65 * picture + 0.35 * grey)
    half = map.region.side_m / 2
    axes.imshow(pale.astype(np.uint8), extent=(-half, half, -half, half), zorder=0)
    axes.set(xlim=(-half, half), ylim=(-half, half))
    axes.axis('off')


def _draw_truth(axes, truths_m):
    if not len(truths_m):
        return
    axes.plot(*truths_m.T, color='black', lw=2.2, alpha=0.4, zorder=2, solid_joinstyle='round')
    axes.plot(
        *truths_m.T, color=TRUTH_COLOUR, lw=0.9, alpha=0.8, zorder=3, solid_joinstyle='round'
    )
    axes.plot(*truths_m[0], '>', color=TRUTH_COLOUR, ms=8, mec='black', mew=0.8, zorder=7)


def _draw_marks(axes, marks, status):
    """Fixes of one status: 90 % ellipses, errors as lines to the truths, positions as dots."""
    colour, sure = STATUS_COLOURS[status], status == 'fix'
    for mark in marks:
        outline = ellipse(mark.mean_m, mark.covariance_m2).T
        alpha = 0.85 if sure else 0.25
        axes.plot(*outline, color=colour, lw=0.9 if sure else 0.6, alpha=alpha, zorder=4)
        if sure:
            axes.fill(*outline, color=colour, alpha=0.04, lw=0, zorder=3)
        if mark.truth_m is not None:
            ends = np.array([mark.truth_m, mark.mean_m]).T
            style = '-' if sure else ':'
            axes.plot(*ends, style, color=colour, lw=1.0, alpha=0.9 if sure else 0.6, zorder=5)
            axes.plot(*mark.truth_m, '.', color=TRUTH_COLOUR, ms=3.5, zorder=6)
    means = np.array([mark.mean_m for mark in marks], float).reshape(-1, 2).T
    size = 5.5 if sure else 4.5
    axes.plot(*means, 'o', color=colour, ms=size, mec='black', mew=0.6, zorder=8)


def _draw_posterior(axes, map, panel):
    """The map with the mass of each terminal cell as heat, the truth as a cross."""
    draw_map(axes, map, 480)
    masses = np.asarray(panel.posterior.to_grid(), float)
    half = map.region.side_m / 2
    # The square root shows the faint rivals of a strong cell, which are what matters here.
    strength = np.sqrt(masses / max(masses.max(), 1e-12))
    extent = (-half, half, -half, half)
    axes.imshow(
        strength,
        alpha=0.15 * (strength > 0.02) + 0.75 * strength,
        extent=extent,
        cmap='plasma',
        vmin=0,
        vmax=1,
        interpolation='nearest',
        zorder=1,
    )
    mark, colour = panel.mark, STATUS_COLOURS[panel.mark.status]
    axes.plot(*ellipse(mark.mean_m, mark.covariance_m2).T, color='black', lw=2.4, alpha=0.5)
    axes.plot(*ellipse(mark.mean_m, mark.covariance_m2).T, color=colour, lw=1.3)
    axes.plot(*mark.mean_m, 'o', color=colour, ms=5, mec='black', mew=0.7)
    if mark.truth_m is not None:
        axes.plot(*mark.truth_m, '+', color='black', ms=12, mew=3.6)
        axes.plot(*mark.truth_m, '+', color=TRUTH_COLOUR, ms=11, mew=1.8)
    axes.set(xlim=(-half, half), ylim=(-half, half))


def _draw_scale(axes, side_m):
    """A bar of a round length near a fifth of the side, at the lower left."""
    power = 10 ** np.floor(np.log10(side_m / 5))
    length_m = max(step * power for step in (1, 2, 5) if step * power <= side_m / 5)
    left, low = -side_m / 2 + side_m * np.array([0.03, 0.035])
    bar = [left, left + length_m], [low, low]
    axes.plot(*bar, color='black', lw=6, solid_capstyle='butt', zorder=9)
    axes.plot(*bar, color='white', lw=3.4, solid_capstyle='butt', zorder=9)
    name = f'{length_m:g} m' if length_m < 1000 else f'{length_m / 1000:g} km'
    middle = left + length_m / 2, low + side_m * 0.012
    _outlined(axes.text(*middle, name, ha='center', va='bottom', fontsize=10, zorder=10))


def _draw_attribution(axes, text):
    where = {'transform': axes.transAxes, 'ha': 'right', 'va': 'bottom'}
    box = {'facecolor': 'white', 'alpha': 0.75, 'edgecolor': 'none', 'pad': 2}
    axes.text(0.995, 0.005, text, fontsize=6.5, color=INK, bbox=box, zorder=10, **where)


def _outlined(text):
    from matplotlib.patheffects import withStroke

    text.set(color='white', path_effects=[withStroke(linewidth=2.4, foreground='black')])


def _draw_legend(axes, heat=False, **layout):
    from matplotlib.lines import Line2D

    dot = {'marker': 'o', 'ls': '', 'mec': 'black', 'mew': 0.6, 'ms': 6}
    ring = {'marker': 'o', 'ls': '', 'mfc': 'none', 'mec': STATUS_COLOURS['fix'], 'ms': 10}
    truth = {'marker': '+', 'ls': '', 'ms': 9, 'mew': 2} if heat else {'lw': 2}
    handles = [
        Line2D([], [], color=TRUTH_COLOUR, label='truth', **truth),
        *(
            Line2D([], [], color=STATUS_COLOURS[status], label=name, **dot)
            for status, name in STATUS_NAMES.items()
        ),
        Line2D([], [], label='90 % ellipse', **ring),
    ]
    if heat:
        patch = {'marker': 's', 'ls': '', 'ms': 9, 'mec': 'none'}
        handles += [
            Line2D([], [], color='#f0f921', label='cell of most mass', **patch),
            Line2D([], [], color='#7e03a8', label='little mass', **patch),
        ]
    layout = {'loc': 'upper right', **layout}
    look = {'facecolor': '#30363d', 'labelcolor': 'white', 'edgecolor': 'none'}
    axes.legend(handles=handles, fontsize=9, framealpha=0.85, **look, **layout).set_zorder(11)
