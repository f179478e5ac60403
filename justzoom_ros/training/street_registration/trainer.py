"""The loop that trains a forward network while other processes make its cities."""

import json
import math
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from justzoom_ros.errors import DatasetError
from justzoom_ros.files import output_folder
from justzoom_ros.registration.forward_network import ForwardNetwork
from justzoom_ros.training.registration.checkpoint import load_checkpoint, save_checkpoint
from justzoom_ros.training.street_registration.card import make_card
from justzoom_ros.training.street_registration.judge import judge
from justzoom_ros.training.street_registration.lesson import Lesson
from justzoom_ros.training.street_registration.lesson_cache import LessonCache
from justzoom_ros.training.street_registration.loss import losses_of
from justzoom_ros.training.street_registration.recipe import StreetRecipe
from justzoom_ros.training.street_registration.views import draw_batch

CHECKPOINT, WEIGHTS, CURVE = 'checkpoint.safetensors', 'forward.safetensors', 'curve.jsonl'
LEAST_LESSONS = 8
"""Training begins when so many lessons are there."""

WARM_STEPS = 200
AVERAGE = 0.998
"""Decay, per step, of the mean of the weights that is judged and kept."""


class LessonReader(threading.Thread):
    """Reads the lessons that appear in a folder, in the background."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.read = Path(folder), set[Path]()
        self.lessons: queue.Queue[Lesson] = queue.Queue(8)

    def run(self) -> None:
        """Read for ever."""
        while True:
            new = [path for path in sorted(self.folder.glob('*.npz')) if path not in self.read]
            for path in new:
                self.read.add(path)
                try:
                    self.lessons.put(Lesson.load(path))
                except DatasetError:
                    continue
            time.sleep(0.2)


class StreetTrainer:
    """One training in a folder: goes on from the checkpoint there, else starts anew.

    `lessons`: folder in which lessons appear; `judges`: lessons of cities that judge.
    """

    def __init__(
        self,
        recipe: StreetRecipe,
        lessons: str | Path,
        judges: list[Lesson],
        out: str | Path,
        device: str = 'cpu',
    ) -> None:
        self.recipe, self.out, self.device = recipe, output_folder(out), torch.device(device)
        torch.manual_seed(recipe.seed)
        self.network = ForwardNetwork(recipe.network).to(self.device)
        self.mean = ForwardNetwork(recipe.network).to(self.device).requires_grad_(False)
        self.mean.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.AdamW(
            _groups(self.network, recipe.weight_decay), recipe.learning_rate,
            fused=self.device.type == 'cuda',
        )  # fmt: skip
        normalization = recipe.network.map.normalization_px
        self.cache = LessonCache(recipe.capacity, normalization, self.device)
        self.judges = LessonCache(len(judges), normalization, self.device).add_all(judges)
        self.reader = LessonReader(lessons)
        self.generator = torch.Generator(self.device)
        self.step, self.spent_s = 0, 0.0
        self.figures: dict[str, float] = {}
        if (self.out / CHECKPOINT).is_file():
            self._resume()

    @property
    def share(self) -> float:
        """How much of the training is done, 0..1."""
        return min(self.spent_s / (60 * self.recipe.minutes), 1.0)

    def run(self, minutes: float, say: Callable[[str], None] = print) -> None:
        """Train for some wall-clock minutes of the whole, and keep what it came to."""
        self.reader.start()
        self.generator.manual_seed(self.recipe.seed * 1_000_003 + self.step)
        there = len(list(self.reader.folder.glob('*.npz')))
        while self.cache.added < max(LEAST_LESSONS, there):
            self.cache.add(self.reader.lessons.get())
        end_s = time.monotonic() + 60 * minutes
        judged_s, before_s = time.monotonic(), time.monotonic()
        losses: list[torch.Tensor] = []
        while time.monotonic() < end_s and self.share < 1:
            self._take_lessons()
            losses.append(self._advance())
            now_s = time.monotonic()
            self.spent_s, before_s = self.spent_s + now_s - before_s, now_s
            if now_s - judged_s > 60 * self.recipe.judge_minutes:
                self._report(losses, say)
                losses, judged_s = [], time.monotonic()
                self.save()
        self._report(losses, say)
        self.save()

    def _take_lessons(self):
        for _ in range(2):
            if self.reader.lessons.empty():
                return
            self.cache.add(self.reader.lessons.get())

    def _advance(self):
        """One step; returns its losses (3,)."""
        recipe = self.recipe
        rate = recipe.learning_rate * self._schedule()
        for group in self.optimizer.param_groups:
            group['lr'] = rate
        shares = torch.tensor(recipe.view_count_shares)
        chosen = int(torch.multinomial(shares, 1))
        views = recipe.view_counts[chosen]
        batch = draw_batch(
            self.cache, recipe.network, recipe.views // views, views, recipe.headings,
            recipe.tile_px, self.generator,
        )  # fmt: skip
        losses = losses_of(self.network, batch, recipe.elsewhere_share)
        loss = losses.here.mean() + losses.elsewhere + recipe.class_weight * losses.classes
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self._average()
        self.step += 1
        return torch.stack([losses.here.mean(), losses.elsewhere, losses.classes]).detach()

    @torch.no_grad()
    def _average(self):
        decay = min(AVERAGE, (1 + self.step) / (10 + self.step))
        own, mean = list(self.network.parameters()), list(self.mean.parameters())
        torch._foreach_lerp_(mean, own, 1 - decay)

    def _schedule(self):
        """Learning rate as a share of its peak."""
        warm = min(1.0, (self.step + 1) / WARM_STEPS)
        return warm * (0.01 + 0.99 * (1 + math.cos(math.pi * self.share)) / 2)

    def _report(self, losses, say):
        here, elsewhere, classes = torch.stack(losses).mean(0).tolist() if losses else (0, 0, 0)
        self.figures = judge(self.mean, self.judges, self.recipe.judge_places)
        row = {
            'minutes': round(self.spent_s / 60, 2), 'step': self.step,
            'lessons': self.cache.added, 'train_here': round(here, 3),
            'train_elsewhere': round(elsewhere, 3), 'train_classes': round(classes, 4),
        } | self.figures  # fmt: skip
        with (self.out / CURVE).open('a') as file:
            file.write(json.dumps(row) + '\n')
        say(json.dumps(row))

    # --- files -------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the checkpoint and the mean of the weights. Raises OutputError."""
        progress = {'identity': self._identity, 'step': self.step, 'spent_s': self.spent_s}
        save_checkpoint(self.out / CHECKPOINT, self._networks, self.optimizer, progress)
        self.mean.save(self.out / WEIGHTS, make_card(self.recipe, self.cache.added, self.figures))

    def _resume(self) -> None:
        """Go on from the checkpoint. Raises WeightsError where that is damaged, or of another
        network."""
        said = load_checkpoint(
            self.out / CHECKPOINT, self._networks, self.optimizer, self._identity
        )
        self.step, self.spent_s = said['step'], said['spent_s']

    @property
    def _networks(self) -> dict[str, nn.Module]:
        return {'network': self.network, 'mean': self.mean}

    @property
    def _identity(self) -> str:
        """What a checkpoint must be of: a recipe may change, but not what it trains."""
        return self.recipe.network.to_json()


def _groups(network, weight_decay):
    """Weights of convolutions decay; scales, biases and embeddings do not."""
    decayed = [p for p in network.parameters() if p.ndim == 4 and p.shape[2] * p.shape[0] > 1]
    kept = {id(p) for p in decayed}
    others = [p for p in network.parameters() if id(p) not in kept]
    return [
        {'params': decayed, 'weight_decay': weight_decay},
        {'params': others, 'weight_decay': 0.0},
    ]
