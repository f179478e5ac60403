"""Arithmetic on masses over shifted lattices: the kernels of the belief filter.

`masses` are (K, n, m): for each heading a lattice, row 0 in the north and column 0 in the west.
`offsets` (K, 2) say by how many cells, -0.5..0.5, lattice k is shifted south and east. A robot's
movement only shifts lattices: nothing is blurred by it. What leaves the lattice is gone; callers
see it in the sum.

What costs time is memory: lattices are filtered one by one, since one fits a processor's cache and
all of them do not, and what sums over headings or repeats over them is a product of matrices.
"""

import cv2
import numpy as np
import torch

KERNEL_SIGMAS = 4
GREATEST_REACH = 1 << 20
"""Cells; more than any lattice has along a side."""


def shift(masses: torch.Tensor, cells: np.ndarray) -> torch.Tensor:
    """Each lattice moved by whole `cells` (K, 2), south and east."""
    if not cells.any():
        return masses
    moved = torch.zeros_like(masses)
    n = masses.shape[1]
    for k, (south, east) in enumerate(cells.clip(-n, n).tolist()):
        part = masses[k, _span(-south, n), _span(-east, n)]
        moved[k, _span(south, n), _span(east, n)] = part
    return moved


def _span(shift: int, n: int) -> slice:
    """The places that something shifted by `shift` comes to, of 0..n."""
    return slice(max(shift, 0), max(n + min(shift, 0), 0))


def blur(masses: torch.Tensor, variance: float) -> torch.Tensor:
    """Each lattice after a random step of `variance` cells squared along each axis, whose kernel
    has just this variance."""
    if variance <= 0:
        return masses
    # Longer steps leave the square.
    kernel, result = step_kernel(variance, max(masses.shape[1:])), torch.zeros_like(masses)
    planes, to = masses.numpy(), result.numpy()
    for k in np.flatnonzero(occupied(masses)):
        _filter(planes[k], kernel, kernel, to[k])
    return result


def occupied(masses: torch.Tensor) -> np.ndarray:
    """Flags (K,) of the lattices that are not empty: the others need no work."""
    return masses.amax((1, 2)).numpy() > 0


def step_reach(variance: float) -> int:
    """The longest step, in cells, that counts for a variance (cells squared)."""
    if variance <= 0.5:
        return 1
    return int(np.ceil(min(KERNEL_SIGMAS * np.sqrt(variance), GREATEST_REACH)))


def step_kernel(variance: float, most: int = GREATEST_REACH) -> np.ndarray:
    """Probabilities (2 r + 1,) of steps -r..r with mean 0 and this variance (cells squared), r at
    most `most`: the rest of the probability is that of longer steps. Clocks that are years apart
    make variances for whose kernels there is no memory."""
    if variance <= 0.5:
        return np.array([variance / 2, 1 - variance, variance / 2])
    reach = step_reach(variance)
    if reach > most:
        shape = np.exp(-(np.arange(-most, most + 1) ** 2) / (2 * variance))
        return shape / np.sqrt(2 * np.pi * variance)
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * variance))
    return kernel / kernel.sum()


def _filter(
    plane: np.ndarray, kernel_south: np.ndarray, kernel_east: np.ndarray, to: np.ndarray
) -> None:
    """Write into `to` the sums of a plane's cells, weighted along both axes, zeros beyond it."""
    zero = cv2.BORDER_CONSTANT
    cv2.sepFilter2D(plane, -1, kernel_east, kernel_south, dst=to, borderType=zero)


def rotate(masses: torch.Tensor, offsets: np.ndarray, variance: float) -> torch.Tensor:
    """Masses after a random turn of `variance` headings squared; some go on to the lattices of
    the headings beside, whose offsets differ, where each cell spreads over those it covers."""
    if variance <= 0:
        return masses
    weights = _round_kernel(variance, len(masses))
    steps = np.flatnonzero(weights[1:]) + 1
    # A filter looks back to where a mass comes from.
    back = [shares(np.roll(offsets, step, 0) - offsets)[..., ::-1] for step in steps]
    result = masses * weights[0]
    planes, coming = masses.numpy(), np.empty_like(masses[0].numpy())
    filled = occupied(masses)
    for k, to in enumerate(result.numpy()):
        for step, (south, east) in zip(steps, back, strict=True):
            if filled[k - step]:
                _filter(planes[k - step], weights[step] * south[k], east[k], coming)
                to += coming
    return result


def _round_kernel(variance: float, count: int) -> np.ndarray:
    """Probabilities (count,) of a random turn by so many headings, all the way round."""
    kernel = step_kernel(min(variance, count**2))
    steps = (np.arange(len(kernel)) - len(kernel) // 2) % count
    return np.bincount(steps, kernel, minlength=count)


def shares(shifts: np.ndarray) -> np.ndarray:
    """Of cells shifted by -1..1, `shifts` (K, 2) south and east: which shares of their area lie
    on the cells before, at and after their own, along each axis (2, K, 3)."""
    south_east = shifts.T
    before, after = (-south_east).clip(min=0), south_east.clip(min=0)
    return np.stack([before, 1 - np.abs(south_east), after], axis=-1)


def sum_headings(masses: torch.Tensor, offsets: np.ndarray) -> torch.Tensor:
    """Masses of all lattices on the cells that they cover, in shares of the area: (n, m)."""
    _, n, m = masses.shape
    parts = (_nine(offsets, masses).T @ masses.flatten(1)).view(3, 3, n, m)
    total = masses.new_zeros(n + 2, m + 2)
    for south in range(3):
        for east in range(3):
            total[south : south + n, east : east + m] += parts[south, east]
    return total[1:-1, 1:-1]


def resample(plane: torch.Tensor, offsets: np.ndarray, beyond: float) -> torch.Tensor:
    """What the cells of each lattice see of a plane (n, n): its means over their areas
    (K, n, n). `beyond` the square it has one value."""
    n = len(plane)
    padded = torch.nn.functional.pad(plane - beyond, (1, 1, 1, 1))
    around = [padded[s : s + n, e : e + n].flatten() for s in range(3) for e in range(3)]
    means = _nine(offsets, plane) @ torch.stack(around)
    return means.add_(beyond).unflatten(1, (n, n))


def _nine(offsets: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """Shares (K, 9) of the area on the nine cells around, rows from the north."""
    south, east = torch.from_numpy(shares(offsets)).to(like)
    return (south[:, :, None] * east[:, None]).flatten(1)


def total(masses: torch.Tensor) -> float:
    """The sum of all masses: of each row in their own precision, of these in double."""
    return float(masses.sum(-1).sum(dtype=torch.float64))
