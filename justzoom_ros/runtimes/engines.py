"""Engine files: what an exporter made of a policy, named after everything that it depends on.

An engine belongs to one set of weights, one precision, one kind of device and one version of its
library. All of that is in the hash of its name and, to be read by people, in a JSON beside it. A
policy that changed by one bit finds no engine, instead of an old one.
"""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.files import writing

Facts = dict[str, Any]
"""What an engine depends on, as plain JSON types."""

FOLDER = Path('~/.cache/justzoom_ros/engines')
FORMAT = 2
"""Of what is kept: raised when engines of before are not to be found any more."""

REMEDY = 'delete it and export again'


def engine_folder() -> Path:
    """Where engines are kept: $JUSTZOOM_ENGINES or the user's cache."""
    return Path(os.environ.get('JUSTZOOM_ENGINES') or FOLDER.expanduser())


def engine_facts(
    kind: str, checksum: str, precision: str, versions: dict[str, str], **more: Any
) -> Facts:
    """What an engine of some kind depends on: `checksum` of weights and configuration,
    `precision`, {library: version}, the device of this machine, and `more`."""
    device = platform.machine()
    if kind == 'tensorrt':
        index = torch.cuda.current_device()
        major, minor = torch.cuda.get_device_capability(index)
        device = f'{torch.cuda.get_device_name(index)}, compute capability {major}.{minor}'
    return {
        'kind': kind,
        'format': FORMAT,
        'weights': checksum,
        'precision': precision,
        'device': device,
        'versions': {'torch': torch.__version__, **versions},
        **more,
    }


def engine_path(facts: Facts, suffix: str, folder: str | Path | None = None) -> Path:
    """The file of the engine with these facts."""
    text = json.dumps(facts, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:24]
    return Path(folder or engine_folder()) / f'{name}{suffix}'


def write_engine(path: Path, facts: Facts, save: Callable[[Path], Any]) -> None:
    """Put an engine and its JSON in place, the engine last: `save(temporary path)` writes it.
    Raises OutputError."""
    with writing(path) as temporary:
        save(temporary)
        _write_facts(path, {**facts, 'sha256': _sha256(temporary)})


def keep_engines(paths: Sequence[Path], folder: str | Path, measured: Facts) -> list[Path]:
    """Move engines, checked in a folder of their own, to where they will be found; what was
    `measured` is added to their JSON. Returns the new paths. Raises OutputError."""
    kept = []
    for path in paths:
        place = Path(folder) / path.name
        _write_facts(place, {**read_facts(path), **measured})
        with writing(place) as temporary:
            os.replace(path, temporary)
        kept.append(place)
    return kept


def read_facts(path: Path) -> Facts:
    """The JSON of an engine; empty where there is none that can be read."""
    try:
        found = json.loads(path.with_suffix('.json').read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def check_whole(path: Path) -> None:
    """Raises RuntimeUnavailableError unless the engine is the one that its JSON describes: a
    library that is given half a file need not survive it."""
    try:
        whole = read_facts(path).get('sha256') == _sha256(path)
    except OSError as error:
        raise RuntimeUnavailableError(f'{path} cannot be read: {error.strerror}') from error
    if not whole:
        raise RuntimeUnavailableError(f'{path} is damaged or was not written whole; {REMEDY}')


def engines_of(kind: str, checksum: str, folder: str | Path | None = None) -> list[Facts]:
    """The JSONs of all engines of a kind and weights, whatever machine they were made for."""
    paths = sorted(Path(folder or engine_folder()).glob('*.json'))
    found = [read_facts(path) for path in paths]
    return [each for each in found if (each.get('kind'), each.get('weights')) == (kind, checksum)]


def explain_missing(facts: Facts, folder: str | Path | None = None) -> str:
    """In words, that there is no engine with these facts, and what those there are are for."""
    others = {
        f'{key} {_words(other.get(key))} where {_words(facts[key])} is needed'
        for other in engines_of(facts['kind'], facts['weights'], folder)
        for key in ('device', 'versions')
        if other.get(key) != facts[key]
    }
    told = f' but for {"; ".join(sorted(others))}' if others else ''
    return (
        f'there is no {facts["kind"]} engine of these weights in {folder or engine_folder()}'
        f'{told}; make it by `justzoom export --runtime {facts["kind"]} --weights FILE`'
    )


def _words(value: Any) -> Any:
    if isinstance(value, dict):
        return ', '.join(f'{name} {version}' for name, version in sorted(value.items()))
    return value


def _write_facts(path: Path, facts: Facts) -> None:
    with writing(path.with_suffix('.json')) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + '\n')


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
