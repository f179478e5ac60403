"""How a run went: losses and figures on views kept back, as a table and as learning curves."""

import csv
import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from justzoom_ros.errors import ConfigError, OutputError
from justzoom_ros.files import writing
from justzoom_ros.plots.learning_curves import draw_curves

log = logging.getLogger(__name__)

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


class TensorboardLog:
    """Figures of a run for TensorBoard. A disk that fills up ends the log, not the run. Raises
    ConfigError without tensorboard, OutputError where nothing can be written."""

    def __init__(self, folder: Path) -> None:
        try:
            self._writer = _open_tensorboard(folder)
        except OSError as error:
            raise OutputError(f'{folder} cannot be written: {error.strerror or error}') from error

    def add_scalar(self, name: str, value: Any, step: int) -> None:
        """One value (number or tensor of one) of a step."""
        if self._writer is None:
            return
        try:
            self._writer.add_scalar(name, value, step)
        except OSError as error:
            log.warning(f'the log for TensorBoard ends at step {step}: {error.strerror or error}')
            self._writer = None


def _open_tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            'training logs need the package tensorboard: pip install justzoom_ros[train]'
        ) from error
    return SummaryWriter(folder)
