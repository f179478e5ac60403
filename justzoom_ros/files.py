"""Files appear whole or not at all."""

import ctypes
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from justzoom_ros.errors import OutputError, WeightsError, first_line

if TYPE_CHECKING:
    import torch

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Of <fcntl.h> and <linux/fs.h>: paths are as given; exchange two."""
LEFTOVER = re.compile(r'\..+\.(\d+)\.(partial|old)')
HOUR_S = 3600.0


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
    """The new folder in place of the old one, which is removed: at once where the system can
    exchange two, else with a moment in which there is neither."""
    if _exchange(new, old):
        shutil.rmtree(new)
        return
    aside = old.with_name(f'.{old.name}.{os.getpid()}.old')
    os.replace(old, aside)
    try:
        os.replace(new, old)
    except OSError:
        os.replace(aside, old)
        raise
    shutil.rmtree(aside)


def _exchange(one: Path, other: Path) -> bool:
    """Give two files or folders each other's name by one call of Linux; False where it or the
    file system knows none."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    names = os.fsencode(one), os.fsencode(other)
    return rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0


def remove_leftovers(folder: Path) -> None:
    """Remove what writers left in a folder that were killed: hidden, of processes that are no
    more, and older than an hour, since other machines have processes of their own."""
    for path in folder.glob('.*'):
        found = LEFTOVER.fullmatch(path.name)
        with suppress(OSError):
            if found and not _lives(int(found[1])) and time.time() - path.stat().st_mtime > HOUR_S:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


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


def save_tensors(
    tensors: 'dict[str, torch.Tensor]', path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file at a temporary path of `replacing` or `writing`. What its library
    says of the disk is an OSError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        raise OSError(f'is the disk full? {first_line(error)}') from error


def load_tensors(path: str | Path) -> 'tuple[dict[str, str], dict[str, torch.Tensor]]':
    """(metadata, tensors on the CPU) of a safetensors file. Raises WeightsError."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise WeightsError(f'{path}: no such weights file')
    try:
        with safe_open(path, 'pt') as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f'{path}: not a readable safetensors file ({error})') from error


def output_folder(path: str | Path) -> Path:
    """`path` as a Path to a folder that can be written to, made where missing; without what
    killed writers left in it.

    Raises OutputError where it cannot be: to be called before long work, not after it.
    """
    probe = Path(path) / '.writable'
    with writing(probe) as temporary:
        temporary.touch()
    probe.unlink()
    remove_leftovers(probe.parent)
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
