"""How one generated city differs from another beside its seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CityStyle:
    """The manner in which a city is laid out; the default is that of all cities by seed alone."""

    block_m2: tuple[float, float] = (8000.0, 17000.0)
    """Blocks are cut until they are smaller than an area drawn from this range."""

    road_width: float = 1.0
    """Factor on the widths of carriageways and footways."""

    crookedness: float = 1.0
    """Factor on how far roads are from meeting at right angles."""

    uses: tuple[tuple[str, float], ...] = ()
    """Factors on the shares of the uses of blocks, by name; 1 for those that are not named."""

    def factors(self, names: Sequence[str]) -> np.ndarray:
        """Factors (N,) on the shares of the named uses."""
        return np.array([dict(self.uses).get(name, 1.0) for name in names])

    @classmethod
    def draw(cls, rng: np.random.Generator, names: Sequence[str]) -> 'CityStyle':
        """A random one; `names` are the uses whose shares vary."""
        size = float(np.exp(rng.uniform(-0.5, 0.5)))
        uses = tuple((name, float(np.exp(rng.normal(0, 0.5)))) for name in names)
        return cls(
            (8000.0 * size, 17000.0 * size),
            float(rng.uniform(0.9, 1.35)),
            float(np.exp(rng.uniform(-0.7, 0.9))),
            uses,
        )
