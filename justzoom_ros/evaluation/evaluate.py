"""How good a localizer is on images with known positions, one place at a time.

Of a policy each image is encoded once; every search then makes its own posterior from that, or
from all views of a place. A registration makes one of each image and what is known of its camera.
The protocol is the full grid: all terminal cells with imagery compete, as they do for a robot; or,
as in retrieval benchmarks, occupied cells only: those in which an image was taken.

Three positions are compared with the truth. The *guess* is the place of greatest density, right
or wrong: of a policy the centre of the most probable terminal cell, as in the published results,
of a registration its heaviest peak. The *point* has most mass within NEAR_M. The *fix* is what a
robot gets: the mean of one hypothesis, or in doubt the mean of everything, with a covariance to
match.
Whatever is said of cells is said of the map's terminal cells, over which finer posteriors are
summed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from justzoom_ros.errors import ConfigError, DatasetError, ImageError, OutsideRegionError
from justzoom_ros.evaluation import metrics
from justzoom_ros.evaluation.image_camera import CameraKnowledge
from justzoom_ros.inference.fix import Fix, FixCriteria, FixStatus, make_fix
from justzoom_ros.inference.multi_view import Mount, fuse_posteriors, overlap_weights
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.inference.tree_search import SearchConfig
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.localizer import Localizer
from justzoom_ros.radii import NEAR_M
from justzoom_ros.region import Region
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.image_columns import heading_of

Place = GeoImage | tuple[GeoImage, ...]
"""An image, or the views of a rig."""

Results = dict[str, list['Result']]
"""Results of all places under each search or method."""

Watch = Callable[[str, GeoImage, Fix], None]
"""Told of each fix while it has its posterior: under which search, the place's first image, it."""

SEARCHES = ('greedy', 'beam', 'exact')
"""Searches of a policy that are compared unless others are asked for."""


class Searcher(Protocol):
    """What a policy, or a baseline in its place, is asked for."""

    def embed(self, image_rgb: np.ndarray) -> Any:
        """Ground embedding of a camera image, uint8 (H, W, 3) RGB."""

    def posterior(self, image: Any, search_config: SearchConfig) -> CellPosterior:
        """The posterior of an image's embedding."""


@dataclass(frozen=True)
class Result:
    """One place under one search. Positions are metres east and north of the region's centre."""

    image: GeoImage
    """The place's first image."""

    fix: Fix
    """Without its posterior, which would fill the memory over a large dataset."""

    truth_m: np.ndarray
    """True position (2,)."""

    guess_m: np.ndarray
    """Place (2,) of greatest density."""

    point_m: np.ndarray
    """Where most mass is near (2,)."""

    guess_latitude: float
    """Of the guess, degrees."""

    guess_longitude: float
    """Of the guess, degrees."""

    cell_hit: bool
    """The most probable terminal cell is the true one."""

    fix_cell_hit: bool
    """The fix lies in the true one."""

    truth_mass: float
    """Mass of the true terminal cell, given that the camera is on the map."""

    held: dict[float, bool]
    """{mass: whether the smallest region of that mass holds the truth}."""

    mass_near: float
    """Mass within NEAR_M of the guess."""

    heading_error_rad: float | None = None
    """Of the fix, 0..pi; None where it has no heading or the true one is not known."""

    @property
    def fix_m(self) -> np.ndarray:
        """Position of the fix (2,)."""
        return np.array([self.fix.east_m, self.fix.north_m])

    @property
    def guess_error_m(self) -> float:
        """Distance of the guess from the truth."""
        return float(np.hypot(*(self.guess_m - self.truth_m)))


# --- datasets ----------------------------------------------------------------------------------


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


def rigs(images: Iterable[GeoImage], count: int) -> list[tuple[GeoImage, ...]]:
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


def occupied_cells(images: Iterable[GeoImage], region: Region) -> np.ndarray:
    """Cell indices of the terminal cells in which the images were taken."""
    positions = np.array([(image.latitude, image.longitude) for image in images])
    return np.unique(region.cell_index(region.encode_enu(*region.to_enu(*positions.T))))


# --- evaluation --------------------------------------------------------------------------------


