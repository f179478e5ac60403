"""Several methods on one dataset, side by side: the table of the benchmark.

One row per method, search and number of views, for each split; every figure as `evaluate` defines
it. `methods.py` has the methods.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.errors import ConfigError, DatasetError
from justzoom_ros.evaluation.evaluate import inside, occupied_cells, rigs
from justzoom_ros.evaluation.evaluate_results import percent
from justzoom_ros.evaluation.image_camera import CameraKnowledge
from justzoom_ros.evaluation.methods import (
    SIFT,
    TIMED,
    Figures,
    Method,
    Places,
    open_method,
)
from justzoom_ros.files import write_json
from justzoom_ros.io.datasets import GeoImage, read_images
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.plots.learning_curves import draw_curves
from justzoom_ros.radii import NEAR_M, RECALL_RADII_M
from justzoom_ros.region import Region
from justzoom_ros.registration.camera import Camera
from justzoom_ros.training.history import read_history

SPLITS = ('val', 'blocks', 'other_city')
IMAGES = 'images'
"""Split of a dataset that has none: a CSV or a folder of images."""


@dataclass(frozen=True)
class CompareConfig:
    """What a table is made of."""

    splits: tuple[str, ...] = SPLITS
    """Of a dataset of streets."""

    views: tuple[int, ...] = (1, 2, 4)
    """Numbers of views of a place, of a dataset of streets; several are searched exactly."""

    occupied: bool = False
    """Whether only cells in which an image was taken can be."""

    limit: int | None = None
    """At most so many places of a split."""

    map: str | Path | None = None
    """Map of a CSV or a folder of images of one camera; None for a dataset of streets, which has
    its own."""

    select: Mapping[str, str] = field(default_factory=dict)
    """{column: value} of the rows of a CSV."""

    skip_outside: bool = False
    """Leave out images taken outside the map."""

    knowledge: CameraKnowledge = field(default_factory=CameraKnowledge)
    """What registration knows of the cameras beside their images' columns."""


Progress = Callable[[Any], Iterable[Any]]
Table = dict[str, Any]
"""'protocol', 'dataset' and 'rows', for JSON."""


@dataclass(frozen=True)
class Split:
    """A part of a dataset with the map that it is localized on."""

    name: str
    """One of SPLITS, or IMAGES."""

    map: SatelliteMap
    """Its map."""

    images: list[GeoImage]
    """All of them."""

    views: tuple[int, ...]
    """Numbers of views that places are compared with."""

    def places(self, views: int, limit: int | None) -> list[tuple[GeoImage, ...]]:
        """Images, or views of rigs."""
        if self.name == IMAGES:
            return [(image,) for image in self.images[:limit]]
        return rigs(self.images, views)[:limit]


def compare(
    dataset: str | Path,
    methods: Mapping[str, str | None],
    config: CompareConfig,
    progress: Progress = iter,
) -> Table:
    """The table as a dictionary for JSON. `methods` {name: file of weights, None where a method
    needs none}; see `methods.open_method`.

    Raises DatasetError, MapError, WeightsError, ConfigError.
    """
    rows = [
        row
        for split in _splits(Path(dataset), config)
        for row in _split_rows(split, methods, config, progress)
    ]
    return {'dataset': str(dataset), 'protocol': _protocol(config, rows), 'rows': rows}


def _protocol(config: CompareConfig, rows: Sequence[dict[str, Any]]) -> str:
    cells = 'cells in which an image was taken' if config.occupied else 'all cells with imagery'
    line = f'{cells} compete'
    if config.map is None:
        line += f'; point@50m is the point with most mass within {NEAR_M:g} m'
    said = dict.fromkeys(row['knows'] for row in rows if row.get('knows'))
    return '; '.join([line, *said])


def _splits(dataset: Path, config: CompareConfig) -> Iterator[Split]:
    if config.map is not None:
        satellite_map = SatelliteMap.open(config.map)
        region = satellite_map.region
        every = read_images(dataset, config.select, region)
        images = inside(every, region, config.skip_outside)
        if not images:
            raise DatasetError(f'{dataset} has no image inside the map {config.map}')
        yield Split(IMAGES, satellite_map, images, (1,))
        return
    if not (dataset / 'metadata.csv').is_file():
        raise DatasetError(
            f'{dataset} has no metadata.csv: it is no dataset of streets; give the map of other '
            'images with --map'
        )
    for name in config.splits:
        folder = dataset / name if name == 'other_city' else dataset
        satellite_map = SatelliteMap.open(folder / 'map')
        images = read_images(folder / 'metadata.csv', {'split': name}, satellite_map.region)
        yield Split(name, satellite_map, images, config.views)


def _split_rows(
    split: Split, methods: Mapping[str, str | None], config: CompareConfig, progress: Progress
) -> Iterator[dict[str, Any]]:
    region = split.map.region
    occupied = occupied_cells(split.images, region) if config.occupied else None
    for name, file in methods.items():
        if name == SIFT and split.name != IMAGES:
            raise ConfigError(
                f'{name} is for cameras that look down, the pictures of {split.name} show '
                'streets: give images of such a camera and their map with --map'
            )
        images = split.images[: config.limit]
        method = open_method(split.map, name, file, images, _knowledge(split, config))
        for views in split.views:
            searches = method.searches(views, config.occupied)
            places = split.places(views, config.limit)
            found = method.evaluate(places, searches, progress, occupied) if searches else {}
            for search, figures in found.items():
                about = {'method': name, 'search': search, 'views': views, 'split': split.name}
                yield about | _row(method, search, figures, places, split.map)


