"""A colcon workspace of this repository in a temporary folder, built once per test session."""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
PARTS = (
    'package.xml',
    'setup.py',
    'setup.cfg',
    'colcon.pkg',
    'resource',
    'justzoom_ros',
    'launch',
    'config',
    'maps',
)


def colcon(*arguments, cwd):
    """Run colcon; returns what it prints."""
    pytest.importorskip('colcon_core', reason='colcon is not installed')
    environment = {**os.environ, 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
    command = [sys.executable, '-m', 'colcon', '--log-base', 'log', *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@functools.cache
def workspace():
    """A built copy of the repository; its install prefix is `install/justzoom_ros` below."""
    folder = Path(tempfile.mkdtemp(prefix='justzoom-colcon-'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    unwanted = shutil.ignore_patterns('__pycache__')
    for part in PARTS:
        source = REPO / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=unwanted)
        else:
            shutil.copy(source, folder)
    nested = folder / 'maps' / 'nested' / 'deeper'
    nested.mkdir(parents=True)
    (nested / 'map.tif').write_bytes(b'a map')
    (folder / 'maps' / 'nested' / 'embeddings').mkdir()
    (folder / 'maps' / 'nested' / 'embeddings' / 'cache').write_bytes(b'a cache')
    colcon('build', cwd=folder)
    return folder


def sourced():
    """The environment after `source install/setup.bash`."""
    setup = workspace() / 'install' / 'setup.bash'
    done = subprocess.run(
        ['bash', '-c', f'. {setup} && env -0'], capture_output=True, text=True, check=True
    )
    entries = (line.partition('=') for line in done.stdout.split('\0') if line)
    return {name: value for name, _, value in entries}
