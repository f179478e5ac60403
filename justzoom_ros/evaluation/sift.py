"""The classical baseline for downward cameras: SIFT features, ratio test, MAGSAC.

Local features of the picture (Lowe 2004, doi 10.1023/B:VISI.0000029664.99615.94) are matched with
those of the whole map, both after local contrast equalisation (CLAHE), and a homography is fitted
to the matches (MAGSAC++, arXiv 1912.05909, as OpenCV has it). It answers with a place and how many
matches agree, or with nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from justzoom_ros.errors import ConfigError
from justzoom_ros.io.images import resize
from justzoom_ros.maps.satellite_map import SatelliteMap

FLANN_KDTREE = 1
"""The index of FLANN that suits SIFT's 128 numbers."""

LEAST_MATCHES = 4
"""What a homography needs."""

LARGEST_STRETCH = 2.0
"""A homography that stretches one direction by more than another is no picture of flat ground
from above."""


@dataclass(frozen=True)
class SiftConfig:
    """How features are found and matched. Raises ConfigError for values out of range."""

    metres_per_px: float = 0.3
    """Resolution of the map that features are taken of, or the map's own where it is coarser."""

    clahe_clip: float = 3.0
    """Contrast limit of CLAHE, on tiles of 8 x 8."""

    ratio: float = 0.85
    """Greatest ratio of a match's distance to the second best's."""

    threshold_px: float = 4.0
    """Greatest distance of an inlier, in pixels of the map."""

    min_inliers: int = 8
    """Fewer inliers are no match."""

    def __post_init__(self) -> None:
        if not (self.metres_per_px > 0 and 0 < self.ratio < 1 and self.threshold_px > 0):
            raise ConfigError(
                'metres_per_px and threshold_px of SIFT must be positive, ratio within 0..1'
            )
        if self.min_inliers < LEAST_MATCHES:
            raise ConfigError(
                f'min_inliers is {self.min_inliers}; a homography needs {LEAST_MATCHES} matches'
            )


@dataclass(frozen=True)
class SiftMatch:
    """A picture placed on the map."""

    east_m: float
    """Metres east of the region's centre of what the middle of the picture shows."""

    north_m: float
    """Metres north of it."""

    yaw_rad: float
    """Where the top of the picture points, counter-clockwise from east."""

    metres_per_px: float
    """Ground resolution of the picture in its middle."""

    inliers: int
    """Matches that agree."""

    disagreement_m: float
    """Distance in metres between the places that two halves of the inliers, drawn at random, give;
    infinite where they are too few to be halved."""


