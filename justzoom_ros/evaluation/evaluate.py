"""How good a localizer is on images with known positions, one place at a time.

Each image is encoded once; every search then makes its own posterior from that, or from all views
of a place. The protocol is the full grid: all terminal cells with imagery compete, as they do for
a robot; or, as in retrieval benchmarks, occupied cells only: those in which an image was taken.

Three positions are compared with the truth. The *guess* is the centre of the most probable
terminal cell, right or wrong, as in the published results. The *point* has most mass within
NEAR_M. The *fix* is what a robot gets: the mean of one hypothesis, or in doubt the mean of
everything, with a covariance to match.
"""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from justzoom_ros.errors import DatasetError, OutsideRegionError
from justzoom_ros.evaluation import metrics
from justzoom_ros.files import output_folder, write_json, writing
from justzoom_ros.inference.fix import Fix, FixCriteria, make_fix
from justzoom_ros.inference.multi_view import Mount, fuse_posteriors, overlap_weights
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.inference.tree_search import SearchConfig
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.localizer import Localizer
from justzoom_ros.plots.figures import Mark
from justzoom_ros.plots.fixes import Panel, draw_errors, draw_frames
from justzoom_ros.radii import NEAR_M, RECALL_RADII_M
from justzoom_ros.region import Region

CSV_COLUMNS = (
    *('search', 'id', 'truth_latitude', 'truth_longitude', 'latitude', 'longitude', 'error_m'),
    *('guess_latitude', 'guess_longitude', 'guess_error_m', 'cell_hit', 'status', 'reason'),
    *('confidence', 'radius_90_m', 'truth_mass', 'truth_in_90_region', 'truth_in_90_ellipse'),
)


Place = tuple[GeoImage, ...]
"""The views of a rig at one place."""


class Evaluated(Protocol):
    """What is asked of a `Localizer`, or of another method in its place."""

    criteria: FixCriteria

    @property
    def region(self) -> Region:
        """The square of the earth that is searched."""

    def embed(self, image_rgb: np.ndarray) -> Any:
        """What an image, uint8 (H, W, 3) RGB, is encoded as."""

    def posterior(self, image: Any, search_config: SearchConfig | None = None) -> CellPosterior:
        """The posterior of an encoded image."""


@dataclass(frozen=True)
class Result:
    """One place under one search: what was found and how it compares. Positions are metres east
    and north of the region's centre."""

    image: GeoImage
    """The (first) image."""

    fix: Fix
    """Without the posterior, which would fill the memory over a large dataset."""

    truth_m: np.ndarray
    """True position (2,)."""

    guess_m: np.ndarray
    """Centre (2,) of the most probable terminal cell."""

    point_m: np.ndarray
    """Point (2,) with most mass within NEAR_M."""

    guess_latitude: float
    """Of the guess, degrees."""

    guess_longitude: float
    """Of the guess, degrees."""

    cell_hit: bool
    """The most probable terminal cell is the true one."""

    fix_cell_hit: bool
    """The terminal cell that the fix lies in is the true one."""

    truth_mass: float
    """Mass of the true terminal cell."""

    held: dict[float, bool]
    """{mass: whether the smallest region of that mass holds the truth}."""

    mass_near: float
    """Mass within NEAR_M of the guess."""

    @property
    def fix_m(self) -> np.ndarray:
        """Position of the fix (2,)."""
        return np.array([self.fix.east_m, self.fix.north_m])

    @property
    def guess_error_m(self) -> float:
        """Distance of the guess from the truth."""
        return float(np.hypot(*(self.guess_m - self.truth_m)))


