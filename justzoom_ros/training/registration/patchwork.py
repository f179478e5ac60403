"""Patchworks: larger ground put together from small pictures, as fields and quarters lie.

Small pictures alone teach only fine resolutions; put together, they are also seen from far away,
and their edges are landmarks as those of fields are.
"""

from collections.abc import Sequence

import numpy as np

from justzoom_ros.training.registration.imagery import Place, make_picture


def sew(places: Sequence[Place], side: int, rng: np.random.Generator) -> Place:
    """One place of `side` x `side` patches, cut from the first pictures of side^2 places.

    Patches are turned and mirrored, and of several widths. Pictures should have about one
    resolution, which is that of the first.
    """
    pictures = [place.pictures[0].layers[0] for place in places]
    least = min(min(layer.mask.shape) for layer in pictures)
    heights, widths = rng.integers(least // 2, least + 1, (2, side))
    rows = []
    for row in range(side):
        patches = [
            _patch(pictures[row * side + column].pixels, heights[row], widths[column], rng)
            for column in range(side)
        ]
        rows.append(np.concatenate(patches, 1))
    pixels = np.ascontiguousarray(np.concatenate(rows))
    picture = make_picture(pixels, np.ones(pixels.shape[:2], bool), pictures[0].metres_per_px)
    return Place(f'patchwork of {places[0].name}', places[0].licence, (picture,), False, 'fields')


def _patch(pixels, height, width, rng):
    pixels = np.rot90(pixels, int(rng.integers(4)))
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    top, left = (
        int(rng.integers(0, n - k + 1))
        for n, k in zip(pixels.shape, (height, width), strict=False)
    )
    patch = pixels[top : top + height, left : left + width].astype(np.float32)
    # Patches differ in brightness more than parts of one photograph.
    return np.clip(patch * np.exp(rng.normal(0, 0.15)), 0, 255).astype(np.uint8)
