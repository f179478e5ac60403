"""Spectra of pieces of a map, and the correlation of templates with them.

Transforms are kept with the columns' frequencies first: (W / 2 + 1, H) of a plane (H, W). Of a
template, which is zero nearly everywhere, only its own rows are transformed then, and the rest is
one pass over the columns. One channel goes after the other, so that what is worked on fits a
processor's cache. A template that is another one turned by half has the conjugate transform, and
costs none.
"""

from math import pi

import numpy as np
import torch

from justzoom_ros.registration.map_features import MapFeatures, Window
from justzoom_ros.registration.template import Templates

SAME = 1e-4
"""Templates whose values differ by less than this share of the greatest are the same."""


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
        self.values = torch.stack([_transform_of_map(part, self.size) for part in parts])

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return self.values.numel() * self.values.element_size()

    def holds(self, first: np.ndarray, last: np.ndarray) -> bool:
        """True where templates that reach from `first` to `last` fit."""
        return bool((first >= self.first).all() and (last <= self.last).all())


def _transform_of_map(planes, size):
    """Transforms (C, size[1] / 2 + 1, size[0]) of planes (C, h, w), zero beyond."""
    return torch.fft.rfft2(planes, s=size).transpose(-1, -2).contiguous()


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


def correlate_templates(spectrum: Spectrum, templates: Templates) -> torch.Tensor:
    """Sums of products, and cells in view that have imagery, at each heading: float32
    (T, 2, K, rows, columns) over the windows of a spectrum that holds the templates."""
    work = _Workspace(spectrum, templates)
    shape = len(spectrum.windows), 2, len(templates.yaws_rad), *spectrum.windows[0].shape
    planes = templates.features.new_empty(shape)
    for k, opposite in pairs_of(templates):
        turned = () if opposite is None else (planes[:, :, opposite],)
        work.correlate(k, (planes[:, :, k], *turned))
    return planes


def pairs_of(templates: Templates) -> list[tuple[int, int | None]]:
    """Numbers of headings, each with that of a template which is the same turned by half about
    the camera, or with None where there is no other."""
    left = list(range(len(templates.yaws_rad)))
    pairs: list[tuple[int, int | None]] = []
    while left:
        k = left.pop(0)
        opposite = next((other for other in left if _is_opposite(templates, k, other)), None)
        pairs.append((k, opposite))
        if opposite is not None:
            left.remove(opposite)
    return pairs


def _is_opposite(templates, k, other):
    """True where one template is another turned by half about the camera."""
    turn = templates.yaws_rad[other] - templates.yaws_rad[k] - pi
    if abs((turn + pi) % (2 * pi) - pi) > 1e-6:
        return False
    size = np.array(templates.weights.shape[1:])
    shift = (templates.anchors[k] + templates.anchors[other] - size + 1).tolist()
    return all(
        torch.allclose(
            values[k].flip((-2, -1)).roll(shift, (-2, -1)),
            values[other],
            rtol=0,
            atol=SAME * float(values[k].abs().max()),
        )
        for values in (templates.weights, templates.features)
    )


class _Workspace:
    """Memory for the transforms of one channel at one heading, used again for each: fresh memory
    would cost more than the transforms do."""

    def __init__(self, spectrum, templates):
        self.spectrum, self.templates = spectrum, templates
        high = templates.weights.shape[1]
        like, (length, width) = spectrum.values, spectrum.size
        self.rows = like.new_zeros((high, width), dtype=torch.float32)
        self.rows_transform = like.new_empty((high, width // 2 + 1))
        self.columns = like.new_zeros((width // 2 + 1, length))
        self.transform = torch.empty_like(self.columns)

    def correlate(self, k, outputs):
        """Write sums of products and cells with imagery, (T, 2, rows, columns), at heading k, and
        at the opposite one where there are two outputs."""
        templates, spectrum = self.templates, self.spectrum
        shape = len(outputs), len(spectrum.windows), *self.transform.shape
        products = self.transform.new_zeros(shape)
        for channel, plane in enumerate(templates.features[k]):
            self._add_products(plane, channel, products)
        self._write(products, k, [to[:, 0] for to in outputs])
        if all(spectrum.without_gaps):
            for to in outputs:
                to[:, 1] = templates.weights[k].sum()
        else:
            self._add_products(templates.weights[k], -1, products.zero_())
            self._write(products, k, [to[:, 1] for to in outputs])

    def _add_products(self, plane, channel, products):
        """Add to (1 or 2, T, columns, rows) the products of the transforms of a plane and of a
        channel of the map."""
        high, wide = plane.shape
        self.rows[:, :wide] = plane
        torch.fft.rfft(self.rows, out=self.rows_transform)
        self.columns[:, :high] = self.rows_transform.transpose(0, 1)
        torch.fft.fft(self.columns, out=self.transform)
        for sums in products:
            # To correlate is to convolve with what is turned by half: the conjugate transform.
            # And once more for the template that is turned by half.
            torch.conj_physical(self.transform, out=self.transform)
            for tile, total in enumerate(sums):
                total.addcmul_(self.transform, self.spectrum.values[tile, channel])

    def _write(self, products, k, outputs):
        """Transform products (1 or 2, T, columns, rows) back and write the cells of the windows
        at heading k and at the opposite one."""
        anchor, first = self.templates.anchors[k], self.spectrum.first
        for sign, sums, to in zip((-1, 1), products, outputs, strict=False):
            at = (sign * anchor - first).tolist()
            for total, cells in zip(sums, to, strict=True):
                columns = _round_slice(torch.fft.ifft(total), 1, at[0], cells.shape[0])
                plane = torch.fft.irfft(columns.transpose(0, 1), n=self.spectrum.size[1])
                cells.copy_(_round_slice(plane, 1, at[1], cells.shape[1]))


def _round_slice(values, axis, first, length):
    """`length` entries of an axis from `first` on, which goes on at its start."""
    size = values.shape[axis]
    first %= size
    before = min(length, size - first)
    part = values.narrow(axis, first, before)
    if before == length:
        return part
    return torch.cat([part, values.narrow(axis, 0, length - before)], axis)
