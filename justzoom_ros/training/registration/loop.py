"""The loop of a training of registration, whatever its network learns from."""

import csv
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from justzoom_ros.files import output_folder, writing
from justzoom_ros.registration.forward_network import ForwardNetwork
from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.training.registration.checkpoint import load_checkpoint, save_checkpoint
from justzoom_ros.training.registration.team import SYNC_STEPS, Team

CHECKPOINT, HISTORY = 'checkpoint.safetensors', 'history.csv'
TRAINING, JUDGING = 0, 1
"""First numbers of the random seeds, so that views that judge are never trained on."""

Network = TypeVar('Network', RegistrationNetwork, ForwardNetwork)


class LoopRecipe(Protocol):
    """What the loop asks of a recipe."""

    @property
    def minutes(self) -> float:
        """Of the whole run, validation included."""

    @property
    def learning_rate(self) -> float:
        """Peak, of AdamW."""

    @property
    def weight_decay(self) -> float:
        """Of AdamW."""

    @property
    def averaging(self) -> float:
        """Share of the past in the running mean of the weights."""

    @property
    def validate_minutes(self) -> float:
        """From one validation to the next."""

    @property
    def seed(self) -> int:
        """Of all that is random."""


class TrainingLoop(ABC, Generic[Network]):
    """One run in a folder: goes on from the checkpoint there, else starts anew.

    Minutes are those of the processor on a CPU, and of the clock on a GPU. A step depends on
    weights, recipe and its number alone, so that a run that was interrupted goes on bit by bit.
    Raises WeightsError for the checkpoint of another run, OutputError.
    """

    best_name: str
    """File of the best weights."""

    def __init__(
        self, recipe: LoopRecipe, network: Network, out: str | Path, device: torch.device | str
    ) -> None:
        self.recipe, self.device = recipe, torch.device(device)
        self.team = Team()
        self.out = output_folder(out) if self.team.rank == 0 else Path(out)
        self.network: Network = network
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average: RunningMean[Network] = RunningMean(self.network, recipe.averaging)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.network), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.clock = time.process_time if self.device.type == 'cpu' else time.monotonic
        self.step, self.spent_s = 0, 0.0
        self.rows: list[dict[str, float]] = []
        self.losses: list[torch.Tensor] = []
        if (self.out / CHECKPOINT).is_file():
            self._resume()

    # --- what is learned, and from what ----------------------------------------------------------

    @abstractmethod
    def losses_of_step(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What step number `step` makes smaller, and its losses here and elsewhere in nats,
        (2,)."""

    @abstractmethod
    def figures(self) -> dict[str, float]:
        """Figures of the running mean on what is kept back; the least `loss_nats` is best."""

    @abstractmethod
    def identity(self) -> str:
        """What must be the same for a run to go on."""

    # --- the loop --------------------------------------------------------------------------------

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
        return self.out / self.best_name

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
        loss, parts = self.losses_of_step()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.average.update(self.network, self.step)
        self.step += 1
        return parts.detach()

    def _schedule(self):
        """Learning rate as a share of its peak."""
        warm = min(1.0, (self.step + 1) / 50)
        return warm * (0.01 + 0.99 * (1 + math.cos(math.pi * self.share)) / 2)

    @torch.no_grad()
    def judge(self) -> dict[str, float]:
        """The row of the learning curve of the running mean as it is; keeps the weights if they
        are the best."""
        self.average.network.eval()
        figures = self.figures()
        losses = [loss.cpu() for loss in self.losses] or [torch.full((2,), math.nan)]
        here, absent = torch.stack(losses).mean(0).tolist()
        row = {'step': self.step, 'minutes': round(self.spent_s / 60, 2)}
        row |= {'train_here_nats': here, 'train_elsewhere_nats': absent} | figures
        self.losses = []
        self.rows.append(row)
        if self.team.rank == 0:
            self._keep(row)
        return row

    def _keep(self, row):
        if self.best is row:
            self.average.network.save(self.out / self.best_name)
        write_history(self.out / HISTORY, self.rows)

    def _save(self):
        state = {'identity': self.identity(), 'step': self.step, 'spent_s': self.spent_s}
        networks = {'network': self.network, 'average': self.average.network}
        save_checkpoint(
            self.out / CHECKPOINT, networks, self.optimizer, {**state, 'rows': self.rows}
        )

    def _resume(self):
        networks = {'network': self.network, 'average': self.average.network}
        state = load_checkpoint(self.out / CHECKPOINT, networks, self.optimizer, self.identity())
        self.step, self.spent_s, self.rows = state['step'], state['spent_s'], state['rows']


class RunningMean(Generic[Network]):
    """The exponential mean of a network's weights over its steps, which wavers less than they."""

    def __init__(self, network: Network, share: float):
        self.share = share
        self.network: Network = type(network)(network.config)  # type: ignore[arg-type]
        self.network.load_state_dict(network.state_dict())
        self.network.to(next(network.parameters()).device).requires_grad_(False)

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        """Take in the weights after `step`; early ones are forgotten soon."""
        share = min(self.share, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            list(self.network.parameters()), list(network.parameters()), 1 - share
        )


def parameter_groups(network: nn.Module) -> list[dict[str, Any]]:
    """The few numbers of the match model learn ten times as fast as filters, and do not decay."""
    named = list(network.named_parameters())
    match = [p for name, p in named if name.startswith('match.')]
    encoders = [p for name, p in named if not name.startswith('match.')]
    return [
        {'params': encoders, 'factor': 1.0},
        {'params': match, 'factor': 10.0, 'weight_decay': 0.0},
    ]


def write_history(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write the learning curve as CSV. Raises OutputError."""
    with writing(path) as temporary, open(temporary, 'w', newline='') as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
