"""Overhead imagery that registration learns from: places, each with one or more pictures of it.

An index is a CSV file with the columns `file` (relative to it), `licence`, `metres_per_px`,
`place` and `kind`. Files of one folder whose kind is `pair` or `generated` are the same ground on
several dates and make one place; every other file is a place of its own; flights are left out.
A column `ground`, where there is one, says what kind of ground a place is.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from justzoom_ros.errors import DatasetError

COLUMNS = ('file', 'licence', 'metres_per_px', 'place', 'kind')
SEGMENT_COLORS = 7
"""Clusters of colour into which a picture is cut; their connected parts are its segments."""
GENERATED = 'generated'
"""Kind of pictures that were drawn by a program."""
SHARE_ALIKE = 'BY-SA'
"""Part of the names of licences that might be said to reach weights."""
LARGEST_PX = 4096
"""Pictures with a longer side are averaged down to it: training needs their ground, not their
finest detail."""


@dataclass(frozen=True)
class Layer:
    """A picture at one resolution, averaged down from the one before."""

    pixels: np.ndarray
    """uint8 (H, W, 3) RGB."""
    mask: np.ndarray
    """uint8 (H, W), 255 where there is imagery, else 0."""
    segments: np.ndarray
    """uint16 (H, W): which segment of similar colour a pixel belongs to."""
    metres_per_px: float
    """Side of a pixel in metres."""


@dataclass(frozen=True)
class Picture:
    """One photograph of a place from above, as a pyramid whose layers are each half as fine."""

    layers: tuple[Layer, ...]
    """Finest first."""

    def layer(self, metres_per_px: float) -> Layer:
        """The coarsest layer that is finer than `metres_per_px`, else the finest."""
        fine = [layer for layer in self.layers if layer.metres_per_px <= metres_per_px * 1.01]
        return fine[-1] if fine else self.layers[0]


@dataclass(frozen=True)
class Place:
    """Ground seen on one or more dates; all pictures cover it exactly."""

    name: str
    """For the card and for messages."""
    licence: str
    """As the index has it."""
    pictures: tuple[Picture, ...]
    """One per date."""
    generated: bool = False
    """True where a program drew it."""
    ground: str = ''
    """What kind of ground it is, such as 'fields': places of one kind look alike."""

    @property
    def finest_m(self) -> float:
        """Side of a pixel, in metres, of the coarsest picture at its full resolution."""
        return max(picture.layers[0].metres_per_px for picture in self.pictures)

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height in metres."""
        layer = self.pictures[0].layers[0]
        height, width = layer.mask.shape
        return width * layer.metres_per_px, height * layer.metres_per_px


def read_index(path: str | Path, share_alike: bool = False, seed: int = 0) -> list[Place]:
    """All places of an index file, in its order; those under share-alike licences where
    `share_alike`, all others where not. Weights that are to be given away learn from the others.

    Raises DatasetError where the index or a picture cannot be read.
    """
    path = Path(path)
    groups: dict[str, list[dict]] = {}
    for row in _rows(path):
        wanted = (SHARE_ALIKE in row['licence']) == share_alike
        if wanted and row['kind'] != 'flight':
            dates = row['kind'] in ('pair', GENERATED)
            name = str(Path(row['file']).parent) if dates else row['file']
            groups.setdefault(name, []).append(row)
    return [_place(path, rows, seed) for rows in groups.values()]


def place_weights(places: list[Place], generated_share: float = 0.45) -> np.ndarray:
    """How often each place is drawn, float64 (N,), sum 1.

    `generated_share` of the pairs come from generated places, where there are others too; a
    photographed place counts by the side of the ground it shows, twice where it has several dates.
    """
    weights = np.array([
        1.0 if place.generated else _detail(place) * min(len(place.pictures), 2)
        for place in places
    ])  # fmt: skip
    generated = np.array([place.generated for place in places])
    if generated.any() and not generated.all():
        weights[generated] *= generated_share / weights[generated].sum()
        weights[~generated] *= (1 - generated_share) / weights[~generated].sum()
    return weights / weights.sum()


def _detail(place):
    """Side, in pixels of 0.3 m or coarser, of the square of the same area; at most 1500."""
    width, height = place.size_m
    return min((width * height) ** 0.5 / max(place.finest_m, 0.3), 1500)


