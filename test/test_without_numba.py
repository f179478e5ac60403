"""The generated city needs numba, which neither package.xml nor a plain pip install brings; the
rest must do without it."""

import subprocess
import sys

import pytest
from colcon_support import REPO

HIDE_NUMBA = """
import sys
sys.modules['numba'] = None
"""


def run(code):
    """A new interpreter without numba: the finished process."""
    command = [sys.executable, '-c', HIDE_NUMBA + code]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_flight_bench_and_command_line_are_imported_without_numba():
    done = run(
        'import justzoom_ros.worlds.demo, justzoom_ros.worlds.flight, justzoom_ros.cli.demo\n'
        'import justzoom_ros.bench.node, justzoom_ros.bench.memory, justzoom_ros.bench.parts\n'
        'from justzoom_ros.worlds.demo import demo_map\n'
        'print(demo_map().name, demo_map("city").name)'
    )
    assert (done.returncode, done.stdout) == (0, 'demo city\n'), done.stderr


@pytest.mark.slow
def test_a_flight_is_made_without_numba(tmp_path):
    done = run(
        'from pathlib import Path\n'
        'from functools import partial\n'
        'from justzoom_ros.worlds import flight\n'
        'flight.landscape = partial(flight.landscape, resolution_m=2.0)\n'
        f'flight.make_flight(Path({str(tmp_path / "flight")!r}), flight.FlightConfig(frames=2))'
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'flight' / 'bag' / 'metadata.yaml').is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    'command', [['demo', '--street', '-o', 'OUT'], ['city', 'OUT', '--side', '640']]
)
def test_the_city_without_numba_is_one_line_that_names_the_extra(command, tmp_path):
    out = str(tmp_path / 'out')
    arguments = [out if word == 'OUT' else word for word in command]
    done = run(f'from justzoom_ros.cli.main import main\nsys.exit(main({arguments!r}))')
    assert done.returncode == 2
    assert done.stderr.count('\n') == 1
    assert 'numba' in done.stderr and 'justzoom_ros[city]' in done.stderr
