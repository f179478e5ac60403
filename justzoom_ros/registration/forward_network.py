"""The network for forward cameras: features of a map, and of a picture laid on the ground.

Nothing in it knows a place. The camera's picture is levelled (`forward_lift`), its columns become
features over azimuth and depth, and those are laid on the map's cells for each heading.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from justzoom_ros.errors import ConfigError, WeightsError
from justzoom_ros.registration.column_encoder import ColumnEncoder
from justzoom_ros.registration.encoder import Encoder
from justzoom_ros.registration.forward_config import ForwardConfig
from justzoom_ros.registration.network import picture_features
from justzoom_ros.registration.weights_file import WeightsFile

SHIPPED = Path(__file__).parent / 'weights' / 'forward.safetensors'
WANTED = (
    'the weights of a registration network for cameras that look ahead; give a file that '
    '`justzoom train --registration --dataset` wrote'
)


class ForwardNetwork(nn.Module):
    """Unit features of a map's cells; features of a view over depth and azimuth, whose length says
    how much a cell counts."""

    FORMAT = 'justzoom-forward'

    def __init__(self, config: ForwardConfig | None = None):
        super().__init__()
        self.config = config or ForwardConfig()
        self.card: dict = {}
        channels, classes = self.config.channels, self.config.classes
        self.map_encoder = Encoder(self.config.map, channels + classes)
        self.view_encoder = ColumnEncoder(self.config, channels + 1 + classes + 1)
        self.match = ForwardMatch()

    def encode_map(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit features (B, C, h, w) and logits of classes (B, L, h, w) of normalized pixels
        (B, 4, H, W)."""
        raw = self.map_encoder(pixels).float()
        channels = self.config.channels
        return F.normalize(raw[:, :channels], dim=1), raw[:, channels:]

    def encode_view(self, strips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (B, C, D, A) and logits (B, L + 1, D, A) of classes, the last of which says
        that no wall is nearer, of normalized strips (B, 4, H, W)."""
        raw = self.view_encoder(strips).float()
        channels = self.config.channels
        gate = F.softplus(raw[:, channels : channels + 1])
        return F.normalize(raw[:, :channels], dim=1) * gate, raw[:, channels + 1 :]

    # As everybody else needs them.

    @torch.inference_mode()
    def map_features(self, pixels: np.ndarray, mask: np.ndarray | None = None) -> torch.Tensor:
        """As `RegistrationNetwork.map_features`."""
        return picture_features(
            self._map_only, self.config.map, pixels, mask, self.match.offset.device
        )

    @torch.inference_mode()
    def view_features(self, strip: np.ndarray) -> torch.Tensor:
        """Features (C, D, A) of a normalized strip, float32 (4, H, W)."""
        device = self.match.offset.device
        return self.encode_view(torch.from_numpy(strip)[None].to(device))[0][0]

    def _map_only(self, pixels):
        return self.encode_map(pixels)[0]

    # Files.

    def save(self, path: str | Path, card: dict | None = None) -> None:
        """Write weights in half precision, configuration and card, whole or not at all. Raises
        OutputError."""
        self.card = card or self.card
        tensors = {name: tensor.half() for name, tensor in self.state_dict().items()}
        WeightsFile(self.config.to_json(), self.card, tensors).write(path, self.FORMAT)

    @classmethod
    def load(cls, path: str | Path) -> 'ForwardNetwork':
        """The network of a weights file, ready to use (`eval`), in single precision. Raises
        WeightsError where the file is missing, damaged or of something else."""
        file = WeightsFile.read(path, cls.FORMAT, WANTED)
        try:
            network = cls(ForwardConfig.from_json(file.config))
            network.load_state_dict({name: t.float() for name, t in file.tensors.items()})
        except (ConfigError, RuntimeError) as error:
            raise WeightsError(f'{path}: weights do not fit their configuration') from error
        network.card = file.card
        return network.eval()

    @classmethod
    def shipped(cls) -> 'ForwardNetwork':
        """The place-independent weights of the package. Raises WeightsError."""
        return cls.load(SHIPPED)


class ForwardMatch(nn.Module):
    """What a sum of products is worth, given how those of all other poses are spread.

    Sums x of wrong poses with mean m and deviation s average exp(x - m) = exp(s^2 / 2) where they
    are normal; the ratio is x - m less about that, so that the ratios of wrong poses average one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-3.5))
        self.offset = nn.Parameter(torch.tensor([0.0, 0.0, 0.5]))

    def forward(
        self, sums: torch.Tensor, mean: torch.Tensor | float, std: torch.Tensor | float
    ) -> torch.Tensor:
        """Log likelihood ratios of sums (...); `mean` and `std` over the poses that were searched.
        Each broadcasts."""
        scale = self.log_scale.exp()
        s = scale * torch.as_tensor(std, dtype=sums.dtype, device=sums.device)
        return scale * (sums - mean) - (
            self.offset[0] + self.offset[1] * s + self.offset[2] * s.square()
        )


@dataclass(frozen=True)
class Cells:
    """The cells of a template: as many to either side of the camera."""

    count: int
    """Along a side."""

    side_m: float
    """Of a cell."""

    @classmethod
    def of(cls, config: ForwardConfig, pooling: int = 1) -> 'Cells':
        """Those of a map whose cells are `pooling` times as wide as the network's own, each
        divided into the network's own along its sides. The camera is in the middle of the middle
        one."""
        count = 2 * -(-config.reach_cells // pooling) + 1
        return cls(count * pooling, config.cell_m)


def polar_grid(
    config: ForwardConfig, columns: int, yaws_rad: torch.Tensor, cells: Cells | None = None
) -> torch.Tensor:
    """Where in polar features of A = `columns` azimuths the middles of `cells` are, as
    `grid_sample` counts: (N, t, t, 2) for headings (N,) of the strip's middle."""
    cells = cells or Cells.of(config)
    along = torch.arange(cells.count, device=yaws_rad.device) - (cells.count - 1) / 2
    south, east = torch.meshgrid(along, along, indexing='ij')
    distance = torch.hypot(south, east) * cells.side_m
    azimuth = torch.atan2(-south, east) - yaws_rad[:, None, None]
    azimuth = torch.atan2(azimuth.sin(), azimuth.cos())  # positive to the left
    u = -azimuth / (config.azimuth_step_rad * columns / 2)
    first, last = np.log(config.nearest_m), np.log(config.reach_m)
    place = (distance.clamp(min=1e-3).log() - first) / (last - first) * (config.depths - 1)
    v = (place + 0.5) / config.depths * 2 - 1
    seen = (place > -0.5) & (place < config.depths - 0.5)
    v = torch.where(seen, v, 9.0).expand_as(u)
    return torch.stack([u, v], -1)


def lay_on_ground(
    config: ForwardConfig,
    polar: torch.Tensor,
    yaws_rad: torch.Tensor,
    cells: Cells | None = None,
) -> torch.Tensor:
    """Polar features (B, C, D, A) on the map's axes at headings (B, R): (B, R, C, t, t), zero
    where nothing is seen. The camera is in the middle of the `cells`."""
    b, r = yaws_rad.shape
    grid = polar_grid(config, polar.shape[3], yaws_rad.flatten(), cells)
    side = grid.shape[1]
    laid = F.grid_sample(polar, grid.view(b, r * side, side, 2), align_corners=False)
    return laid.view(b, -1, r, side, side).transpose(1, 2)
