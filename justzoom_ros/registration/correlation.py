"""Correlation of templates with a map's features, for every cell and heading at once, by FFT.

    score[k, r, c] = sum(templates[k] * map round (r, c)) / cells in view that have imagery

Shapes: K headings, C channels, map (n, m) cells, T tiles, template (h, w). Everything runs on the
device of the map's features. The spectrum of a map is kept, so that a view costs C + 1 transforms
and two back for each heading. Headings go one after the other: what one of them needs fits a
processor's cache, and what all need does not.

A large map is searched in tiles (overlap-save): a template is transformed once for many of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.registration.map_features import MapFeatures, Window
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
) -> Correlation:
    """The `Correlation` of `Templates` with `MapFeatures` over a `Window`, the whole map unless
    given. `min_imagery` (0..1): poses that see a smaller share of imagery are not valid.

    Raises ConfigError where the channels differ.
    """
    _check_channels(map_features, templates)
    whole = map_features.window
    window = window or whole
    windows = tiles_of(window)
    if window == whole and max(whole.shape) <= MAX_KEPT:
        spectrum = _kept_spectrum(map_features, windows, templates)
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


class Spectrum:
    """The transforms of pieces of a map: the cells of T windows and those that templates reach
    from there, from `first` (2,) to `last` (2,) cells south and east of the camera."""

    def __init__(
        self,
        map_features: MapFeatures,
        windows: list[Window],
        first: np.ndarray,
        last: np.ndarray,
    ) -> None:
        self.windows, self.first, self.last = windows, first, last
        self.map_shape = map_features.shape
        needed = np.array(windows[0].shape) + last - first
        corners = np.array([(w.top, w.left) for w in windows]) + first
        # A transform is round: what lies beyond one border of the map, all zeros, can also serve
        # as what lies beyond the other.
        beyond = np.minimum(-corners, corners + needed - self.map_shape).min(0)
        beyond = beyond.clip(0, np.array(windows[0].shape) - 1)  # a template has to fit
        self.size = tuple(fast_length(int(n)) for n in needed - beyond)
        parts = [map_features.cut(*corner, *needed.tolist()) for corner in corners.tolist()]
        self.without_gaps = [bool((part[-1] == 1).all()) for part in parts]
        # Conjugate, so that the templates' own transforms can be used as they are.
        self.values = torch.stack(
            [torch.fft.rfft2(part, s=self.size).conj().resolve_conj() for part in parts]
        )

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return self.values.numel() * self.values.element_size()

    def holds(self, first: np.ndarray, last: np.ndarray) -> bool:
        """True where templates that reach from `first` to `last` fit."""
        return bool((first >= self.first).all() and (last <= self.last).all())


def fast_length(length: int) -> int:
    """The smallest number of at least `length` whose only prime factors are 2, 3 and 5: transforms
    of such lengths are fast."""
    best = 1 << max(0, length - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            best = min(best, three << max(0, -(-length // three) - 1).bit_length())
            three *= 3
        five *= 5
    return best


def _kept_spectrum(map_features, windows, templates):
    """The `Spectrum` of a whole map: the one that is kept unless the templates reach further than
    earlier ones."""
    reach, kept = _reach(templates), map_features.kept_spectrum
    if kept is None or not kept.holds(*reach):
        if kept is not None:
            reach = np.minimum(reach[0], kept.first), np.maximum(reach[1], kept.last)
        kept = map_features.kept_spectrum = Spectrum(map_features, windows, *reach)
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
    work = _Workspace(spectrum, templates)
    planes = torch.stack([work.correlate(k) for k in range(len(templates.yaws_rad))], 2)
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


class _Workspace:
    """Memory for the transforms of one heading, used again for each: fresh memory would cost more
    than the transforms do."""

    def __init__(self, spectrum, templates):
        self.spectrum, self.templates = spectrum, templates
        like = spectrum.values[0]
        self.planes = like.new_zeros((len(like), *spectrum.size), dtype=torch.float32)
        self.transforms = torch.empty_like(like)

    def correlate(self, k):
        """Sums of products and cells with imagery, (T, 2, rows, columns), at heading k."""
        templates, spectrum = self.templates, self.spectrum
        high, wide = templates.weights.shape[1:]
        self.planes[:-1, :high, :wide] = templates.features[k]
        self.planes[-1, :high, :wide] = templates.weights[k]
        torch.fft.rfft2(self.planes, out=self.transforms)
        shape = (len(spectrum.windows), 2, *spectrum.windows[0].shape)
        result = self.planes.new_empty(shape)
        for tile, to in enumerate(result):
            sums = torch.zeros_like(self.transforms[0])
            for own, other in zip(self.transforms[:-1], spectrum.values[tile, :-1], strict=True):
                sums.addcmul_(own, other)
            self._write(sums, k, to[0])
            if spectrum.without_gaps[tile]:
                to[1] = templates.weights[k].sum()
            else:
                self._write(self.transforms[-1] * spectrum.values[tile, -1], k, to[1])
        return result

    def _write(self, products, k, to):
        """Transform a plane back and write the cells of the window at heading k."""
        plane = torch.fft.irfft2(products.conj(), s=self.spectrum.size)
        # Its cell (0, 0) has the template's first cell on the first one of the piece of the map.
        for axis, length in enumerate(to.shape):
            first = int(-self.templates.anchors[k, axis] - self.spectrum.first[axis])
            plane = _round_slice(plane, axis, first, length)
        to.copy_(plane)


def _round_slice(values, axis, first, length):
    """`length` entries of an axis from `first` on, which goes on at its start."""
    size = values.shape[axis]
    first %= size
    before = min(length, size - first)
    part = values.narrow(axis, first, before)
    if before == length:
        return part
    return torch.cat([part, values.narrow(axis, 0, length - before)], axis)


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