def make_picture(pixels: np.ndarray, mask: np.ndarray, metres_per_px: float, seed=0) -> Picture:
    """The pyramid of a picture: uint8 (H, W, 3) and bool or uint8 (H, W), down to 64 pixels."""
    mask = (np.asarray(mask) > 0).astype(np.uint8) * 255
    segments = segment_colors(pixels, seed)
    layers = [Layer(pixels, mask, segments, metres_per_px)]
    while min(pixels.shape[:2]) >= 128:
        height, width = (side // 2 for side in pixels.shape[:2])
        pixels = cv2.resize(
            pixels[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA
        )
        mask = mask[: 2 * height : 2, : 2 * width : 2]
        segments = segments[: 2 * height : 2, : 2 * width : 2]
        metres_per_px *= 2
        layers.append(Layer(pixels, mask, segments, metres_per_px))
    return Picture(tuple(layers))


def segment_colors(pixels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Cut a picture into connected parts of similar colour: uint16 (H, W), 0 .. count - 1.

    k-means of smoothed colours; small parts are left with their surroundings by the smoothing.
    """
    factor = max(1, round(max(pixels.shape[:2]) / 600))
    size = (pixels.shape[1] // factor, pixels.shape[0] // factor)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    smooth = cv2.bilateralFilter(cv2.medianBlur(small, 7), 9, 40, 5)
    colors = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float32)
    sample = colors[np.random.default_rng(seed).integers(0, len(colors), 4000)]
    cv2.setRNGSeed(seed)
    stop = (cv2.TERM_CRITERIA_MAX_ITER, 20, 0.0)
    no_labels: Any = None  # OpenCV takes None, its stub does not
    centers = cv2.kmeans(sample, SEGMENT_COLORS, no_labels, stop, 1, cv2.KMEANS_PP_CENTERS)[2]
    distances = [np.square(colors - center).sum(1) for center in centers]
    nearest = np.argmin(distances, axis=0).reshape(size[::-1]).astype(np.uint8)
    segments, first = np.zeros(nearest.shape, np.int32), 0
    for cluster in range(SEGMENT_COLORS):
        count, parts = cv2.connectedComponents((nearest == cluster).astype(np.uint8))
        np.copyto(segments, parts + first, where=parts > 0)
        first += count
    full = (pixels.shape[1], pixels.shape[0])
    small = np.minimum(segments, 65535).astype(np.uint16)
    return cv2.resize(small, full, interpolation=cv2.INTER_NEAREST)


def _rows(path):
    try:
        with open(path, newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f'{path}: index of imagery cannot be read ({error})') from error
    missing = [name for name in COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise DatasetError(
            f'{path}: an index of imagery needs rows with the columns {", ".join(COLUMNS)}; '
            f'{", ".join(missing)} missing'
        )
    return rows


def _place(index, rows, seed):
    pictures = [_picture(index, row, seed) for row in rows]
    height = min(picture.layers[0].mask.shape[0] for picture in pictures)
    width = min(picture.layers[0].mask.shape[1] for picture in pictures)
    for picture, row in zip(pictures, rows, strict=True):
        found = picture.layers[0].mask.shape
        if max(found[0] - height, found[1] - width) > 2:
            raise DatasetError(
                f'{index.parent / row["file"]}: the pictures of a place of several dates must '
                f'cover the same ground; this one has {found[1]} x {found[0]} pixels, another '
                f'{width} x {height}'
            )
    generated = rows[0]['kind'] == GENERATED
    ground = rows[0].get('ground') or ''
    return Place(rows[0]['place'], rows[0]['licence'], tuple(pictures), generated, ground)


def _picture(index, row, seed):
    import rasterio
    from rasterio.errors import RasterioError

    path = index.parent / row['file']
    try:
        metres_per_px = float(row['metres_per_px'])
        with rasterio.open(path) as file:
            factor = max(1.0, max(file.shape) / LARGEST_PX)
            bands = [1, 2, 3] if file.count >= 3 else [1, 1, 1]
            size = tuple(round(side / factor) for side in file.shape)
            kind = rasterio.enums.Resampling.average
            pixels = file.read(bands, out_shape=(3, *size), resampling=kind)
            mask = file.dataset_mask(out_shape=size) if factor > 1 else file.dataset_mask()
    except (OSError, ValueError, TypeError, RasterioError) as error:
        raise DatasetError(f'{path}: imagery cannot be read ({error})') from error
    if pixels.dtype != np.uint8 or not metres_per_px > 0:
        raise DatasetError(f'{path}: imagery must be 8 bits a channel, metres_per_px positive')
    pixels = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    return make_picture(pixels, _without_holes(mask), metres_per_px * factor, seed)


def _without_holes(mask):
    """Missing are only parts that reach the border: dark pixels inside are dark ground."""
    parts = cv2.connectedComponents((mask == 0).astype(np.uint8))[1]
    border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return np.where(np.isin(parts, border[border > 0]), 0, 255).astype(np.uint8)