def inside(
    images: Sequence[GeoImage], region: Region, skip_outside: bool = False
) -> list[GeoImage]:
    """The images that were taken inside the region; unless the others are to be left out, the
    first of them is an OutsideRegionError naming its row."""
    positions = np.array([(image.latitude, image.longitude) for image in images]).reshape(-1, 2)
    flags = np.asarray(region.contains(*positions.T))
    if not flags.all() and not skip_outside:
        first = images[int(np.argmin(flags))]
        raise OutsideRegionError(
            f'{first.row}: {first.id} at {first.latitude}, {first.longitude} is outside the map '
            f'({np.sum(~flags)} of {len(images)} are); --skip-outside leaves them out'
        )
    return [image for image, flag in zip(images, flags, strict=True) if flag]


def evaluate(
    localizer: Evaluated,
    places: Iterable[GeoImage | Place],
    searches: Iterable[str] = ('greedy', 'beam', 'exact'),
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    occupied: np.ndarray | None = None,
) -> dict[str, list[Result]]:
    """{search: [Result per place]}. A place is a GeoImage or a tuple of them, the views of a rig
    (see `rigs`). `progress` wraps the places, as tqdm does. `occupied`: path indices of the
    terminal cells that alone can be; the search must then be exact.

    Raises OutsideRegionError, naming the row, for an image taken outside the region, DatasetError
    for a corrupt one, ConfigError for an unknown search.
    """
    configs = {name: SearchConfig(method=name) for name in searches}
    results: dict[str, list[Result]] = {name: [] for name in configs}
    views = [place if isinstance(place, tuple) else (place,) for place in places]
    inside([image for place in views for image in place], localizer.region)
    for place in progress(views):
        grounds = [localizer.embed(image.load()) for image in place]
        weights = overlap_weights([mount_of(image) for image in place]) if len(place) > 1 else None
        for name, config in configs.items():
            posteriors = [localizer.posterior(ground, config) for ground in grounds]
            posterior = fuse_posteriors(posteriors, weights)
            posterior = posterior if occupied is None else posterior.among(occupied)
            results[name].append(_result(place[0], make_fix(posterior, localizer.criteria)))
    return results


def rigs(images: Iterable[GeoImage], count: int) -> list[Place]:
    """The first `count` cameras of every place, tuples of GeoImage, by the columns `place` and
    `camera` that `justzoom city` writes. Raises DatasetError where a place has fewer."""
    places: dict[tuple[str, str], list[GeoImage]] = {}
    for image in images:
        if not all(image.columns.get(c) for c in ('split', 'place', 'camera')):
            raise DatasetError(
                f'{image.row} has no place and camera: views cannot be put together'
            )
        key = image.columns['split'], image.columns['place']
        places.setdefault(key, []).append(image)
    for found in places.values():
        found.sort(key=lambda image: int(image.columns['camera']))
        if len(found) < count:
            raise DatasetError(
                f'{found[0].row}: the place has {len(found)} views, not {count}; generate the '
                f'city with --cameras {count}'
            )
    return [tuple(found[:count]) for found in places.values()]


def mount_of(image: GeoImage) -> Mount:
    """The `Mount` of a GeoImage by its columns `heading_deg` (clockwise from north) and `fov_deg`.
    Raises DatasetError where they are no numbers."""
    try:
        heading, fov = (float(image.columns[c]) for c in ('heading_deg', 'fov_deg'))
        return Mount(np.radians(-heading), np.radians(fov))
    except (KeyError, ValueError) as error:
        raise DatasetError(f'{image.row} has no heading_deg and fov_deg') from error


def occupied_cells(images: Sequence[GeoImage], region: Region) -> np.ndarray:
    """Indices of the terminal cells in which the images were taken."""
    positions = np.array([(image.latitude, image.longitude) for image in images])
    return np.unique(region.cell_index(region.encode_enu(*region.to_enu(*positions.T))))


