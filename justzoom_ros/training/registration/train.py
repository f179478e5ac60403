"""Train a registration network that works on any map.

The network learns to say where in a tile of a map a view is, which way it faces, and that it is
not there at all: cross-entropy over places, headings and "somewhere else", on pairs of pictures
of the same ground that look as unlike as a satellite's and a drone's.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from justzoom_ros.errors import ConfigError
from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.training.registration.calibration import calibrate
from justzoom_ros.training.registration.card import make_card, write_card
from justzoom_ros.training.registration.imagery import Place, place_weights
from justzoom_ros.training.registration.recipe import RegistrationRecipe
from justzoom_ros.training.registration.trainer import RegistrationTrainer
from justzoom_ros.training.registration.views import PairSource

Progress = Callable[[Iterable, str, int], Iterable]


def train_registration(
    recipe: RegistrationRecipe,
    places: list[Place],
    judges: list[Place],
    out: str | Path,
    progress: Progress | None = None,
    start: RegistrationNetwork | None = None,
    calibrate_on: list[Place] | None = None,
    device: str = 'cpu',
) -> Path:
    """Train on `places`, be judged on `judges`, of which no feature is learned; at last, fit what
    a match is worth on a whole map to `calibrate_on` (default: those that judge).

    Goes on where a run of the same recipe and places in the folder `out` was interrupted. Writes
    nadir.safetensors (of the best validation, with its card), nadir.md (the card for people),
    history.csv and checkpoint.safetensors; returns the path of the weights. `start` gives
    weights to begin from; `progress(items, name, total)` wraps the minutes; `device` is 'cpu' or
    'cuda'. Under `torchrun` several processes share the work. Raises ConfigError, DatasetError,
    WeightsError, OutputError.
    """
    shared = {place.name for place in places} & {place.name for place in judges}
    if shared:
        raise ConfigError(f'{sorted(shared)[0]}: a place that is trained on cannot judge')
    views = recipe.views
    shares = place_weights(places, recipe.generated_share)
    source = PairSource(places, shares, views, device)
    kept_back = PairSource(judges, config=views, device=device)
    trainer = RegistrationTrainer(recipe, source, kept_back, out, start)
    weights = trainer.run(progress)
    if trainer.team.rank == 0:
        network = RegistrationNetwork.load(weights)
        ground = calibrate_on or judges
        network = calibrate(network, ground, recipe.calibration_pairs, recipe.seed, progress)
        card = make_card(recipe, places, judges, trainer.best)
        network.save(weights, card)
        write_card(weights.with_suffix('.md'), card)
    trainer.team.leave()
    return weights