def _knowledge(split: Split, config: CompareConfig) -> CameraKnowledge:
    """What registration knows of the cameras: of streets the lens alone, as the other methods know
    neither heading nor tilt."""
    if split.name == IMAGES:
        return config.knowledge
    return replace(
        config.knowledge, camera=Camera(ahead=True), ignore_heading=True, ignore_tilt=True
    )


def _row(
    method: Method, search: str, figures: Figures, places: Places, satellite_map: SatelliteMap
) -> dict[str, Any]:
    covered = satellite_map.level_coverage(satellite_map.region.depth) > 0
    return {
        'places': len(places),
        **figures,
        'ms_per_query': method.milliseconds(search, places[:TIMED]),
        'map_megabytes': method.map_bytes / 1e6,
        'weights_megabytes': method.weights_bytes / 1e6,
        'chance_nats': float(np.log(covered.sum())),
        'chance_recall_50m': _chance(satellite_map.region, [place[0] for place in places]),
        'knows': method.knows([place[0] for place in places]),
    }


def _chance(region: Region, images: Sequence[GeoImage]) -> float:
    """Share that a cell drawn evenly from the square would have within 50 m: the disc's area that
    lies inside the square, averaged over the truths."""
    half, radius = region.side_m / 2, NEAR_M
    offsets = np.linspace(-radius, radius, 41)
    disc = np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(-1, 2)
    disc = disc[np.hypot(*disc.T) <= radius]
    truths = (np.array(region.to_enu(image.latitude, image.longitude)) for image in images)
    inside = [np.all(np.abs(truth_m + disc) <= half, axis=1).mean() for truth_m in truths]
    return float(np.mean(inside) * np.pi * radius**2 / region.side_m**2)


def draw_histories(
    weights: Mapping[str, str | None], chance_nats: float, path: str | Path
) -> None:
    """Learning curves of methods with weights as a PNG. Raises DatasetError where a history is
    missing."""
    histories = {}
    for name, file in weights.items():
        if file is None:
            continue
        history = Path(file).parent / 'history.csv'
        if not history.is_file():
            raise DatasetError(f'{history} is not there: the curves are drawn from it')
        histories[name] = read_history(history, chance_nats)
    draw_curves(histories, Path(path))


# --- tables ------------------------------------------------------------------------------------


def write(path: str | Path, made: Table) -> None:
    """The table as JSON. Raises OutputError."""
    write_json(path, made)


@dataclass(frozen=True)
class Column:
    """A column of the table for people."""

    title: str
    """What is written above it."""

    key: str
    """Its figure in a row."""

    show: Callable[[Any], str] = percent
    """Its figure as text."""


def _metres(value: float) -> str:
    return f'{value:.1f} m' if value < 10 else f'{value:.0f} m'


STREET_COLUMNS = (
    Column('R@1', 'recall_cell'),
    *(Column(f'R@{radius}m', f'recall_{radius}m') for radius in RECALL_RADII_M),
    Column('point@50m', 'point_recall_50m'),
    Column('median', 'median_m', lambda value: f'{value:.0f} m'),
    Column('heading', 'heading_median_deg', lambda value: f'{value:.1f} deg'),
    Column('NLL', 'nll_nats', lambda value: f'{value:.2f}'),
    Column('ms', 'ms_per_query', lambda value: f'{value:.0f}'),
    Column('MB', 'megabytes', lambda value: f'{value:.1f}'),
)
DOWNWARD_COLUMNS = (
    *(Column(f'R@{radius}m', f'recall_{radius}m') for radius in RECALL_RADII_M if radius <= 50),
    Column('median', 'median_m', _metres),
    Column('heading', 'heading_median_deg', lambda value: f'{value:.1f} deg'),
    Column('fixes', 'share_fix'),
    *STREET_COLUMNS[-3:],
)


def markdown(made: Table) -> str:
    """The table as Markdown, one per split."""
    parts = [made['protocol'] + '.']
    for split in dict.fromkeys(row['split'] for row in made['rows']):
        rows = [row for row in made['rows'] if row['split'] == split]
        first = rows[0]
        parts.append(
            f'**{split}**, {first["places"]} places; chance: R@50m '
            f'{percent(first["chance_recall_50m"])}, NLL {first["chance_nats"]:.2f}'
        )
        columns = DOWNWARD_COLUMNS if split == IMAGES else STREET_COLUMNS
        first_titles = ['method'] if split == IMAGES else ['method', 'views']
        titles = [*first_titles, *(column.title for column in columns)]
        rule = '|---' * len(first_titles) + '|--:' * len(columns) + '|'
        lines = ['| ' + ' | '.join(titles) + ' |', rule]
        parts.append('\n'.join(lines + [_line(row, columns) for row in rows]))
    return '\n\n'.join(parts)


def _line(row: dict[str, Any], columns: Sequence[Column]) -> str:
    figures = row | {'megabytes': row['map_megabytes'] + row['weights_megabytes']}
    plain = row['method'] == 'retrieval' or not row['search']
    name = row['method'] if plain else f'{row["method"]}, {row["search"]}'
    cells = [
        '-' if figures[column.key] is None else column.show(figures[column.key])
        for column in columns
    ]
    first = [name] if row['split'] == IMAGES else [name, str(row['views'])]
    return '| ' + ' | '.join([*first, *cells]) + ' |'
