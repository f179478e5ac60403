"""What one view says of every pose: likelihood ratios over headings and the cells of a map.

    log_ratio[k, r, c] = log p(view | camera over cell (r, c), heading k) - log p(view | elsewhere)

"Elsewhere" is ground that is not on the map. All sums are taken in the logarithm. A pose with a
ratio of -inf was not looked at, because the map has no imagery there: it takes part in nothing.

Shapes: K headings, n rows from the north, m columns from the west.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, log, pi
from typing import Any

import numpy as np
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.region import Region
from justzoom_ros.registration.area_sums import area_sums
from justzoom_ros.registration.map_features import MapFeatures, Window
from justzoom_ros.registration.peaks import Peak, find_peaks


@dataclass(frozen=True)
class PoseLikelihood:
    """Likelihood ratios of poses in a window of a map. Raises ConfigError where a ratio is not a
    number or +inf, where no pose was looked at, or where shapes do not fit."""

    log_ratio: torch.Tensor
    """float32 (K, n, m), natural logarithm; -inf where a pose was not looked at."""

    yaws_rad: np.ndarray
    """(K,) headings, counter-clockwise from east, one step after the other."""

    cell_m: float
    """Side of a cell in metres."""

    west_m: float
    """West border of the window, in metres east of the region's centre."""

    north_m: float
    """North border of the window, in metres north of the region's centre."""

    yaw_step_rad: float | None = None
    """Between one heading and the next; they go all the way round unless given."""

    scale: torch.Tensor | None = None
    """uint8 (K, n, m): which of the searched heights is most probable for a pose, where several
    were searched."""

    levers_m: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    """For each searched height: metres right and ahead from the point below the camera to the
    middle of what it sees. That middle is what a view fixes best; where a tilted camera itself is
    follows from it and the heading."""

    def __post_init__(self) -> None:
        shape = tuple(self.log_ratio.shape)
        if len(shape) != 3 or shape[0] != len(self.yaws_rad) or 0 in shape:
            raise ConfigError(
                f'likelihood ratios {shape} do not fit {len(self.yaws_rad)} headings: they must '
                'be (headings, rows, columns)'
            )
        highest = float(self.log_ratio.max())  # nan where any is
        if not np.isfinite(highest):
            why = 'none of its poses was looked at' if highest == -np.inf else 'NaN or +inf'
            raise ConfigError(f'a likelihood ratio cannot be used: {why}')

    @classmethod
    def of_window(
        cls,
        log_ratio: torch.Tensor,
        yaws_rad: np.ndarray | Sequence[float],
        window: Window,
        map_features: MapFeatures,
        **more: Any,
    ) -> 'PoseLikelihood':
        """The likelihood over a `Window` of `MapFeatures`."""
        cell_m = map_features.cell_m
        west_m = map_features.west_m + window.left * cell_m
        north_m = map_features.north_m - window.top * cell_m
        return cls(log_ratio, np.asarray(yaws_rad, float), cell_m, west_m, north_m, **more)

    def to(self, device: torch.device | str) -> 'PoseLikelihood':
        """The same on a device."""
        scale = None if self.scale is None else self.scale.to(device)
        return replace(self, log_ratio=self.log_ratio.to(device), scale=scale)

    # --- parts of it ---------------------------------------------------------------------------

    @property
    def step_rad(self) -> float:
        """Between one heading and the next, in radians."""
        return self.yaw_step_rad or 2 * pi / len(self.yaws_rad)

    @property
    def is_round(self) -> bool:
        """True where the headings go all the way round."""
        return abs(self.step_rad * len(self.yaws_rad) - 2 * pi) < 1e-6

    @cached_property
    def position(self) -> 'PositionLikelihood':
        """`PositionLikelihood`: the mean of the ratios over headings, each as probable."""
        looked_at = torch.isfinite(self.log_ratio).sum(0).clamp(min=1)
        mean = torch.logsumexp(self.log_ratio, 0) - looked_at.log()
        return PositionLikelihood(mean, self.cell_m, self.west_m, self.north_m)

    def tempered(self, likelihood_exponent: float) -> 'PoseLikelihood':
        """The same with every ratio raised to a power (0..1]: what one of many frames may say."""
        if not 0 < likelihood_exponent <= 1:
            raise ConfigError(
                f'likelihood_exponent is {likelihood_exponent:g}; it must be in 0..1'
            )
        return replace(self, log_ratio=self.log_ratio * likelihood_exponent)

    # --- what it comes to ----------------------------------------------------------------------

    def evidence(self) -> float:
        """log p(view | on this map) - log p(view | elsewhere), every pose that was looked at
        being as probable: above zero, the view speaks for this map."""
        return _log_mean(self.log_ratio)

    def posterior_mass(
        self, prior: torch.Tensor | np.ndarray | None = None, prior_elsewhere: float = 0.0
    ) -> tuple[torch.Tensor, float]:
        """Probabilities of poses, float32 (K, n, m), and of being elsewhere: together they are 1.

        `prior` (n, m) or (K, n, m): weights of poses, of any sum; uniform unless given.
        `prior_elsewhere` (0..1): probability before the view that the camera is not on the map.
        Raises ConfigError where the prior leaves nothing that was looked at.
        """
        log_prior = _log_prior(prior, self.log_ratio)
        joint = self.log_ratio + log_prior
        evidence = float(_log_sum(joint))
        if not np.isfinite(evidence):
            raise ConfigError('the prior leaves no pose of the map that was looked at')
        elsewhere = _elsewhere(evidence, prior_elsewhere)
        return torch.exp(joint - evidence) * (1 - elsewhere), elsewhere

    def heading_marginal(self) -> np.ndarray:
        """Probabilities (K,) of the headings, float64, given that the camera is on the map."""
        rows = torch.stack([_log_sum(plane) for plane in self.log_ratio]).double()
        return torch.softmax(rows, 0).cpu().numpy()

    def best_place(self) -> tuple[float, float, int]:
        """Metres east and north of the region's centre of the middle of the cell with the highest
        ratio at any heading, and the number of its height; see `peaks` for more than that."""
        _, rows, columns = self.log_ratio.shape
        k, at = divmod(int(self.log_ratio.argmax()), rows * columns)
        row, column = divmod(at, columns)
        number = 0 if self.scale is None else int(self.scale[k, row, column])
        east_m = self.west_m + (column + 0.5) * self.cell_m
        return east_m, self.north_m - (row + 0.5) * self.cell_m, number

    def cell_log_ratio(self, region: Region) -> np.ndarray:
        """Log of the mean ratio over each terminal cell of a `Region`, as
        `PositionLikelihood.cell_log_ratio`."""
        return self.position.cell_log_ratio(region)

    def peaks(self, count: int = 10, separation_m: float = 20.0) -> tuple[Peak, ...]:
        """Up to `count` `Peak`s at least `separation_m` apart, highest first."""
        return find_peaks(self, count, separation_m)


