"""The real node in a process and a ROS domain of its own, for the demo and the bench."""

import fcntl
import os
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from justzoom_ros.errors import LiveError
from justzoom_ros.files import writing
from justzoom_ros.live import end_with_parent

NODE = '/justzoom'
IMAGE_TOPIC = '/camera/image'
"""What the demo's recordings and the bench publish on, compressed, below it."""
DOMAINS = range(71, 102)
"""The ports of domains up to 101 are below the ephemeral ones of Linux."""

STOP_S = 15.0
"""How long the node has to stop after SIGTERM."""


@contextmanager
def own_domain() -> Iterator[None]:
    """A ROS domain of our own, on this machine alone, for this process and those it starts: no
    other demo or measurement that runs at the moment has it."""
    with ExitStack() as stack:
        free = lock_domain(random.sample(DOMAINS, len(DOMAINS)), stack)
        with _environment(random.choice(DOMAINS) if free is None else free):
            yield


def lock_domain(domains: Iterable[int], stack: ExitStack) -> int | None:
    """The first of `domains` that no other process on this machine holds; ours until `stack` is
    closed. None where all are held."""
    for domain in domains:
        path = Path(tempfile.gettempdir(), f'justzoom-domain-{domain}.lock')
        with ExitStack() as attempt:
            try:
                lock = attempt.enter_context(path.open('w'))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # held, or the file is of another user
                continue
            stack.enter_context(attempt.pop_all())
            return domain
    return None


@contextmanager
def _environment(domain: int) -> Iterator[None]:
    ours = {
        'ROS_DOMAIN_ID': str(domain),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    }
    if os.environ.get('ROS_DISTRO') == 'humble':  # which does not know of ranges yet
        ours['ROS_LOCALHOST_ONLY'] = '1'
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def running_node(
    out: Path,
    map_path: Path,
    weights: Path | None,
    tell_pid: Callable[[int], None] = lambda pid: None,
    **parameters: Any,
) -> Iterator[Callable[[], bool]]:
    """The lifecycle node in its own process, its output in `out`/node.log; yields what says
    whether it is still alive. Without `weights` it registers. `tell_pid` is called with its
    process id; `parameters` are further ones of the node. However the block ends, the node is
    stopped, and on Linux also where this process is killed."""
    command = end_with_parent.command('-m', 'justzoom_ros.ros.node', '--ros-args')
    command += ['--params-file', str(_write_parameters(out, map_path, weights, parameters))]
    command += ['-r', f'image:={IMAGE_TOPIC}']
    with (out / 'node.log').open('wb') as log:
        # In a session of its own: Ctrl-C is for us, and we tell the node.
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            tell_pid(process.pid)
            yield lambda: process.poll() is None
        except LiveError as error:
            raise LiveError(f'{error} ({_last_error(out / "node.log")})') from error
        finally:
            _stop(process)


def _write_parameters(
    out: Path, map_path: Path, weights: Path | None, more: dict[str, Any]
) -> Path:
    parameters = {
        'map': str(map_path.resolve()),
        'weights': str(weights.resolve()) if weights else '',
        'image_transport': 'compressed',
        'image_reliability': 'reliable',
        'belief_period_s': 0.0,
        **more,
    }
    with writing(out / 'node.yaml') as temporary:
        temporary.write_text(yaml.safe_dump({NODE: {'ros__parameters': parameters}}))
    return out / 'node.yaml'


def _last_error(log: Path) -> str:
    """What the node said last of its troubles, and where there is more."""
    lines = log.read_text(errors='replace').splitlines()
    said = [line.partition(f'[{NODE[1:]}]: ')[2] for line in lines if line.startswith('[ERROR]')]
    return '; '.join([*said[-1:], f'see {log}'])


def _stop(process: 'subprocess.Popen[bytes]') -> None:
    process.terminate()  # SIGINT is ignored below a job in the background
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
