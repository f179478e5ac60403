"""How a network for cameras that look down is trained, and how it is judged while it runs."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch

from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.training.registration.batches import Batch, draw_batch
from justzoom_ros.training.registration.dice import Dice
from justzoom_ros.training.registration.loop import JUDGING, TRAINING, TrainingLoop
from justzoom_ros.training.registration.loss import Losses, log_evidence, losses_of
from justzoom_ros.training.registration.recipe import RegistrationRecipe
from justzoom_ros.training.registration.views import PairSource

BEST = 'nadir.safetensors'
FIGURES = ('loss_nats', 'here_nats', 'elsewhere_nats', 'within_3_cells', 'auc_here')
"""What a validation says: the two losses and their sum, share of pairs found within 3 cells, area
under the curve of telling tiles that show a view from tiles that do not."""


class RegistrationTrainer(TrainingLoop[RegistrationNetwork]):
    """A run on pairs of views and tiles of `source`, judged on those of `judges`, where the
    imagery is. See `TrainingLoop`."""

    recipe: RegistrationRecipe
    best_name = BEST

    def __init__(
        self,
        recipe: RegistrationRecipe,
        source: PairSource,
        judges: PairSource,
        out: str | Path,
        start: RegistrationNetwork | None = None,
    ):
        self.source, self.judges = source, judges
        torch.manual_seed(recipe.seed)
        network = RegistrationNetwork(recipe.network)
        if start is not None:
            network.load_state_dict(start.state_dict())
        super().__init__(recipe, network, out, source.bank.device)

    def losses_of_step(self) -> tuple[torch.Tensor, torch.Tensor]:
        """As in `TrainingLoop`."""
        batch = self.batch(self.source, TRAINING, self.step)
        here, absent = means_of(batch, losses_of(self.network, batch))
        return here + self.recipe.elsewhere_weight * absent, torch.stack([here, absent])

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

    def figures(self) -> dict[str, float]:
        """FIGURES on pairs of the places that judge."""
        total = max(1, self.recipe.validation_pairs // self.recipe.pairs)
        sums = torch.zeros(len(FIGURES) + 1)
        for number in range(self.team.rank, total, self.team.size):
            batch = self.batch(self.judges, JUDGING, number)
            losses = losses_of(self.average.network, batch)
            sums += torch.tensor([*figures_of(batch, losses), 1])
        *figures, count = self.team.total(sums.tolist())
        return {name: value / count for name, value in zip(FIGURES, figures, strict=True)}

    def identity(self) -> str:
        """Places and recipe; a run may go on for longer."""
        places = [[place.name for place in s.places] for s in (self.source, self.judges)]
        recipe = asdict(replace(self.recipe, validate_minutes=0.0, minutes=0.0))
        return json.dumps([recipe, places, self.source.shares.tolist()], sort_keys=True)


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
