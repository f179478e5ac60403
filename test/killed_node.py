"""The running node, killed at random moments (kill -9): from its start over what it computes once
per map to frame after frame. What lies on the disk afterwards is whole or absent, and the next
start goes on from the position that it remembers.

    python test/killed_node.py --times 50 --seed 1

The node runs in a process of its own, what stands in for the robot in another; both are forked
from this one, so that little is loaded anew.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import rclpy  # noqa: F401, loaded once for all forks
from killed import files_are_whole, forked, prepared

from justzoom_ros.bench.inputs import picture
from justzoom_ros.io.camera_effects import encode_jpeg
from justzoom_ros.io.stamps import NS_PER_S
from justzoom_ros.live.frame_processor import REMEMBERED
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.pose import Pose
from justzoom_ros.ros import lifecycle, node
from justzoom_ros.ros.flight_generator import FlightGenerator
from justzoom_ros.ros.transitions import LifecycleClient

TOPIC = '/image/compressed'
FRAMES = 20
"""So many fixes, and a start was one."""
PATIENCE_S = 120.0


def run_node(folder, domain):
    """The node, as `ros2 run justzoom_ros localize` would start it; its exit status."""
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    given = {
        'map': folder / 'map',
        'weights': folder / 'weights.safetensors',
        'memory_file': folder / 'memory.json',
        'memory_max_age_s': 1e6,
        'image_transport': 'compressed',
        'image_reliability': 'reliable',
        'max_radius_m': 1000.0,
    }
    words = [word for name, value in given.items() for word in ('-p', f'{name}:={value}')]
    return node.main(['--ros-args', *words])


def run_robot(start_ns, domain, frames):
    """Bring the node to life and show it pictures a second apart until so many are fixes."""
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    with LifecycleClient('/justzoom', timeout_s=PATIENCE_S) as driver:
        driver.change('configure')
        driver.change('activate')
    jpeg = encode_jpeg(picture(48, 64))
    with FlightGenerator(TOPIC) as robot:
        number = 0
        while sum(fix.status.status >= 0 for fix in robot.fixes.values()) < frames:
            stamp_ns, number = start_ns + number * NS_PER_S, number + 1
            robot.send_odometry(Pose(stamp_ns, 0.1 * number, 0.0, 0.0))
            robot.send_frame(stamp_ns, jpeg)
            robot.receive(0.02)
    return 0


class Start:
    """One start of the node with its robot, in a folder; its output goes into node.log."""

    def __init__(self, folder, number, domain, frames=FRAMES):
        self.log = folder / 'node.log'
        start_ns = (1_700_000_000 + 10_000 * number) * NS_PER_S
        with self.log.open('wb') as output:
            self.node = forked(partial(run_node, folder, domain), output.fileno())
            robot = partial(run_robot, start_ns, domain, frames)
            self.robot = forked(robot, output.fileno())

    def end(self, number):
        """Send the node a signal and wait until it is gone; the robot goes with it."""
        os.kill(self.node, number)
        status = os.waitpid(self.node, 0)[1]
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.robot, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.robot, 0)
        return status

    def finish(self):
        """Wait for the robot's fixes, then interrupt the node; returns what was said."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.robot, 0)[1])
        ended = os.waitstatus_to_exitcode(self.end(signal.SIGINT))
        said = self.log.read_text()
        assert (status, ended) == (0, 0), said
        return said


def check(folder):
    """Raises where a file is neither whole nor absent."""
    files_are_whole(folder)
    SatelliteMap.open(folder / 'map')
    memory = folder / 'memory.json'
    assert not memory.exists() or json.loads(memory.read_text())['latitude']


def kill(times, rng, domain):
    """{what lay there: how often} over so many kills in one folder; raises AssertionError or an
    error of the package where something was torn or did not go on."""
    counts = Counter()
    with tempfile.TemporaryDirectory(prefix='justzoom-killed-') as made:
        folder, started_s = prepared(Path(made) / 'first'), time.monotonic()
        Start(folder, 0, domain).finish()
        whole_s = time.monotonic() - started_s
        folder = prepared(Path(made) / 'killed')
        for number in range(times):
            there = {path for path in folder.rglob('*') if not path.name.startswith('.')}
            memory, started = folder / 'memory.json', time.time()
            start = Start(folder, number, domain, frames=10**6)
            time.sleep(rng.uniform(0, whole_s))
            assert os.WIFSIGNALED(start.end(signal.SIGKILL)), start.log.read_text()
            missing = [path for path in there if not path.exists()]
            assert not missing, f'what was there is gone: {missing}'
            check(folder)
            written = memory.exists() and memory.stat().st_mtime > started
            counts['while it told positions' if written else 'while it started'] += 1
        remembered = (folder / 'memory.json').exists()
        said = Start(folder, times, domain).finish()
        assert (REMEMBERED in said) == remembered, said
        check(folder)
    return dict(counts)


def run():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--times', type=int, default=20)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--domain', type=int, default=41, help='ROS_DOMAIN_ID (default 41)')
    args = parser.parse_args()
    assert lifecycle  # loaded before the first fork
    print('node', kill(args.times, random.Random(f'{args.seed} node'), args.domain), flush=True)
    print('nothing was torn', file=sys.stderr)


if __name__ == '__main__':
    run()
