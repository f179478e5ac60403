"""Training as one call: a recipe, areas to learn from, a folder for what comes of it.

    from justzoom_ros.training import TrainRecipe, train

    recipe = TrainRecipe.of_view('nadir').with_setting('train.steps=5000')
    weights = train(recipe, ['maps/town'], 'runs/town')

`justzoom train` does the same. Under torchrun every process makes the same call.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from justzoom_ros.errors import ConfigError
from justzoom_ros.files import output_folder
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.models import ConvConfig, DecoderConfig, EncoderConfig, PolicyConfig
from justzoom_ros.plots.figures import require_matplotlib
from justzoom_ros.region import Region
from justzoom_ros.training.appearance import Appearance, Augmentation
from justzoom_ros.training.areas import Area
from justzoom_ros.training.batches import ViewBatches
from justzoom_ros.training.nadir_views import NadirViewConfig, NadirViews
from justzoom_ros.training.recipe import TrainConfig
from justzoom_ros.training.retrieval import RetrievalConfig, RetrievalTrainer
from justzoom_ros.training.street import StreetBatches, StreetConfig, StreetPlaces
from justzoom_ros.training.trainer import Trainer

METHODS = ('zoom', 'retrieval')
LEARNING_RATES = {'adamw': 1.5e-3, 'muon': 3e-3}
"""Peaks that suit each optimizer."""


@dataclass(frozen=True)
class TrainRecipe:
    """Everything of a run but its areas. Raises ConfigError for values out of range."""

    view: str = 'street'
    """The camera: 'nadir' looks straight down, 'street' ahead."""

    method: str = 'zoom'
    """One of METHODS: a zoom policy, or the contrastive baseline."""

    look_ahead: bool = False
    """Whether the child cells' own images are looked at."""

    ground_px: int = 48
    """Height of a camera view."""

    ground_aspect: float = 2.0
    """Width / height of a camera view; 2 for streets."""

    crop_px: int = 48
    """Side of a map crop."""

    pretrained: str | None = None
    """A DINOv2 model to start from, a local folder or hub name, instead of a small convolutional
    encoder."""

    trained_blocks: int = 2
    """Last blocks of the pretrained encoder that are trained; the others stay."""

    train: TrainConfig = field(default_factory=TrainConfig)
    """How the run learns."""

    conv: ConvConfig = field(default_factory=ConvConfig)
    """Shape of the convolutional encoder."""

    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    """Shape of the decoder."""

    nadir: NadirViewConfig = field(default_factory=NadirViewConfig)
    """Where downward cameras are."""

    appearance: Appearance = field(default_factory=Appearance)
    """How their pictures differ from the map."""

    street: StreetConfig = field(default_factory=StreetConfig)
    """How views of streets are chosen and cut."""

    augmentation: Augmentation = field(default_factory=Augmentation)
    """How views of streets are varied."""

    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    """How the baseline learns."""

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise ConfigError(f'view is {self.view!r}; choose of {", ".join(VIEWS)}')
        if self.method not in METHODS:
            raise ConfigError(f'method is {self.method!r}; choose of {", ".join(METHODS)}')

    @classmethod
    def of_view(cls, view: str, optimizer: str | None = None) -> 'TrainRecipe':
        """The recipe that suits a camera, 'nadir' or 'street', trained from nothing on a CPU."""
        if view not in VIEWS:
            raise ConfigError(f'view is {view!r}; choose of {", ".join(VIEWS)}')
        return VIEWS[view].recipe(optimizer)

    def with_setting(self, assignment: str) -> 'TrainRecipe':
        """The recipe with one field of one part changed, such as 'train.weight_decay=0.01' or
        'conv.channels=32,64'. Raises ConfigError where there is no such field."""
        name, _, text = assignment.partition('=')
        part, _, setting = name.partition('.')
        if name not in self.settings():
            known = ', '.join(self.settings())
            raise ConfigError(f'--set {assignment}: no such setting; there are {known}')
        config = getattr(self, part)
        default = getattr(config, setting)
        try:
            value = _parse(text, default)
        except ValueError as error:
            raise ConfigError(f'--set {assignment}: {text!r} is not like {default!r}') from error
        return replace(self, **{part: replace(config, **{setting: value})})

    def settings(self) -> list[str]:
        """What `with_setting` can change, as 'part.field'."""
        parts = {part: getattr(self, part) for part in PARTS}
        return [f'{part}.{f.name}' for part, config in parts.items() for f in fields(config)]

    def policy_config(self, region: Region) -> PolicyConfig:
        """The `PolicyConfig` for maps of a region's zoom tree."""
        encoder = EncoderConfig('conv', self.conv)
        if self.pretrained:
            encoder = EncoderConfig.from_pretrained(self.pretrained)
        return PolicyConfig(
            grid=region.grid,
            depth=region.depth,
            view=self.view,
            ground_px=self.ground_px,
            ground_aspect=self.ground_aspect,
            crop_px=self.crop_px,
            look_ahead=self.look_ahead,
            encoder=encoder,
            decoder=self.decoder,
        )


PARTS = (
    *('train', 'nadir', 'appearance', 'street', 'augmentation', 'retrieval', 'conv', 'decoder'),
)
"""Fields of a recipe that have fields themselves."""


def _parse(text: str, default: Any) -> Any:
    """`text` as the type of `default`; tuples are comma-separated."""
    if isinstance(default, tuple):
        return tuple(type(default[0])(item) for item in text.split(','))
    return type(default)(text)


# --- cameras -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class AreaFolders:
    """Where an area lies."""

    map: Path
    """Folder of the map."""

    dataset: Path | None = None
    """Folder of pictures with positions, in the published layout; None for a map alone."""


