"""How sure a policy may be: one temperature, fitted where the truth is known.

A policy trained with label smoothing, or on views easier than the images of a real camera,
is less or more sure than it is right. Dividing its logits by a temperature mends that (Guo et al.,
arXiv 1706.04599). Training fits one on views that it never trained on; `justzoom calibrate` fits
it on real images with known positions, after which covariances are published as known.
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch

TEMPERATURES = np.geomspace(0.1, 10.0, 461)
"""A fine enough grid: neighbours differ by one percent, the likelihood by far less."""


@dataclass(frozen=True)
class Calibration:
    """A fitted `temperature`, on how many samples of which `source` ('views' drawn from the map or
    'images' of a camera), and the negative log-likelihood of the true terminal cell, in nats, at
    temperature 1 and at the fitted one."""

    temperature: float
    source: str
    count: int
    nll_before: float
    nll_after: float

    def to_dict(self):
        """Plain JSON types, as stored in the weights."""
        return asdict(self)


def fit_temperature(logits, actions, source):
    """The `Calibration` of logits (N, S, A) along the true ways with actions (N, S) int64."""
    logits = logits.double()
    nll = np.array([_nll(logits, actions, temperature) for temperature in TEMPERATURES])
    best = int(np.argmin(nll))
    before = _nll(logits, actions, 1.0)
    return Calibration(float(TEMPERATURES[best]), source, len(actions), before, float(nll[best]))


def _nll(logits, actions, temperature):
    chances = (logits / temperature).log_softmax(dim=-1)
    return -float(chances.gather(-1, actions[..., None]).sum(dim=(1, 2)).mean())


def logits_along(localizer, images, progress=iter):
    """Logits (N, S, A) and actions (N, S) of the true way of each GeoImage.

    Raises DatasetError for a corrupt image, OutsideRegionError for one taken outside the region.
    """
    logits, ways = [], []
    for image in progress(images):
        actions = localizer.region.encode(image.latitude, image.longitude)
        logits.append(localizer.logits_along(image.load(), actions))
        ways.append(actions)
    return torch.stack(logits), torch.tensor(ways)
