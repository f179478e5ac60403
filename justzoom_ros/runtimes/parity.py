"""Does another runtime say what plain torch says? Asked on fixed frames over a fixed little map.

A wrong half precision or a broken kernel shows in the posterior, so that is what is compared: the
same most probable cell, and a total variation that is small.
"""

from dataclasses import dataclass

import numpy as np

from justzoom_ros.embeddings.cell_embeddings import MapEmbeddings
from justzoom_ros.errors import ConfigError, RuntimeUnavailableError
from justzoom_ros.inference.preprocess import ground_views, normalize
from justzoom_ros.inference.tree_search import search
from justzoom_ros.region import Region
from justzoom_ros.runtimes.base import Runtime

FRAMES = 6
TOLERANCE = 0.005
"""Greatest total variation between the posteriors of a frame."""


@dataclass(frozen=True)
class Parity:
    """How well two runtimes agree."""

    frames: int
    """Number of frames that both were asked about."""

    other_cell: int
    """In how many of them the most probable cell is another."""

    total_variation: float
    """Greatest total variation (0..1) between the posteriors of a frame."""

    @property
    def holds(self) -> bool:
        """True where the runtime may be used."""
        return self.other_cell == 0 and self.total_variation <= TOLERANCE


def parity(runtime: Runtime, reference: Runtime) -> Parity:
    """The `Parity` of a runtime with another, of the same policy."""
    maps = [_maps(each) for each in (runtime, reference)]
    pairs = [
        [
            _posterior(each, found, picture)
            for each, found in zip((runtime, reference), maps, strict=True)
        ]
        for picture in pictures(FRAMES, 240, 320)
    ]
    # A tie of two cells is no difference: the top cell must be as probable in both.
    other = sum(b.max() - b[a.argmax()] > TOLERANCE for a, b in pairs)
    variation = max(float(np.abs(a - b).sum() / 2) for a, b in pairs)
    return Parity(len(pairs), other, variation)


def check_parity(runtime: Runtime, reference: Runtime) -> Parity:
    """The `Parity`; raises RuntimeUnavailableError, with the figures, where it does not hold."""
    found = parity(runtime, reference)
    if not found.holds:
        raise RuntimeUnavailableError(
            f'runtime {runtime.name!r} is refused: in {found.other_cell} of {found.frames} fixed '
            'frames its most probable cell is another than in torch, and its posterior differs by '
            f'up to {found.total_variation:.5f} in total variation (at most {TOLERANCE})'
        )
    return found


def pictures(count: int, height: int, width: int) -> list[np.ndarray]:
    """Invented pictures uint8 (height, width, 3): patches of many sizes, always the same."""
    rng = np.random.default_rng(20)
    made = []
    for number in range(count):
        block = 2 ** (2 + number % 4)
        shape = -(-height // block), -(-width // block), 3
        coarse = rng.integers(0, 256, shape, np.uint8)
        made.append(coarse.repeat(block, 0).repeat(block, 1)[:height, :width])
    return made


def _maps(runtime: Runtime) -> MapEmbeddings:
    """Embeddings of a map of two levels that exists nowhere."""
    config = runtime.config
    region = Region(0.0, 0.0, 1000.0, grid=config.grid, depth=2)
    counts = [region.cell_count(k) for k in range(2 + config.look_ahead)]
    crops = normalize(np.stack(pictures(sum(counts), config.crop_px, config.crop_px)))
    levels = runtime.encode_satellite(crops).float().split(counts)
    covered = tuple(np.ones(region.cell_count(k), bool) for k in range(3))
    return MapEmbeddings(region, levels, covered)


def _posterior(runtime: Runtime, maps: MapEmbeddings, picture: np.ndarray) -> np.ndarray:
    ground = runtime.encode_ground(normalize(ground_views(picture, runtime.config))[None])[0]
    masses = np.zeros(maps.region.cell_count(2))
    try:
        found = search(runtime, maps, ground.float())
    except ConfigError:  # half precision overflowed: of such numbers there is no posterior
        return masses
    masses[found.indices] = found.masses
    return masses
