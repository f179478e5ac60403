"""From likelihood ratios of poses to a fix: place, heading, and whether it is this map at all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.fix import Fix, FixCriteria, circular_std_rad, make_fix_from_modes
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.region import Region
from justzoom_ros.registration.likelihood import PoseLikelihood, probability_elsewhere

GAP_M = 5.0
"""Cells up to so far apart are one hypothesis."""

NEGLIGIBLE = 1e-7
"""Mass that may be left out of a posterior: cells beyond it are nowhere near a hypothesis."""

PRIOR_ELSEWHERE = 0.97
"""Probability, before a picture, that it shows nothing of this map: a lens cap, sky, another
town. A picture that speaks for a place outweighs it by far. Chosen on the searches that the match
model was fitted to: with 0.5, 3 of 154 views of other ground would be a fix, from 0.7 on none; of
61 views of the searched ground 46 would with 0.5, and 44 with anything from 0.7 to 0.9. On whole
maps 0.9 still lets pictures of other places pass (docs/registration.md)."""

ELSEWHERE_REASON = 'the picture looks unlike any place of the map'


@dataclass(frozen=True)
class PosePosterior:
    """Where a camera is and which way it faces, after one picture."""

    cells: CellPosterior
    """Over the raster of the registration, given that the camera is on the map."""

    headings: np.ndarray
    """complex128 (N,): of each leaf of `cells` the mean of exp(i yaw), yaw from east."""

    elsewhere: float
    """Probability (0..1) that the picture shows nothing of this map."""

    def fix(self, criteria: FixCriteria | None = None) -> Fix:
        """The `Fix` under some criteria, `FixCriteria()` unless given."""
        here = 1 - self.elsewhere
        modes = [mode.scaled(here) for mode in self.cells.modes(gap_m=GAP_M)]
        fix = make_fix_from_modes(self.cells, modes, criteria, self.elsewhere)
        if fix.reason and self.elsewhere > 0.5:
            fix = replace(fix, reason=ELSEWHERE_REASON)
        yaw, std = self._yaw(modes[0].indices)
        return replace(fix, yaw_rad=yaw, yaw_std_rad=std)

    def _yaw(self, indices: np.ndarray) -> tuple[float, float]:
        """Heading and its deviation over some of the cells."""
        inside = np.isin(self.cells.indices, indices)
        masses = self.cells.masses[inside]
        mean = masses @ self.headings[inside] / max(masses.sum(), 1e-300)
        return float(np.angle(mean)), circular_std_rad(abs(mean))


def pose_posterior(
    windows: Sequence[PoseLikelihood],
    region: Region,
    prior: np.ndarray,
    headings: int,
    prior_elsewhere: float = PRIOR_ELSEWHERE,
) -> PosePosterior:
    """The posterior of the poses in some windows of a map, all others being impossible.

    `prior` (n, n): weights of the cells of the region's raster, of any sum, 0 where there is no
    imagery; each of `headings` is as probable. Windows may overlap; the first one counts. Raises
    ConfigError where the prior leaves nothing that was looked at.
    """
    total = float(prior.sum())
    raster = region.raster(len(prior))
    parts = [_weigh(window, raster, prior / max(total, 1e-300)) for window in windows]
    indices, first = np.unique(np.concatenate([p[0] for p in parts]), return_index=True)
    log_mass, headings_sum = (np.concatenate([p[k] for p in parts])[first] for k in (1, 2))
    highest = log_mass.max(initial=-np.inf)
    if not np.isfinite(highest):
        raise ConfigError('the prior leaves no pose of the map that was looked at')
    masses = np.exp(log_mass - highest)
    evidence = float(np.log(masses.sum()) + highest - np.log(headings))
    kept = _heaviest(masses)
    masses = masses[kept] / masses[kept].sum()
    cells = CellPosterior(raster, np.ones(len(kept), np.int64), indices[kept], masses)
    elsewhere = probability_elsewhere(evidence, prior_elsewhere)
    return PosePosterior(cells, headings_sum[kept], elsewhere)


def _weigh(
    window: PoseLikelihood, raster: Region, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each cell of a window: its index in the raster, the log of ratio times prior summed over
    headings, and the mean of exp(i yaw)."""
    half, side_m = raster.side_m / 2, raster.terminal_side_m
    top = round((half - window.north_m) / side_m)
    left = round((window.west_m + half) / side_m)
    rows, columns = window.log_ratio.shape[1:]
    place = np.arange(top, top + rows)[:, None], np.arange(left, left + columns)
    plane = torch.logsumexp(window.log_ratio, 0)
    shares = torch.exp(window.log_ratio - plane.clamp(min=-1e30)).nan_to_num_(0.0).double()
    yaws = torch.from_numpy(window.yaws_rad).to(shares)
    turned = [torch.einsum('knm,k->nm', shares, part) for part in (yaws.cos(), yaws.sin())]
    with np.errstate(divide='ignore'):
        log_mass = plane.double().cpu().numpy() + np.log(prior[place])
    index = place[0] * raster.grid + place[1]
    mean = turned[0].cpu().numpy() + 1j * turned[1].cpu().numpy()
    return index.ravel(), log_mass.ravel(), mean.ravel()


def _heaviest(masses: np.ndarray) -> np.ndarray:
    """Numbers of those that hold all but a negligible share of the masses (N,), ascending."""
    some = np.flatnonzero(masses > NEGLIGIBLE * 1e-3 * masses.max())
    order = some[np.argsort(-masses[some])]
    count = int(np.searchsorted(np.cumsum(masses[order]), (1 - NEGLIGIBLE) * masses.sum())) + 1
    return np.sort(order[:count])
