"""The loop that trains a registration network, and how it is judged while it runs."""

import csv
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from justzoom_ros.files import output_folder, writing
from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.training.registration.batches import Batch, draw_batch
from justzoom_ros.training.registration.checkpoint import load_checkpoint, save_checkpoint
from justzoom_ros.training.registration.loss import log_evidence, losses_of
from justzoom_ros.training.registration.recipe import RegistrationRecipe
from justzoom_ros.training.registration.team import SYNC_STEPS, Team
from justzoom_ros.training.registration.views import PairSource

CHECKPOINT, BEST, HISTORY = 'checkpoint.safetensors', 'nadir.safetensors', 'history.csv'
FIGURES = ('loss_nats', 'here_nats', 'elsewhere_nats', 'within_3_cells', 'auc_here')
"""What a validation says: the two losses and their sum, share of pairs found within 3 cells, area
under the curve of telling tiles that show a view from tiles that do not."""
TRAINING, JUDGING = 0, 1
"""First numbers of the random seeds, so that views that judge are never trained on."""


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
        self.team = Team()
        self.out = output_folder(out) if self.team.rank == 0 else Path(out)
        torch.manual_seed(recipe.seed)
        self.network = RegistrationNetwork(recipe.network)
        if start is not None:
            self.network.load_state_dict(start.state_dict())
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.network), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.step, self.cpu_s = 0, 0.0
        self.rows: list[dict[str, float]] = []
        self.losses: list[tuple[float, float]] = []
        if (self.out / CHECKPOINT).is_file():
            self._resume()

    @property
    def share(self) -> float:
        """How much of the run is done, 0..1."""
        return min(self.cpu_s / (60 * self.recipe.minutes), 1.0)

    @property
    def best(self) -> dict[str, float]:
        """The validation whose weights are kept."""
        return min(self.rows, key=lambda row: row['loss_nats'])

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
            self._timed(self._stretch)
            if self.cpu_s / 60 >= judged + self.recipe.validate_minutes or self.share >= 1:
                self._timed(self.judge)
                judged = self.cpu_s / 60
                if self.team.rank == 0:
                    self._save()
            if int(self.cpu_s / 60) > minute:
                minute = int(self.cpu_s / 60)
                yield minute

    def _timed(self, work):
        """Do it, and count the CPU time that all processes took."""
        began = time.process_time()
        work()
        self.cpu_s += self.team.total([time.process_time() - began])[0]

    def _stretch(self):
        """As many steps as each process takes alone."""
        for _ in range(SYNC_STEPS):
            self.losses.append(self.advance())
        self.team.average_weights(self.network)

    def advance(self) -> tuple[float, float]:
        """One step; returns the losses here and elsewhere in nats."""
        rate = self.recipe.learning_rate * self._schedule()
        for group in self.optimizer.param_groups:
            group['lr'] = rate * group['factor']
        self.network.train()
        here, absent, _, _ = losses_of(self.network, self.batch(TRAINING, self.step))
        loss = here.mean() + self.recipe.elsewhere_weight * absent.mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return float(here.detach().mean()), float(absent.detach().mean())

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
        total = max(1, self.recipe.validation_pairs // self.recipe.pairs)
        sums = np.zeros(len(FIGURES) + 1)
        for number in range(self.team.rank, total, self.team.size):
            batch = self.batch(JUDGING, number)
            sums += [*_figures(batch, *losses_of(self.network, batch)), 1]
        *figures, count = self.team.total(sums.tolist())
        here, absent = np.mean(self.losses, axis=0) if self.losses else (math.nan, math.nan)
        row = {'step': self.step, 'cpu_minutes': round(self.cpu_s / 60, 2)}
        row |= {'train_here_nats': float(here), 'train_elsewhere_nats': float(absent)}
        row |= {name: value / count for name, value in zip(FIGURES, figures, strict=True)}
        self.losses = []
        self.rows.append(row)
        if self.team.rank == 0:
            self._keep(row)
        return row

    def _keep(self, row):
        if self.best is row:
            self.network.save(self.out / BEST)
        write_history(self.out / HISTORY, self.rows)

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


def parameter_groups(network: RegistrationNetwork) -> list[dict]:
    """The six numbers of the match model learn ten times as fast as filters, and do not decay."""
    match = list(network.match.parameters())
    encoders = [p for name, p in network.named_parameters() if not name.startswith('match.')]
    return [
        {'params': encoders, 'factor': 1.0},
        {'params': match, 'factor': 10.0, 'weight_decay': 0.0},
    ]


def _figures(batch, here_nats, absent_nats, here, elsewhere):
    """FIGURES of one batch."""
    side = here.shape[-1]
    best = here.flatten(1).argmax(1) % (side * side)
    off = torch.hypot(best // side - batch.rows, best % side - batch.columns)
    present, foreign = log_evidence(here), log_evidence(elsewhere)
    foreign = foreign[batch.elsewhere >= 0]
    ahead = float((present[:, None] > foreign[None]).float().mean()) if len(foreign) else 0.5
    here_nats, absent_nats = float(here_nats.mean()), float(absent_nats.mean())
    return (
        here_nats + absent_nats,
        here_nats,
        absent_nats,
        float((off <= 3).float().mean()),
        ahead,
    )


def write_history(path: Path, rows: list[dict]) -> None:
    """Write the learning curve as CSV. Raises OutputError."""
    with writing(path) as temporary, open(temporary, 'w', newline='') as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
