"""The file that map embeddings are kept in: memory-mapped, and sure of what it holds.

A safetensors file with one tensor, `embeddings` (N, D) float16, and one entry of metadata, a JSON
object: what the embeddings are of (`Identity`) and the sha256 of the tensor's bytes.

Opening reads the header alone, so it takes no longer for a large map than for a small one. The
header must be that of what is asked for, and the file as long as the header says. The content is
read against its checksum the first time, and whenever the file was written to since: a JSON file
beside it remembers with which length and time of change the content was found right. What changes
a file without a trace (a failing disk) is found by `justzoom map embed --check`.
"""

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open

from justzoom_ros.errors import MapError
from justzoom_ros.files import replacing, save_tensors

FORMAT = 'justzoom map embeddings 2'
TENSOR = 'embeddings'
SUFFIX = '.safetensors'

SETTLED_NS = 2_000_000_000
"""A file changed less than so long ago could change again without its time changing."""


class Identity(Protocol):
    """What a table (N, D) is of: a frozen dataclass of plain JSON types."""

    @property
    def cells(self) -> int:
        """N, the number of rows."""

    @property
    def width(self) -> int:
        """D, the length of a row."""

    @property
    def key(self) -> str:
        """A name for files, in hex; see `key_of`."""


def key_of(identity: Any, kind: str = '') -> str:
    """A name for files, in hex, of a dataclass that says what a table is of. `kind` keeps apart
    what could have the same fields."""
    text = json.dumps([FORMAT, *([kind] if kind else []), asdict(identity)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class CellIdentity:
    """What the embeddings of cells are of."""

    map: str
    """Checksum of the map."""

    crop_px: int
    """Side in pixels of the map's own crops."""

    weights: str
    """Checksum of the weights and their configuration."""

    cells: int
    """Number of cells of all levels."""

    width: int
    """Length of an embedding."""

    batch: int
    """Cells with imagery that were encoded at a time."""

    @property
    def key(self) -> str:
        """A name for files, in hex."""
        return key_of(self)


def write_table(file: Path, table: torch.Tensor, identity: Identity) -> None:
    """Write embeddings (N, D) float16, on the CPU, atomically. The same embeddings make the same
    bytes. OSError passes through."""
    facts = {**_facts(identity), 'content': content_checksum(table)}
    with replacing(file) as temporary:
        # One entry alone: safetensors puts several in a random order.
        save_tensors({TENSOR: table}, temporary, {FORMAT: json.dumps(facts, sort_keys=True)})


def read_table(file: Path, identity: Identity, check: bool = False) -> torch.Tensor:
    """The embeddings (N, D) float16 in a file, mapped into memory and read where they are used.

    Their content is compared with its checksum where the file changed since that was done last,
    or where `check` asks for it. Raises FileNotFoundError; MapError where the file is truncated,
    damaged, or of another map or other weights.
    """
    try:
        with safe_open(file, 'pt') as opened:
            content = _content(file, opened.metadata(), identity)
            table = opened.get_tensor(TENSOR)
    except FileNotFoundError:
        raise
    except (OSError, SafetensorError) as error:
        raise MapError(f'{file}: the map embeddings are truncated or damaged ({error})') from error
    if table.shape != (identity.cells, identity.width) or table.dtype != torch.float16:
        raise MapError(f'{file}: {table.dtype} embeddings of shape {tuple(table.shape)}')
    if check or not _known(file, content):
        _check(file, table, content)
    return table


def _facts(identity: Any) -> dict[str, Any]:
    return asdict(identity)


def content_checksum(table: torch.Tensor) -> str:
    """sha256, in hex, of the bytes of a tensor on the CPU."""
    content: Any = table.contiguous().view(torch.uint8).numpy()
    return hashlib.sha256(content).hexdigest()


def _content(file: Path, metadata: dict[str, str] | None, identity: Identity) -> str:
    """The checksum of the content that a header promises, if it is the header asked for."""
    try:
        facts = json.loads((metadata or {})[FORMAT])
        content = facts.pop('content')
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise MapError(f'{file}: not map embeddings as this version writes them') from error
    if facts != _facts(identity):
        raise MapError(f'{file}: the map embeddings are of another map or other weights')
    return content


def _check(file: Path, table: torch.Tensor, content: str) -> None:
    state = _state(file, content)
    if content_checksum(table) != content:
        raise MapError(f'{file}: the map embeddings are damaged (checksum)')
    if time.time_ns() - state['changed_ns'] > SETTLED_NS:
        # Where it cannot be remembered, the next start reads all of it again.
        with suppress(OSError), replacing(_memory(file)) as temporary:
            temporary.write_text(json.dumps(state) + '\n')


def _known(file: Path, content: str) -> bool:
    """True where the file is as it was when its content was found right."""
    try:
        return json.loads(_memory(file).read_text()) == _state(file, content)
    except (OSError, ValueError):
        return False


def _memory(file: Path) -> Path:
    return file.with_suffix('.json')


def _state(file: Path, content: str) -> dict[str, Any]:
    stat = file.stat()
    return {'bytes': stat.st_size, 'changed_ns': stat.st_mtime_ns, 'checked': content}
