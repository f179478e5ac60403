"""Invented weights and maps of any size: for times, random ones are as good as trained ones."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from justzoom_ros.embeddings.cell_embeddings import MapEmbeddings
from justzoom_ros.inference.preprocess import normalize
from justzoom_ros.models.config import PolicyConfig
from justzoom_ros.models.decoder import DecoderConfig
from justzoom_ros.models.encoder import EncoderConfig
from justzoom_ros.models.policy import ZoomPolicy
from justzoom_ros.region import Region
from justzoom_ros.runtimes.parity import pictures
from justzoom_ros.runtimes.torch_runtime import TorchRuntime

CITY = Region(latitude=38.9, longitude=-77.0, side_m=10_000.0, grid=4, depth=4)
"""The published city: 65,536 cells of 39 m."""

SURE_NATS = 1.0
"""Entropy of a step to which invented decoders are brought, as trained ones have it on frames that
say something; an even posterior would leave nothing to prune."""


def small_policy() -> ZoomPolicy:
    """The size of the shipped encoder: 0.7 million parameters, 48 pixels."""
    torch.manual_seed(0)
    config = PolicyConfig(ground_px=48, crop_px=48, decoder=DecoderConfig(layers=3, heads=6))
    return ZoomPolicy(config).eval()


def base_policy() -> ZoomPolicy:
    """DINOv2-base, 86 million parameters, 384 pixels, six decoder layers: the published size."""
    torch.manual_seed(0)
    config = PolicyConfig(encoder=EncoderConfig('dinov2'), decoder=DecoderConfig())
    return ZoomPolicy(config).eval()


def picture(height: int = 720, width: int = 1280) -> np.ndarray:
    """A camera image, uint8 (height, width, 3): noise of all scales, the finer the fainter, so
    that it takes as many bytes as a photograph, 1.3 bits a pixel as JPEG of quality 85."""
    rng, found = np.random.default_rng(5), np.full((height, width, 3), 128.0)
    for size in (256, 128, 64, 32, 16, 8, 4, 2):
        coarse = rng.normal(0, 3.6 * size**0.4, (height // size + 2, width // size + 2, 3))
        coarse = 0.3 * coarse + 0.7 * coarse[..., :1]  # bright and dark more than coloured
        found += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(found, 0, 255).astype(np.uint8)


class PictureMap:
    """A map that is one picture of the whole region."""

    def __init__(self, region: Region, side_px: int = 2048) -> None:
        self.region = region
        self._pixels = pictures(1, side_px, side_px)[0]

    def crop(self, actions: Sequence[int], px: int) -> np.ndarray:
        """What a cell looks like, uint8 (px, px, 3)."""
        from justzoom_ros.io.images import resize

        cell = self.region.cell(actions)
        scale = len(self._pixels) / self.region.side_m
        left = (cell.east_m - cell.side_m / 2 + self.region.side_m / 2) * scale
        top = (self.region.side_m / 2 - cell.north_m - cell.side_m / 2) * scale
        size = max(1, round(cell.side_m * scale))
        part = self._pixels[int(top) : int(top) + size, int(left) : int(left) + size]
        return resize(np.ascontiguousarray(part), px, px)


def random_maps(
    policy: ZoomPolicy | TorchRuntime, region: Region = CITY, seed: int = 1
) -> MapEmbeddings:
    """`MapEmbeddings` of random vectors, as a trained encoder's last norm leaves them."""
    generator = torch.Generator().manual_seed(seed)
    counts = [region.cell_count(k) for k in range(region.depth)]
    levels = tuple(torch.randn(n, policy.width, generator=generator) for n in counts)
    covered = tuple(np.ones(region.cell_count(k), bool) for k in range(region.depth + 1))
    return MapEmbeddings(region, levels, covered)


@torch.inference_mode()
def sharpen(policy: ZoomPolicy, maps: MapEmbeddings, ground: torch.Tensor) -> ZoomPolicy:
    """Scale the policy's last layer until its first step has an entropy of SURE_NATS for a
    ground embedding (D,); returns the policy."""
    root = maps.at(0, np.zeros(1, np.int64))
    logits, _ = policy.start(ground[None], root)
    low, high = 0.0, 1e6
    for _ in range(60):
        gain = (low + high) / 2
        chances = (logits[0].double() * gain).softmax(-1)
        entropy = -float((chances * chances.clamp(min=1e-30).log()).sum())
        low, high = (gain, high) if entropy > SURE_NATS else (low, gain)
    policy.decoder.output_head.weight.mul_(gain)
    return policy


@torch.inference_mode()
def encode_crop(
    policy: ZoomPolicy, picture_map: PictureMap, actions: Sequence[int]
) -> torch.Tensor:
    """Embedding (D,) of the crop of a cell."""
    crop = picture_map.crop(actions, policy.config.crop_px)
    return policy.encode_satellite(normalize(crop[None]))[0]
