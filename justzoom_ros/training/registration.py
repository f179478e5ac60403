"""Train a registration network that works on any map, or fit one to a map.

The network learns to say where in a tile of a map a view is, which way it faces, and that it is
not there at all: cross-entropy over places, headings and "somewhere else", on pairs of pictures
of the same ground that look as unlike as a satellite's and a drone's.
"""

import csv
import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from justzoom_ros.files import output_folder, writing
from justzoom_ros.registration.config import RegistrationConfig
from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.training.registration_batches import Batch, draw_batch
from justzoom_ros.training.registration_checkpoint import load_checkpoint, save_checkpoint
from justzoom_ros.training.registration_loss import (
    Correlation,
    covered_places,
    elsewhere_loss,
    here_loss,
    log_evidence,
    log_ratios,
    turn_templates,
)
from justzoom_ros.training.registration_views import (
    STRIDE,
    TEMPLATE,
    WINDOW,
    PairSource,
    ViewConfig,
)

CHECKPOINT, BEST, HISTORY = 'checkpoint.safetensors', 'nadir.safetensors', 'history.csv'
TRAINING, JUDGING = 0, 1
"""First numbers of the random seeds, so that views that judge are never trained on."""


@dataclass(frozen=True)
class RegistrationRecipe:
    """How to train a `RegistrationNetwork`."""

    minutes: float = 65.0
    """CPU minutes of this process, validation included."""
    pairs: int = 12
    """Pairs of view and tile in a step."""
    negatives: int = 2
    """Pictures of nothing in a step."""
    headings: int = 12
    """Headings that a view is turned to; one of them is the true one."""
    heading_error_rad: float = math.radians(4)
    """Largest error of the true heading: half a step of a search over headings."""
    learning_rate: float = 2e-3
    """Peak, of AdamW; it rises over 50 steps and falls as a cosine to a hundredth."""
    weight_decay: float = 1e-2
    """Of AdamW."""
    elsewhere_weight: float = 0.5
    """Weight of the loss on views that are not in the tile."""
    validate_minutes: float = 4.0
    """CPU minutes from one validation to the next."""
    validation_pairs: int = 96
    """Pairs of the places that judge."""
    seed: int = 0
    """Of all that is random."""
    network: RegistrationConfig = field(default_factory=RegistrationConfig)
    """Sizes of the network."""
    views: ViewConfig = field(default_factory=ViewConfig)
    """How unlike view and map are."""


def losses_of(network: RegistrationNetwork, batch: Batch):
    """`here_loss` (B,), `elsewhere_loss` (B + K,) and the log ratios (B, R, W, W) of the pairs and
    (B + K, R, W, W) of views on tiles that do not show them."""
    count = len(batch.tiles)
    tile_mask = nn.functional.avg_pool2d(batch.tiles[:, 3:], STRIDE)[:, 0] >= 0.5
    view_mask = nn.functional.avg_pool2d(batch.views[:, 3:], STRIDE)[:, 0] >= 0.5
    tiles = network.encode_map(batch.tiles) * tile_mask[:, None]
    templates, seen = turn_templates(network.encode_view(batch.views), view_mask, batch.headings)
    area = seen.sum((2, 3)).clamp(min=1).float()
    own = [v if v < count else -1 for v in range(len(templates))]
    scores, foreign_scores = Correlation.apply(tiles, templates, own, batch.elsewhere.tolist())
    valid = covered_places(tile_mask, TEMPLATE)
    here = log_ratios(network, scores[:count], area[:count], valid)
    elsewhere = log_ratios(network, foreign_scores, area, valid[batch.elsewhere.clamp(min=0)])
    absent = elsewhere_loss(elsewhere) * (batch.elsewhere >= 0)
    return here_loss(here, batch.rows, batch.columns), absent, here, elsewhere


