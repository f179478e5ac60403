"""A registration network that needs no training, and ground that it can tell apart."""

from types import SimpleNamespace

import cv2
import numpy as np
import torch

from justzoom_ros.registration.map_features import MapFeatures

STRIDE = 2


class ToyNetwork:
    """Differences of Gaussians on cells of two pixels, of length one: they turn with the image."""

    config = SimpleNamespace(stride=STRIDE)

    def __init__(self, gain=2.0, offset=4.0):
        self.gain, self.offset = gain, offset

    def map_features(self, pixels, mask=None):
        """Features (6, h, w) of an image (2 h, 2 w, 3)."""
        mask = np.ones(pixels.shape[:2], bool) if mask is None else mask
        size = pixels.shape[1] // STRIDE, pixels.shape[0] // STRIDE
        share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        cells = cv2.resize(pixels.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        blurs = [self._blurred(cells, share, sigma) for sigma in (1.0, 2.0, 4.0)]
        layers = np.concatenate([blurs[0] - blurs[1], blurs[1] - blurs[2]], 2)
        layers /= np.linalg.norm(layers, axis=2, keepdims=True) + 1.0
        return torch.from_numpy(layers).permute(2, 0, 1) * self.cell_mask(mask)

    view_features = map_features

    @staticmethod
    def _blurred(cells, share, sigma):
        weight = cv2.GaussianBlur(share, (0, 0), sigma)[..., None]
        return cv2.GaussianBlur(cells, (0, 0), sigma) / np.maximum(weight, 1e-3)

    def cell_mask(self, mask):
        """bool (h, w): cells that are seen altogether."""
        share = mask.reshape(mask.shape[0] // STRIDE, STRIDE, -1, STRIDE).mean((1, 3))
        return torch.from_numpy(share == 1)

    def log_ratio(self, mean_cosine, area_cells, background_mean, background_std):
        """So many deviations above other places, less an offset."""
        z = (mean_cosine - background_mean) / background_std
        return self.gain * (z - self.offset)


def ground(size_px, seed=0):
    """Ground of patches of every size and colour, uint8 (size_px, size_px, 3)."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size_px, size_px, 3), np.float32)
    for wave_px in (4, 8, 16, 40):
        n = size_px // wave_px + 2
        noise = rng.normal(0, 1, (n, n, 3)).astype(np.float32)
        total += cv2.resize(noise, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 35 * total, 0, 255).astype(np.uint8)


def map_of(network, pixels, metres_per_px, mask=None):
    """`MapFeatures` of ground, all of it imagery unless `mask` says otherwise."""
    mask = np.ones(pixels.shape[:2], bool) if mask is None else mask
    features = network.map_features(pixels, mask)
    return MapFeatures(features, network.cell_mask(mask), STRIDE * metres_per_px)
