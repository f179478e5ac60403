"""Teach a policy to zoom.

Teacher-forced cross-entropy over the true actions, as published (Just Zoom In, arXiv 2603.25686).
For a downward camera the training views are drawn from the map itself (`nadir_views.py`), so no
image of the ground is needed; for a forward camera they come from pictures of streets
(`street.py`).
Runs on one process or, under `torchrun`, on several: a batch is the same whatever the number of
processes that share it.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from justzoom_ros.errors import ConfigError, WeightsError, first_line
from justzoom_ros.files import writing
from justzoom_ros.inference.calibration import Calibration
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.models import PolicyConfig, ZoomPolicy
from justzoom_ros.training.areas import Area, RoundRobin
from justzoom_ros.training.batches import (
    CALIBRATION,
    TRAINING,
    VALIDATION,
    Batch,
    Rank,
    Stream,
    quiet_worker,
)
from justzoom_ros.training.history import History, TensorboardLog
from justzoom_ros.training.processes import device_of_process, parallelize
from justzoom_ros.training.recipe import (
    Objective,
    TrainConfig,
    learning_rate,
    optimizers,
    precision,
)
from justzoom_ros.training.temperature import fit_temperature
from justzoom_ros.training.validation import recall_50m

CHECKPOINT, BEST, WEIGHTS = 'checkpoint.pt', 'best.safetensors', 'weights.safetensors'


class Trainer:
    """One run: builds all from the configurations, then `run`.

    It learns from `areas` in turn, one a step, and is validated on views that are kept back of
    them, or of the `validation_areas`, from which it never learns. In the folder `out`:
    checkpoint.pt, best.safetensors (of the lowest NLL on views kept back), history.csv, curves.png
    and at last weights.safetensors, which are the best with a temperature fitted.
    `prepare(policy)` is called before the parameters are handed to optimizer and processes: to
    load and freeze some.
    """

    def __init__(
        self,
        areas: Sequence[Area],
        policy_config: PolicyConfig,
        train_config: TrainConfig,
        out: str | Path,
        prepare: Callable[[Any], None] = lambda policy: None,
        validation_areas: Sequence[Area] = (),
    ) -> None:
        self.areas, self.validation_areas = list(areas), list(validation_areas or areas)
        for area in {*self.areas, *self.validation_areas}:
            check_fits(area.map, policy_config)
        self.config, self.out = train_config, Path(out)
        self.rank = Rank.of_process()
        self.device = device_of_process()
        torch.manual_seed(train_config.seed)
        self.policy = self.build(policy_config).to(self.device)
        prepare(self.policy)
        self.policy.provenance = {
            'maps': [area.map.checksum for area in self.areas],
            'train': asdict(train_config),
            **self._seen(),
        }
        self.objective: Any = self.build_objective()
        self.parallel = parallelize(self.objective, self.rank, self.device)
        self.optimizers = optimizers(self.policy, train_config)
        self.precision = precision(train_config.precision, self.device)
        self.scaler = torch.amp.GradScaler(enabled=self.precision == torch.float16)
        self.history = History(self.chance)
        self.step, self._progress = 0, True

    def _seen(self) -> dict[str, Any]:
        """How the views of the first area are drawn: what a camera must be like for the policy."""
        identity = self.areas[0].draw_identity(self.config)
        return {'views': identity['views']} if 'views' in identity else {}

    # What another method than zooming, trained the same way, does otherwise.

    def build(self, policy_config: PolicyConfig) -> Any:
        """The network to be trained, with random weights."""
        return ZoomPolicy(policy_config)

    def build_objective(self) -> nn.Module:
        """The loss as a module, `Objective` or like it."""
        return Objective(self.policy, self.config.label_smoothing)

    def batch_inputs(
        self, area: Area, views: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """The arguments of the objective for a batch of an area, on the CPU."""
        inputs = views, actions, *area.crops(actions)
        if not self.policy.config.look_ahead:
            return inputs
        return *inputs, area.child_embeddings(self.policy, actions, self.step)

    def recall_on(self, area: Area, batches: Iterator[Batch]) -> float:
        """`recall` of an area's `batches` of views and actions."""
        return recall_50m(self.policy, area.map, self.device, batches)

    def finish(self) -> None:
        """What is done with the trained network before it is saved for good."""
        self.policy.provenance['calibration'] = self.calibrate().to_dict()

    @property
    def chance(self) -> float:
        """NLL (nats) of knowing nothing."""
        return self.policy.config.depth * math.log(self.policy.config.branching)

    @property
    def area(self) -> Area:
        """The one whose turn it is to be learned from."""
        return self.areas[self.step % len(self.areas)]

    @property
    def leads(self) -> bool:
        """True in the one process that writes files and shows progress."""
        return self.rank.leads

    def run(self, progress: bool = True) -> Path:
        """Train to the last step; returns the path of the weights. With `progress` how it goes is
        shown on stderr."""
        self.out.mkdir(parents=True, exist_ok=True)
        log = TensorboardLog(self.out) if self.leads else None
        self._progress = progress
        saved = time.monotonic()
        self.history.start_clock()
        bar = tqdm(
            self._batches(),
            desc='train',
            unit='step',
            initial=self.step,
            total=self.config.steps,
            # None: no bar where nobody watches.
            disable=None if self.leads and progress else True,
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
            self.policy.take(self.out / BEST)
            self._forget_tables()
            self.finish()
            self.policy.save(self.out / WEIGHTS, half=True)  # the checkpoint keeps every bit
        return self.out / WEIGHTS

    def advance(self, views: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """One step of the optimiser on this process's share; returns losses (S,)."""
        losses = self.gradient(views, actions)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group['lr'] = learning_rate(self.step, self.config)
            self.scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(self.policy.parameters(), self.config.clip)
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        return losses

    def gradient(self, views: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Fill the gradients, averaged over all processes; returns losses (S,)."""
        self.objective.train()
        self.policy.zero_grad(set_to_none=True)
        with self._autocast():
            losses = self.parallel(*self._inputs(self.area, views, actions))
        self.scaler.scale(losses.mean()).backward()
        return losses.detach()

    @torch.inference_mode()
    def validate(self) -> float:
        """Mean negative log-likelihood (nats) of the terminal cell, on views not trained on."""
        self.objective.eval()
        with self._autocast():
            nll = [self.objective(*inputs).sum() for inputs in self._draw_unseen(VALIDATION)]
        return float(torch.stack(nll).mean())

    @torch.inference_mode()
    def calibrate(self) -> Calibration:
        """The `Calibration` on views neither trained nor validated on."""
        self.objective.eval()
        logits, actions = [], []
        for inputs in self._draw_unseen(CALIBRATION):
            with self._autocast():
                logits.append(self.objective.logits(*inputs).cpu())
            actions.append(inputs[1].cpu())
        return fit_temperature(torch.cat(logits), torch.cat(actions), 'views')

    def _draw_unseen(self, stream: Stream) -> Iterator[list[torch.Tensor]]:
        """Inputs of the objective, from views that training never draws."""
        count = self.views_per_area(self.config.validate_views)
        for area in self.validation_areas:
            for batch in area.draw_unseen(self.config, stream, count):
                yield self._inputs(area, *batch)

    def views_per_area(self, views: int) -> int:
        """How many of so many views are of each area that is validated on."""
        return math.ceil(views / len(self.validation_areas))

    def _inputs(
        self, area: Area, views: torch.Tensor, actions: torch.Tensor
    ) -> list[torch.Tensor]:
        inputs = self.batch_inputs(area, views, actions)
        return [x.to(self.device, non_blocking=True) for x in inputs]

    def _forget_tables(self) -> None:
        for area in {*self.areas, *self.validation_areas}:
            area.forget_table()

    def _batches(self) -> DataLoader:
        areas = self.areas
        batches = RoundRobin([area.source(self.config, self.rank, TRAINING) for area in areas])
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

    def _record(self, log: Any, losses: torch.Tensor) -> None:
        self.history.add_losses(losses)
        if self.step % 50 == 0:
            log.add_scalar('train/loss', losses.sum(), self.step)
            log.add_scalar('train/learning_rate', learning_rate(self.step, self.config), self.step)
        if self.step % self.config.validate_every == 0 or self.step == self.config.steps:
            self._validate_and_keep(log)

    def _validate_and_keep(self, log: Any) -> None:
        """Validate, keep the weights if they are the best so far, say how it goes."""
        self._forget_tables()  # what is measured must be what the weights would do
        nll, recall = self.validate(), self.recall()
        log.add_scalar('validation/nll_nats', nll, self.step)
        log.add_scalar('validation/recall_50m', recall, self.step)
        if nll <= self.history.best_nll:
            self.policy.save(self.out / BEST)
        self.history.add(self.step, nll, recall)
        self.history.write(self.out)
        if self._progress:
            tqdm.write(f'step {self.step}: {self.history}', file=sys.stderr)

    def recall(self) -> float:
        """Share of views not trained on whose most probable cell lies within 50 m; NaN where
        `recall_views` is 0."""
        self.policy.eval()
        count = self.views_per_area(self.config.recall_views)
        shares = [
            self.recall_on(area, area.draw_unseen(self.config, VALIDATION, count))
            for area in self.validation_areas
        ]
        return sum(shares) / len(shares)

    def _autocast(self) -> torch.autocast:
        enabled = self.precision != torch.float32
        return torch.autocast(self.device.type, self.precision, enabled=enabled)

    # --- checkpoints ---------------------------------------------------------------------------

    def save_checkpoint(self) -> None:
        """Everything to go on from, in one file, atomically."""
        state = {
            'step': self.step,
            'identity': self._identity(),
            'policy': self.policy.state_dict(),
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
            'scaler': self.scaler.state_dict(),
            'history': self.history.state(),
        }
        with writing(self.out / CHECKPOINT) as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:
                raise OSError(f'is the disk full? {first_line(error)}') from error

    def resume(self) -> None:
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
        for optimizer, kept in zip(self.optimizers, state['optimizers'], strict=True):
            optimizer.load_state_dict(kept)
        self.scaler.load_state_dict(state['scaler'])
        self.history = History(self.chance, **state['history'])
        self.step = state['step']

    def _identity(self) -> str:
        what: dict[str, Any] = {'policy': self.policy.config.to_json()}
        what |= {'train': asdict(replace(self.config, workers=0, checkpoint_minutes=0))}
        for role, areas in (('areas', self.areas), ('validation', self.validation_areas)):
            what[role] = [
                {
                    'map': area.map.checksum,
                    **area.source(self.config, self.rank, TRAINING).identity,
                }
                for area in areas
            ]
        return json.dumps(what, sort_keys=True)


def check_fits(satellite_map: SatelliteMap, config: PolicyConfig) -> None:
    """Raises ConfigError unless the map and the policy have the same grid and depth."""
    region = satellite_map.region
    if (region.grid, region.depth) != (config.grid, config.depth):
        raise ConfigError(
            f'{satellite_map.path}: the map is {region.grid} x {region.grid} of depth '
            f'{region.depth}, the policy {config.grid} x {config.grid} of depth {config.depth}'
        )
