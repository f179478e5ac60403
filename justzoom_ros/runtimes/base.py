"""What the rest of the package asks of a runtime, and of the engines that some run from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from justzoom_ros.embeddings.map_cells import MapEncoder
from justzoom_ros.inference.tree_search import SearchPolicy


class Runtime(SearchPolicy, MapEncoder, Protocol):
    """A policy at work somewhere, without gradients: what a search asks of it (`SearchPolicy`),
    what map embeddings are made by (`MapEncoder`), and camera images.

    Most runtimes are subclasses of `TorchRuntime` that encode camera views elsewhere. Whoever
    makes one raises RuntimeUnavailableError where it cannot run here.
    """

    name: str
    """What users call it: its name in RUNTIMES, or the device."""

    precision: str
    """Precision in which camera views are encoded: 'float32', 'float16' or 'int8'."""

    selection_reason: str
    """Why it was chosen among others: what was measured; '' where there was no choice."""

    provenance: dict[str, Any]
    """The policy's: what it was trained on and how, and its calibration."""

    def encode_ground(self, ground: torch.Tensor) -> torch.Tensor:
        """Camera views (B, V, 3, H, W) float32, normalised -> (B, D) float32, the mean over the V
        views of each image, on the device."""


@dataclass(frozen=True)
class EngineKind:
    """How engines of a kind are made, and what runs them."""

    export: Callable[..., list[Path]]
    """(policy, folder, **options) -> the paths of the engine's files, written to the folder.
    Raises RuntimeUnavailableError where that cannot be done here, OutputError."""

    open: Callable[..., Runtime]
    """(policy, folder) -> the runtime of the engine in that folder."""

    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Options of `export` and the values that they may have, the default first."""
