"""What the encoder makes of the map, computed once per map and weights.

The map does not move: every crop that the policy can look at has one embedding. They are kept in
one file beside the map, `embeddings/<key>.safetensors`, or in the user's cache folder where the
map's folder cannot be written. The key holds the checksums of weights and map, so a changed map
or other weights find no file and make a new one.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from tqdm import tqdm

from justzoom_ros.embeddings.cache import cache_files, read_cached, write_cached
from justzoom_ros.embeddings.embedding_file import CellIdentity, read_table
from justzoom_ros.embeddings.map_cells import BATCH, MapCells, MapCrops, MapEncoder, encode_cells
from justzoom_ros.embeddings.parts import Parts, Shard
from justzoom_ros.errors import MapError, OutputError, WeightsError
from justzoom_ros.region import Region

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MapEmbeddings:
    """Embeddings of all cells of a map that a policy can look at, in the order of the cell
    index."""

    region: Region
    """The region of the map."""

    levels: tuple[torch.Tensor, ...]
    """Of each level 0 .. depth - 1, and depth for a policy that looks ahead: (branching ** level,
    D). float16 is for keeping them alone: what is asked for comes as float32."""

    covered: tuple[np.ndarray, ...]
    """Of each level 0 .. depth, bool (branching ** level,): whether there is imagery."""

    def at(self, level: int, indices: np.ndarray) -> torch.Tensor:
        """Embeddings (N, D) of cells of a level, given their indices (N,)."""
        return _gather(self.levels[level], indices)

    def ahead(self, level: int, indices: np.ndarray) -> torch.Tensor | None:
        """Embeddings (N, A, D) of the children of cells of a level, None where the policy does
        not look ahead."""
        if len(self.levels) <= self.region.depth:
            return None
        table = self.levels[level + 1].unflatten(0, (-1, self.region.branching))
        return _gather(table, indices)


@dataclass(frozen=True)
class EmbeddingBuild:
    """How the embeddings of a map were made, as far as they are there."""

    cells: MapCells
    """Which cells they are of."""

    table: torch.Tensor
    """Embeddings (N, D) float16 on the CPU; zero where batches are missing."""

    file: Path | None
    """The file that they are in, None where there is none yet."""

    encoded: int = 0
    """Number of cells that were encoded now."""

    missing: int = 0
    """Number of batches that are still to be made."""

    parts: tuple[Path, ...] = ()
    """Files that finished batches are in, where the file is still to come."""


def map_embeddings(
    satellite_map: MapCrops, encoder: MapEncoder, progress: bool = True
) -> MapEmbeddings:
    """The embeddings of all cells of a map that the policy can look at: read from the cache, or
    made and kept there. Raises WeightsError as `make_embeddings`."""
    build = make_embeddings(satellite_map, encoder, progress=progress, unkept=log.warning)
    return _to_device(build.cells, build.table, encoder)


def encode_map(satellite_map: MapCrops, encoder: MapEncoder) -> MapEmbeddings:
    """As `map_embeddings`, but float32, made anew and kept nowhere: for weights that are still
    learning."""
    cells = MapCells.of(satellite_map, encoder.config)
    table = torch.zeros(sum(cells.counts), encoder.width)
    for rows in map(cells.batch, range(cells.batches)):
        table[torch.from_numpy(rows)] = encode_cells(satellite_map, encoder, cells, rows)
    return _to_device(cells, table, encoder)


def _refuse(reason: str) -> NoReturn:
    raise OutputError(reason)


def make_embeddings(
    satellite_map: MapCrops,
    encoder: MapEncoder,
    shard: Shard | None = None,
    progress: bool = True,
    unkept: Callable[[str], None] = _refuse,
) -> EmbeddingBuild:
    """Put the embeddings of a map, or a shard of them, on disk; returns an `EmbeddingBuild`.

    Batches that were finished earlier, or by another process, are not made again. Whoever finds
    all batches there puts them together into one file. `unkept` is called with the reason where
    nothing can be written. Raises WeightsError where the encoder's numbers are beyond half
    precision, OutputError.
    """
    cells = MapCells.of(satellite_map, encoder.config)
    identity = _identity(satellite_map, encoder, cells)
    files = cache_files(satellite_map.path, identity)
    for file in files:
        if (kept := read_cached(file, identity)) is not None:
            return EmbeddingBuild(cells, kept, file)
    with Parts([file.parent for file in files], identity, unkept) as parts:
        table = _Table(cells, identity.width)
        table.take(parts)
        count = table.encode(satellite_map, encoder, parts, shard or Shard(), progress)
        table.take(parts)  # others may have finished theirs meanwhile
        written = None if table.missing else write_cached(table.values, files, identity)
        if written:
            parts.remove()
        elif parts.kept and not table.missing:
            unkept(f'the map embeddings cannot be written to {files[0].parent}')
        return EmbeddingBuild(cells, table.values, written, count, table.missing, parts.paths())


def check_embeddings(satellite_map: MapCrops, encoder: MapEncoder) -> Path:
    """Read all of the embeddings of a map on disk against their checksum; returns the file.
    Raises MapError where they are damaged or there are none."""
    cells = MapCells.of(satellite_map, encoder.config)
    identity = _identity(satellite_map, encoder, cells)
    for file in cache_files(satellite_map.path, identity):
        if file.is_file():
            read_table(file, identity, check=True)
            return file
    raise MapError(
        f'{satellite_map.path}: there are no map embeddings of these weights; make them by '
        '`justzoom map embed`'
    )


class _Table:
    """A table of embeddings that fills, batch by batch: `values` (N, D) float16 on the CPU."""

    def __init__(self, cells: MapCells, width: int) -> None:
        self.cells = cells
        self.values = torch.zeros(sum(cells.counts), width, dtype=torch.half)
        self._there = np.zeros(cells.batches, bool)

    @property
    def missing(self) -> int:
        """Number of batches that are not there yet."""
        return int((~self._there).sum())

    def take(self, parts: Parts) -> None:
        """Take the batches that are finished in parts, unless all are there."""
        for number, values in parts.read() if self.missing else ():
            if number < self.cells.batches:
                self._put(number, torch.from_numpy(values))

    def encode(
        self,
        satellite_map: MapCrops,
        encoder: MapEncoder,
        parts: Parts,
        shard: Shard,
        progress: bool,
    ) -> int:
        """Encode what is missing of a shard; returns the number of cells encoded."""
        numbers = shard.batches(self.cells.batches)
        sizes = {number: len(self.cells.batch(number)) for number in numbers}
        missing = [number for number in numbers if not self._there[number]]
        count = sum(sizes[number] for number in missing)
        total = sum(sizes.values())
        with tqdm(
            desc='map embeddings' if shard.of == 1 else f'map embeddings {shard}',
            unit='cell',
            total=total,
            initial=total - count,
            disable=None if progress else True,
        ) as bar:
            for number in missing:
                values = self._encode(satellite_map, encoder, number)
                self._put(number, values)
                parts.add(number, values.numpy())
                bar.update(sizes[number])
        return count

    def _encode(self, satellite_map: MapCrops, encoder: MapEncoder, number: int) -> torch.Tensor:
        rows = self.cells.batch(number)
        values = encode_cells(satellite_map, encoder, self.cells, rows).half()
        if not values.isfinite().all():
            raise WeightsError(
                f'the encoder makes numbers of {satellite_map.path} that are not finite in half '
                'precision: the weights are damaged or have diverged'
            )
        return values

    def _put(self, number: int, values: torch.Tensor) -> None:
        rows = self.cells.batch(number)
        self.values[torch.from_numpy(rows)] = values[: len(rows)]
        self._there[number] = True


def _gather(table: torch.Tensor, indices: np.ndarray) -> torch.Tensor:
    """Rows of a table in single precision, or in that of the table if that is better."""
    first = int(indices[0]) if len(indices) else 0
    if np.array_equal(indices, np.arange(first, first + len(indices))):
        rows = table[first : first + len(indices)]  # what an exact search asks for: no copy
    else:
        rows = table[torch.from_numpy(indices).to(table.device)]
    return rows.float() if rows.dtype == torch.half else rows


def _to_device(cells: MapCells, table: torch.Tensor, encoder: MapEncoder) -> MapEmbeddings:
    """`MapEmbeddings` of the rows of all levels, where they are used."""
    levels = table.to(encoder.device).split(cells.counts)
    return MapEmbeddings(cells.region, tuple(levels), cells.covered)


def _identity(satellite_map: MapCrops, encoder: MapEncoder, cells: MapCells) -> CellIdentity:
    return CellIdentity(
        map=satellite_map.checksum,
        crop_px=satellite_map.crop_px,
        weights=encoder.checksum,
        cells=sum(cells.counts),
        width=encoder.width,
        batch=BATCH,
    )