class SiftBaseline:
    """SIFT on one map; its features are computed once."""

    def __init__(self, satellite_map: SatelliteMap, config: SiftConfig | None = None) -> None:
        self.map, self.config = satellite_map, config or SiftConfig()
        side_m = satellite_map.region.side_m
        resolution_m = max(self.config.metres_per_px, satellite_map.resolution_m)
        self._side_px = max(16, round(side_m / resolution_m))
        self._metres = side_m / self._side_px
        self._sift = cv2.SIFT_create()  # type: ignore[attr-defined]

    @cached_property
    def _features(self) -> tuple[np.ndarray, np.ndarray]:
        mask = resize(self.map.mask.astype(np.uint8) * 255, self._side_px, self._side_px)
        picture = resize(self.map.pixels, self._side_px, self._side_px)
        return self._describe(picture, np.where(mask > 250, 255, 0).astype(np.uint8))

    @cached_property
    def _index(self) -> cv2.FlannBasedMatcher:
        index = cv2.FlannBasedMatcher({'algorithm': FLANN_KDTREE, 'trees': 4}, {'checks': 64})
        index.add([self._features[1]])
        index.train()
        return index

    @property
    def map_bytes(self) -> int:
        """Memory that the map's features take."""
        return sum(part.nbytes for part in self._features)

    def match(self, image_rgb: np.ndarray, width_m: float | None = None) -> SiftMatch | None:
        """Where an image, uint8 (H, W, 3) RGB, was taken, None where it cannot be told. `width_m`:
        ground width in view, where it is known; the image is then reduced to the map's
        resolution, which matches better."""
        image, factor = self._reduced(image_rgb, width_m)
        points, descriptors = self._describe(image, None)
        if len(points) < self.config.min_inliers or len(self._features[0]) < 2:
            return None
        pairs = self._index.knnMatch(descriptors, k=2)
        good = [p[0] for p in pairs if _is_distinct(p, self.config.ratio)]
        if len(good) < self.config.min_inliers:
            return None
        here = points[[m.queryIdx for m in good]]
        there = self._features[0][[m.trainIdx for m in good]]
        return self._fitted(here, there, image.shape, factor)

    def _reduced(self, image: np.ndarray, width_m: float | None) -> tuple[np.ndarray, float]:
        """The image at about the map's resolution, never enlarged, and by what it was reduced."""
        height, width = image.shape[:2]
        wanted = width if width_m is None else min(width, round(width_m / self._metres))
        return resize(image, wanted, max(1, round(height * wanted / width))), wanted / width

    def _describe(self, rgb: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Places (N, 2) in pixels (column, row) and descriptors (N, 128)."""
        clahe = cv2.createCLAHE(self.config.clahe_clip, (8, 8))
        grey = clahe.apply(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
        keypoints, descriptors = self._sift.detectAndCompute(grey, mask)
        points = np.array([k.pt for k in keypoints], np.float32).reshape(-1, 2)
        return points, np.empty((0, 128), np.float32) if descriptors is None else descriptors

    def _fitted(
        self, here: np.ndarray, there: np.ndarray, shape: tuple[int, ...], factor: float
    ) -> SiftMatch | None:
        matrix, inliers = _homography(here, there, self.config.threshold_px)
        count = int(inliers.sum())
        if matrix is None or count < self.config.min_inliers:
            return None
        height, width = shape[:2]
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        place, jacobian = _at(matrix, middle)
        stretch = np.linalg.svd(jacobian, compute_uv=False)
        if np.linalg.det(jacobian) <= 0 or stretch[0] > LARGEST_STRETCH * stretch[1]:
            return None
        up = jacobian @ [0.0, -1.0]  # towards the top of the picture, in columns and rows
        half_m = self.map.region.side_m / 2
        return SiftMatch(
            east_m=float((place[0] + 0.5) * self._metres - half_m),
            north_m=float(half_m - (place[1] + 0.5) * self._metres),
            yaw_rad=float(np.arctan2(-up[1], up[0])),
            metres_per_px=float(np.sqrt(stretch.prod()) * self._metres * factor),
            inliers=count,
            disagreement_m=_disagreement(here[inliers], there[inliers], middle) * self._metres,
        )


def _homography(
    here: np.ndarray, there: np.ndarray, threshold: float
) -> tuple[np.ndarray | None, np.ndarray]:
    """The homography (3, 3) of most matches, and flags (N,) of those that agree with it.

    Among mostly wrong matches two say more than four: a similarity is sought first, and MAGSAC
    fits the homography to the matches that are near to it.
    """
    similarity, _ = cv2.estimateAffinePartial2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=2 * threshold, maxIters=20_000,
        confidence=0.999,
    )  # fmt: skip
    flags = np.zeros(len(here), bool)
    if similarity is None:
        return None, flags
    off = here @ similarity[:, :2].T + similarity[:, 2] - there
    near = np.flatnonzero(np.hypot(*off.T) <= 4 * threshold)
    if len(near) < 4:
        return None, flags
    matrix, inliers = cv2.findHomography(
        here[near], there[near], cv2.USAC_MAGSAC, threshold, maxIters=10_000, confidence=0.999
    )
    if inliers is not None:
        flags[near[inliers.ravel() > 0]] = True
    return matrix, flags


def _disagreement(here: np.ndarray, there: np.ndarray, middle: np.ndarray) -> float:
    """How far apart, in pixels of the map, two halves of the matches take a point (2,)."""
    order = np.random.default_rng(0).permutation(len(here))
    halves = [order[::2], order[1::2]]
    if min(map(len, halves)) < 2 * LEAST_MATCHES:
        return float('inf')
    found = [cv2.findHomography(here[half], there[half])[0] for half in halves]
    if any(matrix is None for matrix in found):
        return float('inf')
    one, other = (_at(matrix, middle)[0] for matrix in found)
    return float(np.hypot(*(one - other)))


def _is_distinct(pair: Sequence[cv2.DMatch], ratio: float) -> bool:
    return len(pair) == 2 and pair[0].distance < ratio * pair[1].distance


def _at(matrix: np.ndarray, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a homography (3, 3) takes a point (2,), and its Jacobian (2, 2) there."""
    x = matrix @ [*point, 1.0]
    place = x[:2] / x[2]
    return place, (matrix[:2, :2] - np.outer(place, matrix[2, :2])) / x[2]
