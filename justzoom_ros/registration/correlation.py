"""Correlation of templates with a map's features, for every cell and heading at once, by FFT.

    score[k, r, c] = sum(templates[k] * map round (r, c)) / cells in view that have imagery

Shapes: K headings, C channels, map (n, m) cells, template (h, w). Everything runs on the device of
the map's features. The spectrum of the map is kept, so a view costs C transforms for each heading
and two back; headings go one after the other, because what one needs fits a processor's cache and
what all need does not.
"""

from dataclasses import dataclass

import numpy as np
import torch

from justzoom_ros.errors import ConfigError

MIN_IMAGERY = 0.5
"""A pose counts only if at least this share of what the camera sees lies on imagery."""


@dataclass(frozen=True)
class Window:
    """Cells of a map: rows `top`..`bottom` and columns `left`..`right`, the ends not included."""

    top: int
    """First row, 0 in the north."""

    left: int
    """First column, 0 in the west."""

    bottom: int
    """Row after the last one."""

    right: int
    """Column after the last one."""

    @property
    def shape(self):
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    @classmethod
    def around(cls, row, column, reach, shape):
        """The cells within `reach` of a cell along each axis, of a map of a shape (n, m). Raises
        ConfigError where there are none."""
        window = cls(
            max(0, row - reach),
            max(0, column - reach),
            min(shape[0], row + reach + 1),
            min(shape[1], column + reach + 1),
        )
        if min(window.shape) < 1:
            raise ConfigError(f'no cell of a map of {shape} is within {reach} of {row}, {column}')
        return window


@dataclass(frozen=True)
class Correlation:
    """Scores of poses: the camera over the middle of a cell of `window`, at a heading."""

    score: torch.Tensor
    """float32 (K, n, m): mean over the cells in view of <template, map>; 0 where not valid."""

    cells: torch.Tensor
    """float32 (K, n, m): number of cells in view that have imagery."""

    valid: torch.Tensor
    """bool (K, n, m): enough of what the camera would see has imagery."""

    window: Window
    """Which cells of the map these are."""

    yaws_rad: np.ndarray
    """(K,) headings, counter-clockwise from east."""


class MapFeatures:
    """Features of a map and their spectra.

    `features`: float (C, n, m) tensor on any device, half precision allowed, row 0 in the north,
    zero where there is no imagery. `mask` (n, m), bool or 0..1: where there is some, everywhere
    unless given. Raises ConfigError where they do not fit.
    """

    def __init__(self, features, mask=None):
        if features.ndim != 3 or not features.is_floating_point():
            raise ConfigError(f'map features must be float (C, n, m), not {tuple(features.shape)}')
        if mask is None:
            mask = torch.ones(features.shape[1:], device=features.device)
        mask = torch.as_tensor(mask, device=features.device).to(torch.float32)
        if mask.shape != features.shape[1:]:
            raise ConfigError(
                f'map features {tuple(features.shape)} and mask {tuple(mask.shape)} are not of '
                'the same cells'
            )
        self.features, self.mask = features, mask
        self._whole = None

    @property
    def shape(self):
        """Rows and columns of the map, in cells."""
        return tuple(self.mask.shape)

    @property
    def window(self):
        """The `Window` of the whole map."""
        return Window(0, 0, *self.shape)

    @property
    def spectrum_bytes(self):
        """Bytes of the spectrum that is kept, 0 before the first search of the whole map."""
        return 0 if self._whole is None else self._whole.nbytes

    def cut(self, top, left, rows, columns):
        """Features and mask as one float32 (C + 1, rows, columns), zero beyond the map."""
        channels = self.features.shape[0]
        part = self.features.new_zeros((channels + 1, rows, columns), dtype=torch.float32)
        inside = [
            (max(0, at), min(length, at + size))
            for at, size, length in zip((top, left), (rows, columns), self.shape, strict=True)
        ]
        (r0, r1), (c0, c1) = inside
        if r0 < r1 and c0 < c1:
            to = part[:, r0 - top : r1 - top, c0 - left : c1 - left]
            to[:-1] = self.features[:, r0:r1, c0:c1]
            to[-1] = self.mask[r0:r1, c0:c1]
        return part

    def spectrum(self, window, templates):
        """The `Spectrum` that serves to correlate templates over a window: the one that is kept
        where the window is the whole map and the templates no larger than before."""
        first, last = _reach(templates)
        if window != self.window:
            return Spectrum(self, window, first, last)
        kept = self._whole
        if kept is None or not kept.holds(first, last):
            if kept is not None:
                first, last = np.minimum(first, kept.first), np.maximum(last, kept.last)
            self._whole = Spectrum(self, window, first, last)
        return self._whole


