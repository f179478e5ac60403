"""How a network for cameras that look ahead is fitted to photos, and how it is judged."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from justzoom_ros.registration.forward_network import ForwardNetwork
from justzoom_ros.training.registration.dice import Dice
from justzoom_ros.training.registration.loop import JUDGING, TRAINING, TrainingLoop
from justzoom_ros.training.registration.map_judge import WORST_NATS, MapFigures
from justzoom_ros.training.street_registration.draw import JUDGED
from justzoom_ros.training.street_registration.loss import (
    label_log_ratio,
    log_evidence,
    losses_of,
)
from justzoom_ros.training.street_registration.photo_batches import draw_photos
from justzoom_ros.training.street_registration.photos import PhotoBank
from justzoom_ros.training.street_registration.recipe import PhotoRecipe
from justzoom_ros.training.street_registration.views import StreetBatch

BEST = 'fitted.safetensors'
FOUND_M = 25.0
"""A photo counts as found whose most probable place is within this distance of its label."""


class PhotoTrainer(TrainingLoop[ForwardNetwork]):
    """A run on the photos of `bank`, judged by a `PhotoJudge`. See `TrainingLoop`."""

    recipe: PhotoRecipe
    best_name = BEST

    def __init__(
        self,
        recipe: PhotoRecipe,
        bank: PhotoBank,
        judge: 'PhotoJudge',
        out: str | Path,
        start: ForwardNetwork,
        device: str = 'cpu',
    ) -> None:
        self.bank, self.judged = bank, judge
        network = ForwardNetwork(start.config)
        network.load_state_dict(start.state_dict())
        super().__init__(recipe, network, out, device)

    def losses_of_step(self) -> tuple[torch.Tensor, torch.Tensor]:
        """As in `TrainingLoop`."""
        losses = losses_of(self.network, self._batch(), self.recipe.elsewhere_share)
        here = losses.here.mean()
        return here + losses.elsewhere, torch.stack([here, losses.elsewhere])

    def _batch(self) -> StreetBatch:
        """That of the step, the same whenever it is drawn."""
        recipe = self.recipe
        number = self.step * self.team.size + self.team.rank
        dice = Dice.of((TRAINING, recipe.seed, number), self.device)
        few = len(self.bank) < recipe.views
        chosen = dice.numbers.choice(len(self.bank), recipe.views, replace=few)
        return draw_photos(
            self.bank, self.network.config, torch.from_numpy(chosen), recipe.headings,
            recipe.tile_px, dice.noise,
        )  # fmt: skip

    def figures(self) -> dict[str, float]:
        """Mean nats of the labels of the photos that judge, and the share that is found."""
        figures = self.judged.judge(self.average.network)
        return {'loss_nats': figures.mean_nats, f'within_{FOUND_M:g}m': figures.recall}

    def identity(self) -> str:
        """Photos and recipe; a run may go on for longer."""
        recipe = asdict(replace(self.recipe, validate_minutes=1.0, minutes=1.0))
        photos = [self.bank.names, self.judged.bank.names, self.bank.stds.tolist()]
        return json.dumps([recipe, photos], sort_keys=True)


class PhotoJudge:
    """Photos of a split, each searched at all headings in the piece of map round it.

    At most `recipe.judge_views` photos, spread evenly over those of `bank`; always the same pieces
    of map, neither turned nor changed.
    """

    def __init__(self, bank: PhotoBank, recipe: PhotoRecipe, device: str = 'cpu') -> None:
        self.bank, self.recipe, self.device = bank, recipe, torch.device(device)
        count = min(len(bank), recipe.judge_views)
        self.numbers = torch.from_numpy(np.arange(count) * len(bank) // count)

    @torch.no_grad()
    def judge(self, network: ForwardNetwork) -> MapFigures:
        """-log p(label) of each photo, given that it is in its piece of map, in nats, and whether
        its most probable place is within `FOUND_M` of its label."""
        network = network.to(self.device).eval()
        parts = [
            self._judge(network, numbers, at)
            for at, numbers in enumerate(self.numbers.split(self.recipe.views))
        ]
        nats, found = (np.concatenate(each) for each in zip(*parts, strict=True))
        return MapFigures(nats, found)

    def _judge(self, network, numbers, at):
        """Nats and hits of a few photos."""
        recipe = self.recipe
        dice = Dice.of((JUDGING, recipe.seed, at), self.device)
        batch = draw_photos(
            self.bank, network.config, numbers, recipe.headings, recipe.tile_px, dice.noise,
            JUDGED,
        )  # fmt: skip
        ratio = losses_of(network, batch, 0.0).ratio
        count = math.log(ratio[0].numel())
        nats = log_evidence(ratio) + count - label_log_ratio(ratio, batch.target, batch.noise)
        best = ratio.logsumexp(1).flatten(1).argmax(1)
        side = ratio.shape[-1]
        place = torch.stack([best // side, best % side], 1)
        off_m = (place - batch.target).norm(dim=1) * network.config.cell_m
        return nats.clamp(max=WORST_NATS).cpu().numpy(), (off_m <= FOUND_M).cpu().numpy()
