"""What a registration network is made of, as it is written into its weights file."""

import json
from dataclasses import asdict, dataclass, fields

from justzoom_ros.errors import ConfigError


@dataclass(frozen=True)
class RegistrationConfig:
    """Sizes of a `RegistrationNetwork` and the ground resolutions that it was trained for."""

    channels: int = 16
    """Channels of the features that are correlated. The search costs in proportion to it."""
    widths: tuple[int, ...] = (32, 48, 64)
    """Channels inside the encoders at 1/2, 1/4 and 1/8 of the map's resolution."""
    blocks: tuple[int, ...] = (2, 2, 2)
    """Residual blocks at each of these on the way down; on the way up one more each."""
    shared: bool = True
    """True where map and view have one encoder, False where each has its own."""
    normalization_px: int = 129
    """Side, in pixels, of the square in which brightness and contrast are made alike."""
    finest_m: float = 0.3
    """Smallest side of a map pixel, in metres, that the weights were trained for."""
    coarsest_m: float = 2.0
    """Largest side of a map pixel, in metres, that the weights were trained for."""

    @property
    def stride(self) -> int:
        """Map pixels along the side of a cell of the features."""
        return 2

    @property
    def alignment_px(self) -> int:
        """Tiles of a map must start at multiples of this many pixels to agree with the whole."""
        return 2 ** len(self.widths)

    @property
    def receptive_px(self) -> int:
        """How far, in pixels, the features of a cell look beyond it. Rounded up to `alignment_px`,
        so that a halo of this width keeps tiles aligned."""
        reach = self.normalization_px // 2 + 2
        for level, blocks in enumerate(self.blocks):
            # A block looks one pixel of its own level further; each level but the last has one
            # more on the way up, where pixels are also interpolated.
            reach += 2 ** (level + 1) * (blocks + 3)
        return -(-reach // self.alignment_px) * self.alignment_px

    def to_json(self) -> str:
        """The configuration as one JSON object."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> 'RegistrationConfig':
        """Inverse of `to_json`. Raises ConfigError where it is none or holds unknown fields."""
        try:
            values = json.loads(text)
            unknown = set(values) - {field.name for field in fields(cls)}
            lists = {name: tuple(v) for name, v in values.items() if isinstance(v, list)}
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f'no configuration of a registration network: {error}') from error
        if unknown:
            raise ConfigError(
                f'the registration network has unknown fields {sorted(unknown)}; these weights '
                'are of a newer version of justzoom_ros'
            )
        return cls(**{**values, **lists})
