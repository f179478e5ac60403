"""What is measured of a localizer in one process. Each part returns a dictionary for JSON."""

from functools import partial
from typing import Any

import numpy as np
import torch

from justzoom_ros.bench.inputs import (
    CITY,
    PictureMap,
    base_policy,
    encode_crop,
    picture,
    random_maps,
    sharpen,
    small_policy,
)
from justzoom_ros.bench.timing import ratio, time_in_turns, to_rows
from justzoom_ros.embeddings import MapEmbeddings
from justzoom_ros.errors import JustZoomError
from justzoom_ros.filtering import HistogramFilter, Motion, MotionNoise
from justzoom_ros.inference.fix import make_fix
from justzoom_ros.inference.preprocess import enough_px, ground_views, normalize
from justzoom_ros.inference.tree_search import SearchConfig, search
from justzoom_ros.io.camera_effects import encode_jpeg
from justzoom_ros.io.image_message import image_from_message
from justzoom_ros.models import ZoomPolicy
from justzoom_ros.runtimes.torch_runtime import TorchRuntime

POLICIES = {'small': small_policy, 'base': base_policy}
RUNS = {'small': 20, 'base': 5}
ENOUGH = 0.01
"""Mass that a best-first search may leave unexplored."""


# --- (a) the published way against a map that is encoded once ------------------------------------


def measure_published(size: str = 'small') -> dict[str, Any]:
    """A frame from pixels to greedy answer, as published and from cached map embeddings."""
    policy, image = POLICIES[size](), picture()
    picture_map = PictureMap(CITY)
    runtime = TorchRuntime(policy, 'cpu')
    ground = _ground(runtime, image)
    maps = random_maps(policy)
    sharpen(policy, maps, ground)
    actions = locate_as_published(policy, picture_map, image)
    for level in range(CITY.depth):
        cell = actions[:level]
        maps.levels[level][CITY.cell_index(cell)] = encode_crop(policy, picture_map, cell)
    if locate_from_cache(runtime, maps, image) != actions:
        raise JustZoomError('the greedy answers of the published way and of ours differ')
    views = normalize(ground_views(image, policy.config))[None]
    timings = time_in_turns(
        {
            'published way': partial(locate_as_published, policy, picture_map, image),
            'cached': partial(locate_from_cache, runtime, maps, image),
            'encode ground': partial(runtime.encode_ground, views),
            'encode crop': partial(encode_crop, policy, picture_map, actions),
        },
        RUNS[size],
    )
    crops, halves = CITY.depth, 2
    return {
        'parameters': sum(p.numel() for p in policy.encoder.parameters()),
        'encoded images': {'published way': halves + crops, 'cached': halves},
        'times': to_rows(timings),
        'speedup': ratio(timings, 'published way', 'cached'),
    }


@torch.inference_mode()
def locate_as_published(
    policy: ZoomPolicy, picture_map: PictureMap, image: np.ndarray
) -> tuple[int, ...]:
    """The greedy actions with all encoding done anew and the whole decoder run at each step."""
    ground = policy.encode_ground(normalize(ground_views(image, policy.config))[None])
    crops: list[torch.Tensor] = []
    actions: list[int] = []
    for _ in range(CITY.depth):
        crops.append(encode_crop(policy, picture_map, tuple(actions)))
        sequence = torch.tensor([[*actions, 0]])
        logits = policy.logits(ground, torch.stack(crops)[None], sequence)
        actions.append(int(logits[0, -1].argmax()))
    return tuple(actions)


def locate_from_cache(
    runtime: TorchRuntime, maps: MapEmbeddings, image: np.ndarray
) -> tuple[int, ...]:
    """The greedy actions from cached embeddings, step by step."""
    found = search(runtime, maps, _ground(runtime, image), SearchConfig('greedy'))
    return found.best_cell.actions


def _ground(runtime: TorchRuntime, image: np.ndarray) -> torch.Tensor:
    return runtime.encode_ground(normalize(ground_views(image, runtime.config))[None])[0]


# --- (b) searches over 65,536 cells --------------------------------------------------------------


def measure_searches(size: str = 'small') -> dict[str, Any]:
    """Posteriors over the published city, against the encoding of one frame."""
    policy = POLICIES[size]()
    runtime, maps = TorchRuntime(policy, 'cpu'), random_maps(policy)
    views = normalize(ground_views(picture(), policy.config))[None]
    ground = runtime.encode_ground(views)[0]
    sharpen(policy, maps, ground)
    configs = {
        'exact': SearchConfig('exact'),
        'best first': SearchConfig('best_first', unexplored=ENOUGH),
        'beam 16': SearchConfig('beam', width=16),
        'greedy': SearchConfig('greedy'),
    }
    things = {
        name: partial(search, runtime, maps, ground, config) for name, config in configs.items()
    }
    timings = time_in_turns(
        {**things, 'encode ground': partial(runtime.encode_ground, views)}, RUNS[size]
    )
    return {
        'cells': CITY.cell_count(CITY.depth),
        'explored mass': {n: round(thing().explored_mass, 4) for n, thing in things.items()},
        'times': to_rows(timings),
        'best first / encode ground': ratio(timings, 'best first', 'encode ground'),
    }


# --- (c) everything else of a frame --------------------------------------------------------------


def measure_inputs(runs: int = 20) -> dict[str, Any]:
    """From a compressed image of 720 lines to what the encoder takes; one map crop; one update of
    a belief over the published city and 36 headings."""
    policy, picture_map = small_policy(), PictureMap(CITY)
    config = policy.config
    message = type('Compressed', (), {'format': 'jpeg', 'data': encode_jpeg(picture())})()
    image, half = image_from_message(message), image_from_message(message, enough_px(config))
    cells = CITY.cell_count(CITY.depth)
    belief, noise = HistogramFilter(CITY, np.ones(cells, bool)), MotionNoise()
    runtime, maps = TorchRuntime(policy, 'cpu'), random_maps(policy)
    ground = _ground(runtime, image)
    sharpen(policy, maps, ground)
    posterior = search(runtime, maps, ground)
    motion = Motion(2.0, 0.1, 0.05, 2.0, 0.2)
    timings = time_in_turns(
        {
            'decode 720p': partial(image_from_message, message),
            'resize and normalise': lambda: normalize(ground_views(image, config)),
            'decode 720p at half': partial(image_from_message, message, enough_px(config)),
            'resize and normalise half': lambda: normalize(ground_views(half, config)),
            'map crop': partial(picture_map.crop, (1, 2), config.crop_px),
            'belief: predict': partial(belief.predict, motion, noise),
            'belief: update': partial(belief.update, posterior, 0.3),
            'belief: posterior': belief.posterior,
            'posterior: hypotheses': posterior.modes,
            'fix': partial(make_fix, posterior),
        },
        runs,
    )
    states = belief.masses.numel()
    return {
        'times': to_rows(timings),
        'belief': {'states': states, 'MB': round(belief.masses.nbytes / 1e6, 1)},
        'image kB': round(len(message.data) / 1000, 1),
    }