def evaluate(
    localizer: Localizer,
    places: Iterable[Place],
    searches: Iterable[str] = SEARCHES,
    progress: Callable[[Any], Iterable[Any]] = iter,
    occupied: np.ndarray | None = None,
    knowledge: CameraKnowledge | None = None,
    watch: Watch | None = None,
) -> Results:
    """The `Result`s of every place: of a policy under each of its searches, of a localizer with
    registration under the name of its method, of one with both under all of these.

    A place is a GeoImage or a tuple of them, the views of a rig (see `rigs`). `progress` wraps the
    places, as tqdm does. `occupied`: cell indices of the terminal cells that alone can be; the
    search must then be exact. `knowledge`: what registration knows of the cameras beside their
    images' columns. `watch` is told of each fix.

    Raises OutsideRegionError, naming the row, for an image taken outside the region, DatasetError
    for a corrupt one or one whose scale is not known, ConfigError for an unknown search.
    """
    groups = [place if isinstance(place, tuple) else (place,) for place in places]
    inside([image for group in groups for image in group], localizer.region)
    results: Results = {}
    if localizer.zoom:
        results = search_places(
            localizer.zoom, localizer.criteria, groups, searches, progress, occupied, watch
        )
    if localizer.registrar:
        results[localizer.method] = register_places(
            localizer, groups, knowledge or CameraKnowledge(localizer.camera), progress, watch
        )
    return results


def search_places(
    searcher: Searcher,
    criteria: FixCriteria,
    places: Sequence[tuple[GeoImage, ...]],
    searches: Iterable[str],
    progress: Callable[[Any], Iterable[Any]] = iter,
    occupied: np.ndarray | None = None,
    watch: Watch | None = None,
) -> Results:
    """The `Result`s of a policy, or of the contrastive baseline; as `evaluate`."""
    configs = {name: SearchConfig(method=name) for name in searches}
    results: Results = {name: [] for name in configs}
    for place in progress(places):
        grounds = [searcher.embed(image.load()) for image in place]
        weights = overlap_weights([mount_of(image) for image in place]) if len(place) > 1 else None
        for name, config in configs.items():
            posteriors = [searcher.posterior(ground, config) for ground in grounds]
            posterior = fuse_posteriors(posteriors, weights)
            posterior = posterior if occupied is None else posterior.among(occupied)
            fix = make_fix(posterior, criteria)
            results[name].append(score(place[0], fix, posterior.region))
            if watch:
                watch(name, place[0], fix)
    return results


def register_places(
    localizer: Localizer,
    places: Sequence[tuple[GeoImage, ...]],
    knowledge: CameraKnowledge,
    progress: Callable[[Any], Iterable[Any]] = iter,
    watch: Watch | None = None,
) -> list[Result]:
    """The `Result`s of a localizer with registration, each place with what is known of its
    cameras. Of several views all count where they look ahead, else the first. Raises DatasetError
    naming the image that cannot be used."""
    knowledge.require_cameras([image for place in places for image in place])
    results = []
    for place in progress(places):
        fix = locate_place(localizer, place, knowledge)
        results.append(score(place[0], fix, localizer.region))
        if watch:
            watch(localizer.method, place[0], fix)
    return results


def looks_ahead(localizer: Localizer) -> bool:
    """True where registration is of cameras that look ahead."""
    return localizer.camera is not None and localizer.camera.ahead


def locate_place(
    localizer: Localizer, place: tuple[GeoImage, ...], knowledge: CameraKnowledge
) -> Fix:
    """The `Fix` of the views of a rig: of all where they look ahead, else of the first. Raises
    DatasetError naming the row where one cannot be used."""
    if len(place) > 1 and looks_ahead(localizer):
        return _locate_rig(localizer, place, knowledge)
    return locate_image(localizer, place[0], knowledge)


def _locate_rig(
    localizer: Localizer, place: tuple[GeoImage, ...], knowledge: CameraKnowledge
) -> Fix:
    """The `Fix` of views that look ahead, their tilts unknown."""
    mounts = [mount_of(image) for image in place]
    first = mounts[0].heading_rad
    turned = [replace(mount, heading_rad=mount.heading_rad - first) for mount in mounts]
    state = replace(knowledge.state_of(place[0]), camera=Camera(ahead=True), tilt=None)
    try:
        return localizer.locate_rig([image.load() for image in place], turned, state=state)
    except (ConfigError, ImageError) as error:
        raise DatasetError(f'{place[0].row}: {error}') from error


