"""How a run learns: its settings, the loss, the learning rate, the number format."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from justzoom_ros.errors import ConfigError
from justzoom_ros.inference.preprocess import normalize

PRECISIONS = ('auto', 'float32', 'bfloat16', 'float16')
OPTIMIZERS = ('adamw', 'muon')


@dataclass(frozen=True)
class TrainConfig:
    """The recipe. `batch` views per step in all processes together; `warmup` share of `steps`,
    then a cosine down to `final` times `learning_rate`; `clip` the norm of the gradient;
    `workers` processes that draw views beside each training process; `precision` one of
    PRECISIONS, 'auto' being the best that the device is fast at. Every `validate_every` steps the
    loss is taken on `validate_views` views kept back, and the recall, for which all cells of the
    map are encoded, on `recall_views` of them (0 leaves it out). `optimizer` is one of
    OPTIMIZERS."""

    steps: int = 10_000
    batch: int = 128
    optimizer: str = 'adamw'
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    final: float = 0.1
    label_smoothing: float = 0.1
    clip: float = 1.0
    seed: int = 0
    workers: int = 1
    precision: str = 'auto'
    checkpoint_minutes: float = 3.0
    validate_every: int = 500
    validate_views: int = 512
    recall_views: int = 192

    def __post_init__(self):
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

    def __init__(self, policy, label_smoothing):
        super().__init__()
        self.policy, self.label_smoothing = policy, label_smoothing

    def forward(self, views, actions, crops, rows, children=None):
        """views (B, V, h, w, 3), crops (U, h, w, 3) uint8; actions, rows (B, S) int64; where the
        policy looks ahead, the embeddings children (B, S, A, D) of each cell passed through."""
        losses = F.cross_entropy(
            self.logits(views, actions, crops, rows, children).flatten(0, 1).float(),
            actions.flatten(),
            label_smoothing=self.label_smoothing if self.training else 0.0,
            reduction='none',
        )
        return losses.unflatten(0, actions.shape).mean(dim=0)

    def logits(self, views, actions, crops, rows, children=None):
        """Logits (B, S, A), the arguments being those of `forward`."""
        maps = self.policy.encode_satellite(normalize(crops))[rows]
        ground = self.policy.encode_ground(normalize(views))
        return self.policy.logits(ground, maps, actions, children)


def learning_rate(step, config):
    """Linear warm-up, then a cosine down to `final` of the peak, reached at the last step."""
    warmup = config.warmup * config.steps
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, config.steps - 1 - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * (config.final + (1 - config.final) * cosine)


def optimizers(policy, config):
    """The optimizers that share the trainable parameters of a policy: AdamW, or Muon for the
    weights of hidden layers and AdamW for the others. Muon's steps are scaled to the size that
    AdamW's have (arXiv 2502.16982), so that one learning rate serves both."""
    hidden, others = [], []
    for name, parameter in policy.named_parameters():
        if parameter.requires_grad:
            inner = is_hidden(name, parameter, policy.outer_layers)
            (hidden if inner and config.optimizer == 'muon' else others).append(parameter)
    made = [torch.optim.AdamW(parameter_groups(others, config.weight_decay))]
    return [*made, _muon(hidden, config.weight_decay)] if hidden else made


def is_hidden(name: str, parameter: nn.Parameter, outer_layers: tuple[str, ...]) -> bool:
    """True for weights that lead from features to features; `outer_layers` as a policy has it."""
    return parameter.ndim >= 2 and not name.startswith(outer_layers)


def _muon(kernels, weight_decay):
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


def _as_matrix(kernel):
    """A parameter (out, in * h * w) that lies in the memory of a kernel (out, in, h, w), and gets
    its gradients: Muon takes matrices only."""
    matrix = nn.Parameter(kernel.detach().flatten(1))

    def pass_on(kernel):
        matrix.grad = kernel.grad.flatten(1)

    kernel.register_post_accumulate_grad_hook(pass_on)
    return matrix


def parameter_groups(parameters, weight_decay):
    """Matrices are decayed; norms, biases and other vectors are not."""
    return [
        {'params': [p for p in parameters if p.ndim >= 2], 'weight_decay': weight_decay},
        {'params': [p for p in parameters if p.ndim < 2], 'weight_decay': 0.0},
    ]


def precision(name, device):
    """The dtype of autocast. A CPU is fast in half precision only with instructions for it."""
    if name != 'auto':
        return getattr(torch, name)
    if device.type == 'cuda':
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
