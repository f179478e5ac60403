"""The contrastive baseline at work: every terminal cell is a gallery entry, FAISS finds the
nearest. `training/retrieval.py` is the network and how it learns."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.inference.fix import FixCriteria
from justzoom_ros.inference.posterior import CellPosterior
from justzoom_ros.inference.preprocess import ground_views, normalize
from justzoom_ros.inference.tree_search import SearchConfig
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.training.batches import MapCrops
from justzoom_ros.training.retrieval import RetrievalModel, encode_gallery


class RetrievalLocalizer:
    """A `RetrievalModel` at work on one map; offers what `evaluate` asks of a `Localizer`. Its
    posterior is the softmax of the similarities over all terminal cells with imagery."""

    def __init__(
        self,
        satellite_map: SatelliteMap,
        model: RetrievalModel,
        criteria: FixCriteria | None = None,
    ) -> None:
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
    def open(cls, map: str | Path, weights: str | Path) -> 'RetrievalLocalizer':
        """From a map folder and a weights file. Raises MapError, WeightsError,
        RuntimeUnavailableError without FAISS."""
        return cls(SatelliteMap.open(map), RetrievalModel.load(weights))

    @property
    def cells(self) -> int:
        """Number of terminal cells with imagery."""
        return self._index.ntotal

    @property
    def map_bytes(self) -> int:
        """Memory that the gallery takes."""
        return 4 * self._index.ntotal * self._index.d

    @torch.inference_mode()
    def embed(self, image_rgb: np.ndarray) -> torch.Tensor:
        """Ground embedding (D,) of a camera image, uint8 (H, W, 3) RGB. Raises ImageError."""
        return self.model.encode_ground(normalize(ground_views(image_rgb, self.config))[None])[0]

    @torch.inference_mode()
    def posterior(
        self, image: np.ndarray | torch.Tensor, search_config: SearchConfig | None = None
    ) -> CellPosterior:
        """The `CellPosterior` of a camera image or of its embedding."""
        ground = image if isinstance(image, torch.Tensor) else self.embed(image)
        similar, found = self._index.search(ground[None].numpy(), self._index.ntotal)
        scale = float(self.model.scale) / self._temperature
        masses = np.exp(scale * (similar[0].astype(float) - similar[0, 0]))
        order = np.argsort(found[0])
        levels = np.full(len(order), self.region.depth)
        return CellPosterior(self.region, levels, self._covered, (masses / masses.sum())[order])


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise RuntimeUnavailableError(
            'retrieval needs FAISS: pip install justzoom_ros[retrieval]'
        ) from error
    return faiss