@dataclass(frozen=True)
class PositionLikelihood:
    """Likelihood ratios of positions, headings averaged out. Fields as in `PoseLikelihood`."""

    log_ratio: torch.Tensor
    """float32 (n, m), natural logarithm; -inf where no heading was looked at."""

    cell_m: float
    """Side of a cell in metres."""

    west_m: float
    """West border of the window, in metres east of the region's centre."""

    north_m: float
    """North border of the window, in metres north of the region's centre."""

    def evidence(self) -> float:
        """As `PoseLikelihood.evidence`, every position being as probable."""
        return _log_mean(self.log_ratio)

    def cell_log_ratio(self, region: Region) -> np.ndarray:
        """Log of the mean ratio over each terminal cell of a `Region`: float64 (N, N), row 0 in
        the north, N = grid ** depth.

        The mean over the part of a cell that was looked at; 0, a ratio that says nothing, where
        none was. For multiplying with a policy's probabilities of the same cells.
        """
        ratio = self.log_ratio.double().cpu().numpy()
        looked_at = np.isfinite(ratio)
        highest = ratio[looked_at].max()
        # What is 700 nats below the best is zero in double precision.
        weights = np.where(looked_at, np.exp(np.maximum(ratio - highest, -700.0)), 0.0)
        edges = np.linspace(0, region.side_m, region.grid**region.depth + 1)
        rows = self._edges(ratio.shape[0], region.side_m / 2 - self.north_m), edges
        columns = self._edges(ratio.shape[1], region.side_m / 2 + self.west_m), edges
        areas = area_sums(looked_at.astype(float), rows, columns)
        sums = area_sums(weights, rows, columns)
        some = areas > 1e-9 * areas.max(initial=0)
        means = np.where(some, sums, 1.0) / np.where(some, areas, 1.0)
        return np.where(some, np.log(np.maximum(means, 1e-304)) + highest, 0.0)

    def _edges(self, count, first_m):
        return first_m + np.arange(count + 1) * self.cell_m


