"""Photos of streets with noisy positions and headings, and the maps that they are on.

    bank = PhotoBank.read(list_photos([PhotoFolder(Path('runs/mine'))], 'train'), network)

The folders are what `justzoom dataset build` makes; whatever in them cannot be learned from is an
error that names the file and says what to do.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from justzoom_ros.curation.config import BuildConfig
from justzoom_ros.embeddings.map_features import cells_along, check_resolution, map_at
from justzoom_ros.errors import ConfigError, DatasetError, ImageError
from justzoom_ros.io.datasets import PANORAMAS, GeoImage, read_images, read_rows
from justzoom_ros.io.photos.exif_camera import is_panorama, read_header
from justzoom_ros.io.photos.folder import PANORAMA_SAYS
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.ranges import check_ranges, ranged
from justzoom_ros.registration.camera import Camera
from justzoom_ros.registration.forward_lift import Strip, Tilt, level_strip
from justzoom_ros.registration.forward_network import ForwardNetwork
from justzoom_ros.registration.image_columns import (
    camera_of,
    heading_of,
    number_of,
    tilt_of,
)
from justzoom_ros.registration.normalize import normalize_pixels

Progress = Callable[[Iterable, str, int], Iterable]

EYE_HEIGHT_M = 10.0
"""A camera that is higher above the ground than this is not on a street."""

HOW_TO_BUILD = 'make it of your photos with `justzoom dataset build`'


@dataclass(frozen=True)
class LabelDeviations:
    """How wrong positions and headings are, where the dataset shall not say so itself. Raises
    ConfigError for values out of range."""

    position_std_m: float | None = ranged(None, above=0, at_most=30)
    """Standard deviation of all positions along either axis; None: the column `position_std_m`,
    7.5 m where it is empty."""

    heading_std_deg: float | None = ranged(None, above=0, at_most=180)
    """Standard deviation of all headings; None: the column `heading_std_deg`, 15 degrees where it
    is empty."""

    def __post_init__(self) -> None:
        check_ranges(self)

    def of(self, image: GeoImage) -> tuple[float, float]:
        """Metres and radians of one photo. Raises DatasetError."""
        usual = BuildConfig()
        metres = self.position_std_m or number_of(image, 'position_std_m') or usual.position_std_m
        degrees = (
            self.heading_std_deg or number_of(image, 'heading_std_deg') or usual.heading_std_deg
        )
        return metres, math.radians(degrees)


@dataclass(frozen=True)
class PhotoFolder:
    """A dataset and its map."""

    dataset: Path
    """The folder, with its metadata.csv."""

    map: Path | None = None
    """Folder of the map; None: `map` in the dataset."""


@dataclass(frozen=True)
class PhotoList:
    """The photos of a split of one dataset, not yet looked at."""

    name: str
    """Of the dataset."""

    split: str
    """Which."""

    map: SatelliteMap
    """What they are on."""

    images: list[GeoImage]
    """At least one."""


@dataclass(frozen=True)
class MapPixels:
    """A map as the network wants it."""

    pixels: torch.Tensor
    """half (4, n, n): normalized pixels and mask."""

    metres_per_px: float
    """Side of a pixel."""


@dataclass(frozen=True)
class PhotoBank:
    """N photos, levelled, on their maps."""

    maps: list[MapPixels]
    """One for each dataset."""

    strips: torch.Tensor
    """uint8 (N, 3, H, W), 0 where nothing is seen."""

    seen: torch.Tensor
    """bool (N, 1, H, W)."""

    poses: torch.Tensor
    """float32 (N, 3): metres east and north of the map's middle, yaw counter-clockwise from
    east."""

    stds: torch.Tensor
    """float32 (N, 2): standard deviations of positions, metres along either axis, and of
    headings, radians."""

    map_numbers: torch.Tensor
    """int64 (N,)."""

    names: list[str]
    """What the photos are called, with their datasets."""

    def __len__(self) -> int:
        return len(self.poses)

    @classmethod
    def read(
        cls,
        lists: Sequence[PhotoList],
        network: ForwardNetwork,
        deviations: LabelDeviations | None = None,
        progress: Progress | None = None,
    ) -> 'PhotoBank':
        """The photos of some lists. Raises DatasetError for what cannot be learned from,
        ConfigError for a map that is too coarse."""
        deviations = deviations or LabelDeviations()
        for each in lists:
            check_resolution(each.map, network, network.config.metres_per_px)
        found = [(number, image) for number, each in enumerate(lists) for image in each.images]
        labels = [_label_of(image, lists[number].map, deviations) for number, image in found]
        cameras = [_camera_of(image) for _, image in found]
        looks = [(image, camera) for (_, image), camera in zip(found, cameras, strict=True)]
        bar = progress(looks, f'photos of {lists[0].split}', len(looks)) if progress else looks
        with ExitStack() as stack:
            if hasattr(bar, 'close'):
                stack.callback(bar.close)  # an error begins on a line of its own
            strips = [_strip_of(image, camera, network) for image, camera in bar]
        poses, stds = zip(*labels, strict=True)
        pixels, seen = _stack(strips)
        return cls(
            [map_pixels(each.map, network) for each in lists],
            pixels,
            seen,
            torch.tensor(poses),
            torch.tensor(stds),
            torch.tensor([number for number, _ in found]),
            [f'{lists[number].name}/{image.id}' for number, image in found],
        )


def list_photos(folders: Sequence[PhotoFolder], split: str, least: int = 1) -> list[PhotoList]:
    """The photos of a split of some datasets, on their maps and with headings; no picture is
    looked at yet. Raises DatasetError where they cannot be learned from, or are fewer than
    `least` in all; MapError."""
    lists = []
    for folder in folders:
        _check_table(folder.dataset, split)
        satellite_map = SatelliteMap.open(folder.map or folder.dataset / 'map')
        images = photos_of(folder.dataset, split, satellite_map)
        lists.append(PhotoList(folder.dataset.name, split, satellite_map, images))
    count = sum(len(each.images) for each in lists)
    if count < least:
        raise DatasetError(
            f'{folders[0].dataset}: {count} photos of split {split} are too few, {least} are '
            'needed: build the dataset of more photos, or with other shares (--val, --block)'
        )
    return lists


def _check_table(dataset: Path, split: str) -> None:
    """Raise DatasetError where a dataset has no photos of a split."""
    table = dataset / 'metadata.csv'
    if not table.is_file():
        if (dataset / PANORAMAS).is_file():
            raise DatasetError(f'{dataset} holds panoramas alone; cut plain views of them')
        raise DatasetError(f'{table} is not there; {HOW_TO_BUILD}')
    if not has_split(dataset, split):
        raise DatasetError(
            f'{table} has no photo of split {split}: those of train are learned from, those of '
            f'val judge; {HOW_TO_BUILD}'
        )


def photos_of(dataset: Path, split: str, satellite_map: SatelliteMap) -> list[GeoImage]:
    """The photos of a split of a dataset, on its map and with headings. Raises DatasetError."""
    images = read_images(dataset / 'metadata.csv', {'split': split}, satellite_map.region)
    _check_headings(images)
    _check_places(images, satellite_map)
    return images


def has_split(dataset: Path, split: str) -> bool:
    """Whether a dataset has photos of a split."""
    return any(values.get('split') == split for _, values in read_rows(dataset / 'metadata.csv'))


def _check_headings(images: Sequence[GeoImage]) -> None:
    without = [image for image in images if heading_of(image) is None]
    if without:
        raise DatasetError(
            f'{without[0].row}: {without[0].id} has no heading_deg ({len(without)} of '
            f'{len(images)} have none): build the dataset with --heading auto or track'
        )


def _check_places(images: Sequence[GeoImage], satellite_map: SatelliteMap) -> None:
    """Raise DatasetError where one lies off the map, or where it has no imagery."""
    region = satellite_map.region
    positions = np.array([(image.latitude, image.longitude) for image in images])
    inside = np.asarray(region.contains(*positions.T))
    if inside.all():
        covered = satellite_map.level_coverage(region.depth) > 0
        inside = covered[region.cell_index(region.encode_enu(*region.to_enu(*positions.T)))]
    if not inside.all():
        first = images[int(np.argmin(inside))]
        raise DatasetError(
            f'{first.row}: {first.id} at {first.latitude}, {first.longitude} is off the map '
            f'{satellite_map.path} or where it has no imagery ({np.sum(~inside)} of '
            f'{len(images)} are); give the map of where they were taken'
        )


def map_pixels(satellite_map: SatelliteMap, network: ForwardNetwork) -> MapPixels:
    """A map at the network's resolution, normalized."""
    config = network.config
    side_px = cells_along(satellite_map, network, config.metres_per_px) * config.stride
    pixels, mask = map_at(satellite_map, side_px)
    normal = normalize_pixels(pixels, mask, config.map.normalization_px)
    return MapPixels(torch.from_numpy(normal).half(), satellite_map.region.side_m / side_px)


