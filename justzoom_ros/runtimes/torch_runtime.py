"""A policy on the CPU or on CUDA, in plain torch."""

import hashlib
from typing import Any

import torch

from justzoom_ros.errors import RuntimeUnavailableError
from justzoom_ros.models.config import PolicyConfig
from justzoom_ros.models.kv_cache import KVCache
from justzoom_ros.models.policy import ZoomPolicy
from justzoom_ros.runtimes.half import with_half_weights


class TorchRuntime:
    """Runs a `ZoomPolicy` without gradients, as a `Runtime` does.

    The map, encoded once, and the decoder, small, are float32 always: map embeddings do not depend
    on the runtime that made them. Subclasses encode camera views elsewhere: `_encode_views`.
    """

    def __init__(
        self, policy: ZoomPolicy, device: str | torch.device, precision: str = 'float32'
    ) -> None:
        """`device` is 'cpu' or 'cuda', `precision` that of camera views, 'float32' or
        'float16'."""
        self.name, self.precision = str(device), precision
        self.device = torch.device(device)
        self.config: PolicyConfig = policy.config
        self.width: int = policy.width
        self.checksum = weights_checksum(policy)
        self.provenance: dict[str, Any] = policy.provenance
        self.selection_reason = ''
        self._policy = policy.to(self.device).eval()
        self._half = with_half_weights(policy.encoder) if precision == 'float16' else None

    @torch.inference_mode()
    def encode_ground(self, ground: torch.Tensor) -> torch.Tensor:
        """Camera views (B, V, 3, H, W) -> (B, D) float32, the mean over the views."""
        encoded = self._encode_views(ground.to(self.device).flatten(0, 1)).float()
        return encoded.unflatten(0, ground.shape[:2]).mean(dim=1)

    @torch.inference_mode()
    def encode_satellite(self, crops: torch.Tensor) -> torch.Tensor:
        """Map crops (N, 3, h, w) -> (N, D) float32."""
        return self._policy.encode_satellite(crops.to(self.device))

    @torch.inference_mode()
    def start(
        self, ground: torch.Tensor, root: torch.Tensor, children: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, KVCache]:
        """As `ZoomPolicy.start`."""
        return self._policy.start(ground, root, children)

    @torch.inference_mode()
    def step(
        self,
        actions: torch.Tensor,
        maps: torch.Tensor,
        cache: KVCache,
        children: torch.Tensor | None = None,
        rows: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, KVCache]:
        """As `ZoomPolicy.step`."""
        return self._policy.step(actions, maps, cache, children, rows)

    def _encode_views(self, views: torch.Tensor) -> torch.Tensor:
        """Views (N, 3, H, W) on the device -> (N, D)."""
        if self._half is None:
            return self._policy.encoder(views)
        with torch.autocast(self.device.type, torch.float16):
            return self._half(views)


class CompiledRuntime(TorchRuntime):
    """As `TorchRuntime`, the encoder by torch.compile: seconds at the start, for every size of
    images. Needs a C++ compiler on a CPU."""

    def __init__(self, policy: ZoomPolicy) -> None:
        super().__init__(policy, 'cuda' if torch.cuda.is_available() else 'cpu')
        self.name = 'compile'
        self._compiled = torch.compile(self._policy.encoder, dynamic=False)

    def _encode_views(self, views: torch.Tensor) -> torch.Tensor:
        return self._compiled(views)


def open_cpu(policy: ZoomPolicy) -> TorchRuntime:
    """Plain torch on the CPU."""
    return TorchRuntime(policy, 'cpu')


def require_cuda(name: str) -> None:
    """Raises RuntimeUnavailableError, for the runtime of that name, where there is no GPU."""
    if not torch.cuda.is_available():
        raise RuntimeUnavailableError(
            f"runtime {name!r} was asked for, but torch finds no CUDA device; use 'auto' or 'cpu'"
        )


def views_shape(config: PolicyConfig) -> tuple[int, int, int, int]:
    """(V, 3, height, width) of the views of one camera image, as the encoder sees them."""
    wide = config.ground_aspect if config.view == 'nadir' else 1.0
    size = config.ground_px, round(config.ground_px * wide)
    return (2 if config.view == 'street' else 1), 3, *size


def weights_checksum(policy: ZoomPolicy) -> str:
    """sha256, in hex, of the configuration and all tensors."""
    digest = hashlib.sha256(policy.config.to_json().encode())
    for name, tensor in sorted(policy.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()
