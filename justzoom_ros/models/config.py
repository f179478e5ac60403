"""The configuration of a network: its zoom tree, its images, its parts."""

import json
from dataclasses import asdict, dataclass, field

from justzoom_ros.errors import ConfigError
from justzoom_ros.models.decoder import DecoderConfig
from justzoom_ros.models.encoder import EncoderConfig

VIEWS = ('street', 'nadir')


@dataclass(frozen=True)
class PolicyConfig:
    """All that is needed to rebuild a policy and to prepare its images.

    `grid`, `depth`: the zoom tree it was trained for. `view`: 'street', a forward camera whose
    2:1 image is seen as two square halves, or 'nadir', a downward camera seen as one image of
    `ground_aspect` (width / height). `ground_px`: height of a camera view; `crop_px`: side of a
    map crop. `look_ahead`: whether the child cells' own images are looked at.
    """

    grid: int = 4
    depth: int = 4
    view: str = 'street'
    ground_px: int = 384
    ground_aspect: float = 2.0
    crop_px: int = 384
    look_ahead: bool = False
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)

    def __post_init__(self):
        if self.view not in VIEWS:
            raise ConfigError(f'view is {self.view!r}; it must be one of {", ".join(VIEWS)}')
        if self.view == 'street' and self.ground_aspect != 2.0:
            raise ConfigError('a street view is two squares side by side: ground_aspect is 2')

    @property
    def branching(self):
        """Number of actions of one step."""
        return self.grid * self.grid

    def to_json(self):
        """The configuration as one JSON string, stored in the weights file."""
        return json.dumps({**asdict(self), 'encoder': self.encoder.to_dict()}, sort_keys=True)

    @classmethod
    def from_json(cls, text):
        """Inverse of `to_json`. Raises ConfigError where a key is missing or unknown."""
        try:
            values = json.loads(text)
            values['encoder'] = EncoderConfig.from_dict(values['encoder'])
            values['decoder'] = DecoderConfig(**values['decoder'])
            return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f'not a policy configuration: {error}') from error
