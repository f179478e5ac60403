"""Correlation of templates with a map's features, for every cell and heading at once, by FFT.

    score[k, r, c] = sum(templates[k] * map round (r, c)) / cells in view that have imagery

Shapes: K headings, C channels, map (n, m) cells, T tiles, template (h, w). Everything runs on the
device of the map's features. The spectrum of a map is kept, so that a view costs C + 1 transforms
for each pair of opposite headings, and two back for each heading.

A large map is searched in tiles (overlap-save): a template is transformed once for many of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.registration.map_features import MapFeatures, Window
from justzoom_ros.registration.spectrum import Spectrum, correlate_templates
from justzoom_ros.registration.template import Templates

MIN_IMAGERY = 0.5
"""A pose counts only if at least this share of what the camera sees lies on imagery."""

MAX_WHOLE = 400
"""What has more cells along a side is searched in tiles: larger transforms do not fit a cache."""

TILE = 256
"""Most cells along the side of a tile."""

MAX_KEPT = 768
"""The spectrum of a map with at most so many cells along a side is kept for the next view."""

BATCH_BYTES = 256 * 2**20
"""What tiles that are searched together take is at most about this much memory."""


@dataclass(frozen=True)
class Correlation:
    """Scores of poses: the camera over the middle of a cell of `window`, at a heading."""

    score: torch.Tensor
    """float32 (K, n, m): mean over the cells in view of <template, map>; 0 where not valid."""

    cells: torch.Tensor
    """float32 (K, n, m): number of cells in view that have imagery."""

    in_view: torch.Tensor
    """float32 (K,): number of cells in view, with imagery or without."""

    valid: torch.Tensor
    """bool (K, n, m): enough of what the camera would see has imagery."""

    window: Window
    """Which cells of the map these are."""

    yaws_rad: np.ndarray
    """(K,) headings, counter-clockwise from east."""

    @property
    def share(self) -> torch.Tensor:
        """float32 (K, n, m): of the cells in view, the share (0..1) that has imagery."""
        return (self.cells / self.in_view.clamp(min=0.5)[:, None, None]).clamp(max=1)

    def at_heading(self, k: int) -> 'Correlation':
        """The same at one heading only; K is 1 then."""
        one = slice(k, k + 1)
        return Correlation(
            self.score[one],
            self.cells[one],
            self.in_view[one],
            self.valid[one],
            self.window,
            self.yaws_rad[one],
        )

    def sums(self) -> np.ndarray:
        """Number, sum and sum of squares of the scores of valid poses, in double precision."""
        score = self.score.double()
        squares = torch.linalg.vecdot(score.flatten(), score.flatten())
        return np.array([float(self.valid.sum()), float(score.sum()), float(squares)])

    def background(self) -> tuple[float, float]:
        """Mean and standard deviation of the scores of valid poses: how high a place scores that
        is not the right one. Nearly all of them are not."""
        return background_of(self.sums())


def background_of(sums: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation from a number, a sum and a sum of squares (3,)."""
    count, total, squares = sums
    mean = total / max(count, 1)
    return mean, float(np.sqrt(max(squares / max(count, 1) - mean**2, 1e-12)))


def correlate(
    map_features: MapFeatures,
    templates: Templates,
    window: Window | None = None,
    min_imagery: float = MIN_IMAGERY,
    keep: bool = False,
) -> Correlation:
    """The `Correlation` of `Templates` with `MapFeatures` over a `Window`, the whole map unless
    given. `min_imagery` (0..1): poses that see a smaller share of imagery are not valid. `keep`:
    the spectrum of the window is kept for the next templates, as that of a whole map is.

    Raises ConfigError where the channels differ.
    """
    _check_channels(map_features, templates)
    whole = map_features.window
    window = window or whole
    windows = tiles_of(window)
    if (keep or window == whole) and max(window.shape) <= MAX_KEPT:
        spectrum = _kept_spectrum(map_features, window, windows, templates)
        parts = _correlate_all(spectrum, templates, min_imagery)
    else:
        parts = correlate_tiles(map_features, templates, windows, min_imagery)
    return next(parts) if len(windows) == 1 else _assembled(parts, templates, window)


