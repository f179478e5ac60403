"""Teach a policy to zoom.

Teacher-forced cross-entropy over the true actions, as published (Just Zoom In, arXiv 2603.25686).
For a downward camera the training views are drawn from the map itself (`views.py`), so no image
of the ground is needed. Runs on one process or, under `torchrun`, on several: a batch is the same
whatever the number of processes that share it.
"""

import json
import math
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from justzoom_ros.calibrate import fit_temperature
from justzoom_ros.errors import ConfigError, WeightsError
from justzoom_ros.files import writing
from justzoom_ros.images import normalised
from justzoom_ros.model import PolicyConfig, ZoomPolicy
from justzoom_ros.train_data import (
    CALIBRATION,
    VALIDATION,
    MapCrops,
    Share,
    ViewBatches,
    quiet_worker,
)

CHECKPOINT = 'checkpoint.pt'
WEIGHTS = 'weights.safetensors'
PRECISIONS = ('auto', 'float32', 'bfloat16', 'float16')


@dataclass(frozen=True)
class TrainConfig:
    """The recipe. `batch` views per step in all processes together; `warmup` share of `steps`,
    then a cosine down to `final` times `learning_rate`; `clip` the norm of the gradient;
    `workers` processes that draw views beside each training process; `precision` one of
    PRECISIONS, 'auto' being the best that the device is fast at."""

    steps: int = 10_000
    batch: int = 128
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

    def __post_init__(self):
        if min(self.steps, self.batch, self.validate_every, self.validate_views) < 1:
            raise ConfigError('steps, batch and validation sizes must be at least 1')
        if not (self.learning_rate > 0 and 0 <= self.warmup < 1 and 0 <= self.final <= 1):
            raise ConfigError('learning rate must be positive, warmup in 0..1, final in 0..1')
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f'precision is {self.precision!r}; choose of {", ".join(PRECISIONS)}'
            )


class Objective(nn.Module):
    """Cross-entropy of the true actions, per step of the zoom: (S,)."""

    def __init__(self, policy, label_smoothing):
        super().__init__()
        self.policy, self.label_smoothing = policy, label_smoothing

    def forward(self, views, crops, rows, actions):
        """views (B, V, h, w, 3), crops (U, h, w, 3) uint8; rows, actions (B, S) int64."""
        losses = F.cross_entropy(
            self.logits(views, crops, rows, actions).flatten(0, 1).float(),
            actions.flatten(),
            label_smoothing=self.label_smoothing if self.training else 0.0,
            reduction='none',
        )
        return losses.unflatten(0, actions.shape).mean(dim=0)

    def logits(self, views, crops, rows, actions):
        """Logits (B, S, A), the arguments being those of `forward`."""
        maps = self.policy.encode_satellite(normalised(crops))[rows]
        ground = self.policy.encode_ground(normalised(views))
        return self.policy.logits(ground, maps, actions)


