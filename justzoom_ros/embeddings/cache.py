"""Where what is computed once per map is kept: beside the map, or in the user's cache folder."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError

from justzoom_ros.embeddings.embedding_file import SUFFIX, Identity, read_table, write_table
from justzoom_ros.errors import MapError

log = logging.getLogger(__name__)

USER_CACHE = Path('~/.cache/justzoom_ros/embeddings')


def cache_files(map_folder: Path, identity: Identity) -> list[Path]:
    """Where a table may be, the best place first."""
    folders = map_folder / 'embeddings', USER_CACHE.expanduser()
    return [folder / f'{identity.key}{SUFFIX}' for folder in folders]


def read_cached(file: Path, identity: Identity) -> torch.Tensor | None:
    """The table in a file, None where there is none or it cannot be used: it is only a cache."""
    try:
        return read_table(file, identity)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except MapError as error:
        log.warning('%s; they are made again', error)
        return None


def write_cached(table: torch.Tensor, files: Sequence[Path], identity: Identity) -> Path | None:
    """The first place that takes the table, None without any."""
    for file in files:
        with suppress(OSError, SafetensorError):
            file.parent.mkdir(exist_ok=True, parents=True)
            write_table(file, table, identity)
            return file
    return None
