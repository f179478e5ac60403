"""How sure a policy may be: one temperature, fitted where the truth is known.

A policy trained with label smoothing, or on views easier than the images of a real camera,
is less or more sure than it is right. Dividing its logits by a temperature mends that (Guo et al.,
arXiv 1706.04599). Training fits one on views that it never trained on; `justzoom calibrate` fits
it on real images with known positions, after which covariances are published as known.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.io.datasets import GeoImage
from justzoom_ros.localizer import Localizer

TEMPERATURES = np.geomspace(0.1, 10.0, 461)
"""A fine enough grid: neighbours differ by one percent, the likelihood by far less."""


def fit_temperature(
    logits: torch.Tensor,
    actions: torch.Tensor,
    source: str,
    calibration: Calibration | None = None,
) -> Calibration:
    """The `Calibration` (another one with only its temperature changed, if given) of logits
    (N, S, A) along true actions (N, S) int64. `source` as `Calibration` has it."""
    logits = logits.double()
    nll = np.array([_nll(logits, actions, temperature) for temperature in TEMPERATURES])
    best = int(np.argmin(nll))
    before = _nll(logits, actions, 1.0)
    return replace(
        calibration or Calibration(),
        temperature=float(TEMPERATURES[best]),
        source=source,
        temperature_samples=len(actions),
        temperature_nll_before=before,
        temperature_nll_after=float(nll[best]),
    )


def _nll(logits: torch.Tensor, actions: torch.Tensor, temperature: float) -> float:
    chances = (logits / temperature).log_softmax(dim=-1)
    return -float(chances.gather(-1, actions[..., None]).sum(dim=(1, 2)).mean())


def logits_along(
    localizer: Localizer,
    images: Sequence[GeoImage],
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N, S, A) and actions (N, S) of the true cell of each GeoImage.

    Raises DatasetError for a corrupt image, OutsideRegionError for one taken outside the region.
    """
    logits, sequences = [], []
    for image in progress(images):
        actions = localizer.region.encode(image.latitude, image.longitude)
        logits.append(localizer.require_zoom().logits_along(image.load(), actions))
        sequences.append(actions)
    return torch.stack(logits), torch.tensor(sequences)
