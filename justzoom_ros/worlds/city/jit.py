"""Kernels compiled by numba, kept on disk between runs.

numba notices a change of the kernel's own file, but not one of a kernel that it calls: so the
cache folder has the checksum of all files of this room in its name.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from justzoom_ros.errors import RuntimeUnavailableError

try:
    import numba
except ImportError as error:
    raise RuntimeUnavailableError(
        f'the generated city needs numba ({error}); install it: pip install "justzoom_ros[city]"'
    ) from error


def _cache_folder():
    files = sorted(Path(__file__).parent.glob('*.py'))
    version = hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()[:12]
    home = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    folder = home / 'justzoom_ros' / f'city-{version}'
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return tempfile.mkdtemp(prefix='justzoom-city-')
    return str(folder)


CACHE = _cache_folder()


def kernel(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`function` compiled on its first call. It holds no lock of the interpreter, so threads may
    run it side by side; without fast-math, so that all machines round alike; and without
    counting references, which kernels that allocate nothing do not need (ten times faster)."""
    settings: Any = numba.config
    before, settings.CACHE_DIR = settings.CACHE_DIR, CACHE
    try:
        options = {'cache': True, 'nogil': True, 'error_model': 'numpy', '_nrt': False, **options}
        return numba.njit(**options)(function)
    finally:
        settings.CACHE_DIR = before


def inline_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A `kernel` that is put into its callers: passing it a scene would cost more than it does."""
    return kernel(function, forceinline=True)
