"""Files appear whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from justzoom_ros.errors import OutputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`.

    The temporary may become a file or a folder; when the block fails it is removed and `path`
    stays as it was. The parent folder is made. OSError passes through.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.partial')
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            _swap_folders(temporary, path)
        else:
            # Some writers make files that only their owner may read.
            temporary.chmod(0o755 if temporary.is_dir() else 0o644)
            os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _swap_folders(new: Path, old: Path) -> None:
    """A folder cannot be replaced in one call: move the old one aside, then remove it."""
    aside = old.with_name(f'.{old.name}.{os.getpid()}.old')
    os.replace(old, aside)
    try:
        os.replace(new, old)
    except OSError:
        os.replace(aside, old)
        raise
    shutil.rmtree(aside)


@contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """`replacing` for what a user asked for: where it cannot be written, OutputError says so."""
    named = Path(path)
    if named.name in ('', '..'):  # '.', which has no name to put another beside
        named = named.resolve()
    if not named.name:
        raise OutputError(f'{path} cannot be written: it is the root of all files')
    try:
        with replacing(named) as temporary:
            yield temporary
    except OSError as error:
        raise OutputError(f'{path} cannot be written: {error.strerror or error}') from error


def output_folder(path: str | Path) -> Path:
    """`path` as a Path to a folder that can be written to, made where missing.

    Raises OutputError where it cannot be: to be called before long work, not after it.
    """
    probe = Path(path) / '.writable'
    with writing(probe) as temporary:
        temporary.touch()
    probe.unlink()
    return probe.parent


def output_file(path: str | Path) -> Path:
    """`path` as a Path of a file that can be written, its folder made where missing.

    Raises OutputError where it cannot be: to be called before long work, not after it.
    """
    folder = output_folder(Path(path).parent)
    if Path(path).is_dir():
        raise OutputError(f'{path} cannot be written: it is a folder')
    return folder / Path(path).name


def write_json(path: str | Path, value: Any) -> None:
    """Write what JSON can hold, NaN excepted. Raises OutputError."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + '\n')
