"""Engine files: what an exporter made of a policy, named after everything that it depends on.

An engine belongs to one set of weights, one precision, one kind of device and one version of its
library. All of that is in the hash of its name and, to be read by people, in a JSON beside it. A
policy that changed by one bit finds no engine, instead of an old one.
"""

import hashlib
import json
import os
import platform
from pathlib import Path

import torch

from justzoom_ros.files import writing

FOLDER = Path('~/.cache/justzoom_ros/engines')


def engine_folder():
    """Where engines are kept: $JUSTZOOM_ENGINES or the user's cache."""
    return Path(os.environ.get('JUSTZOOM_ENGINES') or FOLDER.expanduser())


def engine_facts(kind, checksum, precision, versions):
    """What an engine of some kind depends on, as a dictionary: `checksum` of the weights,
    `precision`, {library: version}, and the device of this machine."""
    device = platform.machine()
    if kind == 'tensorrt':
        index = torch.cuda.current_device()
        major, minor = torch.cuda.get_device_capability(index)
        device = f'{torch.cuda.get_device_name(index)}, compute capability {major}.{minor}'
    return {
        'kind': kind,
        'weights': checksum,
        'precision': precision,
        'device': device,
        'versions': {'torch': torch.__version__, **versions},
    }


def engine_path(facts, suffix, folder=None):
    """The file of the engine with these facts."""
    text = json.dumps(facts, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:24]
    return Path(folder or engine_folder()) / f'{name}{suffix}'


def write_engine(path, facts, save, **measured):
    """Put an engine and its JSON in place, the engine last: `save(temporary path)` writes it.
    `measured` goes into the JSON too. Raises OutputError."""
    with writing(path.with_suffix('.json')) as temporary:
        temporary.write_text(json.dumps({**facts, **measured}, indent=1) + '\n')
    with writing(path) as temporary:
        save(temporary)
