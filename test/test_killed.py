"""Short forms of `test/killed.py` and `test/killed_node.py`: jobs and a node that are killed,
disks that are full."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.mark.slow
@pytest.mark.parametrize('job', ['build', 'embed', 'calibrate'])
def test_a_job_that_is_killed_or_out_of_space_tears_nothing(job):
    run('killed.py', '--times', '3', '--jobs', job)


@pytest.mark.ros
@pytest.mark.slow
def test_a_node_that_is_killed_tears_nothing_and_goes_on():
    from ros_support import own_domain

    with own_domain() as domain:
        run('killed_node.py', '--times', '2', '--domain', str(domain))


def run(script, *arguments):
    """Run a script to its good end."""
    environment = {**os.environ, 'PYTHONPATH': str(HERE.parent), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, HERE / script, *arguments],
        capture_output=True, text=True, timeout=900, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.endswith('nothing was torn\n')