class NadirView:
    """A downward camera: views are drawn from the map alone."""

    def recipe(self, optimizer: str | None) -> TrainRecipe:
        """What suits it."""
        optimizer = optimizer or 'adamw'
        rate = LEARNING_RATES.get(optimizer, LEARNING_RATES['adamw'])
        return TrainRecipe(
            view='nadir',
            ground_px=96,
            ground_aspect=4 / 3,
            crop_px=64,
            train=TrainConfig(batch=128, optimizer=optimizer, learning_rate=rate),
            conv=ConvConfig(channels=(32, 64, 128, 192)),
            decoder=DecoderConfig(layers=3, heads=4, dropout=0.1),
            nadir=NadirViewConfig(fov_rad=math.radians(69.0), tilt_rad=math.radians(4.6)),
        )

    def folders(self, area: str | Path) -> AreaFolders:
        """Those of an area that is named by its map."""
        return AreaFolders(Path(area))

    def area(
        self,
        folders: AreaFolders,
        map: SatelliteMap,
        recipe: TrainRecipe,
        validation_only: bool,
    ) -> Area:
        """The area; views that are kept back differ by their seeds alone."""
        size_px = round(recipe.ground_px * recipe.ground_aspect), recipe.ground_px
        views = NadirViews(map, size_px, recipe.nadir, recipe.appearance)
        return Area(map, partial(ViewBatches, views), recipe.crop_px)


class StreetView:
    """A forward camera: views are cut from pictures of streets with known positions."""

    def recipe(self, optimizer: str | None) -> TrainRecipe:
        """What suits it."""
        optimizer = optimizer or 'muon'
        rate = LEARNING_RATES.get(optimizer, LEARNING_RATES['adamw'])
        train = TrainConfig(
            batch=256, optimizer=optimizer, learning_rate=rate, label_smoothing=0.0
        )
        return TrainRecipe(
            view='street',
            train=train,
            conv=ConvConfig(channels=(32, 64, 128)),
            decoder=DecoderConfig(layers=3, heads=4, dropout=0.0),
        )

    def folders(self, area: str | Path) -> AreaFolders:
        """Those of an area that is named by its dataset, whose map is in its folder `map`."""
        return AreaFolders(Path(area) / 'map', Path(area))

    def area(
        self,
        folders: AreaFolders,
        map: SatelliteMap,
        recipe: TrainRecipe,
        validation_only: bool,
    ) -> Area:
        """The area. Raises DatasetError."""
        if folders.dataset is None:
            raise ConfigError(f'{folders.map}: a street camera learns from pictures of streets')
        places = StreetPlaces(folders.dataset, map.region, validation_only)
        policy = recipe.policy_config(map.region)
        source = partial(StreetBatches, places, policy, recipe.street, recipe.augmentation)
        return Area(map, source, recipe.crop_px)


VIEWS: dict[str, NadirView | StreetView] = {'nadir': NadirView(), 'street': StreetView()}
"""What is particular to each camera, by its name."""


# --- runs --------------------------------------------------------------------------------------

AreaName = str | Path | AreaFolders
"""Folders of an area, or the one that names it: the map of a downward camera, the dataset of a
street camera."""


def train(
    recipe: TrainRecipe,
    areas: Iterable[AreaName],
    out: str | Path,
    validate_on: Iterable[AreaName] = (),
    start_from: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Path:
    """Train by a recipe; returns the path of the weights.

    Each step learns from one of the `areas`. Validated and calibrated is on `validate_on`, or,
    without any, on views kept back of the areas. `start_from`: weights to go on from, with a new
    schedule. `resume` goes on from the checkpoint in `out`, where there is one. `progress` shows
    on stderr how it goes. Raises ConfigError, MapError, DatasetError, WeightsError, OutputError,
    and RuntimeUnavailableError without matplotlib, which draws the learning curves.
    """
    output_folder(out)
    require_matplotlib()
    trainer = build_trainer(recipe, areas, out, validate_on)
    if start_from:
        trainer.policy.take(start_from)
    if resume:
        trainer.resume()
    return trainer.run(progress)


def build_trainer(
    recipe: TrainRecipe,
    areas: Iterable[AreaName],
    out: str | Path,
    validate_on: Iterable[AreaName] = (),
) -> Trainer:
    """The `Trainer` of a run, ready for its first step. Arguments as `train` has them."""
    view = VIEWS[recipe.view]
    learned = [_folders(area, view) for area in areas]
    kept_back = [_folders(area, view) for area in validate_on]
    if not learned:
        raise ConfigError('there is no area to learn from')
    maps = {f.map: SatelliteMap.open(f.map) for f in (*learned, *kept_back)}
    policy = recipe.policy_config(maps[learned[0].map].region)
    make: Any = Trainer
    if recipe.method == 'retrieval':
        make = partial(RetrievalTrainer, recipe.retrieval)
    return make(
        [view.area(f, maps[f.map], recipe, validation_only=False) for f in learned],
        policy,
        recipe.train,
        out,
        partial(_take_pretrained, recipe),
        [view.area(f, maps[f.map], recipe, validation_only=True) for f in kept_back],
    )


def _folders(area: AreaName, view: NadirView | StreetView) -> AreaFolders:
    return area if isinstance(area, AreaFolders) else view.folders(area)


def _take_pretrained(recipe: TrainRecipe, policy: Any) -> None:
    if recipe.pretrained:
        policy.encoder.load_pretrained(recipe.pretrained)
        policy.encoder.freeze_but(recipe.trained_blocks)
