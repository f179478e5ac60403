"""Opening the storage files of a rosbag2, whatever else the bag holds.

A robot's bag has topics of kinds that nobody here knows, its metadata may count wrongly or name
files that were renamed since, and a recorder that was killed leaves messages in SQLite's log. Only
what is needed must be readable; what is odd is told as a warning.
"""

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, BinaryIO

import yaml
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection, MessageDefinition
from rosbags.rosbag2 import storage_mcap

from justzoom_ros.errors import BagError
from justzoom_ros.io.bag_types import make_typestore

log = logging.getLogger(__name__)

METADATA = 'metadata.yaml'
STORAGE_SUFFIXES = ('.mcap', '.db3')
KNOWN_SCHEMAS = ('ros2msg', 'ros2idl', 'omgidl', '')


class StorageReader(AnyReader):
    """Reads the files of a bag; definitions of message types that cannot be parsed are left out.

    Raises whatever the parsers of four formats raise on damaged files.
    """

    def _open(self) -> None:
        assert self.stack is not None
        with _tolerant_schemas():
            for reader in self.readers:
                self.stack.enter_context(reader)
        self.connections = [c for reader in self.readers for c in reader.connections]
        self.typestore = make_typestore(self.connections)

    def knows(self, connection: Connection) -> bool:
        """Whether the messages of a connection can be deserialised."""
        serialization = getattr(connection.ext, 'serialization_format', 'cdr')
        return serialization == 'cdr' and connection.msgtype in self.typestore.fielddefs


def open_reader(path: Path, stack: ExitStack) -> StorageReader:
    """Open the bag at a path: a folder, or one of its files. The reader, and what was made for
    it, is closed with `stack`. Raises BagError for what is missing, others for what is damaged."""
    files = [_merge_log(file, stack) for file in _storage_files(path)]
    reader = StorageReader(files)
    reader.open()
    stack.callback(reader.close)
    _compare_counts(path, sum(c.msgcount for c in reader.connections))
    return reader


# --- files -------------------------------------------------------------------------------------


def _storage_files(path: Path) -> list[Path]:
    """The files to read for `path`, in order; the folder itself where they are compressed.
    Raises BagError where they cannot be found or read."""
    if not path.exists():
        raise BagError(f'bag {path} does not exist')
    if path.is_file():
        if path.suffix not in STORAGE_SUFFIXES:
            raise BagError(f'{path} is no rosbag2 (a folder, .mcap or .db3); convert it first')
        files = [path]
    else:
        files = _files_of_folder(path)
    for file in files:
        _check_readable(file)
    return files


def _files_of_folder(path: Path) -> list[Path]:
    there = sorted(file for file in path.iterdir() if file.suffix in STORAGE_SUFFIXES)
    metadata = _metadata(path)
    if metadata is None:
        if len(there) == 1:
            return there
        raise BagError(f'{path} is no rosbag2: it has neither {METADATA} nor one .mcap or .db3')
    if str(metadata.get('compression_mode') or 'none').lower() != 'none':
        return [path]
    named = [path / Path(str(name)).name for name in metadata.get('relative_file_paths') or ()]
    if missing := [file.name for file in named if not file.exists()]:
        if len(there) != len(named):
            raise BagError(f'bag {path} lacks {", ".join(missing)}, which its {METADATA} names')
        log.warning(f'bag {path}: {METADATA} names {", ".join(missing)}; {there[0].name} is read')
        return there
    return named or there or [path]


def _metadata(path: Path) -> dict[str, Any] | None:
    """What the metadata of a bag's folder says, None where there is none or it cannot be used."""
    file = path / METADATA
    if not file.exists():
        return None
    try:
        values = yaml.safe_load(file.read_text(encoding='utf-8'))
        return dict(values['rosbag2_bagfile_information'])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        log.warning(f'bag {path}: its {METADATA} cannot be used: {" ".join(str(error).split())}')
        return None


def _check_readable(file: Path) -> None:
    try:
        if file.is_file():
            file.open('rb').close()
    except OSError as error:
        raise BagError(f'bag {file} cannot be read: {error.strerror}') from None


def _compare_counts(path: Path, found: int) -> None:
    metadata = _metadata(path) if path.is_dir() else None
    told = (metadata or {}).get('message_count')
    if isinstance(told, int) and told != found:
        log.warning(f'bag {path}: its {METADATA} counts {told} messages, its files hold {found}')


def _merge_log(file: Path, stack: ExitStack) -> Path:
    """A file, or where a killed recorder left messages in the log of SQLite beside it, a copy
    that has them. Raises BagError where there is no room for the copy."""
    journal = file.with_name(f'{file.name}-wal')
    if file.suffix != '.db3' or not journal.is_file() or not journal.stat().st_size:
        return file
    folder = Path(mkdtemp(prefix='justzoom_bag_'))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    copy = folder / file.name
    try:
        shutil.copyfile(file, copy)
        shutil.copyfile(journal, folder / journal.name)
        with closing(sqlite3.connect(copy)) as database:
            database.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    except (OSError, sqlite3.Error) as error:
        raise BagError(
            f'bag {file}: messages in {journal.name} cannot be merged ({error}); merge them with '
            f"sqlite3 {file.name} 'PRAGMA wal_checkpoint(TRUNCATE)'"
        ) from None
    log.warning(f'bag {file} was not closed; the messages in {journal.name} are read too')
    return copy


# --- schemas ----------------------------------------------------------------------------------


@contextmanager
def _tolerant_schemas() -> Iterator[None]:
    """While it lasts, MCAP files may hold schemas of other kinds (JSON, protobuf), some of them
    binary: they count as types without a definition."""
    read_string, get_msgdef = storage_mcap.read_string, storage_mcap.get_msgdef

    def read_any_string(bio: BinaryIO) -> str:
        return storage_mcap.read_bytes(bio).decode(errors='replace')

    def get_known_msgdef(schema: Any) -> MessageDefinition:
        return get_msgdef(schema if schema and schema.encoding in KNOWN_SCHEMAS else None)

    module: Any = storage_mcap
    module.read_string, module.get_msgdef = read_any_string, get_known_msgdef
    try:
        yield
    finally:
        module.read_string, module.get_msgdef = read_string, get_msgdef
