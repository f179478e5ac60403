"""The contrastive baseline: what cross-view localization does without zooming.

One encoder shared by both views (the same as the policy's) puts a camera view near the map crop of
its terminal cell and away from others: symmetric InfoNCE (arXiv 2103.00020) with label smoothing.
Hard negatives come two ways, as in Sample4Geo (arXiv 2303.11851): by position, the places of a
batch lying in clusters, and by similarity, the cells that the network takes for each other being
added to its batches. To localize, every terminal cell is a gallery entry; FAISS finds the nearest.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from justzoom_ros.errors import ConfigError, RuntimeUnavailableError
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.inference.fix import FixCriteria
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.inference.preprocess import ground_views, normalize
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.models.embedder import Embedder
from justzoom_ros.radii import NEAR_M
from justzoom_ros.training.batches import CALIBRATION, VALIDATION, MapCrops
from justzoom_ros.training.temperature import TEMPERATURES
from justzoom_ros.training.trainer import Trainer
from justzoom_ros.training.validation import cell_centres_m

GALLERY_BATCH = 256


@dataclass(frozen=True)
class RetrievalConfig:
    """`similar` cells are added to a batch for each of its own, mined anew every `mine_every`
    steps; `label_smoothing` of the loss; `temperature` that similarities are first divided by."""

    similar: int = 1
    mine_every: int = 250
    label_smoothing: float = 0.1
    temperature: float = 0.07

    def __post_init__(self):
        if self.similar < 0 or self.mine_every < 1 or not 0 <= self.label_smoothing < 1:
            raise ConfigError('similar >= 0, mine_every >= 1 and label_smoothing in 0..1, please')
        if not self.temperature > 0:
            raise ConfigError(f'temperature is {self.temperature}; it must be positive')


class RetrievalModel(Embedder):
    """Unit embeddings of camera views and of map crops, compared by a dot product."""

    FORMAT = 'justzoom_retrieval_1'

    def __init__(self, config, temperature=0.07):
        super().__init__(config)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def encode_ground(self, ground):
        """Camera views (B, V, 3, H, W) -> (B, D) of length 1."""
        return F.normalize(super().encode_ground(ground), dim=-1)

    def encode_satellite(self, crops):
        """Map crops (N, 3, h, w) -> (N, D) of length 1."""
        return F.normalize(super().encode_satellite(crops), dim=-1)

    @property
    def scale(self):
        """What similarities are multiplied by, at most 100."""
        return self.log_scale.exp().clamp(max=100.0)


class InfoNCE(nn.Module):
    """Symmetric InfoNCE over the views and cells of a batch: a loss (1,) in nats.

    Several views of one cell are positives all: a cell's target is even over its views.
    """

    def __init__(self, model, label_smoothing):
        super().__init__()
        self.model, self.label_smoothing = model, label_smoothing

    def forward(self, views, actions, crops, rows):
        """views (B, V, h, w, 3), crops (U, h, w, 3) uint8, the first of them the views' own
        cells, the others negatives only; rows (B,) of a view's cell."""
        ground = self.model.encode_ground(normalize(views)).float()
        cells = self.model.encode_satellite(normalize(crops)).float()
        return contrastive_loss(ground, cells, rows, self.model.scale, self.label_smoothing)[None]


