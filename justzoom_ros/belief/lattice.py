"""Arithmetic on masses over shifted lattices: the kernels of the belief filter.

`masses` are (K, n, n): for each heading a square lattice, row 0 in the north and column 0 in the
west. `offsets` (K, 2) say by how many cells, -0.5..0.5, lattice k is shifted south and east. A
robot's movement only shifts lattices: nothing is blurred by it. What leaves the square is gone;
callers see it in the sum.
"""

import numpy as np
import torch

KERNEL_SIGMAS = 4


def shifted(masses, cells):
    """Each lattice moved by whole `cells` (K, 2), south and east."""
    if not cells.any():
        return masses
    moved = torch.zeros_like(masses)
    n = masses.shape[1]
    for k, (south, east) in enumerate(cells.clip(-n, n).tolist()):
        into = _span(south, n), _span(east, n)
        moved[(k, *into)] = masses[(k, _span(-south, n), _span(-east, n))]
    return moved


def _span(shift, n):
    """The places that something shifted by `shift` comes to, of 0..n."""
    return slice(max(shift, 0), max(n + min(shift, 0), 0))


def blurred(masses, variance):
    """Each lattice after a random step of `variance` cells squared along each axis, whose kernel
    has just this variance."""
    if variance <= 0:
        return masses
    kernel = step_kernel(variance)
    return _stepped(_stepped(masses, kernel, 1), kernel, 2)


def step_kernel(variance):
    """Probabilities (2 r + 1,) of steps -r..r with mean 0 and this variance (cells squared)."""
    if variance <= 0.5:
        return np.array([variance / 2, 1 - variance, variance / 2])
    reach = int(np.ceil(KERNEL_SIGMAS * np.sqrt(variance)))
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * variance))
    return kernel / kernel.sum()


def _stepped(masses, kernel, axis):
    """Masses after a random step along one axis."""
    n, reach = masses.shape[axis], len(kernel) // 2
    result = masses * kernel[reach]
    for step in range(1, min(reach, n - 1) + 1):
        low, high = masses.narrow(axis, 0, n - step), masses.narrow(axis, step, n - step)
        result.narrow(axis, step, n - step).add_(low, alpha=kernel[reach + step])
        result.narrow(axis, 0, n - step).add_(high, alpha=kernel[reach - step])
    return result


def turned(masses, offsets, variance):
    """Masses after a random turn of `variance` headings squared; some go on to the lattices of
    the headings beside, whose offsets differ, where each cell spreads over those it covers."""
    if variance <= 0:
        return masses
    weights = _round_kernel(variance, len(masses))
    result = masses * weights[0]
    for step in np.flatnonzero(weights[1:]) + 1:
        gaps = np.roll(offsets, step, 0) - offsets
        result.add_(spread(masses.roll(int(step), 0), gaps), alpha=weights[step])
    return result


def _round_kernel(variance, count):
    """Probabilities (count,) of a random turn by so many headings, all the way round."""
    kernel = step_kernel(min(variance, count**2))
    steps = (np.arange(len(kernel)) - len(kernel) // 2) % count
    return np.bincount(steps, kernel, minlength=count)


def spread(masses, shifts):
    """Masses (K, n, n) shifted by -1..1 cells each, `shifts` (K, 2): every cell goes to those
    that it then covers, in shares of the area."""
    return _mixed(_mixed(masses, shifts[:, 0], 1), shifts[:, 1], 2)


def averaged(planes, shifts, beyond):
    """Means of planes (K, n, n) over cells that are shifted by -1..1, `shifts` (K, 2): what a
    shifted cell sees of them. `beyond` the square they have one value."""
    return _mixed(_mixed(planes - beyond, -shifts[:, 0], 1), -shifts[:, 1], 2) + beyond


def _mixed(planes, shifts, axis):
    """Planes (K, n, n) shifted along an axis by -1..1 cells, linear between whole ones, zero
    coming in."""
    n = planes.shape[axis]
    shifts = torch.from_numpy(shifts).to(planes)[:, None, None]
    result = planes * (1 - shifts.abs())
    low, high = planes.narrow(axis, 0, n - 1), planes.narrow(axis, 1, n - 1)
    result.narrow(axis, 1, n - 1).addcmul_(shifts.clamp(min=0), low)
    result.narrow(axis, 0, n - 1).addcmul_((-shifts).clamp(min=0), high)
    return result
