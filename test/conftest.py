"""Fixtures that more than one test file uses."""

from collections import Counter
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / 'shared'

STARTS_NODES = {'ros', 'node', 'launched'}
"""Fixtures of tests that talk to real nodes over DDS."""


def is_long(item):
    return any(item.get_closest_marker(name) for name in ('ros', 'slow'))


def pytest_collection_modifyitems(config, items):
    """Such tests have the marker `ros`. Where processes share the files (pytest-xdist), those with
    most tests that take long come first: the others fill what time is left."""
    for item in items:
        if STARTS_NODES & set(item.fixturenames):
            item.add_marker(pytest.mark.ros)
    if hasattr(config, 'workerinput'):
        long = Counter(
            i.path for i in items if {'ros', 'slow'} & {m.name for m in i.iter_markers()}
        )
        items.sort(key=lambda item: -long[item.path])


@pytest.fixture(scope='session')
def shared():
    """Folder of reference vectors and real data beside the repository; the test skips without."""
    if not SHARED.is_dir():
        pytest.skip(f'no shared data folder at {SHARED}')
    return SHARED


@pytest.fixture(scope='session')
def ortho(tmp_path_factory):
    """A raster file that servers show."""
    from map_servers import write_ortho

    return write_ortho(tmp_path_factory.mktemp('ortho'))


@pytest.fixture
def server(ortho):
    """A server of imagery on loopback."""
    from map_servers import serving

    with serving(ortho) as running:
        yield running