def _label_of(image, satellite_map, deviations):
    """(east, north, yaw), (metres, radians)."""
    east_m, north_m = satellite_map.region.to_enu(image.latitude, image.longitude)
    return (float(east_m), float(north_m), heading_of(image)), deviations.of(image)


def _camera_of(image: GeoImage) -> tuple[Camera, Tilt | None]:
    """The camera of a photo and its tilt. Raises DatasetError, naming its row, for one that does
    not look ahead through a lens that is known."""
    _check_camera(image)
    camera = camera_of(image, Camera(ahead=True))
    if camera is None:
        raise DatasetError(
            f'{image.row}: what is the lens of {image.id}? It has no fov_deg: build the dataset '
            'with --fov'
        )
    return camera, tilt_of(image)


def _strip_of(
    image: GeoImage, camera: tuple[Camera, Tilt | None], network: ForwardNetwork
) -> Strip:
    """A photo as a `Strip`, levelled. Raises DatasetError naming its row."""
    try:
        return level_strip(image.load(), *camera, network.config)
    except (ImageError, ConfigError) as error:
        raise DatasetError(f'{image.row}: {image.id}: {error}') from error


def _check_camera(image: GeoImage) -> None:
    header = read_header(image.row, image.path)
    if is_panorama(header) or (number_of(image, 'fov_deg') or 0.0) >= 180.0:
        raise DatasetError(f'{image.row}: {image.id}: {PANORAMA_SAYS}; cut plain views of it')
    heights = [number_of(image, column) or 0.0 for column in ('altitude', 'camera_height_m')]
    if max(heights) > EYE_HEIGHT_M or (number_of(image, 'pitch_deg') or 0.0) < -60.0:
        raise DatasetError(
            f'{image.row}: {image.id} looks down from above; registration of such cameras is '
            'fitted to a map alone: justzoom train --registration --map'
        )


def _stack(strips: Sequence[Strip]) -> tuple[torch.Tensor, torch.Tensor]:
    """Strips of different widths about one middle: uint8 (N, 3, H, W) and bool (N, 1, H, W)."""
    width = max(strip.mask.shape[1] for strip in strips)
    sides = [(width - strip.mask.shape[1]) // 2 for strip in strips]
    pixels = [
        np.pad(s.pixels, ((0, 0), (n, n), (0, 0))) for s, n in zip(strips, sides, strict=True)
    ]
    seen = [np.pad(s.mask, ((0, 0), (n, n))) for s, n in zip(strips, sides, strict=True)]
    stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    return stacked, torch.from_numpy(np.stack(seen))[:, None]
