"""What a training of the forward registration is made of."""

from dataclasses import dataclass, field

from justzoom_ros.ranges import check_ranges, ranged
from justzoom_ros.registration.forward_config import ForwardConfig
from justzoom_ros.training.street_registration.photos import LabelDeviations


@dataclass(frozen=True)
class StreetRecipe:
    """How long, how much at a time, and how hard."""

    network: ForwardConfig = field(default_factory=ForwardConfig)
    """Sizes of the network."""

    minutes: float = 20.0
    """Wall-clock minutes of the whole training, over all runs that continue it."""

    views: int = 64
    """Views in a step; places have 1, 2 or 4 of them each."""

    view_counts: tuple[int, ...] = (1, 2, 4)
    """How many views a place may have."""

    view_count_shares: tuple[float, ...] = (0.6, 0.2, 0.2)
    """How often."""

    headings: int = 36
    """Headings that are compared for each place."""

    tile_px: int = 256
    """Side of the piece of map round a place, in pixels."""

    learning_rate: float = 1.5e-3
    """Peak of the rate of AdamW."""

    weight_decay: float = 0.01
    """Decay of AdamW."""

    elsewhere_share: float = 0.25
    """Share of the places that are also looked for on a piece of map that does not show them."""

    class_weight: float = 0.5
    """Weight of telling classes of ground, beside the places."""

    seed: int = 0
    """Draws the order and the variations of the views."""

    judge_minutes: float = 1.0
    """Between one judgement on cities kept back and the next."""

    judge_places: int = 192
    """Places that judge, for each number of views."""

    capacity: int = 4000
    """Most lessons that are kept in memory; older ones give way."""


@dataclass(frozen=True)
class PhotoRecipe:
    """How a `ForwardNetwork` is fitted to photos of one's own. Raises ConfigError for values out
    of range."""

    minutes: float = ranged(15.0, above=0)
    """Minutes, validation included: of processor time on a CPU, on the clock with a GPU."""

    views: int = ranged(8, at_least=2)
    """Photos in a step."""

    headings: int = ranged(36, at_least=4)
    """Headings that are compared for each."""

    tile_px: int = 256
    """Side of the piece of map round a photo, in pixels."""

    learning_rate: float = ranged(2e-4, above=0)
    """Peak, of AdamW; it rises over 50 steps and falls as a cosine to a hundredth."""

    weight_decay: float = ranged(1e-2, at_least=0)
    """Of AdamW."""

    averaging: float = ranged(0.99, at_least=0, below=1)
    """Share of the past in the running mean of the weights, which is what is judged and kept."""

    elsewhere_share: float = ranged(0.25, at_least=0, at_most=1)
    """Share of the photos that are also looked for on a piece of map that does not show them."""

    validate_minutes: float = ranged(2.0, above=0)
    """Minutes from one validation to the next."""

    judge_views: int = ranged(64, at_least=4)
    """Most photos that judge, spread evenly over those of the split."""

    seed: int = 0
    """Of all that is random."""

    deviations: LabelDeviations = field(default_factory=LabelDeviations)
    """How wrong positions and headings are."""

    def __post_init__(self) -> None:
        check_ranges(self)
