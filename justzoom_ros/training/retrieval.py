"""The contrastive baseline: what cross-view localization does without zooming.

One encoder shared by both views (the same as the policy's) puts a camera view near the map crop of
its terminal cell and away from others: symmetric InfoNCE (arXiv 2103.00020) with label smoothing.
Hard negatives are found twice, as in Sample4Geo (arXiv 2303.11851): by position, the places of a
batch lying in clusters, and by similarity, the cells that the network takes for each other being
added to its batches. `evaluation/retrieval.py` localizes with it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.preprocess import normalize
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.models import PolicyConfig
from justzoom_ros.models.embedder import Embedder
from justzoom_ros.radii import NEAR_M
from justzoom_ros.training.areas import Area
from justzoom_ros.training.batches import CALIBRATION, VALIDATION, Batch, MapCrops, Stream
from justzoom_ros.training.temperature import TEMPERATURES
from justzoom_ros.training.trainer import Trainer
from justzoom_ros.training.validation import cell_centers_m

GALLERY_BATCH = 256


@dataclass(frozen=True)
class RetrievalConfig:
    """How the baseline learns. Raises ConfigError for values out of range."""

    similar: int = 1
    """Cells that are added to a batch for each of its own, those that look most like it."""

    mine_every: int = 250
    """Steps after which it is found out anew which cells look alike."""

    label_smoothing: float = 0.1
    """Share of the target (0..1) that is spread over all candidates."""

    temperature: float = 0.07
    """What similarities are divided by at first; then it is learned."""

    def __post_init__(self) -> None:
        if self.similar < 0 or self.mine_every < 1 or not 0 <= self.label_smoothing < 1:
            raise ConfigError('similar >= 0, mine_every >= 1 and label_smoothing in 0..1, please')
        if not self.temperature > 0:
            raise ConfigError(f'temperature is {self.temperature}; it must be positive')


class RetrievalModel(Embedder):
    """Unit embeddings of camera views and of map crops, compared by a dot product."""

    FORMAT = 'justzoom_retrieval_1'

    def __init__(self, config: PolicyConfig, temperature: float = 0.07) -> None:
        super().__init__(config)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def encode_ground(self, ground: torch.Tensor) -> torch.Tensor:
        """Camera views (B, V, 3, H, W) -> (B, D) of length 1."""
        return F.normalize(super().encode_ground(ground), dim=-1)

    def encode_satellite(self, crops: torch.Tensor) -> torch.Tensor:
        """Map crops (N, 3, h, w) -> (N, D) of length 1."""
        return F.normalize(super().encode_satellite(crops), dim=-1)

    @property
    def scale(self) -> torch.Tensor:
        """What similarities are multiplied by, at most 100."""
        return self.log_scale.exp().clamp(max=100.0)


class InfoNCE(nn.Module):
    """Symmetric InfoNCE over the views and cells of a batch: a loss (1,) in nats.

    Several views of one cell are positives all: a cell's target is even over its views.
    """

    def __init__(self, model: RetrievalModel, label_smoothing: float) -> None:
        super().__init__()
        self.model, self.label_smoothing = model, label_smoothing

    def forward(
        self,
        views: torch.Tensor,
        actions: torch.Tensor,
        crops: torch.Tensor,
        rows: torch.Tensor,
    ) -> torch.Tensor:
        """views (B, V, h, w, 3), crops (U, h, w, 3) uint8, the first of them the views' own
        cells, the others negatives only; rows (B,) of a view's cell."""
        ground = self.model.encode_ground(normalize(views)).float()
        cells = self.model.encode_satellite(normalize(crops)).float()
        return contrastive_loss(ground, cells, rows, self.model.scale, self.label_smoothing)[None]


def contrastive_loss(
    ground: torch.Tensor,
    cells: torch.Tensor,
    rows: torch.Tensor,
    scale: torch.Tensor | float,
    label_smoothing: float,
) -> torch.Tensor:
    """Mean of both directions' cross-entropies: ground (B, D), cells (U, D), rows (B,)."""
    similarity = scale * ground @ cells.T
    views_find = F.cross_entropy(similarity, rows, label_smoothing=label_smoothing)
    own = F.one_hot(rows, len(cells)).T.float()
    own = own[own.sum(dim=1) > 0]
    target = own / own.sum(dim=1, keepdim=True)
    cells_find = F.cross_entropy(similarity.T[: len(own)], target, label_smoothing=label_smoothing)
    return (views_find + cells_find) / 2