class Spectrum:
    """The transform of a piece of a map: the cells of a window and those that templates reach
    from there, from `first` (2,) to `last` (2,) cells south and east of the camera."""

    def __init__(self, map_features, window, first, last):
        self.window, self.first, self.last = window, first, last
        needed = np.array(window.shape) + last - first
        corner = np.array([window.top, window.left]) + first
        # A transform is round: what lies beyond one border of the map, all zeros, can also serve
        # as what lies beyond the other.
        beyond = np.minimum(-corner, corner + needed - map_features.shape).clip(min=0)
        self.size = tuple(fast_length(int(n)) for n in needed - beyond)
        part = map_features.cut(*corner.tolist(), *needed.tolist())
        # Conjugate, so that the templates' own transforms can be used as they are.
        self.values = torch.fft.rfft2(part, s=self.size).conj().resolve_conj()

    @property
    def nbytes(self):
        """Bytes of its numbers."""
        return self.values.numel() * self.values.element_size()

    def holds(self, first, last):
        """True where templates that reach from `first` to `last` fit."""
        return bool((first >= self.first).all() and (last <= self.last).all())


def fast_length(length):
    """The smallest number of at least `length` whose only prime factors are 2, 3 and 5: transforms
    of such lengths are fast."""
    best = 1 << max(0, length - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            two = three << max(0, -(-length // three) - 1).bit_length()
            best = min(best, two)
            three *= 3
        five *= 5
    return best


def correlate(map_features, templates, window=None, min_imagery=MIN_IMAGERY):
    """The `Correlation` of `Templates` with `MapFeatures` over a `Window`, the whole map unless
    given. `min_imagery` (0..1): poses that see a smaller share of imagery are not valid.

    Raises ConfigError where the channels differ.
    """
    channels = map_features.features.shape[0]
    if templates.features.shape[1] != channels:
        raise ConfigError(
            f'templates of {templates.features.shape[1]} channels cannot be correlated with a map '
            f'of {channels}: both must come from the same network'
        )
    window = window or map_features.window
    spectrum = map_features.spectrum(window, templates)
    count, device = len(templates.yaws_rad), map_features.features.device
    sums = torch.empty((count, *window.shape), device=device)
    cells = torch.empty_like(sums)
    work = _Workspace(spectrum, templates)
    for k in range(count):
        sums[k], cells[k] = work.correlate(k)
    total = templates.cells.to(sums)[:, None, None]
    cells.clamp_(min=0)
    # A share that is just reached must not fail by what a transform rounds.
    valid = cells >= (min_imagery * total).clamp(min=0.5) - 1e-4 * total
    score = torch.where(valid, sums / cells.clamp(min=0.5), 0.0)
    return Correlation(score, cells, valid, window, templates.yaws_rad)


class _Workspace:
    """Memory for the transforms of one heading, used again for each: fresh memory would cost more
    than the transforms do."""

    def __init__(self, spectrum, templates):
        self.spectrum, self.templates = spectrum, templates
        size, like = spectrum.size, spectrum.values
        self.planes = like.new_zeros((len(like), *size), dtype=torch.float32)
        self.transforms = torch.empty_like(like)

    def correlate(self, k):
        """Sums of products and cells with imagery, (n, m) each, at heading k."""
        templates, spectrum = self.templates, self.spectrum
        high, wide = templates.weights.shape[1:]
        self.planes[:-1, :high, :wide] = templates.features[k]
        self.planes[-1, :high, :wide] = templates.weights[k]
        torch.fft.rfft2(self.planes, out=self.transforms)
        products = self.transforms.new_zeros((2, *self.transforms.shape[1:]))
        for channel in range(len(self.transforms) - 1):
            products[0].addcmul_(self.transforms[channel], spectrum.values[channel])
        torch.mul(self.transforms[-1], spectrum.values[-1], out=products[1])
        planes = torch.fft.irfft2(products.conj(), s=spectrum.size)
        return self._cut_out(planes, k)

    def _cut_out(self, planes, k):
        """The cells of the window, of planes whose cell (0, 0) has the template's first cell on
        the first one of the piece of the map."""
        for axis in (0, 1):
            first = int(-self.templates.anchors[k, axis] - self.spectrum.first[axis])
            planes = _round_slice(planes, axis + 1, first, self.spectrum.window.shape[axis])
        return planes


def _round_slice(values, axis, first, length):
    """`length` entries of an axis from `first` on, which goes on at its start."""
    size = values.shape[axis]
    first %= size
    before = min(length, size - first)
    part = values.narrow(axis, first, before)
    if before == length:
        return part
    return torch.cat([part, values.narrow(axis, 0, length - before)], axis)


def _reach(templates):
    """From which to which cell, south and east of the camera, any of the templates reaches: two
    (2,) arrays."""
    size = np.array(templates.weights.shape[1:])
    first = -templates.anchors
    return first.min(0), (first + size - 1).max(0)
