"""What the registration network says of a map, computed once per map and weights.

Features lie on a metre grid, `network.config.stride` map pixels to a cell. They are kept in one
file beside the map, as the embeddings of a policy are: float16, memory-mapped, named by the
checksums of map and weights. A cell of 16 channels takes 32 bytes, so a square kilometre in cells
of 2 m takes 8 MB.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from justzoom_ros.embeddings.cache import cache_files, read_cached, write_cached
from justzoom_ros.embeddings.embedding_file import key_of
from justzoom_ros.errors import ConfigError
from justzoom_ros.maps.satellite_map import SatelliteMap
from justzoom_ros.registration.forward_network import ForwardNetwork
from justzoom_ros.registration.map_features import MapFeatures
from justzoom_ros.registration.network import RegistrationNetwork

MapNetwork = RegistrationNetwork | ForwardNetwork
"""What has features of maps."""

log = logging.getLogger(__name__)

TILE_PX = 512
"""Side of the tiles that features are computed in, without their halo."""

COARSER_IS_FINE = 1.05
"""A map that is coarser than what is asked for by less than this is as good."""


@dataclass(frozen=True)
class FeatureIdentity:
    """What features are of."""

    map: str
    """Checksum of the map."""

    weights: str
    """Checksum of the network's weights and configuration."""

    side_cells: int
    """Cells along a side of the map."""

    width: int
    """Channels of a cell."""

    @property
    def cells(self) -> int:
        """Cells of the whole map."""
        return self.side_cells**2

    @property
    def key(self) -> str:
        """A name for files, in hex."""
        return key_of(self, 'features')


def open_map_features(
    satellite_map: SatelliteMap,
    network: MapNetwork,
    metres_per_px: float,
    progress: bool = True,
) -> MapFeatures:
    """The features of a map at about a ground resolution, read from the cache or made and kept
    there. Raises ConfigError where the map is coarser than the network was trained for."""
    check_resolution(satellite_map, network, metres_per_px)
    side_m = satellite_map.region.side_m
    side_cells = cells_along(satellite_map, network, metres_per_px)
    channels = network.config.channels
    identity = FeatureIdentity(
        satellite_map.checksum, network_checksum(network), side_cells, channels
    )
    files = cache_files(satellite_map.path, identity)
    table = next((t for file in files if (t := read_cached(file, identity)) is not None), None)
    if table is None:
        table = _compute(satellite_map, network, side_cells, progress)
        if write_cached(table, files, identity) is None:
            log.warning('the features of %s cannot be written beside it', satellite_map.path)
    mask = _reduced(satellite_map.mask.astype(np.uint8) * 255, side_cells) >= 128
    features = table.view(side_cells, side_cells, channels).permute(2, 0, 1)
    device = next(network.parameters()).device
    return MapFeatures(features.to(device), torch.from_numpy(mask), side_m / side_cells)


def open_layer_features(
    layers: Mapping[str, SatelliteMap],
    network: MapNetwork,
    metres_per_px: float,
    progress: bool = True,
) -> dict[str, MapFeatures]:
    """{name: features} of the layers of a map (`maps.layers.open_layers`), as
    `open_map_features`."""
    return {
        name: open_map_features(layer, network, metres_per_px, progress)
        for name, layer in layers.items()
    }


def network_checksum(network: torch.nn.Module) -> str:
    """sha256, in hex, of a registration network's configuration and tensors."""
    config: Any = network.config
    digest = hashlib.sha256(config.to_json().encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def cells_along(satellite_map: SatelliteMap, network: MapNetwork, metres_per_px: float) -> int:
    """How many cells a map has along a side at about a ground resolution."""
    return max(8, round(satellite_map.region.side_m / (network.config.stride * metres_per_px)))


def check_resolution(
    satellite_map: SatelliteMap, network: MapNetwork, metres_per_px: float
) -> None:
    """Raises ConfigError where a map is coarser than the network was trained for, or
    `metres_per_px` is no resolution."""
    coarsest = network.config.coarsest_m
    if satellite_map.resolution_m > coarsest * COARSER_IS_FINE:
        raise ConfigError(
            f'{satellite_map.path} has {satellite_map.resolution_m:.2g} m per pixel, coarser than '
            f'the {coarsest:g} m that registration was trained for; build the map from finer '
            'imagery'
        )
    if not 0 < metres_per_px < np.inf:
        raise ConfigError(f'metres_per_px is {metres_per_px}; it must be positive')


def _compute(
    satellite_map: SatelliteMap, network: MapNetwork, side_cells: int, progress: bool
) -> torch.Tensor:
    """Features (cells, C) float16 of the whole map, row by row, tile by tile."""
    stride, channels = network.config.stride, network.config.channels
    side_px = side_cells * stride
    pixels, mask = map_at(satellite_map, side_px)
    table = torch.zeros((side_cells, side_cells, channels), dtype=torch.float16)
    starts = [
        (top, left) for top in range(0, side_px, TILE_PX) for left in range(0, side_px, TILE_PX)
    ]
    for top, left in tqdm(starts, desc='features', unit='tile', disable=not progress):
        if mask[top : top + TILE_PX, left : left + TILE_PX].any():
            _compute_tile(network, pixels, mask, top, left, table)
    return table.view(-1, channels)


def _compute_tile(
    network: MapNetwork,
    pixels: np.ndarray,
    mask: np.ndarray,
    top: int,
    left: int,
    table: torch.Tensor,
) -> None:
    """Fill in the features of one tile, which sees a halo of what lies round it."""
    halo, stride = network.config.receptive_px, network.config.stride
    north, west = max(0, top - halo), max(0, left - halo)
    part = slice(north, top + TILE_PX + halo), slice(west, left + TILE_PX + halo)
    found = network.map_features(pixels[part], mask[part])
    bottom, right = (min(at + TILE_PX, len(pixels)) // stride for at in (top, left))
    rows = slice((top - north) // stride, bottom - north // stride)
    columns = slice((left - west) // stride, right - west // stride)
    to = slice(top // stride, bottom), slice(left // stride, right)
    table[to] = found[:, rows, columns].permute(1, 2, 0).half().cpu()


def map_at(satellite_map: SatelliteMap, side_px: int) -> tuple[np.ndarray, np.ndarray]:
    """A map as a square of so many pixels: uint8 (n, n, 3) RGB, and where it has imagery, bool
    (n, n)."""
    mask = _reduced(satellite_map.mask.astype(np.uint8) * 255, side_px) >= 128
    return _reduced(satellite_map.pixels, side_px), mask


def _reduced(picture: np.ndarray, side: int) -> np.ndarray:
    """A square picture at another size: area averages downwards, linear upwards."""
    method = cv2.INTER_AREA if side < len(picture) else cv2.INTER_LINEAR
    return cv2.resize(picture, (side, side), interpolation=method)
