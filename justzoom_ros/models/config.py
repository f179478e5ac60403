"""The configuration of a network: its zoom tree, its images, its parts."""

import json
from dataclasses import asdict, dataclass, field

from justzoom_ros.errors import ConfigError
from justzoom_ros.models.decoder import DecoderConfig
from justzoom_ros.models.encoder import EncoderConfig

VIEWS = ('street', 'nadir')


@dataclass(frozen=True)
class PolicyConfig:
    """All that is needed to rebuild a policy and to prepare its images. Raises ConfigError for a
    view that is not in VIEWS or has another aspect than it needs."""

    grid: int = 4
    """Cells along a side in one zoom step of the tree that it was trained for."""

    depth: int = 4
    """Zoom steps of that tree."""

    view: str = 'street'
    """'street': a forward camera, whose 2 : 1 image is seen as two square halves; 'nadir': a
    downward camera, seen as one image."""

    ground_px: int = 384
    """Height in pixels at which a camera view is seen."""

    ground_aspect: float = 2.0
    """Width / height of the part of a camera image that is seen."""

    crop_px: int = 384
    """Side in pixels at which a crop of the map is seen."""

    look_ahead: bool = False
    """Whether the child cells' own images are looked at."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The vision encoder of both views."""

    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    """The decoder over zoom steps."""

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise ConfigError(f'view is {self.view!r}; it must be one of {", ".join(VIEWS)}')
        if self.view == 'street' and self.ground_aspect != 2.0:
            raise ConfigError('a street view is two squares side by side: ground_aspect is 2')

    @property
    def branching(self) -> int:
        """Number of actions of one step."""
        return self.grid * self.grid

    def to_json(self) -> str:
        """The configuration as one JSON string, stored in the weights file."""
        return json.dumps({**asdict(self), 'encoder': self.encoder.to_dict()}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> 'PolicyConfig':
        """Inverse of `to_json`. Raises ConfigError where a key is missing or unknown."""
        try:
            values = json.loads(text)
            values['encoder'] = EncoderConfig.from_dict(values['encoder'])
            values['decoder'] = DecoderConfig(**values['decoder'])
            return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f'not a policy configuration: {error}') from error
