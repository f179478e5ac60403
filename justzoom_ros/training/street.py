"""What a forward camera could have seen at the places of a dataset of streets.

A place is a panorama (`panoramas.csv`, see `justzoom city`), from which views of any heading and
field of view are cut, or a plain picture (`metadata.csv`, split train), which is one view.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from justzoom_ros.errors import ConfigError, DatasetError
from justzoom_ros.inference.preprocess import ground_views
from justzoom_ros.io.datasets import PANORAMAS, GeoImage, read_images
from justzoom_ros.models import PolicyConfig
from justzoom_ros.region import Region
from justzoom_ros.training.appearance import Augmentation, augment
from justzoom_ros.training.batches import (
    CALIBRATION,
    TRAINING,
    VALIDATION,
    Batch,
    Rank,
    Stream,
)
from justzoom_ros.training.recipe import TrainConfig

VALIDATION_EVERY = 50
"""Of so many places one is validated on, and one calibrated on; neither is trained on. In a
dataset for validation only, each is one or the other."""

SENSOR_ASPECT = 16 / 9
"""Width / height of the pictures that views are cut as, before they are squeezed to 2 : 1."""


@dataclass(frozen=True)
class StreetConfig:
    """How views of streets are chosen and cut. Raises ConfigError for values out of range."""

    views: int = 2
    """Views of each place in a step."""

    cluster: int = 1
    """Places that are drawn of one cell a level above the terminal cells: their map crops are
    shared, and so encoded once; 1 spreads the places evenly."""

    fov_rad: tuple[float, float] = (math.radians(60), math.radians(110))
    """Range of the horizontal field of view of a view cut from a panorama."""

    pitch_rad: float = 0.045
    """Standard deviation of its pitch."""

    roll_rad: float = 0.02
    """Standard deviation of its roll."""

    def __post_init__(self) -> None:
        if min(self.views, self.cluster) < 1:
            raise ConfigError('views and cluster must be at least 1')
        if not 0 < self.fov_rad[0] <= self.fov_rad[1] < math.pi:
            raise ConfigError(f'fov_rad is {self.fov_rad}; it must lie in 0..pi, least first')


@dataclass(frozen=True)
class Looks:
    """Where N views look."""

    bearing_rad: np.ndarray
    """Clockwise from the middle of the panorama (N,)."""

    pitch_rad: np.ndarray
    """Upwards (N,)."""

    roll_rad: np.ndarray
    """About the view's own axis (N,)."""

    fov_rad: np.ndarray
    """Horizontal field of view (N,)."""

    @classmethod
    def draw(cls, rng: np.random.Generator, count: int, config: StreetConfig) -> 'Looks':
        """Random ones as a `StreetConfig` says, the bearing uniform."""
        return cls(
            rng.uniform(-np.pi, np.pi, count),
            rng.normal(0, config.pitch_rad, count),
            rng.normal(0, config.roll_rad, count),
            rng.uniform(*config.fov_rad, count),
        )


