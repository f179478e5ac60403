"""How a run went: losses and figures on views kept back, as a table and as learning curves."""

import csv
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.files import writing
from justzoom_ros.plots.learning_curves import draw_curves

COLUMNS = ('step', 'cpu_minutes', 'train_loss_nats', 'nll_nats', 'recall_50m')
Row = tuple[float, float, float, float, float]
"""One validation, in the order of COLUMNS."""


class History:
    """`rows` of COLUMNS, one per validation. `cpu_minutes` is the process's own time on all its
    cores, over all interruptions, validation included: what methods are compared by."""

    def __init__(
        self,
        chance_nats: float,
        rows: Iterable[Row] = (),
        cpu_s: float = 0.0,
        losses: Iterable[float | torch.Tensor] = (),
    ) -> None:
        self.chance_nats = chance_nats
        self.rows = list(rows)
        self.losses = list(losses)
        self._before_s, self._started_s = cpu_s, time.process_time()

    def start_clock(self) -> None:
        """Count from now on."""
        self._started_s = time.process_time()

    @property
    def cpu_s(self) -> float:
        """Processor seconds so far."""
        return self._before_s + time.process_time() - self._started_s

    @property
    def best_nll(self) -> float:
        """The lowest NLL of all rows, infinity without any."""
        return min((row[3] for row in self.rows), default=float('inf'))

    def add_losses(self, losses: torch.Tensor) -> None:
        """Remember the losses (S,) of one step."""
        self.losses.append(losses.sum())

    def add(self, step: int, nll: float, recall: float) -> None:
        """A row: the training loss is the mean since the last."""
        loss = float(np.mean([float(loss) for loss in self.losses])) if self.losses else np.nan
        self.losses = []
        self.rows.append((step, self.cpu_s / 60, loss, nll, recall))

    def state(self) -> dict[str, Any]:
        """The arguments to go on with, plain numbers all."""
        losses = [float(loss) for loss in self.losses]
        return {'rows': self.rows, 'cpu_s': self.cpu_s, 'losses': losses}

    def __str__(self) -> str:
        step, minutes, loss, nll, recall = self.rows[-1]
        return (
            f'NLL {nll:.3f} nats on views kept back (chance {self.chance_nats:.3f}), training '
            f'{loss:.3f}, R@50m {100 * recall:.1f} %, {minutes:.1f} CPU minutes'
        )

    def write(self, folder: Path) -> None:
        """history.csv and curves.png."""
        with writing(folder / 'history.csv') as temporary, temporary.open('w') as file:
            writer = csv.writer(file, lineterminator='\n')
            writer.writerow(COLUMNS)
            writer.writerows(self.rows)
        draw_curves({'': self}, folder / 'curves.png')


def read_history(path: Path, chance_nats: float) -> History:
    """The History in a history.csv."""
    with path.open() as file:
        rows = [tuple(float(row[column]) for column in COLUMNS) for row in csv.DictReader(file)]
    return History(chance_nats, rows)  # type: ignore[arg-type]


def open_tensorboard(folder: Path) -> Any:
    """A writer of TensorBoard logs into a folder. Raises ConfigError without tensorboard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            'training logs need the package tensorboard: pip install justzoom_ros[train]'
        ) from error
    return SummaryWriter(folder)
