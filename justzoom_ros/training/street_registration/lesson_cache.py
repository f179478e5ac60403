"""Lessons in the memory of the device that trains: maps, places, and what they show."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F

from justzoom_ros.registration.normalize import LEAST_STD
from justzoom_ros.training.street_registration.lesson import Lesson


class LessonCache:
    """Up to `capacity` lessons of one shape; a new one takes the place of the oldest.

    `maps` half (K, 3, n, n), normalized as the network wants them; `labels` uint8 (K, n, n);
    `panoramas` uint8 (K, N, h, w, 3); `poses` (K, N, 4); `walls_m` (K, N, w / 2).
    """

    def __init__(self, capacity: int, normalization_px: int, device: torch.device) -> None:
        self.capacity, self.normalization_px, self.device = capacity, normalization_px, device
        self.count = self.added = 0

    def add(self, lesson: Lesson) -> None:
        """Take a lesson in."""
        pixels = torch.from_numpy(lesson.pixels).to(self.device)
        values = {
            'maps': normalize(pixels, self.normalization_px).half(),
            'labels': torch.from_numpy(lesson.labels),
            'panoramas': torch.from_numpy(lesson.panoramas),
            'poses': torch.from_numpy(lesson.poses),
            'walls_m': torch.from_numpy(lesson.walls_m),
        }
        if not self.added:
            for name, value in values.items():
                shape = (self.capacity, *value.shape)
                setattr(self, name, torch.empty(shape, dtype=value.dtype, device=self.device))
        for name, value in values.items():
            getattr(self, name)[self.added % self.capacity] = value.to(self.device)
        self.added += 1
        self.count = min(self.added, self.capacity)

    def add_all(self, lessons: Iterable[Lesson]) -> 'LessonCache':
        """Take several lessons in; returns itself."""
        for lesson in lessons:
            self.add(lesson)
        return self


def normalize(pixels: torch.Tensor, side_px: int) -> torch.Tensor:
    """As `registration.normalize.normalize_pixels` of a map without gaps, uint8 (n, n, 3): float
    (3, n, n)."""
    x = pixels.permute(2, 0, 1).float()[None] / 255
    share = _box(torch.ones_like(x[:, :1]), side_px)
    mean = _box(x, side_px) / share
    variance = _box(x * x, side_px) / share - mean * mean
    return ((x - mean) / variance.clamp(min=LEAST_STD**2).sqrt())[0]


def _box(values, side_px):
    """Mean over a square, zeros beyond the border."""
    half = side_px // 2
    for axis in (2, 3):
        pad = (0, 0, half + 1, half) if axis == 2 else (half + 1, half)
        sums = F.pad(values.double(), pad).cumsum(axis)
        count = values.shape[axis]
        values = sums.narrow(axis, side_px, count) - sums.narrow(axis, 0, count)
    return (values / side_px**2).float()
