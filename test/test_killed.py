"""A short form of `test/killed.py`: jobs that are killed, disks that are full."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.mark.slow
@pytest.mark.parametrize('job', ['build', 'embed', 'calibrate'])
def test_a_job_that_is_killed_or_out_of_space_tears_nothing(job):
    environment = {**os.environ, 'PYTHONPATH': str(HERE.parent), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, HERE / 'killed.py', '--times', '3', '--jobs', job],
        capture_output=True, text=True, timeout=900, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.endswith('nothing was torn\n')
