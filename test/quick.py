"""Which values of a parameter `make quick` takes."""

import pytest


def quick_first(count, values):
    """The values of a parameter, or tuples of those of several; a test with another than the first
    `count` of them has the marker `slow`."""
    return [
        value if number < count else pytest.param(*as_tuple(value), marks=pytest.mark.slow)
        for number, value in enumerate(values)
    ]


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)
