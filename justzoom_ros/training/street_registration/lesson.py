"""One city to learn from, as arrays in a file."""

from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from justzoom_ros.errors import DatasetError
from justzoom_ros.files import writing


@dataclass(frozen=True)
class Lesson:
    """A map and N places seen all round."""

    pixels: np.ndarray
    """uint8 (n, n, 3) RGB of the map, row 0 in the north, 1 m a pixel, round the middle."""

    labels: np.ndarray
    """uint8 (n, n): what the map shows, as `worlds.city.labels` counts."""

    panoramas: np.ndarray
    """uint8 (N, h, w, 3) RGB, equirectangular about the horizon, w pixels all round; the middle
    looks along the yaw of its pose, columns go clockwise."""

    poses: np.ndarray
    """float32 (N, 4): metres east and north of the map's middle, yaw (counter-clockwise from
    east), metres above the ground."""

    walls_m: np.ndarray
    """float32 (N, w / 2): metres to the first wall, for pairs of columns."""

    def save(self, path: str | Path) -> None:
        """Write an uncompressed .npz, whole or not at all. Raises OutputError."""
        names = [field.name for field in fields(self)]
        with writing(path) as temporary, Path(temporary).open('wb') as file:
            np.savez(file, **dict(zip(names, astuple(self), strict=True)))

    @classmethod
    def load(cls, path: str | Path) -> 'Lesson':
        """Inverse of `save`. Raises DatasetError where the file is none."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(**{field.name: file[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError) as error:
            raise DatasetError(f'{path} is no lesson: {error}; make it again') from error
