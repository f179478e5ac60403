"""Photos that a CSV, a GeoJSON or Mapillary's JSON lists, the files beside it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from justzoom_ros.errors import DatasetError
from justzoom_ros.io.datasets import read_rows
from justzoom_ros.io.photos.folder import files_of
from justzoom_ros.io.photos.records import Record, photo_of
from justzoom_ros.io.photos.source import Photo, PhotoOptions

DESCRIPTION = 'mapillary_image_description.json'
"""What mapillary_tools writes beside the photos that it processed."""


class PhotoTable:
    """A `PhotoSource` of a CSV; `records.py` knows the names of its columns."""

    def __init__(self, path: Path, options: PhotoOptions) -> None:
        self.path = path

    @staticmethod
    def recognizes(path: Path) -> bool:
        """A file that ends in .csv."""
        return path.is_file() and path.suffix.lower() == '.csv'

    def records(self) -> list[tuple[str, Record]]:
        """(where, what is said) of each photo. Raises DatasetError."""
        return list(read_rows(self.path))

    def read(self) -> list[Photo]:
        """See `PhotoSource`."""
        records = self.records()
        if not records:
            raise DatasetError(f'{self.path} lists no photo')
        folder = self.path.resolve().parent
        return [photo_of(record, where, folder) for where, record in records]

    def pictures(
        self, photos: Sequence[Photo]
    ) -> Iterator[tuple[Photo, Callable[[], np.ndarray]]]:
        """See `PhotoSource`."""
        return files_of(photos)


class PhotoGeoJson(PhotoTable):
    """A `PhotoSource` of a GeoJSON FeatureCollection of points."""

    @staticmethod
    def recognizes(path: Path) -> bool:
        """A file that ends in .geojson."""
        return path.is_file() and path.suffix.lower() == '.geojson'

    def records(self) -> list[tuple[str, Record]]:
        """Each feature's properties and its geometry."""
        features = _listed(read_json(self.path), 'features')
        if features is None:
            raise DatasetError(f'{self.path} is no GeoJSON FeatureCollection')
        return [
            (f'{self.path.name} feature {number}', _feature(feature))
            for number, feature in enumerate(features, 1)
        ]


class MapillaryPhotos(PhotoTable):
    """A `PhotoSource` of what Mapillary's tools and API write: the description file of
    mapillary_tools, or a folder with one; a list of images as the API answers, perhaps as `data`;
    one image's JSON."""

    def __init__(self, path: Path, options: PhotoOptions) -> None:
        super().__init__(path / DESCRIPTION if path.is_dir() else path, options)

    @staticmethod
    def recognizes(path: Path) -> bool:
        """A file that ends in .json, or a folder with a description file."""
        if path.is_dir():
            return (path / DESCRIPTION).is_file()
        return path.suffix.lower() == '.json'

    def records(self) -> list[tuple[str, Record]]:
        """The images; videos, which description files may list too, are none."""
        value = read_json(self.path)
        images = value if isinstance(value, list) else _listed(value, 'data')
        if images is None:
            images = [value]
        return [
            (f'{self.path.name} image {number}', _checked(image, self.path))
            for number, image in enumerate(images, 1)
        ]


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises DatasetError."""
    try:
        return json.loads(path.read_text(encoding='utf-8-sig'))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DatasetError(f'{path} is not a readable JSON: {error}') from error


def _listed(value: Any, name: str) -> list[Any] | None:
    """A list within an object, None where there is none."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else None


def _feature(feature: Any) -> Record:
    """What a feature says; what was computed stands in its properties."""
    if not isinstance(feature, Mapping):
        return {}
    properties = feature.get('properties') or {}
    outer = {name: feature[name] for name in ('id', 'geometry') if name in feature}
    return {**outer, **properties} if isinstance(properties, Mapping) else outer


def _checked(image: Any, path: Path) -> Record:
    if not isinstance(image, Mapping):
        raise DatasetError(f'{path} is no list of images as Mapillary writes it')
    if 'MAPGPSTrack' in image:
        raise DatasetError(
            f'{path} lists the video {image.get("filename")}; sample it into images first'
        )
    return image