def _result(image: GeoImage, fix: Fix) -> Result:
    posterior = fix.require_posterior()
    region = posterior.region
    truth = region.to_enu(image.latitude, image.longitude)
    true_cell = region.encode(image.latitude, image.longitude)
    best = posterior.best_cell
    return Result(
        image=image,
        fix=replace(fix, posterior=None),
        truth_m=np.array(truth),
        guess_m=np.array([best.east_m, best.north_m]),
        point_m=posterior.best_point(NEAR_M),
        guess_latitude=best.latitude,
        guess_longitude=best.longitude,
        cell_hit=best.actions == true_cell,
        fix_cell_hit=tuple(region.encode_enu(fix.east_m, fix.north_m)) == true_cell,
        truth_mass=_mass_at(posterior, np.array(truth)),
        held={mass: posterior.holds(*truth, mass) for mass in metrics.MASSES},
        mass_near=posterior.mass_within(best.east_m, best.north_m, NEAR_M),
    )


def _mass_at(posterior: CellPosterior, position_m: np.ndarray) -> float:
    """Mass of the terminal cell at a position, an unexplored leaf counted as uniform inside."""
    leaf = posterior.leaf_at(*position_m)
    if leaf < 0:
        return 0.0
    return float(posterior.masses[leaf] / posterior.region.terminal_count(posterior.levels[leaf]))


# --- figures -----------------------------------------------------------------------------------


def summarize(results: Sequence[Result]) -> dict[str, Any]:
    """The figures of one search's Results as a dictionary for JSON.

    recall_cell, recall_10m ... and median_m, p90_m are those of the guess; those of the position
    of the fix are under `fix_position`, over all images, and under `fix_only`, over the sure ones.
    """
    truths = np.array([r.truth_m for r in results]).reshape(-1, 2)
    guesses = np.array([r.guess_m for r in results]).reshape(-1, 2)
    near = metrics.errors_m(truths, guesses) <= NEAR_M
    figures = {
        **metrics.summary(truths, guesses, [r.cell_hit for r in results]),
        'nll_nats': metrics.nll_nats([r.truth_mass for r in results]),
        **{
            f'coverage_{100 * mass:.0f}': metrics.share([r.held[mass] for r in results])
            for mass in metrics.MASSES
        },
        'ece_50m': metrics.ece([r.mass_near for r in results], near),
        'share_fix': metrics.share([r.fix.status == 'fix' for r in results]),
        'point': _point_figures(truths, results),
        'fix_position': _fix_figures(results),
        'fix_only': _fix_figures([r for r in results if r.fix.status == 'fix']),
    }
    return metrics.without_nan(figures)


def _point_figures(truths: np.ndarray, results: Sequence[Result]) -> dict[str, float]:
    errors_m = metrics.errors_m(truths, np.array([r.point_m for r in results]).reshape(-1, 2))
    near = metrics.recalls(errors_m)
    return {f'recall_{radius}m': value for radius, value in near.items()}


def _fix_figures(results: Sequence[Result]) -> dict[str, Any]:
    truths = np.array([r.truth_m for r in results]).reshape(-1, 2)
    fixes = np.array([r.fix_m for r in results]).reshape(-1, 2)
    covariances = [r.fix.covariance_m2 for r in results]
    hits = [r.fix_cell_hit for r in results]
    return metrics.without_nan(metrics.fix_summary(truths, fixes, covariances, hits))


# --- results -----------------------------------------------------------------------------------


def write_results(
    out: str | Path, results: dict[str, list[Result]], about: dict[str, Any]
) -> dict[str, Any]:
    """Write summary.json (`about` and the figures of each search) and per_image.csv into the
    folder `out`; returns the summary. Raises OutputError."""
    folder = output_folder(out)
    summary = {**about, 'searches': {name: summarize(r) for name, r in results.items()}}
    write_json(folder / 'summary.json', summary)
    with writing(folder / 'per_image.csv') as temporary, temporary.open('w', newline='') as file:
        writer = csv.DictWriter(file, CSV_COLUMNS)
        writer.writeheader()
        for name, items in results.items():
            writer.writerows(_csv_row(name, item) for item in items)
    return summary


