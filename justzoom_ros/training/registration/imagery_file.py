"""Places in one small file: imagery to take to a machine that trains.

Pictures are compressed with losses (WebP), so the file is for training alone.
"""

import json
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from justzoom_ros.errors import DatasetError
from justzoom_ros.files import save_tensors, writing
from justzoom_ros.training.registration.imagery import Layer, Picture, Place, make_picture

FORMAT = 'justzoom-registration-imagery'
QUALITY = 65
"""Of the compression, 1..100."""


def write_places(
    path: str | Path, places: Iterable[Place], finest_m: float = 0.3, quality: int = QUALITY
) -> None:
    """Write places, their pictures no finer than about `finest_m` a pixel. Raises OutputError."""
    tensors: dict[str, torch.Tensor] = {}
    rows = []
    for place in places:
        pictures = []
        for picture in place.pictures:
            layer, number = _coarsened(picture.layers[0], finest_m), len(tensors)
            pictures.append({'number': number, 'metres_per_px': layer.metres_per_px})
            tensors[f'{number}'] = _encoded(layer, quality)
        rows.append({
            'name': place.name, 'licence': place.licence, 'generated': place.generated,
            'ground': place.ground, 'pictures': pictures,
        })  # fmt: skip
    with writing(path) as temporary:
        save_tensors(tensors, temporary, metadata={'format': FORMAT, 'places': json.dumps(rows)})


def read_places(path: str | Path, processes: int = 1) -> list[Place]:
    """The places of a file that `write_places` wrote. Raises DatasetError."""
    try:
        with safe_open(path, framework='pt') as file:
            metadata = file.metadata() or {}
            if metadata.get('format') != FORMAT:
                raise DatasetError(f'{path}: not a file of imagery for training')
            rows = json.loads(metadata['places'])
            shown = [picture for row in rows for picture in row['pictures']]
            coded = [file.get_tensor(str(picture['number'])).numpy() for picture in shown]
    except (OSError, SafetensorError, KeyError) as error:
        raise DatasetError(f'{path}: imagery cannot be read ({error})') from error
    metres = [picture['metres_per_px'] for picture in shown]
    if processes > 1:
        with ProcessPoolExecutor(processes) as pool:
            pictures = iter(list(pool.map(_decoded, coded, metres, chunksize=16)))
    else:
        pictures = map(_decoded, coded, metres)
    return [
        Place(
            row['name'],
            row['licence'],
            tuple(next(pictures) for _ in row['pictures']),
            row['generated'],
            row['ground'],
        )
        for row in rows
    ]


def _coarsened(layer: Layer, finest_m) -> Layer:
    factor = min(1.0, layer.metres_per_px / finest_m)
    height, width = (max(1, round(side * factor)) for side in layer.mask.shape)
    size = (width, height)
    return Layer(
        cv2.resize(layer.pixels, size, interpolation=cv2.INTER_AREA),
        cv2.resize(layer.mask, size, interpolation=cv2.INTER_NEAREST),
        cv2.resize(layer.segments, size, interpolation=cv2.INTER_NEAREST),
        layer.metres_per_px / factor,
    )


def _encoded(layer, quality):
    """The picture as WebP, its mask as one more picture below it where not all is imagery."""
    pixels = layer.pixels[..., ::-1]
    if (layer.mask == 0).any():
        pixels = np.concatenate([pixels, np.repeat(layer.mask[..., None], 3, 2)])
    coded = cv2.imencode('.webp', pixels, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].ravel()
    covered = np.array([(layer.mask == 0).any()], np.uint8)
    return torch.from_numpy(np.concatenate([covered, coded]))


def _decoded(coded: np.ndarray, metres_per_px: float) -> Picture:
    pixels = cv2.imdecode(coded[1:], cv2.IMREAD_COLOR)
    if pixels is None:
        raise DatasetError('imagery for training: a picture is damaged')
    mask = np.full(pixels.shape[:2], 255, np.uint8)
    if coded[0]:
        pixels, mask = np.split(pixels, 2)
        mask = np.ascontiguousarray(mask[..., 1] > 127).astype(np.uint8) * 255
    return make_picture(np.ascontiguousarray(pixels[..., ::-1]), mask, metres_per_px)
