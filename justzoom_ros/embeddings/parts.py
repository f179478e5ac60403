"""Map embeddings in the making: finished batches on disk, and who makes which.

Every process that works at the embeddings of a map appends the batches that it has finished to a
file of its own, `<key>.<random>.part`, beside the file that is to come. A batch counts wherever it
lies: after an interruption those that are there are not made again, and shards of other machines
are joined by copying their parts into one folder. A record is a batch's number, its values and a
sha256 over both and the key, so one that was cut short or belongs elsewhere is no batch.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from justzoom_ros.embeddings.embedding_file import CellIdentity
from justzoom_ros.errors import ConfigError

log = logging.getLogger(__name__)

SUFFIX = '.part'


@dataclass(frozen=True)
class Shard:
    """The share of the batches that one of several processes makes. Raises ConfigError for numbers
    out of range."""

    number: int = 1
    """Which of the shares, from 1 on."""

    of: int = 1
    """Number of shares."""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ConfigError(f'shard {self}: the first number must be in 1..{self.of}')

    @classmethod
    def parse(cls, text: str) -> 'Shard':
        """The shard that a text such as '2/8' names. Raises ConfigError."""
        try:
            number, of = (int(part) for part in text.split('/'))
        except ValueError as error:
            raise ConfigError(f'shard {text!r} must be two numbers, such as 2/8') from error
        return cls(number, of)

    def __str__(self) -> str:
        return f'{self.number}/{self.of}'

    def batches(self, count: int) -> range:
        """The numbers, of `count` batches, that belong to this shard, as a range."""
        return range(count * (self.number - 1) // self.of, count * self.number // self.of)


class Parts:
    """The part files of the embeddings with an `CellIdentity`: read all, append to an own one.

    `folders` are those to look in; the first that can be written to takes this process's part.
    `unkept` is called, once, with the reason where none can or the disk is full.
    """

    def __init__(
        self, folders: Sequence[Path], identity: CellIdentity, unkept: Callable[[str], None]
    ) -> None:
        self._unkept = unkept
        self._folders, self._key = folders, identity.key
        values = ('values', '<f2', (identity.batch, identity.width))
        self._record = np.dtype([('number', '<u8'), ('digest', 'u1', 32), values])
        self._file: IO[bytes] | None = None
        self.kept = True

    def __enter__(self) -> 'Parts':
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            with suppress(OSError):
                self._file.close()

    def paths(self) -> tuple[Path, ...]:
        """All part files that are there."""
        found = (folder.glob(f'{self._key}.*{SUFFIX}') for folder in self._folders)
        return tuple(sorted(path for paths in found for path in paths))

    def read(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number, values (batch, D) float16) of every finished batch in every part."""
        for path in self.paths():
            with suppress(FileNotFoundError):  # another process has put all together meanwhile
                yield from self._read(path)

    def add(self, number: int, values: np.ndarray) -> None:
        """Append a batch, values (n, D) float16 with n <= batch."""
        record = np.zeros((), self._record)
        record['number'], record['values'][: len(values)] = number, values
        record['digest'] = self._digest(record)
        try:
            if self.kept:
                file = self._open()
                file.write(record.tobytes())
                file.flush()
        except OSError as error:
            self.kept = False
            self._unkept(f'the map embeddings cannot be kept: {error}')

    def remove(self) -> None:
        """Delete all part files, once they are not needed any more."""
        for path in self.paths():
            with suppress(OSError):
                path.unlink()

    def _read(self, path: Path) -> Iterator[tuple[int, np.ndarray]]:
        # An interrupted process may have left part of a record at the end; fromfile leaves it out.
        records = np.fromfile(path, self._record)
        good = [r for r in records if r['digest'].tobytes() == self._digest(r).tobytes()]
        if len(good) < len(records):
            log.warning('%s: %d of %d batches are damaged and made again', path,
                        len(records) - len(good), len(records))  # fmt: skip
        for record in good:
            yield int(record['number']), record['values']

    def _digest(self, record: np.ndarray) -> np.ndarray:
        content = self._key.encode() + record['number'].tobytes() + record['values'].tobytes()
        return np.frombuffer(hashlib.sha256(content).digest(), np.uint8)

    def _open(self) -> IO[bytes]:
        """This process's part, made in the first folder that takes it. Raises OSError."""
        for folder in self._folders if self._file is None else ():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                handle, name = tempfile.mkstemp(SUFFIX, f'{self._key}.', folder)
                os.chmod(name, 0o644)
                self._file = os.fdopen(handle, 'wb')
                break
            except OSError as error:
                refused = error
        if self._file is None:
            raise refused
        return self._file