def _csv_row(search: str, result: Result) -> dict[str, Any]:
    image, fix = result.image, result.fix
    in_ellipse = metrics.in_ellipses(result.truth_m, result.fix_m, fix.covariance_m2)
    return {
        'search': search,
        'id': image.id,
        'truth_latitude': image.latitude,
        'truth_longitude': image.longitude,
        'latitude': fix.latitude,
        'longitude': fix.longitude,
        'error_m': float(np.hypot(*(result.fix_m - result.truth_m))),
        'guess_latitude': result.guess_latitude,
        'guess_longitude': result.guess_longitude,
        'guess_error_m': result.guess_error_m,
        'cell_hit': result.cell_hit,
        'status': fix.status,
        'reason': fix.reason,
        'confidence': fix.confidence,
        'radius_90_m': fix.radius_90_m,
        'truth_mass': result.truth_mass,
        'truth_in_90_region': result.held[0.9],
        'truth_in_90_ellipse': bool(in_ellipse[0]),
    }


def draw(
    out: Path, localizer: Localizer, results: dict[str, list[Result]], frames: int = 0
) -> None:
    """Draw errors.png, the errors of the guesses of all searches, and, with `frames`, frames.png:
    that many images with their posteriors under the last search, largest error first."""
    errors_m = {name: [r.guess_error_m for r in items] for name, items in results.items()}
    draw_errors(errors_m, out / 'errors.png', 'Distance of the best guess from the truth')
    if not frames:
        return
    search = list(results)[-1]
    worst = sorted(results[search], key=lambda result: -result.guess_error_m)[:frames]
    draw_frames(localizer.map, [_panel(localizer, r, search) for r in worst], out / 'frames.png')


def _panel(localizer: Localizer, result: Result, search: str) -> Panel:
    image, fix = result.image.load(), result.fix
    masses = localizer.posterior(image, SearchConfig(method=search)).to_grid()
    mark = Mark(result.fix_m, fix.covariance_m2, fix.status, result.truth_m)
    title = f'{result.image.id}: {fix.status.replace("_", " ")}, confidence {fix.confidence:.2f}, '
    return Panel(f'{title}best guess {result.guess_error_m:.0f} m off', image, masses, mark)


def table(summary: dict[str, Any]) -> str:
    """The summary as lines of text: for each search a row for the guess and one for the fix."""
    radii = [f'{radius}m' for radius in RECALL_RADII_M]
    names = ['R@1', *(f'R@{radius}' for radius in radii), 'median', 'p90', 'in 90%', 'fixes']
    lines = [summary['protocol'], ' ' * 20 + ''.join(name.rjust(9) for name in names)]
    for search, guess in summary['searches'].items():
        fix = guess['fix_position']
        inside = guess['coverage_90'], fix['coverage_90_ellipse']
        for name, figures, held in (('guess', guess, inside[0]), ('fix', fix, inside[1])):
            shares = [figures[key] for key in ('recall_cell', *(f'recall_{r}' for r in radii))]
            cells = [_percent(share) for share in shares]
            cells += [f'{figures[key]:.1f} m' for key in ('median_m', 'p90_m')]
            cells += [_percent(held), _percent(guess['share_fix'])]
            lines.append(f'{search} {name}'.ljust(20) + ''.join(cell.rjust(9) for cell in cells))
    return '\n'.join(lines)


def _percent(share: float) -> str:
    return f'{100 * share:.1f} %'


def reliability_curve(
    results: Sequence[Result],
) -> tuple[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(label, curve) of the results of one search: how sure of the 50 m round the guess against
    how often the truth is there, as `metrics.reliability` gives it, with ECE and NLL in words."""
    sure = [r.mass_near for r in results]
    right = [r.guess_error_m <= NEAR_M for r in results]
    nll = metrics.nll_nats([r.truth_mass for r in results])
    label = f'ECE {metrics.ece(sure, right):.3f}, NLL {nll:.2f} nats'
    return label, metrics.reliability(sure, right)
