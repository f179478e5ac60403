"""The loop that trains a registration network, and how it is judged while it runs."""

import csv
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from justzoom_ros.files import output_folder, writing
from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.training.registration.batches import Batch, draw_batch
from justzoom_ros.training.registration.checkpoint import load_checkpoint, save_checkpoint
from justzoom_ros.training.registration.dice import Dice
from justzoom_ros.training.registration.loss import Losses, log_evidence, losses_of
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
    """One run in a folder: goes on from the checkpoint there, else starts anew.

    It runs where the imagery of `source` is. Its minutes are those of the processor on a CPU, and
    of the clock on a GPU.
    """

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
        self.network.to(source.bank.device, memory_format=torch.channels_last)  # type: ignore
        self.average = RunningMean(self.network, recipe.averaging)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.network), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.clock = time.process_time if source.bank.device.type == 'cpu' else time.monotonic
        self.step, self.spent_s = 0, 0.0
        self.rows: list[dict[str, float]] = []
        self.losses: list[torch.Tensor] = []
        if (self.out / CHECKPOINT).is_file():
            self._resume()

    @property
    def share(self) -> float:
        """How much of the run is done, 0..1."""
        return min(self.spent_s / (60 * self.recipe.minutes), 1.0)

    @property
    def best(self) -> dict[str, float]:
        """The validation whose weights are kept."""
        return min(self.rows, key=lambda row: row['loss_nats'])

    def run(
        self,
        progress: Callable[[Iterable, str, int], Iterable] | None = None,
        stop_after: float = math.inf,
    ) -> Path:
        """Train to the end of the minutes; returns the path of the best weights.

        `progress(items, name, total)` wraps the minutes, 0 .. total - 1, as they pass. After
        `stop_after` minutes of this call it is interrupted, to be gone on with later.
        """
        minutes = self._minutes(stop_after)
        total = math.ceil(self.recipe.minutes)
        for _ in progress(minutes, 'train', total) if progress else minutes:
            pass
        return self.out / BEST

    def _minutes(self, stop_after=math.inf):
        """Train; yields each minute that has passed."""
        judged = self.rows[-1]['minutes'] if self.rows else 0.0
        minute, stop_s = int(self.spent_s / 60), self.spent_s + 60 * stop_after
        while self.share < 1 and self.spent_s < stop_s:
            self._timed(self._stretch)
            last = self.share >= 1 or self.spent_s >= stop_s
            if self.spent_s / 60 >= judged + self.recipe.validate_minutes or last:
                self._timed(self.judge)
                judged = self.spent_s / 60
                if self.team.rank == 0:
                    self._save()
            if int(self.spent_s / 60) > minute:
                minute = int(self.spent_s / 60)
                yield minute

    def _timed(self, work):
        """Do it, and count the time that all processes took."""
        began = self.clock()
        work()
        self.spent_s += self.team.total([self.clock() - began])[0]

    def _stretch(self):
        """As many steps as each process takes alone."""
        for _ in range(SYNC_STEPS):
            self.losses.append(self.advance())
        # Reading a loss waits for the device, so that the time is that of the work.
        self.losses[-1] = self.losses[-1].cpu()
        self.team.average_weights(self.network)

    def advance(self) -> torch.Tensor:
        """One step; returns the losses here and elsewhere in nats, (2,) on the device."""
        rate = self.recipe.learning_rate * self._schedule()
        for group in self.optimizer.param_groups:
            group['lr'] = rate * group['factor']
        self.network.train()
        batch = self.batch(self.source, TRAINING, self.step)
        here, absent = means_of(batch, losses_of(self.network, batch))
        loss = here + self.recipe.elsewhere_weight * absent
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.average.update(self.network, self.step)
        self.step += 1
        return torch.stack([here, absent]).detach()

    def _schedule(self):
        """Learning rate as a share of its peak."""
        warm = min(1.0, (self.step + 1) / 50)
        return warm * (0.01 + 0.99 * (1 + math.cos(math.pi * self.share)) / 2)

    def batch(self, source: PairSource, stream: int, number: int) -> Batch:
        """Batch `number` of a stream, TRAINING or JUDGING: the same whenever it is drawn."""
        recipe = self.recipe
        if stream == TRAINING:
            number = number * self.team.size + self.team.rank
        return draw_batch(
            source,
            Dice.of((stream, recipe.seed, number), source.bank.device),
            recipe.pairs,
            recipe.negatives,
            recipe.headings,
            recipe.heading_error_rad,
            recipe.network.normalization_px,
            recipe.foreign,
        )

    @torch.no_grad()
    def judge(self) -> dict[str, float]:
        """Figures on pairs of the places that judge, of the running mean of the weights; keeps
        them if they are the best."""
        network = self.average.network.eval()
        total = max(1, self.recipe.validation_pairs // self.recipe.pairs)
        sums = torch.zeros(len(FIGURES) + 1)
        for number in range(self.team.rank, total, self.team.size):
            batch = self.batch(self.judges, JUDGING, number)
            sums += torch.tensor([*figures_of(batch, losses_of(network, batch)), 1])
        *figures, count = self.team.total(sums.tolist())
        losses = [loss.cpu() for loss in self.losses] or [torch.full((2,), math.nan)]
        here, absent = torch.stack(losses).mean(0).tolist()
        row = {'step': self.step, 'minutes': round(self.spent_s / 60, 2)}
        row |= {'train_here_nats': here, 'train_elsewhere_nats': absent}
        row |= {name: value / count for name, value in zip(FIGURES, figures, strict=True)}
        self.losses = []
        self.rows.append(row)
        if self.team.rank == 0:
            self._keep(row)
        return row

    def _keep(self, row):
        if self.best is row:
            self.average.network.save(self.out / BEST)
        write_history(self.out / HISTORY, self.rows)

    def _identity(self):
        """What must be the same for a run to go on; it may go on for longer."""
        places = [[place.name for place in s.places] for s in (self.source, self.judges)]
        recipe = asdict(replace(self.recipe, validate_minutes=0.0, minutes=0.0))
        return json.dumps([recipe, places, self.source.shares.tolist()], sort_keys=True)

    def _save(self):
        state = {'identity': self._identity(), 'step': self.step, 'spent_s': self.spent_s}
        networks = {'network': self.network, 'average': self.average.network}
        save_checkpoint(
            self.out / CHECKPOINT, networks, self.optimizer, {**state, 'rows': self.rows}
        )

    def _resume(self):
        networks = {'network': self.network, 'average': self.average.network}
        state = load_checkpoint(self.out / CHECKPOINT, networks, self.optimizer, self._identity())
        self.step, self.spent_s, self.rows = state['step'], state['spent_s'], state['rows']


class RunningMean:
    """The exponential mean of a network's weights over its steps, which wavers less than they."""

    def __init__(self, network: RegistrationNetwork, share: float):
        self.network, self.share = RegistrationNetwork(network.config), share
        self.network.load_state_dict(network.state_dict())
        self.network.to(network.match.rise.device).requires_grad_(False)

    @torch.no_grad()
    def update(self, network: RegistrationNetwork, step: int) -> None:
        """Take in the weights after `step`; early ones are forgotten soon."""
        share = min(self.share, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            list(self.network.parameters()), list(network.parameters()), 1 - share
        )


def parameter_groups(network: RegistrationNetwork) -> list[dict]:
    """The six numbers of the match model learn ten times as fast as filters, and do not decay."""
    match = list(network.match.parameters())
    encoders = [p for name, p in network.named_parameters() if not name.startswith('match.')]
    return [
        {'params': encoders, 'factor': 1.0},
        {'params': match, 'factor': 10.0, 'weight_decay': 0.0},
    ]


def means_of(batch: Batch, losses: Losses) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean losses here and elsewhere over what can be learned from."""
    usable = batch.usable.float()
    here = (losses.here * usable).sum() / usable.sum().clamp(min=1)
    there = (batch.foreign[:, 0] >= 0).float().to(losses.absent)
    return here, (losses.absent * there).sum() / there.sum().clamp(min=1)


def figures_of(batch: Batch, losses: Losses) -> tuple[float, ...]:
    """FIGURES of one batch."""
    here, absent = (float(loss) for loss in means_of(batch, losses))
    side, headings = losses.here_ratio.shape[-1], batch.headings.shape[1]
    best = losses.here_ratio.flatten(1).argmax(1)
    place = best % (side * side)
    off = torch.hypot(place // side - batch.rows, place % side - batch.columns)
    found = (off <= 3) & (best < headings * side * side) & batch.usable
    present = log_evidence(losses.here_ratio)[batch.usable]
    foreign = log_evidence(losses.absent_ratio)[(batch.foreign[:, 0] >= 0).to(present.device)]
    ahead = float((present[:, None] > foreign).float().mean()) if len(foreign) else 0.5
    within = float(found.sum() / batch.usable.sum().clamp(min=1))
    return here + absent, here, absent, within, ahead


def write_history(path: Path, rows: list[dict]) -> None:
    """Write the learning curve as CSV. Raises OutputError."""
    with writing(path) as temporary, open(temporary, 'w', newline='') as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