class Trainer:
    """One run: builds all from the configurations, then `run`."""

    def __init__(self, satellite_map, policy_config, train_config, views, out):
        check_fits(satellite_map, policy_config)
        self.config, self.out = train_config, Path(out)
        self.share = Share(int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1)))
        self.device = _device()
        torch.manual_seed(train_config.seed)
        self.map, self.views = satellite_map, views
        self.policy = ZoomPolicy(policy_config).to(self.device)
        self.policy.provenance = {'map': satellite_map.checksum, 'train': asdict(train_config)}
        self.crops = MapCrops(satellite_map, policy_config.crop_px)
        self.objective = Objective(self.policy, train_config.label_smoothing)
        self.parallel = self._parallel()
        self.optimizer = torch.optim.AdamW(_groups(self.policy, train_config.weight_decay))
        self.precision = _precision(train_config.precision, self.device)
        self.scaler = torch.amp.GradScaler(enabled=self.precision == torch.float16)
        self.step = 0

    @property
    def leads(self):
        """True in the one process that writes files and shows progress."""
        return self.share.rank == 0

    def run(self):
        """Train to the last step; returns the path of the weights."""
        self.out.mkdir(parents=True, exist_ok=True)
        log = _tensorboard(self.out) if self.leads else None
        saved = time.monotonic()
        bar = tqdm(
            self._batches(),
            desc='train',
            unit='step',
            initial=self.step,
            total=self.config.steps,
            disable=None if self.leads else True,  # None: no bar where nobody watches
        )
        for views, actions in bar:
            losses = self.advance(views, actions)
            self.step += 1
            if not self.leads:
                continue
            bar.set_postfix(loss=f'{losses.sum():.3f}', refresh=False)
            self._record(log, losses)
            if time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                self.save_checkpoint()
                saved = time.monotonic()
        if self.leads:
            self.save_checkpoint()
            self.policy.provenance['calibration'] = self.calibrate().to_dict()
            self.policy.save(self.out / WEIGHTS, half=True)  # the checkpoint keeps every bit
        return self.out / WEIGHTS

    def advance(self, views, actions):
        """One step of the optimiser on this process's share; returns losses (S,)."""
        for group in self.optimizer.param_groups:
            group['lr'] = learning_rate(self.step, self.config)
        losses = self.gradient(views, actions)
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.policy.parameters(), self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return losses

    def gradient(self, views, actions):
        """Fill the gradients, averaged over all processes; returns losses (S,)."""
        self.objective.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            losses = self.parallel(*self._inputs(views, actions))
        self.scaler.scale(losses.mean()).backward()
        return losses.detach()

    @torch.inference_mode()
    def validate(self):
        """Mean negative log-likelihood (nats) of the terminal cell, on views not trained on."""
        self.objective.eval()
        with self._autocast():
            nll = [self.objective(*inputs).sum() for inputs in self._unseen(VALIDATION)]
        return float(torch.stack(nll).mean())

    @torch.inference_mode()
    def calibrate(self):
        """The `Calibration` on views neither trained nor validated on."""
        self.objective.eval()
        logits, actions = [], []
        for inputs in self._unseen(CALIBRATION):
            with self._autocast():
                logits.append(self.objective.logits(*inputs).cpu())
            actions.append(inputs[-1].cpu())
        return fit_temperature(torch.cat(logits), torch.cat(actions), 'views')

    def _unseen(self, stream):
        """Inputs of the objective, from views that training never draws."""
        config = replace(self.config, batch=64)
        batches = ViewBatches(self.views, config, Share(), stream)
        for number in range(math.ceil(self.config.validate_views / config.batch)):
            yield self._inputs(*batches[number])

    def _inputs(self, views, actions):
        crops, rows = self.crops(actions)
        return [x.to(self.device, non_blocking=True) for x in (views, crops, rows, actions)]

    def _batches(self):
        batches = ViewBatches(self.views, self.config, self.share)
        sampler = range(self.step, self.config.steps)
        if not self.config.workers:
            return DataLoader(batches, batch_size=None, sampler=sampler)
        return DataLoader(
            batches,
            batch_size=None,
            sampler=sampler,
            num_workers=self.config.workers,
            prefetch_factor=4,
            worker_init_fn=quiet_worker,
            # A forked worker would inherit the locks of OpenCV's and torch's threads, and hang.
            multiprocessing_context='spawn',
        )

    def _record(self, log, losses):
        if self.step % 50 == 0:
            log.add_scalar('train/loss', losses.sum(), self.step)
            log.add_scalar('train/learning_rate', learning_rate(self.step, self.config), self.step)
        if self.step % self.config.validate_every == 0 or self.step == self.config.steps:
            nll = self.validate()
            log.add_scalar('validation/nll_nats', nll, self.step)
            chance = self.policy.config.depth * math.log(self.policy.config.branching)
            message = f'step {self.step}: validation NLL {nll:.3f} nats (chance {chance:.3f})'
            tqdm.write(message, file=sys.stderr)

    # --- devices and processes -----------------------------------------------------------------

    def _parallel(self):
        if self.share.world == 1:
            return self.objective
        if not dist.is_initialized():
            dist.init_process_group('nccl' if self.device.type == 'cuda' else 'gloo')
        return DistributedDataParallel(self.objective)

    def _autocast(self):
        enabled = self.precision != torch.float32
        return torch.autocast(self.device.type, self.precision, enabled=enabled)

    # --- checkpoints ---------------------------------------------------------------------------

    def save_checkpoint(self):
        """Everything to go on from, in one file, atomically."""
        state = {
            'step': self.step,
            'identity': self._identity(),
            'policy': self.policy.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'scaler': self.scaler.state_dict(),
        }
        with writing(self.out / CHECKPOINT) as temporary:
            torch.save(state, temporary)

    def start_from(self, weights):
        """Take over trained weights of the same shape. Raises WeightsError."""
        trained = ZoomPolicy.load(weights)
        if trained.config != self.policy.config:
            raise WeightsError(f'{weights}: weights of another policy than the one to be trained')
        self.policy.load_state_dict(trained.state_dict())

    def resume(self):
        """Go on from the checkpoint in the output folder, where there is one.

        Raises WeightsError where it cannot be read or belongs to another run.
        """
        path = self.out / CHECKPOINT
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:
            raise WeightsError(f'{path}: checkpoint cannot be read ({error})') from error
        if state.get('identity') != self._identity():
            raise WeightsError(
                f'{path}: checkpoint of a run with another map or configuration; give another '
                'output folder or train without --resume'
            )
        self.policy.load_state_dict(state['policy'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.scaler.load_state_dict(state['scaler'])
        self.step = state['step']

    def _identity(self):
        what = {'map': self.map.checksum, 'policy': self.policy.config.to_json()}
        what |= {'train': asdict(replace(self.config, workers=0, checkpoint_minutes=0))}
        what |= {'views': asdict(self.views.config), 'look': asdict(self.views.appearance)}
        return json.dumps(what, sort_keys=True)


def learning_rate(step, config):
    """Linear warm-up, then a cosine down to `final` of the peak, reached at the last step."""
    warmup = config.warmup * config.steps
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, config.steps - 1 - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * (config.final + (1 - config.final) * cosine)


def check_fits(satellite_map, config: PolicyConfig):
    """Raises ConfigError unless the map and the policy have the same grid and depth."""
    region = satellite_map.region
    if (region.grid, region.depth) != (config.grid, config.depth):
        raise ConfigError(
            f'{satellite_map.path}: the map is {region.grid} x {region.grid} of depth '
            f'{region.depth}, the policy {config.grid} x {config.grid} of depth {config.depth}'
        )


def _groups(policy, weight_decay):
    """Matrices are decayed; norms, biases and other vectors are not."""
    parameters = [p for p in policy.parameters() if p.requires_grad]
    return [
        {'params': [p for p in parameters if p.ndim >= 2], 'weight_decay': weight_decay},
        {'params': [p for p in parameters if p.ndim < 2], 'weight_decay': 0.0},
    ]


def _device():
    if not torch.cuda.is_available():
        return torch.device('cpu')
    return torch.device('cuda', int(os.environ.get('LOCAL_RANK', 0)))


def _precision(name, device):
    """The dtype of autocast. A CPU is fast in half precision only with matrix units (AMX)."""
    if name != 'auto':
        return getattr(torch, name)
    if device.type == 'cuda':
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32


def _tensorboard(folder):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            'training logs need the package tensorboard: pip install justzoom_ros[train]'
        ) from error
    return SummaryWriter(folder)
