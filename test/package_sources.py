"""The source files of the package, each parsed once for all tests that read them."""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / 'justzoom_ros'
SOURCES = sorted(PACKAGE.rglob('*.py'))


@cache
def parsed(path):
    return ast.parse(path.read_text())
