"""Fixtures that more than one test file uses."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / 'shared'

STARTS_NODES = {'ros', 'node', 'launched'}
"""Fixtures of tests that talk to real nodes over DDS."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Such tests have the marker `ros`. Where several processes share the tests (pytest-xdist with
    `--dist loadgroup`), one has all of these, which begin first, and a file stays together."""
    for item in items:
        if STARTS_NODES & set(item.fixturenames):
            item.add_marker(pytest.mark.ros)
        group = 'ros' if item.get_closest_marker('ros') else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))


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
