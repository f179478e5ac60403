"""A tiny map and a tiny policy for tests: invented imagery, random weights, no time spent.

The policy has learned nothing; its last layer is scaled up, so that it is sure of something.
"""

from functools import partial

import numpy as np
import rasterio
import torch
from rasterio.transform import from_bounds

from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.models.config import PolicyConfig
from justzoom_ros.models.conv_encoder import ConvConfig
from justzoom_ros.models.decoder import DecoderConfig
from justzoom_ros.models.encoder import EncoderConfig
from justzoom_ros.models.policy import ZoomPolicy
from justzoom_ros.region import Region
from justzoom_ros.training import Area, TrainConfig, Trainer
from justzoom_ros.training.appearance import Appearance
from justzoom_ros.training.batches import ViewBatches
from justzoom_ros.training.nadir_views import NadirViewConfig, NadirViews

REGION = Region(latitude=52.5, longitude=13.4, side_m=256.0, grid=4, depth=2)
SIDE_PX = 128


def make_map(folder, region=REGION, name='map', blotches=16, seed=7):
    """Build a map of so many blotches a side below `folder`; returns the opened SatelliteMap."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, blotches, blotches), np.uint8)
    size = SIDE_PX // blotches
    pixels = coarse.repeat(size, axis=1).repeat(size, axis=2)
    half = region.side_m / 2
    profile = {
        'driver': 'GTiff',
        'width': SIDE_PX,
        'height': SIDE_PX,
        'count': 3,
        'dtype': 'uint8',
        'crs': region.crs,
        'transform': from_bounds(-half, -half, half, half, SIDE_PX, SIDE_PX),
    }
    source = folder / f'{name}_source.tif'
    with rasterio.open(source, 'w', **profile) as file:
        file.write(pixels)
    return SatelliteMap.build(source, region, folder / name, crop_px=16, attribution='invented')


def tiny_policy_config(map, dropout=0.1):
    """A downward-looking policy that fits the map and costs next to nothing."""
    return PolicyConfig(
        grid=map.region.grid,
        depth=map.region.depth,
        view='nadir',
        ground_px=16,
        crop_px=16,
        ground_aspect=1.0,
        encoder=EncoderConfig('conv', ConvConfig(channels=(16, 16), pooled=2, width=32)),
        decoder=DecoderConfig(layers=1, heads=2, dropout=dropout),
    )


def tiny_trainer(map, out, validation_maps=(), **changes):
    """A trainer without dropout, in single precision, that draws easy views itself; of several
    maps in turn where `map` is a list."""
    config = TrainConfig(
        **{'steps': 40, 'batch': 8, 'workers': 0, 'precision': 'float32', **changes}
    )
    maps = map if isinstance(map, list) else [map]
    policy = tiny_policy_config(maps[0], dropout=0.0)
    areas, validation = map_areas(maps), map_areas(validation_maps)
    return Trainer(areas, policy, config, out, validation_areas=validation)


def map_areas(maps):
    """An easy area of each map."""
    return [easy_area(map) for map in maps]


def easy_area(map):
    """A map with views of it as the map itself shows them."""
    easy = NadirViewConfig((60, 80), tilt_rad=0.0, yaw_rad=(0.0, 0.0))
    views = NadirViews(map, (16, 16), easy, Appearance(shade=0.0, blur_px=0.0, patches=0))
    return Area(map, partial(ViewBatches, views), 16)


def make_weights(folder, map, gain=30.0, seed=3):
    """Save a random downward-looking policy that fits the map; returns the path of its weights.

    `gain` multiplies the logits: 30 makes sharp posteriors, 0 even ones.
    """
    torch.manual_seed(seed)
    policy = ZoomPolicy(tiny_policy_config(map))
    with torch.no_grad():
        policy.decoder.output_head.weight.mul_(gain)
    path = folder / 'weights.safetensors'
    policy.save(path)
    return path
