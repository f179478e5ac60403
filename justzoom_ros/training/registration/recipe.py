"""How a registration network is trained, in numbers."""

import math
from dataclasses import dataclass, field

from justzoom_ros.registration.config import RegistrationConfig
from justzoom_ros.training.registration.views import ViewConfig


@dataclass(frozen=True)
class RegistrationRecipe:
    """How to train a `RegistrationNetwork`."""

    minutes: float = 75.0
    """Minutes, validation included: of processor time on a CPU, on the clock with a GPU."""
    pairs: int = 4
    """Pairs of view and tile in a step."""
    negatives: float = 0.6
    """Pictures of nothing in a step, on average."""
    headings: int = 8
    """Headings that a view is turned to; one of them is the true one."""
    foreign: int = 1
    """Tiles of other places that a view is looked for in besides its own."""
    heading_error_rad: float = math.radians(4)
    """Largest error of the true heading: half a step of a search over headings."""
    learning_rate: float = 1.6e-3
    """Peak, of AdamW; it rises over 50 steps and falls as a cosine to a hundredth."""
    weight_decay: float = 1e-2
    """Of AdamW."""
    averaging: float = 0.998
    """Share of the past in the running mean of the weights, which is what is judged and kept."""
    elsewhere_weight: float = 0.5
    """Weight of the loss on views that are not in the tile."""
    validate_minutes: float = 2.0
    """Minutes from one validation to the next."""
    validation_pairs: int = 64
    """Pairs of the places that judge."""
    generated_share: float = 0.4
    """Share of the pairs that come from generated places, where there are photographs too."""
    calibration_pairs: int = 64
    """Pairs that judge what a match is worth in searches of large tiles."""
    seed: int = 0
    """Of all that is random."""
    network: RegistrationConfig = field(default_factory=RegistrationConfig)
    """Sizes of the network."""
    views: ViewConfig = field(default_factory=ViewConfig)
    """How unlike view and map are."""


GPU_RECIPE = RegistrationRecipe(
    minutes=15.0,
    pairs=96,
    negatives=16.0,
    headings=10,
    foreign=3,
    learning_rate=2e-3,
    averaging=0.999,
    validate_minutes=1.0,
    validation_pairs=1024,
)
"""As the default, in batches that keep a GPU busy."""
