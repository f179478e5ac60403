"""What the encoder makes of the map, computed once per map and weights.

The map does not move: every crop that the policy can look at has one embedding. They are kept in
one file beside the map, `embeddings/<key>.safetensors`, or in the user's cache folder where the
map's folder cannot be written. The key holds the checksums of weights and map, so a changed map
or other weights find no file and make a new one.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from tqdm import tqdm

from justzoom_ros.embeddings.embedding_file import SUFFIX, Identity, read_table, write_table
from justzoom_ros.embeddings.map_cells import BATCH, MapCells, encoded
from justzoom_ros.embeddings.parts import Parts, Shard
from justzoom_ros.errors import MapError, OutputError, WeightsError
from justzoom_ros.region import Region

log = logging.getLogger(__name__)

USER_CACHE = Path('~/.cache/justzoom_ros/embeddings')


@dataclass(frozen=True)
class MapEmbeddings:
    """`levels[k]` (branching ** k, D) of the cells that k actions lead to, k = 0 .. depth - 1, for
    a policy that looks ahead also k = depth, and `covered[k]` (branching ** k,) bool, k = 0 ..
    depth: whether there is imagery at all. Both in the order of the cell index. float16 is for
    keeping them alone: what is asked for comes as float32."""

    region: Region
    levels: tuple[torch.Tensor, ...]
    covered: tuple[np.ndarray, ...]

    def at(self, level, indices):
        """Embeddings (N, D) of cells of a level, given their path indices (N,)."""
        return _gathered(self.levels[level], indices)

    def ahead(self, level, indices):
        """Embeddings (N, A, D) of the children of cells of a level, None where the policy does
        not look ahead."""
        if len(self.levels) <= self.region.depth:
            return None
        table = self.levels[level + 1].unflatten(0, (-1, self.region.branching))
        return _gathered(table, indices)


@dataclass(frozen=True)
class EmbeddingBuild:
    """How it went: the embeddings of `cells` as rows of `table` (N, D) float16 on the CPU, whole
    where no batches are `missing`; the `file` that they are in, None where there is none; the
    number of cells that were `encoded` now; the `parts` that finished batches are in, where the
    file is still to come."""

    cells: MapCells
    table: torch.Tensor
    file: Path | None
    encoded: int = 0
    missing: int = 0
    parts: tuple[Path, ...] = ()


def map_embeddings(satellite_map, runtime, progress=True):
    """The embeddings of all cells of a map that the policy can look at: read from the cache, or
    made and kept there. Raises WeightsError as `make_embeddings`."""
    made = make_embeddings(satellite_map, runtime, progress=progress, unkept=log.warning)
    return _on_device(made.cells, made.table, runtime)


def encode_map(satellite_map, runtime):
    """As `map_embeddings`, but float32, made anew and kept nowhere: for weights that are still
    learning."""
    cells = MapCells.of(satellite_map, runtime.config)
    table = torch.zeros(sum(cells.counts), runtime.width)
    for rows in map(cells.batch, range(cells.batches)):
        table[torch.from_numpy(rows)] = encoded(satellite_map, runtime, cells, rows)
    return _on_device(cells, table, runtime)


def _refuse(reason):
    raise OutputError(reason)


def make_embeddings(satellite_map, runtime, shard=None, progress=True, unkept=_refuse):
    """Put the embeddings of a map, or a shard of them, on disk; returns an `EmbeddingBuild`.

    Batches that were finished earlier, or by another process, are not made again. Whoever finds
    all batches there puts them together into one file. `unkept` is called with the reason where
    nothing can be written. Raises WeightsError where the encoder's numbers are beyond half
    precision, OutputError.
    """
    cells = MapCells.of(satellite_map, runtime.config)
    identity = _identity(satellite_map, runtime, cells)
    files = _files(satellite_map, identity)
    for file in files:
        if (table := _read(file, identity)) is not None:
            return EmbeddingBuild(cells, table, file)
    with Parts([file.parent for file in files], identity, unkept) as parts:
        making = _Making(cells, torch.zeros(identity.cells, identity.width, dtype=torch.half))
        making.take(parts)
        count = making.encode(satellite_map, runtime, parts, shard or Shard(), progress)
        making.take(parts)  # others may have finished theirs meanwhile
        file = None if making.missing else _written(making.table, files, identity)
        if file:
            parts.remove()
        elif parts.kept and not making.missing:
            unkept(f'the map embeddings cannot be written to {files[0].parent}')
        return EmbeddingBuild(cells, making.table, file, count, making.missing, parts.paths())


def check_embeddings(satellite_map, runtime):
    """Read all of the embeddings of a map on disk against their checksum; returns the file.
    Raises MapError where they are damaged or there are none."""
    cells = MapCells.of(satellite_map, runtime.config)
    identity = _identity(satellite_map, runtime, cells)
    for file in _files(satellite_map, identity):
        if file.is_file():
            read_table(file, identity, check=True)
            return file
    raise MapError(
        f'{satellite_map.path}: there are no map embeddings of these weights; make them by '
        '`justzoom map embed`'
    )


class _Making:
    """A table of embeddings that fills, batch by batch."""

    def __init__(self, cells, table):
        self.cells, self.table = cells, table
        self._there = np.zeros(cells.batches, bool)

    @property
    def missing(self):
        """Number of batches that are not there yet."""
        return int((~self._there).sum())

    def take(self, parts):
        """Take the batches that are finished in parts, unless all are there."""
        for number, values in parts.read() if self.missing else ():
            if number < self.cells.batches:
                self._put(number, torch.from_numpy(values))

    def encode(self, satellite_map, runtime, parts, shard, progress):
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
                values = self._encoded(satellite_map, runtime, number)
                self._put(number, values)
                parts.add(number, values.numpy())
                bar.update(sizes[number])
        return count

    def _encoded(self, satellite_map, runtime, number):
        values = encoded(satellite_map, runtime, self.cells, self.cells.batch(number)).half()
        if not values.isfinite().all():
            raise WeightsError(
                f'the encoder makes numbers of {satellite_map.path} that are not finite in half '
                'precision: the weights are damaged or have diverged'
            )
        return values

    def _put(self, number, values):
        rows = self.cells.batch(number)
        self.table[torch.from_numpy(rows)] = values[: len(rows)]
        self._there[number] = True


def _gathered(table, indices):
    """Rows of a table in single precision, or in that of the table if that is better."""
    first = int(indices[0]) if len(indices) else 0
    if np.array_equal(indices, np.arange(first, first + len(indices))):
        rows = table[first : first + len(indices)]  # what an exact search asks for: no copy
    else:
        rows = table[torch.from_numpy(indices).to(table.device)]
    return rows.float() if rows.dtype == torch.half else rows


def _on_device(cells, table, runtime):
    """`MapEmbeddings` of the rows of all levels, where the runtime needs them."""
    return MapEmbeddings(cells.region, table.to(runtime.device).split(cells.counts), cells.covered)


def _identity(satellite_map, runtime, cells):
    return Identity(
        map=satellite_map.checksum,
        crop_px=satellite_map.crop_px,
        weights=runtime.checksum,
        cells=sum(cells.counts),
        width=runtime.width,
        batch=BATCH,
    )


def _files(satellite_map, identity):
    """Where the embeddings may be, the best place first."""
    folders = satellite_map.path / 'embeddings', USER_CACHE.expanduser()
    return [folder / f'{identity.key}{SUFFIX}' for folder in folders]


def _read(file, identity):
    """The table in a file, None where there is none or it cannot be used: it is only a cache."""
    try:
        return read_table(file, identity)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except MapError as error:
        log.warning('%s; they are made again', error)
        return None


def _written(table, files, identity):
    """The first place that takes the table, None without any."""
    for file in files:
        with suppress(OSError, SafetensorError):
            write_table(file, table, identity)
            return file
    return None
