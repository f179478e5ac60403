"""Fit the registration of cameras that look ahead to photos of one's own.

    found = adapt_to_photos([PhotoFolder(Path('runs/mine'))], 'runs/fitted')

`justzoom train --registration --dataset` does the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from justzoom_ros.files import output_folder
from justzoom_ros.registration.forward_network import ForwardNetwork
from justzoom_ros.training.registration.adapt import Adaptation, choose_share
from justzoom_ros.training.registration.map_judge import MapFigures
from justzoom_ros.training.registration.runs import Progress, check_resume, device_of
from justzoom_ros.training.street_registration.photo_trainer import PhotoJudge, PhotoTrainer
from justzoom_ros.training.street_registration.photos import (
    PhotoBank,
    PhotoFolder,
    has_split,
    list_photos,
)
from justzoom_ros.training.street_registration.recipe import PhotoRecipe

WEIGHTS = 'forward.safetensors'
LEAST_PHOTOS, LEAST_JUDGES = 8, 4
JUDGED = 'photos of the split val, searched in the map round them'


@dataclass(frozen=True)
class AdaptedStreets:
    """What fitting to photos came to."""

    weights: Path | None
    """The fitted weights; None where those that the run began with were no worse."""

    adaptation: Adaptation[ForwardNetwork]
    """Figures before and after, by which the weights were chosen."""

    tested: tuple[MapFigures, MapFigures] | None
    """The same on the photos of the split `test`, by which nothing was chosen; None without
    any."""

    def __str__(self) -> str:
        """A line for people."""
        if self.tested is None:
            return str(self.adaptation)
        before, after = self.tested
        return (
            f'{self.adaptation} (split test: {before.mean_nats:.2f} -> {after.mean_nats:.2f} '
            f'nats, {100 * before.recall:.0f} % -> {100 * after.recall:.0f} % found)'
        )


def adapt_to_photos(
    folders: Sequence[PhotoFolder],
    out: str | Path,
    recipe: PhotoRecipe | None = None,
    start_from: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    device: str | None = None,
) -> AdaptedStreets:
    """Fit registration to the photos of the split `train` of some datasets.

    Photos of `val`, which are of other places, judge the fitted weights and what lies between them
    and those given (`start_from`, the shipped ones unless given): the best are written to
    forward.safetensors in `out`, or none where none is clearly better. What photos say is weighed
    as `loss.label_log_weights` says. The folder also has history.csv, the learning curve, and the
    checkpoint that `resume` goes on from. Judging comes on top of the minutes.

    Raises DatasetError, MapError, ConfigError, WeightsError, OutputError.
    """
    check_resume(out, resume)
    recipe, device = recipe or PhotoRecipe(), device_of(device)
    given = ForwardNetwork.load(start_from) if start_from else ForwardNetwork.shipped()
    train = list_photos(folders, 'train', LEAST_PHOTOS)
    val = list_photos(folders, 'val', LEAST_JUDGES)
    bank, judging = (
        PhotoBank.read(each, given, recipe.deviations, progress) for each in (train, val)
    )
    output_folder(out)
    judge = PhotoJudge(judging, recipe, device)
    trainer = PhotoTrainer(recipe, bank, judge, out, given, device)
    fitted = ForwardNetwork.load(trainer.run(progress)).to(device)
    # What a sum is worth was learned with the features, and is mixed with them.
    found = replace(choose_share(given, fitted, judge, kept=()), judged=JUDGED)
    tested = _test(folders, recipe, given, found.network, device)
    weights = Path(out) / WEIGHTS
    if not found.improved:
        weights.unlink(missing_ok=True)
        return AdaptedStreets(None, found, tested)
    found.network.save(weights, {**given.card, 'fitted': _card(bank, found, tested)})
    return AdaptedStreets(weights, found, tested)


def _test(folders, recipe, given, found, device):
    """Figures of both networks on photos by which nothing was chosen."""
    there = [folder for folder in folders if has_split(folder.dataset, 'test')]
    if not there:
        return None
    bank = PhotoBank.read(list_photos(there, 'test'), given, recipe.deviations)
    judge = PhotoJudge(bank, recipe, device)
    before = judge.judge(given)
    return before, before if found is given else judge.judge(found)


def _card(
    bank: PhotoBank,
    found: Adaptation[ForwardNetwork],
    tested: tuple[MapFigures, MapFigures] | None,
) -> dict[str, Any]:
    card: dict[str, Any] = {'photos': len(bank), 'share': found.share}
    card |= {'val_before': found.before.row(), 'val_after': found.after.row()}
    if tested:
        card |= {'test_before': tested[0].row(), 'test_after': tested[1].row()}
    return card
