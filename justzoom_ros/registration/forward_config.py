"""What a network for forward cameras is made of, as it is written into its weights file."""

import json
import math
from dataclasses import asdict, dataclass, field, fields

from justzoom_ros.errors import ConfigError
from justzoom_ros.registration.config import RegistrationConfig


def _map_config() -> RegistrationConfig:
    return RegistrationConfig(channels=16, widths=(48, 64, 96, 128), blocks=(2, 2, 3, 3))


@dataclass(frozen=True)
class ForwardConfig:
    """Sizes of a `ForwardNetwork`, and how far and how finely it looks."""

    map: RegistrationConfig = field(default_factory=_map_config)
    """The encoder of the map, and the channels that are correlated."""

    metres_per_px: float = 1.0
    """Side of a pixel of the map, in metres."""

    strip_columns: int = 480
    """Columns of a levelled picture all the way round."""

    strip_rows: int = 64
    """Rows of a levelled picture, evenly spaced in the tangent of the elevation."""

    strip_tan: float = 0.55
    """Tangent of the greatest elevation above and below the horizon that is looked at."""

    widths: tuple[int, ...] = (32, 64, 128)
    """Channels of the picture's encoder at 1/2, 1/4 and 1/8 of the rows, each at 1/2 of the
    columns."""

    blocks: tuple[int, ...] = (2, 3, 4)
    """Residual blocks at each of these."""

    heads: int = 4
    """Heads of the attention by which a depth looks at the rows of its column."""

    depths: int = 32
    """Depths along a column, evenly spaced in their logarithm."""

    nearest_m: float = 2.5
    """First of these depths, in metres along the ground."""

    reach_m: float = 60.0
    """Last of these depths, and how far a template reaches."""

    polar_width: int = 64
    """Channels over azimuth and depth."""

    polar_blocks: int = 4
    """Residual blocks over azimuth and depth."""

    classes: int = 7
    """Classes of ground that are told for training's sake, in the map and along the columns."""

    @property
    def channels(self) -> int:
        """Channels of the features that are correlated."""
        return self.map.channels

    @property
    def stride(self) -> int:
        """Map pixels along the side of a cell of the features."""
        return self.map.stride

    @property
    def receptive_px(self) -> int:
        """As of the map's encoder."""
        return self.map.receptive_px

    @property
    def coarsest_m(self) -> float:
        """Largest side of a map pixel, in metres, that the map may have."""
        return 1.3 * self.metres_per_px

    @property
    def cell_m(self) -> float:
        """Side of a cell of the features in metres."""
        return self.metres_per_px * self.stride

    @property
    def reach_cells(self) -> int:
        """A template has this many cells to either side of the camera's own."""
        return round(self.reach_m / self.cell_m)

    @property
    def azimuth_step_rad(self) -> float:
        """Between one column of the polar features and the next."""
        return 2 * math.pi / self.strip_columns * 2

    def to_json(self) -> str:
        """The configuration as one JSON object."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> 'ForwardConfig':
        """Inverse of `to_json`. Raises ConfigError where it is none or holds unknown fields."""
        try:
            values = json.loads(text)
            unknown = set(values) - {one.name for one in fields(cls)}
            if unknown:
                raise ConfigError(
                    f'the forward network has unknown fields {sorted(unknown)}; these weights '
                    'are of a newer version of justzoom_ros'
                )
            own = RegistrationConfig.from_json(json.dumps(values.pop('map')))
            lists = {name: tuple(v) for name, v in values.items() if isinstance(v, list)}
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ConfigError(f'no configuration of a forward network: {error}') from error
        return cls(**{**values, **lists, 'map': own})
