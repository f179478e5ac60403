"""Which numbers the fields of a configuration may hold, said once beside their defaults.

@dataclass(frozen=True)
class Settings:
    share: float = ranged(0.05, above=0, below=1)

    def __post_init__(self) -> None:
        check_ranges(self)

The checks, the node's parameters and the documentation read the same `Range`.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any

from justzoom_ros.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """Finite numbers between two bounds, None where there is none on that side."""

    at_least: float | None = None
    """Least number, itself included."""

    above: float | None = None
    """Lower bound, itself left out."""

    at_most: float | None = None
    """Greatest number, itself included."""

    below: float | None = None
    """Upper bound, itself left out."""

    def __contains__(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """In words: 'at least 0 and below 1'."""
        bounds = ((field.name, getattr(self, field.name)) for field in fields(self))
        words = (
            f'{name.replace("_", " ")} {bound:g}' for name, bound in bounds if bound is not None
        )
        return ' and '.join(words) or 'finite'


def ranged(default: Any, **bounds: float) -> Any:
    """A field of a dataclass with a default and the bounds of a `Range`."""
    return field(default=default, metadata={'range': Range(**bounds)})


def check_ranges(config: Any) -> None:
    """Raises ConfigError that names the first field of a dataclass which is out of its range. None
    is for fields that may be left open."""
    for each in fields(config):
        value, allowed = getattr(config, each.name), each.metadata.get('range')
        if allowed is not None and value is not None and value not in allowed:
            raise ConfigError(f'{each.name} is {value:g}; it must be {allowed}')