def contrastive_loss(ground, cells, rows, scale, label_smoothing):
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

    def __init__(self, retrieval, *arguments, **more):
        self.retrieval = retrieval
        super().__init__(*arguments, **more)
        self._likes = {}  # of each area: the step it is of, and cells like each cell

    def build(self, policy_config):
        return RetrievalModel(policy_config, self.retrieval.temperature)

    def build_objective(self):
        return InfoNCE(self.policy, self.retrieval.label_smoothing)

    def batch_inputs(self, area, views, actions):
        own, rows = torch.unique(area.ways(actions), return_inverse=True)
        mines = self.objective.training and self.retrieval.similar
        more = self._similar(area, own) if mines else own[:0]
        depth = area.map.region.depth
        cells = torch.cat([own, more]).tolist()
        crops = [area.crops.crop(area.map.region.actions_of(depth, cell)) for cell in cells]
        return views, actions, torch.from_numpy(np.stack(crops)), rows

    @torch.inference_mode()
    def validate(self):
        """Mean negative log-likelihood (nats) of the true cell among all terminal cells."""
        return self._fit(VALIDATION)[0]

    def recall_on(self, area, batches):
        gallery, region = encode_gallery(self.policy, area.map, area.crops), area.map.region
        hits = []
        for views, actions in batches:
            found = (self._ground(views) @ gallery.T).argmax(dim=1).tolist()
            guesses = [region.actions_of(region.depth, cell) for cell in found]
            gaps = cell_centres_m(region, guesses) - cell_centres_m(region, actions)
            hits.append(np.hypot(*gaps.T) <= NEAR_M)
        return float(np.concatenate(hits).mean()) if hits else float('nan')

    def finish(self):
        """Fit the temperature of the softmax over all cells."""
        nll, temperature = self._fit(CALIBRATION)
        self.policy.provenance['calibration'] = {
            'temperature': temperature,
            'source': 'views',
            'nll_after': nll,
        }

    @torch.inference_mode()
    def _fit(self, stream):
        """(NLL in nats, temperature) of the best temperature over all terminal cells."""
        self.policy.eval()
        similarities, cells = [], []
        for area in self.judges:
            gallery = encode_gallery(self.policy, area.map, area.crops)
            count = self.per_judge(self.config.validate_views)
            for views, actions in area.unseen(self.config, stream, count):
                similarities.append(self.policy.scale.cpu() * self._ground(views) @ gallery.T)
                cells.append(area.ways(actions))
        similarities, cells = torch.cat(similarities), torch.cat(cells)
        nll = [float(F.cross_entropy(similarities / t, cells)) for t in TEMPERATURES[::10]]
        return min(nll), float(TEMPERATURES[::10][int(np.argmin(nll))])

    @torch.inference_mode()
    def _ground(self, views):
        return self.policy.encode_ground(normalize(views).to(self.device)).float().cpu()

    @torch.inference_mode()
    def _similar(self, area, cells):
        """Cells that the network takes for these, without these themselves."""
        mined, likes = self._likes.get(area, (None, None))
        if mined is None or self.step - mined >= self.retrieval.mine_every:
            gallery = encode_gallery(self.policy, area.map, area.crops)
            like = gallery @ gallery.T
            like.fill_diagonal_(-1)
            likes = like.topk(self.retrieval.similar, dim=1).indices
            self._likes[area] = self.step, likes
        more = torch.unique(likes[cells])
        return more[~torch.isin(more, cells)]


@torch.inference_mode()
def encode_gallery(model, satellite_map, crops):
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


class RetrievalLocalizer:
    """A `RetrievalModel` at work on one map; offers what `evaluate` asks of a `Localizer`. Its
    posterior is the softmax of the similarities over all terminal cells with imagery."""

    def __init__(self, satellite_map, model, criteria=None):
        self.map, self.region, self.model = satellite_map, satellite_map.region, model
        self.criteria = criteria or FixCriteria()
        self.config = model.config
        self._temperature = Calibration.from_dict(
            model.provenance.get('calibration', {})
        ).temperature
        self._covered = np.flatnonzero(satellite_map.level_coverage(self.region.depth) > 0)
        crops = MapCrops(satellite_map, model.config.crop_px)
        gallery = encode_gallery(model, satellite_map, crops).numpy()[self._covered]
        self._index = _faiss().IndexFlatIP(gallery.shape[1])
        self._index.add(gallery)

    @classmethod
    def open(cls, map, weights):
        """From a map folder and a weights file. Raises MapError, WeightsError,
        RuntimeUnavailableError without FAISS."""
        return cls(SatelliteMap.open(map), RetrievalModel.load(weights))

    @property
    def cells(self):
        """Number of terminal cells with imagery."""
        return self._index.ntotal

    @property
    def map_bytes(self):
        """Memory that the gallery takes."""
        return 4 * self._index.ntotal * self._index.d

    @torch.inference_mode()
    def embed(self, image_rgb):
        """Ground embedding (D,) of a camera image, uint8 (H, W, 3) RGB. Raises ImageError."""
        return self.model.encode_ground(normalize(ground_views(image_rgb, self.config))[None])[0]

    @torch.inference_mode()
    def posterior(self, image, search_config=None):
        """The `CellPosterior` of a camera image or of its embedding."""
        ground = image if isinstance(image, torch.Tensor) else self.embed(image)
        similar, found = self._index.search(ground[None].numpy(), self._index.ntotal)
        scale = float(self.model.scale) / self._temperature
        masses = np.exp(scale * (similar[0].astype(float) - similar[0, 0]))
        order = np.argsort(found[0])
        levels = np.full(len(order), self.region.depth)
        return CellPosterior(self.region, levels, self._covered, (masses / masses.sum())[order])


def _faiss():
    try:
        import faiss
    except ImportError as error:
        raise RuntimeUnavailableError(
            'retrieval needs FAISS: pip install justzoom_ros[retrieval]'
        ) from error
    return faiss
