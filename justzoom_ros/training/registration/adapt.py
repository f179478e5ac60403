"""Fit a registration network to one map, by views drawn from it."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import cv2
import numpy as np
import torch

from justzoom_ros.errors import MapError
from justzoom_ros.maps.layers import open_layers
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.registration.forward_network import ForwardNetwork
from justzoom_ros.registration.network import RegistrationNetwork
from justzoom_ros.training.registration.dice import Dice
from justzoom_ros.training.registration.imagery import Place, make_picture
from justzoom_ros.training.registration.loop import Network
from justzoom_ros.training.registration.map_judge import MapFigures, MapJudge
from justzoom_ros.training.registration.recipe import RegistrationRecipe
from justzoom_ros.training.registration.trainer import RegistrationTrainer
from justzoom_ros.training.registration.views import STRIDE, PairSource

Progress = Callable[[Iterable, str, int], Iterable]
Judged = TypeVar('Judged', RegistrationNetwork, ForwardNetwork, contravariant=True)
WEIGHTS = 'nadir.safetensors'
KEPT_BACK = 0.3
"""Share of a map, at one end of its longer side, whose views judge whether fitting helped."""
TRIED, LEAST_USABLE = 16, 0.1
"""Views that are drawn to see whether a map has enough imagery; the share that must show it."""
SHARES = (0.25, 0.5, 0.75, 1.0)
"""So much of the way from the given to the fitted weights is tried (WiSE-FT, arXiv 2109.01903):
what lies between knows the map and has not forgotten all others."""
ADAPT_RECIPE = RegistrationRecipe(
    minutes=5.0, pairs=8, learning_rate=2e-4, averaging=0.99, validate_minutes=1.0,
    validation_pairs=16,
)  # fmt: skip


class Judge(Protocol[Judged]):
    """Figures of a network on what is kept back, always the same."""

    def judge(self, network: Judged) -> MapFigures:
        """Its figures."""


@dataclass(frozen=True)
class Adaptation(Generic[Network]):
    """What fitting to a map, or to photos, came to."""

    network: Network
    """The fitted network where it is better on ground kept back, else the one given."""
    share: float
    """How much of the way from the given to the fitted weights it lies, 0..1."""
    before: MapFigures
    """Figures on ground kept back, of the network that was given."""
    after: MapFigures
    """The same of the best of the others."""
    judged: str = 'views kept back, searched on the whole map'
    """What the figures are of."""

    @property
    def improved(self) -> bool:
        """True where the network is not the one given."""
        return self.share > 0

    def __str__(self) -> str:
        """One line for people."""
        words = 'no better: weights stay as they were'
        if self.improved:
            words = f'weights kept, {100 * self.share:.0f} % of the way to the fitted ones'
        return (
            f'{self.judged}: {self.before.mean_nats:.2f} -> '
            f'{self.after.mean_nats:.2f} nats, {100 * self.before.recall:.0f} % -> '
            f'{100 * self.after.recall:.0f} % found; {words}'
        )


def adapt(
    network: RegistrationNetwork,
    satellite_map: SatelliteMap,
    out: str | Path,
    minutes: float = 5.0,
    metres_per_px: float | None = None,
    progress: Progress | None = None,
) -> Adaptation:
    """Fit a network to one map by views drawn from it; `network` itself is not changed.

    Views of 70 % of the map are learned from, at `metres_per_px` (default: the map's own, but
    not finer than the network was trained for) and up to twice as coarse, with the changes of
    light and season of `train_registration`. Views of the rest, searched on the whole map, judge
    the fitted weights and what lies between them and the given ones: where none is clearly
    better, the network that was given is the result. Files of the run go to `out`. Judging comes
    on top of the minutes: about one second for each of 24 views and 5 networks.

    Raises MapError where the map is too small or shows too little, ConfigError, OutputError.
    """
    config = network.config
    finest = metres_per_px or max(satellite_map.resolution_m, config.finest_m)
    recipe = replace(
        ADAPT_RECIPE,
        minutes=minutes,
        validate_minutes=max(0.5, min(1.0, minutes / 4)),
        network=config,
        views=replace(ADAPT_RECIPE.views, finest_m=finest, coarsest_m=2 * finest),
    )
    places, judges = cut_map(satellite_map, finest)
    learned, judging = (PairSource(part, config=recipe.views) for part in (places, judges))
    for source in (learned, judging):
        _check_imagery(source, satellite_map)
    trainer = RegistrationTrainer(recipe, learned, judging, out, network)
    trainer.run(progress)
    corner_m = satellite_map.region.side_m - judges[0].size_m[0], 0.0
    judge = MapJudge(map_place(satellite_map), judges[0], corner_m, finest)
    found = choose_share(network, trainer.average.network, judge)
    if found.improved:
        found.network.save(
            trainer.out / WEIGHTS, {**network.card, 'adapted_to': satellite_map.checksum}
        )
    return found


def choose_share(
    given: Network, fitted: Network, judge: Judge[Network], kept: tuple[str, ...] = ('match.',)
) -> Adaptation[Network]:
    """The best of the networks between two, or the given one where none is clearly better.
    `kept`: as of `between`."""
    before = judge.judge(given)
    tried = {share: between(given, fitted, share, kept) for share in SHARES}
    figures = {share: judge.judge(one) for share, one in tried.items()}
    best = min(SHARES, key=lambda share: figures[share].mean_nats)
    if figures[best].better_than(before):
        return Adaptation(tried[best], best, before, figures[best])
    return Adaptation(given, 0.0, before, figures[best])


def between(
    given: Network, fitted: Network, share: float, kept: tuple[str, ...] = ('match.',)
) -> Network:
    """The network whose weights lie `share` of the way from one's to the other's. Those whose
    names begin with `kept` stay as the given one has them: what a match of a downward view is
    worth was calibrated on searches of whole maps."""
    made = copy.deepcopy(given)
    weights = fitted.state_dict()
    made.load_state_dict({
        name: tensor if name.startswith(kept) else torch.lerp(tensor, weights[name], share)
        for name, tensor in given.state_dict().items()
    })  # fmt: skip
    return made.eval()


def _check_imagery(source: PairSource, satellite_map: SatelliteMap) -> None:
    """Raise MapError where nearly no view shows enough to learn from or to judge by."""
    usable = source.draw(TRIED, Dice.of((0, 2))).usable.float().mean()
    if usable < LEAST_USABLE:
        raise MapError(
            f'{satellite_map.path}: {float(usable):.0%} of the views of a part of it show enough '
            f'imagery and {LEAST_USABLE:.0%} are needed; it has imagery on '
            f'{satellite_map.coverage(()):.0%} of its ground: use the weights as they are'
        )


def cut_map(satellite_map: SatelliteMap, metres_per_px: float) -> tuple[list[Place], list[Place]]:
    """Places to train on, and one that is kept back: parts of the map, side by side.

    Raises MapError where a part would be smaller than a view's surroundings.
    """
    side = satellite_map.pixels.shape[1]
    kept_px = round(KEPT_BACK * side)
    least = (
        0.7 * ADAPT_RECIPE.views.tile_cells * STRIDE * metres_per_px / satellite_map.resolution_m
    )
    if kept_px < least:
        raise MapError(
            f'{satellite_map.path}: the map is too small to be fitted to: its side must be at '
            f'least {least / KEPT_BACK * satellite_map.resolution_m:.0f} m at {metres_per_px:g} m '
            'per pixel; use the weights as they are'
        )
    middle, edge = side // 2, side - kept_px
    parts = [
        (slice(0, middle), slice(0, edge)),
        (slice(middle, side), slice(0, edge)),
        (slice(0, side), slice(edge, side)),
    ]
    layers = _layers(satellite_map)
    cut = [_part(satellite_map, layers, part) for part in parts]
    return cut[:2], cut[2:]


def map_place(satellite_map: SatelliteMap) -> Place:
    """A whole map as a place to train on."""
    everything = slice(None), slice(None)
    return _part(satellite_map, _layers(satellite_map), everything)


def _layers(satellite_map):
    """(pixels, mask) of every layer of a map, at the resolution of its base: views of one date
    are paired with maps of another."""
    side = len(satellite_map.pixels)
    return [
        (_at_side(one.pixels, side), _at_side(one.mask.astype(np.uint8) * 255, side) >= 128)
        for one in open_layers(satellite_map).values()
    ]


def _at_side(picture, side):
    if len(picture) == side:
        return picture
    method = cv2.INTER_AREA if len(picture) > side else cv2.INTER_LINEAR
    return cv2.resize(picture, (side, side), interpolation=method)


def _part(satellite_map, layers, part):
    resolution_m = satellite_map.resolution_m
    pictures = tuple(
        make_picture(np.ascontiguousarray(pixels[part]), mask[part], resolution_m)
        for pixels, mask in layers
    )
    return Place(str(satellite_map.path), str(satellite_map.attribution), pictures)
