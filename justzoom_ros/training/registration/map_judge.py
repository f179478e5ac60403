"""How well a network finds views on one whole map: what decides whether fitting to it helped.

Views are drawn from the map and changed in appearance, then searched for over all of it in all
headings, as a camera's picture is.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from justzoom_ros.registration.correlation import correlate
from justzoom_ros.registration.map_features import MapFeatures
from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.registration.template import headings, rotate
from justzoom_ros.training.registration.dice import Dice
from justzoom_ros.training.registration.imagery import Place
from justzoom_ros.training.registration.views import STRIDE, PairSource, ViewConfig

HEADINGS = 36
JUDGING = 3
"""First number of the random seed; training, validation and calibration have 0 to 2."""
NEAR = 3
"""Cells from the true place within which a view counts as found."""
WORST_NATS = 30.0
"""A view costs at most this, so that one that shows nothing does not outweigh all others."""


@dataclass(frozen=True)
class MapFigures:
    """What became of the views of a map."""

    nats: np.ndarray
    """(V,) -log p(true place, within NEAR cells and at the headings next to the true one)."""
    found: np.ndarray
    """bool (V,): the most probable place is within NEAR cells of the true one."""

    @property
    def mean_nats(self) -> float:
        """Mean over the views."""
        return float(self.nats.mean())

    @property
    def recall(self) -> float:
        """Share of the views that were found, 0..1."""
        return float(self.found.mean())

    def row(self) -> dict[str, float]:
        """Mean nats and recall, for a card."""
        return {'nats': round(self.mean_nats, 4), 'recall': round(self.recall, 4)}

    def better_than(self, other: 'MapFigures') -> bool:
        """True where the views cost less than in `other` by more than one standard error of the
        difference, and as many are found."""
        gain = other.nats - self.nats
        error = float(gain.std() / math.sqrt(len(gain)))
        return float(gain.mean()) > error and self.recall >= other.recall


class MapJudge:
    """`count` views of a part of a map, at one resolution, and the whole map to find them on.

    `part` and `whole` are places; `corner_m` is the upper left corner of the part, in metres from
    that of the whole.
    """

    def __init__(
        self,
        whole: Place,
        part: Place,
        corner_m: tuple[float, float],
        metres_per_px: float,
        count: int = 24,
        seed: int = 0,
    ):
        config = ViewConfig(finest_m=metres_per_px, coarsest_m=metres_per_px)
        self.pairs = PairSource([part], config=config).draw(count, Dice.of((JUDGING, seed)))
        self.metres_per_px = float(self.pairs.metres_per_px[0])
        self.centres_m = self.pairs.centres_m + np.array(corner_m)
        self.pixels, self.mask = _at_resolution(whole, self.metres_per_px)

    @torch.inference_mode()
    def judge(self, network: RegistrationNetwork) -> MapFigures:
        """Figures of a network on the views, which are the same in each call."""
        network.eval()
        features = network.map_features(self.pixels, self.mask)
        there = network.cell_mask(self.mask)
        map_features = MapFeatures(features, there, STRIDE * self.metres_per_px)
        usable = np.flatnonzero(self.pairs.usable.numpy())
        searched = [self._search(network, map_features, int(view)) for view in usable]
        return MapFigures(*(np.array(values) for values in zip(*searched, strict=True)))

    def _search(self, network, map_features, view):
        """Nats of a view and whether it was found."""
        pixels = (self.pairs.views[view] * 255).byte().permute(1, 2, 0).contiguous().numpy()
        mask = self.pairs.view_masks[view].numpy()
        found, seen = network.view_features(pixels, mask), network.cell_mask(mask)
        # Offsets in the view are turned by this angle on the map, in image coordinates.
        true_yaw = math.pi / 2 - self.pairs.turns_rad[view]
        middle = seen.shape[0] / 2, seen.shape[1] / 2
        templates = rotate(found, seen, middle, headings(HEADINGS, true_yaw))
        scores = correlate(map_features, templates)
        mean, std = scores.background()
        ratio = network.log_ratio(scores.score, scores.cells, mean, std)
        ratio = torch.where(scores.valid, ratio, -math.inf)
        column, row = self.centres_m[view] / map_features.cell_m - 0.5
        near = _near(ratio[[-1, 0, 1]], row, column)
        nats = float(ratio.flatten().logsumexp(0) - near.flatten().logsumexp(0))
        best = int(ratio.flatten(1).max(0).values.argmax())
        off = np.hypot(best // ratio.shape[2] - row, best % ratio.shape[2] - column)
        return min(nats, WORST_NATS), off <= NEAR


def _near(ratio, row, column):
    """Ratios (K, r, c) within NEAR cells of a place."""
    spans = [slice(max(0, round(at) - NEAR), round(at) + NEAR + 1) for at in (row, column)]
    return ratio[:, spans[0], spans[1]]


def _at_resolution(place, metres_per_px):
    """The first picture of a place and its mask, in pixels of a size."""
    layer = place.pictures[0].layer(metres_per_px)
    factor = layer.metres_per_px / metres_per_px
    width, height = (max(1, round(side * factor)) for side in reversed(layer.mask.shape))
    pixels = cv2.resize(layer.pixels, (width, height), interpolation=cv2.INTER_AREA)
    mask = cv2.resize(layer.mask, (width, height), interpolation=cv2.INTER_NEAREST)
    return pixels, mask > 0
