"""Runs of registration training as a user asks for them: imagery in, weights where they belong.

    weights = train_on_imagery(['imagery/index.csv'], 'runs/anywhere')
    adapted = adapt_to_map('maps/farm', minutes=5.0)

`justzoom train --registration` does the same.
"""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from justzoom_ros.errors import ConfigError
from justzoom_ros.files import output_folder
from justzoom_ros.maps.map_file import ADAPTED_NAME
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.registrar import choose_resolution
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.training.registration.adapt import Adaptation, adapt
from justzoom_ros.training.registration.imagery import Place, read_index
from justzoom_ros.training.registration.loop import CHECKPOINT
from justzoom_ros.training.registration.recipe import GPU_RECIPE, RegistrationRecipe
from justzoom_ros.training.registration.train import train_registration

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Wraps what takes long: items, their name, how many there are."""

KEPT_BACK_EVERY = 5
"""Of imagery that comes without places to validate on, each place of this number is kept back."""


@dataclass(frozen=True)
class AdaptedMap:
    """What adapting to a map came to."""

    weights: Path | None
    """The file in the map's folder that registration uses now; None where the weights that the
    run began with were no worse, and nothing was written."""

    adaptation: Adaptation[RegistrationNetwork]
    """Figures before and after."""


def train_on_imagery(
    imagery: Sequence[str | Path],
    out: str | Path,
    recipe: RegistrationRecipe | None = None,
    validate_on: Sequence[str | Path] = (),
    start_from: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    device: str | None = None,
) -> Path:
    """Train weights that work on any map; returns their path in the folder `out`.

    `imagery`, `validate_on`: index files, see `read_index`. Without places to validate on, those
    of the imagery whose licences are share-alike serve, or else every fifth place. `resume` goes
    on with the run in `out`, where there is one. `device` is 'cpu' or 'cuda'; unless given, a GPU
    where there is one. Raises ConfigError, DatasetError, WeightsError,
    OutputError.
    """
    check_resume(out, resume)
    places, judges = split_places(imagery, validate_on)
    start = RegistrationNetwork.load(start_from) if start_from else None
    recipe = recipe or recipe_for(device)
    return train_registration(
        recipe, places, judges, out, progress, start, device=device_of(device)
    )


def recipe_for(device: str | None = None) -> RegistrationRecipe:
    """The recipe for a device, 'cpu' or 'cuda'; for the best there is unless given."""
    return GPU_RECIPE if device_of(device) == 'cuda' else RegistrationRecipe()


def device_of(name: str | None) -> str:
    """The device of that name, or the best there is. Raises ConfigError."""
    there = torch.cuda.is_available()
    if name == 'cuda' and not there:
        raise ConfigError('device cuda: PyTorch sees no GPU here; leave --device out')
    return name or ('cuda' if there else 'cpu')


def split_places(
    imagery: Sequence[str | Path], validate_on: Sequence[str | Path] = ()
) -> tuple[list[Place], list[Place]]:
    """Places to learn from and places to validate on, of index files. Raises ConfigError where
    there are too few, DatasetError."""
    places = [place for index in imagery for place in read_index(index)]
    judges = [place for index in validate_on or imagery for place in read_index(index, True)]
    if validate_on:
        judges += [place for index in validate_on for place in read_index(index)]
    if not judges and len(places) > 1:
        kept_back = set(range(KEPT_BACK_EVERY - 1, len(places), KEPT_BACK_EVERY))
        kept_back = kept_back or {len(places) - 1}
        judges = [places[at] for at in sorted(kept_back)]
        places = [place for at, place in enumerate(places) if at not in kept_back]
    if not places or not judges:
        raise ConfigError(
            f'{imagery[0]}: {len(places) + len(judges)} place is too few to learn from some and '
            'validate on others: add imagery, or towns (--towns 20)'
        )
    return places, judges


def adapt_to_map(
    map_folder: str | Path,
    minutes: float = 5.0,
    out: str | Path | None = None,
    start_from: str | Path | None = None,
    camera: Camera | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> AdaptedMap:
    """Fit registration to a map by views drawn from it, and leave the weights in the map's folder
    if views kept back improved.

    `start_from`: weights to begin with, the shipped ones unless given. `camera`: its ground width
    in view decides the resolution. `out`: folder for the run's files, which are dropped unless
    given. Raises MapError, ConfigError, WeightsError, OutputError.
    """
    satellite_map = SatelliteMap.open(map_folder)
    network = RegistrationNetwork.load(start_from) if start_from else RegistrationNetwork.shipped()
    resolution_m = None
    if camera is not None:
        _check_footprint(camera, satellite_map)
        # Views are drawn at this resolution and up to twice as coarse; the search's is between.
        searched_m = choose_resolution(network, satellite_map.resolution_m, camera)
        finest_m = max(satellite_map.resolution_m, network.config.finest_m)
        resolution_m = max(searched_m / 2**0.5, finest_m)
    with ExitStack() as stack:
        folder = out or stack.enter_context(tempfile.TemporaryDirectory(prefix='justzoom-'))
        check_resume(folder, resume)
        output_folder(folder)
        found = adapt(network, satellite_map, folder, minutes, resolution_m, progress)
    if not found.improved:
        return AdaptedMap(None, found)
    path = satellite_map.path / ADAPTED_NAME
    card = {**found.network.card, 'adapted_to': satellite_map.checksum}
    found.network.save(
        path, {**card, 'adaptation': {'before': found.before.row(), 'after': found.after.row()}}
    )
    return AdaptedMap(path, found)


def _check_footprint(camera: Camera, satellite_map: SatelliteMap) -> None:
    """Raise ConfigError where the camera may see more than the map shows."""
    widest = camera.footprint_m[1] if camera.footprint_m else 0.0
    if widest > satellite_map.region.side_m:
        raise ConfigError(
            f'a footprint of {widest:g} m is wider than {satellite_map.path}, a map that is '
            f'{satellite_map.region.side_m:g} m wide'
        )


def check_resume(out: str | Path, resume: bool) -> None:
    """Raises ConfigError where a folder holds a run that shall not be gone on with."""
    if not resume and (Path(out) / CHECKPOINT).is_file():
        raise ConfigError(
            f'{out} holds a run already: --resume goes on with it; else give another folder'
        )
