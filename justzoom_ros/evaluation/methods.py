"""The methods of a benchmark, all asked for the same: places on a map from images.

`open_method` makes one of what a user names: `name=FILE`, by what the file holds, or a method that
needs none. What a new method needs is `Method`, and a line in `open_method`.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from justzoom_ros.errors import ConfigError, DatasetError
from justzoom_ros.evaluation import metrics
from justzoom_ros.evaluation.evaluate import (
    SEARCHES,
    locate_place,
    looks_ahead,
    register_places,
    search_places,
)
from justzoom_ros.evaluation.evaluate_figures import summarize
from justzoom_ros.evaluation.image_camera import CameraKnowledge, common_camera
from justzoom_ros.evaluation.retrieval import RetrievalLocalizer
from justzoom_ros.evaluation.sift import SiftBaseline, SiftMatch
from justzoom_ros.files import load_tensors
from justzoom_ros.inference.tree_search import SearchConfig
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.localizer import Localizer
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.radii import RECALL_RADII_M
from justzoom_ros.registration.forward_network import ForwardNetwork
from justzoom_ros.registration.image_columns import heading_of
from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.training.retrieval import RetrievalModel

SIFT, REGISTRATION, ZOOM_AND_REGISTRATION = 'sift', 'registration', 'zoom+registration'
"""Names that say what a method is; any other says only what its row is called."""

TIMED = 20
"""Queries that the median time is taken of."""

Places = Sequence[tuple[GeoImage, ...]]
"""The views of each place: one image, or those of a rig."""

Progress = Callable[[Any], Iterable[Any]]
"""Wraps what is gone through, as tqdm does."""

Figures = dict[str, Any]
"""Those of a row: recall_cell, recall_5m ..., point_recall_50m, median_m, heading_median_deg,
share_fix, nll_nats; None where the method has none."""


class Method(Protocol):
    """One method on one map."""

    weights_bytes: int
    """Memory that its weights take in single precision."""

    @property
    def map_bytes(self) -> int:
        """Memory that what is computed once per map takes."""

    def knows(self, images: Sequence[GeoImage]) -> str:
        """What it knows of map and images beforehand, for the protocol; '' where that is
        nothing."""

    def searches(self, views: int, occupied: bool) -> tuple[str, ...]:
        """Rows that it has for places of so many views, '' where it has no choice; none where it
        cannot."""

    def evaluate(
        self,
        places: Places,
        searches: tuple[str, ...],
        progress: Progress,
        occupied: np.ndarray | None,
    ) -> dict[str, Figures]:
        """The figures of each row; `occupied`: cell indices of the cells that alone can be."""

    def milliseconds(self, search: str, places: Places) -> float:
        """Median time of a query, pixels being in memory."""


def open_method(
    satellite_map: SatelliteMap,
    name: str,
    weights: str | None,
    images: Sequence[GeoImage],
    knowledge: CameraKnowledge,
) -> Method:
    """The `Method` of a name and a file. `images` and `knowledge` say how finely registration
    looks at the map. Raises WeightsError, ConfigError, DatasetError where a scale is not known."""
    if name == SIFT:
        return SiftMethod(satellite_map, knowledge)
    kind = '' if weights is None else load_tensors(weights)[0].get('format', '')
    if kind == RetrievalModel.FORMAT and weights:
        retrieval = RetrievalLocalizer(satellite_map, RetrievalModel.load(weights))
        return SearchMethod(retrieval, _bytes_in(weights))
    registers = kind in (RegistrationNetwork.FORMAT, ForwardNetwork.FORMAT) or name in (
        REGISTRATION,
        ZOOM_AND_REGISTRATION,
    )
    if not registers:
        policy = Localizer.open(satellite_map, weights, progress=False, registration=False)
        return SearchMethod(policy, _bytes_in(weights))
    if name == ZOOM_AND_REGISTRATION and weights is None:
        raise ConfigError(f'{name} needs the weights of a policy: give {name}=FILE')
    zooms = name == ZOOM_AND_REGISTRATION
    localizer = Localizer.open(
        satellite_map,
        weights if zooms else None,
        camera=common_camera(knowledge.require_cameras(images)),
        registration=None if zooms else weights,
        progress=False,
    )
    if zooms and localizer.registrar is None:
        raise ConfigError(
            f'{weights} is of a camera that looks another way than the images say: give --ahead '
            'for one of streets'
        )
    return RegistrationMethod(localizer, knowledge, _bytes_in(weights) if zooms else 0)


def _bytes_in(weights: str | None) -> int:
    """What the weights of a file take in single precision."""
    return 0 if weights is None else _bytes_of(load_tensors(weights)[1].values())


def _bytes_of(tensors: Iterable[Any]) -> int:
    return 4 * sum(tensor.numel() for tensor in tensors)


class SearchMethod:
    """A policy alone, or the contrastive baseline."""

    def __init__(self, localizer: Localizer | RetrievalLocalizer, weights_bytes: int) -> None:
        self._localizer, self.weights_bytes = localizer, weights_bytes
        self._exact_only = isinstance(localizer, RetrievalLocalizer)
        self._searcher = (
            localizer if isinstance(localizer, RetrievalLocalizer) else localizer.require_zoom()
        )

    @property
    def map_bytes(self) -> int:
        """Embeddings of the cells."""
        return self._localizer.map_bytes

    def knows(self, images: Sequence[GeoImage]) -> str:
        """Nothing that the protocol has not."""
        return ''

    def searches(self, views: int, occupied: bool) -> tuple[str, ...]:
        """All searches for single views among all cells, else the exact one."""
        exact = views > 1 or occupied or self._exact_only
        return ('exact',) if exact else SEARCHES

    def evaluate(
        self,
        places: Places,
        searches: tuple[str, ...],
        progress: Progress,
        occupied: np.ndarray | None,
    ) -> dict[str, Figures]:
        """As in `Method`."""
        found = search_places(
            self._searcher, self._localizer.criteria, places, searches, progress, occupied
        )
        return {search: _figures(summarize(results)) for search, results in found.items()}

    def milliseconds(self, search: str, places: Places) -> float:
        """All views of a place encoded and searched."""
        config = SearchConfig(search)

        def query(pictures: Sequence[np.ndarray]) -> None:
            for picture in pictures:
                self._searcher.posterior(self._searcher.embed(picture), config)

        return _median_ms(query, ([image.load() for image in place] for place in places))


class RegistrationMethod:
    """Registration, alone or after a policy."""

    def __init__(
        self, localizer: Localizer, knowledge: CameraKnowledge, policy_bytes: int = 0
    ) -> None:
        self._localizer, self._knowledge = localizer, knowledge
        network = localizer.require_registrar().network
        self.weights_bytes = _bytes_of(network.state_dict().values()) + policy_bytes

    @property
    def map_bytes(self) -> int:
        """Features, the spectrum that searches keep of them, and embeddings of a policy."""
        return self._localizer.map_bytes

    def knows(self, images: Sequence[GeoImage]) -> str:
        """Whether it was trained on the map, headings, heights."""
        origin = self._localizer.require_registrar().origin
        return f'{origin}, {self._knowledge.describe(images)}'

    def searches(self, views: int, occupied: bool) -> tuple[str, ...]:
        """One row among all cells; of several views where they look ahead."""
        return () if occupied or (views > 1 and not looks_ahead(self._localizer)) else ('',)

    def evaluate(
        self,
        places: Places,
        searches: tuple[str, ...],
        progress: Progress,
        occupied: np.ndarray | None,
    ) -> dict[str, Figures]:
        """As in `Method`."""
        found = register_places(self._localizer, places, self._knowledge, progress)
        return {'': _figures(summarize(found))}

    def milliseconds(self, search: str, places: Places) -> float:
        """A search of the whole map."""

        def query(place: tuple[GeoImage, ...]) -> None:
            locate_place(self._localizer, place, self._knowledge)

        return _median_ms(query, places)


class SiftMethod:
    """The classical baseline. It answers with a place or with nothing, never with a probability;
    its row counts an image without a place as wrong."""

    weights_bytes = 0

    def __init__(self, satellite_map: SatelliteMap, knowledge: CameraKnowledge) -> None:
        self._baseline, self._knowledge = SiftBaseline(satellite_map), knowledge
        self._region = satellite_map.region

    @property
    def map_bytes(self) -> int:
        """Features of the map."""
        return self._baseline.map_bytes

    def knows(self, images: Sequence[GeoImage]) -> str:
        """At most the ground width in view, as registration."""
        return ''

    def searches(self, views: int, occupied: bool) -> tuple[str, ...]:
        """One row, of single views among all cells."""
        return () if views > 1 or occupied else ('',)

    def evaluate(
        self,
        places: Places,
        searches: tuple[str, ...],
        progress: Progress,
        occupied: np.ndarray | None,
    ) -> dict[str, Figures]:
        """As in `Method`."""
        images = [place[0] for place in places]
        found = [self._match(image, image.load()) for image in progress(images)]
        return {'': self._score(images, found)}

    def _match(self, image: GeoImage, pixels: np.ndarray) -> SiftMatch | None:
        """Where an image lies; its scale is the middle of those that it may have."""
        camera = self._knowledge.camera_of(image)
        if camera is None:
            return self._baseline.match(pixels)
        widths_m = [camera.footprint_at(height_m) for height_m in camera.height_bounds()]
        return self._baseline.match(pixels, float(np.sqrt(np.prod(widths_m))))

    def _score(self, images: Sequence[GeoImage], found: Sequence[SiftMatch | None]) -> Figures:
        truths = np.array([
            self._region.to_enu(image.latitude, image.longitude) for image in images
        ]).reshape(-1, 2)  # fmt: skip
        places = [(np.inf, np.inf) if m is None else (m.east_m, m.north_m) for m in found]
        errors_m = metrics.errors_m(truths, np.array(places).reshape(-1, 2))
        pairs = [
            (match, heading_of(image))
            for image, match in zip(images, found, strict=True)
            if match is not None
        ]
        headings = [
            metrics.angle_rad(match.yaw_rad, yaw_rad)
            for match, yaw_rad in pairs
            if yaw_rad is not None
        ]
        nothing = dict.fromkeys(('recall_cell', 'point_recall_50m', 'nll_nats'))
        figures = {
            **nothing,
            **{f'recall_{r}m': share for r, share in metrics.recalls(errors_m).items()},
            'median_m': float(np.quantile(errors_m, 0.5, method='higher')),
            'heading_median_deg': float(np.degrees(metrics.quantile(headings, 0.5))),
            'share_fix': metrics.share([match is not None for match in found]),
        }
        return {k: None if _is_endless(v) else v for k, v in figures.items()}

    def milliseconds(self, search: str, places: Places) -> float:
        """Features of the picture, matches and the fit."""

        def query(pair: tuple[GeoImage, np.ndarray]) -> None:
            self._match(*pair)

        return _median_ms(query, ((place[0], place[0].load()) for place in places))


def _is_endless(value: Any) -> bool:
    return isinstance(value, float) and not np.isfinite(value)


def _figures(summary: dict[str, Any]) -> Figures:
    """Those of a row from a summary of `evaluate`."""
    names = ('recall_cell', *(f'recall_{radius}m' for radius in RECALL_RADII_M), 'median_m')
    names += ('heading_median_deg', 'share_fix', 'nll_nats')
    return {
        **{name: summary[name] for name in names},
        'point_recall_50m': summary['point']['recall_50m'],
    }


def _median_ms(query: Callable[[Any], None], queries: Iterable[Any]) -> float:
    """Median time of the first TIMED queries."""
    times = []
    for item, _ in zip(queries, range(TIMED), strict=False):
        started = time.perf_counter()
        query(item)
        times.append(time.perf_counter() - started)
    if not times:
        raise DatasetError('there is no image to compare methods on')
    return float(1000 * np.median(times))
