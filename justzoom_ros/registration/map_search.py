"""Large maps: the search in tiles, and from coarse to fine.

Nothing of the size of all headings times all cells is kept: of each cell only the mean over
headings and heights and the best of them. Round the highest places the search is then repeated in
small windows with all that a `PoseLikelihood` knows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.region import Region
from justzoom_ros.registration.correlation import TILE, background_of, tiles_of
from justzoom_ros.registration.likelihood import PoseLikelihood, PositionLikelihood
from justzoom_ros.registration.map_features import MapFeatures, Window
from justzoom_ros.registration.peaks import Peak, highest_places
from justzoom_ros.registration.search import View

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is to do."""

BACKGROUND_TILES = 9
"""The scores of so many tiles, evenly spread, tell how high other places of a map score."""

BACKGROUND_HEADINGS = 6
"""At most so many headings, evenly spread, are scored for that."""

REFINED_HEADINGS = 2
"""Round the places that were found, so many headings to either side are looked at again."""


@dataclass(frozen=True)
class MapSearch:
    """What a search of a large map found."""

    position: PositionLikelihood
    """Likelihood ratios of all places that were looked at, -inf elsewhere; in coarse cells after
    a search from coarse to fine."""

    windows: tuple[PoseLikelihood, ...]
    """Windows at full resolution round the highest places, only near their best headings."""

    def peaks(self, count: int = 10, separation_m: float = 20.0) -> tuple[Peak, ...]:
        """Up to `count` `Peak`s of the windows, at least `separation_m` apart, highest first."""
        found = [peak for one in self.windows for peak in one.peaks(count, separation_m)]
        found.sort(key=lambda peak: -peak.log_ratio)
        kept: list[Peak] = []
        for peak in found:
            if all(_distance(peak, other) >= separation_m for other in kept):
                kept.append(peak)
        return tuple(kept[:count])

    def evidence(self) -> float:
        """As `PoseLikelihood.evidence`, over all that was looked at."""
        return self.position.evidence()

    def cell_log_ratio(self, region: Region) -> np.ndarray:
        """As `PoseLikelihood.cell_log_ratio`."""
        return self.position.cell_log_ratio(region)


def search_tiles(
    view: View,
    map_features: MapFeatures,
    where: np.ndarray | None = None,
    progress: Progress | None = None,
    places: int = 5,
    tile: int = TILE,
) -> MapSearch:
    """The `MapSearch` of a `View` over every cell of a map, tile by tile, and in windows round the
    highest `places`.

    `where`: bool (N, M), a picture of the map of any resolution, True where to look (a policy's
    prior, say); everywhere unless given. `progress(done, total)` is called after each tile.
    Raises ConfigError where there is no imagery to look at, or none on which the view fits.
    """
    windows = tiles_to_search(map_features, where, tile)
    view.backgrounds = _backgrounds(view, map_features, windows)
    position, best = _search(view, map_features, windows, progress)
    return MapSearch(position, _refined(view, map_features, position, best, places))


def search_coarse_to_fine(
    view: View,
    map_features: MapFeatures,
    coarse: MapFeatures | None = None,
    factor: int = 4,
    where: np.ndarray | None = None,
    progress: Progress | None = None,
    places: int = 20,
    tile: int = TILE,
) -> MapSearch:
    """As `search_tiles`, but in cells `factor` times as wide, and at full resolution only round
    the highest `places` of these: about `factor` squared times as fast, and as good as long as the
    right place is among them.

    `coarse`: `map_features.pooled(factor)`, where it is kept. The ratios of coarse cells are those
    of coarse features, which know less.
    """
    coarse = coarse or map_features.pooled(factor)
    windows = tiles_to_search(coarse, where, tile)
    view.backgrounds = _backgrounds(view, coarse, windows)
    position, best = _search(view, coarse, windows, progress)
    windows = tiles_to_search(map_features, where, tile)
    view.backgrounds = _backgrounds(view, map_features, windows)
    return MapSearch(position, _refined(view, map_features, position, best, places))


