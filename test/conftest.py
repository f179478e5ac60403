"""Fixtures that more than one test file uses."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / 'shared'


@pytest.fixture(scope='session')
def shared():
    """Folder of reference vectors and real data beside the repository; the test skips without."""
    if not SHARED.is_dir():
        pytest.skip(f'no shared data folder at {SHARED}')
    return SHARED