def combine_scales(
    likelihoods: Iterable[PoseLikelihood | None], log_priors: Iterable[float]
) -> PoseLikelihood:
    """One `PoseLikelihood` of those at several heights: for each pose the mean of the ratios that
    were looked at, weighed by the prior probabilities whose logarithms are `log_priors`. `scale`
    is the number of the most probable height.

    `likelihoods`: an iterable, so that only two need to be in memory; None stands for a height at
    which no pose could be looked at. Raises ConfigError where that is all of them.
    """
    log_priors = list(log_priors)
    if len(log_priors) == 1:
        (only,) = likelihoods
        likelihoods = [only]
        if only is not None:
            return only
    mean = None
    for number, (one, prior) in enumerate(zip(likelihoods, log_priors, strict=True)):
        if one is not None:
            mean = mean or _ScaleMean(one)
            mean.add(one, prior, number)
    if mean is None:
        raise ConfigError(
            'the view fits nowhere on the imagery of the map: the map is smaller than the view, '
            'or has no imagery where it is searched'
        )
    return mean.likelihood()


class _ScaleMean:
    """A weighted mean of likelihood ratios, one height after the other."""

    def __init__(self, first):
        self.first, shape = first, first.log_ratio
        self.total, self.best = (torch.full_like(shape, -torch.inf) for _ in range(2))
        self.weight = torch.zeros_like(shape)
        self.scale = torch.zeros_like(shape, dtype=torch.uint8)
        self.levers = {}

    def add(self, one, prior, number):
        for k, plane in enumerate(one.log_ratio):  # a plane fits a processor's cache, all do not
            weighed, best, total = plane + prior, self.best[k], self.total[k]
            self.scale[k].masked_fill_(weighed > best, number)
            torch.maximum(best, weighed, out=best)
            torch.logaddexp(total, weighed, out=total)
            self.weight[k].add_(torch.isfinite(plane), alpha=exp(prior))
        self.levers[number] = one.levers_m[0]

    def likelihood(self):
        levers = tuple(self.levers.get(n, (0.0, 0.0)) for n in range(max(self.levers) + 1))
        mean = self.total - self.weight.clamp(min=1e-30).log()
        return replace(self.first, log_ratio=mean, scale=self.scale, levers_m=levers)


def probability_elsewhere(evidence: float, prior_elsewhere: float) -> float:
    """Probability (0..1) that the camera is not on the map, after a view with a log `evidence`."""
    return _elsewhere(evidence, prior_elsewhere)


def _elsewhere(evidence, prior):
    if not 0 <= prior <= 1:
        raise ConfigError(f'prior_elsewhere is {prior:g}; it must lie in 0..1')
    if prior in (0, 1):
        return float(prior)
    odds = np.clip(log(prior) - log(1 - prior) - evidence, -700, 700)
    return float(1 / (1 + np.exp(-odds)))


def _log_sum(values):
    """Log of a sum of exponentials: of each row in its own precision, of these in double."""
    return torch.logsumexp(torch.logsumexp(values, -1).double().flatten(), 0)


def _log_mean(values):
    return float(_log_sum(values)) - log(int(torch.isfinite(values).sum()))


def _log_prior(prior, log_ratio):
    """Logarithm of a prior that sums to one over the poses that were looked at."""
    looked_at = torch.isfinite(log_ratio)
    if prior is None:
        return -log(int(looked_at.sum()))
    prior = torch.as_tensor(prior).to(log_ratio)
    if prior.shape not in (log_ratio.shape, log_ratio.shape[1:]):
        raise ConfigError(
            f'a prior of {tuple(prior.shape)} does not fit poses {tuple(log_ratio.shape)}'
        )
    if not (torch.isfinite(prior).all() and (prior >= 0).all()):
        raise ConfigError('weights of a prior must be finite and not negative')
    total = (prior * looked_at).sum(dtype=torch.float64)
    return prior.log() - float(total.log())