def correlate_tiles(
    map_features: MapFeatures,
    templates: Templates,
    windows: Iterable[Window],
    min_imagery: float = MIN_IMAGERY,
) -> Iterator[Correlation]:
    """Yield the `Correlation` of each of several `Window`s, all of one shape; what they have
    beyond the map is cut off. Raises ConfigError where the channels differ."""
    _check_channels(map_features, templates)
    reach = _reach(templates)
    windows = list(windows)
    while windows:
        count = _tiles_at_once(map_features, templates, windows[0])
        batch, windows = windows[:count], windows[count:]
        spectrum = Spectrum(map_features, batch, *reach)
        yield from _correlate_all(spectrum, templates, min_imagery)


def tiles_of(window: Window, tile: int | None = None) -> list[Window]:
    """`Window`s of one shape and at most `tile` cells wide that cover a window, row by row from
    the north-west; the last ones may reach beyond it. `tile`: `TILE` unless given, but a window of
    up to `MAX_WHOLE` cells is one tile then."""
    most = tile or (MAX_WHOLE if max(window.shape) <= MAX_WHOLE else TILE)
    counts = [-(-length // most) for length in window.shape]
    high, wide = (-(-n // count) for n, count in zip(window.shape, counts, strict=True))
    return [
        Window(top, left, top + high, left + wide)
        for top in range(window.top, window.bottom, high)
        for left in range(window.left, window.right, wide)
    ]


def _kept_spectrum(map_features, window, windows, templates):
    """The `Spectrum` of a window in tiles `windows`: the one that is kept unless the templates
    reach further than earlier ones."""
    reach, kept = _reach(templates), map_features.kept_spectra.get(window)
    if kept is None or not kept.holds(*reach):
        if kept is not None:
            reach = np.minimum(reach[0], kept.first), np.maximum(reach[1], kept.last)
        kept = map_features.kept_spectra[window] = Spectrum(map_features, windows, *reach)
    return kept


def _reach(templates):
    """From which to which cell, south and east of the camera, any of the templates reaches: two
    (2,) arrays."""
    size = np.array(templates.weights.shape[1:])
    first = -templates.anchors
    return first.min(0), (first + size - 1).max(0)


def _tiles_at_once(map_features, templates, window):
    first, last = _reach(templates)
    size = np.array(window.shape) + last - first
    numbers = (map_features.channels + 1) * size.prod()
    numbers += 4 * len(templates.yaws_rad) * np.prod(window.shape)
    return max(1, int(BATCH_BYTES // (4 * numbers)))


def _assembled(parts, templates, window):
    """The correlation over a window, put together from those of its tiles."""
    like, shape = templates.weights, (len(templates.yaws_rad), *window.shape)
    score, cells = like.new_zeros(shape), like.new_zeros(shape)
    valid = like.new_zeros(shape, dtype=torch.bool)
    for tile in parts:
        part = _common(tile.window, window)
        to = (slice(None), *_within(part, window).slices)
        source = (slice(None), *_within(part, tile.window).slices)
        score[to], cells[to] = tile.score[source], tile.cells[source]
        valid[to] = tile.valid[source]
    return Correlation(score, cells, templates.cells.to(like), valid, window, templates.yaws_rad)


def _correlate_all(spectrum, templates, min_imagery):
    """Yield the `Correlation` of each window of a spectrum."""
    planes = correlate_templates(spectrum, templates)
    in_view = templates.cells.to(planes)
    total = in_view[:, None, None]
    for (sums, cells), window in zip(planes, spectrum.windows, strict=True):
        inside = _common(window, Window(0, 0, *spectrum.map_shape))
        rows, columns = _within(inside, window).slices
        sums, cells = sums[:, rows, columns], cells[:, rows, columns].clamp(min=0)
        # A share that is just reached must not fail by what a transform rounds.
        valid = cells >= (min_imagery * total).clamp(min=0.5) - 1e-4 * total
        score = torch.where(valid, sums / cells.clamp(min=0.5), 0.0)
        yield Correlation(score, cells, in_view, valid, inside, templates.yaws_rad)


def _common(one, other):
    """The `Window` that two have in common."""
    return Window(
        max(one.top, other.top),
        max(one.left, other.left),
        min(one.bottom, other.bottom),
        min(one.right, other.right),
    )


def _within(part, whole):
    """A window counted from the first row and column of another."""
    top, left = whole.top, whole.left
    return Window(part.top - top, part.left - left, part.bottom - top, part.right - left)


def _check_channels(map_features, templates):
    if templates.features.shape[1] != map_features.channels:
        raise ConfigError(
            f'templates of {templates.features.shape[1]} channels cannot be correlated with a map '
            f'of {map_features.channels}: both must come from the same network'
        )