class RetrievalTrainer(Trainer):
    """Trains a `RetrievalModel` as `Trainer`, whose further arguments it takes, does a policy:
    same views, same schedule."""

    def __init__(self, retrieval: RetrievalConfig, *arguments: Any, **more: Any) -> None:
        self.retrieval = retrieval
        super().__init__(*arguments, **more)
        # Of each area: the step it is of, and cells like each cell.
        self._similar_to: dict[Area, tuple[int, torch.Tensor]] = {}

    def build(self, policy_config: PolicyConfig) -> RetrievalModel:
        """The network to be trained, with random weights."""
        return RetrievalModel(policy_config, self.retrieval.temperature)

    def build_objective(self) -> InfoNCE:
        """The loss as a module."""
        return InfoNCE(self.policy, self.retrieval.label_smoothing)

    def batch_inputs(
        self, area: Area, views: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """The arguments of the loss, with crops of cells like those of the batch."""
        own, rows = torch.unique(area.cell_index(actions), return_inverse=True)
        mines = self.objective.training and self.retrieval.similar
        more = self._similar(area, own) if mines else own[:0]
        depth = area.map.region.depth
        cells = torch.cat([own, more]).tolist()
        crops = [area.crops.crop(area.map.region.actions_of(depth, cell)) for cell in cells]
        return views, actions, torch.from_numpy(np.stack(crops)), rows

    @torch.inference_mode()
    def validate(self) -> float:
        """Mean negative log-likelihood (nats) of the true cell among all terminal cells."""
        return self._fit(VALIDATION)[0]

    def recall_on(self, area: Area, batches: Iterable[Batch]) -> float:
        """Share of views whose nearest cell is centred within NEAR_M of the true one."""
        gallery, region = encode_gallery(self.policy, area.map, area.crops), area.map.region
        hits = []
        for views, actions in batches:
            found = (self._ground(views) @ gallery.T).argmax(dim=1).tolist()
            guesses = [region.actions_of(region.depth, cell) for cell in found]
            gaps = cell_centers_m(region, guesses) - cell_centers_m(region, actions)
            hits.append(np.hypot(*gaps.T) <= NEAR_M)
        return float(np.concatenate(hits).mean()) if hits else float('nan')

    def finish(self) -> None:
        """Fit the temperature of the softmax over all cells."""
        nll, temperature = self._fit(CALIBRATION)
        self.policy.provenance['calibration'] = {
            'temperature': temperature,
            'source': 'views',
            'nll_after': nll,
        }

    @torch.inference_mode()
    def _fit(self, stream: Stream) -> tuple[float, float]:
        """(NLL in nats, temperature) of the best temperature over all terminal cells."""
        self.policy.eval()
        similarities, cells = [], []
        for area in self.validation_areas:
            gallery = encode_gallery(self.policy, area.map, area.crops)
            count = self.views_per_area(self.config.validate_views)
            for views, actions in area.draw_unseen(self.config, stream, count):
                similarities.append(self.policy.scale.cpu() * self._ground(views) @ gallery.T)
                cells.append(area.cell_index(actions))
        logits, targets = torch.cat(similarities), torch.cat(cells)
        nll = [float(F.cross_entropy(logits / t, targets)) for t in TEMPERATURES[::10]]
        return min(nll), float(TEMPERATURES[::10][int(np.argmin(nll))])

    @torch.inference_mode()
    def _ground(self, views: torch.Tensor) -> torch.Tensor:
        return self.policy.encode_ground(normalize(views).to(self.device)).float().cpu()

    @torch.inference_mode()
    def _similar(self, area: Area, cells: torch.Tensor) -> torch.Tensor:
        """Cells that the network takes for these, without these themselves."""
        mined_step, _ = self._similar_to.get(area, (-self.retrieval.mine_every, None))
        if self.step - mined_step >= self.retrieval.mine_every:
            self._similar_to[area] = self.step, self._mine(area)
        more = torch.unique(self._similar_to[area][1][cells])
        return more[~torch.isin(more, cells)]

    def _mine(self, area: Area) -> torch.Tensor:
        """For each cell (cells, similar) those that the network takes for it."""
        gallery = encode_gallery(self.policy, area.map, area.crops)
        similarity = gallery @ gallery.T
        similarity.fill_diagonal_(-1)
        return similarity.topk(self.retrieval.similar, dim=1).indices


@torch.inference_mode()
def encode_gallery(
    model: RetrievalModel, satellite_map: SatelliteMap, crops: MapCrops
) -> torch.Tensor:
    """Unit embeddings (cells, D) float32 on the CPU of all terminal cells in their order."""
    region, device = satellite_map.region, next(model.parameters()).device
    cells = range(region.cell_count(region.depth))
    parts = []
    for start in range(0, len(cells), GALLERY_BATCH):
        part = [
            crops.crop(region.actions_of(region.depth, c)) for c in cells[start:][:GALLERY_BATCH]
        ]
        parts.append(model.encode_satellite(normalize(np.stack(part)).to(device)).float().cpu())
    return torch.cat(parts)
