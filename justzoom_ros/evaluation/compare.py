"""Several methods on one dataset, side by side: the table of the benchmark.

One row per method, search and number of views, for each split; every figure as `evaluate` defines
it. Methods are told by their weights: a zoom policy, or the contrastive baseline.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.errors import DatasetError
from justzoom_ros.evaluation.evaluate import (
    Place,
    Result,
    evaluate,
    occupied_cells,
    rigs,
    summarize,
)
from justzoom_ros.evaluation.retrieval import RetrievalLocalizer
from justzoom_ros.files import write_json
from justzoom_ros.inference.tree_search import SearchConfig
from justzoom_ros.io.datasets import read_images
from justzoom_ros.localizer import Localizer
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.models.checkpoint import read_safetensors
from justzoom_ros.plots.learning_curves import draw_curves
from justzoom_ros.radii import NEAR_M, RECALL_RADII_M
from justzoom_ros.region import Region
from justzoom_ros.training.history import read_history
from justzoom_ros.training.retrieval import RetrievalModel

SPLITS = ('val', 'blocks', 'other_city')
SEARCHES = ('greedy', 'beam', 'exact')
TIMED = 20
"""Queries that the median time is taken of."""

COLUMNS = ('R@1', 'R@25m', 'R@40m', 'R@50m', 'R@100m', 'point@50m', 'median', 'NLL', 'ms', 'MB')


Methods = Mapping[str, str | Path]
"""{name of a method: file of its weights}"""

Progress = Callable[[Iterable[Any]], Iterable[Any]]
"""Wraps what is gone through, as tqdm does."""


@dataclass(frozen=True)
class CompareConfig:
    """What is compared."""

    splits: tuple[str, ...] = SPLITS
    """Of the dataset."""

    views: tuple[int, ...] = (1, 2, 4)
    """Numbers of cameras at each place."""

    searches: tuple[str, ...] = SEARCHES
    """For single views; several are searched exactly."""

    occupied: bool = False
    """Whether only those cells can be in which an image of the split was taken."""

    limit: int | None = None
    """Places of a split at most."""


def open_method(
    satellite_map: SatelliteMap, weights: str | Path
) -> Localizer | RetrievalLocalizer:
    """A Localizer or a RetrievalLocalizer, as the weights file says. Raises WeightsError."""
    metadata, _ = read_safetensors(weights)
    if metadata.get('format') == RetrievalModel.FORMAT:
        return RetrievalLocalizer(satellite_map, RetrievalModel.load(weights))
    return Localizer.open(satellite_map, weights, search='exact', progress=False)


def compare(
    dataset: str | Path, weights: Methods, config: CompareConfig, progress: Progress = iter
) -> dict[str, Any]:
    """The table as a dictionary for JSON. `weights` {name of the method: file}.

    Raises DatasetError, MapError, WeightsError.
    """
    rows = [
        row
        for split in config.splits
        for row in _split_rows(Path(dataset), split, weights, config, progress)
    ]
    return {'dataset': str(dataset), 'protocol': _protocol(config), 'rows': rows}


def _protocol(config: CompareConfig) -> str:
    cells = 'cells in which an image was taken' if config.occupied else 'all cells with imagery'
    return f'{cells} compete; point@50m is the point with most mass within {NEAR_M:g} m'


def _split_rows(
    dataset: Path, split: str, weights: Methods, config: CompareConfig, progress: Progress
) -> Iterator[dict[str, Any]]:
    folder = dataset / split if split == 'other_city' else dataset
    satellite_map = SatelliteMap.open(folder / 'map')
    region = satellite_map.region
    images = read_images(folder / 'metadata.csv', {'split': split}, region)
    occupied = occupied_cells(images, region) if config.occupied else None
    for name, file in weights.items():
        localizer = open_method(satellite_map, file)
        memory = {'weights_megabytes': _megabytes(file)}
        single = ('exact',) if isinstance(localizer, RetrievalLocalizer) else config.searches
        searches = ('exact',) if config.occupied else single
        for views in config.views:
            places = rigs(images, views)[: config.limit]
            chosen = searches if views == 1 else ('exact',)
            results = evaluate(localizer, places, chosen, progress, occupied)
            for search in chosen:
                row = _row(localizer, results[search], name, search, views, split, places)
                yield row | memory


def _row(
    localizer: Localizer | RetrievalLocalizer,
    results: list[Result],
    method: str,
    search: str,
    views: int,
    split: str,
    places: list[Place],
) -> dict[str, Any]:
    figures = summarize(results)
    return {
        **{'method': method, 'search': search, 'views': views, 'split': split},
        'places': len(results),
        'recall_cell': figures['recall_cell'],
        **{f'recall_{radius}m': figures[f'recall_{radius}m'] for radius in RECALL_RADII_M},
        'point_recall_50m': figures['point']['recall_50m'],
        'median_m': figures['median_m'],
        'nll_nats': figures['nll_nats'],
        'ms_per_query': _milliseconds(localizer, search, places[:TIMED]),
        'map_megabytes': localizer.map_bytes / 1e6,
        'chance_nats': float(np.log(localizer.cells)),
        'chance_recall_50m': _chance(localizer.region, results),
    }


def _megabytes(weights: str | Path) -> float:
    """What the weights of a file take in memory, in single precision."""
    _, tensors = read_safetensors(weights)
    return 4 * sum(tensor.numel() for tensor in tensors.values()) / 1e6


def _milliseconds(
    localizer: Localizer | RetrievalLocalizer, search: str, places: list[Place]
) -> float:
    """Median time of one query: all its views encoded and searched, pixels being in memory."""
    times = []
    for place in places:
        pictures = [image.load() for image in place]
        started = time.perf_counter()
        for picture in pictures:
            localizer.posterior(localizer.embed(picture), SearchConfig(search))
        times.append(time.perf_counter() - started)
    return float(1000 * np.median(times))


def _chance(region: Region, results: list[Result]) -> float:
    """Share that a cell drawn evenly from the square would have within 50 m: the disc's area that
    lies inside the square, averaged over the truths."""
    half, radius = region.side_m / 2, NEAR_M
    offsets = np.linspace(-radius, radius, 41)
    disc = np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(-1, 2)
    disc = disc[np.hypot(*disc.T) <= radius]
    inside = [np.all(np.abs(result.truth_m + disc) <= half, axis=1).mean() for result in results]
    return float(np.mean(inside) * np.pi * radius**2 / region.side_m**2)


def draw_histories(weights: Methods, chance_nats: float, path: str | Path) -> None:
    """Learning curves of methods as a PNG. Raises DatasetError where a history is missing."""
    histories = {}
    for name, file in weights.items():
        history = Path(file).parent / 'history.csv'
        if not history.is_file():
            raise DatasetError(f'{history} is not there: the curves are drawn from it')
        histories[name] = read_history(history, chance_nats)
    draw_curves(histories, Path(path))


# --- tables ------------------------------------------------------------------------------------


def write(path: str | Path, made: dict[str, Any]) -> None:
    """The table as JSON. Raises OutputError."""
    write_json(path, made)


def markdown(made: dict[str, Any]) -> str:
    """The table as Markdown, one per split."""
    parts = [made['protocol'] + '.']
    for split in dict.fromkeys(row['split'] for row in made['rows']):
        rows = [row for row in made['rows'] if row['split'] == split]
        first = rows[0]
        parts.append(
            f'**{split}**, {first["places"]} places; chance: R@50m '
            f'{_percent(first["chance_recall_50m"])}, NLL {first["chance_nats"]:.2f}'
        )
        lines = ['| method | views | ' + ' | '.join(COLUMNS) + ' |']
        lines.append('|---|---' + '|--:' * len(COLUMNS) + '|')
        parts.append('\n'.join(lines + [_line(row) for row in rows]))
    return '\n\n'.join(parts)


def _line(row: dict[str, Any]) -> str:
    shares = ('recall_cell', 'recall_25m', 'recall_40m', 'recall_50m', 'recall_100m')
    cells = [_percent(row[key]) for key in (*shares, 'point_recall_50m')]
    cells += [f'{row["median_m"]:.0f} m', f'{row["nll_nats"]:.2f}']
    megabytes = row['map_megabytes'] + row['weights_megabytes']
    cells += [f'{row["ms_per_query"]:.0f}', f'{megabytes:.1f}']
    name = row['method'] if row['method'] == 'retrieval' else f'{row["method"]}, {row["search"]}'
    return f'| {name} | {row["views"]} | ' + ' | '.join(cells) + ' |'


def _percent(share: float) -> str:
    return f'{100 * share:.1f} %'
