"""The registration network: features of a map, features of a view, and what a match is worth."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from justzoom_ros.errors import ConfigError, ImageError, WeightsError
from justzoom_ros.registration.config import RegistrationConfig
from justzoom_ros.registration.encoder import Encoder
from justzoom_ros.registration.normalize import normalize_pixels
from justzoom_ros.registration.weights_file import WeightsFile

SHIPPED = Path(__file__).parent / 'weights' / 'nadir.safetensors'
WANTED = (
    'the weights of a registration network; give a file that `justzoom train --registration` wrote'
)
LEAST_PX = 16
"""Smallest side of a picture that has features."""


class RegistrationNetwork(nn.Module):
    """Features on cells of `config.stride` pixels, and the likelihood ratio of a match.

    Map features have length 1; view features have length 0..1, which is how much a cell counts.
    """

    FORMAT = 'justzoom-registration'

    def __init__(self, config: RegistrationConfig | None = None):
        super().__init__()
        self.config = config or RegistrationConfig()
        self.card: dict = {}
        outputs = self.config.channels + 1
        self.map_encoder = Encoder(self.config, outputs)
        self.view_encoder = (
            self.map_encoder if self.config.shared else Encoder(self.config, outputs)
        )
        self.match = MatchModel()

    # Features of batches, as training needs them.

    def encode_map(self, pixels: torch.Tensor) -> torch.Tensor:
        """Unit features (B, C, h, w) of normalized pixels (B, 4, H, W)."""
        raw = self.map_encoder(pixels)[:, : self.config.channels].float()
        return F.normalize(raw, dim=1)

    def encode_view(self, pixels: torch.Tensor) -> torch.Tensor:
        """Weighted features (B, C, h, w) of normalized pixels (B, 4, H, W)."""
        raw = self.view_encoder(pixels).float()
        return F.normalize(raw[:, :-1], dim=1) * raw[:, -1:].sigmoid()

    # Features of one picture, as everybody else needs them.

    @torch.inference_mode()
    def map_features(self, pixels: np.ndarray, mask: np.ndarray | None = None) -> torch.Tensor:
        """Features (C, ceil(H / 2), ceil(W / 2)) of a map, float32 on the network's device.

        `pixels` uint8 (H, W, 3) RGB, north up; `mask` bool (H, W), True where there is imagery
        (default: everywhere). Cells without imagery are 0. Raises ImageError for other arrays.
        """
        return self._features(self.encode_map, pixels, mask)

    @torch.inference_mode()
    def view_features(self, pixels: np.ndarray, mask: np.ndarray | None = None) -> torch.Tensor:
        """Features (C, ceil(h / 2), ceil(w / 2)) of a lifted view, float32.

        `pixels` uint8 (h, w, 3) RGB at the map's metres per pixel, averaged over the area of a
        pixel; `mask` bool (h, w), True where the camera sees the ground. Raises ImageError.
        """
        return self._features(self.encode_view, pixels, mask)

    def cell_mask(self, mask: np.ndarray) -> torch.Tensor:
        """bool (ceil(h / 2), ceil(w / 2)): cells of which at least half is visible in `mask`."""
        return cell_mask(mask)

    def _features(self, encode, pixels, mask):
        return picture_features(encode, self.config, pixels, mask, self.match.rise.device)

    def log_ratio(
        self,
        mean_cosine: torch.Tensor,
        area_cells: torch.Tensor | float,
        background_mean: torch.Tensor | float,
        background_std: torch.Tensor | float,
    ) -> torch.Tensor:
        """log p(view | camera at this pose) - log p(view | somewhere else), nats.

        `mean_cosine` (...): sum of <template, map> over the visible cells of the template, over
        their number `area_cells`; `background_mean`, `background_std`: its mean and standard
        deviation over all poses that were searched for this view. Each broadcasts. The mean of
        exp(log_ratio) over the poses of a uniform prior is the odds of "here".
        """
        return self.match(mean_cosine, area_cells, background_mean, background_std)

    # Files.

    def save(self, path: str | Path, card: dict | None = None) -> None:
        """Write weights, configuration and card, whole or not at all. Raises OutputError."""
        self.card = card or self.card
        tensors = self.state_dict()
        if self.config.shared:
            tensors = {n: t for n, t in tensors.items() if not n.startswith('view_encoder.')}
        WeightsFile(self.config.to_json(), self.card, tensors).write(path, self.FORMAT)

    @classmethod
    def load(cls, path: str | Path) -> 'RegistrationNetwork':
        """The network of a weights file, ready to use (`eval`).

        Raises WeightsError where the file is missing, damaged or of something else.
        """
        file = WeightsFile.read(path, cls.FORMAT, WANTED)
        try:
            network = cls(RegistrationConfig.from_json(file.config))
        except ConfigError as error:
            raise WeightsError(f'{path}: {error}') from error
        network.card = file.card
        network.take(file.tensors, path)
        return network.eval()

    def take(self, tensors: dict[str, torch.Tensor], path: str | Path) -> None:
        """Load the weights of a file. Raises WeightsError where they do not fit."""
        try:
            missing, unexpected = self.load_state_dict(tensors, strict=False)
        except RuntimeError as error:
            raise WeightsError(f'{path}: weights do not fit their configuration') from error
        if self.config.shared:
            missing = [name for name in missing if not name.startswith('view_encoder.')]
        if missing or unexpected:
            raise WeightsError(f'{path}: weights do not fit their configuration')

    @classmethod
    def shipped(cls) -> 'RegistrationNetwork':
        """The place-independent weights of the package. Raises WeightsError."""
        return cls.load(SHIPPED)


class MatchModel(nn.Module):
    """What a mean cosine is worth, given how those of all other poses are spread.

    z = (cosine - mean) / std says how far a pose stands out. Of two normal distributions, that of
    wrong poses (mean 0, deviation 1) and that of true ones, the log likelihood ratio is a parabola
    in z; here `rise` z + `bend` z^2 / 2 - `offset` for positive z, straight below 0 and beyond
    `STRAIGHT_Z`, since the tails of real distributions are heavier. Each of the three
    depends on the number of visible cells: more view, more certainty.
    """

    STRAIGHT_Z = 10.0

    def __init__(self) -> None:
        super().__init__()
        self.rise = nn.Parameter(torch.tensor([0.5, 0.0]))
        self.bend = nn.Parameter(torch.tensor([-1.0, 0.0]))
        self.offset = nn.Parameter(torch.tensor([3.0, 0.0]))

    def forward(
        self,
        mean_cosine: torch.Tensor,
        area_cells: torch.Tensor | float,
        background_mean: torch.Tensor | float,
        background_std: torch.Tensor | float,
    ) -> torch.Tensor:
        """See `RegistrationNetwork.log_ratio`."""
        z = (mean_cosine - background_mean) / background_std
        area = torch.as_tensor(area_cells, dtype=z.dtype, device=z.device)
        more = (area / 1000).clamp(0.1, 10).log()
        rise, bend, offset = (p[0] + p[1] * more for p in (self.rise, self.bend, self.offset))
        bent = z.clamp(0, self.STRAIGHT_Z)
        return rise.exp() * z + bend.exp() * bent * (z.clamp(min=0) - bent / 2) - offset


def cell_mask(mask: np.ndarray) -> torch.Tensor:
    """bool (ceil(h / 2), ceil(w / 2)): cells of which at least half is visible in `mask`."""
    cover = torch.from_numpy(np.ascontiguousarray(mask, np.float32))
    height, width = cover.shape
    cover = F.pad(cover[None], (0, width % 2, 0, height % 2))
    return F.avg_pool2d(cover, 2)[0] >= 0.5


def picture_features(
    encode: Callable[[torch.Tensor], torch.Tensor],
    config: RegistrationConfig,
    pixels: np.ndarray,
    mask: np.ndarray | None,
    device: torch.device,
) -> torch.Tensor:
    """Features (C, ceil(H / 2), ceil(W / 2)), float32, of a picture uint8 (H, W, 3), zero where
    the mask (H, W) is False. `encode`: from normalized pixels (B, 4, H, W), sides padded to what
    the encoder of `config` needs. Raises ImageError for other arrays."""
    mask = _checked(pixels, mask)
    height, width = mask.shape
    normal = normalize_pixels(pixels, mask, config.normalization_px)
    unit = config.alignment_px
    padded = np.pad(normal, ((0, 0), (0, -height % unit), (0, -width % unit)))
    with torch.autocast(device.type, torch.float16, enabled=device.type == 'cuda'):
        features = encode(torch.from_numpy(padded)[None].to(device))[0]
    cells = cell_mask(mask).to(device)
    return features[:, : cells.shape[0], : cells.shape[1]] * cells


def _checked(pixels, mask):
    """The mask. Raises ImageError where pixels and mask are not those of a picture."""
    shape = np.shape(pixels)
    if len(shape) != 3 or shape[2] != 3 or np.asarray(pixels).dtype != np.uint8:
        raise ImageError(f'a picture of shape {shape} is not uint8 (H, W, 3) RGB')
    if min(shape[:2]) < LEAST_PX:
        raise ImageError(
            f'a picture of {shape[0]} x {shape[1]} pixels is too small: at least {LEAST_PX}; '
            'use a finer ground resolution'
        )
    if mask is None:
        return np.ones(shape[:2], bool)
    if np.shape(mask) != shape[:2]:
        raise ImageError(f'a mask of shape {np.shape(mask)} does not fit a picture of {shape}')
    return np.asarray(mask, bool)