class StreetPlaces:
    """The places of a dataset folder to learn from, within a region; with `validation_only` all of
    them are for validation and calibration.

    Raises DatasetError, naming the row, for whatever `read_images` does, and for a folder without
    places or too few of them to keep any back; ConfigError for another grid than the region's.
    """

    def __init__(self, folder: str | Path, region: Region, validation_only: bool = False) -> None:
        folder = Path(folder)
        self.region, self.validation_only = region, validation_only
        self.panoramas = _images(folder / PANORAMAS, {}, region)
        self.pictures = _images(folder / 'metadata.csv', {'split': 'train'}, region)
        self.images = [*self.panoramas, *self.pictures]
        if len(self.images) < VALIDATION_EVERY:
            raise DatasetError(
                f'{folder} has {len(self.images)} places to learn from ({PANORAMAS} and the '
                f'split train of metadata.csv); it needs at least {VALIDATION_EVERY}'
            )
        self.actions = _actions(self.images, region)

    def is_panorama(self, place: int) -> bool:
        """True where views are cut from the place; else it is one picture."""
        return place < len(self.panoramas)

    @cached_property
    def streams(self) -> dict[Stream, np.ndarray]:
        """{stream: place numbers} that have none in common."""
        every = 2 if self.validation_only else VALIDATION_EVERY
        turn = np.arange(len(self.images)) % every
        masks = {VALIDATION: turn == 0, CALIBRATION: turn == every // 2}
        masks[TRAINING] = ~(masks[VALIDATION] | masks[CALIBRATION])
        return {stream: np.flatnonzero(mask) for stream, mask in masks.items()}

    @cached_property
    def neighbourhoods(self) -> list[np.ndarray]:
        """Place numbers to train on, one array per cell a level above the terminal cells."""
        places = self.streams[TRAINING]
        parents = self.region.cell_index(self.actions[places, :-1])
        order = np.argsort(parents, kind='stable')
        cuts = np.flatnonzero(np.diff(parents[order])) + 1
        return np.split(places[order], cuts)

    def views(
        self,
        place: int,
        count: int,
        policy: PolicyConfig,
        rng: np.random.Generator,
        config: StreetConfig,
    ) -> np.ndarray:
        """`count` views (count, V, h, w, 3) uint8 of a place, as a `PolicyConfig` wants them."""
        image = self.images[place].load()
        if not self.is_panorama(place):
            return np.repeat(ground_views(image, policy)[None], count, axis=0)
        size_px = 2 * policy.ground_px, policy.ground_px
        cut = cut_views(image, Looks.draw(rng, count, config), size_px)
        return np.stack(np.split(cut, 2, axis=2), axis=1)


class StreetBatches(Dataset):
    """Item `step` is this process's share of that step's batch: uint8 views (B, 2, h, w, 3) and
    actions (B, S). Every step has a seed of its own, so resuming or sharing changes nothing."""

    def __init__(
        self,
        places: StreetPlaces,
        policy: PolicyConfig,
        street: StreetConfig,
        augmentation: Augmentation,
        config: TrainConfig,
        rank: Rank,
        stream: Stream = TRAINING,
    ) -> None:
        self.places, self.policy, self.street = places, policy, street
        self.augmentation, self.config = augmentation, config
        self.rank, self.stream = rank, stream

    @property
    def identity(self) -> dict[str, Any]:
        """What the views are drawn from, in plain JSON types."""
        return {
            'places': [image.id for image in self.places.images[:: len(self.places.images) - 1]],
            'count': len(self.places.images),
            'street': asdict(self.street),
            'augmentation': asdict(self.augmentation),
        }

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.config.seed, step, *self.stream))
        places = self.draw_places(rng)[self.rank.rank :: self.rank.world]
        seeds = [(self.config.seed, step, number, *self.stream) for number in places]
        views = [
            self.places.views(
                place, self.street.views, self.policy, np.random.default_rng(seed), self.street
            )
            for place, seed in zip(places, seeds, strict=True)
        ]
        varied = augment(np.concatenate(views), self.augmentation, np.random.default_rng(seeds[0]))
        actions = self.places.actions[places].repeat(self.street.views, axis=0)
        return torch.from_numpy(varied), torch.from_numpy(actions)

    def draw_places(self, rng: np.random.Generator) -> np.ndarray:
        """The places of a whole batch: clusters to train on, single ones elsewhere."""
        count = max(1, self.config.batch // self.street.views)
        if self.stream != TRAINING:
            return rng.choice(self.places.streams[self.stream], count)
        return draw_near_places(self.places.neighbourhoods, count, self.street.cluster, rng)


def draw_near_places(
    groups: Sequence[np.ndarray], count: int, cluster: int, rng: np.random.Generator
) -> np.ndarray:
    """`count` places out of groups, `cluster` of each group drawn; a group is drawn as often as
    it has places."""
    sizes = np.array([len(group) for group in groups], float)
    chosen = rng.choice(len(groups), math.ceil(count / cluster), p=sizes / sizes.sum())
    return np.concatenate([rng.choice(groups[g], cluster) for g in chosen])[:count]


def cut_views(panorama: np.ndarray, looks: Looks, size_px: tuple[int, int]) -> np.ndarray:
    """Views (N, h, w, 3) uint8 of an equirectangular strip (H, W, 3) about the horizon, which
    wraps round; above and below it its edge goes on. `size_px` (w, h), squeezed from 16 : 9."""
    width = panorama.shape[1]
    # One column more, so that the seam is interpolated across.
    wrapped = cv2.copyMakeBorder(panorama, 0, 0, 0, 1, cv2.BORDER_WRAP)
    bearing, elevation = _directions(looks, size_px)
    focal = width / (2 * np.pi)
    columns = (bearing * np.float32(focal) + np.float32((width - 1) / 2)) % np.float32(width)
    rows = np.float32((panorama.shape[0] - 1) / 2) - elevation * np.float32(focal)
    edge = cv2.BORDER_REPLICATE
    return np.stack(
        [
            cv2.remap(wrapped, c, r, cv2.INTER_LINEAR, borderMode=edge)
            for c, r in zip(columns, rows, strict=True)
        ]
    )


def _directions(looks: Looks, size_px: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Bearing clockwise and elevation, radians float32 (N, h, w), of the pixels of views."""
    width, height = size_px
    angles = looks.bearing_rad, looks.pitch_rad, looks.roll_rad, np.tan(looks.fov_rad / 2)
    turn, pitch, roll, half = (a.astype(np.float32)[:, None, None] for a in angles)
    across = ((np.arange(width) + 0.5) / width * 2 - 1).astype(np.float32)
    upwards = (1 - (np.arange(height) + 0.5) / height * 2).astype(np.float32) / SENSOR_ASPECT
    x, y = half * across[None, None, :], half * upwards[None, :, None]
    right, up = np.cos(roll) * x + np.sin(roll) * y, np.cos(roll) * y - np.sin(roll) * x
    forward, up = np.cos(pitch) - np.sin(pitch) * up, np.sin(pitch) + np.cos(pitch) * up
    return turn + np.arctan2(right, forward), np.arctan2(up, np.hypot(right, forward))


def _actions(images: Sequence[GeoImage], region: Region) -> np.ndarray:
    """Actions (N, S) to the terminal cells in which images were taken."""
    positions = np.array([(image.latitude, image.longitude) for image in images])
    inside = region.contains(*positions.T)
    if not inside.all():
        raise DatasetError(f'{images[int(np.argmin(inside))].row}: the place is outside the map')
    return region.encode_enu(*region.to_enu(*positions.T))


def _images(path: Path, select: dict[str, str], region: Region) -> list[GeoImage]:
    if not path.is_file():
        return []
    if select and not _has(path, select):
        return []
    return read_images(path, select, region)


def _has(path: Path, select: dict[str, str]) -> bool:
    """Whether any row of a CSV is selected; a dataset of panoramas alone has none to train on."""
    with path.open(newline='', encoding='utf-8-sig') as file:
        return any(
            all(row.get(column) == value for column, value in select.items())
            for row in csv.DictReader(file)
        )