def locate_image(localizer: Localizer, image: GeoImage, knowledge: CameraKnowledge) -> Fix:
    """The `Fix` of an image with what is known of its camera. Raises DatasetError naming the row
    where it cannot be used."""
    known, pixels = knowledge.state_of(image), image.load()
    try:
        heading = known.yaw_rad, known.yaw_std_rad
        return localizer.locate(pixels, known.camera, *heading, tilt=known.tilt)
    except (ConfigError, ImageError) as error:
        raise DatasetError(f'{image.row}: {error}') from error


def score(image: GeoImage, fix: Fix, region: Region) -> Result:
    """The `Result` of a fix over the terminal cells of a region: a finer posterior is summed over
    them, and gives its heaviest peak as the guess. Cells are those of the map, which may be off
    (`fix.map_offset_m`); positions are true ones."""
    fine = fix.require_posterior()
    same = fine.region == region
    cells = fine if same else fine.coarsen(region)
    offset_m = np.array(fix.map_offset_m)
    truth_m = np.array(region.to_enu(image.latitude, image.longitude))
    shown_m, fix_m = truth_m - offset_m, (fix.east_m, fix.north_m) - offset_m
    true_cell = _terminal_cell(region, shown_m)
    place_m = _cell_guess(fine) if same else _peak_guess(fine, fix, fix_m)
    (east_m, north_m), (place_east_m, place_north_m) = shown_m.tolist(), place_m.tolist()
    guess_m = place_m + offset_m
    guess_latitude, guess_longitude = region.to_latlon(*guess_m.tolist())
    return Result(
        image=image,
        fix=replace(fix, posterior=None),
        truth_m=truth_m,
        guess_m=guess_m,
        point_m=cells.best_point(NEAR_M) + offset_m,
        guess_latitude=guess_latitude,
        guess_longitude=guess_longitude,
        cell_hit=cells.best_cell.actions == true_cell,
        fix_cell_hit=_terminal_cell(region, fix_m) == true_cell,
        truth_mass=_mass_at(cells, shown_m),
        held={mass: cells.holds(east_m, north_m, mass) for mass in metrics.MASSES},
        mass_near=fine.mass_within(place_east_m, place_north_m, NEAR_M) * (1 - fix.off_map),
        heading_error_rad=_heading_error_rad(image, fix),
    )


def _cell_guess(cells: CellPosterior) -> np.ndarray:
    best = cells.best_cell
    return np.array([best.east_m, best.north_m])


def _peak_guess(fine: CellPosterior, fix: Fix, fix_m: np.ndarray) -> np.ndarray:
    """Place (2,) of the heaviest peak on the map: that of the fix, `fix_m`, which is finer than a
    cell, or, where there is none, the densest cell of the heaviest hypothesis."""
    if fix.status is FixStatus.FIX:
        return fix_m
    within = fine.modes()[0].indices
    best = int(np.argmax(np.where(np.isin(fine.indices, within), fine.masses, -1.0)))
    return fine.centers_m[best]


def _terminal_cell(region: Region, position_m: np.ndarray) -> tuple[int, ...]:
    """The actions to the terminal cell of a position (2,), of the nearest one from beyond the
    border: a peak may lie half a cell outside."""
    inside_m = np.clip(position_m, -region.side_m / 2, region.side_m / 2)
    return tuple(region.encode_enu(*inside_m).tolist())


def _mass_at(posterior: CellPosterior, position_m: np.ndarray) -> float:
    """Mass of the terminal cell at a position, an unexplored leaf counted as uniform inside."""
    leaf = posterior.leaf_at(*position_m.tolist())
    if leaf < 0:
        return 0.0
    return float(posterior.masses[leaf] / posterior.region.terminal_count(posterior.levels[leaf]))


def _heading_error_rad(image: GeoImage, fix: Fix) -> float | None:
    if fix.yaw_rad is None or 'heading_deg' not in image.columns:
        return None
    truth_rad = heading_of(image)
    return None if truth_rad is None else metrics.angle_rad(fix.yaw_rad, truth_rad)
