"""Jobs that are killed at random moments, and disks that are full: what lies there afterwards is
whole or absent, and the next run goes on.

    python test/killed.py --times 50 --seed 1 --jobs build embed

Each job runs in a process of its own, forked from this one, so that little is loaded anew. A
limit on the size of files stands in for a full disk: writing fails at any byte.
"""

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tiny import REGION, make_map, make_weights

from justzoom_ros.cli.main import main
from justzoom_ros.files import load_tensors
from justzoom_ros.maps.satellite_map import SatelliteMap

PLACE = ['--center', '52.5', '13.4', '--side', '256', '--depth', '2', '--crop-px', '16']
TINY = ['--ground-px', '32', '--crop-px', '32', '--set', 'conv.channels=16,32', '--workers', '0']


@dataclass(frozen=True)
class Job:
    """A command line, and what has to be true whenever it stopped."""

    arguments: Callable[[Path], list]
    """Of `justzoom`, in a folder that `prepare` made."""

    check: Callable[[Path], None]
    """Raises where something is neither whole nor absent."""

    output: str
    """What it makes, in the folder."""

    again: tuple[str, ...] = ()
    """Further arguments of a run that goes on."""


def prepare(folder):
    """A map, weights for it, three pictures with positions; returns 0."""
    satellite_map = make_map(folder)
    make_weights(folder, satellite_map)
    rng, rows = np.random.default_rng(0), ['file,lat,lon']
    for number in range(3):
        pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f'{number}.png')
        latitude, longitude = REGION.to_latlon(*rng.uniform(-120, 120, 2))
        rows.append(f'{number}.png,{latitude},{longitude}')
    (folder / 'images.csv').write_text('\n'.join(rows))
    return 0


def build(folder):
    return [
        'map',
        'build',
        folder / 'map_source.tif',
        *PLACE,
        '-o',
        folder / 'built',
        '--overwrite',
    ]


def embed(folder):
    return ['map', 'embed', folder / 'map', '--weights', folder / 'weights.safetensors']


def calibrate(folder):
    weights, images = folder / 'weights.safetensors', folder / 'images.csv'
    given = ['--map', folder / 'map', '--weights', weights, '--images', images]
    return ['calibrate', *given, '-o', folder / 'calibrated.safetensors']


def evaluate(folder):
    weights, images = folder / 'weights.safetensors', folder / 'images.csv'
    given = ['--map', folder / 'map', '--weights', weights, '--images', images]
    return ['evaluate', *given, '-o', folder / 'evaluated']


def train(folder):
    given = ['--map', folder / 'map', '--footprint', '60', '80', '--steps', '6', '--batch', '4']
    return ['train', *given, *TINY, '-o', folder / 'run']


def export(folder):
    given = ['--weights', folder / 'weights.safetensors', '--folder', folder / 'engines']
    return ['export', *given]


def map_is_whole(folder):
    SatelliteMap.open(folder / 'built')


def files_are_whole(folder):
    """Every visible file can be read by its kind."""
    for path in folder.rglob('*'):
        if path.suffix == '.safetensors' and not path.name.startswith('.'):
            load_tensors(path)
        elif path.suffix == '.json' and not path.name.startswith('.'):
            json.loads(path.read_text())
        elif path.suffix == '.png':
            with Image.open(path) as picture:
                picture.load()


JOBS = {
    'build': Job(build, map_is_whole, 'built'),
    'embed': Job(embed, files_are_whole, 'map/embeddings'),
    'calibrate': Job(calibrate, files_are_whole, 'calibrated.safetensors'),
    'evaluate': Job(evaluate, files_are_whole, 'evaluated'),
    'train': Job(train, files_are_whole, 'run', ('--resume',)),
    'export': Job(export, files_are_whole, 'engines'),
}


def forked(call, output, limit=None):
    """The process id of a call that runs now and prints into the file descriptor `output`; it
    returns an exit status."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, 'w'), os.fdopen(2, 'w')
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        status = call()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def command(arguments):
    return partial(main, [str(word) for word in arguments])


def finish(call, limit=None):
    """(status, what it printed) of a call that runs to its end."""
    reading, writing = os.pipe()  # no file: the limit would hold for that too
    child = forked(call, writing, limit)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def kill_at(call, delay_s):
    """Whether a call was killed so long after its start; False where it had ended."""
    with open(os.devnull, 'w') as nowhere:
        child = forked(call, nowhere.fileno())
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def prepared(folder):
    """The folder with inputs, made in a process of its own: a fork of one in which libraries
    have threads may wait for ever."""
    folder.mkdir()
    status, said = finish(partial(prepare, folder))
    assert status == 0, said
    return folder


def kill(name, times, rng):
    """Kill a job again and again in one folder, then let it go on to its end. {what: how often};
    raises AssertionError or an error of the package where something was torn."""
    job, counts = JOBS[name], Counter()
    with tempfile.TemporaryDirectory(prefix='justzoom-killed-') as made:
        folder, started_s = prepared(Path(made) / 'first'), time.monotonic()
        status, said = finish(command(job.arguments(folder)))
        assert status == 0, said
        whole_s = time.monotonic() - started_s
        folder = prepared(Path(made) / 'killed')
        output, arguments = folder / job.output, job.arguments(folder)
        for _ in range(times):
            there = output.exists()
            resumed = job.again if there else ()
            killed = kill_at(command([*arguments, *resumed]), rng.uniform(0, whole_s))
            counts['killed' if killed else 'had ended'] += 1
            assert output.exists() or not there, 'what was there is gone'
            if output.exists():
                job.check(folder)
        status, said = finish(command([*arguments, *(job.again if output.exists() else ())]))
        assert status == 0, said
        job.check(folder)
    return dict(counts)


def fill(name, times, rng):
    """Run a job with limits on the size of files. {what: how often}; raises as `kill`."""
    job, counts = JOBS[name], Counter()
    with tempfile.TemporaryDirectory(prefix='justzoom-full-') as made:
        for number in range(times):
            folder = prepared(Path(made) / str(number))
            limit = int(10 ** rng.uniform(0, 6))
            status, said = finish(command(job.arguments(folder)), limit)
            assert status in (0, 2), f'{name}, limit {limit}: status {status}\n{said}'
            counts['done' if status == 0 else 'refused'] += 1
            if (folder / job.output).exists():
                job.check(folder)
            assert not list(folder.rglob('.*.partial')), 'a half-written file is left'
    return dict(counts)


def run():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--times', type=int, default=20, help='per job (default 20)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--jobs', nargs='*', default=list(JOBS), choices=list(JOBS))
    args = parser.parse_args()
    for name in args.jobs:
        for what in (kill, fill):
            rng = random.Random(f'{args.seed} {name} {what.__name__}')
            print(name, what.__name__, what(name, args.times, rng), flush=True)
    print('nothing was torn', file=sys.stderr)


if __name__ == '__main__':
    run()
