"""How a run learns: its settings, the loss, the optimizers, the learning rate."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.preprocess import normalize
from justzoom_ros.models import ZoomPolicy
from justzoom_ros.models.embedder import Embedder

PRECISIONS = ('auto', 'float32', 'bfloat16', 'float16')
OPTIMIZERS = ('adamw', 'muon')


@dataclass(frozen=True)
class TrainConfig:
    """How a run learns. Raises ConfigError for values out of range."""

    steps: int = 10_000
    """Steps of the optimizer."""

    batch: int = 128
    """Views per step in all processes together."""

    optimizer: str = 'adamw'
    """One of OPTIMIZERS, for the weights of hidden layers; muon needs torch 2.9."""

    learning_rate: float = 1e-3
    """At its peak."""

    weight_decay: float = 0.05
    """Of matrices, as AdamW has it."""

    warmup: float = 0.05
    """Share of the steps (0..1) in which the learning rate rises; then it falls as a cosine."""

    final: float = 0.1
    """Share of the peak (0..1) that the learning rate ends at."""

    label_smoothing: float = 0.1
    """Share of the target (0..1) that is spread over all actions."""

    clip: float = 1.0
    """Greatest norm of the gradient."""

    seed: int = 0
    """Of the weights and of all views."""

    workers: int = 1
    """Processes that draw views beside each training process."""

    precision: str = 'auto'
    """One of PRECISIONS, 'auto' being the best that the device is fast at."""

    checkpoint_minutes: float = 3.0
    """Time between checkpoints."""

    validate_every: int = 500
    """Steps between validations."""

    validate_views: int = 512
    """Views kept back that the loss is taken on."""

    recall_views: int = 192
    """Views kept back that the recall is taken on, for which all cells of the map are encoded; 0
    leaves it out."""

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.validate_every, self.validate_views) < 1:
            raise ConfigError('steps, batch and validation sizes must be at least 1')
        if not (self.learning_rate > 0 and 0 <= self.warmup < 1 and 0 <= self.final <= 1):
            raise ConfigError('learning rate must be positive, warmup in 0..1, final in 0..1')
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(
                f'optimizer is {self.optimizer!r}; choose of {", ".join(OPTIMIZERS)}'
            )
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f'precision is {self.precision!r}; choose of {", ".join(PRECISIONS)}'
            )


class Objective(nn.Module):
    """Cross-entropy of the true actions, per step of the zoom: (S,)."""

    def __init__(self, policy: ZoomPolicy, label_smoothing: float) -> None:
        super().__init__()
        self.policy, self.label_smoothing = policy, label_smoothing

    def forward(
        self,
        views: torch.Tensor,
        actions: torch.Tensor,
        crops: torch.Tensor,
        rows: torch.Tensor,
        children: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """views (B, V, h, w, 3), crops (U, h, w, 3) uint8; actions, rows (B, S) int64; where the
        policy looks ahead, the embeddings children (B, S, A, D) of each cell passed through."""
        losses = F.cross_entropy(
            self.logits(views, actions, crops, rows, children).flatten(0, 1).float(),
            actions.flatten(),
            label_smoothing=self.label_smoothing if self.training else 0.0,
            reduction='none',
        )
        return losses.unflatten(0, actions.shape).mean(dim=0)

    def logits(
        self,
        views: torch.Tensor,
        actions: torch.Tensor,
        crops: torch.Tensor,
        rows: torch.Tensor,
        children: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits (B, S, A), the arguments being those of `forward`."""
        maps = self.policy.encode_satellite(normalize(crops))[rows]
        ground = self.policy.encode_ground(normalize(views))
        return self.policy.logits(ground, maps, actions, children)


def learning_rate(step: float, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine down to `final` of the peak, reached at the last step."""
    warmup = config.warmup * config.steps
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, config.steps - 1 - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * (config.final + (1 - config.final) * cosine)


def optimizers(policy: Embedder, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """The optimizers that share the trainable parameters of a policy: AdamW, or Muon for the
    weights of hidden layers and AdamW for the others. Muon's steps are scaled to the size that
    AdamW's have (arXiv 2502.16982), so that one learning rate serves both."""
    hidden: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in policy.named_parameters():
        if parameter.requires_grad:
            inner = is_hidden(name, parameter, policy.outer_layers)
            (hidden if inner and config.optimizer == 'muon' else others).append(parameter)
    by_adamw = torch.optim.AdamW(parameter_groups(others, config.weight_decay))
    return [by_adamw, _muon(hidden, config.weight_decay)] if hidden else [by_adamw]


def is_hidden(name: str, parameter: nn.Parameter, outer_layers: tuple[str, ...]) -> bool:
    """True for weights that lead from features to features; `outer_layers` as a policy has it."""
    return parameter.ndim >= 2 and not name.startswith(outer_layers)


def _muon(kernels: list[nn.Parameter], weight_decay: float) -> torch.optim.Optimizer:
    if not hasattr(torch.optim, 'Muon'):
        raise ConfigError(
            f'the optimizer muon needs torch 2.9 or newer, this is {torch.__version__}; use '
            '--optimizer adamw'
        )
    return torch.optim.Muon(
        [_as_matrix(kernel) for kernel in kernels],
        weight_decay=weight_decay,
        adjust_lr_fn='match_rms_adamw',
    )


def _as_matrix(kernel: nn.Parameter) -> nn.Parameter:
    """A parameter (out, in * h * w) that lies in the memory of a kernel (out, in, h, w), and gets
    its gradients: Muon takes matrices only."""
    matrix = nn.Parameter(kernel.detach().flatten(1))

    def pass_on(kernel):
        matrix.grad = kernel.grad.flatten(1)

    kernel.register_post_accumulate_grad_hook(pass_on)
    return matrix


def parameter_groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices are decayed; norms, biases and other vectors are not."""
    return [
        {'params': [p for p in parameters if p.ndim >= 2], 'weight_decay': weight_decay},
        {'params': [p for p in parameters if p.ndim < 2], 'weight_decay': 0.0},
    ]


def precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of autocast. A CPU is fast in half precision only with instructions for it."""
    if name != 'auto':
        return getattr(torch, name)
    if device.type == 'cuda':
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