class Team:
    """The processes that `torchrun` started for this run; one where it was not used.

    Each draws batches of its own and all take the same step along the mean gradient, so that
    several processes take larger steps, not other ones.
    """

    def __init__(self):
        self.rank, self.size = (
            int(os.environ.get(n, d)) for n, d in (('RANK', 0), ('WORLD_SIZE', 1))
        )
        if self.size > 1 and not dist.is_initialized():
            dist.init_process_group('gloo')

    def average_gradients(self, network: nn.Module) -> None:
        """Replace gradients by their mean over all processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def total(self, value: float) -> float:
        """Sum over all processes."""
        if self.size == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(tensor)
        return float(tensor)


class RegistrationTrainer:
    """One run in a folder: goes on from the checkpoint there, else starts anew."""

    def __init__(
        self,
        recipe: RegistrationRecipe,
        source: PairSource,
        judges: PairSource,
        out: str | Path,
        start: RegistrationNetwork | None = None,
    ):
        self.recipe, self.source, self.judges = recipe, source, judges
        self.out = output_folder(out)
        torch.manual_seed(recipe.seed)
        self.network = RegistrationNetwork(recipe.network)
        if start is not None:
            self.network.load_state_dict(start.state_dict())
        self.network.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.team = Team()
        self.step, self.cpu_s, self.rows = 0, 0.0, []
        self.losses: list[tuple[float, float]] = []
        if (self.out / CHECKPOINT).is_file():
            self._resume()

    @property
    def share(self) -> float:
        """How much of the run is done, 0..1."""
        return min(self.cpu_s / (60 * self.recipe.minutes), 1.0)

    def run(self, progress: Callable[[Iterable, str, int], Iterable] | None = None) -> Path:
        """Train to the end of the minutes; returns the path of the best weights.

        `progress(items, name, total)` wraps the minutes, 0 .. total - 1, as they pass.
        """
        minutes = self._minutes()
        total = math.ceil(self.recipe.minutes)
        for _ in progress(minutes, 'train', total) if progress else minutes:
            pass
        return self.out / BEST

    def _minutes(self):
        """Train; yields each CPU minute that has passed."""
        judged = self.rows[-1]['cpu_minutes'] if self.rows else 0.0
        minute = int(self.cpu_s / 60)
        while self.share < 1:
            began = time.process_time()
            self.losses.append(self.advance())
            self.cpu_s += self.team.total(time.process_time() - began)
            if self.cpu_s / 60 >= judged + self.recipe.validate_minutes or self.share >= 1:
                began = time.process_time()
                if self.team.rank == 0:
                    self.judge()
                self.cpu_s += self.team.total(time.process_time() - began)
                judged = self.cpu_s / 60
                if self.team.rank == 0:
                    self._save()
            if int(self.cpu_s / 60) > minute:
                minute = int(self.cpu_s / 60)
                yield minute

    def advance(self) -> tuple[float, float]:
        """One step; returns the losses here and elsewhere in nats."""
        rate = self.recipe.learning_rate * self._schedule()
        for group in self.optimizer.param_groups:
            group['lr'] = rate
        self.network.train()
        here, absent, _, _ = losses_of(self.network, self.batch(TRAINING, self.step))
        loss = here.mean() + self.recipe.elsewhere_weight * absent.mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.team.average_gradients(self.network)
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return float(here.mean()), float(absent.mean())

    def _schedule(self):
        """Learning rate as a share of its peak."""
        warm = min(1.0, (self.step + 1) / 50)
        return warm * (0.01 + 0.99 * (1 + math.cos(math.pi * self.share)) / 2)

    def batch(self, stream: int, number: int) -> Batch:
        """Batch `number` of a stream, TRAINING or JUDGING: the same whenever it is drawn."""
        recipe = self.recipe
        if stream == TRAINING:
            source, number = self.source, number * self.team.size + self.team.rank
        else:
            source = self.judges
        return draw_batch(
            source,
            np.random.default_rng([stream, recipe.seed, number]),
            recipe.pairs,
            recipe.negatives,
            recipe.headings,
            recipe.heading_error_rad,
            recipe.network.normalization_px,
        )

    @torch.no_grad()
    def judge(self) -> dict[str, float]:
        """Figures on pairs of the places that judge; keeps the weights if they are the best."""
        self.network.eval()
        figures = []
        for number in range(max(1, self.recipe.validation_pairs // self.recipe.pairs)):
            batch = self.batch(JUDGING, number)
            figures.append(_figures(batch, *losses_of(self.network, batch)))
        row = {'step': self.step, 'cpu_minutes': round(self.cpu_s / 60, 2)}
        here, absent = np.mean(self.losses, axis=0)
        row |= {'train_here_nats': here, 'train_elsewhere_nats': absent}
        row |= {name: float(np.mean([f[name] for f in figures])) for name in figures[0]}
        self.losses = []
        if not self.rows or row['loss_nats'] <= min(r['loss_nats'] for r in self.rows):
            self.network.save(self.out / BEST)
        self.rows.append(row)
        write_history(self.out / HISTORY, self.rows)
        return row

    def _identity(self):
        """What must be the same for a run to go on."""
        places = [[place.name for place in s.places] for s in (self.source, self.judges)]
        recipe = asdict(replace(self.recipe, validate_minutes=0.0))
        return json.dumps([recipe, places, self.source.shares.tolist()], sort_keys=True)

    def _save(self):
        state = {'identity': self._identity(), 'step': self.step, 'cpu_s': self.cpu_s}
        save_checkpoint(
            self.out / CHECKPOINT, self.network, self.optimizer, {**state, 'rows': self.rows}
        )

    def _resume(self):
        state = load_checkpoint(
            self.out / CHECKPOINT, self.network, self.optimizer, self._identity()
        )
        self.step, self.cpu_s, self.rows = state['step'], state['cpu_s'], state['rows']


def _figures(batch, here_nats, absent_nats, here, elsewhere):
    """Of one batch: losses, share found within 3 cells, share of verdicts that are right."""
    count = len(here)
    best = here.flatten(1).argmax(1) % (WINDOW * WINDOW)
    off = torch.hypot(best // WINDOW - batch.rows, best % WINDOW - batch.columns)
    present, foreign = log_evidence(here), log_evidence(elsewhere)
    foreign = foreign[batch.elsewhere >= 0]
    ahead = (present[:, None] > foreign[None]).float().mean()
    return {
        'loss_nats': float(here_nats.mean() + absent_nats.mean()),
        'here_nats': float(here_nats.mean()),
        'elsewhere_nats': float(absent_nats.mean()),
        'within_3_cells': float((off <= 3).float().mean()),
        'auc_here': float(ahead),
        'pairs': count,
    }


def write_history(path: Path, rows: list[dict]) -> None:
    """Write the learning curve as CSV. Raises OutputError."""
    with writing(path) as temporary, open(temporary, 'w', newline='') as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