def tiles_to_search(
    map_features: MapFeatures, where: np.ndarray | None = None, tile: int = TILE
) -> list[Window]:
    """Tiles of a map that have imagery and touch a True of `where` (N, M), a picture of the whole
    map of any resolution. Raises ConfigError where there are none."""
    windows = tiles_of(map_features.window, tile)
    windows = [w for w in windows if map_features.mask[w.slices].any()]
    if where is not None:
        where = np.asarray(where, bool)
        windows = [w for w in windows if where[_scaled(w, map_features.shape, where.shape)].any()]
    if not windows:
        raise ConfigError('there is no imagery where the map is to be searched')
    return windows


def _scaled(window, shape, other):
    """Slices of a picture of another shape that hold a window."""
    spans = []
    for part, length, to in zip(window.slices, shape, other, strict=True):
        spans.append(slice(part.start * to // length, -(-min(part.stop, length) * to // length)))
    return tuple(spans)


def _backgrounds(view, map_features, windows):
    """Mean and deviation of the scores of other places, for each height."""
    numbers = np.linspace(0, len(windows) - 1, min(len(windows), BACKGROUND_TILES)).round()
    some = [windows[int(number)] for number in numbers]
    every = -(-len(view.yaws_rad) // BACKGROUND_HEADINGS)
    few = view.turned_to(view.yaws_rad[::every], view.yaw_step_rad * every)
    return [
        background_of(sum(one.sums() for one in few.correlate_tiles(map_features, some, number)))
        for number in range(len(view.candidates))
    ]


def _search(view, map_features, windows, progress):
    """`PositionLikelihood`, and (n, m) the number of each cell's best heading."""
    mean = map_features.mask.new_full(map_features.shape, -torch.inf)
    highest, best = mean.clone(), torch.zeros_like(mean, dtype=torch.int16)
    total = len(windows) * len(view.candidates)
    done = 0
    for number, prior in enumerate(view.log_priors):
        for correlation in view.correlate_tiles(map_features, windows, number):
            ratio = view.log_ratio(correlation, number)
            at = correlation.window.slices
            mean[at] = torch.logaddexp(mean[at], _mean_over_headings(ratio) + prior)
            top, heading = ratio.max(0)
            best[at] = torch.where(top + prior > highest[at], heading.to(best.dtype), best[at])
            highest[at] = torch.maximum(highest[at], top + prior)
            done += 1
            if progress:
                progress(done, total)
    if not torch.isfinite(mean).any():
        raise ConfigError('the view fits nowhere on the imagery of the map where it was searched')
    sides = map_features.cell_m, map_features.west_m, map_features.north_m
    return PositionLikelihood(mean, *sides), best


def _mean_over_headings(ratio):
    looked_at = torch.isfinite(ratio).sum(0).clamp(min=1)
    return torch.logsumexp(ratio, 0) - looked_at.log()


def _refined(view, map_features, position, best, places):
    """`PoseLikelihood`s of windows round the highest places of a search."""
    cell_m, step = position.cell_m, view.yaw_step_rad
    reach_m = max(3 * cell_m, 5 * map_features.cell_m)
    steps = np.arange(-REFINED_HEADINGS, REFINED_HEADINGS + 1) * step
    found = []
    for row, column in highest_places(position.log_ratio.cpu().numpy(), places, reach_m / cell_m):
        east_m = position.west_m + (column + 0.5) * cell_m
        window = map_features.window_around(
            east_m, position.north_m - (row + 0.5) * cell_m, reach_m
        )
        yaws = view.yaws_rad
        if len(yaws) > len(steps):
            yaws = yaws[int(best[row, column])] + steps
        near = view.turned_to(yaws, step)
        found.append(near.register(map_features, window, view.backgrounds))
    return tuple(found)


def _distance(one, other):
    return np.hypot(one.east_m - other.east_m, one.north_m - other.north_m)
